from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autoscaler.core.behavior import Behavior
from autoscaler.core.observation import (
    Observation,
    PodSample,
    PodStatus,
    ReplicaStatus,
    Terms,
)
from autoscaler.core.spec import Bounds, Replica, Slo
from policies.reactive.hpa import Hpa
from tests.builders import NOON, seen

SHARE: dict[str, Any] = {"type": "AverageValue", "averageValue": 10}
WHOLE: dict[str, Any] = {"type": "Value", "value": 100}


def an_hpa(*metrics: dict[str, Any], **fields: Any) -> Hpa:
    return Hpa.model_validate({"metrics": metrics, **fields})


def external(signal: str = "load", **target: Any) -> dict[str, Any]:
    return {"type": "External", "signal": signal, "target": target or SHARE}


def pods(*loads: float | None, ready: bool = True, **fields: Any) -> dict[str, Any]:
    """Pods and what each shows; the signal's own series is there wherever a pod shows it."""
    statuses = tuple(
        PodStatus(
            f"p{number}", ready=ready, started=NOON - 9000, ready_changed=NOON - 8990, **fields
        )
        for number in range(len(loads))
    )
    samples = {
        f"p{number}": PodSample(load, NOON - 10)
        for number, load in enumerate(loads)
        if load is not None
    }
    return {"pods": statuses, "pod_samples": {"kv": samples}, "signals": {"kv": 0.0}}


def with_behavior(observation: Observation, **behavior: Any) -> Observation:
    terms = Terms(Bounds(max=100), Replica(), Slo(), Behavior.model_validate(behavior))
    return replace(observation, terms=terms)


@pytest.mark.parametrize(
    ("kind", "target", "needed"),
    [
        pytest.param("External", SHARE, False, id="a share of the total"),
        pytest.param("External", WHOLE, True, id="Value counts the ready pods"),
        pytest.param("Object", SHARE, False, id="of an object"),
        pytest.param("Pods", SHARE, True, id="each pod"),
    ],
)
def test_pods_are_needed_where_they_are_read(
    kind: str, target: dict[str, Any], needed: bool
) -> None:
    policy = an_hpa({"type": kind, "signal": "load", "target": target})

    assert policy.needs_pods is needed
    assert (
        an_hpa(external(), {"type": kind, "signal": "load", "target": target}).needs_pods is needed
    )


# --- one number for the workload -------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "running", "load", "expected"),
    [
        pytest.param(external(), 2, 35.0, 4, id="AverageValue: the total over the target"),
        pytest.param(external(), 4, 43.0, 4, id="within the tolerance nothing changes"),
        pytest.param(external(), 4, 44.0, 4, id="the edge belongs to the tolerance"),
        pytest.param(external(), 4, 44.001, 5, id="a milli-unit past it"),
        pytest.param(external(), 4, 44.0000001, 4, id="nothing finer than milli-units counts"),
        pytest.param(external(), 0, 1.0, 1, id="it wakes from 0"),
        pytest.param(external(), 3, 0.0, 0, id="no load wants 0: the minimum is not its business"),
        pytest.param(external(), 3, -50.0, 0, id="a negative value is none"),
        pytest.param(external(**WHOLE), 5, 150.0, 8, id="Value: the ratio times the ready pods"),
        pytest.param(external(**WHOLE), 0, 105.0, 2, id="Value from 0: the ratio, no tolerance"),
        pytest.param({**external(), "type": "Object"}, 2, 35.0, 4, id="Object AverageValue"),
        pytest.param({**external(**WHOLE), "type": "Object"}, 5, 150.0, 8, id="Object Value"),
        pytest.param(
            external(type="AverageValue", averageValue="500m"), 1, 2.0, 4, id="a quantity"
        ),
    ],
)
def test_a_total_gives_a_count(
    metric: dict[str, Any], running: int, load: float, expected: int
) -> None:
    found = an_hpa(metric).recommend(seen(running, signals={"load": load}))

    assert found.replicas == expected
    assert found.evidence == {"load": load}


def test_a_value_target_multiplies_ready_pods_not_replicas() -> None:
    observation = replace(seen(signals={"load": 150.0}), replicas=ReplicaStatus(desired=5, ready=3))

    assert an_hpa(external(**WHOLE)).recommend(observation).replicas == 5


def test_where_pods_are_listed_they_are_counted() -> None:
    listed = (PodStatus("a"), PodStatus("b", phase="Pending"), PodStatus("c", ready=False))
    observation = seen(3, signals={"load": 400.0}, pods=listed)

    assert an_hpa(external(**WHOLE)).recommend(observation).replicas == 4


def test_an_average_value_divides_by_the_pods_that_exist() -> None:
    observation = replace(
        seen(signals={"load": 42.0}), replicas=ReplicaStatus(desired=8, ready=4, total=4)
    )

    assert an_hpa(external()).recommend(observation).replicas == 4


