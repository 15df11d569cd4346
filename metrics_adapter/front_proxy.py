"""Follows who may speak for others: the ConfigMap that every API server keeps."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final, Protocol

import structlog

from autoscaler.core.errors import ConfigError, ObservationError
from metrics_adapter.identity import FrontProxy, read_front_proxy

NAME: Final = "extension-apiserver-authentication"
_ALL: Final = "/api/v1/namespaces/kube-system/configmaps"
_CHOSEN: Final = f"fieldSelector=metadata.name%3D{NAME}"
WATCH_SECONDS: Final = 300
PAUSE_SECONDS: Final = 5.0

_log = structlog.get_logger("metrics_adapter.front_proxy")


class Watches(Protocol):
    """What is needed of the API server."""

    async def get(self, path: str) -> dict[str, Any]:
        """Return an object."""

    def watch(self, path: str, *, seconds: float) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the events of a watch."""


class FrontProxyFollower:
    """Tells `use` of the front proxy, at once and whenever it changes.

    While the API server is away the last one counts: whoever asks comes through it anyway.
    """

    def __init__(self, api: Watches, use: Callable[[FrontProxy], None]) -> None:
        """Follow by `api`; `use` may raise ConfigError for what it cannot use."""
        self._api = api
        self._use = use
        self._problem = ""

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            try:
                await self.follow()
            except (ObservationError, ConfigError) as error:
                if str(error) != self._problem:
                    _log.error("front proxy not followed", reason=str(error))
                self._problem = str(error)
                await asyncio.sleep(PAUSE_SECONDS)

    async def follow(self) -> None:
        """Read the ConfigMap, then watch it until the watch ends.

        Raises:
            ObservationError: It cannot be read, or does not hold what it should.
            ConfigError: It cannot be used.
        """
        found = await self._api.get(f"{_ALL}?{_CHOSEN}")
        items = found.get("items") or []
        if not items:
            raise ObservationError(f"kube-system has no ConfigMap {NAME}")
        self._take(items[0])
        version = (found.get("metadata") or {}).get("resourceVersion", "")
        watched = f"{_ALL}?{_CHOSEN}&watch=true&timeoutSeconds={WATCH_SECONDS}"
        watching = self._api.watch(f"{watched}&resourceVersion={version}", seconds=WATCH_SECONDS)
        async with aclosing(watching) as events:
            async for event in events:
                if event.get("type") in ("ADDED", "MODIFIED"):
                    self._take(event.get("object") or {})
                elif event.get("type") == "ERROR":
                    return

    def _take(self, config_map: dict[str, Any]) -> None:
        self._use(read_front_proxy(config_map.get("data") or {}))
        self._problem = ""
