"""The reader against a real Prometheus that scrapes engines: deaths, resets, restarts, outages."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.live import LiveObserver, TargetSeen
from autoscaler.adapters.prometheus.memory import SignalsSeen
from autoscaler.adapters.prometheus.plan import PlanLimits, plan_queries
from autoscaler.adapters.prometheus.reader import SignalReader
from autoscaler.adapters.prometheus.settings import SourceSettings
from autoscaler.adapters.prometheus.source import PrometheusSource
from autoscaler.core.decision import Decision
from autoscaler.core.observation import (
    Gap,
    GapReason,
    Intervention,
    NodePoolStatus,
    PodStatus,
    ReplicaStatus,
    Series,
)
from autoscaler.core.planner import FleetState, plan_cycle
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from tests.adapters.prometheus.fleets import P95, asking_all, fleet_of
from tests.builders import PerReplica, a_fleet, a_workload
from tests.fakes.exporter import DcgmNode, Exporter, VllmEngine
from tests.fakes.prometheus import RealPrometheus

pytestmark = pytest.mark.slow

QUEUE = "sum by ($labels) (vllm:num_requests_waiting{$match})"
TOKENS = "sum by ($labels) (rate(vllm:generation_tokens_total{$match}[$window]))"
TTFT = P95.replace("ttft_seconds", "vllm:time_to_first_token_seconds")
UTILIZATION = "avg by ($labels) (max by ($labels, pod, UUID) (DCGM_FI_DEV_GPU_UTIL{$match}))"


def now() -> float:
    return time.time()  # noqa: TID251 - a real Prometheus lives in real time


def wanting(model: str, **queries: str) -> ScaledWorkload:
    signals: dict[str, dict[str, Any]] = {
        name: {"query": query, "windowSeconds": 60, "stepSeconds": 1}
        for name, query in queries.items()
    }
    return asking_all(model, signals, "default", {"model_name": model})


ENGINES = ("busy", "calm", "dies", "lives", "stays", "resets", "idle", "late", "steady", "returns")
FOUR = ("four-0", "four-1", "four-2", "four-3")
"""Replicas of one model."""
FRESH_SECONDS = 15.0
"""Far younger than the window; a busy machine scrapes and reads late."""


class Pair:
    """Engines that a real Prometheus scrapes. Each test takes engines of its own."""

    def __init__(self, folder: Path) -> None:
        self.engines = {name: VllmEngine(name) for name in ENGINES}
        self.engines |= {name: VllmEngine("four") for name in FOUR}
        gpus = DcgmNode(**{"free": 0.0, "chat-0": 40.0, "chat-1": 80.0})
        self.exporter = Exporter(**self.engines, gpus=gpus)
        where = self.exporter.address
        targets: dict[str, tuple[str, dict[str, str]]]
        targets = {path: (where, {}) for path in (*self.engines, "gpus")}
        self.prometheus = RealPrometheus(folder, targets)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("prometheus"))
    with pair.exporter, pair.prometheus:
        yield pair


class World:
    """A reader of one's own before the shared Prometheus."""

    def __init__(self, pair: Pair) -> None:
        self.exporter, self.prometheus, self.engines = pair.exporter, pair.prometheus, pair.engines
        settings = {
            "url": self.prometheus.url, "retry": {"attempts": 1}, "timeoutSeconds": 2,
            "breaker": {"failures": 3, "restSeconds": 0.2},
        }  # fmt: skip
        self.source = PrometheusSource(SourceSettings.model_validate(settings))
        self.reader = self.another_reader()

    def another_reader(self, scrape_seconds: float = 1.0) -> SignalReader:
        limits = PlanLimits(scrape_seconds=scrape_seconds)
        return SignalReader(
            {"default": self.source},
            lambda fleet: plan_queries(fleet, limits=limits),
            deadline_seconds=3.0,
            jitter_seconds=0.0,
        )

    def read(self, fleet: FleetSpec, model: str) -> SignalsSeen:
        return self.reader.read(fleet, now())[f"llm/{model}"]

    def until(
        self, fleet: FleetSpec, model: str, holds: Callable[[SignalsSeen], bool]
    ) -> SignalsSeen:
        """Read every fifth of a second until something holds."""
        found: list[SignalsSeen] = []

        def once() -> bool:
            found.append(self.read(fleet, model))
            time.sleep(0.2)
            return holds(found[-1])

        self.prometheus.until(once, f"{model} is seen as expected")
        return found[-1]

    def close(self) -> None:
        self.reader.close()
        self.source.close()


