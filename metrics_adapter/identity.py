"""Who asks: the API server for somebody else, the owner of a token, or nobody we know."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

import orjson

from autoscaler.core.errors import ObservationError
from metrics_adapter.statuses import RefusalError

AUTHENTICATED: Final = "system:authenticated"
UNAUTHENTICATED: Final = "system:unauthenticated"
MASTERS: Final = "system:masters"
_MOST_PARTS: Final = 100
_LONGEST_REMEMBERED: Final = 4096
"""Characters of headers: memory stays small whoever asks."""


@dataclass(frozen=True, slots=True)
class User:
    """Who asks.

    Attributes:
        name: User name.
        uid: Of the user, where it is known.
        groups: Of the user.
        extra: More that was told of the user, by lower-case key.
        known: Whether it was proved who asks.
    """

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    known: bool = True


ANONYMOUS: Final = User("system:anonymous", groups=(UNAUTHENTICATED,), known=False)


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """Who may speak for others, from ConfigMap kube-system/extension-apiserver-authentication.

    Attributes:
        ca: Authority of the front proxy's client certificate (PEM).
        allowed_names: Common names that may; none means every one that the authority signed.
        user_headers: Headers with the user's name; the first that is there counts.
        uid_headers: The same for the uid.
        group_headers: Headers with a group each.
        extra_prefixes: What headers with more about the user begin with.
    """

    ca: str
    allowed_names: frozenset[str] = frozenset()
    user_headers: tuple[str, ...] = ("X-Remote-User",)
    uid_headers: tuple[str, ...] = ("X-Remote-Uid",)
    group_headers: tuple[str, ...] = ("X-Remote-Group",)
    extra_prefixes: tuple[str, ...] = ("X-Remote-Extra-",)
    _prefixes: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """What the names of all headers that matter begin with, in lower case."""

    def __post_init__(self) -> None:
        """Prepare what every request needs."""
        names = (*self.user_headers, *self.uid_headers, *self.group_headers, *self.extra_prefixes)
        object.__setattr__(self, "_prefixes", tuple([name.lower() for name in names]))

    def allows(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether the owner of a verified certificate may speak for others."""
        if not certificate:
            return False
        names = [
            value
            for part in certificate.get("subject", ())
            for kind, value in part
            if kind == "commonName"
        ]
        return len(names) == 1 and (not self.allowed_names or names[0] in self.allowed_names)

    def user(self, headers: Iterable[tuple[str, str]]) -> User | None:
        """Return whom the front proxy speaks for; None where it does not say.

        Raises:
            RefusalError: What it says is no text (400).
        """
        prefixes = self._prefixes
        told = tuple([one for one in headers if one[0].lower().startswith(prefixes)])
        if sum([len(value) for _, value in told]) > _LONGEST_REMEMBERED:
            return self.read(told)
        return _user(self, told)

    def read(self, headers: Iterable[tuple[str, str]]) -> User | None:
        """Return whom these headers name; None where they name nobody.

        Raises:
            RefusalError: They are no text (400).
        """
        found: dict[str, list[str]] = {}
        for name, value in headers:
            if not _is_text(value):
                raise RefusalError(400, "the headers that say who asks are no UTF-8")
            found.setdefault(name.lower(), []).append(value)
        name = _first(found, self.user_headers)
        if not name:
            return None
        groups = [group for one in self.group_headers for group in found.get(one.lower(), ())]
        return User(
            name,
            uid=_first(found, self.uid_headers),
            groups=with_authenticated(name, groups),
            extra=tuple(sorted(self._extra(found))),
            known=name != ANONYMOUS.name and UNAUTHENTICATED not in groups,
        )

    def _extra(self, found: Mapping[str, list[str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
        for name, values in found.items():
            for prefix in self.extra_prefixes:
                if name.startswith(prefix.lower()):
                    yield unquote(name[len(prefix) :]), tuple(values)
                    break


@lru_cache(maxsize=256)
def _user(front: FrontProxy, headers: tuple[tuple[str, str], ...]) -> User | None:
    """The same few users ask again and again."""
    return front.read(headers)


def read_front_proxy(data: Mapping[str, Any]) -> FrontProxy:
    """Read the data of the ConfigMap; lists are JSON in text.

    Raises:
        ObservationError: There is no authority in it, or a list is none.
    """
    ca = data.get("requestheader-client-ca-file")
    if not isinstance(ca, str) or "BEGIN CERTIFICATE" not in ca:
        raise ObservationError("requestheader-client-ca-file holds no certificate")
    usual = FrontProxy(ca)
    return FrontProxy(
        ca,
        frozenset(_listed(data, "requestheader-allowed-names", ())),
        _listed(data, "requestheader-username-headers", usual.user_headers),
        _listed(data, "requestheader-uid-headers", usual.uid_headers),
        _listed(data, "requestheader-group-headers", usual.group_headers),
        _listed(data, "requestheader-extra-headers-prefix", usual.extra_prefixes),
    )


def with_authenticated(name: str, groups: Sequence[str]) -> tuple[str, ...]:
    """Return the groups of a user with that of everybody who is known.

    As the API server adds it (`AuthenticatedGroupAdder`): never to those who are told to be nobody.
    """
    unique = tuple(dict.fromkeys(groups[:_MOST_PARTS]))
    if name == ANONYMOUS.name or {AUTHENTICATED, UNAUTHENTICATED} & set(unique):
        return unique
    return *unique, AUTHENTICATED


def _is_text(value: str) -> bool:
    """Whether a header's bytes were text: what was not stands as halves of characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _listed(data: Mapping[str, Any], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    text = data.get(name)
    if text is None:
        return default
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ObservationError(f"{name} should be a list in JSON: {error}") from error
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise ObservationError(f"{name} should be a list of texts, not {text[:100]!r}")
    return tuple(values)


def _first(found: Mapping[str, list[str]], names: Sequence[str]) -> str:
    return next((found[one.lower()][0] for one in names if found.get(one.lower())), "")
