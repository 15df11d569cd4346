"""How an object is kept: its owners, its generation, its version."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.kubernetes import event_forms, ownership, scale, status, times
from tests.fakes.kubernetes.address import Target
from tests.fakes.kubernetes.resources import Resource
from tests.fakes.kubernetes.store import Kept, Key, Store


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, and how.

    Attributes:
        manager: The field manager.
        force: An apply takes fields from their owners.
        dry: Nothing is kept.
    """

    manager: str
    force: bool = False
    dry: bool = False


def kept(resource: Resource) -> Kept:
    """Return under which name a resource's objects are kept: both kinds of Event are one."""
    if resource.plural == "events":
        return "", "events"
    return resource.group, resource.plural


def as_seen(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return a kept object in the version that was asked for."""
    if resource.plural == "events":
        obj = event_forms.shown(obj, resource.api_version)
    if obj.get("apiVersion") == resource.api_version:
        return dict(obj)
    return {**obj, "apiVersion": resource.api_version}


def conditional(target: Target, live: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse a write that was meant for another version (409)."""
    asked = (given.get("metadata") or {}).get("resourceVersion")
    if asked and asked != live.get("metadata", {}).get("resourceVersion"):
        raise status.conflict(target.resource.group, target.resource.plural, target.name)
    uid = (given.get("metadata") or {}).get("uid")
    if uid and live and uid != live["metadata"]["uid"]:
        raise status.conflict(target.resource.group, target.resource.plural, target.name)


def within(target: Target, live: Mapping[str, Any], obj: dict[str, Any]) -> dict[str, Any]:
    """Keep to the half of the object that this path may change."""
    if target.subresource == "status":
        return {**live, "status": obj.get("status", {})}
    if "status" in target.resource.subresources:
        obj.pop("status", None)
        if "status" in live:
            obj["status"] = live["status"]
    return obj


class Keeper:
    """Keeps objects in a store. `clock` gives Unix seconds."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    def stamped(self, meta: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metadata of a new object."""
        return {
            **meta,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": times.seconds(self._clock()),
        }

    def keep(
        self,
        target: Target,
        key: Key,
        live: Mapping[str, Any],
        obj: dict[str, Any],
        writer: Writer,
        owners: ownership.Owners | None = None,
    ) -> dict[str, Any]:
        """Keep an object over what is there (`live`, empty if new) and return what is seen.

        A write that changes nothing takes no version.
        """
        resource = target.resource
        old = live.get("metadata") or {}
        meta = dict(obj["metadata"])
        owners = owners or self._owners(target, live, obj, writer)
        meta["managedFields"] = owners.entries()
        if old:
            for name in (
                "uid",
                "creationTimestamp",
                "resourceVersion",
                "generation",
                "deletionTimestamp",
                "deletionGracePeriodSeconds",
            ):
                if name in old:
                    meta[name] = old[name]
        else:
            meta = self.stamped(meta)
        obj = {**obj, "metadata": meta}
        if resource.generation and _counted(resource, obj) != _counted(resource, live):
            meta["generation"] = old.get("generation", 0) + 1
        if old and _same(live, obj):
            obj = dict(live)
        elif not writer.dry:
            obj = dict(self._store.put(kept(resource), key, obj).obj)
            if (
                meta.get("deletionTimestamp")
                and not meta.get("finalizers")
                and (resource.kind != "Pod")
            ):
                self._store.remove(kept(resource), key)
        if target.subresource == "scale":
            return scale.read(resource, obj, strict=False)
        return as_seen(resource, obj)

    def _owners(
        self, target: Target, live: Mapping[str, Any], obj: Mapping[str, Any], writer: Writer
    ) -> ownership.Owners:
        """Return who owns what after a plain write."""
        resource = target.resource
        owners = ownership.Owners((live.get("metadata") or {}).get("managedFields", ()))
        if target.subresource == "scale":
            owners.scaled(
                scale.owned(resource),
                changed=_wish(obj) != _wish(live),
                zero=not scale.wish_of(resource, obj),
                by=writer.manager,
                api_version=resource.api_version,
            )
        else:
            owners.written(
                live,
                obj,
                by=writer.manager,
                subresource=target.subresource,
                api_version=resource.api_version,
                time=times.seconds(self._clock()),
            )
        return owners


def _wish(obj: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in obj.items() if name not in {"metadata", "status"}}


def _counted(resource: Resource, obj: Mapping[str, Any]) -> Any:
    """Return what `metadata.generation` counts: of a Deployment, its annotations too."""
    if resource.kind != "Deployment":
        return _wish(obj)
    return _wish(obj), (obj.get("metadata") or {}).get("annotations") or {}


def _same(live: Mapping[str, Any], obj: Mapping[str, Any]) -> bool:
    def bare(one: Mapping[str, Any]) -> dict[str, Any]:
        meta = dict(one["metadata"])
        owned = [{**entry, "time": ""} for entry in meta.pop("managedFields", ())]
        return {**one, "metadata": {**meta, "managedFields": owned}}

    return bare(live) == bare(obj)
