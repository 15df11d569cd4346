"""A stage for the whole program: engines, a real Prometheus, a Kubernetes API, and the process."""

import contextlib
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kept_state import ClusterStore
from autoscaler.adapters.kubernetes.requests import FIELD_MANAGER
from autoscaler.core.past import Past
from autoscaler.core.planner import FleetState
from autoscaler.service import wall
from autoscaler.state import dump_state, load_state
from tests.fakes.exporter import Exporter, VllmEngine
from tests.fakes.kubernetes import objects
from tests.fakes.kubernetes.client import ApiServer
from tests.fakes.prometheus import RealPrometheus
from tests.live.process import Process
from tests.waiting import PATIENCE_SECONDS, until

MODELS: Final = ("chat", "code")
STATE: Final = "inference-autoscaler-state"

POLICY: Final = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: ScaledWorkload
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  target: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}
  actuation: {actuation}
  replicas: {{min: {least}, max: {most}}}
  match: {{namespace: {namespace}, model_name: {name}}}
  signals:
    running:
      query: sum by ($labels) (vllm:num_requests_running{{$match}})
      windowSeconds: 30
      stepSeconds: 1
      maxAgeSeconds: 10
  policies:
    - {{type: target-tracking, signal: running, target: 10}}
  combine: highest
  behavior:
    scaleUp: {{policies: [{{type: Pods, value: {up}, periodSeconds: {period}}}]}}
    scaleDown:
      stabilizationWindowSeconds: 3
      policies: [{{type: Percent, value: 100, periodSeconds: 1}}]
