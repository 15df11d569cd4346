"""Recorded cycles decided again: the same code gives the same bytes, another file other numbers."""

from pathlib import Path

import orjson
import pytest

from autoscaler.controller import Controller
from autoscaler.core.decision import Action, NodeAction, Outcome
from autoscaler.core.errors import ConfigError
from autoscaler.core.node_pools import NodeBounds, NodePool, NodePoolMetadata, NodePoolSpec
from autoscaler.core.observation import NodePoolStatus, Snapshot
from autoscaler.core.spec import Actuation, Replica
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.journal import JournalFile, SeriesByKey, read_header, read_journal
from autoscaler.plugins import load_combiner
from autoscaler.verify import line_of, recorded_fleet, verify
from policies.reactive.target_tracking import TargetTracking
from tests.builders import NOON, Counts, a_workload, seen

LOADS = (10, 10, 90, 120, 60, 10, 10, 10)


def tracking(
    target: float = 20.0,
    *,
    name: str = "chat",
    actuation: Actuation = Actuation.SCALE,
    pool: str | None = None,
) -> ScaledWorkload:
    return a_workload(
        TargetTracking(signal="load", target=target),
        name=name,
        signals={"load": {}},
        actuation=actuation,
        behavior={},
        replica=Replica(gpus=1, node_pool=pool),
    )


def fleet_of(*workloads: ScaledWorkload, pools: tuple[NodePool, ...] = ()) -> FleetSpec:
    return FleetSpec(workloads, {"highest": load_combiner("highest")}, pools)


def a_pool(most: int = 9) -> NodePool:
    return NodePool(
        metadata=NodePoolMetadata(name="h100"),
        spec=NodePoolSpec(
            gpus_per_node=2, nodes=NodeBounds(min=1, max=most), actuation=Actuation.SCALE
        ),
    )


class World:
    """Carries out what it is told, but every `fails`-th action; replicas serve at once."""

    def __init__(self, fails: int = 0) -> None:
        self.replicas = 1
        self.nodes = 1
        self.asked = 0
        self.fails = fails

    def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
        load = float(LOADS[round((now - NOON) / 15) % len(LOADS)])
        return Snapshot(
            now,
            {
                workload.key: seen(self.replicas, at=now, signals={"load": load})
                for workload in fleet.workloads
            },
            pools={pool.key: NodePoolStatus(self.nodes, self.nodes) for pool in fleet.pools},
        )

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        self.asked += 1
        if self.fails and self.asked % self.fails == 0:
            return Outcome(action, done=False, detail="the API server is away")
        if isinstance(action, NodeAction):
            self.nodes = action.after
        else:
            self.replicas = action.after
        return Outcome(action, done=True)


def recorded(
    path: Path,
    *workloads: ScaledWorkload,
    cycles: int = 40,
    fails: int = 0,
    pools: tuple[NodePool, ...] = (),
) -> Path:
    world, fleet = World(fails), fleet_of(*workloads, pools=pools)
    with JournalFile(path, fleet) as journal:
        controller = Controller(fleet, observer=world, actuator=world, journal=journal)
        for cycle in range(cycles):
            controller.run_once(NOON + 15 * cycle)
    return path


@pytest.mark.parametrize("fails", [0, 2], ids=["every action done", "every second action failed"])
def test_an_unchanged_journal_is_decided_alike_to_the_byte(tmp_path: Path, fails: int) -> None:
    journal = recorded(tmp_path / "day.jsonl", tracking(), fails=fails)

    found = verify(journal)

    assert found.equal
    assert found.other_lines == 0
    assert (found.cycles, found.started) == (40, NOON)
    assert [(one.key, one.cycles, one.differ) for one in found.workloads] == [("llm/chat", 40, 0)]


def test_the_order_of_signals_is_that_of_the_file(tmp_path: Path) -> None:
    """A journal sorts its keys; the readings of a decision do not."""
    workload = a_workload(
        TargetTracking(signal="load", target=20), signals={"zeal": {}, "load": {}, "ardour": {}}
    )
    journal = recorded(tmp_path / "day.jsonl", workload, cycles=2)

    (read,) = recorded_fleet(journal).workloads

    assert list(read.spec.signals) == ["zeal", "load", "ardour"]
    assert verify(journal).equal


def test_encoding_what_was_read_gives_the_lines_of_the_file(tmp_path: Path) -> None:
    journal = recorded(tmp_path / "day.jsonl", tracking())
    written = SeriesByKey()

    lines = [
        line_of(cycle, number, written) for number, cycle in enumerate(read_journal(journal), 1)
    ]

    assert b"".join(lines) == journal.read_bytes().partition(b"\n")[2]


def test_the_fleet_of_the_header_is_the_fleet_that_decided(tmp_path: Path) -> None:
    journal = recorded(tmp_path / "day.jsonl", tracking(), tracking(name="code"), cycles=1)

    assert recorded_fleet(journal).workloads == (tracking(), tracking(name="code"))


