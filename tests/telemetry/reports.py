"""Reports for tests: one cycle of a small fleet, with what matters to the test."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from autoscaler.core.decision import Cycle, Outcome
from autoscaler.core.observation import Gap, NodePoolStatus, Observation, Snapshot
from autoscaler.core.planner import FleetState, plan_cycle
from autoscaler.core.policy import Forecast, Policy, Recommendation
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.telemetry.report import CycleReport, Mode
from tests.builders import NOON, PerReplica, a_workload, largest, seen

CHAT = a_workload(
    PerReplica(),
    signals={"load": {}},
    replica={"gpus": 4, "gpuHourPrice": 2.5, "coldStartSeconds": 60},
    match={"model_name": "llama"},
)


class Foresees(Policy):
    """Forecasts that its signal stays as it is, give or take a tenth, one and two minutes on."""

    type: str = "foresees"
    signal: str = "load"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({self.signal})

    def recommend(self, observation: Observation) -> Recommendation:
        value = observation.signal(self.signal).latest
        times = np.array([observation.now + 60.0, observation.now + 120.0])
        values = np.array([[value, value], [1.1 * value, 1.1 * value]])
        forecast = Forecast(self.signal, times, (0.5, 0.9), values)
        return Recommendation(1, "it stays as it is", forecast=forecast)


def a_fleet_of(*workloads: ScaledWorkload, pools: tuple[Any, ...] = ()) -> FleetSpec:
    return FleetSpec(workloads, {"highest": largest}, pools)


def a_report(
    observations: Mapping[str, Observation] | None = None,
    *workloads: ScaledWorkload,
    missing: Mapping[str, Gap] | None = None,
    at: float = NOON,
    acted: bool = True,
    pools: tuple[Any, ...] = (),
    nodes: Mapping[str, NodePoolStatus] | None = None,
    state: FleetState | None = None,
    **report: Any,
) -> CycleReport:
    """What became of one cycle; without arguments `chat` runs 2 replicas under a load of 50."""
    fleet = a_fleet_of(*(workloads or (CHAT,)), pools=pools)
    if observations is None:
        observations = {CHAT.key: seen(2, at=at, signals={"load": 50.0})}
    snapshot = Snapshot(at, observations, missing or {}, nodes or {})
    leading = report.get("leader", True) and report.get("mode", Mode.LIVE) is Mode.LIVE
    plan, _ = plan_cycle(fleet, state or FleetState(), snapshot, leading=leading)
    outcomes = tuple(
        Outcome(action, done=acted, detail="" if acted else "409 conflict")
        for action in plan.actions()
    )
    return CycleReport(Cycle(snapshot, plan, outcomes, leading), fleet, started=at, **report)
