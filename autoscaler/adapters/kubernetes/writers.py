"""Who else sets a target's replicas, and what that means for us. Pure: objects in, sentences out.

With `actuation: scale` nobody else may write the number for good: an HPA, a ScaledObject or GitOps
suspends the workload until a person has decided. What a person set by hand is left alone for a
while. With `actuation: hpa` somebody must follow our number, and it is told if nobody does.
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
        unchanged_since: Since when the same number has been seen in every cycle, Unix seconds:
            who set it did so by then, whatever else they wrote later. Infinity where it is not
            known.
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
    path = PATHS.get((reference.group, reference.kind), REPLICAS)
    field = ".".join(path)
    found = owners(target, path)
    ours = max((one.time or 0.0 for one in found if one.ours), default=None)
    for owner in found:
        if owner.ours:
            continue
        tool = keeper(owner.manager, target, respect.gitops)
        if tool is not None:
            if not left_alone(target):
                yield Intervention(
                    InterventionKind.SUSPENDED,
                    f"{tool} sets {field} of {reference}{_when(owner)} and would undo our "
                    f"changes: {advice(tool.tool)}",
                )
        elif owner.manager in _AUTOSCALERS:
            yield from _unlisted(owner, reference, scalers, ours)
        elif owner.time is not None and _is_edit(owner, target, ours):
            # A manager's time moves with everything that it writes; the number stood before that.
            until = min(owner.time, unchanged_since) + respect.edit_seconds
            yield Intervention(
                InterventionKind.EDITED,
                f"{owner.manager or 'somebody'} set {field} of {reference}{_when(owner)}: "
                f"left alone until {said_time(until)}",
                until=until,
            )


def _is_edit(owner: Owner, target: Json, ours: float | None) -> bool:
    """Tell a number that was set by hand from the one that the object was created with."""
    time = owner.time or 0.0
    if ours is not None and time <= ours:
        return False  # we wrote after them, and they agree
    created = read_time(mapping(target.get("metadata")).get("creationTimestamp"))
    return created is None or time > created + _CREATION_SECONDS


def _unlisted(
    owner: Owner, reference: Reference, scalers: Scalers, ours: float | None
) -> Iterator[Intervention]:
    """Notice an autoscaler by its writes, where it is not in the lists.

    One that is gone leaves its name on the number that it set last, for good; only a list that
    we may not read, or that is older than the write, leaves a doubt.
    """
    kind = _AUTOSCALERS[owner.manager]
    time = owner.time or 0.0
    if scalers.of(reference) or owner.subresource != "scale" or (ours is not None and time <= ours):
        return
    if kind in scalers.forbidden:
        doubt, way_out = f"for a {kind} that we may not list", "grant us the right to list them"
    elif time > scalers.read_at:
        doubt, way_out = f"for a {kind} that came after our last look", "delete it"
    else:
        return
    yield Intervention(
        InterventionKind.SUSPENDED,
        f"{owner.manager} scaled {reference}{_when(owner)} {doubt}: {way_out}, "
        "or set actuation: hpa",
    )


def _when(owner: Owner) -> str:
    return f" at {said_time(owner.time)}" if owner.time is not None else ""
