"""The simulated cluster: routing, cold starts, draining, GPU-time, and what a scrape sees."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.decision import Action
from autoscaler.core.errors import ConfigError
from autoscaler.core.observation import GapReason, PodSample
from simulations.cluster import Engine, SimulatedCluster
from simulations.measurements import CATALOGUE
from simulations.pool import ReplicaPool
from simulations.profiles import Profile
from simulations.request import End
from simulations.scrapes import Scrapes
from simulations.trace import Trace
from tests.simulations.builders import (
    START,
    a_profile,
    a_trace,
    a_workload,
    fleet,
    samples,
    scale,
    seen,
)

ENGINE = sorted(set(CATALOGUE) - {"arrivals_per_second", "gateway_queue_length"})


def a_cluster(
    *rows: tuple[float, int, int],
    signals: tuple[str, ...] = (),
    replicas: int = 1,
    profile: Profile | None = None,
    scrape: float = 15.0,
    **workload: float,
) -> SimulatedCluster:
    return SimulatedCluster(
        a_trace(*(rows or ((1000.0, 10, 1),))),
        a_workload(*signals, **workload),  # type: ignore[arg-type]  # whole numbers where needed
        start=START,
        scrape_seconds=scrape,
        replicas=replicas,
        profile=profile or a_profile(),
        engine=Engine.PLAIN,
    )


def phases(cluster: SimulatedCluster) -> dict[str, str]:
    return {member.name: member.phase.value for member in cluster.pool.members}


# Routing


def test_the_least_loaded_replica_gets_the_next_request() -> None:
    """Three at once over two replicas: the oldest, the other, the oldest again."""
    cluster = a_cluster((1.0, 10, 50), (1.0, 10, 50), (1.0, 10, 50), replicas=2)

    seen(cluster, 1.1)

    engines = [member.engine for member in cluster.pool.members]
    assert [engine.outstanding for engine in engines if engine] == [2, 1]


def test_completions_of_a_step_in_progress_are_not_seen_by_the_router() -> None:
    """At 1.015 s the oldest is in its last step, so both look alike and the oldest is taken."""
    cluster = a_cluster((1.0, 10, 2), (1.001, 10, 9), (1.015, 10, 1), replicas=2)

    seen(cluster, 1.019)

    engines = [member.engine for member in cluster.pool.members]
    assert [engine.outstanding for engine in engines if engine] == [2, 1]


def test_requests_queue_at_the_gateway_until_a_replica_is_ready() -> None:
    cluster = a_cluster((1.0, 10, 1), (2.0, 10, 1), replicas=0, minimum=0, cold_start=30)
    scale(cluster, 5.0, 1)

    assert cluster.pool.gateway_queue == 2
    seen(cluster, 40.0)

    assert [request.routed for request in cluster.requests] == [35.0, 35.0]
    assert [request.first_token for request in cluster.requests] == [pytest.approx(35.01)] * 2
    assert cluster.served


def test_a_request_that_no_replica_can_hold_fails_at_once() -> None:
    cluster = a_cluster((1.0, 990, 12), (1.0, 10, 1))

    seen(cluster, 2.0)

    assert [request.end for request in cluster.requests] == [End.FAILED, End.FINISHED]
    assert cluster.served


# Growing and shrinking


def test_a_new_replica_serves_after_its_cold_start() -> None:
    cluster = a_cluster(cold_start=30)
    scale(cluster, 10.0, 3)

    before, after = seen(cluster, 39.9).replicas, seen(cluster, 40.0).replicas

    assert (before.desired, before.ready, before.total) == (3, 1, 3)
    assert (after.desired, after.ready, after.total) == (3, 3, 3)


def test_cold_starts_can_differ() -> None:
    starts = iter([20.0, 10.0])
    cluster = SimulatedCluster(
        a_trace((1000.0, 1, 1)),
        a_workload(),
        start=START,
        profile=a_profile(),
        cold_start=lambda: next(starts),
    )
    scale(cluster, 10.0, 3)

    assert phases(cluster) == {"chat-0": "ready", "chat-1": "starting", "chat-2": "starting"}
    assert seen(cluster, 20.0).replicas.ready == 2
    assert phases(cluster)["chat-2"] == "ready"


def test_a_cold_start_of_no_seconds_serves_at_once() -> None:
    cluster = a_cluster(cold_start=0)

    scale(cluster, 10.0, 2)

    assert seen(cluster, 10.0).replicas.ready == 2


def test_shrinking_cancels_starting_replicas_first_the_youngest_before_the_others() -> None:
    cluster = a_cluster(cold_start=100)
    scale(cluster, 10.0, 2)
    scale(cluster, 20.0, 3)

    scale(cluster, 30.0, 2)
    assert phases(cluster) == {"chat-0": "ready", "chat-1": "starting"}

    scale(cluster, 30.0, 1)
    assert phases(cluster) == {"chat-0": "ready"}


def test_shrinking_drains_the_least_loaded_the_youngest_among_equals() -> None:
    cluster = a_cluster((1.0, 10, 900), (1.0, 10, 900), replicas=3)
    scale(cluster, 1.5, 2)
    assert phases(cluster) == {"chat-0": "ready", "chat-1": "ready"}

    scale(cluster, 1.5, 1)

    assert phases(cluster) == {"chat-0": "ready", "chat-1": "draining"}


def test_a_draining_replica_gets_nothing_new_and_goes_when_it_is_empty() -> None:
    """100 tokens at 10 ms each: the second replica is empty at 2.0 s."""
    cluster = a_cluster((1.0, 10, 300), (1.0, 10, 100), (1.605, 10, 1), replicas=2)
    scale(cluster, 1.5, 1)

    at_work = seen(cluster, 1.99)
    gone = seen(cluster, 2.5)

    assert at_work.replicas.desired == at_work.replicas.total == 1
    assert [pod.deleting for pod in at_work.pods] == [False, True]
    assert [pod.name for pod in gone.pods] == ["chat-0"]
    assert cluster.pool.past[0].released == pytest.approx(2.0)
    assert cluster.requests[2].first_token == pytest.approx(1.62)


def test_growing_keeps_draining_replicas_before_it_starts_new_ones() -> None:
    cluster = a_cluster((1.0, 10, 900), (1.0, 10, 900), (1.0, 10, 900), replicas=3)
    scale(cluster, 2.0, 1)
    assert list(phases(cluster).values()) == ["ready", "draining", "draining"]

    scale(cluster, 3.0, 2)
    assert phases(cluster) == {"chat-0": "ready", "chat-1": "ready", "chat-2": "draining"}

    scale(cluster, 3.0, 4)
    assert list(phases(cluster).values()) == ["ready", "ready", "ready", "starting"]


def test_a_replica_that_was_kept_is_as_old_as_before() -> None:
    """The oldest is drained and kept; equally loaded, it gets the next request again."""
    long = (10, 400)
    rows = [(1.0, 10, 10), *((time, *long) for time in (1.0, 1.05, 1.06, 1.65, 1.7))]
    cluster = a_cluster(*rows, replicas=2)
    seen(cluster, 1.5)
    engines = [member.engine for member in cluster.pool.members]
    assert [engine.outstanding for engine in engines if engine] == [1, 2]
    scale(cluster, 1.5, 1)
    assert phases(cluster) == {"chat-0": "draining", "chat-1": "ready"}
    scale(cluster, 1.6, 2)

    seen(cluster, 1.71)

    assert [engine.outstanding for engine in engines if engine] == [3, 2]


def test_the_first_to_be_ready_gets_what_queues_at_the_gateway() -> None:
    """Nothing happens between: the younger is ready at 16 s, the older at 20 s."""
    starts = iter([15.0, 11.0])
    cluster = SimulatedCluster(
        a_trace((1.0, 10, 2000)),
        a_workload(minimum=0),
        start=START,
        replicas=0,
        profile=a_profile(kv_tokens=5000),
        engine=Engine.PLAIN,
        cold_start=lambda: next(starts),
    )
    scale(cluster, 5.0, 2)

    seen(cluster, 30.0)

    engines = {member.name: member.engine for member in cluster.pool.members}
    assert {name: engine.outstanding for name, engine in engines.items() if engine} == {
        "chat-0": 0,
        "chat-1": 1,
    }
    assert cluster.requests[0].routed == 16.0


def test_gpu_time_counts_from_allocation_to_release() -> None:
    """To 100 s: two that were there 100 s each, one started at 10 s and let go at 50 s, one
    cancelled after 5 s while it was starting.
    """
    cluster = a_cluster((49.0, 10, 398), (49.0, 10, 398), replicas=2, cold_start=30)
    scale(cluster, 10.0, 4)
    scale(cluster, 15.0, 3)
    scale(cluster, 50.0, 2)

    seen(cluster, 100.0)

    assert cluster.pool.replica_seconds(100.0) == pytest.approx(100 + 100 + 40 + 5)
    assert cluster.pool.replica_seconds(30.0) == pytest.approx(30 + 30 + 20 + 5)
    assert cluster.pool.most == 4


def test_gpu_time_counts_draining() -> None:
    """398 tokens from 49 s on end at 52.98 s."""
    cluster = a_cluster((49.0, 10, 398), (49.0, 10, 398), replicas=2)
    scale(cluster, 50.0, 1)

    seen(cluster, 100.0)

    assert cluster.pool.replica_seconds(100.0) == pytest.approx(100 + 52.98)
    assert cluster.pool.replica_seconds(51.0) == pytest.approx(102)


# Acting


@pytest.mark.parametrize(
    ("action", "detail"),
    [
        pytest.param(
            Action("llm/other", 1, 2), "only llm/chat is simulated", id="another workload"
        ),
        pytest.param(Action("llm/chat", 3, 2), "found 1 replicas, not 3", id="a conflict"),
        pytest.param(Action("llm/chat", 1, -1), "cannot run -1 replicas", id="fewer than none"),
    ],
)
def test_what_cannot_be_done_is_an_outcome(action: Action, detail: str) -> None:
    cluster = a_cluster()

    outcome = cluster.act(action, START + 10)

    assert (outcome.done, outcome.detail, outcome.action) == (False, detail, action)
    assert cluster.pool.desired == 1
    assert cluster.changes == []


def test_changes_are_kept() -> None:
    cluster = a_cluster()
    scale(cluster, 10.0, 4)
    scale(cluster, 20.0, 2)

    assert cluster.changes == [(10.0, 1, 4), (20.0, 4, 2)]


# Seeing


def test_other_workloads_are_missing() -> None:
    cluster = a_cluster()
    other = a_workload().model_copy(
        update={"metadata": a_workload().metadata.model_copy(update={"name": "other"})}
    )

    both = cluster.observe(fleet(cluster.workload, other), START + 10)
    alone = cluster.observe(fleet(other), START + 10)

    assert list(both.observations) == ["llm/chat"]
    assert both.missing["llm/other"].detail == "only llm/chat is simulated"
    assert not alone.observations


def test_nothing_is_seen_before_the_first_scrape() -> None:
    cluster = a_cluster((1.0, 10, 1), signals=tuple(CATALOGUE))

    observation = seen(cluster, 14.9)

    assert not observation.signals
    assert {gap.reason for gap in observation.missing.values()} == {GapReason.EMPTY}
    assert observation.missing["running"].detail == "no sample in the last 120 s"


def test_signals_change_only_at_scrapes() -> None:
    cluster = a_cluster(*[(14.0, 10, 500)] * 3, (16.0, 10, 500), signals=("in_flight",))

    assert samples(cluster, 15.0, "in_flight") == [(15.0, 3.0)]
    assert samples(cluster, 29.9, "in_flight") == [(15.0, 3.0)]
    assert samples(cluster, 30.0, "in_flight") == [(15.0, 3.0), (30.0, 0.0)]


def test_a_signal_may_have_another_name_than_its_measurement() -> None:
    cluster = SimulatedCluster(
        a_trace((14.0, 10, 500)),
        a_workload("concurrency", measures="in_flight"),
        start=START,
        profile=a_profile(),
    )

    assert samples(cluster, 15.0, "concurrency") == [(15.0, 1.0)]


def test_a_signal_that_measures_nothing_known_is_an_error() -> None:
    known = ", ".join(sorted(CATALOGUE))

    with pytest.raises(ConfigError) as caught:
        a_cluster(signals=("power", "queue_length", "heat"))

    assert list(caught.value.problems) == [
        f"spec.signals.{name}.measures: no measurement is called '{name}'; the simulator knows: "
        f"{known}"
        for name in ("power", "heat")
    ]


def test_a_window_holds_the_last_scrape_of_each_step() -> None:
    cluster = a_cluster(signals=("running",), window=60, step=30, scrape=5.0)

    times = [time for time, _ in samples(cluster, 100.0, "running")]

    assert times == [55.0, 85.0, 100.0]


def test_a_window_forgets() -> None:
    """It is open where it begins: the sample at 45 s is outside at 90 s."""
    cluster = a_cluster(signals=("running",), window=45)

    assert [time for time, _ in samples(cluster, 90.0, "running")] == [60.0, 75.0, 90.0]


def test_gauges_of_the_engines() -> None:
    """Two of 400 tokens fit a cache of 1000, a third does not.

    At 15.0 s nine steps have ended and a tenth is under way. Four read the first prompt; then it
    decodes in six, while five read the second (99 tokens four times, then 4), which decodes in
    the tenth: 406 + 401 places.
    """
    rows = [(14.905, 400, 500)] * 3
    cluster = a_cluster(*rows, signals=("queue_length", "running", "kv_usage"))

    observation = seen(cluster, 15.0)

    assert observation.signals["queue_length"].latest == 1.0
    assert observation.signals["running"].latest == 2.0
    assert observation.signals["kv_usage"].latest == pytest.approx(0.807)


def test_utilization_is_the_share_of_time_that_ready_replicas_computed() -> None:
    """300 steps of 10 ms in 15 s on one of two replicas; the first request of 100 is before."""
    cluster = a_cluster((1.0, 10, 100), (16.0, 10, 300), signals=("gpu_utilization",), replicas=2)

    shares = [share for _, share in samples(cluster, 30.0, "gpu_utilization")]
    assert shares == [pytest.approx(1.0 / 15 / 2), pytest.approx(3.0 / 15 / 2)]


def test_a_draining_replica_is_load_and_not_part_of_the_mean() -> None:
    """Both have one request to the end; the younger drains from 10 s on."""
    cluster = a_cluster(
        (5.0, 10, 100), (5.5, 10, 980), (6.5, 10, 980), (7.0, 10, 980), replicas=2,
        signals=("gpu_utilization", "kv_usage", "running"),
    )  # fmt: skip
    seen(cluster, 5.6)
    scale(cluster, 10.0, 1)

    observation = seen(cluster, 15.0)

    (draining,) = [pod.name for pod in observation.pods if pod.deleting]
    (ready,) = [pod.name for pod in observation.pods if not pod.deleting]
    for name in ("gpu_utilization", "kv_usage"):
        pods = observation.pod_samples[name]
        assert pods[draining].value != pods[ready].value
        assert observation.signals[name].latest == pods[ready].value
    pods = observation.pod_samples["running"]
    assert observation.signals["running"].latest == pods[draining].value + pods[ready].value


def test_a_range_is_open_where_it_begins() -> None:
    """Over 60 s at 75 s the 1000 arrivals before the scrape at 30 s do not count."""
    scrapes = Scrapes(scrape_seconds=15, keep_seconds=120)
    empty = ReplicaPool("chat", a_profile(), 0, lambda: 0.0)

    for time, arrived in ((15.0, 0), (30.0, 1000), (45.0, 1015), (60.0, 1030), (75.0, 1045)):
        scrapes.scrape(empty, arrived, time)

    assert scrapes.arrival_rate(60) == pytest.approx(1.0)


def test_a_replica_that_is_new_counts_since_it_is_ready() -> None:
    cluster = a_cluster(
        (16.0, 10, 500), (16.0, 10, 200), signals=("gpu_utilization",), minimum=0, replicas=0,
        cold_start=20,
    )  # fmt: skip
    scale(cluster, 0.0, 1)

    ((time, share),) = samples(cluster, 30.0, "gpu_utilization")
    assert time == 30.0
    assert share == pytest.approx(5.0 / 10)


def test_rates_of_the_engines() -> None:
    """One request of 20 + 5 tokens a second: rates need two scrapes."""
    rows = [(0.5 + second, 20, 5) for second in range(100)]
    cluster = a_cluster(
        *rows,
        signals=(
            "prompt_tokens_per_second", "generation_tokens_per_second", "tokens_per_second",
            "requests_per_second", "arrivals_per_second",
        ),
    )  # fmt: skip

    assert not seen(cluster, 15.0).signals
    observation = seen(cluster, 90.0)

    latest = {name: series.latest for name, series in observation.signals.items()}
    assert latest == {
        "prompt_tokens_per_second": pytest.approx(20),
        "generation_tokens_per_second": pytest.approx(5),
        "tokens_per_second": pytest.approx(25),
        "requests_per_second": pytest.approx(1),
        "arrivals_per_second": pytest.approx(1),
    }


def test_percentiles_come_from_buckets_and_are_nan_where_nothing_happened() -> None:
    """Each request: first token after 8 ms, 4 gaps of 8 ms, 40 ms in all."""
    rows = [(20.5 + second, 20, 5) for second in range(20)]
    cluster = a_cluster(
        *rows, signals=("ttft_p95", "itl_p95", "e2e_p95"), profile=a_profile(step_seconds=0.008)
    )

    quiet = seen(cluster, 30.0 - 0.1)
    busy = seen(cluster, 45.0)
    over = seen(cluster, 105.0)

    assert not quiet.signals
    assert busy.signals["ttft_p95"].latest == pytest.approx(0.005 + 0.95 * 0.005)
    assert busy.signals["itl_p95"].latest == pytest.approx(0.95 * 0.01)
    assert busy.signals["e2e_p95"].latest == pytest.approx(0.95 * 0.3)
    assert math.isnan(over.signals["ttft_p95"].latest)


def test_engine_time_counts_from_routing_and_the_gateways_wait_is_not_in_it() -> None:
    cluster = a_cluster(
        *[(1.0, 10, 1)] * 5, signals=("ttft_p95",), minimum=0, replicas=0, cold_start=31
    )
    scale(cluster, 1.0, 1)
    seen(cluster, 31.0)

    # Ready at 32 s, scraped first at 45 s when all is over: a counter that begins at 5 has no rate.
    assert math.isnan(seen(cluster, 60.0).signals["ttft_p95"].latest)
    assert cluster.requests[0].ttft_seconds == pytest.approx(31.01)
    engine = cluster.pool.members[0].engine
    assert engine is not None
    assert engine.ttft.counts[2] == 5  # 5 ms to 10 ms, the bound included


def test_without_replicas_the_engines_have_no_series_and_the_gateway_has() -> None:
    rows = [(float(second), 10, 1) for second in range(1, 100)]
    cluster = a_cluster(*rows, signals=tuple(CATALOGUE), minimum=0, replicas=0)

    observation = seen(cluster, 60.0)

    assert sorted(observation.missing) == ENGINE
    assert {gap.reason for gap in observation.missing.values()} == {GapReason.EMPTY}
    assert observation.signals["gateway_queue_length"].latest == 60.0
    assert observation.signals["arrivals_per_second"].latest == pytest.approx(1.0)
    assert observation.replicas.ready == 0


def test_when_the_last_replica_goes_gauges_end_at_once_and_rates_drain() -> None:
    rows = [(float(second), 10, 1) for second in range(1, 60)]
    cluster = a_cluster(*rows, signals=("running", "requests_per_second"), minimum=0)
    scale(cluster, 61.0, 0)

    assert [time for time, _ in samples(cluster, 110.0, "running")][-1] == 60.0
    # At 90 s the range (30, 90] still holds 45 s and 60 s; at 105 s only 60 s.
    assert [time for time, _ in samples(cluster, 110.0, "requests_per_second")][-1] == 90.0


def test_pods_are_seen_as_they_are() -> None:
    cluster = a_cluster((1.0, 10, 400), signals=("in_flight",), cold_start=30)
    scale(cluster, 20.0, 2)

    old, new = seen(cluster, 25.0).pods

    assert (old.name, old.ready, old.started, old.ready_changed) == ("chat-0", True, START, START)
    assert (new.name, new.ready, new.started) == ("chat-1", False, START + 20)
    assert new.ready_changed == START + 20
    assert seen(cluster, 50.0).pods[1].ready_changed == START + 50


def test_samples_of_each_pod() -> None:
    cluster = a_cluster(
        *[(14.0, 10, 300)] * 3, signals=("in_flight", "generation_tokens_per_second"), replicas=2
    )

    observation = seen(cluster, 16.0)

    assert observation.pod_samples == {
        "in_flight": {
            "chat-0": PodSample(2.0, START + 15, 15.0),
            "chat-1": PodSample(1.0, START + 15, 15.0),
        }
    }
    later = seen(cluster, 30.0).pod_samples["generation_tokens_per_second"]
    assert {sample.window_seconds for sample in later.values()} == {60.0}


def test_a_policy_may_know_what_its_file_says() -> None:
    cluster = a_cluster(cold_start=77)

    observation = seen(cluster, 1.0)

    assert observation.lead_seconds == 77
    assert observation.terms == cluster.workload.terms


def test_looking_back_changes_nothing() -> None:
    cluster = a_cluster((1.0, 10, 500), signals=("running",))
    seen(cluster, 60.0)

    assert seen(cluster, 20.0).replicas.desired == 1
    assert cluster.seconds == 60.0


@pytest.mark.parametrize("scrape", [0.0, -1.0, math.nan])
def test_scrapes_need_a_distance(scrape: float) -> None:
    with pytest.raises(ValueError, match="scrape_seconds should be above 0"):
        a_cluster(scrape=scrape)


def test_more_replicas_than_the_maximum_cannot_be_there_at_the_start() -> None:
    with pytest.raises(ConfigError) as caught:
        a_cluster(replicas=11)

    assert str(caught.value) == (
        "spec.replicas.max: allows 10 replicas, the simulation should start with 11"
    )


# Properties of small worlds


traffic = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 60), st.integers(1, 120)),
    min_size=1,
    max_size=25,
).map(lambda rows: a_trace(*sorted((tenth / 10, prompt, out) for tenth, prompt, out in rows)))
moves = st.lists(st.tuples(st.integers(0, 45), st.integers(0, 4)), max_size=12).map(sorted)


@given(trace=traffic, actions=moves, kv=st.integers(80, 300))
def test_every_request_ends_exactly_once(
    trace: Trace, actions: list[tuple[int, int]], kv: int
) -> None:
    cluster = SimulatedCluster(
        trace,
        a_workload(*CATALOGUE, minimum=0, cold_start=7),
        start=START,
        profile=a_profile(kv_tokens=kv, step_tokens=30),
        engine=Engine.PLAIN,
    )
    for second, replicas in actions:
        scale(cluster, float(second), replicas)
        for member in cluster.pool.members:
            assert member.engine is None or member.engine.kv_used <= kv
    scale(cluster, 50.0, max(1, cluster.pool.desired))
    seen(cluster, 600.0)

    assert cluster.served
    assert [request.index for request in cluster.requests] == list(range(len(trace)))
    everyone = [*cluster.pool.past, *cluster.pool.members]
    ends = [request.end for request in cluster.requests]
    completions = sum(member.engine.completions for member in everyone if member.engine)
    tokens = sum(member.engine.output_tokens for member in everyone if member.engine)
    finished = [request for request in cluster.requests if request.end is End.FINISHED]
    assert ends.count(End.FINISHED) == completions
    assert ends.count(End.FINISHED) + ends.count(End.FAILED) == len(trace)
    assert tokens == sum(request.output_tokens for request in finished)
    for request in finished:
        assert request.admitted is not None
        assert request.first_token is not None
        assert request.finished is not None
        assert request.arrival <= request.routed <= request.admitted
        assert request.admitted < request.first_token <= request.finished
        assert (request.itl_seconds or 0.0) <= request.widest_gap + 1e-9


@given(trace=traffic, actions=moves, looks=st.lists(st.floats(0, 60), max_size=10))
def test_looking_more_often_changes_no_outcome(
    trace: Trace, actions: list[tuple[int, int]], looks: list[float]
) -> None:
    def world(extra: list[float]) -> list[tuple[float | None, float | None]]:
        cluster = SimulatedCluster(
            trace, a_workload(minimum=0, cold_start=7), start=START, profile=a_profile()
        )
        events = [(float(second), replicas) for second, replicas in actions]
        for second, replicas in sorted([*events, *((look, -1) for look in extra)]):
            seen(cluster, second)
            if replicas >= 0:
                scale(cluster, second, replicas)
        seen(cluster, 60.0)
        return [(request.first_token, request.finished) for request in cluster.requests]

    assert world(looks) == world([])
