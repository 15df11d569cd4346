"""What is written is read back equal; equal cycles give equal bytes; nothing half-written stays."""

import math
from pathlib import Path

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
from autoscaler.core.errors import ConfigError
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
    documents = [encode(cycle, written) for cycle in sliding(6)]

    last = documents[-1]["snapshot"]["observations"][WORKLOAD.key]["signals"]["load"]
    assert last == {"from": NOON + 30, "times": [NOON + 75], "values": [5.0]}


def test_a_series_that_was_corrected_is_written_whole() -> None:
    written: dict[tuple[str, str], Series] = {}
    encode(cycle_of(seen(2, signals={"load": Series.of([(NOON - 15, 1.0), (NOON, 2.0)])})), written)

    corrected = Series.of([(NOON - 15, 9.0), (NOON, 2.0)])
    document = encode(cycle_of(seen(2, signals={"load": corrected})), written)

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

    back = decode(orjson.loads(orjson.dumps(encode(cycle, {}))), {})

    assert back == cycle or repr(back) == repr(cycle)
    assert back.snapshot.observations[WORKLOAD.key].signals == observation.signals


def test_node_pools_survive() -> None:
    pool = NodePoolDecision("h100", 1, 3, 3, Reason.RECOMMENDED, "3 nodes")
    snapshot = Snapshot(NOON, pools={"h100": NodePoolStatus(1, 1)})
    plan = Plan(NOON, acting=frozenset({"h100"}), pools={"h100": pool})
    cycle = Cycle(snapshot, plan, tuple(Outcome(action, done=True) for action in plan.actions()))

    back = decode(orjson.loads(orjson.dumps(encode(cycle, {}))), {})

    assert back == cycle
    assert back.outcomes[0].action == NodeAction("h100", 1, 3)
    assert back.outcomes[0].action.key == "h100"


def test_a_forecast_survives() -> None:
    class Foresees(Policy):
        type: str = "foresees"

        def recommend(self, observation: Observation) -> Recommendation:
            times = np.array([NOON + 60.0, NOON + 120.0])
            values = np.array([[1.0, 2.0], [3.0, 4.0]])
            return Recommendation(2, "so", forecast=Forecast("load", times, (0.5, 0.9), values))

    cycle = cycle_of(seen(2), a_workload(Foresees()))

    back = decode(orjson.loads(orjson.dumps(encode(cycle, {}))), {})

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
    path = tmp_path / "day.jsonl"
    path.write_text("precious\n")
    journal = JournalFile(path, a_fleet(WORKLOAD))

    assert path.read_text() == "precious\n"

    journal.close()
    assert path.read_text() != "precious\n"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "day.jsonl"

    with pytest.raises(ConfigError) as failure:
        JournalFile(path, FleetSpec((), {}))

    assert str(failure.value) == f"{path}: cannot be written: No such file or directory"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", ":1: should be the header of a journal of version 1", id="empty"),
        pytest.param(
            b'{"kind":"header","version":2}\n',
            ":1: should be the header of a journal of version 1",
            id="another version",
        ),
        pytest.param(b"[1]\n", ":1: should be a JSON object", id="no object"),
        pytest.param(b"time,value\n", ":1: not JSON: ", id="not JSON"),
        pytest.param(
            b'{"kind":"header","version":1}\n{"kind":"cycle"}\n',
            ":2: not a cycle of a journal: 'snapshot'",
            id="no snapshot",
        ),
        pytest.param(
            b'{"kind":"header","version":1}\n{"kind":"cycle","snapshot":{"now":"x"}}\n',
            ":2: not a cycle of a journal: 2 validation errors for Cycle",
            id="not a cycle",
        ),
        pytest.param(
            b'{"kind":"header","version":1}\n{"kind":"cyc', ":2: not JSON: ", id="cut off"
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


def test_a_journal_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"

    with pytest.raises(ConfigError) as failure:
        read_header(path)

    assert str(failure.value) == f"{path}: cannot be read: No such file or directory"


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
    for samples in history:
        series = Series.of(sorted((NOON + time, value) for time, value in samples))
        document = encode(cycle_of(seen(2, signals={"load": series})), written)

        cycle = decode(orjson.loads(orjson.dumps(document)), known)

        assert cycle.snapshot.observations[WORKLOAD.key].signals["load"] == series
