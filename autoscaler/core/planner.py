"""Snapshot in, plan out: the one place where decisions are made, in every mode.

The order of a cycle, for each workload: note how replicas changed; judge the signals; ask the
policies; combine; fold the rules; remember. Then the node pools are sized for what was decided.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from autoscaler.core.answers import asked, verdict_in
from autoscaler.core.behavior import DOWNSCALE_STABILIZATION_SECONDS, Behavior, effective
from autoscaler.core.decision import (
    Action,
    Cycle,
    Decision,
    NodeAction,
    Plan,
    Proposal,
    Reason,
    Step,
)
from autoscaler.core.errors import PolicyError
from autoscaler.core.history import note_done, remember
from autoscaler.core.interventions import intervened
from autoscaler.core.node_plan import lead_seconds_of, size_node_pools
from autoscaler.core.observation import GapReason, Observation, Snapshot
from autoscaler.core.past import Mark, Past, age
from autoscaler.core.policy import Combiner, Verdict
from autoscaler.core.proposals import View, ask_all, remembered, vote_of
from autoscaler.core.replicas import notice, why_broken
from autoscaler.core.rules import (
    Case,
    apply,
    outside_bounds,
    within_disruptions,
)
from autoscaler.core.signals import read_signals
from autoscaler.core.spec import Actuation
from autoscaler.core.swift import swift
from autoscaler.core.workload import FleetSpec, ScaledWorkload


@swift
@dataclass(frozen=True, slots=True)
class FleetState:
    """What the next cycle must know of the earlier ones.

    Attributes:
        pasts: Of each workload, by key.
        nodes_needed: Of each node pool, by name: what was needed, and when.
        nodes_seen: Of each node pool, by name: nodes asked for when it was last seen or set.
        led: Whether the last cycle was the leader's.
    """

    pasts: Mapping[str, Past] = field(default_factory=dict)
    nodes_needed: Mapping[str, tuple[Mark, ...]] = field(default_factory=dict)
    nodes_seen: Mapping[str, int] = field(default_factory=dict)
    led: bool = True

    def inherited(self) -> "FleetState":
        """Return this state as another process left it: what it did last may be missing here."""
        pasts = {key: replace(past, restored=True) for key, past in self.pasts.items()}
        return replace(self, pasts=pasts)

    def resumed(self, fleet: FleetSpec, now: float) -> "FleetState":
        """Return this state after a gap in which nobody decided: the last sizes count as wanted.

        So a decrease waits for a whole window of good data, as after an outage.

        Args:
            fleet: The policy files.
            now: Unix seconds.
        """
        behaviors = {workload.key: workload.spec.behavior for workload in fleet.workloads}
        pasts = {
            key: _still(past, now, behaviors[key]) if key in behaviors else past
            for key, past in self.pasts.items()
        }
        needed = {
            name: (*marks, Mark(now, self.nodes_seen[name])) if name in self.nodes_seen else marks
            for name, marks in self.nodes_needed.items()
        }
        return replace(self, pasts=pasts, nodes_needed=needed)


def plan_cycle(
    fleet: FleetSpec, state: FleetState, snapshot: Snapshot, *, leading: bool = True
) -> tuple[Plan, FleetState]:
    """Decide for every workload. Pure: equal inputs, equal answers.

    Args:
        fleet: The policy files, in file order.
        state: What earlier cycles left.
        snapshot: What was seen now.
        leading: Whether we are the one that acts. A standby and a shadow decide all the same;
            what changes is then somebody else's doing.

    Returns:
        The plan, and the state to give to the next call (after `note_outcomes`).
    """
    if leading and not state.led:
        state = state.inherited()
    decisions: dict[str, Decision] = {}
    pasts: dict[str, Past] = {}
    for workload in fleet.workloads:
        key = workload.key
        past = state.pasts.get(key, Past()).until(snapshot.now)
        observation = snapshot.observations.get(key)
        if observation is None:
            decisions[key] = _unseen(key, snapshot)
            pasts[key] = _still(past, snapshot.now, workload.spec.behavior)
        else:
            combine = fleet.combiners[workload.spec.combine]
            lead = lead_seconds_of(workload, fleet, snapshot)
            decisions[key], pasts[key] = decide(
                workload, observation, past, combine, lead, leading=leading
            )
    pools, needed = size_node_pools(
        fleet, state.nodes_needed, snapshot, decisions, seen=state.nodes_seen
    )
    nodes = {**state.nodes_seen, **{name: one.desired for name, one in snapshot.pools.items()}}
    acting = [w.key for w in fleet.workloads if w.spec.actuation is Actuation.SCALE]
    acting += [pool.key for pool in fleet.pools if pool.spec.actuation is Actuation.SCALE]
    plan = Plan(snapshot.now, decisions, frozenset(acting if leading else ()), pools)
    return plan, FleetState(pasts, needed, nodes, leading)


def note_outcomes(fleet: FleetSpec, state: FleetState, cycle: Cycle) -> FleetState:
    """Remember the changes that were really made: rate limits and flap budget count them."""
    if not cycle.outcomes:
        return state
    behaviors = {workload.key: workload.spec.behavior for workload in fleet.workloads}
    pasts, nodes = dict(state.pasts), dict(state.nodes_seen)
    for outcome in cycle.outcomes:
        action = outcome.action
        if outcome.done and isinstance(action, Action) and action.workload in pasts:
            key, now = action.workload, cycle.plan.now
            pasts[key] = note_done(pasts[key], now, action.before, action.after, behaviors[key])
        elif outcome.done and isinstance(action, NodeAction):
            nodes[action.key] = action.after
    return replace(state, pasts=pasts, nodes_seen=nodes)


def decide(
    workload: ScaledWorkload,
    observation: Observation,
    past: Past,
    combine: Combiner,
    lead_seconds: float | None = None,
    *,
    leading: bool = True,
) -> tuple[Decision, Past]:
    """Decide for one workload.

    Args:
        workload: Its policy file.
        observation: What was seen of it now.
        past: What earlier cycles left.
        combine: What `spec.combine` stands for.
        lead_seconds: Seconds until a replica asked for now would serve; its cold start if absent.
        leading: Whether what changes may be our own doing.

    Returns:
        The decision with its trail, and the past to remember.
    """
    spec, now, current = workload.spec, observation.now, observation.replicas.desired
    ours = leading and spec.actuation is Actuation.SCALE
    past = notice(past, observation.replicas, now, behavior=spec.behavior, ours=ours)
    outside = outside_bounds(current, spec.replicas, asleep=past.asleep)
    if outside is not None:
        count, reason, text = _limited_at_once(outside, workload, observation)
        moved = (Step("outside_bounds", current, count, reason, text),) if count != current else ()
        return Decision(workload.key, current, None, count, reason, text, steps=moved), past

    lead = spec.replica.cold_start_seconds if lead_seconds is None else lead_seconds
    view = View(workload, observation, *read_signals(spec.signals, observation), lead)
    proposals = ask_all(view, past)
    verdict, failure = _combined(combine, proposals, current)
    blind_since = _blind_since(past, view, proposals)
    if blind_since != past.blind_since:
        past = replace(past, blind_since=blind_since)
    failures = [f"{one.policy} {one.why}" for one in proposals if one.failed] + failure
    wanted, reason, text = _wanted(view, past, verdict, proposals, failures)
    past, unproven = _proven(past, now, spec.behavior)
    blind = _why_blind(view, [*failures, *unproven])
    broken = why_broken(past, observation.replicas, now, lead)
    count, steps = apply(
        wanted,
        Case(
            now=now,
            current=current,
            wanted=wanted,
            bounds=spec.replicas,
            behavior=spec.behavior,
            past=past,
            blind=blind,
            broken=broken,
            disruptions_allowed=observation.replicas.disruptions_allowed,
            interventions=observation.interventions,
        ),
    )
    # While something is unseen the present size counts as recommended: after the outage a
    # decrease waits for a whole stabilization window of good data.
    past = remember(
        past,
        now,
        max(wanted, current) if blind else wanted,
        spec.behavior,
        memories=remembered(past, workload, proposals),
    )
    if steps:
        reason, text = steps[-1].reason, "; ".join([text, *(step.text for step in steps)])
    decision = Decision(
        workload=workload.key,
        current=current,
        combined=verdict.replicas,
        replicas=count,
        reason=reason,
        text=text,
        readings=tuple(view.readings.values()),
        proposals=proposals,
        steps=steps,
    )
    return decision, past


def _limited_at_once(
    outside: tuple[int, Reason, str], workload: ScaledWorkload, observation: Observation
) -> tuple[int, Reason, str]:
    """What disruption budgets and people leave of a count that is set at once."""
    count, reason, text = outside
    now, replicas, said = observation.now, observation.replicas, observation.interventions
    current, bounds = replicas.desired, workload.spec.replicas
    left = intervened(count, current, now, bounds, said)
    for allowed, why, because in (
        left, within_disruptions(left[0], current, replicas.disruptions_allowed)
    ):  # fmt: skip
        if allowed != count:
            count, reason, text = allowed, why, f"{text}; {because}"
    return count, reason, text


def unproven(fleet: FleetSpec, now: float) -> FleetState:
    """Return the state to begin with where a state should be and is not: it may only raise.

    Args:
        fleet: The policy files.
        now: Unix seconds.
    """
    return FleetState({w.key: Past(unproven_since=now) for w in fleet.workloads})


def _proven(past: Past, now: float, behavior: Behavior | None) -> tuple[Past, list[str]]:
    """Say, if so, that the past is too short to lower on: until a whole window is seen."""
    if past.unproven_since is None:
        return past, []
    window = DOWNSCALE_STABILIZATION_SECONDS
    if behavior is not None:
        down = effective(behavior).scale_down
        window = max(window, down.window_seconds, down.longest_period_seconds)
    seen = age(now, past.unproven_since)
    if seen >= window:
        return replace(past, unproven_since=None), []
    return past, [f"what was decided before is not known; {window - seen:g} s of {window:g} s left"]


def _unseen(key: str, snapshot: Snapshot) -> Decision:
    gap = snapshot.missing.get(key)
    why = f"{gap.reason}: {gap.detail}" if gap else "it is not in the snapshot"
    return Decision(key, None, None, None, Reason.UNSEEN, f"the target was not seen: {why}")


def _still(past: Past, now: float, behavior: Behavior | None) -> Past:
    """Count the last size as recommended: after the outage a decrease waits for a whole window."""
    return past if past.desired is None else remember(past, now, past.desired, behavior)


def _combined(
    combine: Combiner, proposals: tuple[Proposal, ...], current: int
) -> tuple[Verdict, list[str]]:
    """Fold the votes; a combiner that fails has no opinion, and says why."""
    votes = [vote_of(proposal, current) for proposal in proposals]
    try:
        return verdict_in(asked(lambda: combine(votes, current))), []
    except PolicyError as error:
        return Verdict(None, "nobody was heard"), [f"spec.combine failed: {error}"]


def _wanted(
    view: View,
    past: Past,
    verdict: Verdict,
    proposals: tuple[Proposal, ...],
    failures: list[str],
) -> tuple[int, Reason, str]:
    """The number before the rules: the policies' own, the fallback's, or what runs now."""
    current = view.observation.replicas.desired
    fallback = view.workload.spec.fallback
    wanted = current if verdict.replicas is None else verdict.replicas
    if past.blind_since is not None and fallback.replicas != "keep" and not _asleep(view):
        blind_for = age(view.observation.now, past.blind_since)
        if blind_for >= fallback.after_seconds and fallback.replicas > wanted:
            text = f"blind for {blind_for:g} s: fallback.replicas is {fallback.replicas}"
            return fallback.replicas, Reason.FALLBACK, text
    if verdict.replicas is not None:
        reason = Reason.AT_TARGET if wanted == current else Reason.RECOMMENDED
        return wanted, reason, verdict.reason
    if failures:
        return current, Reason.POLICY_FAILED, "; ".join(failures)
    if any(proposal.live for proposal in proposals):
        return current, Reason.NO_OPINION, verdict.reason
    why = "; ".join(f"{proposal.policy}: {proposal.why}" for proposal in proposals)
    return current, Reason.BLIND, f"no policy can see enough: {why}"


def _why_blind(view: View, failures: list[str]) -> str:
    """Say, if so, what forbids a decrease: whatever a policy uses and cannot fully trust."""
    used = view.workload.spec.used
    doubts = [view.describe(name) for name in used if not view.trusts(name)]
    return "; ".join([*doubts, *failures])


def _blind_since(past: Past, view: View, proposals: tuple[Proposal, ...]) -> float | None:
    """Since when nobody can see enough; None while somebody can."""
    insists = [name for name in view.workload.spec.insisted if not view.readings[name].usable]
    if not insists and any(proposal.live for proposal in proposals):
        return None
    return view.observation.now if past.blind_since is None else past.blind_since


def _asleep(view: View) -> bool:
    """Whether nothing runs and the silence is just that: a sleeping workload exports nothing."""
    gaps = view.observation.missing.values()
    silent = all(gap.reason is GapReason.EMPTY for gap in gaps)
    return view.observation.replicas.desired == 0 and silent
