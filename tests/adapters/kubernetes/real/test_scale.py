"""Replicas set through `/scale`, on both servers."""

from collections.abc import Callable

import pytest

from autoscaler.adapters.kubernetes.managed_fields import owners
from autoscaler.adapters.kubernetes.requests import FIELD_MANAGER
from autoscaler.adapters.kubernetes.scale import Change, Scaler, by_scale, make
from autoscaler.core.decision import Action, Outcome
from autoscaler.core.errors import ActuationError
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

every_kind = pytest.mark.parametrize("kind", KINDS)


def scaled(
    place: Place,
    workload: ScaledWorkload,
    before: int,
    after: int,
    *,
    between: Callable[[], object] = lambda: None,
) -> Outcome:
    """Act; `between` happens after the number was read and before it is written."""
    happens = iter([between])

    def may_write() -> bool:
        next(happens, lambda: None)()
        return True

    scaler = Scaler(place.connection, place.kinds, may_write=may_write)
    scaler.use(a_fleet(workload))
    return scaler.act(Action(workload.key, before, after), wall())


@every_kind
def test_the_number_is_set_and_is_ours(place: Place, kind: str) -> None:
    workload = place.make(kind, 2)

    outcome = scaled(place, workload, 2, 5)

    assert (outcome.done, outcome.detail) == (True, "")
    assert place.count(workload) == 5
    field = "size" if kind == SOMEBODYS else "replicas"
    (owner,) = owners(place.body(workload), ("spec", field))
    assert (owner.manager, owner.applied, owner.subresource) == (FIELD_MANAGER, False, "scale")


@every_kind
def test_nothing_else_of_the_object_changes(place: Place, kind: str) -> None:
    workload = place.make(kind, 2)
    before = place.body(workload)

    scaled(place, workload, 2, 5)

    after = place.body(workload)
    for body in (before, after):
        for name in ("managedFields", "resourceVersion", "generation"):
            body["metadata"].pop(name, None)
        body["spec"].pop("size" if kind == SOMEBODYS else "replicas")
    assert after == before


@every_kind
def test_a_number_that_is_there_already_is_not_written(place: Place, kind: str) -> None:
    workload = place.make(kind, 3)
    version = place.version(workload)

    outcome = scaled(place, workload, 2, 3)

    assert outcome.done
    assert outcome.detail == f"{kind} {place.namespace}/chat has 3 already"
    assert place.version(workload) == version


@every_kind
def test_down_to_zero_and_back(place: Place, kind: str) -> None:
    workload = place.make(kind, 2)

    counts = []
    for before, after in ((2, 0), (0, 0), (0, 1), (1, 2)):
        assert scaled(place, workload, before, after).done
        counts.append(place.count(workload))

    assert counts == [0, 0, 1, 2]


@every_kind
def test_who_writes_something_else_in_between_costs_another_look(place: Place, kind: str) -> None:
    workload = place.make(kind, 2)
    note = {"metadata": {"annotations": {"note": "kept"}}}

    outcome = scaled(place, workload, 2, 5, between=lambda: place.write(workload, note))

    assert outcome.done
    assert place.count(workload) == 5
    assert place.body(workload)["metadata"]["annotations"]["note"] == "kept"


@every_kind
def test_who_sets_the_number_in_between_keeps_his(place: Place, kind: str) -> None:
    workload = place.make(kind, 2)

    outcome = scaled(place, workload, 2, 5, between=lambda: place.scale(workload, 3))

    assert not outcome.done
    assert "3 replicas found where 2 were seen, so it was changed meanwhile" in outcome.detail
    assert place.count(workload) == 3


@every_kind
def test_who_sets_it_to_zero_in_between_keeps_his(place: Place, kind: str) -> None:
    workload = place.make(kind, 2)

    outcome = scaled(place, workload, 2, 5, between=lambda: place.scale(workload, 0))

    assert not outcome.done
    assert place.count(workload) == 0


def test_an_older_decision_changes_nothing(place: Place) -> None:
    workload = place.make(DEPLOYMENT, 7)
    version = place.version(workload)

    outcome = scaled(place, workload, 2, 5)

    assert not outcome.done
    assert "left alone: 7 replicas found where 2 were seen" in outcome.detail
    assert place.version(workload) == version


@every_kind
def test_a_number_below_zero_is_refused_and_explained(place: Place, kind: str) -> None:
    workload = place.make(kind, 2)
    change = Change("chat", by_scale(place.path(workload, "scale")), 2, -1)

    with pytest.raises(ActuationError, match=r"422, refused as invalid: .* -1: (should|must) be"):
        make(place.connection, change, deadline_seconds=5.0)

    assert place.count(workload) == 2


GONE = {
    "the object": (
        DEPLOYMENT,
        r"get deployments\.apps/scale .*/chat: 404, there is no such object",
    ),
    "a StatefulSet": (STATEFUL_SET, r"404, there is no such object"),
    "a custom one": (LEADER_WORKER_SET, r"404, there is no such object"),
    "the kind": ("Deploymint", r"the cluster serves no Deploymint of apps/v1"),
}


@pytest.mark.parametrize(("kind", "said"), GONE.values(), ids=GONE.keys())
def test_what_is_not_there_is_told(place: Place, kind: str, said: str) -> None:
    with pytest.raises(ActuationError, match=said):
        scaled(place, place.about(kind), 2, 5)


def test_what_has_no_scale_is_told(place: Place) -> None:
    about = place.about()
    target = about.spec.target.model_copy(update={"api_version": "v1", "kind": "ConfigMap"})
    spec = about.spec.model_copy(update={"target": target})

    with pytest.raises(ActuationError, match="cannot be scaled: ConfigMap has no /scale"):
        scaled(place, about.model_copy(update={"spec": spec}), 2, 5)


def test_a_lost_lead_writes_nothing(place: Place) -> None:
    workload = place.make(DEPLOYMENT, 2)
    version = place.version(workload)
    scaler = Scaler(place.connection, place.kinds, may_write=lambda: False)
    scaler.use(a_fleet(workload))

    with pytest.raises(ActuationError, match="we no longer lead"):
        scaler.act(Action(workload.key, 2, 5), wall())

    assert place.version(workload) == version
