"""Each policy is asked for its number, if it can see enough; one that fails stops nobody else."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from autoscaler.core.answers import asked, lent, recommendation_in
from autoscaler.core.decision import Proposal, Reading
from autoscaler.core.errors import PolicyError
from autoscaler.core.observation import Memory, Observation, Series
from autoscaler.core.past import Past
from autoscaler.core.policy import Vote
from autoscaler.core.swift import swift
from autoscaler.core.workload import Asked, FleetSpec, ScaledWorkload


@swift
@dataclass(frozen=True, slots=True)
class View:
    """One workload in one cycle: its file, what was seen, how the signals were judged.

    Attributes:
        workload: The policy file.
        observation: What was seen.
        readings: Every signal, judged.
        shown: The series that policies may be shown.
        lead_seconds: Seconds until a replica asked for now would serve.
    """

    workload: ScaledWorkload
    observation: Observation
    readings: Mapping[str, Reading]
    shown: Mapping[str, Series]
    lead_seconds: float

    def describe(self, signal: str) -> str:
        """Say in a few words how far a signal can be trusted."""
        reading = self.readings.get(signal)
        if reading is None:
            return f"{signal} is not defined"
        return f"{signal} is {reading.state}" + (f" ({reading.why})" if reading.why else "")

    def trusts(self, signal: str) -> bool:
        """Whether a decrease may rest on a signal."""
        reading = self.readings.get(signal)
        return reading is not None and reading.may_lower


def prepare(fleet: FleetSpec) -> None:
    """Let every policy load what takes long; one that cannot will say so when it is asked."""
    for workload in fleet.workloads:
        for policy in workload.spec.policies:
            with suppress(PolicyError):
                asked(policy.prepare)


def ask_all(view: View, past: Past) -> tuple[Proposal, ...]:
    """Ask every policy of a workload, in file order."""
    seen, workload = view.observation, view.workload
    # A plug-in gets nothing in its hands that is ours to keep.
    missing, pod_samples = MappingProxyType(seen.missing), MappingProxyType(seen.pod_samples)
    proposals = []
    for one in workload.spec.asked:
        if not view.shown.keys() >= one.needs:
            proposals.append(_silent(one, view))
            continue
        observation = Observation(
            seen.now,
            seen.replicas,
            {name: view.shown[name] for name in one.uses if name in view.shown},
            missing,
            seen.pods,
            pod_samples,
            lent(past.memories.get(one.place)),
            view.lead_seconds,
            workload.terms,
            seen.interventions,
        )
        proposals.append(_ask(one, view, observation))
    return tuple(proposals)


def _silent(one: Asked, view: View) -> Proposal:
    why = "; ".join(view.describe(name) for name in sorted(one.needs) if name not in view.shown)
    return Proposal(one.label, live=False, recommendation=None, why=why)


def _ask(one: Asked, view: View, observation: Observation) -> Proposal:
    try:
        answer = recommendation_in(asked(lambda: one.policy.recommend(observation)))
    except PolicyError as error:
        why = f"failed: {error}"
        return Proposal(one.label, live=False, recommendation=None, why=why, failed=True)
    return Proposal(
        one.label, live=True, recommendation=answer, ageing=not all(map(view.trusts, one.uses))
    )


def vote_of(proposal: Proposal, current: int) -> Vote:
    """Return a proposal as the combiner sees it.

    What rests on an ageing signal may raise and never lower: it counts as at least the present
    size. A recommendation that is a floor by nature (`raise_only`) binds only from below.
    """
    answer = proposal.recommendation
    count = answer.replicas if answer is not None else None
    if count is not None and proposal.ageing and not proposal.floor:
        count = max(count, current)
    return Vote(proposal.policy, proposal.live, count, may_lower=not proposal.floor)


def remembered(
    past: Past, workload: ScaledWorkload, proposals: tuple[Proposal, ...]
) -> dict[str, Memory]:
    """What each policy wants to find again; one that was not asked keeps what it had."""
    kept: dict[str, Memory] = {}
    for one, proposal in zip(workload.spec.asked, proposals, strict=True):
        answer = proposal.recommendation
        memory = past.memories.get(one.place) if answer is None else answer.memory
        if memory is not None:
            kept[one.place] = memory
    return kept
