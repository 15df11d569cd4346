"""The rights that the controller needs, each with its reason; neither more nor less. Pure.

Reading is apart from writing: shadow mode is the same without the second half. No right reads a
Secret.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from autoscaler.adapters.kubernetes.annotations import SWITCH_NAME
from autoscaler.adapters.kubernetes.drain import DRAINED_KINDS
from autoscaler.adapters.kubernetes.inference_service import is_inference_service
from autoscaler.adapters.kubernetes.kept_state import names_of
from autoscaler.adapters.kubernetes.requests import Asked
from autoscaler.adapters.kubernetes.target_objects import USUAL
from autoscaler.adapters.kubernetes.targets import DEFAULT_READ
from autoscaler.core.node_pools import NodePool
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import FleetSpec, ScaledWorkload

EVERYWHERE: Final = ""
"""The place of rights in the whole cluster; any other place is a namespace."""

_PLURALS: Final = {
    "NodePool": "nodepools",
    "InferenceService": "inferenceservices",
}
BASE_KINDS: Final = (("apps", "Deployment"), ("apps", "StatefulSet"))
"""What the rights cover that are shipped; others are added from the policy files."""


@dataclass(frozen=True, slots=True)
class Right:
    """One line of a role.

    Attributes:
        group: API group; empty for the core group.
        resource: Plural, with its subresource.
        verbs: What may be done.
        reason: Why it is needed, in one sentence.
        writes: Whether it changes something: not needed in shadow mode.
        names: Which objects; empty for all.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    reason: str
    writes: bool = False
    names: tuple[str, ...] = ()

    def allows(self, request: Asked) -> bool:
        """Whether a request is this one."""
        return (
            (request.group, request.resource) == (self.group, self.resource)
            and request.verb in self.verbs
            and (not self.names or request.name in self.names)
        )


@dataclass(frozen=True, slots=True)
class Own:
    """What is ours in our own namespace.

    Attributes:
        namespace: Our own.
        lease: Name of the Lease; empty where there is no election.
        state: Name of the ConfigMap that keeps the state; empty where it is kept elsewhere.
        switch: Name of the ConfigMap that pauses everything; empty for none.
    """

    namespace: str = "inference-autoscaler"
    lease: str = "inference-autoscaler"
    state: str = "inference-autoscaler-state"
    switch: str = SWITCH_NAME


DEFAULT_OWN: Final = Own()

Rights = Mapping[str, tuple[Right, ...]]
"""By place: a namespace, or EVERYWHERE."""

_AROUND: Final = (
    Right(
        "",
        "pods",
        ("list", "watch"),
        "Which replicas serve, which start, which fail, and which are least loaded.",
    ),
    Right(
        "policy",
        "poddisruptionbudgets",
        ("list", "watch"),
        "Never remove more replicas at once than a budget allows.",
    ),
    Right(
        "autoscaling",
        "horizontalpodautoscalers",
        ("list",),
        "Notice another autoscaler on a target, and one that should follow us.",
    ),
    Right("keda.sh", "scaledobjects", ("list",), "The same for KEDA; not there is no error."),
)
_EVENTS: Final = Right(
    "events.k8s.io",
    "events",
    ("create", "patch"),
    "Say on the target what was changed and why; count up what repeats.",
    writes=True,
)
_DRAIN: Final = Right(
    "",
    "pods",
    ("patch",),
    "Give the least loaded pods the lowest deletion cost before replicas are removed.",
    writes=True,
)


def base_rights(own: Own = DEFAULT_OWN) -> Rights:
    """Return the rights that are shipped: every Deployment and StatefulSet of the cluster."""
    kinds = (right for group, kind in BASE_KINDS for right in _kind(group, kind, writes=True))
    everywhere = (*_AROUND, *kinds, _EVENTS, _DRAIN)
    return {own.namespace: tuple(_own(own)), EVERYWHERE: everywhere}


def fleet_rights(fleet: FleetSpec, own: Own = DEFAULT_OWN) -> Rights:
    """Return the rights that these policy files need, and no others.

    A fleet in few namespaces gets rights in those alone; a larger one is followed cluster-wide,
    as the reader of targets does.

    Args:
        fleet: The policy files.
        own: What is ours.
    """
    found: dict[str, list[Right]] = {own.namespace: list(_own(own))}
    wide = DEFAULT_READ.places(fleet) is None
    for workload in fleet.workloads:
        place = EVERYWHERE if wide else workload.metadata.namespace
        found.setdefault(place, []).extend((*_AROUND, *_workload(workload), _EVENTS))
    for pool in fleet.pools:
        for place, right in _pool(pool):
            found.setdefault(place, []).append(right)
    return {place: _joined(rights) for place, rights in found.items()}


def without(rights: Rights, there: Rights) -> Rights:
    """Return what `rights` has beyond those that are there already."""
    wide = there.get(EVERYWHERE, ())
    left = {
        place: tuple(right for right in mine if not _covered(right, (*wide, *there.get(place, ()))))
        for place, mine in rights.items()
    }
    return {place: mine for place, mine in left.items() if mine}


