"""Runs side by side: what each cost, whom each failed, and by how much more than was needed."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from autoscaler.core.node_pools import NodePool
from autoscaler.core.spec import Slo
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.plugins import load_combiner
from simulations.decisions import Decided
from simulations.run import RunResult, Settings
from simulations.score import Percentiles
from simulations.trace import Trace


class Kind(StrEnum):
    """What a run is to the others."""

    POLICY = "policy"
    """A policy file under the controller."""
    BASELINE = "baseline"
    """A constant number of replicas."""
    REFERENCE = "reference"
    """A plan that knew the future."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One policy file to compare.

    Attributes:
        name: What to call it, unlike any other.
        workload: What it says.
        file: Where it was read from.
        pools: Node pools. If one of them is the workload's, its nodes are simulated and sized.
    """

    name: str
    workload: ScaledWorkload
    file: str = ""
    pools: tuple[NodePool, ...] = ()

    @property
    def fleet(self) -> FleetSpec:
        """The workload and its node pool, acting whatever the files say."""
        combine, own = self.workload.spec.combine, self.workload.spec.replica.node_pool
        pools = tuple(pool for pool in self.pools if pool.key == own)
        return FleetSpec((self.workload,), {combine: load_combiner(combine)}, pools).acted_on()


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One run among those that are compared.

    Attributes:
        name: What to call it.
        kind: What it is to the others.
        note: What decided, in a few words.
        result: How it went.
        reference: How the clairvoyant plan went.
        decided: What the controller decided and why; empty where there was none.
        seed: What the cold starts were drawn with.
        pools: The node pool that a policy file's replicas waited for; none where there is always
            room.
        static_best: How the best constant number of replicas went; None where it was not run.
        static_peak: How the constant number for the busiest minute went; None where it was not run.
    """

    name: str
    kind: Kind
    note: str
    result: RunResult
    reference: RunResult
    decided: Decided
    seed: int
    pools: tuple[NodePool, ...] = ()
    static_best: RunResult | None = None
    static_peak: RunResult | None = None

    @property
    def attainment(self) -> float:
        """Share of all requests that met every limit."""
        return self.result.score.attainment

    @property
    def gpu_hours(self) -> float:
        """GPUs times hours from allocation to release."""
        return self.result.score.gpu_hours

    @property
    def misses(self) -> int:
        """Requests that missed a limit or were not served."""
        return misses_of(self.result)

    @property
    def unserved(self) -> int:
        """Requests that were refused, or still waited or ran at the end."""
        return self.result.score.unfinished + self.result.score.failed

    @property
    def regret_gpu_hours(self) -> float:
        """GPU-hours beyond the clairvoyant plan; below 0 where users paid for it."""
        return self.gpu_hours - self.reference.score.gpu_hours

    @property
    def regret_static_best_gpu_hours(self) -> float | None:
        """GPU-hours beyond the best constant number; below 0 where scaling saved some."""
        return _beyond(self.result, self.static_best)

    @property
    def regret_static_peak_gpu_hours(self) -> float | None:
        """GPU-hours beyond the constant number for the peak; below 0 where scaling saved some."""
        return _beyond(self.result, self.static_peak)

    @property
    def regret_misses(self) -> int:
        """Misses beyond the clairvoyant plan."""
        return self.misses - misses_of(self.reference)

    def document(self) -> dict[str, Any]:
        """Return the run for JSON."""
        score = self.result.score
        held = self.decided.forecasts.held if self.decided.forecasts else None
        return {
            "name": self.name,
            "kind": str(self.kind),
            "note": self.note,
            "attainment": score.attainment,
            "ttft_attainment": score.ttft_attainment,
            "itl_attainment": score.itl_attainment,
            "e2e_attainment": score.e2e_attainment,
            "worst_minute_attainment": score.worst_minute_attainment,
            "gpu_hours": score.gpu_hours,
            "cost": score.cost,
            "clairvoyant_gpu_hours": self.reference.score.gpu_hours,
            "clairvoyant_node_gpu_hours": self.reference.score.node_gpu_hours,
            "regret_gpu_hours": self.regret_gpu_hours,
            "regret_static_best_gpu_hours": self.regret_static_best_gpu_hours,
            "regret_static_peak_gpu_hours": self.regret_static_peak_gpu_hours,
            "regret_misses": self.regret_misses,
            "requests": score.requests,
            "misses": self.misses,
            "unserved": self.unserved,
            "scale_events": score.scale_events,
            "reversals": score.reversals,
            "ttft_seconds": _percentiles(score.ttft),
            "itl_seconds": _percentiles(score.itl),
            "e2e_seconds": _percentiles(score.e2e),
            "waited_seconds": score.waited_seconds,
            "mean_replicas": score.mean_replicas,
            "max_replicas": score.max_replicas,
            "preemptions": score.preemptions,
            "node_gpu_hours": score.node_gpu_hours,
            "pending_hours": score.pending_hours,
            "forecast_held": held,
            "reasons": dict(self.decided.reasons),
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class Facts:
    """What a trace is like.

    Attributes:
        name: What it is called.
        requests: How many arrive.
        seconds: When the last one arrives.
        per_second: Mean rate.
        peak_per_second: Rate of the busiest minute.
        prompt_p50: Median prompt tokens.
        prompt_p95: Their 95th percentile.
        output_p50: Median output tokens.
        output_p95: Their 95th percentile.
    """

    name: str
    requests: int
    seconds: float
    per_second: float
    peak_per_second: float
    prompt_p50: float
    prompt_p95: float
    output_p50: float
    output_p95: float

    @classmethod
    def of(cls, trace: Trace) -> "Facts":
        """Return the facts of a trace."""
        minutes = np.bincount((trace.arrivals // 60).astype(np.int64))
        prompts = np.percentile(trace.prompt_tokens, [50, 95]).tolist()
        outputs = np.percentile(trace.output_tokens, [50, 95]).tolist()
        # A trace of less than a minute has no busiest one: its own rate is its peak.
        seconds = max(trace.seconds, 1.0)
        rate = len(trace) / seconds
        peak = float(minutes.max()) / 60 if seconds >= 60 else rate
        return cls(trace.name, len(trace), trace.seconds, rate, peak, *prompts, *outputs)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Many runs on one trace.

    Attributes:
        facts: What the trace is like.
        workload: The terms that all share: limits, replicas, price; and the widest bounds.
        settings: What held for every run.
        runs: The policies in the order given, then the baselines, then the reference.
    """

    facts: Facts
    workload: ScaledWorkload
    settings: Settings
    runs: tuple[Run, ...]

    @property
    def slo(self) -> Slo:
        """The limits that every run was judged by."""
        return self.workload.spec.slo

    @property
    def reference(self) -> Run:
        """The clairvoyant plan's run."""
        return self.runs[-1]

    @property
    def unequal_nodes(self) -> bool:
        """Whether some runs wait for nodes and others always have room."""
        return len({run.result.score.node_gpu_hours is None for run in self.runs}) > 1

    def document(self) -> dict[str, Any]:
        """Return everything but the timelines, for JSON."""
        return {
            "trace": asdict(self.facts),
            "slo": self.slo.model_dump(mode="json", by_alias=True),
            "replica": self.workload.spec.replica.model_dump(mode="json", by_alias=True),
            "settings": asdict(self.settings),
            "runs": [one.document() for one in self.runs],
        }


def misses_of(result: RunResult) -> int:
    """Return how many requests missed a limit or were not served."""
    return round(result.score.requests * (1 - result.score.attainment))


def _beyond(result: RunResult, other: RunResult | None) -> float | None:
    return None if other is None else result.score.gpu_hours - other.score.gpu_hours


def _percentiles(percentiles: Percentiles | None) -> dict[str, float] | None:
    return None if percentiles is None else asdict(percentiles)
