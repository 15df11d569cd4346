"""What is written is read back equal; equal cycles give equal bytes; nothing half-written stays."""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.decision import (
    Cycle,
    NodeAction,
    NodePoolDecision,
    Outcome,
    Plan,
    Reason,
)
from autoscaler.core.errors import ConfigError, JournalError
from autoscaler.core.observation import (
    Gap,
    GapReason,
    NodePoolStatus,
    Observation,
    PodSample,
    PodStatus,
    Series,
    Snapshot,
)
from autoscaler.core.planner import FleetState, plan_cycle
from autoscaler.core.policy import Forecast, Policy, Recommendation
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.journal import JournalFile, decode, encode, read_header, read_journal
from tests.builders import NOON, Counts, PerReplica, a_fleet, a_workload, seen

WORKLOAD = a_workload(PerReplica(), Counts(), signals={"load": {}})


def cycle_of(observation: Observation, workload: ScaledWorkload = WORKLOAD) -> Cycle:
    """A cycle in which every action was made."""
    snapshot = Snapshot(
        observation.now,
        {workload.key: observation},
        {"llm/gone": Gap(GapReason.ERROR, "404 not found")},
    )
    plan, _ = plan_cycle(a_fleet(workload), FleetState(), snapshot)
    outcomes = tuple(Outcome(action, done=True) for action in plan.actions())
    return Cycle(snapshot, plan, outcomes)


def sliding(count: int) -> list[Cycle]:
    """Cycles over a window of four samples that slides by one each time."""
    samples = [(NOON + 15 * step, float(step)) for step in range(count + 4)]
    return [
        cycle_of(
            seen(
                2,
                at=samples[end - 1][0],
                signals={"load": Series.of(samples[max(0, end - 4) : end])},
            )
        )
        for end in range(1, count + 1)
    ]


def a_journal(path: Path, cycles: int = 3) -> Path:
    with JournalFile(path, a_fleet(WORKLOAD)) as journal:
        for cycle in sliding(cycles):
            journal.record(cycle)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    cycles = sliding(10)

    with JournalFile(path, a_fleet(WORKLOAD)) as journal:
        for cycle in cycles:
            journal.record(cycle)

    assert list(read_journal(path)) == cycles


