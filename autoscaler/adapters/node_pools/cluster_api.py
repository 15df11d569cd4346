"""Machines of Cluster API: MachineDeployment, MachinePool, and others counted like them. Pure.

Its own provider lets cluster-autoscaler or a cluster's topology set the count. Then we must not.
"""

from collections.abc import Mapping
from typing import Any, Final

from autoscaler.adapters.kubernetes.managed_fields import owners
from autoscaler.core.errors import ObservationError
from autoscaler.core.observation import NodePoolStatus

_BOUNDS: Final = ("-node-group-min-size", "-node-group-max-size")
"""Ends of cluster-autoscaler's annotations, whatever group its provider runs under."""
_MANAGED_BY: Final = "cluster.x-k8s.io/replicas-managed-by"
_TOPOLOGY: Final = "capi-topology"
"""Field manager of the controller that makes machines from a Cluster's topology."""


def refusal(body: Mapping[str, Any]) -> str:
    """Say who else sizes these machines; empty where nobody does.

    Args:
        body: The object, with its metadata.
    """
    annotations = body["metadata"].get("annotations") or {}
    for name in sorted(annotations):
        if name.endswith(_BOUNDS):
            return (
                f"cluster-autoscaler sizes it (annotation {name}): remove its min-size and "
                "max-size annotations, or set actuation: none"
            )
    if _MANAGED_BY in annotations:
        return (
            f"{annotations[_MANAGED_BY] or 'something else'} sizes it (annotation {_MANAGED_BY}): "
            "remove the annotation, or set actuation: none"
        )
    if any(owner.manager == _TOPOLOGY for owner in owners(body, ("spec", "replicas"))):
        return (
            "its Cluster's topology sets replicas and would undo our changes: remove replicas "
            "there, or set actuation: none"
        )
    return ""


def status(body: Mapping[str, Any]) -> NodePoolStatus:
    """Read the machines asked for, and those whose node is ready.

    Machines above the wish, as a roll-out makes them, are not capacity.

    Raises:
        ObservationError: A count is none.
    """
    desired = count(body.get("spec") or {}, "replicas", 1)
    ready = count(body.get("status") or {}, "readyReplicas", 0)
    return NodePoolStatus(desired=desired, ready=min(ready, desired))


def count(part: Mapping[str, Any], field: str, absent: int) -> int:
    """Return a count of an object; `absent` where it is not there.

    Raises:
        ObservationError: It is no count.
    """
    value = part.get(field)
    if value is None:
        return absent
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ObservationError(f"{field} should be an integer of 0 or more, not {value!r}")
    return value
