"""Who may see what: tokens and rights are asked of the API server, and remembered for moments."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from functools import lru_cache
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog

from autoscaler.core.errors import ObservationError
from metrics_adapter.identity import MASTERS, User, with_authenticated
from metrics_adapter.statuses import RefusalError
from metrics_adapter.targets import Attributes

ALLOW_SECONDS: Final = 10.0
DENY_SECONDS: Final = 3.0
MOST_REMEMBERED: Final = 4096
MOST_WAITING: Final = 256
"""Questions at one time for the API server's own requests; others have an eighth of it."""

_REVIEWS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_TOKENS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"  # a path

T = TypeVar("T")

_log = structlog.get_logger("metrics_adapter.access")


class Asks(Protocol):
    """What is needed of the API server."""

    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send a request and return the answer."""


class Access:
    """Knows who owns a token and who may see what."""

    def __init__(self, api: Asks, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Ask `api`; `monotonic` gives seconds that only ever rise."""
        self._api = api
        self._rights: _Memory[bool] = _Memory(monotonic)
        self._owners: _Memory[User | None] = _Memory(monotonic)

    async def owner(self, token: str) -> User:
        """Return who owns a bearer token.

        Raises:
            RefusalError: Nobody (401), or it could not be asked (503), or too many ask (429).
        """
        user = None
        if token.isascii() and token.isprintable():  # no other can be sent on, or be anybody's
            key = hashlib.sha256(token.encode("ascii")).digest()
            user = await self._owners.get(key, lambda: self._review_token(token), trusted=False)
        if user is None:
            raise RefusalError(401, "the bearer token is not valid")
        return user

    def knows(self, user: User, wanted: Attributes) -> bool:
        """Whether it is remembered that the user may: then `check` has nobody to ask."""
        if MASTERS in user.groups and user.known:
            return True
        if wanted.resource:
            everything = self._rights.remembered((user, _everything(wanted)))
            if everything is None or everything[1]:
                return everything is not None
        known = self._rights.remembered((user, wanted))
        return known is not None and known[1]

    async def check(self, user: User, wanted: Attributes, *, trusted: bool) -> None:
        """Return if the user may.

        What everybody may who is allowed every metric of the group (the HPA's account is) is asked
        first: one question then covers all metrics.

        Args:
            user: Who wants.
            wanted: What.
            trusted: Whether the request came through the API server.

        Raises:
            RefusalError: No (403), or it could not be asked (503), or too many ask (429).
        """
        if MASTERS in user.groups and user.known:
            return
        if wanted.resource and await self._may(user, _everything(wanted), trusted=trusted):
            return
        if not await self._may(user, wanted, trusted=trusted):
            raise RefusalError(403, _denied(user, wanted))

    async def _may(self, user: User, wanted: Attributes, *, trusted: bool) -> bool:
        return await self._rights.get(
            (user, wanted), lambda: self._review_access(user, wanted), trusted=trusted
        )

    async def _review_access(self, user: User, wanted: Attributes) -> bool:
        spec: dict[str, Any] = {"user": user.name, "groups": list(user.groups)}
        if user.uid:
            spec["uid"] = user.uid
        if user.extra:
            spec["extra"] = {key: list(values) for key, values in user.extra}
        if wanted.path:
            spec["nonResourceAttributes"] = {"path": wanted.path, "verb": wanted.verb}
        else:
            told = {
                "verb": wanted.verb,
                "group": wanted.group,
                "version": wanted.version,
                "namespace": wanted.namespace,
                "resource": wanted.resource,
                "subresource": wanted.subresource,
                "name": wanted.name,
            }
            spec["resourceAttributes"] = {key: value for key, value in told.items() if value}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": spec,
        }
        status = await self._ask(_REVIEWS, review)
        return status.get("allowed") is True and status.get("denied") is not True

    async def _review_token(self, token: str) -> User | None:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token},
        }
        status = await self._ask(_TOKENS, review)
        told = status.get("user")
        if status.get("authenticated") is not True or not isinstance(told, dict):
            return None
        name = told.get("username")
        if not isinstance(name, str) or not name:
            return None
        extra = told.get("extra") or {}
        return User(
            name,
            uid=str(told.get("uid") or ""),
            groups=with_authenticated(name, [str(one) for one in told.get("groups") or ()]),
            extra=tuple(sorted((key, tuple(map(str, extra[key]))) for key in extra)),
        )

    async def _ask(self, path: str, review: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await self._api.ask("POST", path, review)
        except ObservationError as error:
            _log.warning("access not checked", reason=str(error))
            raise RefusalError(503, "the API server could not be asked who may see this") from error
        status = answer.get("status")
        return status if isinstance(status, dict) else {}


class _Memory(Generic[T]):
    """Answers for some seconds, at most so many; one question is asked once at a time."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._known: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()
        self._asked: dict[Hashable, asyncio.Future[T]] = {}

    def remembered(self, key: Hashable) -> tuple[float, T] | None:
        """Return until when an answer holds, and the answer; None where none does."""
        known = self._known.get(key)
        return known if known is not None and self._monotonic() < known[0] else None

    async def get(self, key: Hashable, ask: Callable[[], Awaitable[T]], *, trusted: bool) -> T:
        """Return the answer to `key`, asking if it is not known or too old.

        Raises:
            RefusalError: Too many questions are open (429), or what `ask` raises.
        """
        known = self.remembered(key)
        if known is not None:
            return known[1]
        asked = self._asked.get(key)
        if asked is None:
            # Strangers' questions must not crowd out those of the API server itself.
            if len(self._asked) >= (MOST_WAITING if trusted else MOST_WAITING // 8):
                raise RefusalError(429, "too many questions about access are open")
            asked = self._asked[key] = asyncio.ensure_future(ask())
            asked.add_done_callback(lambda done: self._answered(key, done))
        return await asyncio.shield(asked)

    def _answered(self, key: Hashable, done: "asyncio.Future[T]") -> None:
        del self._asked[key]
        if done.cancelled() or done.exception() is not None:
            return
        answer = done.result()
        seconds = ALLOW_SECONDS if answer else DENY_SECONDS
        self._known[key] = self._monotonic() + seconds, answer
        self._known.move_to_end(key)
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)


def _everything(wanted: Attributes) -> Attributes:
    """Return what whoever may see everything of a group may see of it."""
    return _all_of(wanted.verb, wanted.group, wanted.version, "*" * bool(wanted.subresource))


@lru_cache(maxsize=16)
def _all_of(verb: str, group: str, version: str, subresource: str) -> Attributes:
    return Attributes("", verb, group, version, "", "*", subresource)


def _denied(user: User, wanted: Attributes) -> str:
    if wanted.path:
        return f'User "{user.name}" cannot {wanted.verb} path "{wanted.path}"'
    resource = "/".join(filter(None, (wanted.resource, wanted.subresource)))
    return (
        f'User "{user.name}" cannot {wanted.verb} resource "{resource}" in API group '
        f'"{wanted.group}" in the namespace "{wanted.namespace}"'
    )
