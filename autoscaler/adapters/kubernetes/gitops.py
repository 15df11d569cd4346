"""Objects that a GitOps tool keeps equal to a repository: by whom, and how to stop a fight."""

from dataclasses import dataclass
from typing import Final

from autoscaler.adapters.kubernetes.managed_fields import Json, mapping

ARGO_CD: Final = "Argo CD"
FLUX: Final = "Flux"

MANAGERS: Final = {
    "argocd-controller": ARGO_CD,
    "argocd-application-controller": ARGO_CD,
    "kustomize-controller": FLUX,
    "helm-controller": FLUX,
    "flux-client-side-apply": FLUX,
}
"""GitOps tools by the name of their field manager."""

ADVICE: Final = {
    ARGO_CD: (
        "take replicas out of the manifest, or add it to ignoreDifferences (with "
        "RespectIgnoreDifferences) and then set the number once with kubectl scale"
    ),
    FLUX: "take replicas out of the manifest, or out of what the Kustomization corrects",
}
"""What ends the fight, by tool."""

_CLIENT_SIDE: Final = frozenset({"kubectl-client-side-apply", "before-first-apply"})


@dataclass(frozen=True, slots=True)
class Tracked:
    """Who keeps an object.

    Attributes:
        tool: The GitOps tool.
        source: What it made the object from, such as its Application; empty where it is not told.
    """

    tool: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.tool} ({self.source})" if self.source else self.tool


def tracked(target: Json) -> Tracked | None:
    """Return who keeps this object, by the marks that the tools leave on it."""
    metadata = mapping(target.get("metadata"))
    labels, annotations = mapping(metadata.get("labels")), mapping(metadata.get("annotations"))
    argo = annotations.get("argocd.argoproj.io/tracking-id")
    if isinstance(argo, str):
        return Tracked(ARGO_CD, f"Application {argo.partition(':')[0]}")
    argo = labels.get("argocd.argoproj.io/instance")
    if argo is not None:
        return Tracked(ARGO_CD, f"Application {argo}")
    for prefix, kind in (("kustomize", "Kustomization"), ("helm", "HelmRelease")):
        name = labels.get(f"{prefix}.toolkit.fluxcd.io/name")
        if name is not None:
            namespace = labels.get(f"{prefix}.toolkit.fluxcd.io/namespace", "?")
            return Tracked(FLUX, f"{kind} {namespace}/{name}")
    return None


def keeper(manager: str, target: Json, others: frozenset[str] = frozenset()) -> Tracked | None:
    """Return the GitOps tool that a field manager belongs to, if it does.

    Args:
        manager: The manager's name.
        target: The object: its marks tell for whom a `kubectl apply` was made.
        others: More names of managers that are GitOps tools.
    """
    if manager in MANAGERS:
        tool, marks = MANAGERS[manager], tracked(target)
        return marks if marks is not None and marks.tool == tool else Tracked(tool)
    if manager in others:
        return Tracked(manager)
    # Old releases of these tools ran kubectl apply.
    return tracked(target) if manager in _CLIENT_SIDE else None


def left_alone(target: Json) -> bool:
    """Whether marks on the object tell Flux not to correct it once it exists."""
    metadata = mapping(target.get("metadata"))
    for marks in (mapping(metadata.get("labels")), mapping(metadata.get("annotations"))):
        ssa = str(marks.get("kustomize.toolkit.fluxcd.io/ssa", "")).lower()
        reconcile = str(marks.get("kustomize.toolkit.fluxcd.io/reconcile", "")).lower()
        drift = str(marks.get("helm.toolkit.fluxcd.io/driftDetection", "")).lower()
        if ssa in {"ifnotpresent", "ignore"} or "disabled" in {reconcile, drift}:
            return True
    return False


def advice(tool: str) -> str:
    """Return what ends a fight with this tool."""
    return ADVICE.get(tool, "take replicas out of what it applies")