def test_each_direction_has_its_own_tolerance() -> None:
    hpa = an_hpa(external(), tolerance=0.0)
    tolerances = {"scaleUp": {"tolerance": "0.3"}, "scaleDown": {"tolerance": "50m"}}

    def wanted(load: float) -> int | None:
        return hpa.recommend(with_behavior(seen(4, signals={"load": load}), **tolerances)).replicas

    assert [wanted(52.0), wanted(52.001), wanted(38.0), wanted(29.0)] == [4, 6, 4, 3]
    assert hpa.recommend(seen(4, signals={"load": 40.1})).replicas == 5


def test_the_reason_is_a_sentence_with_numbers() -> None:
    sentences = {
        "load is 35 in total, 10 for each replica: 4 wanted": external(),
        "load is 35, target 100: 1 wanted": external(**WHOLE),
    }

    for sentence, metric in sentences.items():
        assert an_hpa(metric).recommend(seen(2, signals={"load": 35.0})).reason == sentence


# --- one number for each pod -----------------------------------------------------------------

KV: dict[str, Any] = {
    "type": "Pods",
    "signal": "kv",
    "target": {"type": "AverageValue", "averageValue": 1},
}
CPU_USE: dict[str, Any] = {
    "type": "Resource", "resource": "cpu", "signal": "kv",
    "target": {"type": "Utilization", "averageUtilization": 60},
}  # fmt: skip


@pytest.mark.parametrize(
    ("running", "loads", "expected"),
    [
        pytest.param(3, (2.0, 2.0, 2.0), 6, id="twice the target"),
        pytest.param(3, (1.0, 1.1, 1.1), 3, id="within the tolerance"),
        pytest.param(4, (0.4, 0.4, 0.4, None), 3, id="one shows nothing: it counts as on target"),
        pytest.param(3, (2.0, 2.0, None), 4, id="growing, one without a sample counts as idle"),
        pytest.param(3, (2.0, 2.0, float("nan")), 4, id="NaN is no sample"),
    ],
)
def test_pods_give_a_count(running: int, loads: tuple[float | None, ...], expected: int) -> None:
    found = an_hpa(KV).recommend(seen(running, **pods(*loads)))

    assert found.replicas == expected


def test_pods_are_explained_by_their_average() -> None:
    found = an_hpa(KV).recommend(seen(2, **pods(2.0, 3.0)))

    assert found.reason == "kv is 2.5 on average over the pods, target 1: 5 wanted"
    assert found.evidence == {"kv": 2.5}


def test_utilization_is_a_share_of_the_requests() -> None:
    observation = seen(2, **pods(1.1, 1.1, requests={"cpu": 1.0}))

    found = an_hpa(CPU_USE).recommend(observation)

    assert found.replicas == 4
    assert found.reason == "kv is at 110 % of the requests, target 60 %: 4 wanted"
    assert found.evidence == {"kv": 110.0}


def test_a_resource_can_have_an_absolute_target() -> None:
    metric = CPU_USE | {"target": {"type": "AverageValue", "averageValue": "500m"}}

    assert an_hpa(metric).recommend(seen(2, **pods(1.0, 1.0))).replicas == 4


def test_the_warm_up_of_a_pod_can_be_set() -> None:
    young = pods(1.1, 1.1, requests={"cpu": 1.0})
    young["pods"] = tuple(
        replace(pod, started=NOON - 60, ready_changed=NOON - 20) if pod.name == "p1" else pod
        for pod in young["pods"]
    )

    assert an_hpa(CPU_USE).recommend(seen(2, **young)).replicas == 2
    hasty = an_hpa(CPU_USE, cpuInitializationPeriodSeconds=30)
    assert hasty.recommend(seen(2, **young)).replicas == 4


# --- several metrics, and those that fail ----------------------------------------------------


def test_the_largest_count_wins() -> None:
    hpa = an_hpa(external("load"), external("queue"))

    assert hpa.recommend(seen(2, signals={"load": 30.0, "queue": 50.0})).replicas == 5
    assert hpa.uses == {"load", "queue"}
    assert hpa.needs == frozenset()


def test_a_failed_metric_stops_a_decrease() -> None:
    found = an_hpa(external("load"), external("queue")).recommend(seen(6, signals={"load": 20.0}))

    assert found.replicas == 6
    assert found.reason == (
        "no decrease while a metric fails: queue: no samples of pods that count "
        "(load is 20 in total, 10 for each replica: 2 wanted)"
    )


def test_a_failed_metric_does_not_stop_an_increase() -> None:
    found = an_hpa(external("load"), external("queue")).recommend(seen(6, signals={"load": 90.0}))

    assert found.replicas == 9
    assert found.reason.endswith("9 wanted; failed: queue: no samples of pods that count")


