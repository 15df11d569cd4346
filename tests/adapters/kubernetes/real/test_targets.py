"""Targets read by watch, on both servers."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from autoscaler.adapters.kubernetes.targets import ReadLimits, TargetReader
from autoscaler.adapters.kubernetes.watch import WatchLimits
from autoscaler.adapters.kubernetes.watches import Watches
from autoscaler.core.observation import GapReason, InterventionKind
from autoscaler.core.workload import ScaledWorkload
from autoscaler.service import wall
from tests.adapters.kubernetes.real.place import (
    DEPLOYMENT,
    KINDS,
    LEADER_WORKER_SET,
    SOMEBODYS,
    STATEFUL_SET,
    Place,
)
from tests.builders import a_fleet
from tests.fakes.kubernetes import objects
from tests.waiting import until

SOON = 3.0  # seconds; a fraction of one where nobody else keeps the machine busy
SHORT = WatchLimits(watch_seconds=1.0, first_wait_seconds=0.05, longest_wait_seconds=0.2)

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def reader(place: Place) -> Iterator[TargetReader]:
    made = TargetReader(place.connection, place.kinds, Watches(place.connection, limits=SHORT))
    yield made
    made.close()


class Eye:
    """Looks at one workload, as every cycle does."""

    def __init__(self, reader: TargetReader, workload: ScaledWorkload) -> None:
        self._reader = reader
        self._workload = workload

    def look(self) -> Any:
        """Return what was seen, or why nothing was."""
        seen = self._reader.read(a_fleet(self._workload), wall())
        return seen.observed.get(self._workload.key) or seen.missing[self._workload.key]

    def waits(self, **wanted: Any) -> float:
        """Wait until these fields of the replicas are so; return the seconds."""

        def so() -> bool:
            replicas = getattr(self.look(), "replicas", None)
            return replicas is not None and all(
                getattr(replicas, name) == value for name, value in wanted.items()
            )

        return until(so, seconds=SOON)

    def waits_for_gap(self, reason: GapReason) -> str:
        """Wait until it is not seen for this reason; return the detail."""
        until(lambda: getattr(self.look(), "reason", None) is reason, seconds=SOON)
        return str(self.look().detail)


@every_kind
def test_a_change_is_seen_at_once(place: Place, reader: TargetReader, kind: str) -> None:
    workload = place.make(kind, 2)
    eye = Eye(reader, workload)
    eye.waits(desired=2)

    for count in (5, 0, 1):
        place.scale(workload, count)
        eye.waits(desired=count)


@every_kind
def test_a_target_may_go_and_come_back(place: Place, reader: TargetReader, kind: str) -> None:
    workload = place.make(kind, 2)
    eye = Eye(reader, workload)
    eye.waits(desired=2)

    place.drop(workload)
    assert eye.waits_for_gap(GapReason.EMPTY) == f"there is no {kind} {place.namespace}/chat"
    place.make(kind, 3)
    eye.waits(desired=3)


@pytest.mark.slow
def test_watches_that_end_are_taken_up_where_they_ended(place: Place, reader: TargetReader) -> None:
    workload = place.make(replicas=1)
    eye = Eye(reader, workload)
    eye.waits(desired=1)

    # Each watch lasts for about a second.
    for count in range(2, 9):
        place.scale(workload, count)
        eye.waits(desired=count)
        time.sleep(0.4)

    assert reader.read(a_fleet(workload), wall()).missing == {}


SETTLED = {
    "observedGeneration": 1,
    "replicas": 3,
    "readyReplicas": 3,
    "updatedReplicas": 3,
    "availableReplicas": 3,
}
STATUS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "a Deployment that is settled": (
        DEPLOYMENT,
        SETTLED,
        {"desired": 3, "ready": 3, "total": 3, "rolling": False},
    ),
    "its surge pods are no capacity": (
        DEPLOYMENT,
        {**SETTLED, "replicas": 4, "readyReplicas": 4, "updatedReplicas": 1},
        {"desired": 3, "ready": 3, "total": 4, "rolling": True},
    ),
    "pods that do not come up": (
        DEPLOYMENT,
        {**SETTLED, "readyReplicas": 1, "availableReplicas": 1, "unavailableReplicas": 2},
        {"ready": 1, "total": 3, "rolling": False},
    ),
    "a StatefulSet that is settled": (
        STATEFUL_SET,
        {**SETTLED, "currentRevision": "chat-1", "updateRevision": "chat-1"},
        {"desired": 3, "ready": 3, "rolling": False},
    ),
    "a StatefulSet that rolls": (
        STATEFUL_SET,
        {
            **SETTLED,
            "updatedReplicas": 1,
            "currentRevision": "chat-1",
            "updateRevision": "chat-2",
        },
        {"ready": 3, "rolling": True},
    ),
    "a LeaderWorkerSet that is settled": (
        LEADER_WORKER_SET,
        {"replicas": 3, "readyReplicas": 3, "updatedReplicas": 3, "conditions": []},
        {"desired": 3, "ready": 3, "rolling": False},
    ),
    "a LeaderWorkerSet that rolls": (
        LEADER_WORKER_SET,
        {
            "replicas": 3,
            "readyReplicas": 3,
            "updatedReplicas": 3,
            "conditions": [
                {
                    "type": "UpdateInProgress",
                    "status": "True",
                    "reason": "GroupsAreUpdating",
                    "message": "",
                    "lastTransitionTime": "2026-01-05T00:10:00Z",
                }
            ],
        },
        {"ready": 3, "rolling": True},
    ),
    "a kind of somebody's": (
        SOMEBODYS,
        {"size": 3, "readyReplicas": 2},
        {"desired": 3, "total": 3, "ready": 2},
    ),
}


@pytest.mark.parametrize(("kind", "status", "expected"), STATUS.values(), ids=STATUS.keys())
def test_its_controllers_word_is_understood(
    place: Place,
    reader: TargetReader,
    kind: str,
    status: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    workload = place.make(kind, 3)
    eye = Eye(reader, workload)
    eye.waits(desired=3)

    place.status(workload, **status)

    eye.waits(**expected)


def test_a_new_template_rolls_before_its_controller_has_seen_it(
    place: Place, reader: TargetReader
) -> None:
    workload = place.make(replicas=3)
    eye = Eye(reader, workload)
    place.status(workload, **SETTLED)
    eye.waits(rolling=False, ready=3)

    containers = [{"name": "engine", "image": "engine:2"}]
    place.write(workload, {"spec": {"template": {"spec": {"containers": containers}}}})

    eye.waits(rolling=True, ready=3)


def test_an_annotation_makes_no_roll_out_once_its_controller_has_seen_it(
    place: Place, reader: TargetReader
) -> None:
    workload = place.make(replicas=3)
    eye = Eye(reader, workload)
    place.status(workload, **SETTLED)
    eye.waits(rolling=False, ready=3)

    place.write(workload, {"metadata": {"annotations": {"note": "any"}}})
    generation = place.body(workload)["metadata"]["generation"]
    place.status(workload, observedGeneration=generation)

    assert generation == 2  # of a Deployment it counts annotations
    eye.waits(rolling=False, ready=3)


def test_the_budget_of_its_pods_is_seen_as_it_changes(place: Place, reader: TargetReader) -> None:
    workload = place.make(replicas=3)
    eye = Eye(reader, workload)
    eye.waits(disruptions_allowed=None)

    budget = objects.disruption_budget("chat", app="chat", allowed=0, namespace=place.namespace)
    place.server.add(budget)
    eye.waits(disruptions_allowed=0)
    path = f"/apis/policy/v1/namespaces/{place.namespace}/poddisruptionbudgets/chat"
    status = {**budget["status"], "disruptionsAllowed": 2, "observedGeneration": 1}
    place.server.write(f"{path}/status", {"status": status}, manager="kube-controller-manager")
    eye.waits(disruptions_allowed=2)
    place.server.drop(path)
    eye.waits(disruptions_allowed=None)


def test_pods_that_cannot_start_are_counted(place: Place, reader: TargetReader) -> None:
    workload = place.make(replicas=2)
    place.status(workload, observedGeneration=1, replicas=2, updatedReplicas=2)
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "again"}}
    crashed = {
        "name": "engine",
        "image": "engine:1",
        "imageID": "",
        "ready": False,
        "restartCount": 4,
        "state": waiting,
    }
    pod = objects.pod("chat-a", namespace=place.namespace, labels={"app": "chat"})
    status = {"phase": "Running", "containerStatuses": [crashed]}
    place.server.add({**pod, "status": status})

    Eye(reader, workload).waits(desired=2, ready=0, failing=1)


def test_what_is_forbidden_is_a_gap_that_names_the_right(place: Place) -> None:
    workload = place.make(replicas=2)
    account = place.server.account(place.namespace, "nobody")
    with place.through(account) as narrow:
        watches = Watches(narrow.connection, limits=SHORT)
        reader = TargetReader(
            narrow.connection, narrow.kinds, watches, limits=ReadLimits(first_read_seconds=2.0)
        )
        gap = Eye(reader, workload).look()
        reader.close()

    assert gap.reason is GapReason.ERROR
    assert "not allowed: grant the verb list on deployments.apps in namespace" in gap.detail


def test_without_budgets_nothing_may_go(place: Place) -> None:
    workload = place.make(replicas=3)
    place.status(workload, **SETTLED)
    rule = {"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["get", "list", "watch"]}
    role = objects.role("reader", rule, namespace=place.namespace)
    account = place.server.account(place.namespace, "reader", role)
    with place.through(account) as narrow:
        watches = Watches(narrow.connection, limits=SHORT)
        reader = TargetReader(
            narrow.connection, narrow.kinds, watches, limits=ReadLimits(first_read_seconds=2.0)
        )
        seen = Eye(reader, workload).look()
        reader.close()

    (one,) = seen.interventions
    assert one.kind is InterventionKind.PAUSED_DOWN
    assert "grant the verb list on poddisruptionbudgets.policy" in one.text
