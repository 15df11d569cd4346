"""A cluster in simulated time that one workload runs in: Observer and Actuator at once."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autoscaler.core.decision import Action, NodeAction, Outcome
from autoscaler.core.errors import ConfigError
from autoscaler.core.observation import (
    Gap,
    GapReason,
    Observation,
    PodSample,
    PodStatus,
    ReplicaStatus,
    Series,
    Snapshot,
)
from autoscaler.core.spec import SignalSpec
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from simulations.measurements import Measurement, Sample, measurements_of
from simulations.pool import Member, Phase, ReplicaPool
from simulations.profiles import Profile, profile_of
from simulations.request import Request
from simulations.scrapes import Scrapes
from simulations.trace import Trace


@dataclass(frozen=True, slots=True)
class Moment:
    """The cluster at one time, for a picture of the replay.

    Attributes:
        seconds: Since the simulation began.
        desired: Replicas asked for.
        ready: Replicas that serve.
        starting: Replicas asked for that do not serve yet.
        draining: Replicas that only finish what they have.
        queued: Requests that wait, at the gateway or in a replica.
        running: Requests in a batch.
        arrived: Requests so far.
    """

    seconds: float
    desired: int
    ready: int
    starting: int
    draining: int
    queued: int
    running: int
    arrived: int


class SimulatedCluster:
    """Replays a trace through simulated replicas, as fast as it is asked.

    Time passes when somebody observes or acts at a later `now`. What can be seen of the engines
    and the gateway is what was scraped, every `scrape_seconds` from the start; replica counts and
    pods are seen as they are, as the Kubernetes API shows them.

    At one and the same moment: steps end, replicas become ready, requests arrive, the scrape
    looks, and then the caller sees and acts.

    Attributes:
        workload: The workload that is simulated.
        requests: Every request that has arrived.
        changes: Every change of the number asked for: seconds, before, after.
        pool: The replicas.
        seconds: How far simulated time has come, since the start.
    """

    def __init__(
        self,
        trace: Trace,
        workload: ScaledWorkload,
        *,
        start: float,
        scrape_seconds: float = 15.0,
        replicas: int | None = None,
        profile: Profile | None = None,
        cold_start: Callable[[], float] | None = None,
    ) -> None:
        """Set up the cluster at `start`, with nothing arrived yet.

        Args:
            trace: What arrives, whatever we do (open loop).
            workload: The policy file, with `spec.replica.profile`.
            start: When the trace begins, Unix seconds.
            scrape_seconds: Time between scrapes; the first comes that long after the start.
            replicas: How many are ready at the start; `spec.replicas.min`, but at least 1, if
                absent.
            profile: What each replica is; the one that `spec.replica.profile` names, if absent.
            cold_start: Returns the seconds that the next replica takes to start; always
                `spec.replica.coldStartSeconds` if absent.

        Raises:
            ConfigError: The policy file names no known profile, or a signal measures nothing
                that the simulator knows.
            ValueError: `scrape_seconds` is not above 0.
        """
        if not scrape_seconds > 0:
            raise ValueError(f"scrape_seconds should be above 0, not {scrape_seconds:g}")
        spec = workload.spec
        ready = max(1, spec.replicas.min) if replicas is None else replicas
        if not 0 <= ready <= spec.replicas.max:
            raise ConfigError(
                f"spec.replicas.max: allows {spec.replicas.max} replicas, "
                f"the simulation should start with {ready}"
            )
        self.workload = workload
        self.requests: list[Request] = []
        self.changes: list[tuple[float, int, int]] = []
        self.seconds = 0.0
        self._start = start
        self._scrape_seconds = scrape_seconds
        self._scrapes_done = 0
        self.pool = ReplicaPool(
            workload.metadata.name,
            profile or profile_of(spec.replica),
            ready,
            cold_start or (lambda: spec.replica.cold_start_seconds),
        )
        self._tracks = {
            name: _Track(spec.signals[name], measurement, scrape_seconds)
            for name, measurement in measurements_of(spec.signals).items()
        }
        longest = max((track.range_seconds for track in self._tracks.values()), default=0.0)
        self._scrapes = Scrapes(scrape_seconds, longest)
        self._arrivals = trace.arrivals.tolist()
        self._prompts = trace.prompt_tokens.tolist()
        self._outputs = trace.output_tokens.tolist()

    @property
    def served(self) -> bool:
        """Whether every request of the trace has arrived and ended."""
        pool = self.pool
        return len(self.requests) == len(self._arrivals) and not (
            pool.gateway or pool.waiting or pool.running
        )

    def moment(self) -> Moment:
        """Return how the cluster stands now."""
        pool = self.pool
        return Moment(
            seconds=self.seconds,
            desired=pool.desired,
            ready=pool.count(Phase.READY),
            starting=pool.count(Phase.STARTING),
            draining=pool.count(Phase.DRAINING),
            queued=pool.waiting + len(pool.gateway),
            running=pool.running,
            arrived=len(self.requests),
        )

    def advance(self, now: float) -> None:
        """Let simulated time pass until `now` (Unix seconds); an earlier `now` changes nothing."""
        until = now - self._start
        while True:
            arrived = len(self.requests)
            arrival = self._arrivals[arrived] if arrived < len(self._arrivals) else math.inf
            scrape = (self._scrapes_done + 1) * self._scrape_seconds
            if min(arrival, scrape) > until:
                break
            if arrival <= scrape:
                self._arrive(arrived, arrival)
            else:
                self._scrape(scrape)
        if until > self.seconds:
            self.pool.advance(until)
            self.seconds = until

    def observe(self, fleet: FleetSpec, now: float) -> Snapshot:
        """Return what can be seen at `now`; other workloads than ours are missing."""
        self.advance(now)
        key = self.workload.key
        others = {
            workload.key: Gap(GapReason.ERROR, f"only {key} is simulated")
            for workload in fleet.workloads
            if workload.key != key
        }
        here = any(workload.key == key for workload in fleet.workloads)
        return Snapshot(now, {key: self._observation(now)} if here else {}, others)

    def act(self, action: Action | NodeAction, now: float) -> Outcome:
        """Set the number of replicas; refuses what no longer fits what is there."""
        self.advance(now)
        found = self.pool.desired
        if isinstance(action, NodeAction):
            return Outcome(action, done=False, detail="nodes are not simulated")
        if action.workload != self.workload.key:
            return Outcome(action, done=False, detail=f"only {self.workload.key} is simulated")
        if action.after < 0:
            return Outcome(action, done=False, detail=f"cannot run {action.after} replicas")
        if action.before != found:
            return Outcome(
                action, done=False, detail=f"found {found} replicas, not {action.before}"
            )
        self.pool.scale(action.after, self.seconds)
        if action.after != found:
            self.changes.append((self.seconds, found, action.after))
        return Outcome(action, done=True)

    def _arrive(self, index: int, at: float) -> None:
        request = Request(index, at, self._prompts[index], self._outputs[index])
        self.requests.append(request)
        self.pool.advance(at)
        self.pool.arrive(request, at)
        self.seconds = at

    def _scrape(self, at: float) -> None:
        self.pool.advance(at)
        self._scrapes.scrape(self.pool, len(self.requests), at)
        self._scrapes_done += 1
        self.seconds = at
        for track in self._tracks.values():
            track.look(self._scrapes)

    def _observation(self, now: float) -> Observation:
        pool = self.pool
        seconds = now - self._start
        signals = {
            name: series
            for name, track in self._tracks.items()
            if len(series := track.series(seconds, self._start))
        }
        missing = {
            name: Gap(GapReason.EMPTY, f"no sample in the last {track.spec.window_seconds} s")
            for name, track in self._tracks.items()
            if name not in signals
        }
        return Observation(
            now=now,
            replicas=ReplicaStatus(
                desired=pool.desired, ready=pool.count(Phase.READY), total=pool.desired
            ),
            signals=signals,
            missing=missing,
            pods=tuple(self._pod(member) for member in pool.members),
            pod_samples={
                name: pods
                for name, track in self._tracks.items()
                if (pods := track.pods(self._start))
            },
            lead_seconds=self.workload.spec.replica.cold_start_seconds,
            terms=self.workload.terms,
        )

    def _pod(self, member: Member) -> PodStatus:
        ready = member.phase is not Phase.STARTING
        return PodStatus(
            name=member.name,
            ready=ready,
            deleting=member.phase is Phase.DRAINING,
            started=self._start + member.allocated,
            ready_changed=self._start + (member.ready_at if ready else member.allocated),
        )


class _Track:
    """The samples of one signal, as they come with each scrape."""

    def __init__(self, spec: SignalSpec, measurement: Measurement, scrape_seconds: float) -> None:
        self.spec = spec
        self.range_seconds = max(float(spec.step_seconds), 4 * scrape_seconds)
        self._measurement = measurement
        self._samples: deque[tuple[float, float]] = deque()
        self._newest = Sample(None)
        self._newest_time = 0.0

    def look(self, seen: Scrapes) -> None:
        """Take a sample of the newest scrape."""
        self._newest = self._measurement.sample(seen, self.range_seconds)
        self._newest_time = seen.now
        if self._newest.value is not None:
            self._samples.append((seen.now, self._newest.value))

    def series(self, now: float, start: float) -> Series:
        """Return the window's samples: the last one of each step, so always the newest."""
        while self._samples and self._samples[0][0] <= now - self.spec.window_seconds:
            self._samples.popleft()
        steps = {
            time // self.spec.step_seconds: (start + time, value) for time, value in self._samples
        }
        return Series.of(steps.values())

    def pods(self, start: float) -> Mapping[str, PodSample]:
        """Return the newest sample of each replica."""
        time = start + self._newest_time
        window = self._newest.window_seconds
        return {name: PodSample(value, time, window) for name, value in self._newest.pods.items()}
