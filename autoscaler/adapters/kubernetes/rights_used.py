"""Rights held against the requests that were really made: neither should have more. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from autoscaler.adapters.kubernetes.rbac import EVERYWHERE, Right, Rights
from autoscaler.adapters.kubernetes.requests import Asked, asked


class Logged(Protocol):
    """One request as a server logged it."""

    @property
    def method(self) -> str:
        """GET, POST and so on; WATCH counts as GET."""
        ...

    @property
    def path(self) -> str:
        """Without the query."""
        ...

    @property
    def query(self) -> Mapping[str, str]:
        """Its parameters."""
        ...


@dataclass(frozen=True, slots=True)
class Use:
    """How rights and requests fit.

    Attributes:
        beyond: Requests that no right allows, each once.
        unused: Rights that no request needed: place, group and resource, verb.
    """

    beyond: tuple[Asked, ...] = ()
    unused: tuple[tuple[str, str, str], ...] = ()


def rules_used(log: Iterable[Logged], rights: Rights) -> Use:
    """Hold a log of requests against rights: neither should have more than the other.

    Requests for discovery need no right and are left out.

    Args:
        log: The requests of a whole run.
        rights: By place.
    """
    beyond: dict[Asked, None] = {}
    used: set[tuple[str, Right, str]] = set()
    for request in log:
        method = "GET" if request.method == "WATCH" else request.method
        what = asked(method, request.path, tuple(request.query.items()))
        if not what.resource:
            continue
        places = {EVERYWHERE, what.namespace}
        hits = {
            (place, right, what.verb)
            for place in places & rights.keys()
            for right in rights[place]
            if right.allows(what)
        }
        used |= hits
        if not hits:
            beyond[what] = None
    unused = (
        (place, f"{right.resource}.{right.group}".rstrip("."), verb)
        for place, mine in rights.items()
        for right in mine
        for verb in right.verbs
        if (place, right, verb) not in used
    )
    return Use(tuple(beyond), tuple(unused))
