"""Which resources the API server knows, and what is special about each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

STATUS = frozenset({"status"})


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where a resource keeps what its `/scale` shows (dotted; None: not shown)."""

    spec: str = "spec.replicas"
    status: str = "status.replicas"
    selector: str | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of one API version.

    Attributes:
        custom: Defined by a CustomResourceDefinition: no defaults, no strategic merge patch.
        defaults: What a field gets when it is absent (dotted path to value).
        update_needs_version: A PUT without resourceVersion is refused (422).
        generation: `metadata.generation` counts the changes of the wish.
        selectable: Fields that a field selector may name, beside name and namespace.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    subresources: frozenset[str] = frozenset()
    scale: ScalePaths | None = None
    custom: bool = False
    defaults: Mapping[str, object] = field(default_factory=dict)
    update_needs_version: bool = False
    generation: bool = True
    short: tuple[str, ...] = ()
    selectable: frozenset[str] = frozenset()

    @property
    def api_version(self) -> str:
        """Return `group/version`, or `version` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def prefix(self) -> str:
        """Return the path of the group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def singular(self) -> str:
        return self.kind.lower()

    def path(self, name: str = "", namespace: str = "", subresource: str = "") -> str:
        """Return the path of the collection, of an object or of its subresource."""
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        ends = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{self.prefix}{within}/{self.plural}{ends}"


SELECTOR = ScalePaths(selector="spec.selector")
REPLICAS_1: Mapping[str, object] = {"spec.replicas": 1}
ROLLING: Mapping[str, object] = {
    "spec.replicas": 1,
    "spec.strategy.type": "RollingUpdate",
    "spec.strategy.rollingUpdate.maxSurge": "25%",
    "spec.strategy.rollingUpdate.maxUnavailable": "25%",
    "spec.revisionHistoryLimit": 10,
    "spec.progressDeadlineSeconds": 600,
}
ABOUT = frozenset(
    {
        "involvedObject.kind", "involvedObject.name", "involvedObject.namespace",
        "involvedObject.uid", "reason", "reportingComponent", "source", "type",
    }
)  # fmt: skip
SCALED = frozenset({"status", "scale"})


def _apps(plural: str, kind: str, defaults: Mapping[str, object], short: str) -> Resource:
    return Resource(
        "apps",
        "v1",
        plural,
        kind,
        subresources=SCALED,
        scale=SELECTOR,
        defaults=defaults,
        short=(short,),
    )


def custom(
    group: str,
    version: str,
    plural: str,
    kind: str,
    *,
    namespaced: bool = True,
    scale: ScalePaths | None = None,
) -> Resource:
    """Return a custom resource with `/status`, and with `/scale` where paths are given."""
    return Resource(
        group,
        version,
        plural,
        kind,
        namespaced=namespaced,
        subresources=SCALED if scale else STATUS,
        scale=scale,
        custom=True,
        update_needs_version=True,
    )


BUILT_IN = (
    Resource("", "v1", "namespaces", "Namespace", namespaced=False, subresources=STATUS),
    Resource("", "v1", "nodes", "Node", namespaced=False, subresources=STATUS, generation=False),
    Resource(
        "",
        "v1",
        "pods",
        "Pod",
        subresources=STATUS,
        short=("po",),
        selectable=frozenset({"spec.nodeName", "spec.schedulerName", "status.phase"}),
    ),
    Resource("", "v1", "configmaps", "ConfigMap", generation=False, short=("cm",)),
    Resource("", "v1", "secrets", "Secret", generation=False),
    Resource("", "v1", "events", "Event", generation=False, short=("ev",), selectable=ABOUT),
    Resource(
        "",
        "v1",
        "serviceaccounts",
        "ServiceAccount",
        subresources=frozenset({"token"}),
        generation=False,
        short=("sa",),
    ),
    _apps("deployments", "Deployment", ROLLING, "deploy"),
    _apps("statefulsets", "StatefulSet", REPLICAS_1, "sts"),
    _apps("replicasets", "ReplicaSet", REPLICAS_1, "rs"),
    Resource(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        subresources=STATUS,
        defaults={"spec.minReplicas": 1},
        generation=False,
        short=("hpa",),
    ),
    Resource(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        subresources=STATUS,
        short=("pdb",),
    ),
    Resource(
        "coordination.k8s.io",
        "v1",
        "leases",
        "Lease",
        update_needs_version=True,
        generation=False,
    ),
    Resource(
        "events.k8s.io",
        "v1",
        "events",
        "Event",
        generation=False,
        short=("ev",),
        selectable=ABOUT,
    ),
    *(
        Resource(
            "rbac.authorization.k8s.io",
            "v1",
            plural,
            kind,
            namespaced=not kind.startswith("Cluster"),
            generation=False,
        )
        for plural, kind in (
            ("roles", "Role"),
            ("rolebindings", "RoleBinding"),
            ("clusterroles", "ClusterRole"),
            ("clusterrolebindings", "ClusterRoleBinding"),
        )
    ),
)

CUSTOM = (
    custom(
        "leaderworkerset.x-k8s.io",
        "v1",
        "leaderworkersets",
        "LeaderWorkerSet",
        scale=ScalePaths(selector="status.hpaPodSelector"),
    ),
    custom("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject"),
    custom("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService"),
    *(
        custom(
            "cluster.x-k8s.io",
            version,
            plural,
            kind,
            scale=ScalePaths(selector="status.selector" if kind != "MachinePool" else None),
        )
        for version in ("v1beta2",)
        for plural, kind in (
            ("machinedeployments", "MachineDeployment"),
            ("machinepools", "MachinePool"),
        )
    ),
    custom(
        "karpenter.sh",
        "v1",
        "nodepools",
        "NodePool",
        namespaced=False,
        scale=ScalePaths(status="status.nodes"),
    ),
)

EVERYTHING = BUILT_IN + CUSTOM