def test_another_policy_file_shows_where_it_would_decide_otherwise(tmp_path: Path) -> None:
    journal = recorded(tmp_path / "day.jsonl", tracking(20))

    found = verify(journal, fleet_of(tracking(10)), keep=2)

    (verdict,) = found.workloads
    assert not found.equal
    assert found.other_lines is None
    assert 0 < verdict.counts_differ <= verdict.differ <= verdict.cycles
    assert len(verdict.first) == 2
    first = verdict.first[0]
    assert first.of_count
    line = journal.read_bytes().splitlines()[first.line - 1]
    assert orjson.loads(line)["plan"]["now"] == first.cycle.plan.now
    assert first.recorded == first.cycle.plan.decisions["llm/chat"]
    # 120 at 20 each are 6; at 10 each 12, of which the default rate allows twice the 5 there are.
    assert (first.recorded.replicas, first.now.replicas) == (6, 10)


def test_a_change_of_words_alone_is_told_apart_from_one_of_numbers(tmp_path: Path) -> None:
    """Targets that want the same counts, for loads that are multiples of ten."""
    journal = recorded(tmp_path / "day.jsonl", tracking(20))

    (verdict,) = verify(journal, fleet_of(tracking(20.001))).workloads

    assert verdict.counts_differ == 0
    assert verdict.differ == 40
    assert not verdict.first[0].of_count


def test_a_given_file_decides_under_the_recorded_actuation(tmp_path: Path) -> None:
    journal = recorded(tmp_path / "day.jsonl", tracking())

    assert verify(journal, fleet_of(tracking(actuation=Actuation.NONE))).equal


def test_node_pools_are_decided_again_too(tmp_path: Path) -> None:
    workload = tracking(pool="h100")
    journal = recorded(tmp_path / "day.jsonl", workload, pools=(a_pool(),))

    same = verify(journal)
    other = verify(journal, fleet_of(workload, pools=(a_pool(most=2),)))

    assert same.equal
    assert [(one.pool, one.cycles, one.differ) for one in same.pools] == [("h100", 40, 0)]
    assert not other.equal
    (pool,) = other.pools
    assert 0 < pool.differ < pool.cycles
    assert pool.recorded is not None
    assert pool.now is not None
    assert pool.recorded.nodes == 3
    assert pool.now.nodes == 2
    assert pool.line > 1


def test_workloads_without_a_file_are_named(tmp_path: Path) -> None:
    journal = recorded(tmp_path / "day.jsonl", tracking(), tracking(name="code"))

    found = verify(journal, fleet_of(tracking(name="code")))

    assert found.left_out == ("llm/chat",)
    assert [one.key for one in found.workloads] == ["llm/code"]


def test_files_of_other_workloads_are_refused(tmp_path: Path) -> None:
    journal = recorded(tmp_path / "day.jsonl", tracking(), cycles=1)

    with pytest.raises(ConfigError) as refused:
        verify(journal, fleet_of(tracking(name="other")))

    assert str(refused.value) == f"{journal}: holds llm/chat, the policy files hold llm/other"


def test_a_policy_that_is_not_installed_is_named_with_its_place(tmp_path: Path) -> None:
    journal = recorded(tmp_path / "day.jsonl", a_workload(Counts()), cycles=1)

    with pytest.raises(ConfigError) as refused:
        verify(journal)

    assert str(refused.value).startswith(
        f"{journal}:1: spec.policies[0].type: no policy is called 'counts'"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"kind":"header","version":1}', "workloads: field required", id="nothing"),
        pytest.param(
            '{"kind":"header","pools":1,"version":1,"workloads":[{"metadata":{"name":"chat"},"spec":{}}]}',
            "pools: input should be a valid list, not 1",
            id="pools that are no list",
        ),
        pytest.param("[1]", "should be a JSON object", id="no object"),
        pytest.param("{", "not JSON", id="cut off"),
    ],
)
def test_a_broken_header_is_one_problem(tmp_path: Path, text: str, expected: str) -> None:
    journal = tmp_path / "day.jsonl"
    journal.write_text(text + "\n", encoding="utf-8")

    with pytest.raises(ConfigError) as refused:
        verify(journal)

    assert str(refused.value).startswith(f"{journal}:1: {expected}")


def test_a_journal_without_a_cycle_says_so(tmp_path: Path) -> None:
    journal = recorded(tmp_path / "day.jsonl", tracking(), cycles=0)
    assert read_header(journal)

    with pytest.raises(ConfigError) as refused:
        verify(journal)

    assert str(refused.value) == f"{journal}: holds no cycle"


def test_whoever_listens_hears_of_every_cycle(tmp_path: Path) -> None:
    heard: list[int] = []

    verify(recorded(tmp_path / "day.jsonl", tracking(), cycles=3), on_cycle=heard.append)

    assert heard == [1, 2, 3]