@pytest.fixture
def world(pair: Pair) -> Iterator[World]:
    world = World(pair)
    yield world
    world.close()


def age_of(series: Series) -> float:
    return now() - series.latest_time


def empty(seen: SignalsSeen, name: str) -> bool:
    """Whether a query brings nothing, and not just no answer in time."""
    return name in seen.missing and seen.missing[name].reason is GapReason.EMPTY


def samples(seen: SignalsSeen, name: str) -> int:
    return len(seen.signals.get(name, ()))


def test_everything_that_a_preset_asks_is_answered_for_each_workload(world: World) -> None:
    world.engines["busy"].waiting, world.engines["calm"].waiting = 7.0, 2.0
    world.engines["calm"].tokens_per_second = 50.0
    queries = {"queue": QUEUE, "tokens": TOKENS, "ttft": TTFT}
    fleet = fleet_of([wanting("busy", **queries), wanting("calm", **queries)])

    def settled(seen: SignalsSeen, tokens: float) -> bool:
        if len(seen.signals) < 3 or seen.missing:
            return False
        return seen.signals["tokens"].latest == pytest.approx(tokens, rel=0.1)

    busy = world.until(fleet, "busy", lambda seen: settled(seen, 100.0))
    calm = world.until(fleet, "calm", lambda seen: settled(seen, 50.0))

    assert world.reader.plan is not None
    assert len(world.reader.plan.queries) == 3
    assert busy.signals["queue"].latest == 7.0
    assert calm.signals["queue"].latest == 2.0
    assert 0.25 < busy.signals["ttft"].latest <= 0.5
    assert age_of(busy.signals["queue"]) < FRESH_SECONDS


def test_gpus_without_a_pod_are_nobodys(world: World) -> None:
    signals = {"gpu": {"query": UTILIZATION, "windowSeconds": 60, "stepSeconds": 1}}
    fleet = fleet_of([asking_all("chat", signals, "default", {"namespace": "llm"})])

    seen = world.until(fleet, "chat", lambda seen: "gpu" in seen.signals)

    assert seen.signals["gpu"].latest == 60.0


def test_a_signal_whose_target_died_grows_old_although_rates_still_answer(world: World) -> None:
    fleet = fleet_of([wanting("dies", tokens=TOKENS), wanting("lives", tokens=TOKENS)])
    world.reader.close()
    world.reader = world.another_reader(scrape_seconds=5.0)  # rates are over 21 s
    world.until(fleet, "dies", lambda seen: samples(seen, "tokens") >= 3)
    world.exporter.dead.add("dies")
    died = now()

    dead = world.until(fleet, "dies", lambda seen: empty(seen, "tokens") and now() > died + 2.5)
    still = world.prometheus.value(
        'sum(rate(vllm:generation_tokens_total{model_name="dies"}[21s]))'
    )

    alive = world.until(fleet, "lives", lambda seen: not seen.missing)

    assert still is not None
    assert dead.signals["tokens"].latest_time <= died + 0.3
    assert dead.missing["tokens"].reason is GapReason.EMPTY
    assert dead.missing["tokens"].detail.endswith("what the query still gives is an echo")
    assert age_of(alive.signals["tokens"]) < FRESH_SECONDS