"""


class Stage:
    """Engines of two models, scraped by a real Prometheus, and their Deployments.

    Attributes:
        api: The Kubernetes API.
        prometheus: The Prometheus.
        namespace: Of the workloads.
        own: Namespace of the controller.
        folder: Of the two policy files.
    """

    def __init__(self, folder: Path, api: ApiServer) -> None:
        self.api = api
        place = uuid.uuid4().hex[:8]
        self.namespace, self.own = f"llm-{place}", f"autoscaler-{place}"
        self.engines = {name: VllmEngine(name) for name in MODELS}
        self.exporter = Exporter(**self.engines)
        labels = {"namespace": self.namespace}
        targets = dict.fromkeys(MODELS, (self.exporter.address, labels))
        (folder / "prometheus").mkdir()
        self.prometheus = RealPrometheus(folder / "prometheus", targets)
        self.folder = folder / "policies"
        self.folder.mkdir()
        self._parent = folder
        self._processes: list[Process] = []
        self._ending = threading.Event()
        self._pods = threading.Thread(target=self._run_pods, name="pods")

    def __enter__(self) -> Self:
        self.prometheus.start()
        for namespace in (self.namespace, self.own):
            self.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        for name in MODELS:
            self.write_policy(name)
            self.api.add(objects.deployment(name, namespace=self.namespace, replicas=2))
            self.demand(name, 20)
        self.seed_state()
        self._pods.start()
        query = "count(vllm:num_requests_running) == 2"
        self.prometheus.until(lambda: self.prometheus.value(query) == 2, "engines are scraped")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.close()
        self._ending.set()
        self._pods.join()
        self.prometheus.stop()
        self.exporter.close()

    # --- what a test does -----------------------------------------------------------------

    def write_policy(
        self,
        name: str,
        *,
        actuation: str = "scale",
        least: int = 1,
        most: int = 10,
        up: int = 20,
        period: int = 1,
    ) -> None:
        """Write or change a policy file."""
        text = POLICY.format(
            name=name,
            namespace=self.namespace,
            actuation=actuation,
            least=least,
            most=most,
            up=up,
            period=period,
        )
        (self.folder / f"{name}.yaml").write_text(text, encoding="utf-8")

    def demand(self, name: str, requests: float) -> None:
        """Have so many requests run at once; a replica should carry ten."""
        self.engines[name].running = requests

    def sleep(self, name: str, *, actuation: str = "scale") -> None:
        """Have a workload sleep at zero, put there by an earlier controller for want of demand."""
        self.write_policy(name, actuation=actuation, least=0)
        self.demand(name, 0)
        self.api.merge(self.path(name), {"spec": {"replicas": 0}}, fieldManager=FIELD_MANAGER)
        self.seed_state(**{name: Past(desired=0, asleep=True)})
        query = f'vllm:num_requests_running{{model_name="{name}"}}'
        self.prometheus.until(lambda: self.prometheus.value(query) == 0, "nobody asks")

    def replicas(self, name: str = "chat") -> int:
        """Return how many replicas a Deployment asks for."""
        return int(self._deployment(name)["spec"]["replicas"])

    def generation(self, name: str = "chat") -> int:
        """Return how often a Deployment's spec was written: 1 for its creation."""
        return int(self._deployment(name)["metadata"]["generation"])

    def until(self, count: int, name: str = "chat", seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until a Deployment asks for so many replicas."""
        what = f"{name} has {count} replicas; it has"
        try:
            until(lambda: self.replicas(name) == count, what, seconds=seconds)
        except AssertionError as error:
            logs = "\n".join(
                process.log.read_text(encoding="utf-8")[-3000:] for process in self._processes
            )
            raise AssertionError(f"{error} {self.replicas(name)}; the logs end:\n{logs}") from None

    def run(
        self,
        *more: str,
        kubeconfig: Path | None = None,
        election: bool = False,
        settings: Mapping[str, object] | None = None,
    ) -> Process:
        """Start `autoscaler run` with the two policy files."""
        given = {
            "intervalSeconds": 1,
            "listenPort": 0,
            "scrapeIntervalSeconds": 0.25,
            "leaseSeconds": 5,
            "renewSeconds": 3.5,
            "retrySeconds": 0.3,
            "leaseRequestSeconds": 1.2,
            "stateIntervalSeconds": 1,
            "reloadSeconds": 0.5,
            **(settings or {}),
        }
        command = [
            *(sys.executable, "-m", "autoscaler", "run"),
            *(str(self.folder / f"{name}.yaml") for name in MODELS),
            *("--prometheus", self.prometheus.url),
            *("--kubeconfig", str(kubeconfig or self.api.kubeconfig_path)),
            *("--namespace", self.own),
            "--leader-election" if election else "--no-leader-election",
            *(part for name, value in given.items() for part in ("--set", f"{name}={value}")),
            *more,
        ]
        number = len(self._processes)
        self._processes.append(Process(command, self._parent / f"process-{number}.log"))
        return self._processes[-1]

    @contextlib.contextmanager
    def _store(self) -> Iterator[ClusterStore]:
        connection = Connection.open(self.api.kubeconfig_path)
        yield ClusterStore(connection, self.own, STATE)
        connection.close()

    def seed_state(self, **other: Past) -> None:
        """Keep a state as a controller leaves it that has run here for long.

        Without one, nothing would be lowered for the first five minutes.

        Args:
            other: What is remembered of a model, where that is not two replicas.
        """
        known = {name: Past(desired=2) for name in MODELS} | other
        pasts = {f"{self.namespace}/{name}": past for name, past in known.items()}
        with self._store() as store:
            store.save(dump_state(FleetState(pasts), wall()))

    def past(self, name: str = "chat") -> Past | None:
        """Return what the saved state remembers of a workload."""
        with self._store() as store:
            data = store.load()
        return None if data is None else load_state(data)[0].pasts.get(f"{self.namespace}/{name}")

    # --- the cluster ----------------------------------------------------------------------

    def path(self, name: str) -> str:
        """Return where a Deployment lies."""
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}"

    def _deployment(self, name: str) -> dict[str, Any]:
        return self.api.peek(self.path(name))

    def _run_pods(self) -> None:
        """Have as many pods ready as are asked for, as controllers and nodes would."""
        while not self._ending.wait(0.05):
            for name in MODELS:
                found = self._deployment(name)
                count = found["spec"]["replicas"]
                status = {
                    "replicas": count,
                    "readyReplicas": count,
                    "updatedReplicas": count,
                    "availableReplicas": count,
                    "observedGeneration": found["metadata"]["generation"],
                }
                if found.get("status") != status:
                    with contextlib.suppress(AssertionError):  # changed meanwhile: next time
                        body = {"status": status}
                        self.api.merge(f"{self.path(name)}/status", body, fieldManager="pods")
