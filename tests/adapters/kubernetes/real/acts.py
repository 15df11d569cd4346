"""What others do to a target that we have scaled: a table, each line written twice.

By kubectl, and by requests under the names that kubectl and the controllers write under.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from autoscaler.core.observation import InterventionKind
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import ScaledWorkload
from tests.adapters.kubernetes.real.place import (
    DEPLOYMENT,
    LEADER_WORKER_SET,
    STATEFUL_SET,
    Place,
)
from tests.adapters.kubernetes.real.tool import Kubectl
from tests.fakes.kubernetes import objects
from tests.fakes.kubernetes.client import STRATEGIC

EDITED, SUSPENDED = InterventionKind.EDITED, InterventionKind.SUSPENDED

Typed = Callable[[Kubectl, str], object]
Asked = Callable[[Place, ScaledWorkload], object]


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody does after we have set the number to 3.

    Attributes:
        typed: By kubectl, with the target's name.
        asked: By requests.
        held: What it is for us; None where it is in nobody's way.
        says: A part of the sentence.
        kind: Of the target.
        actuation: Who changes the number.
    """

    typed: Typed
    asked: Asked
    held: InterventionKind | None = None
    says: str = ""
    kind: str = DEPLOYMENT
    actuation: Actuation = Actuation.SCALE


def manifest(name: str, **spec: Any) -> dict[str, Any]:
    """A whole Deployment, as it stands in a repository."""
    body = objects.deployment(name, **{"replicas": None, **spec})
    body["metadata"].pop("namespace")
    return body


def scaled(replicas: int, manager: str = "kubectl") -> Asked:
    return lambda place, workload: place.scale(workload, replicas, manager)


def patched(manager: str, **patch: Any) -> Asked:
    def ask(place: Place, workload: ScaledWorkload) -> None:
        place.server.write(place.path(workload), patch, manager=manager)

    return ask


def replaced(manager: str, replicas: int) -> Asked:
    def ask(place: Place, workload: ScaledWorkload) -> None:
        body = place.body(workload)
        body["spec"]["replicas"] = replicas
        answer = place.server.request("PUT", place.path(workload), body, fieldManager=manager)
        assert answer.status == 200, answer.body

    return ask


def applied(manager: str, **spec: Any) -> Asked:
    """Server-side apply, by force."""

    def ask(place: Place, workload: ScaledWorkload) -> None:
        body = manifest(workload.metadata.name, **spec)
        place.server.apply(place.path(workload), body, manager=manager, force="true")

    return ask


def applied_by_client(**spec: Any) -> Asked:
    """What `kubectl apply` sends: a strategic merge patch."""

    def ask(place: Place, workload: ScaledWorkload) -> None:
        answer = place.server.request(
            "PATCH",
            place.path(workload),
            {"spec": spec},
            content_type=STRATEGIC,
            fieldManager="kubectl-client-side-apply",
        )
        assert answer.status == 200, answer.body

    return ask


def with_hpa(of: str = "") -> Asked:
    def ask(place: Place, workload: ScaledWorkload) -> None:
        name = workload.metadata.name
        place.server.add(objects.autoscaler(name, of or name, namespace=place.namespace))

    return ask


def with_scaled_object(place: Place, workload: ScaledWorkload) -> None:
    name = workload.metadata.name
    place.server.add(objects.scaled_object(name, name, namespace=place.namespace))


def typed(*words: str) -> Typed:
    """A command; NAME stands for the target."""
    return lambda kubectl, name: kubectl(*(word.replace("NAME", name) for word in words))


def typed_apply(*words: str, **spec: Any) -> Typed:
    return lambda kubectl, name: kubectl(
        "apply", "--validate=false", "-f", "-", *words, given=manifest(name, **spec)
    )


def typed_replace(kubectl: Kubectl, name: str) -> None:
    body = orjson.loads(kubectl("get", "deployment", name, "-o", "json"))
    body["spec"]["replicas"] = 5
    kubectl("replace", "--validate=false", "-f", "-", given=body)


def typed_objects(make: Callable[[str], dict[str, Any]]) -> Typed:
    def run(kubectl: Kubectl, name: str) -> None:
        body = make(name)
        body["metadata"].pop("namespace")
        kubectl("create", "--validate=false", "-f", "-", given=body)

    return run


def labelled(place: Place, workload: ScaledWorkload) -> None:
    patched("kubectl-label", metadata={"labels": {"team": "a"}})(place, workload)


SCALED_TO_5 = typed("scale", "deployment/NAME", "--replicas=5")
HPA_OF_IT = typed_objects(lambda name: objects.autoscaler(name, name))
FORCED = ("--server-side", "--force-conflicts")
SAYS_LEFT = "set spec.replicas of .* left alone until 20"

