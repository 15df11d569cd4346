"""Compare: many policy files on one trace, beside standing still and beside knowing the future."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from autoscaler.controller import Controller
from autoscaler.core.node_pools import NodePool
from autoscaler.core.ports import Journal
from autoscaler.core.spec import Bounds, Slo
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.journal import JournalFile
from simulations.baselines import Constants, constants
from simulations.capacity import most_at_once
from simulations.clairvoyant import Clairvoyant, clairvoyant
from simulations.cluster import MOST_REPLICAS, SimulatedCluster
from simulations.decisions import Decided, Recorder
from simulations.parallel import OnProgress, carry_out_all
from simulations.profiles import profile_of
from simulations.run import OnShare, RunResult, Settings, run
from simulations.runs import Candidate, Comparison, Facts, Kind, Run
from simulations.trace import Trace

PEAK: Final = "static-peak"
BEST: Final = "static-best"
CLAIRVOYANT: Final = "clairvoyant"
STATIC: Final = "static"
"""What the search for both constant numbers is called while it goes on."""
FEW: Final = 64
"""Replicas up to which nobody asks whether fewer would do as well."""
RESERVED: Final = frozenset({PEAK, BEST, CLAIRVOYANT, STATIC})


@dataclass(frozen=True, slots=True)
class _Policy:
    """A policy file's run."""

    result: RunResult
    decided: Decided


_Found = Constants | Clairvoyant | _Policy


@dataclass(frozen=True, slots=True)
class _Job:
    """All that a process must know."""

    trace: Trace
    candidates: tuple[Candidate, ...]
    terms: ScaledWorkload
    pools: tuple[NodePool, ...]
    settings: Settings
    journals: Path | None

    def carry_out(self, task: str, on_share: OnShare) -> _Found:
        """Search, or run the candidate of this name."""
        if task == STATIC:
            return constants(self.trace, self.terms, self.settings, on_share, pools=self.pools)
        if task == CLAIRVOYANT:
            return clairvoyant(self.trace, self.terms, self.settings, on_share, pools=self.pools)
        (candidate,) = (one for one in self.candidates if one.name == task)
        with _journal(self.journals, candidate) as journal:
            result, decided = run_policy(
                self.trace, candidate, self.settings, journal=journal, on_share=on_share
            )
        on_share(1.0)
        return _Policy(result, decided)


