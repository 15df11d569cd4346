"""Documents about what there is, made once for each board; always there."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from metrics_adapter import discovery, openapi
from metrics_adapter.board import Board
from metrics_adapter.statuses import RefusalError
from metrics_adapter.targets import CUSTOM, EXTERNAL, VERSIONS

_JSON: Final = "application/json"


class Documents:
    """Discovery and OpenAPI of the groups that are served."""

    def __init__(self, groups: Iterable[str] = (EXTERNAL, CUSTOM)) -> None:
        """Serve these groups; no metric is known yet."""
        self._groups = tuple(groups)
        self._names: dict[str, tuple[str, ...]] = dict.fromkeys(self._groups, ())
        self._more: dict[str, tuple[str, ...]] = {}
        self._fixed = self._without_names()
        self._made: dict[str, bytes] = {}

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that are served."""
        return self._groups

    def use(self, board: Board) -> None:
        """Tell of the metrics of this board from now on."""
        self._set({EXTERNAL: board.external_names, CUSTOM: board.custom_names}, self._more)

    def use_more(self, group: str, names: Iterable[str]) -> None:
        """Tell of metrics of a group that others answer, too."""
        self._set(self._names, {**self._more, group: tuple(names)})

    def find(self, path: str, accept: str) -> tuple[bytes, str]:
        """Return a document and its content type.

        Raises:
            RefusalError: There is none under this path (404).
        """
        if path == "/apis":
            for version, content_type in discovery.AGGREGATED.items():
                if _asks_for(accept, version):
                    return self._kept(version, self._aggregated(version)), content_type
        made = self._fixed.get(path)
        if made is not None:
            return made, _JSON
        for group in self._groups:
            if path == f"/apis/{group}/{VERSIONS[group]}":
                return self._kept(group, self._resource_list(group)), _JSON
        raise RefusalError(404, "the server could not find the requested resource")

    def _set(self, names: Mapping[str, Iterable[str]], more: Mapping[str, tuple[str, ...]]) -> None:
        told = {group: tuple(names.get(group, ())) for group in self._groups}
        if told != self._names or dict(more) != self._more:
            self._names, self._more, self._made = told, dict(more), {}

    def _all(self, group: str) -> list[str]:
        return sorted({*self._names[group], *self._more.get(group, ())})

    def _kept(self, name: str, make: Callable[[], bytes]) -> bytes:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = make()
        return made

    def _aggregated(self, version: str) -> Callable[[], bytes]:
        return lambda: discovery.aggregated(
            version, {group: self._all(group) for group in self._groups}
        )

    def _resource_list(self, group: str) -> Callable[[], bytes]:
        return lambda: discovery.resource_list(group, self._all(group))

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
