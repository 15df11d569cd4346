"""Keeps our own certificate: in a Secret that all replicas share, and known to the API server."""

import asyncio
import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from autoscaler.core.errors import ObservationError
from metrics_adapter.api_server import AnswerError
from metrics_adapter.authority import Held, read_held, renewed
from metrics_adapter.incumbents import Owner, Registration, look

LOOK_SECONDS: Final = 30.0
MOST_REWRITES: Final = 3
"""How often, within `FIGHT_SECONDS`, an authority is told again that somebody else wrote over."""
FIGHT_SECONDS: Final = 3600.0
_MOST_TRIES: Final = 5

_log = structlog.get_logger("metrics_adapter.certificate")


class Asks(Protocol):
    """What is needed of the API server."""

    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Send a request and return the answer."""


@dataclass(slots=True)
class _Told:
    """What the API server was told of a group.

    Attributes:
        bundle: Last told (PEM in base64).
        again: When it was told again, because somebody else had written over it; Unix seconds.
        given_up: Whether it was said that this has happened too often.
    """

    bundle: str = ""
    again: list[float] = field(default_factory=list)
    given_up: bool = False


class OwnCertificate:
    """The certificate that we signed ourselves.

    Whoever finds it old writes the Secret; its resourceVersion decides between replicas, and the
    others take what was written. An APIService that names another Service is left alone. So is one
    whose caBundle somebody else writes over, or takes out, again and again: two who both insist
    would make the API come and go.
    """

    def __init__(
        self,
        api: Asks,
        own: Owner,
        groups: Sequence[str],
        wall: Callable[[], float],
    ) -> None:
        """Keep the certificate of Service `own` for these groups; `wall` gives Unix seconds."""
        self._api = api
        self._own = own
        self._groups = tuple(groups)
        self._wall = wall
        self._problem = ""
        self._told: dict[str, _Told] = {group: _Told() for group in self._groups}
        secrets = f"/api/v1/namespaces/{own.namespace}/secrets"
        self._secrets: Final = secrets
        self._name: Final = f"{own.name}-tls"

    async def take(self) -> Held:
        """Return what is to be served now; the Secret and every APIService of ours know of it.

        Raises:
            ObservationError: The API server could not be asked, or refused.
        """
        held = await self._kept()
        for group in self._groups:
            await self._tell(group, held)
        return held

    async def run(self, use: Callable[[Held], None]) -> None:
        """Renew for ever, and give `use` each certificate. What fails is tried again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                use(await self.take())
                self._problem = ""
            except ObservationError as error:
                if str(error) != self._problem:
                    _log.error("certificate not looked after", reason=str(error))
                self._problem = str(error)

    async def _kept(self) -> Held:
        """Return what the Secret holds after it was renewed, if it had to be."""
        own = self._own
        names = [
            f"{own.name}.{own.namespace}.svc",
            f"{own.name}.{own.namespace}.svc.cluster.local",
            f"{own.name}.{own.namespace}",
        ]
        path = f"{self._secrets}/{self._name}"
        for _ in range(_MOST_TRIES):
            secret = await self._found(path)
            held = None if secret is None else self._read(secret)
            wanted = renewed(held, names, self._wall())
            if wanted is held:
                return held
            try:
                await self._write(path, secret, wanted)
            except AnswerError as error:
                if error.status != 409:
                    raise
                continue  # another replica was faster: take what it wrote
            _log.info("certificate renewed", secret=f"{own.namespace}/{self._name}")
            return wanted
        raise ObservationError(f"Secret {own.namespace}/{self._name} changes all the time")

    async def _found(self, path: str) -> dict[str, Any] | None:
        try:
            return await self._api.ask("GET", path)
        except AnswerError as error:
            if error.status == 404:
                return None
            raise

    def _read(self, secret: dict[str, Any]) -> Held | None:
        """Return what a Secret holds; what is no use is made anew."""
        try:
            return read_held(
                {
                    name: base64.b64decode(value, validate=True)
                    for name, value in (secret.get("data") or {}).items()
                }
            )
        except (ObservationError, binascii.Error, TypeError) as error:
            if secret.get("data"):
                _log.warning("certificate made anew", reason=str(error))
            return None

    async def _write(self, path: str, secret: dict[str, Any] | None, held: Held) -> None:
        data = {name: base64.b64encode(value).decode() for name, value in held.data().items()}
        if secret is not None:
            await self._api.ask("PUT", path, {**secret, "data": data})
            return
        made = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self._name, "namespace": self._own.namespace},
            "type": "kubernetes.io/tls",
            "data": data,
        }
        await self._api.ask("POST", self._secrets, made)

    async def _tell(self, group: str, held: Held) -> None:
        """Make the API server trust what we serve."""
        seen = await look(self._api, group)
        if seen is None or seen.owner != self._own:
            return  # not there yet, or another's: the start has told what to do
        bundle = base64.b64encode(held.trusted).decode()
        if seen.bundle != bundle and self._may_tell(group, seen, bundle):
            await self._api.ask("PATCH", seen.path, {"spec": {"caBundle": bundle}})
            self._told[group].bundle = bundle
            _log.info("authority told", apiservice=seen.name)

    def _may_tell(self, group: str, seen: Registration, bundle: str) -> bool:
        """Return whether a bundle that is not ours is written over; say so where it is not."""
        told = self._told[group]
        if told.bundle != bundle:
            return True  # ours is new
        now = self._wall()
        told.again = [one for one in told.again if abs(now - one) < FIGHT_SECONDS]
        if len(told.again) < MOST_REWRITES:
            told.again.append(now)
            told.given_up = False
            return True
        if not told.given_up:
            told.given_up = True
            _log.error("authority not told", apiservice=seen.name, reason=_fight(group, seen))
        return False


def _fight(group: str, seen: Registration) -> str:
    """Return what happens to an APIService, and what a person should do about it."""
    who = ", ".join(seen.bundle_writers) or "somebody else"
    what = "writes another caBundle over ours" if seen.bundle else "takes our caBundle out"
    return (
        f"{who} {what}, {MOST_REWRITES} times within "
        f"{FIGHT_SECONDS / 60:.0f} minutes; it is left as it is, so the API server does not trust "
        "us and no request comes: turn KEDA's certificate rotation off "
        "(--enable-cert-rotation=false), take the annotation cert-manager.io/inject-ca-from off the"
        f" APIService, or set groups without {group} and apply the other's manifest again"
    )
