"""Who else sets a target's replicas, and what that means for us. Pure: objects in, sentences out.

With `actuation: scale` nobody else may write the number for good: an HPA, a ScaledObject or GitOps
suspends the workload until a person has decided. What a person set by hand is left alone for a
while. With `actuation: hpa` somebody must follow our number, and it is told if nobody does.

Who owns the number set it last, but the API server tells when only for writes of the whole object:
an entry made through `/scale`, as `kubectl scale` and an HPA do, has no time. There it counts since
when the number has been seen. What it does not tell at all: who set a zero through `/scale`, who
scaled a custom resource (kubernetes#131892), and who set a number that was nobody's before.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from autoscaler.adapters.kubernetes.gitops import advice, keeper, left_alone
from autoscaler.adapters.kubernetes.managed_fields import Json, Owner, mapping, owners
from autoscaler.adapters.kubernetes.scalers import HPA, SCALED_OBJECT, Reference, Scalers
from autoscaler.adapters.kubernetes.times import read_time, said_time
from autoscaler.core.observation import Intervention, InterventionKind
from autoscaler.core.spec import Actuation

REPLICAS: Final = ("spec", "replicas")
"""Where the number stands in nearly every kind."""

PATHS: Final = {
    ("serving.kserve.io", "InferenceService"): ("spec", "predictor", "minReplicas"),
}
"""Where it stands elsewhere, by group and kind."""

_AUTOSCALERS: Final = {
    "kube-controller-manager": HPA,
    "controlplane-kcm": HPA,
    "keda": SCALED_OBJECT,
    "keda-operator": SCALED_OBJECT,
}
_CREATION_SECONDS: Final = 1.0  # times in managedFields are whole seconds


@dataclass(frozen=True, slots=True)
class Respect:
    """How other writers are treated.

    Attributes:
        edit_seconds: How long a number that a person set is left alone.
        gitops: More field managers that are GitOps tools.
    """

    edit_seconds: float = 1800.0
    gitops: frozenset[str] = frozenset()


DEFAULT_RESPECT: Final = Respect()


def interventions(
    target: Json,
    reference: Reference,
    actuation: Actuation,
    scalers: Scalers,
    now: float,
    *,
    respect: Respect = DEFAULT_RESPECT,
    unchanged_since: float = math.inf,
) -> tuple[Intervention, ...]:
    """Return what other writers of a target's replicas mean for its workload.

    Args:
        target: The object with its metadata, managedFields included.
        reference: Which object it is.
        actuation: Who changes the number; where nobody of us does, nobody else is in the way.
        scalers: The autoscalers of others.
        now: Unix seconds.
        respect: How other writers are treated.
        unchanged_since: Since when the same number has been seen in every cycle, Unix seconds;
            infinity where it is not known. Who set it did so by then, whatever else they wrote
            later.
    """
    match actuation:
        case Actuation.NONE:
            return ()
        case Actuation.HPA:
            return tuple(_followers(reference, scalers))
        case Actuation.SCALE:
            found = (
                *_rivals(reference, scalers),
                *_writers(target, reference, scalers, respect, unchanged_since),
            )
            return tuple(one for one in found if one.holds(now))


def ours(target: Json, reference: Reference) -> bool:
    """Whether the number is signed with our name, whichever process of ours that was.

    Args:
        target: The object with its metadata, managedFields included.
        reference: Which object it is.
    """
    return any(owner.ours for owner in owners(target, _path(reference)))


def _path(reference: Reference) -> tuple[str, ...]:
    return PATHS.get((reference.group, reference.kind), REPLICAS)


def _followers(reference: Reference, scalers: Scalers) -> Iterator[Intervention]:
    if not scalers.of(reference) and not scalers.unseen and not scalers.forbidden:
        text = (
            f"no HorizontalPodAutoscaler or ScaledObject scales {reference}: actuation is hpa, "
            "and nobody follows our number"
        )
        yield Intervention(InterventionKind.EXPECTED_MISSING, text)


def _rivals(reference: Reference, scalers: Scalers) -> Iterator[Intervention]:
    found = scalers.of(reference)
    if found:
        names = " and ".join(str(one) for one in found)
        scale = "scales" if len(found) == 1 else "scale"
        text = (
            f"{names} {scale} {reference}, and two would undo each other's changes: delete one "
            "or the other, or set actuation: hpa"
        )
        yield Intervention(InterventionKind.SUSPENDED, text)
    for kind, why in scalers.unseen.items():
        text = f"it is not known whether a {kind} scales {reference}: {why}"
        yield Intervention(InterventionKind.SUSPENDED, text)


def _writers(
    target: Json,
    reference: Reference,
    scalers: Scalers,
    respect: Respect,
    unchanged_since: float,
) -> Iterator[Intervention]:
    path = _path(reference)
    field = ".".join(path)
    found = owners(target, path)
    mine = next((one for one in found if one.ours), None)
    for owner in found:
        if owner.ours:
            continue
        set_at = min(math.inf if owner.time is None else owner.time, unchanged_since)
        tool = keeper(owner.manager, target, respect.gitops)
        if tool is not None:
            if not left_alone(target):
                yield Intervention(
                    InterventionKind.SUSPENDED,
                    f"{tool} sets {field} of {reference}{_when(owner, set_at)} and would "
                    f"undo our changes: "
                    f"{advice(tool.tool)}",
                )
        elif owner.manager in _AUTOSCALERS:
            if mine is None and owner.subresource == "scale":
                yield from _unlisted(owner, reference, scalers, set_at)
        elif set_at < math.inf and _is_edit(owner, target, mine):
            until = set_at + respect.edit_seconds
            yield Intervention(
                InterventionKind.EDITED,
                f"{owner.manager or 'somebody'} set {field} of {reference}"
                f"{_when(owner, set_at)}: "
                f"left alone until {said_time(until)}",
                until=until,
            )


def _is_edit(owner: Owner, target: Json, mine: Owner | None) -> bool:
    """Tell a number that was set by hand from the one that the object was created with."""
    if mine is not None:  # we agree; who came last is only told by two times
        return owner.time is not None and mine.time is not None and owner.time > mine.time
    if owner.time is None or owner.subresource:
        return True  # nothing is created through a part of itself
    created = read_time(mapping(target.get("metadata")).get("creationTimestamp"))
    return created is None or owner.time > created + _CREATION_SECONDS


def _unlisted(
    owner: Owner, reference: Reference, scalers: Scalers, set_at: float
) -> Iterator[Intervention]:
    """Notice an autoscaler by its writes, where it is not in the lists.

    One that is gone leaves its name on the number that it set last, for good; only a list that
    we may not read, or that is older than the write, leaves a doubt.
    """
    kind = _AUTOSCALERS[owner.manager]
    if scalers.of(reference):
        return
    if kind in scalers.forbidden:
        doubt, way_out = f"for a {kind} that we may not list", "grant us the right to list them"
    elif scalers.read_at < set_at < math.inf:
        doubt, way_out = f"for a {kind} that came after our last look", "delete it"
    else:
        return
    yield Intervention(
        InterventionKind.SUSPENDED,
        f"{owner.manager} scaled {reference}{_when(owner, set_at)} {doubt}: {way_out}, "
        "or set actuation: hpa",
    )


def _when(owner: Owner, set_at: float) -> str:
    if owner.time is not None:
        return f" at {said_time(owner.time)}"
    return f" (seen at {said_time(set_at)})" if set_at < math.inf else ""
