"""The closed loop: trace, replicas, controller."""

from pathlib import Path

import numpy as np
import pytest

from autoscaler.controller import Controller
from autoscaler.core.decision import Reason
from autoscaler.core.errors import ConfigError
from autoscaler.core.spec import Actuation, Slo
from autoscaler.core.workload import ScaledWorkload
from autoscaler.journal import JournalFile, read_journal
from policies.reactive.latency_guard import LatencyGuard
from policies.reactive.queue_drain import QueueDrain
from policies.reactive.target_tracking import TargetTracking
from simulations.arrivals import Traffic, synthesize
from simulations.cluster import SimulatedCluster
from simulations.replay import Progress, ReplayResult, replay
from simulations.trace import Trace, read_trace
from tests.simulations.builders import START, TRACES, Fixed, a_trace, a_workload, fleet

NAME = "llama-3.1-70b/h100/tp4/fp8"


SLOW = "llama-3.1-70b/a100/tp4/bfloat16"


def a_burst() -> Trace:
    """Six minutes of what one slow replica just carries, but for one of four times as much."""
    traffic = Traffic(
        seconds=360, requests_per_second=1.2, burst_from=120, burst_seconds=60, burst_factor=4
    )
    return synthesize(traffic, np.random.default_rng(1))


PROMISED = Slo(ttft_p95_seconds=2.0, itl_p95_seconds=0.1)


def drained(cold_start: float = 60.0, profile: str = SLOW) -> ScaledWorkload:
    return a_workload(
        "queue_length",
        "in_flight",
        "ttft_p95",
        policies=[
            QueueDrain(signal="queue_length"),
            TargetTracking(signal="in_flight", target=60),
            LatencyGuard(signal="ttft_p95"),
        ],
        profile=profile,
        slo=PROMISED,
        cold_start=cold_start,
    )


def journalled(path: Path, **settings: float) -> ReplayResult:
    workload = drained()
    with JournalFile(path, fleet(workload)) as journal:
        return replay(a_burst(), workload, journal=journal, **settings)  # type: ignore[arg-type]


def test_the_controller_scales_with_the_traffic() -> None:
    told = replay(a_burst(), drained())

    assert told.score.finished == told.score.requests == len(a_burst())
    calm = max(moment.desired for moment in told.timeline if moment.seconds <= 120)
    assert told.score.max_replicas > calm
    assert max(told.timeline, key=lambda moment: moment.queued).seconds > 120
    assert all(time % 15 == 0 for time, _, _ in told.changes)


def test_a_replay_answers_more_in_time_than_standing_still() -> None:
    moving = replay(a_burst(), drained()).score
    still = replay(a_burst(), a_workload(profile=SLOW, slo=PROMISED)).score

    assert still.scale_events == 0
    assert still.max_replicas == 1
    assert moving.attainment > still.attainment
    assert moving.gpu_hours > still.gpu_hours


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_the_same_replay_twice_gives_equal_bytes(tmp_path: Path, spread: float) -> None:
    one = journalled(tmp_path / "one.jsonl", cold_start_spread=spread)
    two = journalled(tmp_path / "two.jsonl", cold_start_spread=spread)

    assert one == two
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_the_journal_holds_every_cycle(tmp_path: Path) -> None:
    told = journalled(tmp_path / "j.jsonl")

    cycles = list(read_journal(tmp_path / "j.jsonl"))

    assert len(cycles) == told.cycles
    times = [cycle.plan.now - START for cycle in cycles]
    assert times == [15.0 * (i + 1) for i in range(told.cycles)]
    made = [
        (cycle.plan.now - START, outcome.action.before, outcome.action.after)
        for cycle in cycles
        for outcome in cycle.outcomes
        if outcome.done
    ]
    assert made == list(told.changes)


def test_spread_cold_starts_depend_on_the_seed() -> None:
    one, two = (
        replay(a_burst(), drained(), cold_start_spread=0.5, seed=seed).score for seed in (1, 2)
    )

    assert one != two


