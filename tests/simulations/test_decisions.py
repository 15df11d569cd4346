"""What is kept of decisions: changes with their reasons, and forecasts against what came."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from autoscaler.core.decision import (
    Action,
    Cycle,
    NodeAction,
    NodePoolDecision,
    Outcome,
    Reason,
)
from autoscaler.core.observation import Observation, Series, Snapshot
from autoscaler.core.planner import FleetState, plan_cycle
from autoscaler.core.policy import Forecast, Policy, Recommendation
from autoscaler.core.workload import ScaledWorkload
from simulations.decisions import Forecasts, Recorder
from tests.builders import NOON, PerReplica, Wants, a_fleet, a_workload, seen


class Doubles(Policy):
    """Forecasts twice the present load, a minute ahead; never below it."""

    type: Literal["doubles"] = "doubles"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"load"})

    def recommend(self, observation: Observation) -> Recommendation:
        load = observation.signal("load").latest
        times = np.array([observation.now + 30, observation.now + 60])
        values = np.array([[load, load], [2 * load, 2 * load]])
        forecast = Forecast("load", times, (0.5, 0.9), values)
        return Recommendation(1, "forecast", forecast=forecast, raise_only=True)


def recorded(workload: ScaledWorkload, loads: list[float], done: bool = True) -> Recorder:
    recorder = Recorder(workload.key, NOON)
    fleet, state, running = a_fleet(workload), FleetState(), 1
    for index, load in enumerate(loads):
        now = NOON + 15.0 * index
        observation = seen(running, at=now, signals={"load": Series.of([(now - 5, load)])})
        snapshot = Snapshot(now, {workload.key: observation})
        plan, state = plan_cycle(fleet, state, snapshot)
        actions = [*plan.actions(), NodeAction("h100", 1, 2)]
        outcomes = tuple(Outcome(action, done=done) for action in actions)
        for action in actions:
            if isinstance(action, Action):
                running = action.after
        recorder.record(Cycle(snapshot, plan, outcomes))
    return recorder


SIGNALS: Mapping[str, Mapping[str, float]] = {"load": {}}


def test_a_change_is_kept_with_its_reason_and_what_the_policies_said() -> None:
    decided = recorded(a_workload(PerReplica(), signals=SIGNALS), [5, 25]).decided()

    (change,) = decided.changes
    assert (change.seconds, change.before, change.after, change.wanted) == (15.0, 1, 3, 3)
    assert change.reason == "recommended"
    assert change.because == "load is 25"
    assert change.done
    assert decided.reasons == (("at-target", 1), ("recommended", 1))
    assert decided.forecasts is None


def test_a_change_that_failed_is_told_as_such() -> None:
    decided = recorded(a_workload(Wants(replicas=4)), [0], done=False).decided()

    assert [change.done for change in decided.changes] == [False]


def test_forecasts_are_kept_beside_what_came() -> None:
    """Loads of 10, then 15, then 40: within twice the load of a minute before, and then not."""
    loads = [10.0] * 4 + [15.0] * 4 + [40.0] * 4
    decided = recorded(a_workload(PerReplica(), Doubles(), signals=SIGNALS), loads).decided()

    told = decided.forecasts
    assert told is not None
    assert (told.policy, told.signal, told.quantiles) == ("doubles(load)", "load", (0.5, 0.9))
    assert told.ahead_seconds == 60.0
    assert told.times.tolist() == [15.0 * index + 60 for index in range(12)]
    assert told.values[0].tolist() == [10.0, 20.0]
    assert told.seen_times.tolist() == [15.0 * index - 5 for index in range(12)]
    assert told.seen.tolist() == loads
    # Seven of the twelve are due by then; from 105 s on what came is more than was forecast.
    assert told.held == 3 / 7


def test_nothing_is_said_of_forecasts_whose_time_has_not_come() -> None:
    decided = recorded(a_workload(PerReplica(), Doubles(), signals=SIGNALS), [10.0]).decided()

    assert decided.forecasts is not None
    assert decided.forecasts.held is None


def test_a_forecast_without_any_sample_has_not_been_tried() -> None:
    nothing = np.zeros(0)
    told = Forecasts("p", "load", (0.9,), np.ones(1), np.ones((1, 1)), 1.0, nothing, nothing)

    assert told.held is None


def test_every_cycle_is_handed_on() -> None:
    class Heard:
        def __init__(self) -> None:
            self.cycles = 0

        def record(self, cycle: Cycle) -> None:
            self.cycles += 1

    heard = Heard()
    workload = a_workload(Wants(replicas=1))
    recorder = Recorder(workload.key, NOON, heard)
    snapshot = Snapshot(NOON, {workload.key: seen(1)})
    plan, _ = plan_cycle(a_fleet(workload), FleetState(), snapshot)

    recorder.record(Cycle(snapshot, plan))

    assert heard.cycles == 1
    assert recorder.decided().reasons == (("at-target", 1),)


@pytest.mark.parametrize("loads", [[], [10.0]])
def test_a_recorder_answers_at_any_time(loads: list[float]) -> None:
    decided = recorded(a_workload(PerReplica(), signals=SIGNALS), loads).decided()

    assert len(decided.reasons) == len(loads)


class Waits(Policy):
    """Has no opinion before the load is above a limit."""

    type: Literal["waits"] = "waits"
    above: float

    @property
    def label(self) -> str:
        return f"waits({self.above:g})"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"load"})

    def recommend(self, observation: Observation) -> Recommendation:
        load = observation.signal("load").latest
        return Recommendation(2 if load > self.above else None, f"{load:g} is not enough")


def test_a_policy_that_never_had_an_opinion_is_named_with_what_it_said_last() -> None:
    policies = [PerReplica(), Waits(above=50), Waits(above=8)]
    workload = a_workload(*policies, signals=SIGNALS)

    decided = recorded(workload, [5, 9, 7]).decided()

    assert decided.silent == (("waits(50)", "7 is not enough"),)


def test_a_change_of_nodes_is_kept_with_its_reason() -> None:
    workload = a_workload(PerReplica(), signals=SIGNALS)
    recorder = Recorder(workload.key, NOON)
    sized = NodePoolDecision("h100", 1, 2, 2, Reason.RECOMMENDED, "2 nodes hold 3 replicas")
    observation = seen(1, at=NOON + 15, signals={"load": Series.of([(NOON, 25.0)])})
    snapshot = Snapshot(NOON + 15, {workload.key: observation})
    plan, _ = plan_cycle(a_fleet(workload), FleetState(), snapshot)
    action = NodeAction("h100", 1, 2)
    plan = replace(plan, pools={"h100": sized})

    recorder.record(Cycle(snapshot, plan, (Outcome(action, done=False),)))

    (change,) = recorder.decided().node_changes
    assert (change.seconds, change.before, change.after, change.wanted) == (15.0, 1, 2, 2)
    assert (change.reason, change.text) == ("recommended", "2 nodes hold 3 replicas")
    assert not change.done
