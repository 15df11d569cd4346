"""Documents about what there is, made when it changes; always there.

They are made between requests, never within one, in turns: the ones before them are answered
meanwhile.
"""

import asyncio
from collections.abc import Generator, Iterable
from heapq import merge
from typing import Final

from metrics_adapter import discovery, openapi
from metrics_adapter.board import Board
from metrics_adapter.statuses import RefusalError
from metrics_adapter.targets import CUSTOM, EXTERNAL, VERSIONS
from metrics_adapter.turns import plan_in_turns

Names = dict[str, tuple[str, ...]]
"""Names of metrics by group, as it writes them, sorted."""
Made = dict[str, bytes]
"""Documents by path; those of aggregated discovery by its version."""

_JSON: Final = "application/json"


class Documents:
    """Discovery and OpenAPI of the groups that are served."""

    def __init__(self, groups: Iterable[str] = (EXTERNAL, CUSTOM)) -> None:
        """Serve these groups; no metric is known yet."""
        self._groups = tuple(groups)
        self._names: Names = dict.fromkeys(self._groups, ())
        self._more: Names = {}
        self._told: tuple[Names, Names] | None = None
        self._writing = asyncio.Lock()
        self._fixed = self._without_names()
        self._made = _at_once(self._documents(self._names, self._more))

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that are served."""
        return self._groups

    async def use(self, board: Board) -> None:
        """Tell of the metrics of this board from now on."""
        both = {EXTERNAL: board.external_names, CUSTOM: board.custom_names}
        self._names = {group: both[group] for group in self._groups}
        await self._write()

    async def use_more(self, group: str, names: Iterable[str]) -> None:
        """Tell of metrics of a group that others answer, too; they are sorted."""
        self._more = {**self._more, group: tuple(names)}
        await self._write()

    def find(self, path: str, accept: str) -> tuple[bytes, str]:
        """Return a document and its content type.

        Raises:
            RefusalError: There is none under this path (404).
        """
        if path == "/apis":
            for version, content_type in discovery.AGGREGATED.items():
                if _asks_for(accept, version):
                    return self._made[version], content_type
        made = self._fixed.get(path) or self._made.get(path)
        if made is not None:
            return made, _JSON
        raise RefusalError(404, "the server could not find the requested resource")

    async def _write(self) -> None:
        """Make the documents again, if names have changed meanwhile."""
        async with self._writing:
            names, more = self._names, self._more
            if (names, more) != self._told:
                self._made = await plan_in_turns(self._documents(names, more))
                self._told = names, more

    def _documents(self, names: Names, more: Names) -> Generator[None, None, Made]:
        made, parts = {}, []
        for group in self._groups:
            listed: list[str] = []
            for name in merge(names[group], more.get(group, ())):
                if not listed or listed[-1] != name:
                    listed.append(name)
                yield
            path = f"/apis/{group}/{VERSIONS[group]}"
            made[path] = yield from discovery.resource_list(group, listed)
            parts.append((yield from discovery.aggregated_group(group, listed)))
        for version in discovery.AGGREGATED:
            made[version] = discovery.aggregated(version, parts)
        return made

    def _without_names(self) -> dict[str, bytes]:
        """Return the documents that are the same whatever metrics there are."""
        found = {"/apis": discovery.group_list(self._groups), **openapi.documents(self._groups)}
        for group in self._groups:
            found[f"/apis/{group}"] = discovery.group_document(group)
        return found


def _asks_for(accept: str, version: str) -> bool:
    """Whether one of the accepted types is aggregated discovery of this version."""
    for one in accept.split(","):
        parts = {part.strip() for part in one.split(";")}
        if {"as=APIGroupDiscoveryList", f"v={version}", "g=apidiscovery.k8s.io"} <= parts:
            return True
    return False


def _at_once(making: Generator[None, None, Made]) -> Made:
    while True:
        try:
            next(making)
        except StopIteration as end:
            made: Made = end.value
            return made
