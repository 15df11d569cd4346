"""Four workloads between a Prometheus and a Kubernetes API, either of which may fail.

The controller is composed as `autoscaler run` composes it, and speaks HTTP to both. Only its clocks
are the test's, and the waits are short.
"""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from structlog.testing import capture_logs

from autoscaler import compose as composing
from autoscaler.adapters.kubernetes.connection import Connection, Limits
from autoscaler.adapters.kubernetes.election import Election
from autoscaler.adapters.kubernetes.kept_state import ClusterStore
from autoscaler.adapters.kubernetes.scalers import ScalerReader
from autoscaler.adapters.kubernetes.watch import WatchLimits
from autoscaler.adapters.kubernetes.watches import Watches
from autoscaler.adapters.prometheus.reader import SignalReader
from autoscaler.adapters.prometheus.source import PrometheusSource
from autoscaler.config.reload import PolicyFiles
from autoscaler.core.past import Past
from autoscaler.core.planner import FleetState
from autoscaler.service import Service
from autoscaler.settings import Settings, read_settings
from autoscaler.state import dump_state
from autoscaler.telemetry.narrator import Narrator
from autoscaler.telemetry.report import CycleReport
from tests.fakes.kubernetes import FakeApiServer, objects
from tests.fakes.kubernetes.status import ApiError
from tests.fakes.prometheus_double import PrometheusDouble
from tests.faults.clock import Clock
from tests.faults.metrics import Metrics
from tests.waiting import PATIENCE_SECONDS

CYCLE_SECONDS: Final = 15.0
NAMESPACE: Final = "inference-autoscaler"
STATE: Final = f"/api/v1/namespaces/{NAMESPACE}/configmaps/inference-autoscaler-state"
LEASE: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/inference-autoscaler"
DEPLOYMENTS: Final = "/apis/apps/v1/namespaces/llm/deployments"


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """How long the controller waits, in real seconds.

    Attributes:
        answer: For one answer of the API server.
        look: For everything that is looked at in a cycle.
        act: For everything that is changed in a cycle.
        lease: For one answer about the lease.
    """

    answer: float
    look: float
    act: float
    lease: float

    @property
    def limits(self) -> Limits:
        return Limits(
            connect_seconds=self.answer,
            read_seconds=self.answer,
            deadline_seconds=2 * self.answer,
            first_wait_seconds=0.01,
            longest_wait_seconds=0.05,
        )


PATIENT: Final = Pace(answer=2.0, look=3.0, act=4.0, lease=1.0)
"""For faults that are answered at once: a busy machine is not taken for one."""
HASTY: Final = Pace(answer=0.3, look=0.4, act=1.0, lease=0.2)
"""For faults that nobody answers."""

EAGER: Final = WatchLimits(first_wait_seconds=0.005, longest_wait_seconds=0.02)

POLICY: Final = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: ScaledWorkload
metadata: {{name: {name}, namespace: llm}}
spec:
  target: {{apiVersion: apps/v1, kind: Deployment, name: {name}}}
  actuation: scale
  replicas: {{min: {least}, max: 10}}
  match: {{namespace: llm, model_name: {name}}}
  signals:
    running: &gauge
      query: sum by ($labels) (vllm:num_requests_running{{$match}})
      windowSeconds: 120
      stepSeconds: 15
      maxAgeSeconds: 60
      onMissing: hold
    waiting:
      query: sum by ($labels) (vllm:num_requests_waiting{{$match}})
      windowSeconds: 120
      stepSeconds: 15
      maxAgeSeconds: 60
      onMissing: hold
  policies:
    - {{type: target-tracking, signal: running, target: 10}}
    - {{type: target-tracking, signal: waiting, target: 10}}
  combine: highest
  behavior:
    scaleUp:
      stabilizationWindowSeconds: 0
      policies: [{{type: Pods, value: 8, periodSeconds: 15}}]
    scaleDown:
      stabilizationWindowSeconds: 60
      policies: [{{type: Percent, value: 100, periodSeconds: 15}}]
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Situation:
    """What is about to happen to a workload when a fault strikes.

    Attributes:
        name: Of the workload.
        least: Its minimum.
        before: Replicas that run.
        after: Replicas that the new demand needs; one carries ten requests.
    """

    name: str
    least: int
    before: int
    after: int

    @property
    def grows(self) -> bool:
        return self.after > self.before


UP: Final = Situation("up", 1, 2, 4)
DOWN: Final = Situation("down", 1, 6, 2)
TO_ZERO: Final = Situation("to-zero", 0, 1, 0)
FROM_ZERO: Final = Situation("from-zero", 0, 0, 1)
SITUATIONS: Final = (UP, DOWN, TO_ZERO, FROM_ZERO)

DECREASE_CYCLES: Final = 3
"""From the fall of the demand to the cycle that may follow it: the stabilization window."""


