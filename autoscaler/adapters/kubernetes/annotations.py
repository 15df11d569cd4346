"""Pauses and numbers set by hand: annotations on a target, and one switch for everything."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from autoscaler.adapters.kubernetes.managed_fields import Json, mapping, owners
from autoscaler.adapters.kubernetes.requests import KubernetesError
from autoscaler.adapters.kubernetes.scalers import Asks
from autoscaler.adapters.kubernetes.times import read_time, said_time
from autoscaler.core.observation import Intervention, InterventionKind

PREFIX: Final = "inference-autoscaler.dev/"
PAUSED: Final = f"{PREFIX}paused"
PAUSED_DOWN: Final = f"{PREFIX}paused-down"
REPLICAS: Final = f"{PREFIX}replicas"
REPLICAS_UNTIL: Final = f"{PREFIX}replicas-until"
KNOWN: Final = (PAUSED, PAUSED_DOWN, REPLICAS, REPLICAS_UNTIL)

SWITCH_NAME: Final = "inference-autoscaler"
"""The ConfigMap in our own namespace that pauses everything."""

_TRUE, _FALSE = frozenset({"true", "yes", "on", "1", ""}), frozenset({"false", "no", "off", "0"})
_MOST: Final = 2**31 - 1
_EARLIEST: Final = 1e9  # 2001: a smaller number is a date without dashes, or a duration


@dataclass(frozen=True, slots=True)
class Said:
    """What the annotations of one object say.

    Attributes:
        interventions: What holds now.
        problems: What is wrong with them, a sentence each; a wrong value never lifts a pause.
    """

    interventions: tuple[Intervention, ...] = ()
    problems: tuple[str, ...] = ()


def read_annotations(target: Json, named: str, now: float) -> Said:
    """Return what a target's annotations say.

    A pause with a value that is neither true nor false is a pause. A number that is none is
    ignored; an expiry that is none is too, and its number stays in force until it is taken away.

    Args:
        target: The object with its metadata.
        named: How a person knows it, such as Deployment llm/chat.
        now: Unix seconds.
    """
    marks = mapping(mapping(target.get("metadata")).get("annotations"))
    ours = {key: str(value) for key, value in marks.items() if str(key).startswith(PREFIX)}
    if not ours:
        return Said()
    found: list[Intervention] = []
    problems: list[str] = []
    for key, kind, what in (
        (PAUSED, InterventionKind.PAUSED, "nothing changes"),
        (PAUSED_DOWN, InterventionKind.PAUSED_DOWN, "no decrease"),
    ):
        if key in ours:
            paused, problem = _flag(ours[key])
            if problem:
                problems.append(f"{named}: {key} {problem}")
            if paused:
                text = f"{named} has the annotation {key}{_by(target, key)}: {what}"
                found.append(Intervention(kind, text))
    number = _override(target, ours, named, now, problems)
    if number is not None:
        found.append(number)
    problems.extend(f"{named}: {_unknown(key)}" for key in sorted(ours) if key not in KNOWN)
    return Said(tuple(found), tuple(problems))


def _override(
    target: Json, ours: dict[str, str], named: str, now: float, problems: list[str]
) -> Intervention | None:
    text, expiry = ours.get(REPLICAS), ours.get(REPLICAS_UNTIL)
    if text is None:
        if expiry is not None:
            problems.append(f"{named}: {REPLICAS_UNTIL} without {REPLICAS} means nothing")
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text.strip(), re.ASCII) or int(text) > _MOST:
        problems.append(
            f"{named}: {REPLICAS} should be a whole number from 0 to {_MOST}, not {text!r}; ignored"
        )
        return None
    until = None
    if expiry is not None:
        until = _instant(expiry)
        if until is None:
            problems.append(
                f"{named}: {REPLICAS_UNTIL} should be a time like 2026-01-05T00:10:00Z or Unix "
                f"seconds, not {expiry!r}; {REPLICAS} holds until it is removed"
            )
    ends = "" if until is None else f" until {said_time(until)}"
    said = Intervention(
        InterventionKind.REPLICAS,
        f"{named} has the annotation {REPLICAS}{_by(target, REPLICAS)}: {int(text)} replicas{ends}",
        replicas=int(text),
        until=until,
    )
    return said if said.holds(now) else None


def _flag(text: str) -> tuple[bool, str]:
    word = text.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE, ""
    return True, f"should be true or false, not {text!r}; it counts as true"


def _instant(text: str) -> float | None:
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text.strip(), re.ASCII):
        seconds = float(text)
        return seconds if _EARLIEST <= seconds <= _MOST * 2 else None
    return read_time(text)


def _by(target: Json, key: str) -> str:
    """Return who set an annotation and when, if the API server says so."""
    for owner in owners(target, ("metadata", "annotations", key)):
        when = "" if owner.time is None else f" at {said_time(owner.time)}"
        return f" (set by {owner.manager}{when})"
    return ""


def _unknown(key: str) -> str:
    names = [known.removeprefix(PREFIX) for known in KNOWN]
    near = difflib.get_close_matches(key.removeprefix(PREFIX), names, n=1)
    meant = f"; is {PREFIX}{near[0]} meant?" if near else f"; there are {', '.join(KNOWN)}"
    return f"no annotation is called {key}{meant}"


def read_switch(switch: Json) -> Said:
    """Return what the ConfigMap says that pauses everything.

    Args:
        switch: The ConfigMap; `paused` stands in its data or in its annotation.
    """
    metadata = mapping(switch.get("metadata"))
    named = f"ConfigMap {metadata.get('namespace', '?')}/{metadata.get('name', SWITCH_NAME)}"
    places = (
        ("data.paused", mapping(switch.get("data")).get("paused"), ("data", "paused")),
        (
            f"annotation {PAUSED}",
            mapping(metadata.get("annotations")).get(PAUSED),
            ("metadata", "annotations", PAUSED),
        ),
    )
    found: list[Intervention] = []
    problems: list[str] = []
    for place, value, path in places:
        if value is None:
            continue
        paused, problem = _flag(str(value))
        if problem:
            problems.append(f"{named}: {place} {problem}")
        if paused:
            who = next((f", set by {owner.manager}" for owner in owners(switch, path)), "")
            text = f"everything is paused by {named} ({place}{who})"
            found.append(Intervention(InterventionKind.PAUSED, text))
    return Said(tuple(found[:1]), tuple(problems))


class KillSwitch:
    """The one switch that pauses everything: a flag of the settings, or a ConfigMap.

    Until the ConfigMap has been read once, everything is paused: who threw the switch before we
    started must not be overlooked. After that, what was read last counts while it cannot be read.
    """

    def __init__(
        self,
        asks: Asks,
        namespace: str,
        *,
        say: Callable[[str], None],
        name: str = SWITCH_NAME,
        flag: bool = False,
        deadline_seconds: float = 3.0,
    ) -> None:
        """Watch a ConfigMap.

        Args:
            asks: The connection.
            namespace: Our own.
            say: Is told once when the switch is thrown, taken back, wrong or unreadable.
            name: Of the ConfigMap; empty for none.
            flag: Whether the settings pause everything.
            deadline_seconds: For reading it.
        """
        self._asks = asks
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{name}" if name else ""
        self._named = f"ConfigMap {namespace}/{name}"
        self._say = say
        self._flag = flag
        self._deadline = deadline_seconds
        self._last: Said | None = None
        self._said: tuple[str, ...] = ()

    def read(self) -> Intervention | None:
        """Return what pauses everything now, if something does."""
        if self._flag:
            found = Said((Intervention(InterventionKind.PAUSED, "the settings pause everything"),))
        elif not self._path:
            found = Said()
        else:
            found = self._asked()
        self._tell((*(one.text for one in found.interventions), *found.problems))
        return next(iter(found.interventions), None)

    def _asked(self) -> Said:
        try:
            answer = self._asks.ask(  # the next cycle tries again
                "GET", self._path, deadline_seconds=self._deadline, retry=False
            )
        except KubernetesError as error:
            if error.status == 404:
                self._last = Said()
                return self._last
            if self._last is not None:
                return self._last
            text = f"everything is paused until {self._named} could be read once: {error}"
            return Said((Intervention(InterventionKind.PAUSED, text),))
        self._last = read_switch(mapping(answer))
        return self._last

    def _tell(self, words: tuple[str, ...]) -> None:
        if words == self._said:
            return
        for text in words or ("nothing pauses everything any more",):
            if text not in self._said:
                self._say(text)
        self._said = words