def compare(
    trace: Trace,
    candidates: Sequence[Candidate],
    settings: Settings | None = None,
    *,
    jobs: int = 1,
    journals: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Run every candidate on a trace, and what they are measured against.

    Equal arguments give equal results, whatever `jobs` is.

    Args:
        trace: What arrives.
        candidates: Policy files that share limits and replicas (`spec.slo`, `spec.replica`).
        settings: What holds for every run.
        jobs: How many processes work at a time; with 1, this one alone.
        journals: A folder for a journal of each candidate.
        on_progress: Told how far each part is.

    Raises:
        ConfigError: A candidate names no known profile, or a signal measures nothing that the
            simulator knows.
        ValueError: There is no candidate, two share a name, or they do not share their terms.
    """
    settings = settings or Settings()
    terms = _terms(candidates)
    pools = shared_pools(candidates)
    job = _Job(trace, tuple(candidates), _useful(terms, trace, pools), pools, settings, journals)
    # The longest searches first, so that nobody waits for them in the end.
    tasks = [CLAIRVOYANT, STATIC, *(candidate.name for candidate in candidates)]
    found = carry_out_all(job, tasks, jobs, on_progress)
    constant, plan = found[STATIC], found[CLAIRVOYANT]
    if not (isinstance(constant, Constants) and isinstance(plan, Clairvoyant)):
        raise AssertionError("each search returns its own kind")  # for the type checker
    reference = _best_plan([plan.result, constant.best, constant.peak], terms.spec.slo)
    runs = [_policy_run(one, found[one.name], reference, settings.seed) for one in candidates]
    for name, result, why in (
        (PEAK, constant.peak, "the fewest that carry the busiest minute"),
        (BEST, constant.best, "the fewest that keep the objective over the whole trace"),
    ):
        note = f"always {result.initial} replica{'' if result.initial == 1 else 's'}, {why}"
        runs.append(Run(name, Kind.BASELINE, note, result, reference, Decided(), settings.seed))
    note = "knows the future and obeys cold starts; a strong reference, not a proven optimum"
    runs.append(
        Run(CLAIRVOYANT, Kind.REFERENCE, note, reference, reference, Decided(), settings.seed)
    )
    beside = [replace(run, static_best=constant.best, static_peak=constant.peak) for run in runs]
    return Comparison(Facts.of(trace), terms, settings, tuple(beside))


def shared_pools(candidates: Sequence[Candidate]) -> tuple[NodePool, ...]:
    """Return the node pool that every candidate has; none where they have none, or another one.

    Plans that are not made from a policy file run on it too.
    """
    first, *others = (candidate.fleet.pools for candidate in candidates)
    return first if all(one == first for one in others) else ()


def unshared(one: ScaledWorkload, other: ScaledWorkload) -> Iterator[tuple[str, object, object]]:
    """Yield the fields that two policy files must share to be compared and do not; both values."""
    for part in ("slo", "replica"):
        mine, yours = getattr(one.spec, part), getattr(other.spec, part)
        for name, info in type(mine).model_fields.items():
            if name != "node_pool" and getattr(mine, name) != getattr(yours, name):
                yield f"spec.{part}.{info.alias}", getattr(mine, name), getattr(yours, name)


def run_policy(
    trace: Trace,
    candidate: Candidate,
    settings: Settings,
    *,
    journal: Journal | None = None,
    on_share: OnShare | None = None,
) -> tuple[RunResult, Decided]:
    """Run one policy file under the controller, as a replay does."""
    fleet = candidate.fleet
    (acting,) = fleet.workloads
    recorder = Recorder(acting.key, settings.start, journal)
    hand = _Controlled(fleet, recorder)
    result = run(trace, acting, settings, hand, pools=fleet.pools, on_share=on_share)
    return result, recorder.decided()


@dataclass(slots=True, eq=False)
class _Controlled:
    """The controller's hand: what decides live."""

    fleet: FleetSpec
    journal: Journal
    _controller: Controller | None = field(default=None)

    def act(self, cluster: SimulatedCluster, now: float) -> None:
        if self._controller is None:
            self._controller = Controller(
                self.fleet, observer=cluster, actuator=cluster, journal=self.journal
            )
        self._controller.run_once(now)


def _terms(candidates: Sequence[Candidate]) -> ScaledWorkload:
    """Return the first workload with the widest bounds of all."""
    if not candidates:
        raise ValueError("there is no policy file to compare")
    names = [candidate.name for candidate in candidates]
    if len(set(names)) < len(names) or RESERVED & set(names):
        raise ValueError(f"names should differ, also from {', '.join(sorted(RESERVED))}: {names}")
    first = candidates[0].workload
    for other in candidates[1:]:
        for field_name, mine, yours in unshared(first, other.workload):
            raise ValueError(
                f"{names[0]} and {other.name} differ in {field_name}: {mine} and {yours}"
            )
    bounds = [candidate.workload.spec.replicas for candidate in candidates]
    widest = Bounds(min=min(one.min for one in bounds), max=max(one.max for one in bounds))
    return first.model_copy(update={"spec": first.spec.model_copy(update={"replicas": widest})})


def _useful(terms: ScaledWorkload, trace: Trace, pools: Sequence[NodePool]) -> ScaledWorkload:
    """Return the terms without replicas that could change nothing, so that a search ends.

    Where no number of replicas keeps the objective, all up to the maximum would be tried.
    """
    spec = terms.spec
    most = spec.replicas.max
    for pool in pools:
        most = min(most, pool_holds(pool, spec.replica.gpus))
    if most > FEW:
        most = min(most, most_at_once(trace, profile_of(spec.replica)), MOST_REPLICAS)
    least = min(spec.replicas.min, MOST_REPLICAS)
    bounds = Bounds(min=least, max=max(least, most, 1))
    return terms.model_copy(update={"spec": spec.model_copy(update={"replicas": bounds})})


def pool_holds(pool: NodePool, gpus: int) -> int:
    """Return how many replicas of so many GPUs the most nodes of a pool hold."""
    each, most = pool.spec.gpus_per_node, pool.spec.nodes.max
    return most * (each // gpus) if gpus <= each else most // -(-gpus // each)


@contextmanager
def _journal(folder: Path | None, candidate: Candidate) -> Iterator[Journal | None]:
    """Open a journal of its own for a candidate, if a folder was named."""
    if folder is None:
        yield None
        return
    with JournalFile(folder / f"{candidate.name}.jsonl", candidate.fleet) as journal:
        yield journal


def _policy_run(candidate: Candidate, found: _Found, reference: RunResult, seed: int) -> Run:
    if not isinstance(found, _Policy):
        raise AssertionError("a policy's task returns its run")  # for the type checker
    note = " + ".join(policy.label for policy in candidate.workload.spec.policies)
    return Run(
        candidate.name,
        Kind.POLICY,
        note,
        found.result,
        reference,
        found.decided,
        seed,
        candidate.fleet.pools,
    )


def _best_plan(plans: Sequence[RunResult], slo: Slo) -> RunResult:
    """Return the best of several plans: a constant number of replicas is a plan as well.

    That is the cheapest that keeps the objective; where none does the one that misses least, and
    the cheapest among equals.
    """
    keeps = [one for one in plans if one.score.attainment >= slo.attainment]
    if keeps:
        return min(keeps, key=lambda one: one.score.gpu_hours)
    return max(plans, key=lambda one: (one.score.attainment, -one.score.gpu_hours))
