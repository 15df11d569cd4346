"""The whole controller, as `autoscaler run` composes it, for a few cycles as a service account.

Its time is the test's: five minutes of cycles take a second.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kept_state import ClusterStore
from autoscaler.adapters.kubernetes.pods import DELETION_COST
from autoscaler.adapters.kubernetes.targets import TargetReader
from autoscaler.adapters.live import LiveObserver
from autoscaler.compose import compose
from autoscaler.config.reload import PolicyFiles
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.service import Service, wall
from autoscaler.settings import Settings
from autoscaler.telemetry.report import CycleReport
from tests.adapters.kubernetes.real.place import KINDS, LEADER_WORKER_SET, Place
from tests.fakes.kubernetes import objects
from tests.fakes.prometheus_double import Asked, Line, PrometheusDouble, always
from tests.waiting import until

LEAD_SECONDS: Final = 8.0
STATE: Final = "inference-autoscaler-state"

WORKLOAD: Final = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: ScaledWorkload
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  target: {{apiVersion: {version}, kind: {kind}, name: {name}}}
  actuation: scale
  replicas: {{min: 1, max: 10}}
  {replica}
  match: {{app: {name}}}
  signals: {{load: {{query: "sum by ($labels) (load{{$match}})"}}}}
  policies: [{{type: target-tracking, signal: load, target: 10, tolerance: 0}}]
  behavior:
    scaleUp: {{policies: [{{type: Pods, value: 10, periodSeconds: 15}}]}}
    scaleDown:
      stabilizationWindowSeconds: 0
      policies: [{{type: Pods, value: 10, periodSeconds: 15}}]
"""
POOL: Final = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: NodePool
metadata: {{name: nodes}}
spec:
  actuation: scale
  target:
    apiVersion: cluster.x-k8s.io/v1beta2
    kind: MachineDeployment
    name: nodes
    namespace: {namespace}
  gpusPerNode: 8
  nodes: {{min: 1, max: 20}}
