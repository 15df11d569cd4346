"""What was decided, with its trail: readings, votes, steps, decision, plan, action, cycle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from pydantic import PlainSerializer

from autoscaler.core.observation import Snapshot
from autoscaler.core.policy import Recommendation
from autoscaler.core.swift import swift


class SignalState(StrEnum):
    """How far a signal can be trusted."""

    FRESH = "fresh"
    """Acts both ways."""
    AGEING = "ageing"
    """May only raise."""
    STALE = "stale"
    """Too old; treated as the file's onMissing says."""
    MISSING = "missing"
    """No usable sample; treated as the file's onMissing says."""
    SUSPECT = "suspect"
    """Contradicts another signal; treated as missing."""


@swift
@dataclass(frozen=True, slots=True)
class Reading:
    """One signal, judged.

    Attributes:
        signal: Its name.
        state: How far it can be trusted.
        value: The newest finite value, if there is one.
        age_seconds: Age of that value; None without one.
        usable: Whether policies are shown it.
        may_lower: Whether a policy that rests on it may lower the workload.
        why: What made it other than fresh; empty if fresh.
    """

    signal: str
    state: SignalState
    value: float | None
    age_seconds: float | None
    usable: bool = False
    may_lower: bool = False
    why: str = ""


class Reason(StrEnum):
    """The closed vocabulary of why a number is what it is."""

    RECOMMENDED = "recommended"
    """The policies' number stands."""
    AT_TARGET = "at-target"
    """The policies want what already runs."""
    NO_OPINION = "no-opinion"
    """Every policy abstained: nothing changes."""
    BLIND = "blind"
    """No policy could see enough: nothing changes."""
    BLIND_NO_LOWERING = "blind-no-lowering"
    """Something is unseen or ageing: no decrease."""
    FALLBACK = "fallback"
    """Blind for longer than fallback.afterSeconds."""
    STABILIZED = "stabilized"
    """A recent recommendation within the window holds it."""
    RATE_LIMITED = "rate-limited"
    """behavior allows no larger change within the period."""
    SCALING_DISABLED = "scaling-disabled"
    """selectPolicy Disabled in this direction."""
    BROKEN_ROLLOUT = "broken-rollout"
    """Earlier replicas do not come up: no more of them."""
    FLAP_BUDGET = "flap-budget"
    """Too many changes of direction in the last hour: no decrease."""
    DISRUPTION_BUDGET = "disruption-budget"
    """A PodDisruptionBudget lets no more replicas go at once."""
    AT_MINIMUM = "at-minimum"
    """replicas.min has the last word."""
    AT_MAXIMUM = "at-maximum"
    """replicas.max has the last word."""
    BELOW_MINIMUM = "below-minimum"
    """Found below replicas.min: set at once."""
    ABOVE_MAXIMUM = "above-maximum"
    """Found above replicas.max: set at once."""
    TURNED_OFF = "turned-off"
    """Somebody set 0 replicas while the minimum is not 0: left alone."""
    SUSPENDED = "suspended"
    """Another controller writes the same number: left alone."""
    PAUSED = "paused"
    """A person paused it, for both directions or for decreases."""
    OVERRIDDEN = "overridden"
    """A person set the number."""
    EDITED = "edited"
    """A person changed the number lately: left alone for a while."""
    UNSEEN = "unseen"
    """The target could not be read: nothing changes."""
    POLICY_FAILED = "policy-failed"
    """A policy raised or returned nonsense: no decrease."""


@swift
@dataclass(frozen=True, slots=True)
class Step:
    """One change that a rule made to the number."""

    rule: str
    before: int
    after: int
    reason: Reason
    text: str