@pytest.mark.parametrize(
    ("metric", "observation", "why"),
    [
        pytest.param(external(), seen(2), "load: no samples of pods that count", id="unseen"),
        pytest.param(KV, seen(2, signals={"kv": 1.0}), "kv: no pods were listed", id="no pods"),
        pytest.param(
            KV, seen(2, **pods(None, None)), "kv: no samples of pods that count", id="no samples"
        ),
        pytest.param(
            CPU_USE, seen(1, **pods(1.0)), "kv: a pod requests none of the resource",
            id="no requests",
        ),
        pytest.param(
            CPU_USE, seen(1, **pods(1.0, requests={"cpu": 0.0})),
            "kv: no sample belongs to a pod with a request", id="requests of 0",
        ),
        pytest.param(
            KV, seen(2, **pods(1e12, 1e12)), "kv: the count does not fit into 32 bits",
            id="overflow",
        ),
    ],
)  # fmt: skip
def test_where_every_metric_fails_it_says_nothing(
    metric: dict[str, Any], observation: Observation, why: str
) -> None:
    found = an_hpa(metric).recommend(observation)

    assert found.replicas is None
    assert found.reason == f"no metric gives a count: {why}"


# --- parameters ------------------------------------------------------------------------------


def test_the_short_form_is_one_external_metric() -> None:
    short = Hpa.model_validate({"signal": "in_flight", "averageValue": "20"})
    long = an_hpa(external("in_flight", type="AverageValue", averageValue=20))

    assert short.listed == long.listed
    assert short.label == "hpa(in_flight)"


def test_parameters_survive_being_written_down() -> None:
    hpa = an_hpa(external(**WHOLE), KV, CPU_USE, external(type="AverageValue", averageValue=0.0005))
    written = hpa.model_dump(mode="json", by_alias=True, exclude_none=True)

    assert Hpa.model_validate(written) == hpa


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        pytest.param({}, "should have either metrics, or signal and averageValue", id="nothing"),
        pytest.param(
            {"signal": "a"}, "should have either metrics, or signal and averageValue", id="half"
        ),
        pytest.param(
            {"metrics": [external()], "signal": "a", "averageValue": 1},
            "should have either metrics, or signal and averageValue", id="both",
        ),
        pytest.param(
            {"signal": "a", "averageValue": 0}, "should be greater than 0, not 0", id="zero"
        ),
        pytest.param(
            {"signal": "a", "averageValue": True},
            "should be a number or a quantity such as 500m or 1Gi, not True", id="a boolean",
        ),
        pytest.param(
            {"signal": "a", "averageValue": "20 requests"},
            "should be a quantity such as 20, 0.5, 500m or 1Gi, not '20 requests'", id="a text",
        ),
        pytest.param(
            {"metrics": [{**KV, "target": WHOLE}]},
            "a metric of type Pods should have a target of type AverageValue, not Value",
            id="Pods has no Value",
        ),
        pytest.param(
            {"metrics": [{**external(), "target": CPU_USE["target"]}]},
            "a metric of type External should have a target of type Value or AverageValue, "
            "not Utilization",
            id="External has no Utilization",
        ),
        pytest.param(
            {"metrics": [external(type="Value", averageValue=3)]},
            "a target of type Value should have value, and only that", id="another field",
        ),
        pytest.param(
            {"metrics": [external(type="Utilization")]},
            "a target of type Utilization should have averageUtilization, and only that",
            id="no number",
        ),
        pytest.param(
            {"metrics": [external(type="AverageValue", averageValue=3, value=3)]},
            "a target of type AverageValue should have averageValue, and only that",
            id="two numbers",
        ),
        pytest.param(
            {"metrics": [{**external(), "resource": "cpu"}]},
            "resource should be given for type Resource, and only there", id="stray resource",
        ),
        pytest.param(
            {"metrics": [{k: v for k, v in CPU_USE.items() if k != "resource"}]},
            "resource should be given for type Resource, and only there", id="no resource",
        ),
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused(document: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Hpa.model_validate(document)

    assert [error["msg"] for error in caught.value.errors()] == [f"Value error, {sentence}"]


@given(st.integers(0, 50), st.floats(0, 1e6), st.floats(0, 1e6))
def test_more_load_never_wants_fewer_replicas(running: int, one: float, other: float) -> None:
    hpa = an_hpa(external())
    less, more = sorted((one, other))

    few = hpa.recommend(seen(running, signals={"load": less})).replicas
    many = hpa.recommend(seen(running, signals={"load": more})).replicas

    assert few is not None
    assert many is not None
    assert few <= many


@given(st.integers(1, 50), st.floats(0, 1e6))
def test_what_it_wants_it_still_wants_once_that_runs(running: int, load: float) -> None:
    hpa = an_hpa(external())
    wanted = hpa.recommend(seen(running, signals={"load": load})).replicas
    assert wanted is not None

    again = hpa.recommend(seen(wanted, signals={"load": load})).replicas

    assert again == wanted