def test_the_header_names_the_policy_files(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    with JournalFile(path, a_fleet(WORKLOAD)):
        pass

    header = read_header(path)

    assert header["workloads"][0]["metadata"] == {
        "name": "chat",
        "namespace": "llm",
        "labels": {},
        "annotations": {},
    }
    assert header["workloads"][0]["spec"]["policies"][0]["type"] == "per-replica"


def test_a_series_is_written_once_and_then_only_its_new_samples() -> None:
    written: dict[tuple[str, str], Series] = {}
    documents = [encode(cycle, number, written) for number, cycle in enumerate(sliding(6), 1)]

    last = documents[-1]["snapshot"]["observations"][WORKLOAD.key]["signals"]["load"]
    assert last == {"from": NOON + 30, "times": [NOON + 75], "values": [5.0]}


def test_a_series_that_was_corrected_is_written_whole() -> None:
    written: dict[tuple[str, str], Series] = {}
    first = Series.of([(NOON - 15, 1.0), (NOON, 2.0)])
    encode(cycle_of(seen(2, signals={"load": first})), 1, written)

    corrected = Series.of([(NOON - 15, 9.0), (NOON, 2.0)])
    document = encode(cycle_of(seen(2, signals={"load": corrected})), 2, written)

    samples = document["snapshot"]["observations"][WORKLOAD.key]["signals"]["load"]
    assert samples == {
        "all": True,
        "from": NOON - 15,
        "times": [NOON - 15, NOON],
        "values": [9.0, 2.0],
    }


def test_everything_that_was_seen_survives() -> None:
    observation = seen(
        2,
        signals={"load": Series.of([(NOON - 15, math.nan), (NOON, math.inf)])},
        missing={"other": Gap(GapReason.PARTIAL, "one store is down")},
        failing=1,
        pods=(
            PodStatus("a", phase="Pending", ready=None, deleting=True, requests={"cpu": 0.5}),
            PodStatus("b", started=NOON, ready_changed=NOON + 1),
        ),
        pod_samples={"busy": {"a": PodSample(math.nan, NOON), "b": PodSample(0.25, NOON, 15.0)}},
    )
    cycle = cycle_of(observation)

    back = decode(orjson.loads(orjson.dumps(encode(cycle, 1, {}))), {})

    assert back == cycle or repr(back) == repr(cycle)
    assert back.snapshot.observations[WORKLOAD.key].signals == observation.signals


def test_node_pools_survive() -> None:
    pool = NodePoolDecision("h100", 1, 3, 3, Reason.RECOMMENDED, "3 nodes")
    snapshot = Snapshot(NOON, pools={"h100": NodePoolStatus(1, 1)})
    plan = Plan(NOON, acting=frozenset({"h100"}), pools={"h100": pool})
    cycle = Cycle(snapshot, plan, tuple(Outcome(action, done=True) for action in plan.actions()))

    back = decode(orjson.loads(orjson.dumps(encode(cycle, 1, {}))), {})

    assert back == cycle
    assert back.outcomes[0].action == NodeAction("h100", 1, 3)
    assert back.outcomes[0].action.key == "h100"


def test_keys_of_what_acts_are_in_one_order_whatever_that_of_the_set() -> None:
    """A set of texts is ordered by chance, anew in every process."""
    cycle = cycle_of(seen(2))
    keys = [f"team-{number}/chat" for number in range(40)]

    document = encode(replace(cycle, plan=replace(cycle.plan, acting=frozenset(keys))), 1, {})

    assert document["plan"]["acting"] == sorted(keys)


def test_a_forecast_survives() -> None:
    class Foresees(Policy):
        type: str = "foresees"

        def recommend(self, observation: Observation) -> Recommendation:
            times = np.array([NOON + 60.0, NOON + 120.0])
            values = np.array([[1.0, 2.0], [3.0, 4.0]])
            return Recommendation(2, "so", forecast=Forecast("load", times, (0.5, 0.9), values))

    cycle = cycle_of(seen(2), a_workload(Foresees()))

    back = decode(orjson.loads(orjson.dumps(encode(cycle, 1, {}))), {})

    assert back == cycle


def test_forecasts_are_equal_by_value() -> None:
    def forecast(value: float) -> Forecast:
        return Forecast("load", np.array([NOON]), (0.5,), np.array([[value]]))

    assert forecast(1.0) == forecast(1.0)
    assert hash(forecast(1.0)) == hash(forecast(1.0))
    assert forecast(1.0) != forecast(2.0)
    assert forecast(1.0) != "a forecast"


def test_equal_cycles_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        with JournalFile(tmp_path / name, a_fleet(WORKLOAD)) as journal:
            for cycle in sliding(5):
                journal.record(cycle)

    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_a_set_is_written_in_order_whatever_the_process() -> None:
    cycle = cycle_of(seen(3))
    names = [f"llm/chat-{number}" for number in range(10, 30)]

    document = encode(replace(cycle, plan=replace(cycle.plan, acting=frozenset(names))), 1, {})

    assert document["plan"]["acting"] == names


def test_a_journal_that_fails_midway_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"

    def fail() -> None:
        with JournalFile(path, a_fleet(WORKLOAD)) as journal:
            journal.record(sliding(1)[0])
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_journal_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = a_journal(tmp_path / "day.jsonl")
    earlier = path.read_bytes()
    journal = JournalFile(path, a_fleet(WORKLOAD))

    assert path.read_bytes() == earlier

    journal.close()
    assert path.read_bytes() == earlier.splitlines(keepends=True)[0]


# --- what has that name already ----------------------------------------------------------------


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    link = tmp_path / "day.jsonl"
    link.symlink_to("kept/real.jsonl")

    for _ in ("while it leads nowhere", "to an earlier journal"):
        a_journal(link)

        assert link.is_symlink()
        assert len(list(read_journal(tmp_path / "kept" / "real.jsonl"))) == 3
    assert names(tmp_path / "kept") == ["real.jsonl"]


def test_an_empty_file_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    path.touch()

    assert len(list(read_journal(a_journal(path)))) == 3


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"precious\n", id="text"),
        pytest.param(b'{"kind": "cycle"}\n', id="JSON lines of something else"),
        pytest.param(b'["kind"]\n', id="a list"),
        pytest.param(bytes(range(256)), id="bytes"),
        pytest.param(b"\n", id="an empty line"),
    ],
)
def test_a_file_that_is_no_journal_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "day.jsonl"
    path.write_bytes(content)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)

    for name in (path, link):
        with pytest.raises(ConfigError) as failure:
            JournalFile(name, a_fleet(WORKLOAD))

        assert str(failure.value) == (
            f"{name}: is not a journal; name another file, or remove it first"
        )
    assert path.read_bytes() == content
    assert names(tmp_path) == ["day.jsonl", "link.jsonl"]


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    with pytest.raises(ConfigError) as failure:
        JournalFile(path, a_fleet(WORKLOAD))

    assert str(failure.value) == f"{path}: is not a regular file; name another file"
    assert path.is_fifo()
    assert names(tmp_path) == ["pipe"]


@pytest.mark.parametrize("name", ["", ".", "folder", "folder/.."])
def test_a_folder_is_no_name_for_a_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()

    with pytest.raises(ConfigError) as failure:
        JournalFile(Path(name), a_fleet(WORKLOAD))

    assert str(failure.value) == f"{Path(name)}: is a folder; name a file"
    assert names(tmp_path) == ["folder"]


