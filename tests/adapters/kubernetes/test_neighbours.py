"""Who else has a say, put together: annotations, other writers, and since when a number stands."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.kubernetes.counts import Counts
from autoscaler.adapters.kubernetes.neighbours import Neighbours
from autoscaler.adapters.kubernetes.scalers import Reference, Scaler, Scalers
from autoscaler.core.observation import InterventionKind
from autoscaler.core.spec import Actuation
from tests.builders import NOON, Wants, a_workload

WORKLOAD = a_workload(Wants(replicas=2), name="chat")
HPA = Scaler(
    "HorizontalPodAutoscaler", "other", Reference("apps/v1", "Deployment", "llm", "chat"), ""
)


class Known:
    """The autoscalers of others, as a test says."""

    def __init__(self, *found: Scaler) -> None:
        self.found = found

    def read(self, namespace: str, now: float) -> Scalers:
        return Scalers(self.found, read_at=now)


def a_target(replicas: int = 2, manager: str = "", **annotations: str) -> dict[str, Any]:
    """A Deployment; `manager`: who owns its number, by `/scale`."""
    marks = {
        f"inference-autoscaler.dev/{key.replace('_', '-')}": it for key, it in annotations.items()
    }
    entry = {
        "manager": manager,
        "operation": "Update",
        "subresource": "scale",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
    }
    metadata = {
        "name": "chat",
        "namespace": "llm",
        "uid": "one",
        "annotations": marks,
        "managedFields": [entry] if manager else [],
    }
    return {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": replicas}}


def kinds(
    neighbours: Neighbours, body: dict[str, Any], now: float = NOON
) -> list[InterventionKind]:
    return [one.kind for one in neighbours(WORKLOAD, body, body["spec"]["replicas"], now)]


def test_nobody_else_has_a_say() -> None:
    assert kinds(Neighbours(Known(), say=print), a_target()) == []


def test_annotations_and_other_autoscalers_are_told_together() -> None:
    found = kinds(Neighbours(Known(HPA), say=print), a_target(paused="true"))

    assert found == [InterventionKind.PAUSED, InterventionKind.SUSPENDED]


def test_who_only_watches_is_in_nobodys_way() -> None:
    neighbours = Neighbours(Known(HPA), say=print)
    watching = WORKLOAD.with_actuation(Actuation.NONE)

    assert neighbours(watching, a_target(), 2, NOON) == ()


def test_a_wrong_annotation_is_told_once_and_again_when_it_was_right_between() -> None:
    said: list[str] = []
    neighbours = Neighbours(Known(), say=said.append)
    wrong, right = a_target(replicas_="3"), a_target()

    for body in (wrong, wrong, right, wrong):
        neighbours(WORKLOAD, body, 2, NOON)

    assert len(said) == 2
    assert said[0] == said[1]
    assert "Deployment llm/chat" in said[0]


class Story:
    """A workload whose number changes from cycle to cycle, by whomever."""

    def __init__(self, *, leads: bool = True) -> None:
        self.leads = leads
        self.counts = Counts(lambda: self.leads)
        self.neighbours = Neighbours(Known(), counts=self.counts, say=print)
        self.now = NOON

    def seen(self, replicas: int, after: float = 15.0, manager: str = "") -> list[InterventionKind]:
        self.now += after
        return kinds(self.neighbours, a_target(replicas, manager), self.now)

    def we_write(self, replicas: int) -> None:
        self.counts.tries(WORKLOAD.key, replicas)


def test_a_change_that_nobody_signed_is_an_edit_for_half_an_hour() -> None:
    story = Story()
    assert story.seen(2) == []

    assert story.seen(7) == [InterventionKind.EDITED]
    assert story.seen(7, after=1799) == [InterventionKind.EDITED]
    assert story.seen(7, after=1) == []


def test_what_we_write_is_no_edit_however_late_it_arrives() -> None:
    story = Story()
    story.seen(2)

    story.we_write(4)
    assert story.seen(2) == []  # the answer was lost, and the write is on its way
    story.we_write(5)
    assert story.seen(4) == []
    assert story.seen(5) == []
    story.we_write(3)
    assert story.seen(3) == []
    assert story.seen(5) == [InterventionKind.EDITED]


def test_whoever_does_not_lead_takes_no_change_for_an_edit() -> None:
    story = Story(leads=False)
    story.seen(2)

    assert story.seen(7) == []
    story.leads = True
    assert story.seen(7) == []
    assert story.seen(3) == [InterventionKind.EDITED]
    story.leads = False
    assert story.seen(3) == [InterventionKind.EDITED]
    assert story.seen(7) == []


def test_a_number_that_is_signed_with_our_name_is_no_edit_whichever_process_of_ours_it_was() -> (
    None
):
    story = Story()
    story.seen(2, manager="inference-autoscaler")

    assert story.seen(4, manager="inference-autoscaler") == []
    assert story.seen(5) == [InterventionKind.EDITED]


def test_kubectl_scale_holds_for_half_an_hour_and_not_once_more_after_a_restart() -> None:
    story = Story()
    assert story.seen(3, manager="kubectl") == [InterventionKind.EDITED]
    later = Story()
    later.counts.restore(story.counts.kept())

    assert later.seen(3, after=1700, manager="kubectl") == [InterventionKind.EDITED]
    assert later.seen(3, after=200, manager="kubectl") == []


def test_a_number_that_stands_elsewhere_in_the_object_is_the_one_that_is_told() -> None:
    story = Story()
    elsewhere = {"metadata": {"uid": "one"}, "spec": {"size": "whatever"}}
    found = [
        story.neighbours(WORKLOAD, elsewhere, count, NOON + 15 * number)
        for number, count in enumerate((2, 5))
    ]

    assert found[0] == ()
    (edit,) = found[1]
    assert edit.text.startswith("somebody set Deployment llm/chat from 2 to 5 replicas")


def test_a_number_that_is_not_ours_to_set_may_change_freely() -> None:
    neighbours = Neighbours(Known(), say=print)
    watching = WORKLOAD.with_actuation(Actuation.NONE)
    neighbours(watching, a_target(2), 2, NOON)

    assert neighbours(watching, a_target(7), 7, NOON + 15) == ()


def a_written_target(manager: str, at: str) -> dict[str, Any]:
    """A Deployment whose number somebody wrote with the whole object, at a time."""
    body = a_target(2, manager)
    body["metadata"]["managedFields"][0] |= {"time": at, "subresource": ""}
    body["metadata"]["creationTimestamp"] = "2023-11-14T00:00:00Z"
    return body


def an_overridden_target(replicas: str, **until: str) -> dict[str, Any]:
    """A Deployment with a number set by an annotation."""
    body = a_target()
    marks = {"replicas": replicas, **{f"replicas-{key}": value for key, value in until.items()}}
    for key, value in marks.items():
        body["metadata"]["annotations"][f"inference-autoscaler.dev/{key}"] = value
    return body


class World:
    """What a cycle finds: the lists of others' autoscalers, and whether we lead."""

    lists: dict[str, Any]
    leads: bool

    def read(self, namespace: str, now: float) -> Scalers:
        return Scalers(read_at=now, **self.lists)

    def counts(self) -> Counts:
        return Counts(lambda: self.leads)


