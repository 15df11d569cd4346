"""What a look between two cycles adds to the next ones."""

from collections.abc import Callable, Mapping

import pytest

from autoscaler.adapters.early import EarlySignals
from autoscaler.adapters.prometheus.memory import SignalsSeen
from autoscaler.core.observation import Gap, GapReason, PodSample, Series, Snapshot
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from tests.builders import NOON, PerReplica, a_fleet, a_workload, seen


def asking(query: str = "q") -> ScaledWorkload:
    return a_workload(PerReplica(), signals={"load": {"query": query}}, minimum=0)


CHAT = asking()
FLEET = a_fleet(CHAT)


class Reader:
    """Reads what it is given."""

    def __init__(self, found: Mapping[str, SignalsSeen]) -> None:
        self.found = found
        self.closed = False
        self.meanwhile: Callable[[], object] = lambda: None

    def read(self, fleet: FleetSpec, now: float) -> Mapping[str, SignalsSeen]:
        self.meanwhile()
        return self.found

    def close(self) -> None:
        self.closed = True


class Newest:
    """Looks, and finds one sample or none."""

    def __init__(self, at: float | None = None, load: float = 25.0) -> None:
        self.find(at, load)
        self.might_go_on: bool | None = None

    def find(self, at: float | None, load: float = 25.0) -> None:
        self.found = {} if at is None else {(CHAT.key, "load"): a_series((at, load))}

    def read(
        self, fleet: FleetSpec, now: float, go_on: Callable[[], bool]
    ) -> dict[tuple[str, str], Series]:
        self.might_go_on = go_on()
        return self.found


def a_series(*samples: tuple[float, float]) -> Series:
    return Series.of([(NOON + at, value) for at, value in samples])


GRID = SignalsSeen({"load": a_series((0, 0.0))})
BEFORE = Snapshot(NOON, {CHAT.key: seen(0, signals={"load": 0.0})})


def early(
    newest: Newest, found: SignalsSeen = GRID, *, key: str = CHAT.key
) -> tuple[EarlySignals, Reader]:
    reader = Reader({key: found})
    return EarlySignals(reader, newest), reader  # type: ignore[arg-type]


def looked(signals: EarlySignals, before: Snapshot = BEFORE, after: float = 3) -> Snapshot:
    return signals.look(FLEET, before, NOON + after)


def read(signals: EarlySignals, after: float = 3, fleet: FleetSpec = FLEET) -> SignalsSeen:
    return signals.read(fleet, NOON + after)[CHAT.key]


class TestWhatALookShows:
    """The last cycle's sight, and newer samples."""

    def test_a_newer_sample_stands_behind_the_series(self) -> None:
        signals, _ = early(Newest(2))

        shown = looked(signals).observations[CHAT.key]

        assert shown.now == NOON + 3
        assert shown.signals["load"] == a_series((0, 0.0), (2, 25.0))

    @pytest.mark.parametrize(
        ("at", "load", "new"), [(2, 25.0, False), (4, 25.0, True), (2, 30.0, True)]
    )
    def test_what_was_judged_before_is_shown_no_more(
        self, at: float, load: float, new: bool
    ) -> None:
        newest = Newest(2)
        signals, _ = early(newest)
        looked(signals)
        assert looked(signals).observations != {}, "nobody has judged it yet"
        signals.judged(())

        newest.find(at, load)

        assert (looked(signals).observations != {}) is new

    def test_where_it_finds_nothing_or_the_last_cycle_saw_nobody_nobody_is_shown(self) -> None:
        assert looked(early(Newest())[0]).observations == {}
        assert looked(early(Newest(2))[0], Snapshot(NOON)).observations == {}

    def test_no_more_is_asked_once_a_cycle_reads(self) -> None:
        newest = Newest(2)
        signals, reader = early(newest)
        looked(signals)
        assert newest.might_go_on is True

        reader.meanwhile = lambda: looked(signals)
        read(signals)
        assert newest.might_go_on is False

        looked(signals)
        assert newest.might_go_on is True


class TestWhatItAddsToCycles:
    """Only what woke a workload, until a cycle has seen as new a sample itself."""

    def test_a_look_that_woke_nobody_leaves_no_trace(self) -> None:
        signals, _ = early(Newest(2))
        looked(signals)
        signals.judged(())

        assert read(signals) is GRID

    def test_what_woke_it_stays_until_a_cycle_has_seen_as_new_a_sample(self) -> None:
        signals, reader = early(Newest(2))
        looked(signals)
        signals.judged({CHAT.key})

        for after in (3, 14, 29):
            assert read(signals, after).signals["load"] == a_series((0, 0.0), (2, 25.0))

        own = SignalsSeen({"load": a_series((0, 0.0), (2, 24.0))}, {"load": Gap(GapReason.PARTIAL)})
        reader.found = {CHAT.key: own}
        assert read(signals, 30) == own
        reader.found = {CHAT.key: GRID}
        assert read(signals, 45) is GRID

    def test_a_signal_that_had_no_series_has_one_and_is_no_longer_missing(self) -> None:
        nothing = {"load": Gap(GapReason.EMPTY), "other": Gap(GapReason.ERROR)}
        pods = {"load": {"chat-1": PodSample(1.0, NOON)}}
        signals, _ = early(Newest(2), SignalsSeen(missing=nothing, pod_samples=pods))

        shown = looked(signals, Snapshot(NOON, {CHAT.key: seen(0, missing=nothing)}))
        signals.judged({CHAT.key})
        cycle = read(signals)

        for found in (shown.observations[CHAT.key], cycle):
            assert found.signals == {"load": a_series((2, 25.0))}
            assert list(found.missing) == ["other"]
        assert cycle.pod_samples == pods

    def test_an_error_stays_told(self) -> None:
        failed = SignalsSeen(missing={"load": Gap(GapReason.ERROR, "bad query")})
        signals, _ = early(Newest(2), failed)
        looked(signals)
        signals.judged({CHAT.key})

        assert read(signals).missing == failed.missing

    def test_another_query_is_not_answered_by_it(self) -> None:
        signals, _ = early(Newest(2))
        looked(signals)
        signals.judged({CHAT.key})

        assert read(signals, fleet=a_fleet(asking("per_minute"))) == GRID
        assert read(signals) == GRID, "it is forgotten"

    def test_a_workload_that_is_gone_and_a_sample_beyond_the_window_are_forgotten(self) -> None:
        signals, _ = early(Newest(2))
        for fleet, after in ((a_fleet(), 3.0), (FLEET, 3.0 + 3600.0)):
            looked(signals)
            signals.judged({CHAT.key})

            assert read(signals, after, fleet) == GRID
            assert read(signals) == GRID


def test_the_reader_is_closed() -> None:
    signals, reader = early(Newest())

    signals.close()

    assert reader.closed
