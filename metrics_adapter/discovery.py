"""What there is, as kube-apiserver asks for it: resource lists, aggregated discovery.

Documents with the names of metrics are made in small steps: there may be thousands of names.
"""

from collections.abc import Generator, Iterable, Sequence
from itertools import groupby
from typing import Any, Final

import orjson

from metrics_adapter.targets import EXTERNAL, VERSIONS

EXTERNAL_KIND: Final = "ExternalMetricValueList"
CUSTOM_KIND: Final = "MetricValueList"
AGGREGATED: Final = {
    version: f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    for version in ("v2", "v2beta1")
}
_NO_GROUP: Final = {"group": "", "version": ""}

Document = dict[str, Any]


Steps = Generator[None, None, bytes]
"""Small steps of work that end with a document, or a part of one."""


def list_kind(group: str) -> str:
    """Return the kind of the group's answers."""
    return EXTERNAL_KIND if group == EXTERNAL else CUSTOM_KIND


def resource_list(group: str, names: Iterable[str]) -> Steps:
    """Return the `APIResourceList` of a group; `names` as the group writes them."""
    listed = bytearray()
    for name in names:
        resource = {
            "name": name,
            "singularName": "",
            "namespaced": True,
            "kind": list_kind(group),
            "verbs": ["get"],
        }
        listed += b"," * bool(listed) + orjson.dumps(resource)
        yield
    head = {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{VERSIONS[group]}",
    }
    return orjson.dumps(head)[:-1] + b',"resources":[' + listed + b"]}"


def api_group(group: str) -> Document:
    """Return the `APIGroup` of a group, as part of a list."""
    version = {"groupVersion": f"{group}/{VERSIONS[group]}", "version": VERSIONS[group]}
    return {"name": group, "versions": [version], "preferredVersion": version}


def group_document(group: str) -> bytes:
    """Return the answer to `/apis/GROUP`."""
    return orjson.dumps({"kind": "APIGroup", "apiVersion": "v1", **api_group(group)})


def group_list(groups: Iterable[str]) -> bytes:
    """Return the answer to `/apis` for who does not know aggregated discovery."""
    listed = [api_group(group) for group in groups]
    return orjson.dumps({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})


def aggregated(version: str, groups: Iterable[bytes]) -> bytes:
    """Return the `APIGroupDiscoveryList` of groups, each as `aggregated_group` makes it."""
    head = {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
    }
    return orjson.dumps(head)[:-1] + b',"items":[' + b",".join(groups) + b"]}"


def aggregated_group(group: str, names: Sequence[str]) -> Steps:
    """Return the `APIGroupDiscovery` of a group with all its names, which are sorted."""
    resources = bytearray()
    making = _external(names) if group == EXTERNAL else _custom(names)
    for one in making:
        resources += one
        yield
    metadata = orjson.dumps({"name": group, "creationTimestamp": None})
    version = orjson.dumps({"version": VERSIONS[group], "freshness": "Current"})
    return (
        b'{"metadata":' + metadata + b',"versions":[' + version[:-1]
        + b',"resources":[' + resources + b"]}]}"
    )  # fmt: skip


def _external(names: Iterable[str]) -> Iterable[bytes]:
    for place, name in enumerate(names):
        yield b"," * bool(place) + orjson.dumps(
            {
                "resource": name,
                "scope": "Namespaced",
                "singularResource": "",
                "responseKind": {**_NO_GROUP, "kind": EXTERNAL_KIND},
                "verbs": ["get"],
            }
        )


def _custom(names: Iterable[str]) -> Iterable[bytes]:
    """Yield resources, each in parts; their metrics are subresources."""
    for place, (resource, of_it) in enumerate(groupby(names, lambda name: name.partition("/")[0])):
        parent = {
            "resource": resource,
            "scope": "Namespaced",
            "singularResource": "",
            "responseKind": {**_NO_GROUP, "kind": ""},
            "verbs": [],
        }
        yield b"," * bool(place) + orjson.dumps(parent)[:-1] + b',"subresources":['
        for number, name in enumerate(of_it):
            yield b"," * bool(number) + orjson.dumps(
                {
                    "subresource": name.partition("/")[2],
                    "responseKind": {**_NO_GROUP, "kind": CUSTOM_KIND},
                    "verbs": ["get"],
                }
            )
        yield b"]}"
