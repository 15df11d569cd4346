"""What others leave behind when they set the number, and what we make of it, on both servers."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from autoscaler.adapters.kubernetes.counts import Counts
from autoscaler.adapters.kubernetes.neighbours import Neighbours
from autoscaler.adapters.kubernetes.scale import Scaler
from autoscaler.adapters.kubernetes.scalers import ScalerReader
from autoscaler.adapters.kubernetes.targets import TargetReader
from autoscaler.adapters.kubernetes.watches import Watches
from autoscaler.core.decision import Action
from autoscaler.core.observation import Intervention
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import ScaledWorkload
from autoscaler.service import wall
from tests.adapters.kubernetes.real.acts import ACTS, EDITED, SUSPENDED, manifest, with_hpa
from tests.adapters.kubernetes.real.place import Place
from tests.adapters.kubernetes.real.tool import Kubectl
from tests.builders import a_fleet


class Onlooker:
    """Reads the targets as the controller does, with all who have a say."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.counts = Counts()
        self.problems: list[str] = []
        scalers = ScalerReader(place.connection, {place.namespace}, say=self.problems.append)
        neighbours = Neighbours(scalers, counts=self.counts, say=self.problems.append)
        watches = Watches(place.connection, follow=False)
        self._reader = TargetReader(place.connection, place.kinds, watches, say=neighbours)

    def close(self) -> None:
        self._reader.close()

    def look(self, *workloads: ScaledWorkload, at: float) -> dict[str, tuple[Intervention, ...]]:
        """Return what holds, by name."""
        seen = self._reader.read(a_fleet(*workloads), at)
        assert seen.missing == {}
        return {one.metadata.name: seen.observed[one.key].interventions for one in workloads}

    def sets(self, workload: ScaledWorkload, before: int, after: int) -> None:
        """Set the number as the controller does."""
        scaler = Scaler(self._place.connection, self._place.kinds)
        scaler.use(a_fleet(workload))
        self.counts.tries(workload.key, after)
        assert scaler.act(Action(workload.key, before, after), wall()).done


@pytest.fixture
def onlooker(place: Place) -> Iterator[Onlooker]:
    made = Onlooker(place)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("by", ["kubectl", "requests"])
def test_what_others_do_is_noticed(
    place: Place,
    onlooker: Onlooker,
    by: str,
    request: pytest.FixtureRequest,
    subtests: pytest.Subtests,
) -> None:
    kubectl: Kubectl | None = request.getfixturevalue("kubectl") if by == "kubectl" else None
    fleet = {}
    for name, act in ACTS.items():
        place.make(act.kind, 2, name=name)
        fleet[name] = place.about(act.kind, name=name, actuation=act.actuation)
    began = wall()
    onlooker.look(*fleet.values(), at=began - 120)
    for workload in fleet.values():
        if workload.spec.actuation is Actuation.SCALE:
            onlooker.sets(workload, 2, 3)
    before = onlooker.look(*fleet.values(), at=began - 60)
    time.sleep(2.1)  # an edit in the second of its making is not told from that

    with ThreadPoolExecutor(4) as people:
        if kubectl is not None:
            list(people.map(lambda name: ACTS[name].typed(kubectl, name), ACTS))
        else:
            list(people.map(lambda name: ACTS[name].asked(place, fleet[name]), ACTS))
    after = onlooker.look(*fleet.values(), at=wall() + 1)

    for name, act in ACTS.items():
        with subtests.test(name):
            if act.actuation is Actuation.SCALE:
                assert before[name] == ()
            if act.held is None:
                assert after[name] == ()
            else:
                (one,) = after[name]
                assert one.kind is act.held
                assert re.search(act.says, one.text)
    assert onlooker.problems == []


def test_an_edit_is_over_when_we_write_again(place: Place, onlooker: Onlooker) -> None:
    workload = place.make(replicas=2)
    began = wall()
    onlooker.look(workload, at=began - 60)
    onlooker.sets(workload, 2, 3)
    place.scale(workload, 5)
    ((edit,),) = onlooker.look(workload, at=began).values()
    assert edit.kind is EDITED

    onlooker.sets(workload, 5, 6)

    assert onlooker.look(workload, at=began + 15) == {"chat": ()}


def test_who_has_just_started_sees_what_was_set_before(place: Place, onlooker: Onlooker) -> None:
    workload = place.make(replicas=2)
    onlooker.sets(workload, 2, 3)
    place.scale(workload, 5)

    ((edit,),) = onlooker.look(workload, at=wall()).values()

    assert edit.kind is EDITED
    assert "kubectl set spec.replicas" in edit.text


def test_what_was_applied_with_a_number_is_suspended_from_the_start(
    place: Place, onlooker: Onlooker
) -> None:
    path = f"/apis/apps/v1/namespaces/{place.namespace}/deployments/chat"
    place.server.apply(path, manifest("chat", replicas=2), manager="kustomize-controller")

    ((held,),) = onlooker.look(place.about(), at=wall()).values()

    assert held.kind is SUSPENDED


def test_an_autoscaler_that_is_gone_is_in_nobodys_way(place: Place, onlooker: Onlooker) -> None:
    workload = place.make(replicas=2)
    began = wall()
    with_hpa()(place, workload)
    place.scale(workload, 4, "kube-controller-manager")
    ((held,),) = onlooker.look(workload, at=began).values()
    assert held.kind is SUSPENDED

    place.server.drop(
        f"/apis/autoscaling/v2/namespaces/{place.namespace}/horizontalpodautoscalers/chat"
    )

    assert onlooker.look(workload, at=began + 61) == {"chat": ()}
    onlooker.sets(workload, 4, 5)
    assert onlooker.look(workload, at=began + 76) == {"chat": ()}
