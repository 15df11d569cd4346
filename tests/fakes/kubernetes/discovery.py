"""Discovery: which groups, versions and resources there are."""

from collections.abc import Iterable
from typing import Any

from tests.fakes.kubernetes.resources import Resource

VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.2", "platform": "linux/amd64"}


def answer(  # noqa: PLR0911
    path: str, resources: Iterable[Resource]
) -> dict[str, Any] | None:
    """Return what a discovery path shows; None if it is not one."""
    known = list(resources)
    match path.strip("/").split("/"):
        case ["version"]:
            return dict(VERSION)
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            groups = sorted({each.group for each in known if each.group})
            shown = [_group(name, known) for name in groups]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": shown}
        case ["apis", group] if any(each.group == group for each in known):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, known)}
        case ["api", version]:
            return _resources("", version, known)
        case ["apis", group, version]:
            return _resources(group, version, known)
        case _:
            return None


def _group(name: str, known: list[Resource]) -> dict[str, Any]:
    names = sorted({each.version for each in known if each.group == name})
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in names]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _resources(group: str, version: str, known: list[Resource]) -> dict[str, Any] | None:
    found = [each for each in known if (each.group, each.version) == (group, version)]
    if not found:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": found[0].api_version,
        "resources": [shown for each in found for shown in _resource(each)],
    }


def _resource(resource: Resource) -> Iterable[dict[str, Any]]:
    one = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": VERBS,
    }
    if resource.short:
        one["shortNames"] = list(resource.short)
    yield one
    for name in sorted(resource.subresources):
        shown: dict[str, Any] = {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": ["get", "patch", "update"],
        }
        if name == "scale":
            shown |= {"group": "autoscaling", "version": "v1", "kind": "Scale"}
        if name == "token":
            shown |= {
                "group": "authentication.k8s.io",
                "version": "v1",
                "kind": "TokenRequest",
                "verbs": ["create"],
            }
        yield shown
