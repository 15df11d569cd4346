"""Forecasts in decisions: asked through the core, combined with others, kept in the journal."""

from pathlib import Path

import numpy as np
import pytest

from autoscaler.core.decision import Cycle, Decision
from autoscaler.core.observation import Observation, ReplicaStatus, Snapshot
from autoscaler.core.past import Past
from autoscaler.core.planner import FleetState, decide, plan_cycle
from autoscaler.core.policy import Forecast
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.journal import JournalFile, read_journal
from policies.combine.highest import combine
from policies.predictive.predictive import Predictive
from policies.predictive.regression import Regression
from policies.predictive.seasonal import Seasonal
from tests.builders import Wants, a_workload
from tests.policies.predictive.histories import (
    DAY,
    HOUR,
    MONDAY,
    SIGNAL,
    STEP,
    daily,
    history,
)

MORNING = MONDAY + 9 * DAY + 8 * HOUR
LEAD = 600.0

both = pytest.mark.parametrize(
    "policy",
    [
        Seasonal(signal=SIGNAL, per_replica=0.25, quantile=0.5, phase_tolerance_seconds=0),
        Regression(signal=SIGNAL, per_replica=0.25, quantile=0.5, spread_seconds=0),
    ],
    ids=lambda policy: str(policy.type),
)


def beside(other: Wants, policy: Predictive) -> ScaledWorkload:
    """A policy file with another policy first."""
    return a_workload(
        other,
        policy,
        signals={SIGNAL: {"kind": "demand", "role": "arrivals", "windowSeconds": 14 * 86_400,
                          "stepSeconds": 300}},
        replica={"coldStartSeconds": LEAD},
        combine="highest",
        maximum=100,
    )  # fmt: skip


def at(now: float, running: int, days: float = 9) -> Observation:
    series = history(daily, days=days, until=now)
    return Observation(now, ReplicaStatus(running, running), {SIGNAL: series})


def forecast_in(decision: Decision) -> Forecast:
    recommendation = decision.proposals[1].recommendation
    assert recommendation is not None
    assert recommendation.forecast is not None
    return recommendation.forecast


@both
def test_the_floor_is_for_when_a_replica_asked_for_now_would_serve(policy: Predictive) -> None:
    workload = beside(Wants(replicas=2), policy)

    decision, _ = decide(workload, at(MORNING, running=2), Past(), combine)

    ahead = forecast_in(decision).times[-1]
    assert MORNING + LEAD + STEP <= ahead < MORNING + LEAD + 2 * STEP
    needed, later = np.ceil(daily(np.array([MORNING, MORNING + LEAD + STEP])) / 0.25)
    assert (needed, later) == (50, 52)
    assert decision.replicas is not None
    assert needed < decision.replicas <= later + 1


@both
def test_it_never_lowers(policy: Predictive) -> None:
    alone = beside(Wants(replicas=None), policy)
    with_a_need = beside(Wants(replicas=90), policy)
    may_lower = beside(Wants(replicas=70), policy)

    assert decide(alone, at(MORNING, running=80), Past(), combine)[0].replicas == 80
    assert decide(with_a_need, at(MORNING, running=80), Past(), combine)[0].replicas == 90
    assert decide(may_lower, at(MORNING, running=80), Past(), combine)[0].replicas == 70


@both
def test_too_short_a_history_keeps_nobody_from_lowering(policy: Predictive) -> None:
    workload = beside(Wants(replicas=3), policy)

    decision, _ = decide(workload, at(MORNING, running=5, days=1), Past(), combine)

    assert decision.replicas == 3


@both
def test_the_journal_keeps_forecast_and_memory(policy: Predictive, tmp_path: Path) -> None:
    workload = beside(Wants(replicas=2), policy)
    fleet, state = FleetSpec((workload,), {"highest": combine}), FleetState()
    path = tmp_path / "journal"
    said = []
    with JournalFile(path, fleet) as journal:
        for place in range(3):
            now = MORNING + place * 60.0
            snapshot = Snapshot(now, {workload.key: at(now, running=2)})
            plan, state = plan_cycle(fleet, state, snapshot)
            journal.record(Cycle(snapshot, plan, ()))
            said.append(plan.decisions[workload.key])

    for decision, cycle in zip(said, read_journal(path), strict=True):
        read = cycle.plan.decisions[workload.key]
        assert forecast_in(read).values.tolist() == forecast_in(decision).values.tolist()
        assert forecast_in(read).quantiles == forecast_in(decision).quantiles
        before, after = decision.proposals[1].recommendation, read.proposals[1].recommendation
        assert before is not None
        assert after is not None
        assert after.memory == before.memory