class StepwiseElection(Election):
    """An election whose tries are made by the test, between cycles."""

    def start(self) -> None:
        self.attempt()


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A line of the log.

    Attributes:
        cycle: Number of the cycle.
        level: In lower case.
        event: What happened.
        about: What it is of: workload, source, target.
        reason: Why.
    """

    cycle: int
    level: str
    event: str
    about: str
    reason: str

    @property
    def text(self) -> str:
        return f"{self.event}: {self.reason}" if self.reason else self.event


class World:
    """The whole world of a test; `cycle` moves it by one control cycle.

    Attributes:
        clock: Its time.
        api: The Kubernetes API.
        prometheus: The Prometheus.
        metrics: What that has scraped.
        service: The controller.
        connection: What it asks the API server through.
        scraping: Whether scrapes succeed.
        meanwhile: Done before every cycle.
        strikes: Number of the cycle in which the demand of what grows changes.
        falls: Number of the cycle in which the demand of what shrinks changes.
        cycles: Cycles so far.
        counts: For each cycle, the replicas that stand in the cluster afterwards.
        log: Lines of `info` and above.
    """

    def __init__(
        self, folder: Path, *, strikes: int, due: int, pace: Pace = PATIENT, journals: bool = False
    ) -> None:
        self.folder = folder
        self.pace = pace
        self.clock = Clock()
        self.api = FakeApiServer(folder, clock=self.clock.truth)
        self.metrics = Metrics(self.clock.truth)
        self.prometheus = PrometheusDouble(self.metrics.answer)
        self.prometheus.clock = self.metrics.clock
        self.scraping = True
        self.meanwhile: Callable[[], object] = lambda: None
        self.strikes, self.falls = strikes, due - DECREASE_CYCLES
        self.cycles = 0
        self.counts: list[Mapping[str, int | None]] = []
        self.log: list[Line] = []
        self.journals = journals
        self._close: Callable[[], None] = lambda: None
        self.reports: list[CycleReport] = []
        self._watches: Watches | None = None
        self._election: StepwiseElection | None = None
        policies = folder / "policies"
        policies.mkdir()
        for one in SITUATIONS:
            text = POLICY.format(name=one.name, least=one.least)
            (policies / f"{one.name}.yaml").write_text(text, encoding="utf-8")
            self.api.add(objects.deployment(one.name, namespace="llm", replicas=one.before))
        self.api.add(
            objects.lease("inference-autoscaler", namespace=NAMESPACE, holder=""),
        )
        self.policies = policies
        self.metrics.remember(3 * 3600.0, {one.name: 10.0 * one.before for one in SITUATIONS})
        self.settle_pods()
        self.seed_state()
        self.connection: Connection
        self.service = self.start()

    # --- the controller -------------------------------------------------------------------

    def settings(self) -> Settings:
        return read_settings(
            flags={
                "prometheus": self.prometheus.url,
                "kubeconfig": str(self.api.kubeconfig_path),
                "interval_seconds": CYCLE_SECONDS,
                "observe_seconds": self.pace.look,
                "act_seconds": self.pace.act,
                "lease_request_seconds": self.pace.lease,
                "reload_seconds": 1,
                "journal": self.folder / "journal" if self.journals else None,
            },
        )

    def start(self) -> Service:
        """Compose a controller as the command does, with this world's clocks."""
        settings, files = self.settings(), PolicyFiles([self.policies])
        with self._short(), capture_logs() as said:
            parts = composing.compose(settings, files.loaded.fleet, clock=self.clock.wall)
            self._close = parts.close
            service = Service(
                settings,
                files,
                parts,
                narrate=Narrator().narrate,
                clock=self.clock.wall,
                monotonic=self.clock.monotonic,
            )
            parts.leadership.start()
        self._note(said)
        self.service = service
        return service

    def restart(self) -> None:
        """End the process at once, as SIGKILL does, and start another when the lease ran out."""
        self.abandon()
        self.start()
        self.pass_time(CYCLE_SECONDS)

    def abandon(self) -> None:
        """Drop the controller: nothing is saved, nothing is given back."""
        self._close()

    @contextmanager
    def _short(self) -> Iterator[None]:
        clock, world, pace = self.clock.monotonic, self, self.pace

        class Opened(Connection):
            @classmethod
            def open(cls, *args: Any, **options: Any) -> Connection:  # type: ignore[override]
                found = Connection.open(*args, **{**options, "limits": pace.limits})
                found.monotonic = clock
                world.connection = found
                return found

        def source(*args: Any, **options: Any) -> PrometheusSource:
            waits = {"monotonic": clock, "sleep": lambda seconds: time.sleep(min(seconds, 0.01))}
            return PrometheusSource(*args, **{**options, **waits})

        def reader(*args: Any, **options: Any) -> SignalReader:
            changes = {"jitter_seconds": 0.0, "monotonic": clock}
            return SignalReader(*args, **{**options, **changes})

        def watches(*args: Any, **options: Any) -> Watches:
            world._watches = Watches(*args, **{**options, "limits": EAGER})
            return world._watches

        def scalers(*args: Any, **options: Any) -> ScalerReader:
            return ScalerReader(*args, **{**options, "deadline_seconds": pace.lease})

        def store(*args: Any, **options: Any) -> ClusterStore:
            return ClusterStore(*args, **{**options, "deadline_seconds": pace.lease})

        def election(*args: Any, **options: Any) -> Election:
            world._election = StepwiseElection(*args, **options, monotonic=clock)
            return world._election

        with patch.multiple(
            composing,
            Connection=Opened,
            PrometheusSource=source,
            SignalReader=reader,
            Watches=watches,
            Election=election,
            ClusterStore=store,
            ScalerReader=scalers,
        ):
            yield

    # --- time -----------------------------------------------------------------------------

    def demand(self) -> Mapping[str, float]:
        """Return the requests of each model that run at once now."""
        found = {}
        for one in SITUATIONS:
            changed = self.cycles >= (self.strikes if one.grows else self.falls)
            found[one.name] = 10.0 * (one.after if changed else one.before)
        return found

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with the election's tries within."""
        for _ in range(3):
            self.clock.leap(seconds / 3)
            if self._election is not None:
                self._election.attempt()

    def cycle(self) -> CycleReport:
        """Scrape, run one control cycle, let pods follow, and let time pass to the next."""
        with capture_logs() as said:
            self.meanwhile()
            if self.scraping:
                self.metrics.scrape(self.demand())
            self._hear()
            self.service.reloading.look()
            report = self.service.tick()
            self.service.saving.flush(PATIENCE_SECONDS)
            self.settle_pods()
            self.counts.append(self.replicas())
            self.reports.append(report)
            self.pass_time(CYCLE_SECONDS)
        self._note(said)
        self.cycles += 1
        return report

    def _hear(self, patience_seconds: float = 0.1) -> None:
        """Let watches hear of what changed, as within seconds they would."""
        if self._watches is None:
            return
        began, now = time.monotonic(), self.clock.monotonic
        marked = now()
        self.api.bookmark()
        while time.monotonic() - began < patience_seconds:
            ages = [one.age for one in self._watches._watched.values()]
            if all(age <= now() - marked for age in ages):
                return
            time.sleep(0.001)

    def _note(self, said: list[Any]) -> None:
        for one in said:
            entry = dict(one)
            level = str(entry.get("log_level", ""))
            if level == "debug":
                continue
            about = next(
                (str(entry[k]) for k in ("workload", "source", "target") if k in entry), ""
            )
            self.log.append(
                Line(
                    self.cycles, level, str(entry.get("event")), about, str(entry.get("reason", ""))
                )
            )

    # --- the cluster ----------------------------------------------------------------------

    def replicas(self) -> Mapping[str, int | None]:
        """Return how many replicas each target asks for; None where it is gone."""
        found: dict[str, int | None] = {}
        for one in SITUATIONS:
            try:
                found[one.name] = self.api.peek(f"{DEPLOYMENTS}/{one.name}")["spec"]["replicas"]
            except ApiError:
                found[one.name] = None
        return found

    def cut_watches(self) -> None:
        """End every watch that is open now."""
        streams = self.api._streams
        before = set(streams)
        for _ in range(100):
            if not before & streams:
                return
            self.api.cut_watches()
            time.sleep(0.002)
        raise AssertionError("a watch could not be ended")

    def settle_pods(self) -> None:
        """Have as many pods ready as are asked for."""
        for one in SITUATIONS:
            try:
                found = self.api.peek(f"{DEPLOYMENTS}/{one.name}")
            except ApiError:
                continue
            count = found["spec"]["replicas"]
            status = {
                "replicas": count,
                "readyReplicas": count,
                "updatedReplicas": count,
                "availableReplicas": count,
                "observedGeneration": found["metadata"].get("generation", 1),
            }
            if found.get("status") != status:
                self.api.add({**found, "status": status})

    def seed_state(self, change: Callable[[bytes], bytes] = lambda data: data) -> None:
        """Keep a state in the cluster as a controller leaves it that has run for long."""
        pasts = {f"llm/{one.name}": Past(desired=one.before) for one in SITUATIONS}
        data = dump_state(FleetState(pasts), self.clock.wall())
        connection = Connection.open(self.api.kubeconfig_path, limits=self.pace.limits)
        ClusterStore(connection, NAMESPACE, "inference-autoscaler-state").save(change(data))
        connection.close()

    def close(self) -> None:
        """End everything."""
        self.api.faults.clear()
        self.prometheus.fault = lambda _: None
        closing = threading.Thread(target=self.service.stop)
        closing.start()
        closing.join(5)
        self.prometheus.close()
        self.api.close()
        self.api.stop()