BODIES = (
    a_target(),
    a_target(3),
    a_target(2, "kubectl"),
    a_target(2, "inference-autoscaler"),
    a_written_target("kubectl-edit", "2023-11-14T21:44:00Z"),  # its half hour ends at NOON + 40
    a_target(paused="true"),
    an_overridden_target("4", until="2023-11-14T22:14:00Z"),  # NOON + 40
    an_overridden_target("some"),
)
LISTS: tuple[dict[str, Any], ...] = (
    {},
    {"found": (HPA,)},
    {"forbidden": frozenset({"HorizontalPodAutoscaler"})},
    {"unseen": {"ScaledObject": "it has not been asked yet"}},
)
FILES = (WORKLOAD, WORKLOAD.with_actuation(Actuation.SCALE))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(BODIES),
            st.sampled_from(LISTS),
            st.sampled_from(FILES),
            st.booleans(),
            st.sampled_from([15.0, 15.0, 15.0, 2000.0, -15.0, -3000.0]),
        ),
        max_size=12,
    )
)
def test_who_was_quiet_is_heard_as_soon_as_he_speaks(steps: list[Any]) -> None:
    """Whatever changes: the answers are those of somebody who remembers only the numbers."""
    world, now = World(), NOON
    mine, theirs = world.counts(), world.counts()
    neighbours = Neighbours(world, counts=mine, say=lambda text: None)
    for body, world.lists, workload, world.leads, passed in steps:
        now += passed
        count = body["spec"]["replicas"]
        afresh = Neighbours(world, counts=theirs, say=lambda text: None)

        assert neighbours(workload, body, count, now) == afresh(workload, body, count, now)


def test_a_quiet_target_is_not_judged_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    neighbours, body = Neighbours(Known(), say=print), a_target()
    assert kinds(neighbours, body) == []
    monkeypatch.setattr("autoscaler.adapters.kubernetes.neighbours.interventions", None)

    assert kinds(neighbours, body, NOON + 15) == []
    assert kinds(neighbours, body, NOON + 30) == []
