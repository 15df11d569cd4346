"""Where no metrics API is served: the kubelet's probes are answered, and nothing else."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from metrics_adapter.authority import Held, renewed

LOOK_SECONDS: Final = 3600.0
"""How often the certificate's age is looked at: it lasts for weeks."""


class Nobody:
    """Stands where the API server is asked: no token is anybody's, and nobody may see anything."""

    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, accept: str = ""
    ) -> dict[str, Any]:
        """Return an answer that allows nothing."""
        return {}


class ProbeCertificate:
    """A certificate in memory: a probe checks none, so no Secret and no right is needed for it."""

    def __init__(self, names: Sequence[str], wall: Callable[[], float]) -> None:
        """Sign for these names; `wall` gives Unix seconds."""
        self._names = tuple(names)
        self._wall = wall
        self._held: Held | None = None

    def take(self) -> Held:
        """Return what is to be served now."""
        self._held = renewed(self._held, self._names, self._wall())
        return self._held

    async def run(self, use: Callable[[Held], None]) -> None:
        """Renew for ever, and give `use` each certificate."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            use(self.take())
