"""What a plug-in author meets: Policy, Recommendation, Forecast."""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from autoscaler.core.observation import FloatArray, Memory, Observation
from autoscaler.core.spec import Spec
from autoscaler.core.swift import swift

MOST_REPLICAS: Final = 2**31 - 1
"""What `spec.replicas` can hold: Kubernetes counts in 32 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """Quantiles of a demand signal over a horizon.

    Attributes:
        signal: The signal that is forecast.
        times: Unix seconds, all after the cycle's `now`; shape (h,).
        quantiles: Levels in (0, 1), rising; shape (q,).
        values: In the signal's unit; shape (q, h).
    """

    signal: str
    times: FloatArray
    quantiles: tuple[float, ...]
    values: FloatArray

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Forecast):
            return NotImplemented
        return (
            (self.signal, self.quantiles) == (other.signal, other.quantiles)
            and np.array_equal(self.times, other.times)
            and np.array_equal(self.values, other.values, equal_nan=True)
        )

    def __hash__(self) -> int:
        return hash((self.signal, self.quantiles, self.times.tobytes(), self.values.tobytes()))


@swift
@dataclass(frozen=True, slots=True)
class Recommendation:
    """What a policy would run if nothing limited it.

    Attributes:
        replicas: The count; None means that the policy has no opinion this time.
        reason: One sentence with numbers and units, for a person.
        evidence: The numbers that the reason stands on.
        memory: What to find again as `observation.memory`; JSON values only.
        forecast: Where the count rests on a forecast.
        raise_only: The count may raise the workload and never lower it.
    """

    replicas: int | None
    reason: str
    evidence: Mapping[str, float] = field(default_factory=dict)
    memory: Memory | None = None
    forecast: Forecast | None = None
    raise_only: bool = False

    @classmethod
    def abstain(cls, reason: str, memory: Memory | None = None) -> "Recommendation":
        """Say nothing this time, and why."""
        return cls(replicas=None, reason=reason, memory=memory)


class Policy(Spec):
    """Base of all scaling algorithms: parameters as fields, one pure function.

    A policy keeps nothing in itself. What it must remember it returns as
    `Recommendation.memory` and finds again as `observation.memory`.
    """

    type: str
    """Name of the algorithm, as installed."""

    @property
    def needs(self) -> frozenset[str]:
        """Signals without which it can say nothing; the caller then abstains for it."""
        return frozenset()

    @property
    def uses(self) -> frozenset[str]:
        """All signals that it reads; those beyond `needs` may be absent when it is asked."""
        return self.needs

    @property
    def needs_pods(self) -> bool:
        """Whether it reads `observation.pods` or `observation.pod_samples`; else they may be empty.

        Listing pods costs an observer much more than a signal does.
        """
        return False

    def prepare(self) -> None:
        """Load what takes long to load, such as a large library.

        It is called before the first cycle, so that no cycle waits; `recommend` may also be asked
        without it. Checking a policy file does not call it.
        """

    @property
    def label(self) -> str:
        """How the trail names it: its type and the signals it reads."""
        used = ", ".join(sorted(self.uses))
        return f"{self.type}({used})" if used else self.type

    @abstractmethod
    def recommend(self, observation: Observation) -> Recommendation:
        """Return what to run for what was seen. Pure: equal inputs, equal answers."""


@swift
@dataclass(frozen=True, slots=True)
class Vote:
    """One policy's recommendation, as a combiner sees it.

    Attributes:
        policy: The policy's label.
        live: Whether it could see enough to recommend.
        replicas: What it would run; None if it is not live or has no opinion.
        may_lower: Whether it may take the workload below its present size.
    """

    policy: str
    live: bool
    replicas: int | None
    may_lower: bool = True


@swift
@dataclass(frozen=True, slots=True)
class Verdict:
    """What a combiner made of the votes.

    Attributes:
        replicas: The combined count; None where nobody had an opinion.
        reason: One sentence that names who decided.
    """

    replicas: int | None
    reason: str


def up(count: float) -> int:
    """Round a need for replicas up to a whole count, from 0 to what Kubernetes can hold.

    A relative 1e-9 is forgiven, so that 3.0000000001 replicas stay 3.

    Raises:
        ValueError: The need is not a number.
    """
    if math.isnan(count):
        raise ValueError("a need should be a number, not nan")
    if count >= MOST_REPLICAS:
        return MOST_REPLICAS
    return max(0, math.ceil(count - 1e-9 * max(1.0, count)))


Combiner = Callable[[Sequence[Vote], int], Verdict]
"""Folds the votes into one count, given the present size. Pure."""