@swift
@dataclass(frozen=True, slots=True)
class Proposal:
    """What one policy said.

    Attributes:
        policy: Its label.
        live: Whether it could see enough to be asked, and answered.
        recommendation: Its answer; None where it was not asked or failed.
        ageing: It rests on a signal that may only raise.
        why: Why it was not live.
        failed: It raised, or answered nonsense.
    """

    policy: str
    live: bool
    recommendation: Recommendation | None
    ageing: bool = False
    why: str = ""
    failed: bool = False

    @property
    def floor(self) -> bool:
        """Whether its count only ever binds from below."""
        return self.recommendation is not None and self.recommendation.raise_only


@swift
@dataclass(frozen=True, slots=True)
class Decision:
    """The number for one workload, and all that led to it.

    Attributes:
        workload: Its key, namespace/name.
        current: Replicas found (`spec.replicas`); None where the target was not seen.
        combined: What the policies together want; None where they want nothing.
        replicas: The number decided; equal to `current` where nothing changes. None only
            where the target was not seen.
        reason: Why, in one word of the closed vocabulary: the last step that changed the
            number, or how it came about without any.
        text: Why, in one sentence.
        readings: Every signal, judged.
        proposals: Every policy's answer, in file order.
        steps: Every change that a rule made, in order.
    """

    workload: str
    current: int | None
    combined: int | None
    replicas: int | None
    reason: Reason
    text: str
    readings: tuple[Reading, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether the number differs from what was found."""
        return self.replicas is not None and self.replicas != self.current


@dataclass(frozen=True, slots=True)
class NodePoolDecision:
    """The number of nodes for one pool.

    Attributes:
        pool: Its name.
        current: Nodes found; None where the pool was not seen.
        needed: Nodes that hold every replica of this cycle's plan.
        nodes: Nodes decided; None only where the pool was not seen.
        reason: Why, in one word of the closed vocabulary.
        text: Why, in one sentence.
    """

    pool: str
    current: int | None
    needed: int
    nodes: int | None
    reason: Reason
    text: str


@swift
@dataclass(frozen=True, slots=True)
class Action:
    """One change to make: set a workload's replicas."""

    workload: str
    before: int
    after: int

    @property
    def key(self) -> str:
        """What is changed."""
        return self.workload


@dataclass(frozen=True, slots=True)
class NodeAction:
    """One change to make: set a pool's nodes."""

    pool: str
    before: int
    after: int

    @property
    def key(self) -> str:
        """What is changed."""
        return self.pool


@swift
@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action."""

    action: Action | NodeAction
    done: bool
    detail: str = ""


@swift
@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions of a cycle, in file order.

    Attributes:
        now: The time of the cycle, Unix seconds.
        decisions: By workload key.
        acting: Keys of what we scale ourselves (`actuation: scale`), workloads and pools.
        pools: By pool name.
    """

    now: float
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    acting: Annotated[frozenset[str], PlainSerializer(sorted)] = frozenset()
    pools: Mapping[str, NodePoolDecision] = field(default_factory=dict)

    def actions(self) -> tuple[Action | NodeAction, ...]:
        """What to change, in a safe order.

        Pools that grow, workloads that grow, workloads that shrink, pools that shrink: a pod
        never waits for a node that was taken away first.
        """
        nodes = [
            NodeAction(name, sized.current, sized.nodes)
            for name, sized in self.pools.items()
            if name in self.acting and sized.current is not None and sized.nodes is not None
        ]
        replicas = [
            Action(key, decision.current, decision.replicas)
            for key, decision in self.decisions.items()
            if key in self.acting and decision.current is not None and decision.replicas is not None
        ]
        return (
            *(action for action in nodes if action.after > action.before),
            *(action for action in replicas if action.after > action.before),
            *(action for action in replicas if action.after < action.before),
            *(action for action in nodes if action.after < action.before),
        )


@swift
@dataclass(frozen=True, slots=True)
class Cycle:
    """One snapshot with its plan and what became of it.

    Attributes:
        snapshot: What was seen.
        plan: What was decided.
        outcomes: What became of the plan's actions, in their order.
        leading: Whether we were the one that acts.
    """

    snapshot: Snapshot
    plan: Plan
    outcomes: tuple[Outcome, ...] = ()
    leading: bool = True
