"""What a look between two cycles adds to the next one."""

from collections.abc import Mapping

from autoscaler.adapters.early import EarlySignals
from autoscaler.adapters.prometheus.memory import SignalsSeen
from autoscaler.core.observation import Gap, GapReason, PodSample, Series, Snapshot
from autoscaler.core.workload import FleetSpec
from tests.builders import NOON, PerReplica, a_fleet, a_workload, seen

CHAT = a_workload(PerReplica(), signals={"load": {}}, minimum=0)
FLEET = a_fleet(CHAT)
LOAD = CHAT.key, "load"


class Reader:
    """Reads the same again and again."""

    def __init__(self, found: Mapping[str, SignalsSeen]) -> None:
        self.found = found
        self.closed = False

    def read(self, fleet: FleetSpec, now: float) -> Mapping[str, SignalsSeen]:
        return self.found

    def close(self) -> None:
        self.closed = True


class Newest:
    """Looks, and finds this."""

    def __init__(self, **found: float) -> None:
        self.found = {LOAD: Series.of([(found["at"], found["load"])])} if found else {}
        self.closed = False

    def read(self, fleet: FleetSpec, now: float) -> dict[tuple[str, str], Series]:
        return self.found

    def close(self) -> None:
        self.closed = True


def early(found: SignalsSeen, newest: Newest, *, key: str = CHAT.key) -> EarlySignals:
    return EarlySignals(Reader({key: found}), newest)  # type: ignore[arg-type]


def a_series(*samples: tuple[float, float]) -> Series:
    return Series.of([(NOON + at, value) for at, value in samples])


BEFORE = Snapshot(NOON, {CHAT.key: seen(0, signals={"load": 0.0})})


def looked(signals: EarlySignals, before: Snapshot = BEFORE) -> Snapshot:
    return signals.look(FLEET, before, NOON + 3)


def test_a_newer_sample_stands_behind_the_series_of_the_next_cycle_and_of_no_other() -> None:
    signals = early(SignalsSeen({"load": a_series((0, 0.0))}), Newest(at=NOON + 2, load=25.0))

    shown = looked(signals).observations[CHAT.key]
    cycle, later = (signals.read(FLEET, NOON + after)[CHAT.key] for after in (3, 15))

    assert shown.now == NOON + 3
    assert shown.signals["load"] == a_series((0, 0.0), (2, 25.0))
    assert cycle.signals["load"] == a_series((0, 0.0), (2, 25.0))
    assert later.signals["load"] == a_series((0, 0.0))


def test_a_cycle_that_has_seen_it_itself_is_left_as_it_is() -> None:
    own = SignalsSeen({"load": a_series((0, 0.0), (2, 24.0))}, {"load": Gap(GapReason.PARTIAL)})
    signals = early(own, Newest(at=NOON + 2, load=25.0))
    looked(signals)

    assert signals.read(FLEET, NOON + 3)[CHAT.key] == own


def test_a_signal_that_had_no_series_has_one_and_is_no_longer_missing() -> None:
    nothing = {"load": Gap(GapReason.EMPTY), "other": Gap(GapReason.ERROR)}
    pods = {"load": {"chat-1": PodSample(1.0, NOON)}}
    signals = early(SignalsSeen(missing=nothing, pod_samples=pods), Newest(at=NOON + 2, load=25.0))
    before = Snapshot(NOON, {CHAT.key: seen(0, missing=nothing)})

    shown = looked(signals, before).observations[CHAT.key]
    cycle = signals.read(FLEET, NOON + 3)[CHAT.key]

    for found in (shown, cycle):
        assert found.signals == {"load": a_series((2, 25.0))}
        assert list(found.missing) == ["other"]
    assert cycle.pod_samples == pods


def test_an_error_stays_told() -> None:
    failed = SignalsSeen(missing={"load": Gap(GapReason.ERROR, "bad query")})
    signals = early(failed, Newest(at=NOON + 2, load=25.0))
    looked(signals)

    assert signals.read(FLEET, NOON + 3)[CHAT.key].missing == failed.missing


def test_what_the_last_cycle_did_not_see_is_no_news() -> None:
    signals = early(SignalsSeen(), Newest(at=NOON + 2, load=25.0), key="llm/code")

    assert looked(signals, Snapshot(NOON)).observations == {}
    assert signals.read(FLEET, NOON + 3) == {"llm/code": SignalsSeen()}


def test_where_a_look_finds_nothing_nobody_is_seen() -> None:
    assert looked(early(SignalsSeen(), Newest())).observations == {}


def test_both_readers_are_closed() -> None:
    reader, newest = Reader({}), Newest()

    EarlySignals(reader, newest).close()  # type: ignore[arg-type]

    assert (reader.closed, newest.closed) == (True, True)
