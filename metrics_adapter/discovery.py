"""What there is, as kube-apiserver asks for it: resource lists, aggregated discovery."""

from collections.abc import Iterable, Mapping
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


def resource_list(group: str, names: Iterable[str]) -> bytes:
    """Return the `APIResourceList` of a group; `names` as the group writes them."""
    return orjson.dumps(
        {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{VERSIONS[group]}",
            "resources": [
                {
                    "name": name,
                    "singularName": "",
                    "namespaced": True,
                    "kind": EXTERNAL_KIND if group == EXTERNAL else CUSTOM_KIND,
                    "verbs": ["get"],
                }
                for name in names
            ],
        }
    )


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


def aggregated(version: str, names: Mapping[str, Iterable[str]]) -> bytes:
    """Return the `APIGroupDiscoveryList` with every group's names."""
    return orjson.dumps(
        {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": [
                {
                    "metadata": {"name": group, "creationTimestamp": None},
                    "versions": [
                        {
                            "version": VERSIONS[group],
                            "freshness": "Current",
                            "resources": _resources(group, names[group]),
                        }
                    ],
                }
                for group in names
            ],
        }
    )


def _resources(group: str, names: Iterable[str]) -> list[Document]:
    if group == EXTERNAL:
        return [
            {
                "resource": name,
                "scope": "Namespaced",
                "singularResource": "",
                "responseKind": {**_NO_GROUP, "kind": EXTERNAL_KIND},
                "verbs": ["get"],
            }
            for name in names
        ]
    parents: dict[str, Document] = {}
    for name in names:
        resource, _, metric = name.partition("/")
        parent = parents.setdefault(
            resource,
            {
                "resource": resource,
                "scope": "Namespaced",
                "singularResource": "",
                "responseKind": {**_NO_GROUP, "kind": ""},
                "verbs": [],
                "subresources": [],
            },
        )
        parent["subresources"].append(
            {
                "subresource": metric,
                "responseKind": {**_NO_GROUP, "kind": CUSTOM_KIND},
                "verbs": ["get"],
            }
        )
    return list(parents.values())
