"""Reads a request's path: which resource, which object, which subresource."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.fakes.kubernetes.resources import Resource
from tests.fakes.kubernetes.status import no_such_path, not_found


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names. Empty parts are absent."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


class Catalogue:
    """The known resources, by group, version and plural name."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._known: dict[tuple[str, str, str], Resource] = {}
        self._kinds: dict[tuple[str, str], Resource] = {}
        for resource in resources:
            self.add(resource)

    def add(self, resource: Resource) -> None:
        """Make a resource known, or replace it."""
        self._known[resource.group, resource.version, resource.plural] = resource
        self._kinds[resource.api_version, resource.kind] = resource

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._known.values())

    def kind(self, obj: Mapping[str, object]) -> Resource:
        """Return the resource of an object by its apiVersion and kind."""
        return self._kinds[str(obj["apiVersion"]), str(obj["kind"])]

    def target(self, path: str) -> Target:
        """Return what a path names.

        Raises:
            ApiError: 404, nothing that is known.
        """
        match path.strip("/").split("/"):
            case ["api", version, *rest]:
                group = ""
            case ["apis", group, version, *rest]:
                pass
            case _:
                raise no_such_path()
        namespace = ""
        match rest:
            case ["namespaces", namespace, plural, *more] if plural not in {"status", "finalize"}:
                pass
            case [plural, *more]:
                pass
            case _:
                raise no_such_path()
        resource = self._known.get((group, version, plural))
        if resource is None or len(more) > 2 or bool(namespace) > resource.namespaced:
            raise no_such_path()
        name, subresource = (*more, "", "")[:2]
        if name and resource.namespaced and not namespace:
            raise no_such_path()
        if subresource and subresource not in resource.subresources:
            if resource.custom and subresource in {"scale", "status"}:
                raise not_found(resource.group, resource.plural, name)
            raise no_such_path()
        return Target(resource, namespace, name, subresource)