"""
SMALL: Final = {"chat": "Deployment", "batch": "StatefulSet"}
"""What the shipped rights cover: kinds by name."""
LARGE: Final = {**SMALL, "big": LEADER_WORKER_SET, "odd": "Engine"}


class Whole:
    """A namespace with targets, their metrics, and a controller over them.

    Attributes:
        load: What each workload carries; ten for a replica.
        later: Seconds that the controller's time is ahead.
        marked: Pods that had a deletion cost when replicas were taken away.
        marked: Pods that had a deletion cost when replicas were taken away.
    """

    def __init__(
        self, place: Place, folder: Path, kinds: Mapping[str, str], *, own: str, pool: bool = False
    ) -> None:
        self.place, self.own, self.folder = place, own, folder
        self.kinds, self.pool = kinds, pool
        self.load, self.later = 30.0, 0.0
        self.marked: list[str] = []
        self.policies = folder / "policies"
        self.policies.mkdir()
        for name, kind in kinds.items():
            replica = "replica: {gpus: 4, nodePool: nodes}" if pool else ""
            text = WORKLOAD.format(
                name=name,
                namespace=place.namespace,
                version=KINDS[kind],
                kind=kind,
                replica=replica,
            )
            (self.policies / f"{name}.yaml").write_text(text, encoding="utf-8")
            place.make(kind, 3, name=name)
        if pool:
            text = POOL.format(namespace=place.namespace)
            (self.policies / "pool.yaml").write_text(text, encoding="utf-8")
            version, count = "cluster.x-k8s.io/v1beta2", len(kinds) * 2
            body = objects.custom(
                version,
                "MachineDeployment",
                "nodes",
                namespace=place.namespace,
                replicas=count,
                selector={},
            )
            place.server.add({**body, "status": {"readyReplicas": count}})
        budget = objects.disruption_budget("chat", app="chat", allowed=2, namespace=place.namespace)
        budget["status"]["observedGeneration"] = 1
        place.server.add(budget)
        serves = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        for number in range(5):
            pod = objects.pod(f"chat-{number}", namespace=place.namespace, labels={"app": "chat"})
            place.server.add({**pod, "status": serves})
        self.settle()

    @property
    def fleet(self) -> FleetSpec:
        return self.files.loaded.fleet

    @property
    def files(self) -> PolicyFiles:
        return PolicyFiles([self.policies])

    def count(self, name: str) -> int:
        return self.place.count(self.place.about(self.kinds[name], name=name))

    @property
    def counts(self) -> dict[str, int]:
        return {name: self.count(name) for name in self.kinds}

    def nodes(self) -> int:
        root = f"/apis/cluster.x-k8s.io/v1beta2/namespaces/{self.place.namespace}"
        return int(self.place.server.peek(f"{root}/machinedeployments/nodes")["spec"]["replicas"])

    def clock(self) -> float:
        return wall() + self.later

    def settle(self) -> None:
        """Have every replica ready, as controllers would."""
        for name, kind in self.kinds.items():
            workload = self.place.about(kind, name=name)
            count = self.place.count(workload)
            generation = self.place.body(workload)["metadata"].get("generation", 1)
            status = {"replicas": count, "readyReplicas": count, "updatedReplicas": count}
            if kind in {"Deployment", "StatefulSet"}:
                status |= {"availableReplicas": count, "observedGeneration": generation}
            if kind == "Engine":
                status = {"size": count, "readyReplicas": count}
            self.place.status(workload, **status)

    def annotate(self, **marks: str | None) -> None:
        """Pause the Deployment, or resume it."""
        annotations = {f"inference-autoscaler.dev/{name}": value for name, value in marks.items()}
        self.place.write(self.place.about(), {"metadata": {"annotations": annotations}})

    def costs(self) -> list[str]:
        """Return which pods have a deletion cost."""
        root = f"/api/v1/namespaces/{self.place.namespace}/pods"
        return [
            pod["metadata"]["name"]
            for pod in self.place.server.objects(root)
            if DELETION_COST in (pod["metadata"].get("annotations") or {})
        ]

    @contextmanager
    def running(
        self, kubeconfig: Path, *, shadow: bool = False, lease_seconds: float = 15.0
    ) -> Iterator[Service]:
        """Compose the controller with an account's rights, and wait until it leads."""
        with PrometheusDouble(self._answer) as prometheus:
            settings = Settings(
                prometheus=prometheus.url,
                kubeconfig=kubeconfig,
                namespace=self.own,
                shadow=shadow,
                lease_seconds=lease_seconds,
                renew_seconds=0.68 * lease_seconds,
                retry_seconds=0.2,
                lease_request_seconds=3.0,
            )
            files = self.files
            parts = compose(settings, files.loaded.fleet, clock=self.clock)
            assert isinstance(parts.observer, LiveObserver)
            self._watches = cast("TargetReader", parts.observer._targets)._watches
            service = Service(settings, files, parts, clock=self.clock)
            try:
                parts.leadership.start()
                end = time.monotonic() + LEAD_SECONDS
                while not parts.leadership.is_leader() and time.monotonic() < end:
                    time.sleep(0.02)
                yield service
            finally:
                service.stop()

    def _answer(self, asked: Asked) -> Iterator[Line]:
        for name in self.kinds:
            yield Line({"app": name}, always(self.load))

    def cycle(self, service: Service, *, load: float, later: float = 20.0) -> CycleReport:
        """Let time pass, and run a cycle; then every replica becomes ready."""
        self.load, self.later = load, self.later + later
        for name, kind in self.kinds.items():
            self._hears_of(self.place.about(kind, name=name))
        report = service.tick()
        self.settle()
        return report

    def _hears_of(self, workload: ScaledWorkload) -> None:
        """Wait until the controller has heard of the newest version of a target, if it may."""
        watched = self._watches.known(self.place.path(workload).rpartition("/")[0])
        if watched is None or watched.trouble:
            return
        name = (workload.metadata.namespace, workload.metadata.name)
        version = self.place.version(workload)
        until(lambda: (watched.get(*name) or {})["metadata"]["resourceVersion"] == version)

    def day(self, service: Service) -> list[dict[str, int]]:
        """Up; paused and resumed twice; down as the budget lets; up again. Return the counts."""
        counts = []
        self.cycle(service, load=50.0)
        counts.append(self.counts)
        for paused in ("true", None, "true", None):
            # A state was not found, so nothing is lowered for five minutes.
            self.annotate(paused=paused)
            self.cycle(service, load=50.0, later=80.0)
        self.cycle(service, load=10.0)
        counts.append(self.counts)
        self.marked = self.costs()
        self.cycle(service, load=50.0, later=130.0)
        counts.append(self.counts)
        return counts

    def keep_a_large_state(self, kubeconfig: Path) -> None:
        """Keep a state in pieces, twice: both slots are needed, and read it."""
        connection = Connection.open(kubeconfig)
        store = ClusterStore(connection, self.own, STATE, piece_bytes=100)
        for seed in (1, 2, 2):
            data = bytes((number * number * seed) % 251 for number in range(700))
            store.save(data)
            assert store.load() == data
        connection.close()
