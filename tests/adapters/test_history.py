"""The past, seen as it could be seen then: against the live reader, and against a made-up past."""

import math
from collections.abc import Iterator
from typing import Any

import pytest

from autoscaler.adapters.history import HistoryObserver
from autoscaler.adapters.prometheus.plan import plan_queries
from autoscaler.adapters.prometheus.reader import SignalReader
from autoscaler.adapters.prometheus.settings import SourceSettings
from autoscaler.adapters.prometheus.source import PrometheusSource
from autoscaler.controller import Controller
from autoscaler.core.decision import Action, NodeAction, Outcome
from autoscaler.core.node_pools import NodeBounds, NodePool, NodePoolMetadata, NodePoolSpec
from autoscaler.core.observation import Gap, GapReason
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from tests.adapters.prometheus.fleets import QUEUE, asking_all, fleet_of
from tests.builders import NOON, PerReplica, a_workload, largest
from tests.fakes.prometheus_double import Asked, Fault, Line, PrometheusDouble

HOUR = 3600.0
START = NOON // 30 * 30


class Past:
    """A past: the queue grows by one a minute, three replicas from the first half hour on."""

    def __init__(self) -> None:
        self.dies = math.inf
        self.kinds = {"deployment": "kube_deployment", "statefulset": "kube_statefulset"}

    def queue(self, at: float) -> float | None:
        return (at - START) // 60

    def __call__(self, asked: Asked) -> Iterator[Line]:
        for label, prefix in self.kinds.items():
            if prefix in asked.promql:
                known = {"namespace": "llm", label: "chat"}
                yield Line(known, lambda at: 2.0 if at < START + HOUR / 2 else 3.0)
                return
        yield Line({"model": "chat"}, self.queue, self.raw)

    def raw(self, at: float) -> float | None:
        return math.floor(at / 5) * 5 if at <= self.dies else None


@pytest.fixture
def past() -> Past:
    return Past()


@pytest.fixture
def double(past: Past) -> Iterator[PrometheusDouble]:
    with PrometheusDouble(past) as server:
        yield server


@pytest.fixture
def source(double: PrometheusDouble) -> Iterator[PrometheusSource]:
    settings = {"url": double.url, "retry": {"attempts": 1}}
    with PrometheusSource(SourceSettings.model_validate(settings)) as source:
        yield source


def a_fleet(**spec: Any) -> FleetSpec:
    signal = {"query": QUEUE, "windowSeconds": 120, "stepSeconds": 15, **spec}
    return fleet_of([asking_all("chat", {"queue": signal}, "default", {"model": "chat"})])


def history(source: PrometheusSource, hours: float = 1.0, **how: Any) -> HistoryObserver:
    return HistoryObserver({"default": source}, plan_queries, until=START + hours * HOUR, **how)


def cycles(hours: float = 1.0) -> Iterator[float]:
    for number in range(int(hours * 240) + 1):
        yield START + 15.0 * number


def test_every_moment_is_seen_as_the_live_reader_saw_it(source: PrometheusSource) -> None:
    fleet, observer = a_fleet(), history(source, chunk_seconds=600)
    with SignalReader({"default": source}, plan_queries, jitter_seconds=0.0) as reader:
        for now in cycles(0.5):
            live = reader.read(fleet, now)["llm/chat"]
            then = observer.observe(fleet, now).observations["llm/chat"]

            assert then.signals == live.signals
            assert then.missing == live.missing


def test_nothing_of_the_future_is_seen(source: PrometheusSource) -> None:
    fleet, observer = a_fleet(), history(source)

    for now in cycles():
        seen = observer.observe(fleet, now).observations["llm/chat"]
        assert seen.signals["queue"].latest_time <= now
        assert seen.signals["queue"].latest <= (now - START) // 60


def test_replicas_are_what_was_recorded(source: PrometheusSource) -> None:
    fleet, observer = a_fleet(), history(source)

    sizes = {
        now: observer.observe(fleet, now).observations["llm/chat"].replicas for now in cycles()
    }

    assert sizes[START + 600].desired == 2
    assert sizes[START + 2400].desired == 3
    assert sizes[START + 2400].ready == 3
    assert sizes[START + 2400].total == 3


def test_a_chunk_is_asked_once_and_memory_stays_bounded(
    source: PrometheusSource, double: PrometheusDouble
) -> None:
    fleet, observer = a_fleet(), history(source, hours=4, chunk_seconds=1800)
    sizes = []
    for now in cycles(4):
        observer.observe(fleet, now)
        sizes.append(observer.nbytes)

    assert len(double.asked) <= 4 * (8 + 1)
    assert max(sizes) <= 32 * (1800 / 15 + 8 + 3 * (1800 / 30 + 10) + 20)


def test_a_dead_target_is_a_gap_from_then_on(source: PrometheusSource, past: Past) -> None:
    past.dies = START + 1000
    fleet, observer = a_fleet(), history(source)

    seen = {now: observer.observe(fleet, now).observations["llm/chat"] for now in cycles()}

    assert seen[START + 990].missing == {}
    assert seen[START + 1020].missing["queue"].reason is GapReason.EMPTY
    assert seen[START + 1020].signals["queue"].latest_time == START + 990 + (1000 - 990) // 15 * 15
    assert "queue" not in seen[START + 1500].signals


def test_a_workload_whose_replicas_are_not_recorded_is_missing(
    source: PrometheusSource, past: Past
) -> None:
    past.kinds = {}

    snapshot = history(source).observe(a_fleet(), START)

    assert snapshot.observations == {}
    assert snapshot.missing["llm/chat"] == Gap(
        GapReason.EMPTY, "default: kube_deployment_spec_replicas has no sample of chat at that time"
    )


