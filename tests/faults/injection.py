"""How a fault is made, and for how long; the faults themselves stand in modules by neighbour."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

from tests.faults.world import PATIENT, Pace, World

Strikes = Callable[[World], Iterator[None]]


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault.

    Attributes:
        strike: Makes it, and takes it back.
        cycles: How many cycles it lasts.
        early: How many cycles before a decrease would be due it strikes: some faults are noticed
            only when what is known has aged.
        demand_after: How many cycles after the strike the demand of what grows changes.
        pace: How long the controller waits.
        journals: Whether a journal is kept.
    """

    strike: Callable[[World], AbstractContextManager[None]]
    cycles: int
    early: int
    demand_after: int
    pace: Pace
    journals: bool


INJECTIONS: Final[dict[str, Injection]] = {}
"""By the name that the table gives them."""


def fault(
    name: str,
    *,
    cycles: int = 6,
    early: int = 0,
    demand_after: int = 0,
    pace: Pace = PATIENT,
    journals: bool = False,
) -> Callable[[Strikes], Strikes]:
    """Register a generator: up to its `yield` it strikes, after that it mends."""

    def register(strikes: Strikes) -> Strikes:
        if name in INJECTIONS:
            raise ValueError(f"two faults are called {name!r}")
        strike = contextmanager(strikes)
        INJECTIONS[name] = Injection(strike, cycles, early, demand_after, pace, journals)
        return strikes

    return register