def test_a_link_to_itself_is_told(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    path.symlink_to(path)

    with pytest.raises(ConfigError, match="cannot be written: too many levels of symbolic links"):
        JournalFile(path, a_fleet(WORKLOAD))


def test_the_longest_name_will_do(tmp_path: Path) -> None:
    assert a_journal(tmp_path / ("n" * 255)).is_file()


def test_two_writers_of_one_journal_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    one, two = JournalFile(path, a_fleet(WORKLOAD)), JournalFile(path, a_fleet(WORKLOAD))
    for cycle in sliding(2):
        one.record(cycle)
    two.record(sliding(1)[0])

    one.close()
    assert len(list(read_journal(path))) == 2

    two.close()
    assert len(list(read_journal(path))) == 1
    assert names(tmp_path) == ["day.jsonl"]


# --- a disk that is full -----------------------------------------------------------------------


class FullDisk:
    """A file that takes so many bytes; what it was given beyond them fails at once or at close."""

    def __init__(self, room: int, *, late: bool = False) -> None:
        self.room, self.late = room, late

    def write(self, data: bytes) -> int:
        self.room -= len(data)
        if self.room < 0 and not self.late:
            raise OSError(28, "No space left on device")
        return len(data)

    def close(self) -> None:
        if self.room < 0:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("late", [False, True], ids=["at once", "only when it is closed"])
@pytest.mark.parametrize("room", [100, 3_000], ids=["in the header", "in a cycle"])
def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, late: bool
) -> None:
    path, opened = tmp_path / "day.jsonl", Path.open

    def full(self: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        file = opened(self, mode, *rest, **more)
        if mode != "xb":
            return file
        file.close()
        return FullDisk(room, late=late)

    monkeypatch.setattr(Path, "open", full)

    with pytest.raises(JournalError) as failure:
        a_journal(path, cycles=40)

    assert str(failure.value) == f"{path}: cannot be written: no space left on device"
    assert names(tmp_path) == []


def test_a_name_that_is_taken_meanwhile_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    journal = JournalFile(path, a_fleet(WORKLOAD))
    path.mkdir()

    with pytest.raises(JournalError) as failure:
        journal.close()

    assert str(failure.value) == f"{path}: cannot be written: is a directory"
    assert names(tmp_path) == ["day.jsonl"]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "day.jsonl"

    with pytest.raises(ConfigError) as failure:
        JournalFile(path, FleetSpec((), {}))

    assert str(failure.value) == f"{path}: cannot be written: no such file or directory"


# --- journals that somebody has edited -----------------------------------------------------------

NO_HEADER = ":1: should be the header of a journal of version 1"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", NO_HEADER, id="empty"),
        pytest.param(b'{"kind":"header","version":2}\n', NO_HEADER, id="another version"),
        pytest.param(b"[1]\n", ":1: should be a JSON object", id="no object"),
        pytest.param(b"time,value\n", ":1: not JSON: ", id="not JSON"),
        pytest.param(b"[" * 200_000, ":1: not JSON: ", id="nested too deep"),
        pytest.param(
            b'{"kind":"header","version":1}\n',
            ":1: workloads: field required",
            id="no workloads",
        ),
        pytest.param(
            b'{"kind":"header","version":1,"workloads":[]}\n',
            ":1: workloads: list should have at least 1 item after validation, not 0, not []",
            id="an empty list of workloads",
        ),
        pytest.param(
            b'{"kind":"header","version":1,"workloads":[{}]}\n',
            ":1: workloads.0.metadata: field required",
            id="a workload without a name",
        ),
        pytest.param(
            b'{"kind":"header","version":1,"workloads":[{"metadata":{"name":1},"spec":[]}]}\n',
            ":1: workloads.0.metadata.name: input should be a valid string, not 1",
            id="a name that is a number",
        ),
    ],
)
def test_a_file_that_is_no_journal_is_told_by_file_and_line(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "day.jsonl"
    path.write_bytes(content)

    with pytest.raises(ConfigError) as failure:
        list(read_journal(path))

    assert str(failure.value).startswith(f"{path}{problem}")


Edit = Callable[[dict[str, Any]], object]

EDITS: dict[str, tuple[Edit, str]] = {
    "no snapshot": (lambda line: line.pop("snapshot"), "snapshot: field required"),
    "no observation": (
        lambda line: line["snapshot"]["observations"].update({"llm/chat": None}),
        "snapshot.observations.llm/chat: input should be a valid dictionary ",
    ),
    "no status": (
        lambda line: line["snapshot"]["observations"]["llm/chat"].update(replicas=None),
        "snapshot.observations.llm/chat.replicas: ",
    ),
    "signals that are a list": (
        lambda line: line["snapshot"]["observations"]["llm/chat"].update(signals=[1]),
        "snapshot.observations.llm/chat.signals: input should be a valid dictionary, not [1]",
    ),
    "samples that are a number": (
        lambda line: line["snapshot"]["observations"]["llm/chat"]["signals"].update(load=1),
        "snapshot.observations.llm/chat.signals.load: input should be a valid dictionary ",
    ),
    "a sample that is null": (
        lambda line: line["snapshot"]["observations"]["llm/chat"]["signals"]["load"].update(
            values=[None]
        ),
        "snapshot.observations.llm/chat.signals.load.values.0: input should be a valid number",
    ),
    "more times than values": (
        lambda line: line["snapshot"]["observations"]["llm/chat"]["signals"]["load"].update(
            times=[NOON + 100, NOON + 200], values=[1]
        ),
        "times and values should be two rows of one length, not ",
    ),
    "times that fall": (
        lambda line: line["snapshot"]["observations"]["llm/chat"]["signals"]["load"].update(
            times=[NOON + 200, NOON + 100], values=[1, 2]
        ),
        "times should rise strictly",
    ),
    "a plan without a time": (
        lambda line: line["plan"].pop("now"),
        "plan.now: field required",
    ),
    "a time that no calendar holds": (
        lambda line: line["plan"].update(now=1e300),
        "plan.now: input should be less than or equal to 253402300799, not 1e+300",
    ),
    "decisions that are a list": (
        lambda line: line["plan"].update(decisions=[]),
        "plan.decisions: input should be a valid dictionary, not []",
    ),
    "a reason that nobody knows": (
        lambda line: line["plan"]["decisions"]["llm/chat"].update(reason="fun"),
        "plan.decisions.llm/chat.reason: input should be ",
    ),
    "a key of several lines": (
        lambda line: line["plan"]["decisions"].update({"a\nb": 1}),
        "plan.decisions.a?b: ",
    ),
    "another kind": (lambda line: line.update(kind="song"), "kind: input should be 'cycle', not "),
    "no number": (lambda line: line.pop("cycle"), "cycle: field required"),
}


@pytest.mark.parametrize(("edit", "problem"), EDITS.values(), ids=EDITS.keys())
def test_an_edited_line_is_told_by_file_and_line(tmp_path: Path, edit: Edit, problem: str) -> None:
    path = a_journal(tmp_path / "day.jsonl")
    lines = path.read_bytes().splitlines()
    line = orjson.loads(lines[2])
    edit(line)
    path.write_bytes(b"\n".join([*lines[:2], orjson.dumps(line), *lines[3:]]))

    with pytest.raises(ConfigError) as failure:
        list(read_journal(path))

    assert str(failure.value).startswith(f"{path}:3: not a cycle of a journal: {problem}")
    assert len(str(failure.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        pytest.param([1, 3], ":3: cycle 2 is missing", id="a line was deleted"),
        pytest.param([2, 3], ":2: cycle 1 is missing", id="the first line was deleted"),
        pytest.param(
            [1, 2, 2, 3], ":4: cycle 3 should stand here, not cycle 2", id="a line stands twice"
        ),
        pytest.param([2, 1, 3], ":2: cycle 1 is missing", id="two lines changed places"),
    ],
)
def test_lines_that_are_missing_or_out_of_order_are_told(
    tmp_path: Path, order: list[int], problem: str
) -> None:
    path = a_journal(tmp_path / "day.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], *(lines[number] for number in order)]))

    with pytest.raises(ConfigError) as failure:
        list(read_journal(path))

    assert str(failure.value) == f"{path}{problem}"


def test_a_line_that_was_cut_off_is_told(tmp_path: Path) -> None:
    path = a_journal(tmp_path / "day.jsonl")
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(ConfigError) as failure:
        list(read_journal(path))

    assert str(failure.value).startswith(f"{path}:4: not JSON: ")


def test_a_journal_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"

    with pytest.raises(ConfigError) as failure:
        read_header(path)

    assert str(failure.value) == f"{path}: cannot be read: no such file or directory"


windows = st.lists(
    st.lists(
        st.tuples(st.integers(0, 30), st.floats(allow_nan=True, allow_infinity=True)),
        max_size=6,
        unique_by=lambda pair: pair[0],
    ),
    min_size=1,
    max_size=6,
)


@given(windows)
def test_any_sequence_of_windows_is_read_back(history: list[list[tuple[int, float]]]) -> None:
    written: dict[tuple[str, str], Series] = {}
    known: dict[tuple[str, str], Series] = {}
    for number, samples in enumerate(history, start=1):
        series = Series.of(sorted((NOON + time, value) for time, value in samples))
        document = encode(cycle_of(seen(2, signals={"load": series})), number, written)

        cycle = decode(orjson.loads(orjson.dumps(document)), known)

        assert cycle.snapshot.observations[WORKLOAD.key].signals["load"] == series