def test_a_replay_ends_when_everything_is_answered() -> None:
    """The last of 100 tokens comes 1.1 s after 60 s; the next look is at 75 s."""
    told = replay(a_trace((1.0, 10, 1), (60.0, 10, 100)), a_workload(profile=NAME))

    assert told.score.seconds == 75.0
    assert told.cycles == 4
    assert told.score.unfinished == 0
    assert [moment.seconds for moment in told.timeline] == [15.0, 30.0, 45.0, 60.0, 75.0]


def test_what_is_not_answered_in_time_is_unfinished() -> None:
    told = replay(a_trace((1.0, 10, 2000)), a_workload(profile=NAME), drain_seconds=10.0)

    assert told.score.seconds == 11.0
    assert (told.score.requests, told.score.unfinished) == (1, 1)
    assert told.score.attainment == 0.0
    assert told.cycles == 0


def test_progress_is_told_before_each_cycle() -> None:
    heard: list[Progress] = []

    told = replay(a_trace((50.0, 10, 1)), a_workload(profile=NAME), on_progress=heard.append)

    assert [progress.seconds for progress in heard] == [15.0, 30.0, 45.0, 60.0]
    assert {progress.total_seconds for progress in heard} == {50.0}
    assert [progress.moment for progress in heard] == list(told.timeline)


def test_the_timeline_shows_replicas_come_and_go() -> None:
    workload = a_workload(profile=NAME, cold_start=20, policies=[Fixed(replicas=3)])

    told = replay(a_trace((1.0, 10, 1), (80.0, 10, 1)), workload)

    shown = [(m.desired, m.ready, m.starting, m.draining) for m in told.timeline]
    assert shown[0] == (1, 1, 0, 0)
    assert shown[1] == (3, 1, 2, 0)
    assert shown[2] == (3, 3, 0, 0)


def test_a_file_that_only_watches_is_replayed_as_if_it_acted() -> None:
    workload = a_workload(profile=NAME, policies=[Fixed(replicas=2)])
    assert workload.spec.actuation is Actuation.NONE

    told = replay(a_trace((60.0, 10, 1)), workload)

    assert told.changes[0] == (15.0, 1, 2)


def test_replicas_at_the_start_can_be_chosen() -> None:
    told = replay(a_trace((1.0, 10, 1)), a_workload(profile=NAME), replicas=4)

    assert told.timeline[0].ready == 4


def test_blindness_at_the_start_changes_nothing() -> None:
    """Cycles before the first scrape see no signal."""
    workload = drained()
    cluster = SimulatedCluster(a_burst(), workload, start=START, scrape_seconds=60)
    controller = Controller(fleet(workload), observer=cluster, actuator=cluster)

    decision = controller.run_once(START + 15).plan.decisions["llm/chat"]

    assert decision.replicas == 1
    assert decision.reason is Reason.BLIND


@pytest.mark.parametrize(
    "settings",
    [{"interval_seconds": 0.0}, {"drain_seconds": -1.0}, {"cold_start_spread": -0.1}],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="should be above 0"):
        replay(a_trace((1.0, 1, 1)), a_workload(profile=NAME), **settings)  # type: ignore[arg-type]


def test_a_file_without_a_profile_cannot_be_replayed() -> None:
    with pytest.raises(ConfigError, match=r"\Aspec\.replica\.profile: is needed to simulate"):
        replay(a_trace((1.0, 1, 1)), a_workload())


@pytest.mark.slow
@pytest.mark.skipif(not TRACES.is_dir(), reason="the larger traces are not part of the project")
@pytest.mark.parametrize("name", ["azure_llm_2023_conv", "azure_llm_2023_code"])
def test_a_published_hour_is_replayed(name: str) -> None:
    trace = read_trace(TRACES / f"{name}.csv.gz")

    told = replay(trace, drained(cold_start=120, profile=NAME)).score

    assert told.finished == told.requests == len(trace)
    assert told.failed == told.unfinished == 0
    assert 0.7 < told.attainment <= 1
    assert told.gpu_hours == pytest.approx(4 * told.replica_hours)
