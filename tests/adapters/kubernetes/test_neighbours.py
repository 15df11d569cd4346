"""Who else has a say, put together: annotations, other writers, and since when a number stands."""

from typing import Any

import pytest

from autoscaler.adapters.kubernetes.neighbours import Neighbours
from autoscaler.adapters.kubernetes.scalers import Reference, Scaler, Scalers
from autoscaler.core.observation import InterventionKind
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import ScaledWorkload
from tests.builders import NOON, Wants, a_workload

WORKLOAD = a_workload(Wants(replicas=2), name="chat")
HPA = Scaler(
    "HorizontalPodAutoscaler", "other", Reference("apps/v1", "Deployment", "llm", "chat"), ""
)


class Known:
    """The autoscalers of others, as a test says."""

    def __init__(self, *found: Scaler) -> None:
        self.found = found

    def read(self, now: float) -> Scalers:
        return Scalers(self.found, read_at=now)


def a_target(replicas: int = 2, **annotations: str) -> dict[str, Any]:
    marks = {
        f"inference-autoscaler.dev/{key.replace('_', '-')}": it for key, it in annotations.items()
    }
    metadata = {"name": "chat", "namespace": "llm", "annotations": marks, "managedFields": []}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": replicas}}


def kinds(
    neighbours: Neighbours, body: dict[str, Any], now: float = NOON
) -> list[InterventionKind]:
    return [one.kind for one in neighbours(WORKLOAD, body, now)]


def test_nobody_else_has_a_say() -> None:
    assert kinds(Neighbours(Known(), say=print), a_target()) == []


def test_annotations_and_other_autoscalers_are_told_together() -> None:
    found = kinds(Neighbours(Known(HPA), say=print), a_target(paused="true"))

    assert found == [InterventionKind.PAUSED, InterventionKind.SUSPENDED]


def test_who_only_watches_is_in_nobodys_way() -> None:
    neighbours = Neighbours(Known(HPA), say=print)
    watching = WORKLOAD.with_actuation(Actuation.NONE)

    assert neighbours(watching, a_target(), NOON) == ()


def test_a_wrong_annotation_is_told_once_and_again_when_it_was_right_between() -> None:
    said: list[str] = []
    neighbours = Neighbours(Known(), say=said.append)
    wrong, right = a_target(replicas_="3"), a_target()

    for body in (wrong, wrong, right, wrong):
        neighbours(WORKLOAD, body, NOON)

    assert len(said) == 2
    assert said[0] == said[1]
    assert "Deployment llm/chat" in said[0]


@pytest.mark.parametrize(
    ("body", "count"),
    [
        pytest.param(a_target(3), 3, id="a Deployment"),
        pytest.param(
            {"metadata": {}, "spec": {"replicas": "many"}}, None, id="a number that is none"
        ),
    ],
)
def test_it_remembers_since_when_a_number_stands(body: dict[str, Any], count: int | None) -> None:
    neighbours = Neighbours(Known(), say=print)

    neighbours(WORKLOAD, body, NOON)
    neighbours(WORKLOAD, body, NOON + 15)

    assert neighbours._since == ({} if count is None else {WORKLOAD.key: (count, NOON)})


def test_the_number_of_an_inference_service_is_its_least_replicas() -> None:
    served: ScaledWorkload = a_workload(
        Wants(replicas=2),
        name="chat",
        target={
            "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": "chat",
        },
    )  # fmt: skip
    neighbours = Neighbours(Known(), say=print)

    neighbours(served, {"metadata": {}, "spec": {"predictor": {"minReplicas": 4}}}, NOON)

    assert neighbours._since == {served.key: (4, NOON)}