ACTS = {
    "left-alone": Act(lambda kubectl, name: None, lambda place, workload: None),
    "scaled": Act(SCALED_TO_5, scaled(5), EDITED, f"kubectl {SAYS_LEFT}"),
    "the-same-number": Act(typed("scale", "deployment/NAME", "--replicas=3"), scaled(3)),
    "scaled-set": Act(
        typed("scale", "statefulset/NAME", "--replicas=5"),
        scaled(5),
        EDITED,
        f"kubectl {SAYS_LEFT}",
        kind=STATEFUL_SET,
    ),
    "scaled-groups": Act(
        typed("scale", "leaderworkerset/NAME", "--replicas=5"),
        scaled(5),
        EDITED,
        f"kubectl {SAYS_LEFT}",
        kind=LEADER_WORKER_SET,
    ),
    "to-zero": Act(
        typed("scale", "deployment/NAME", "--replicas=0"),
        scaled(0),
        EDITED,
        "somebody set .* from 3 to 0 replicas and left no trace of who",
    ),
    "groups-to-zero": Act(
        typed("scale", "leaderworkerset/NAME", "--replicas=0"),
        scaled(0),
        EDITED,
        "somebody set .* from 3 to 0 replicas and left no trace of who",
        kind=LEADER_WORKER_SET,
    ),
    "replaced": Act(
        typed_replace, replaced("kubectl-replace", 5), EDITED, f"kubectl-replace {SAYS_LEFT}"
    ),
    "patched": Act(
        typed("patch", "deployment/NAME", "-p", '{"spec":{"replicas":5}}'),
        patched("kubectl-patch", spec={"replicas": 5}),
        EDITED,
        f"kubectl-patch {SAYS_LEFT}",
    ),
    "applied": Act(
        typed_apply(replicas=5),
        applied_by_client(replicas=5),
        EDITED,
        f"kubectl-client-side-apply {SAYS_LEFT}",
    ),
    "applied-without": Act(typed_apply(), applied_by_client()),
    "server-side": Act(
        typed_apply(*FORCED, replicas=5), applied("kubectl", replicas=5), EDITED, SAYS_LEFT
    ),
    "server-side-without": Act(typed_apply(*FORCED), applied("kubectl")),
    "flux": Act(
        typed_apply(*FORCED, "--field-manager=kustomize-controller", replicas=5),
        applied("kustomize-controller", replicas=5),
        SUSPENDED,
        "Flux sets spec.replicas of .* and would undo our changes: take replicas out",
    ),
    "flux-agrees": Act(
        typed_apply(*FORCED, "--field-manager=kustomize-controller", replicas=3),
        applied("kustomize-controller", replicas=3),
        SUSPENDED,
        "Flux sets spec.replicas",
    ),
    "argo": Act(
        typed_apply(*FORCED, "--field-manager=argocd-controller", replicas=5),
        applied("argocd-controller", replicas=5),
        SUSPENDED,
        "Argo CD sets spec.replicas of .* ignoreDifferences",
    ),
    "argo-without": Act(
        typed_apply(*FORCED, "--field-manager=argocd-controller"), applied("argocd-controller")
    ),
    "labelled": Act(typed("label", "deployment/NAME", "team=a"), labelled),
    "restarted": Act(
        typed("rollout", "restart", "deployment/NAME"),
        patched(
            "kubectl-rollout",
            spec={"template": {"metadata": {"annotations": {"restartedAt": "now"}}}},
        ),
    ),
    "hpa": Act(
        HPA_OF_IT,
        with_hpa(),
        SUSPENDED,
        "HorizontalPodAutoscaler .*/hpa scales Deployment .*/hpa, and two would undo",
    ),
    "hpa-elsewhere": Act(
        typed_objects(lambda name: objects.autoscaler(name, "nobody")), with_hpa("nobody")
    ),
    "keda": Act(
        typed_objects(lambda name: objects.scaled_object(name, name)),
        with_scaled_object,
        SUSPENDED,
        "ScaledObject .*/keda scales Deployment .*/keda, and two would undo",
    ),
    "followed": Act(HPA_OF_IT, with_hpa(), actuation=Actuation.HPA),
    "unfollowed": Act(
        lambda kubectl, name: None,
        lambda place, workload: None,
        InterventionKind.EXPECTED_MISSING,
        "no HorizontalPodAutoscaler or ScaledObject scales Deployment .*/unfollowed",
        actuation=Actuation.HPA,
    ),
    "only-watched": Act(SCALED_TO_5, scaled(5), actuation=Actuation.NONE),
    "paused": Act(
        typed("annotate", "deployment/NAME", "inference-autoscaler.dev/paused=true"),
        patched(
            "kubectl-annotate",
            metadata={"annotations": {"inference-autoscaler.dev/paused": "true"}},
        ),
        InterventionKind.PAUSED,
        r"has the annotation inference-autoscaler.dev/paused \(set by kubectl-annotate at 20",
    ),
    "overridden": Act(
        typed("annotate", "deployment/NAME", "inference-autoscaler.dev/replicas=7"),
        patched(
            "kubectl-annotate",
            metadata={"annotations": {"inference-autoscaler.dev/replicas": "7"}},
        ),
        InterventionKind.REPLICAS,
        "7 replicas",
    ),
}