def test_a_gauge_whose_target_died_is_empty_not_zero_and_fresh_when_it_returns(
    world: World,
) -> None:
    world.engines["returns"].waiting = 4.0
    fleet = fleet_of([wanting("returns", queue=QUEUE)])
    world.until(
        fleet, "returns",
        lambda seen: samples(seen, "queue") > 0 and seen.signals["queue"].latest == 4.0,
    )  # fmt: skip
    world.exporter.dead.add("returns")
    gone = world.until(fleet, "returns", lambda seen: empty(seen, "queue"))
    world.engines["returns"].waiting = 9.0
    world.exporter.dead.discard("returns")
    back = world.until(fleet, "returns", lambda seen: not seen.missing)

    assert gone.missing["queue"].reason is GapReason.EMPTY
    assert gone.missing["queue"].detail == "default: no series for model_name='returns'"
    assert gone.signals["queue"].latest == 4.0
    assert back.signals["queue"].latest == 9.0
    assert age_of(back.signals["queue"]) < FRESH_SECONDS


def test_a_counter_that_starts_again_is_no_dip(world: World) -> None:
    fleet = fleet_of([wanting("resets", tokens=TOKENS)])
    world.until(
        fleet, "resets",
        lambda seen: samples(seen, "tokens") > 0 and seen.signals["tokens"].latest > 90,
    )  # fmt: skip
    world.engines["resets"].restart()
    restarted = now()

    seen = world.until(
        fleet, "resets", lambda seen: seen.signals["tokens"].latest_time > restarted + 2
    )

    after = seen.signals["tokens"].since(restarted)
    assert after.values.min() > 60.0
    assert after.values.max() < 130.0


def test_no_requests_give_nan_and_not_zero(world: World) -> None:
    world.engines["idle"].ttft_seconds = None
    fleet = fleet_of([wanting("idle", ttft=TTFT)])

    seen = world.until(
        fleet, "idle", lambda seen: samples(seen, "ttft") > 0 and not seen.missing
        and math.isnan(seen.signals["ttft"].latest),
    )  # fmt: skip

    assert age_of(seen.signals["ttft"]) < FRESH_SECONDS


def test_a_scrape_that_comes_late_is_seen_with_its_own_time(world: World) -> None:
    fleet = fleet_of([wanting("late", queue=QUEUE)])
    world.until(fleet, "late", lambda seen: samples(seen, "queue") >= 2)
    world.engines["late"].waiting_seconds = 0.15
    slow_since = now()

    seen = world.until(
        fleet, "late", lambda seen: seen.signals["queue"].latest_time > slow_since + 1.5
    )

    times = seen.signals["queue"].times
    assert (times[1:] > times[:-1]).all()
    assert (times <= now()).all()


def test_a_new_reader_has_the_window_at_once(world: World) -> None:
    fleet = fleet_of([wanting("stays", queue=QUEUE)])
    old = world.until(fleet, "stays", lambda seen: samples(seen, "queue") >= 4)

    with world.another_reader() as reader:
        new = reader.read(fleet, now())["llm/stays"]

    kept = set(old.signals["queue"].times.tolist())
    assert len(kept - set(new.signals["queue"].times.tolist())) <= 1
    assert samples(new, "queue") >= samples(old, "queue") - 1


def test_a_query_that_prometheus_refuses_is_told_in_its_own_words(world: World) -> None:
    twice = (
        "sum by ($labels) (vllm:num_requests_waiting{$match} "
        "* on () group_left () vllm:num_requests_running)"
    )
    fleet = fleet_of([wanting("steady", bad=twice, queue=QUEUE)])

    seen = world.until(
        fleet, "steady", lambda seen: "queue" in seen.signals and list(seen.missing) == ["bad"]
    )

    assert seen.missing["bad"].reason is GapReason.ERROR
    assert seen.missing["bad"].detail.startswith("default: bad query: found duplicate series")


def test_a_prometheus_that_hangs_costs_no_more_than_the_deadline(world: World) -> None:
    fleet = fleet_of([wanting("steady", queue=QUEUE)])
    world.until(fleet, "steady", lambda seen: "queue" in seen.signals)
    world.prometheus.freeze()
    time.sleep(1.1)
    begun = time.monotonic()
    seen = world.read(fleet, "steady")
    took = time.monotonic() - begun
    world.prometheus.thaw()

    assert took < 20.0  # it hangs for as long as we let it
    assert seen.missing["queue"].detail.startswith("default: timed out")
    healed = world.until(fleet, "steady", lambda seen: not seen.missing)
    assert healed.signals["queue"].latest == 0.0