def shadowed(rights: Rights) -> Rights:
    """Return the half that only reads."""
    left = {place: tuple(one for one in mine if not one.writes) for place, mine in rights.items()}
    return {place: mine for place, mine in left.items() if mine}


def plural(group: str, kind: str) -> tuple[str, bool]:
    """Return what a kind is called in a role, and whether that is sure.

    A CRD may choose another plural; `kubectl api-resources` tells.
    """
    low = kind.lower()
    if kind in _PLURALS or (group, kind) in USUAL:
        return _PLURALS.get(kind, f"{low}s"), True
    if low.endswith(("s", "x", "z", "ch", "sh")):
        return f"{low}es", False
    if low.endswith("y") and low[-2:-1] not in "aeiou":
        return f"{low[:-1]}ies", False
    return f"{low}s", False


def _own(own: Own) -> Iterable[Right]:
    if own.switch:
        yield Right(
            "",
            "configmaps",
            ("get",),
            "The switch that pauses everything.",
            names=(own.switch,),
        )
    if own.lease:
        lease = Right(
            "coordination.k8s.io",
            "leases",
            ("get", "update"),
            "Only the holder of the lease acts.",
            writes=True,
            names=(own.lease,),
        )
        yield lease
        # A role cannot name what is not there yet.
        yield replace(lease, verbs=("create",), reason="Make the lease once.", names=())
    if own.state:
        state = Right(
            "",
            "configmaps",
            ("get", "update"),
            "What decisions must remember over a restart; a large state is kept in pieces.",
            writes=True,
            names=names_of(own.state),
        )
        yield state
        yield replace(state, verbs=("create",), reason="Make the state's objects once.", names=())


def _workload(workload: ScaledWorkload) -> Iterable[Right]:
    target, acts = workload.spec.target, workload.spec.actuation is Actuation.SCALE
    group = _group(target.api_version)
    yield from _kind(group, target.kind, writes=acts, version=target.api_version)
    if acts and (group, target.kind) in DRAINED_KINDS:
        yield _DRAIN


def _kind(group: str, kind: str, *, writes: bool, version: str = "") -> Iterable[Right]:
    name, sure = plural(group, kind)
    named = kind if sure else f"{kind} (its plural is guessed: see kubectl api-resources)"
    yield Right(
        group,
        name,
        ("list", "watch"),
        f"Replicas of a {named}, who set them, its annotations.",
    )
    if is_inference_service(version, kind):  # it has no /scale
        if writes:
            reason = f"Set the replicas of a {kind}, which has no /scale."
            yield Right(group, name, ("get", "patch"), reason, writes=True)
        return
    if (group, kind) not in USUAL:
        reason = f"Where a {named} keeps its count, only /scale tells."
        yield Right(group, f"{name}/scale", ("get",), reason)
    if writes:
        reason = f"Set the replicas of a {named}, and nothing else of it."
        yield Right(group, f"{name}/scale", ("get", "patch"), reason, writes=True)


def _pool(pool: NodePool) -> Iterable[tuple[str, Right]]:
    target = pool.spec.target
    if target is None:
        return
    group, place = _group(target.api_version), target.namespace or EVERYWHERE
    name, _ = plural(group, target.kind)
    reason = f"Nodes of a {target.kind}, and who else sizes it."
    yield place, Right(group, name, ("get",), reason, names=(target.name,))
    if target.karpenter:
        reason = "Which nodes of a NodePool are there and ready."
        yield place, Right(group, "nodeclaims", ("list",), reason)
    if pool.spec.actuation is Actuation.SCALE:
        reason = f"Set the nodes of a {target.kind}."
        scale = Right(
            group, f"{name}/scale", ("get", "patch"), reason, writes=True, names=(target.name,)
        )
        yield place, scale
        # Events of what lies in no namespace are kept in the default one.
        yield target.namespace or "default", _EVENTS


def _group(api_version: str) -> str:
    group, slash, _ = api_version.partition("/")
    return group if slash else ""


def _joined(rights: Iterable[Right]) -> tuple[Right, ...]:
    """Drop what is there twice, and join the names of equal rights."""
    joined: dict[Right, tuple[str, ...]] = {}
    for right in rights:
        bare = replace(right, names=())
        key = bare if right.names else replace(bare, names=("*",))
        joined[key] = tuple(sorted({*joined.get(key, ()), *right.names}))
    found = [replace(key, names=names) for key, names in joined.items()]
    return tuple(one for one in found if not _covered(one, [two for two in found if two != one]))


def _covered(right: Right, others: Iterable[Right]) -> bool:
    """Whether others allow all of this one, in the same mode."""
    return any(
        (one.group, one.resource) == (right.group, right.resource)
        and set(right.verbs) <= set(one.verbs)
        and (not one.names or (right.names and set(right.names) <= set(one.names)))
        and (right.writes or not one.writes)
        for one in others
    )
