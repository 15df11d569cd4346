"""Karpenter's NodePools with a fixed number of nodes (`spec.replicas`, static capacity). Pure.

Any other NodePool follows the pods that wait for nodes: Karpenter sizes it, and we only look.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from autoscaler.adapters.node_pools.cluster_api import count
from autoscaler.core import quantity
from autoscaler.core.observation import NodePoolStatus

POOL_LABEL: Final = "karpenter.sh/nodepool"
"""On each NodeClaim: the name of its NodePool."""


def refusal(body: Mapping[str, Any]) -> str:
    """Say why a NodePool cannot be sized by us; empty where it can."""
    if (body.get("spec") or {}).get("replicas") is None:
        return (
            "Karpenter sizes it by the pods that wait (it has no spec.replicas): make a static "
            "NodePool, or set actuation: none"
        )
    return ""


def status(body: Mapping[str, Any], claims: Iterable[Mapping[str, Any]]) -> NodePoolStatus:
    """Read the nodes asked for, and those that pods can start on.

    A NodeClaim is ready when its node is registered and initialised. A NodePool without a fixed
    number asks for as many nodes as it has claims.

    Args:
        body: The NodePool.
        claims: Its NodeClaims.

    Raises:
        ObservationError: `spec.replicas` is no count.
    """
    alive = [claim for claim in claims if "deletionTimestamp" not in claim["metadata"]]
    ready = sum(
        any(
            each.get("type") == "Ready" and each.get("status") == "True"
            for each in (claim.get("status") or {}).get("conditions") or ()
        )
        for claim in alive
    )
    desired = count(body.get("spec") or {}, "replicas", len(alive))
    return NodePoolStatus(desired=desired, ready=min(ready, desired))


def beyond_limit(body: Mapping[str, Any], nodes: int) -> str:
    """Say where a NodePool's own limit is below a number of nodes; empty where it is not."""
    limit = ((body.get("spec") or {}).get("limits") or {}).get("nodes")
    try:
        most = quantity.parse(str(limit)).approximate
    except ValueError:
        return ""
    return f"spec.limits.nodes is {limit}: Karpenter makes no more" if nodes > most else ""