def of_kind(kind: str) -> ScaledWorkload:
    workload = next(iter(a_fleet().workloads))
    target = workload.spec.target.model_copy(update={"kind": kind})
    return workload.model_copy(update={"spec": workload.spec.model_copy(update={"target": target})})


def test_stateful_sets_have_metrics_of_their_own(source: PrometheusSource) -> None:
    snapshot = history(source).observe(fleet_of([of_kind("StatefulSet")]), START)

    assert snapshot.observations["llm/chat"].replicas.desired == 2


def test_kinds_that_nobody_records_are_told_and_so_are_node_pools(source: PrometheusSource) -> None:
    pool = NodePool(
        metadata=NodePoolMetadata(name="h100"),
        spec=NodePoolSpec(gpus_per_node=8, nodes=NodeBounds(max=4)),
    )
    fleet = FleetSpec((of_kind("LeaderWorkerSet"),), {"highest": largest}, (pool,))

    missing = history(source).observe(fleet, START).missing

    assert missing["llm/chat"].detail == (
        "the past replicas of a LeaderWorkerSet are not recorded; "
        "known are: Deployment, StatefulSet"
    )
    assert missing[pool.key].detail == "the past sizes of node pools are not known"


@pytest.mark.parametrize(
    ("fault", "reason", "detail"),
    [
        pytest.param(
            Fault(status=400, body=b'{"status":"error","error":"no"}'),
            GapReason.ERROR, "default: bad query: no", id="refused",
        ),
        pytest.param(
            Fault(warnings=("a store is gone",)),
            GapReason.PARTIAL, "default: a store is gone", id="partial",
        ),
    ],
)  # fmt: skip
def test_what_could_not_be_fetched_is_a_gap_of_its_chunk(
    source: PrometheusSource, double: PrometheusDouble, fault: Fault, reason: GapReason, detail: str
) -> None:
    fleet, observer = a_fleet(), history(source, chunk_seconds=600)
    double.fault = lambda asked: fault if "kube" not in asked.promql else None
    broken = observer.observe(fleet, START).observations["llm/chat"]
    double.fault = lambda _: None
    healed = observer.observe(fleet, START + 615).observations["llm/chat"]

    assert broken.missing["queue"].reason is reason
    assert broken.missing["queue"].detail.startswith(detail)
    assert healed.missing == {}
    assert healed.signals["queue"].latest == 10.0


def test_replicas_that_could_not_be_fetched_are_an_error(
    source: PrometheusSource, double: PrometheusDouble
) -> None:
    double.fault = lambda asked: Fault(reset=True) if "kube" in asked.promql else None

    missing = history(source).observe(a_fleet(), START).missing

    assert missing["llm/chat"].reason is GapReason.ERROR
    assert "unreachable" in missing["llm/chat"].detail


def test_an_answer_that_is_too_large_is_asked_for_in_parts(
    source: PrometheusSource, double: PrometheusDouble
) -> None:
    body = b'{"status":"error","error":"query processing would load too many samples"}'
    double.fault = lambda asked: Fault(status=422, body=body) if len(asked.times) > 50 else None

    seen = history(source).observe(a_fleet(), START).observations["llm/chat"]

    assert seen.missing == {}
    assert len(seen.signals["queue"]) == 8


def test_labels_that_the_query_keeps_are_told(source: PrometheusSource, past: Past) -> None:
    fleet = a_fleet(query="max by ($labels, engine) (queue{$match})")
    plain = past.__call__

    class Keeping(Past):
        def __call__(self, asked: Asked) -> Iterator[Line]:
            for line in plain(asked):
                more = {} if "namespace" in line.metric else {"engine": "0"}
                yield Line({**line.metric, **more}, line.value, line.raw)

    with (
        PrometheusDouble(Keeping()) as double,
        PrometheusSource(SourceSettings(url=double.url)) as keeping,
    ):
        seen = history(keeping).observe(fleet, START).observations["llm/chat"]

    assert "keeps the label engine" in seen.missing["queue"].detail


def test_a_source_that_is_not_configured_is_told(source: PrometheusSource) -> None:
    signal = {"queue": {"query": QUEUE}}
    fleet = fleet_of([asking_all("chat", signal, "west", {"model": "chat"})])

    missing = history(source).observe(fleet, START).missing

    assert missing["llm/chat"].detail == "no source is called 'west'"


def test_going_back_in_time_starts_anew(source: PrometheusSource) -> None:
    fleet, observer = a_fleet(), history(source)
    first = observer.observe(fleet, START + 600)
    observer.observe(fleet, START + 3000)

    again = observer.observe(fleet, START + 600)

    assert again.observations["llm/chat"].signals == first.observations["llm/chat"].signals


class Nobody:
    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        return Outcome(action, done=False, detail="a backtest changes nothing")


def test_a_controller_decides_over_the_past(source: PrometheusSource) -> None:
    workload = a_workload(
        PerReplica(signal="queue"), signals={"queue": {"query": QUEUE, "stepSeconds": 15}},
        match={"model": "chat"},
    )  # fmt: skip
    controller = Controller(fleet_of([workload]), observer=history(source), actuator=Nobody())

    wanted = [controller.run_once(now).plan.decisions["llm/chat"].replicas for now in cycles()]

    assert wanted[0] == 1
    assert wanted[-1] == 6
    assert wanted == sorted(wanted, key=lambda count: count or 0)