def test_a_restart_of_prometheus_keeps_the_window_and_heals(world: World) -> None:
    world.engines["steady"].waiting = 5.0
    fleet = fleet_of([wanting("steady", queue=QUEUE)])
    before = world.until(
        fleet, "steady",
        lambda seen: samples(seen, "queue") > 0 and seen.signals["queue"].latest == 5.0,
    )  # fmt: skip
    world.prometheus.kill()

    down = world.until(
        fleet, "steady",
        lambda seen: "queue" in seen.missing and "refused" in seen.missing["queue"].detail,
    )  # fmt: skip
    world.prometheus.start()
    last = before.signals["queue"].latest_time
    back = world.until(
        fleet, "steady",
        lambda seen: not seen.missing and seen.signals["queue"].latest_time > last + 2,
    )  # fmt: skip

    assert down.missing["queue"].reason is GapReason.ERROR
    assert "connection refused" in down.missing["queue"].detail
    assert down.signals["queue"].latest == 5.0
    assert back.signals["queue"].latest == 5.0
    assert samples(back, "queue") > samples(before, "queue")


@dataclass(frozen=True, slots=True)
class Running:
    """A target whose replicas are all ready."""

    replicas: ReplicaStatus
    pods: tuple[PodStatus, ...] = ()
    interventions: tuple[Intervention, ...] = ()


@dataclass(slots=True)
class Cluster:
    """Targets of one size."""

    size: int
    missing: Mapping[str, Gap] = field(default_factory=dict)
    observed: Mapping[str, TargetSeen] = field(default_factory=dict)

    def read(self, fleet: FleetSpec, now: float) -> "Cluster":
        status = ReplicaStatus(self.size, self.size)
        return Cluster(self.size, {}, {one.key: Running(status) for one in fleet.workloads})


class NoPools:
    """A cluster without node pools."""

    def read(
        self,
        fleet: FleetSpec,
        now: float,
    ) -> tuple[Mapping[str, NodePoolStatus], Mapping[str, Gap]]:
        return {}, {}


@pytest.mark.parametrize(
    ("query", "target", "whole", "left"),
    [
        pytest.param(QUEUE, 10.0, 39.0, 11.0, id="gauge"),
        pytest.param(TOKENS, 110.0, 360.0, 140.0, id="rate"),
        pytest.param(TTFT, 2.5, 9.0, 10.0, id="histogram"),
    ],
)
def test_what_the_targets_that_are_left_say_lowers_nothing(
    world: World, query: str, target: float, whole: float, left: float
) -> None:
    for name in FOUR:
        world.engines[name].waiting = world.engines[name].ttft_seconds = 10.0
    load = {"query": query, "windowSeconds": 60, "stepSeconds": 1}
    chat = a_workload(
        PerReplica(target=target), name="four", signals={"load": load}, match={"model_name": "four"}
    )
    fleet, cluster = a_fleet(chat), Cluster(4)
    live = LiveObserver(signals=world.reader, targets=cluster, pools=NoPools(), seconds=4.0)

    def until(holds: Callable[[str, float], bool]) -> Decision:
        """Decide every fifth of a second, until what is said of the signal and its value hold."""
        found: list[Decision] = []

        def once() -> bool:
            snapshot = live.observe(fleet, now())
            plan, _ = plan_cycle(fleet, FleetState(), snapshot)
            found.append(plan.decisions[chat.key])
            (reading,) = found[-1].readings
            time.sleep(0.2)
            return holds(reading.why, reading.value or 0.0)

        world.prometheus.until(once, "the workload is decided as expected")
        return found[-1]

    until(lambda why, value: not why and value > whole)
    world.exporter.dead.update(FOUR[1:])
    says = "partial: 1 of 4 series are left while 4 replicas are ready"
    part = until(lambda why, value: why == says and value < left)  # not all die in one scrape
    cluster.size = 1
    gone = until(lambda why, _: not why)
    cluster.size = 4
    world.exporter.dead.difference_update(FOUR)
    back = until(lambda why, value: not why and value > whole)
    live.close()

    assert part.replicas == 4
    assert gone.current == 1
    assert back.replicas == 4
