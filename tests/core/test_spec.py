"""Values from a policy file: strict, frozen, and clear about what is wrong."""

from typing import Any

import pytest
from pydantic import ValidationError

from autoscaler.core.behavior import Behavior, ScalingRules
from autoscaler.core.policy import Recommendation, up
from autoscaler.core.spec import Actuation, Bounds, Replica, SignalSpec
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from tests.builders import NOON, Wants, a_fleet, a_workload, largest, seen


def problem(model: Any, document: Any) -> str:
    """The message of the one thing that is wrong."""
    with pytest.raises(ValidationError) as failure:
        model.model_validate(document)
    (error,) = failure.value.errors()
    return f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"


@pytest.mark.parametrize(
    ("model", "document", "message"),
    [
        pytest.param(
            Bounds,
            {"min": 5, "max": 2},
            ": Value error, min should be at most max, not 5 > 2",
            id="min above max",
        ),
        pytest.param(
            Bounds,
            {"max": True},
            "max: Value error, input should be a number, not true",
            id="true is not 1",
        ),
        pytest.param(
            Replica, {"gpu": 4}, "gpu: Extra inputs are not permitted", id="unknown field"
        ),
        pytest.param(
            SignalSpec,
            {"query": "q", "windowSeconds": 10},
            ": Value error, stepSeconds should be at most windowSeconds, not 15 > 10",
            id="step longer than the window",
        ),
        pytest.param(
            SignalSpec,
            {"query": "q", "stepSeconds": 60, "maxAgeSeconds": 30},
            ": Value error, maxAgeSeconds should be at least stepSeconds, not 30 < 60",
            id="stale by definition",
        ),
        pytest.param(
            Behavior,
            {"scaleDown": {"stabilizationWindowSeconds": 7200}},
            "scaleDown.stabilizationWindowSeconds: Input should be less than or equal to 3600",
            id="the HPA's own limit",
        ),
    ],
)
def test_what_is_wrong_is_said(model: Any, document: Any, message: str) -> None:
    assert problem(model, document) == message


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        pytest.param("100m", 0.1, id="in milli"),
        pytest.param("0.1", 0.1, id="as text"),
        pytest.param(0.1, 0.1, id="as a number"),
        pytest.param(0, 0.0, id="none"),
    ],
)
def test_a_tolerance_is_read_as_kubernetes_writes_it(written: object, meant: float) -> None:
    behavior = Behavior.model_validate({"scaleUp": {"tolerance": written}})

    assert behavior.scale_up is not None
    assert behavior.scale_up.tolerance == meant


def test_bounds_clamp() -> None:
    assert [Bounds(min=2, max=4).clamp(count) for count in (0, 3, 9)] == [2, 3, 4]


def test_a_target_lies_in_the_namespace_of_its_file() -> None:
    document = {
        "metadata": {"name": "chat", "namespace": "llm"},
        "spec": {
            "target": {"name": "chat", "namespace": "prod"},
            "replicas": {"max": 3},
            "policies": [Wants(replicas=1)],
        },
    }

    assert problem(ScaledWorkload, document) == (
        ": Value error, target.namespace should equal metadata.namespace (llm), not prod"
    )


def test_a_new_file_only_watches() -> None:
    document = {
        "metadata": {"name": "chat"},
        "spec": {
            "target": {"name": "chat"},
            "replicas": {"max": 3},
            "policies": [Wants(replicas=1)],
        },
    }

    workload = ScaledWorkload.model_validate(document)

    assert workload.spec.actuation == "none"
    assert workload.spec.behavior is None
    assert workload.key == "default/chat"


def test_a_fleet_has_each_workload_once_and_knows_its_combiners() -> None:
    workload = a_workload()

    with pytest.raises(ValueError, match="workload llm/chat is defined twice"):
        a_fleet(workload, workload)
    with pytest.raises(ValueError, match="llm/chat: no combiner is called 'highest'"):
        FleetSpec((workload,), {"vote": largest})


def test_a_replay_acts_on_every_workload() -> None:
    fleet = a_fleet(
        a_workload(actuation=Actuation.NONE), a_workload(name="b", actuation=Actuation.HPA)
    )

    assert {workload.spec.actuation for workload in fleet.acted_on().workloads} == {"scale"}


def test_an_abstention_has_a_reason_and_no_count() -> None:
    answer = Recommendation.abstain("nothing to say", memory={"a": 1})

    assert (answer.replicas, answer.reason, answer.memory) == (None, "nothing to say", {"a": 1})


@pytest.mark.parametrize(("need", "count"), [(2.1, 3), (3.0000000001, 3), (0.0, 0), (-1.0, 0)])
def test_a_need_is_rounded_up(need: float, count: int) -> None:
    assert up(need) == count


def test_a_need_never_exceeds_what_kubernetes_can_hold() -> None:
    assert up(1e300) == up(float("inf")) == 2**31 - 1


def test_a_need_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="a need should be a number, not nan"):
        up(float("nan"))


def test_a_policy_without_signals_is_labelled_by_its_type() -> None:
    assert Wants(replicas=1).label == "wants"
    assert Wants(replicas=1).recommend(seen(at=NOON)).replicas == 1


def test_a_changed_copy_works_everything_out_anew() -> None:
    strict = Behavior()
    assert strict.limits.scale_down.window_seconds == 300

    swift = strict.model_copy(update={"scale_down": ScalingRules(stabilization_window_seconds=15)})

    assert swift.limits.scale_down.window_seconds == 15
    assert strict.limits.scale_down.window_seconds == 300
    assert strict == Behavior()
