"""Events as the API servers take them, and as people find them."""

from typing import Any

import pytest

from autoscaler.adapters.kubernetes.events import CONTROLLER, EventRecorder
from autoscaler.adapters.kubernetes.occurrences import HOLD, RESCALE, Occurrence, reference_of
from autoscaler.adapters.kubernetes.scalers import Reference
from autoscaler.adapters.kubernetes.times import read_time
from autoscaler.core.workload import ScaledWorkload
from autoscaler.service import wall
from tests.adapters.kubernetes.real.place import LEADER_WORKER_SET, Place
from tests.adapters.kubernetes.real.tool import Kubectl
from tests.fakes.kubernetes import objects


class Teller:
    """Tells events of one target, and waits until they are written."""

    def __init__(self, place: Place, workload: ScaledWorkload) -> None:
        self.about = reference_of(workload)
        self.uid = str(place.body(workload)["metadata"]["uid"])
        self.recorder = EventRecorder(place.connection, "pod-1", uid_of=lambda about: self.uid)
        self._place = place

    def tell(self, note: str = "2 -> 5 replicas: busy", **fields: Any) -> None:
        about = fields.pop("about", self.about)
        reason = fields.pop("reason", "SuccessfulRescale")
        action = fields.pop("action", RESCALE)
        at = fields.pop("at", wall())
        self.recorder.tell(Occurrence(about, reason, note, action, **fields), at)
        self.recorder.flush(5.0)
        assert self.recorder.lost == 0

    def found(self) -> list[dict[str, Any]]:
        """Return what is there by the uid of the object that it is about, as kubectl asks."""
        answer = self._place.server.get(
            f"/api/v1/namespaces/{self._place.namespace}/events",
            fieldSelector=f"involvedObject.uid={self.uid}",
        )
        root = f"/apis/events.k8s.io/v1/namespaces/{self._place.namespace}/events"
        return [
            self._place.server.get(f"{root}/{item['metadata']['name']}") for item in answer["items"]
        ]


@pytest.fixture
def teller(place: Place) -> Teller:
    return Teller(place, place.make())


def test_a_change_is_told_on_its_target(place: Place, teller: Teller) -> None:
    teller.tell()

    (one,) = teller.found()
    assert one["note"] == "2 -> 5 replicas: busy"
    assert (one["reason"], one["type"], one["action"]) == ("SuccessfulRescale", "Normal", RESCALE)
    assert (one["reportingController"], one["reportingInstance"]) == (CONTROLLER, "pod-1")
    about = one["regarding"]
    assert (about["kind"], about["name"], about["namespace"], about["uid"]) == (
        "Deployment", "chat", place.namespace, teller.uid,
    )  # fmt: skip
    assert "series" not in one
    assert teller.recorder.written == 1


def test_what_repeats_is_counted_up(teller: Teller) -> None:
    began = wall()
    for number in range(4):
        teller.tell(at=began + 15.0 * number)

    (one,) = teller.found()
    assert one["series"]["count"] == 4
    assert read_time(one["series"]["lastObservedTime"]) == pytest.approx(began + 45.0, abs=1e-5)
    assert read_time(one["eventTime"]) == pytest.approx(began, abs=1e-5)
    assert teller.recorder.written == 4


def test_an_event_that_ran_out_is_told_anew(place: Place, teller: Teller) -> None:
    teller.tell()
    (first,) = teller.found()
    place.server.drop(f"/api/v1/namespaces/{place.namespace}/events/{first['metadata']['name']}")

    teller.tell(at=wall() + 15.0)

    (second,) = teller.found()
    assert second["metadata"]["name"] != first["metadata"]["name"]
    assert second["note"] == first["note"]


NOTES = {
    "long": "x" * 5000,
    "of many bytes": "\N{SNOWMAN}" * 1000,
    "of several lines": "first\nsecond\tthird",
    "odd": "\"'<>&%\\ \N{PILE OF POO}",
}


@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES.keys())
def test_any_note_is_taken(teller: Teller, note: str) -> None:
    teller.tell(note, warning=True)

    (one,) = teller.found()
    assert one["type"] == "Warning"
    assert one["note"].removesuffix("...")[:5] == note.replace("\n", " ")[:5]
    assert len(one["note"].encode()) <= 1024


@pytest.mark.parametrize("cut_at", "c-.")
def test_the_longest_name_is_taken(place: Place, cut_at: str) -> None:
    name = f"{'c' * 235}{cut_at}{'d' * 14}"
    teller = Teller(place, place.make(LEADER_WORKER_SET, name=name))

    teller.tell()

    (one,) = teller.found()
    assert one["regarding"]["name"] == name


def test_of_what_lies_in_no_namespace_is_told_in_the_default_one(place: Place) -> None:
    name = f"pool-{place.namespace}"
    about = Reference("karpenter.sh/v1", "NodePool", "", name)
    place.server.add(
        objects.custom("karpenter.sh/v1", "NodePool", name, namespace=None, replicas=1)
    )
    uid = place.server.peek(f"/apis/karpenter.sh/v1/nodepools/{name}")["metadata"]["uid"]
    recorder = EventRecorder(place.connection, "pod-1", uid_of=lambda _: uid)

    recorder.tell(Occurrence(about, "SuccessfulRescale", "1 -> 2 nodes", RESCALE), wall())
    recorder.flush(5.0)

    assert (recorder.written, recorder.lost) == (1, 0)
    items = place.server.get(
        "/api/v1/namespaces/default/events", fieldSelector=f"involvedObject.uid={uid}"
    )["items"]
    assert [one["message"] for one in items] == ["1 -> 2 nodes"]


def test_holds_are_told_beside_changes(teller: Teller) -> None:
    teller.tell()
    teller.tell("kubectl-edit set spec.replicas", reason="EditRespected", action=HOLD)

    assert {(one["reason"], one["action"]) for one in teller.found()} == {
        ("SuccessfulRescale", RESCALE),
        ("EditRespected", HOLD),
    }


@pytest.mark.slow
def test_kubectl_shows_them_where_people_look(
    place: Place, teller: Teller, kubectl: Kubectl
) -> None:
    teller.tell()
    teller.tell()

    described = kubectl("describe", "deployment", "chat")

    assert "SuccessfulRescale" in described
    assert "2 -> 5 replicas: busy" in described
