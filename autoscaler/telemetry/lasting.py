"""States that last: told when they begin, when they end, and now and then in between."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

REMIND_SECONDS: Final = 600.0
"""How often a state that lasts is told again."""


class Stage(StrEnum):
    """Where a state is in its life."""

    BEGAN = "began"
    LASTS = "lasts"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Told:
    """One thing to tell.

    Attributes:
        kind: What state: blind, suspended, source down.
        name: Of what.
        stage: Whether it began, lasts or ended.
        text: Why, in one sentence; the last reason where it ended.
        seconds: How long it has lasted.
    """

    kind: str
    name: str
    stage: Stage
    text: str
    seconds: float


@dataclass(slots=True)
class _State:
    since: float
    told: float
    text: str


class Lasting:
    """Knows what lasts, so that each cycle need only say what is so."""

    def __init__(self) -> None:
        """Know of nothing."""
        self._states: dict[tuple[str, str], _State] = {}

    def note(
        self, now: float, states: Mapping[tuple[str, str], str], gone: Collection[str] = ()
    ) -> Iterator[Told]:
        """Yield what is to be told.

        Args:
            now: Unix seconds.
            states: Every state of this cycle, by kind and name, with its reason.
            gone: Names that no longer exist: what ended because of that is not told.
        """
        for (kind, name), text in states.items():
            state = self._states.get((kind, name))
            if state is None:
                self._states[kind, name] = _State(now, now, text)
                yield Told(kind, name, Stage.BEGAN, text, 0.0)
                continue
            state.text = text
            # A clock that was set back must not silence a state for long.
            if abs(now - state.told) >= REMIND_SECONDS:
                state.told = now
                yield Told(kind, name, Stage.LASTS, text, now - state.since)
        for kind, name in [key for key in self._states if key not in states]:
            state = self._states.pop((kind, name))
            if name not in gone:
                yield Told(kind, name, Stage.ENDED, state.text, now - state.since)
