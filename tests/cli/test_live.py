"""The table that follows a controller: what it shows, when it draws, and how it waits."""

import io
import sys
from itertools import pairwise

import pytest
from rich.console import Console

from autoscaler.cli import demo
from autoscaler.cli.live import CHANGES_SHOWN, Watched, bars, live, picture
from autoscaler.core.decision import Cycle, Decision, Plan, Proposal, Reading, Reason, SignalState
from autoscaler.core.observation import Observation, ReplicaStatus, Snapshot
from autoscaler.core.policy import Recommendation

START = 1_767_571_200.0
WORKLOAD = demo.preset_workload(demo.OURS)


def a_cycle(
    seconds: float, *, before: int = 2, after: int = 3, ready: int = 2, wanted: int | None = None
) -> Cycle:
    combined = after if wanted is None else wanted
    now, key = START + seconds, WORKLOAD.key
    decision = Decision(
        key,
        before,
        combined,
        after,
        Reason.RECOMMENDED if combined == after else Reason.RATE_LIMITED,
        "what became of it",
        readings=(
            Reading("queue_length", SignalState.FRESH, 14.0, 1.0),
            Reading("ttft_p95", SignalState.FRESH, 0.4567, 1.0),
            Reading("requests_per_second", SignalState.MISSING, None, None),
        ),
        proposals=(
            Proposal("latency-guard", live=False, recommendation=None),
            Proposal(
                "queue-drain",
                live=True,
                recommendation=Recommendation(combined, f"queue_length is 14: {combined} drain it"),
            ),
        ),
    )
    seen = Observation(now, ReplicaStatus(desired=before, ready=ready, total=before))
    return Cycle(Snapshot(now, {key: seen}), Plan(now, {key: decision}))


def watched() -> Watched:
    return Watched(WORKLOAD, START, 86_400.0)


def lines(table_of: Watched) -> dict[str, str]:
    console = Console(file=io.StringIO(), width=140, color_system=None)
    console.print(picture(table_of))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    rows = (line.split(None, 1) for line in printed.splitlines() if line.strip())
    return {first: rest.strip() for first, rest in rows}


def test_it_shows_time_replicas_signals_and_the_decision_with_its_reason() -> None:
    seen = watched()
    seen.record(a_cycle(43_200.0, before=3, after=3, ready=2))

    assert lines(seen) == {
        "time": "2026-01-05 12:00:00 (50% of the traffic)",
        "replicas": "■■□ 2 ready, 1 starting",
        "queue_length": "14",
        "requests_per_second": "no sample",
        "ttft_p95": "457 ms",
        "itl_p95": "no sample",
        "decided": "3 replicas: queue_length is 14: 3 drain it",
    }


def test_the_latest_changes_stay_below_with_their_reasons() -> None:
    seen = watched()
    for minute in range(CHANGES_SHOWN + 2):
        seen.record(a_cycle(60.0 * minute, before=2, after=3 + minute % 2))

    rows = [(line, words) for line, words in pairs(seen) if line.startswith("2026")]

    assert [at for at, _ in rows] == [f"2026-01-05 00:0{minute}:00" for minute in (6, 5, 4, 3, 2)]
    assert rows[0][1] == "2 → 3 queue_length is 14: 3 drain it"


def pairs(table_of: Watched) -> list[tuple[str, str]]:
    console = Console(file=io.StringIO(), width=140, color_system=None)
    console.print(picture(table_of))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    return [(line[1:20].strip(), line[20:].strip()) for line in printed.splitlines()]


def test_a_number_that_a_rule_changed_says_what_the_rule_said() -> None:
    seen = watched()
    seen.record(a_cycle(15.0, wanted=9))

    assert lines(seen)["decided"] == "3 replicas: what became of it"


def test_a_workload_that_was_not_seen_keeps_what_was_seen_before() -> None:
    seen = watched()
    seen.record(a_cycle(15.0, before=3, ready=3))
    unseen = a_cycle(30.0)
    decision = Decision(WORKLOAD.key, None, None, None, Reason.UNSEEN, "was not seen")
    seen.record(Cycle(Snapshot(START + 30, {}), Plan(unseen.plan.now, {WORKLOAD.key: decision})))

    assert (seen.ready, seen.desired) == (3, 3)
    assert lines(seen)["decided"] == "None replicas: was not seen"


def test_before_the_first_cycle_there_is_nothing_to_tell() -> None:
    empty = Watched(WORKLOAD, 0.0, 0.0)

    assert "decided" not in lines(empty)
    assert empty.share == 1.0


def a_terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Let somebody look at what goes to stderr; to be called in the test itself."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    return screen


class Wall:
    """A clock that passes only while somebody waits, and a little at each look."""

    def __init__(self, look_seconds: float = 0.0) -> None:
        self.now, self.look_seconds = 100.0, look_seconds

    def __call__(self) -> float:
        self.now += self.look_seconds
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("speed", [60.0, 600.0])
def test_simulated_time_passes_at_the_speed_asked_for(
    speed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_terminal(monkeypatch)
    wall, times = Wall(), []
    with live(watched(), speed=speed, clock=wall, pause=wall.wait) as journal:
        assert journal is not None
        for cycle in range(1, 20):
            journal.record(a_cycle(15.0 * cycle))
            times.append(wall.now)

    assert [later - one for one, later in pairwise(times)] == pytest.approx([15 / speed] * 18)


def test_a_speed_that_cannot_be_kept_up_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    a_terminal(monkeypatch)
    with live(
        watched(), speed=60.0, clock=Wall(look_seconds=1.0), pause=lambda _: pytest.fail("waited")
    ) as journal:
        assert journal is not None
        for cycle in range(1, 20):
            journal.record(a_cycle(15.0 * cycle))


def test_without_a_speed_nothing_waits_and_few_cycles_are_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = a_terminal(monkeypatch)
    wall = Wall(look_seconds=0.01)
    with live(watched(), clock=wall, pause=lambda _: pytest.fail("waited")) as journal:
        assert journal is not None
        for cycle in range(100):
            journal.record(a_cycle(15.0 * cycle))

    assert 3 <= terminal.getvalue().count("of the traffic") <= 8


@pytest.mark.parametrize("quiet", [True, False])
def test_nothing_is_drawn_where_nobody_looks(quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to be quiet on a terminal, or not on a terminal at all."""
    if quiet:
        a_terminal(monkeypatch)
    else:
        monkeypatch.setattr(sys, "stderr", io.StringIO())

    with live(watched(), quiet=quiet) as journal, bars(quiet=quiet) as on_progress:
        assert journal is None
        assert on_progress is None


def test_bars_show_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = a_terminal(monkeypatch)
    with bars() as on_progress:
        assert on_progress is not None
        for share in (0.0, 0.5, 1.0):
            on_progress("static", share)
        on_progress("hpa", 1.0)

    assert "static" in terminal.getvalue()
    assert "hpa" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


def test_on_a_terminal_the_demo_shows_the_controller_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import simulations.arrivals
    from autoscaler.cli import main
    from tests.cli.test_demo import SHORT

    monkeypatch.setattr(simulations.arrivals, "synthetic_day", lambda: SHORT)
    terminal = a_terminal(monkeypatch)

    assert main(("demo", "--no-report")) == 0

    assert "of the traffic" in terminal.getvalue()
    assert "queue_length" in terminal.getvalue()
