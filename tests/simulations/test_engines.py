"""The compiled engine and the plain one behind one cluster: the same world, the same decisions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.config import load_fleet
from autoscaler.core.observation import Observation
from autoscaler.core.spec import Slo
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.journal import JournalFile
from policies.combine.highest import combine
from policies.reactive.queue_drain import QueueDrain
from policies.reactive.target_tracking import TargetTracking
from simulations.cluster import Engine, SimulatedCluster
from simulations.fast.compile import can_compile
from simulations.fast.pool import FastPool
from simulations.measurements import CATALOGUE
from simulations.minutes import Minutes
from simulations.outcomes import Outcomes
from simulations.pool import ReplicaPool
from simulations.replay import ReplayResult, replay
from simulations.score import Percentiles, Score, score
from simulations.trace import Trace, read_trace
from tests.simulations.builders import (
    START,
    TRACES,
    Fixed,
    a_pool,
    a_profile,
    a_trace,
    a_workload,
    scale,
    scale_nodes,
    seen,
)

PRESETS = Path(__file__).parents[2] / "policies" / "presets"
compiles = pytest.mark.skipif(not can_compile(), reason="numba is not installed")
DIFFERING = {"gpu_utilization"}
"""Signals that are sums of step lengths: equal to 1e-9. All others are counted, and equal."""


def close(number: object) -> object:
    return None if number is None else pytest.approx(number, rel=1e-9, abs=1e-9, nan_ok=True)


def columns(values: Outcomes | Minutes) -> dict[str, Any]:
    return {name: getattr(values, name).tolist() for name in values.__dataclass_fields__}


def observations_agree(one: Observation, other: Observation) -> None:
    assert (one.replicas, one.missing, one.pods) == (other.replicas, other.missing, other.pods)
    assert one.signals.keys() == other.signals.keys()
    for name, series in one.signals.items():
        again = other.signals[name]
        assert series.times.tolist() == again.times.tolist()
        values = again.values.tolist()
        assert series.values.tolist() == (
            close(values) if name in DIFFERING else pytest.approx(values, rel=0, abs=0, nan_ok=True)
        )
    assert one.pod_samples.keys() == other.pod_samples.keys()
    for name, samples in one.pod_samples.items():
        assert {pod: (s.value, s.time) for pod, s in samples.items()} == {
            pod: (close(s.value), s.time) for pod, s in other.pod_samples[name].items()
        }


def scores_agree(one: Score, other: Score) -> None:
    for name in one.__dataclass_fields__:
        mine, yours = getattr(one, name), getattr(other, name)
        if isinstance(mine, Percentiles):
            mine, yours = (mine.p50, mine.p95, mine.p99), (yours.p50, yours.p95, yours.p99)
        assert mine == close(yours), name


# No two of these numbers are in a simple proportion: what happens at one moment does so because it
# must, not by accident of rounding.
LAW = {"step_seconds": 0.0101234567, "sequence_seconds": 1.3571e-3, "kv_token_seconds": 1.1717e-5}
traffic = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 60), st.integers(1, 120)),
    min_size=1,
    max_size=25,
).map(lambda rows: a_trace(*sorted((tick * 0.1003, prompt, out) for tick, prompt, out in rows)))
moves = st.lists(
    st.tuples(st.integers(0, 90), st.booleans(), st.integers(0, 4)), max_size=12
).map(sorted)  # fmt: skip


@compiles
@given(
    trace=traffic,
    actions=moves,
    on_nodes=st.booleans(),
    kv=st.integers(120, 300),
    context=st.none() | st.integers(20, 140),
)
def test_what_is_seen_and_scored_is_the_same(
    trace: Trace,
    actions: list[tuple[int, bool, int]],
    on_nodes: bool,
    kv: int,
    context: int | None,
) -> None:
    workload = a_workload(
        *CATALOGUE,
        minimum=0,
        cold_start=7.0,
        node_pool="h100" if on_nodes else None,
        gpus=2,
        slo=Slo(ttft_p95_seconds=0.1713, itl_p95_seconds=0.0217, e2e_p95_seconds=0.7519),
    )
    both = [
        SimulatedCluster(
            trace,
            workload,
            start=START,
            profile=a_profile(kv_tokens=kv, context_tokens=context, **LAW),
            pools=[a_pool(gpus=4, maximum=4, provisioning=11.0)] if on_nodes else [],
            engine=engine,
        )
        for engine in (Engine.COMPILED, Engine.PLAIN)
    ]

    fast, plain = both
    for second, moves_nodes, count in [*actions, (100, True, 4), (100, False, 1), (900, False, 1)]:
        for cluster in both:
            if moves_nodes and on_nodes:
                scale_nodes(cluster, float(second), count)
            else:
                scale(cluster, float(second), count)
        observations_agree(*(seen(cluster, float(second)) for cluster in both))
        assert fast.moment() == plain.moment()
        assert fast.served == plain.served
    assert fast.served
    assert fast.outcomes is not None
    assert plain.outcomes is not None
    assert columns(fast.outcomes) == {
        name: close(column) for name, column in columns(plain.outcomes).items()
    }
    mine, yours = columns(fast.minutes), columns(plain.minutes)
    assert (mine["arrived"], mine["met"]) == (yours["arrived"], yours["met"])
    for name in ("ttft_p95", "itl_p95", "e2e_p95"):
        assert mine[name] == pytest.approx(yours[name], rel=0.016, nan_ok=True)
    scores_agree(score(fast), score(plain))
    for request, again in zip(fast.requests, plain.requests, strict=True):
        assert (request.index, request.end) == (again.index, again.end)
        assert (request.routed, request.prompt_tokens) == (close(again.routed), again.prompt_tokens)


def ten_minutes() -> Trace:
    path = TRACES / "azure_llm_2023_conv.csv.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    whole = read_trace(path)
    first = whole.arrivals < 600.0
    return Trace(
        whole.name, whole.arrivals[first], whole.prompt_tokens[first], whole.output_tokens[first]
    )


def replayed(
    trace: Trace, workload: ScaledWorkload, folder: Path, engine: Engine
) -> tuple[ReplayResult, bytes]:
    path = folder / f"{engine}.jsonl"
    fleet = FleetSpec((workload,), {workload.spec.combine: combine})
    with JournalFile(path, fleet) as journal:
        told = replay(
            trace, workload, journal=journal, engine=engine, seed=3, cold_start_spread=0.3
        )
    return told, path.read_bytes()


def engines_replay_alike(trace: Trace, workload: ScaledWorkload, folder: Path) -> ReplayResult:
    told, journal = replayed(trace, workload, folder, Engine.COMPILED)
    again, other = replayed(trace, workload, folder, Engine.PLAIN)
    assert told.changes == again.changes
    assert told.timeline == again.timeline
    assert journal == other
    scores_agree(told.score, again.score)
    return told


@compiles
@pytest.mark.parametrize("preset", ["vllm-queue-latency", "hpa", "kpa"])
def test_ten_minutes_of_conversations_give_the_same_journal_to_the_byte(
    preset: str, tmp_path: Path
) -> None:
    (workload,) = load_fleet([PRESETS / f"{preset}.yaml"]).workloads

    told = engines_replay_alike(ten_minutes(), workload, tmp_path)

    assert told.cycles >= 40


@compiles
def test_a_synthetic_burst_gives_the_same_journal_to_the_byte(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    arrivals = np.sort(np.concatenate([rng.uniform(0, 1500, 200), rng.uniform(100, 160, 600)]))
    trace = Trace("burst", arrivals, rng.integers(10, 4000, 800), rng.integers(1, 400, 800))
    workload = a_workload(
        *sorted(set(CATALOGUE) - DIFFERING),
        cold_start=31.7,
        profile="llama-3.1-70b/h100/tp4/fp8",
        slo=Slo(ttft_p95_seconds=1.0, itl_p95_seconds=0.05),
        policies=[QueueDrain(signal="queue_length"), TargetTracking(signal="in_flight", target=20)],
    )

    told = engines_replay_alike(trace, workload, tmp_path)

    assert told.score.scale_events > 4
    assert told.score.max_replicas > 3


@compiles
def test_beyond_the_requests_that_are_kept_one_by_one_the_tally_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(6)
    arrivals = np.sort(rng.uniform(0, 300, 500))
    trace = Trace("test", arrivals, rng.integers(1, 999, 500), rng.integers(1, 90, 500))
    workload = a_workload(
        "queue_length", slo=Slo(ttft_p95_seconds=0.3, itl_p95_seconds=0.011, e2e_p95_seconds=1.0)
    )

    def told(most: int) -> tuple[SimulatedCluster, Score]:
        monkeypatch.setattr("simulations.cluster.MOST_DETAILED", most)
        cluster = SimulatedCluster(
            trace, workload, start=START, profile=a_profile(), engine=Engine.COMPILED
        )
        cluster.advance(START + 320.0)
        return cluster, score(cluster)

    (kept, exact), (bare, about) = told(500), told(499)

    assert kept.outcomes is not None
    assert bare.outcomes is None
    assert bare.requests == []
    for name in Score.__dataclass_fields__:
        mine, yours = getattr(about, name), getattr(exact, name)
        if isinstance(mine, Percentiles):
            for share in ("p50", "p95", "p99"):
                assert getattr(mine, share) == pytest.approx(getattr(yours, share), rel=0.016)
        else:
            assert mine == close(yours), name
    assert exact.failed > 0 < exact.finished
    assert 0 < exact.attainment < 1


@compiles
def test_compiles_by_itself_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    def pool(engine: Engine = Engine.AUTO) -> object:
        return SimulatedCluster(
            a_trace((1.0, 1, 1)), a_workload(), start=START, profile=a_profile(), engine=engine
        ).pool

    assert isinstance(pool(), FastPool)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert isinstance(pool(), ReplicaPool)
    assert isinstance(pool(Engine.PLAIN), ReplicaPool)


@pytest.mark.parametrize("engine", [pytest.param(Engine.COMPILED, marks=compiles), Engine.PLAIN])
def test_pods_come_and_go_by_the_dozen(engine: Engine) -> None:
    """Each request writes 10 tokens; one a second, whoever serves it: no rate forgets anybody."""
    cluster = SimulatedCluster(
        a_trace(*((second + 0.4, 5, 10) for second in range(900))),
        a_workload("generation_tokens_per_second", "running", maximum=99, cold_start=2.0),
        start=START,
        profile=a_profile(),
        replicas=40,
        engine=engine,
    )

    for minute, replicas in enumerate((90, 1, 50, 1, 70, 2, 99, 1, 60, 3, 80, 1, 40)):
        at = 60.0 * (minute + 1)
        observation = seen(cluster, at)
        tokens = observation.signals["generation_tokens_per_second"].latest
        assert tokens == pytest.approx(10.0, rel=0.2)
        names = {pod.name for pod in observation.pods if pod.ready}
        assert set(observation.pod_samples["running"]) == names
        scale(cluster, at, replicas)


class Blind(Fixed):
    """Wants no pods."""

    @property
    def needs_pods(self) -> bool:
        return False


@pytest.mark.parametrize("engine", [pytest.param(Engine.AUTO, marks=compiles), Engine.PLAIN])
def test_pods_are_shown_only_where_a_policy_needs_them(engine: Engine) -> None:
    def shown(policy: Fixed) -> Observation:
        cluster = SimulatedCluster(
            a_trace((1.0, 10, 9)),
            a_workload("running", policies=[policy]),
            start=START,
            profile=a_profile(),
            engine=engine,
        )
        return seen(cluster, 30.0)

    with_pods, without = shown(Fixed()), shown(Blind())

    assert [pod.name for pod in with_pods.pods] == ["chat-0"]
    assert set(with_pods.pod_samples) == {"running"}
    assert (without.pods, without.pod_samples) == ((), {})
    assert without.signals == with_pods.signals
