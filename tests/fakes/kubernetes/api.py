"""The verbs: what a read, a create, an update, a patch or a delete does to the store."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tests.fakes.kubernetes import event_forms, ownership, patches, scale, status, times, validation
from tests.fakes.kubernetes.address import Catalogue, Target
from tests.fakes.kubernetes.resources import Resource
from tests.fakes.kubernetes.status import ApiError
from tests.fakes.kubernetes.store import Kept, Key, Store, Stored

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


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


class Api:
    """The verbs over one store. `clock` gives Unix seconds for what the server stamps."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Callable[[], float]) -> None:
        self.store = store
        self.catalogue = catalogue
        self.clock = clock
        for name in NAMESPACES:
            self.namespace(name)

    def namespace(self, name: str) -> None:
        """Make a namespace if it is not there."""
        key = ("", "namespaces")
        if self.store.get(key, ("", name)) is None:
            meta = self._stamped({"name": name, "labels": {"kubernetes.io/metadata.name": name}})
            phase = {"phase": "Active"}
            self.store.put(
                key,
                ("", name),
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": meta,
                    "spec": {"finalizers": ["kubernetes"]},
                    "status": phase,
                },
            )

    def has(self, target: Target) -> bool:
        """Tell whether the object is there."""
        return self.store.get(kept(target.resource), target.key) is not None

    def get(self, target: Target) -> dict[str, Any]:
        """Return an object, or its scale.

        Raises:
            ApiError: 404.
        """
        obj = self._stored(target).obj
        if target.subresource == "scale":
            return scale.read(target.resource, obj)
        return as_seen(target.resource, obj)

    def create(self, target: Target, given: Mapping[str, Any], writer: Writer) -> dict[str, Any]:
        """Keep a new object.

        Raises:
            ApiError: 400, 404 (namespace), 409 (there already), 422.
        """
        obj = self._admitted(target, given)
        name = obj["metadata"]["name"]
        with self.store.lock:
            if target.namespace and self.store.get(("", "namespaces"), ("", target.namespace)) is (
                None
            ):
                raise status.not_found("", "namespaces", target.namespace)
            key = (target.namespace, name)
            if self.store.get(kept(target.resource), key) is not None:
                raise status.already_exists(target.resource.group, target.resource.plural, name)
            self._without_status(target.resource, obj)
            return self._keep(target, key, {}, obj, writer)

    def replace(self, target: Target, given: Mapping[str, Any], writer: Writer) -> dict[str, Any]:
        """Write the whole object (or its status, or its scale).

        Raises:
            ApiError: 400, 404, 409 (an old resourceVersion), 422.
        """
        with self.store.lock:
            live = self._stored(target).obj
            if target.subresource == "scale":
                return self._scale(target, live, given, writer)
            obj = self._admitted(target, given)
            if target.resource.update_needs_version and not obj["metadata"].get("resourceVersion"):
                cause = (
                    "metadata.resourceVersion",
                    "FieldValueInvalid",
                    "Invalid value: 0: must be specified for an update",
                )
                resource = target.resource
                raise status.invalid(resource.group, resource.plural, target.name, cause)
            return self._changed(target, live, obj, writer)

    def patch(
        self, target: Target, change: Callable[[dict[str, Any]], Any], writer: Writer
    ) -> dict[str, Any]:
        """Write what `change` makes of the object (or of its scale).

        Raises:
            ApiError: 404, 409 (a resourceVersion that is not the present one), 422.
        """
        with self.store.lock:
            live = self._stored(target).obj
            if target.subresource == "scale":
                shown = scale.read(target.resource, live, strict=False)
                return self._scale(target, live, change(shown), writer)
            return self._changed(
                target, live, self._admitted(target, change(as_seen(target.resource, live))), writer
            )

    def apply(self, target: Target, given: Mapping[str, Any], writer: Writer) -> dict[str, Any]:
        """Server-side apply.

        Raises:
            ApiError: 409 (fields of other managers, without force), 422.
        """
        with self.store.lock:
            found = self.store.get(kept(target.resource), target.key)
            if found is None and target.subresource:
                raise self._missing(target)
            live = dict(found.obj) if found else {}
            if target.subresource == "scale":
                given = self._as_object(target, live, given)
            self._conditional(target, live, given)
            config = {**given, "metadata": dict(given.get("metadata") or {})}
            config["metadata"].pop("resourceVersion", None)
            owners = ownership.Owners(live.get("metadata", {}).get("managedFields", ()))
            conflicts = owners.conflicts(live, config, by=writer.manager)
            if conflicts and not writer.force:
                raise ownership.refuse(conflicts)
            dropped = owners.applied(
                live,
                config,
                by=writer.manager,
                subresource=target.subresource,
                api_version=target.resource.api_version,
                time=times.seconds(self.clock()),
            )
            merged = orjson.loads(orjson.dumps(patches.merge(live, config, strategic=True)))
            ownership.remove(merged, dropped)
            obj = self._admitted(target, merged)
            if found is None:
                self._without_status(target.resource, obj)
            elif target.subresource != "scale":
                obj = self._within(target, live, obj)
            return self._keep(target, target.key, live, obj, writer, owners)

    def delete(self, target: Target, options: Mapping[str, Any], *, dry: bool) -> dict[str, Any]:
        """Remove an object; with finalizers, or a running pod, only mark it first.

        Raises:
            ApiError: 404, 409 (a precondition does not hold).
        """
        with self.store.lock:
            obj = self._stored(target).obj
            meta = obj["metadata"]
            for name, value in (options.get("preconditions") or {}).items():
                if meta.get(name) != value:
                    raise status.conflict(
                        target.resource.group, target.resource.plural, target.name
                    )
            if dry:
                return dict(obj)
            grace = _grace(target.resource, obj, options)
            if not meta.get("finalizers") and not grace:
                self.store.remove(kept(target.resource), target.key)
                return self._deleted(target, obj)
            if "deletionTimestamp" not in meta or meta.get("deletionGracePeriodSeconds", 0) > grace:
                marked = {
                    **meta,
                    "deletionTimestamp": times.seconds(self.clock() + grace),
                    "deletionGracePeriodSeconds": grace,
                }
                return dict(
                    self.store.put(
                        kept(target.resource), target.key, {**obj, "metadata": marked}
                    ).obj
                )
            return dict(obj)

    def seed(self, given: Mapping[str, Any], manager: str) -> dict[str, Any]:
        """Put an object there as it is, status included; make its namespace."""
        resource = self.catalogue.kind(given)
        meta = given["metadata"]
        namespace = (meta.get("namespace") or "default") if resource.namespaced else ""
        target = Target(resource, namespace, meta["name"])
        with self.store.lock:
            if namespace:
                self.namespace(namespace)
            obj = self._admitted(target, given)
            found = self.store.get(kept(resource), target.key)
            live = found.obj if found else {}
            obj["metadata"].pop("resourceVersion", None)
            fields = obj["metadata"].pop("managedFields", None)
            owners = ownership.Owners(fields) if fields is not None else None
            return self._keep(target, target.key, live, obj, Writer(manager), owners)

    # --- how an object is written ---------------------------------------------------------

    def _stored(self, target: Target) -> Stored:
        found = self.store.get(kept(target.resource), target.key)
        if found is None:
            raise self._missing(target)
        return found

    def _missing(self, target: Target) -> ApiError:
        return status.not_found(target.resource.group, target.resource.plural, target.name)

    def _stamped(self, meta: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **meta,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": times.seconds(self.clock()),
        }

    def _admitted(self, target: Target, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a checked copy with names and defaults."""
        resource = target.resource
        obj: dict[str, Any] = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            **orjson.loads(orjson.dumps(given)),
        }
        if (obj["apiVersion"], obj["kind"]) != (resource.api_version, resource.kind):
            raise ApiError(
                400,
                f"the API version in the data ({obj['apiVersion']}) does not match the expected "
                f"API version ({resource.api_version})",
            )
        meta = obj["metadata"] = dict(obj.get("metadata") or {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = f"{meta['generateName']}{uuid.uuid4().hex[:5]}"
        name = meta.setdefault("name", target.name)
        if target.name and name != target.name:
            raise ApiError(
                400,
                f"the name of the object ({name}) does not match the name on the URL "
                f"({target.name})",
            )
        if not name:
            cause = (
                "metadata.name",
                "FieldValueRequired",
                "Required value: name or generateName is required",
            )
            raise status.invalid(resource.group, resource.kind, "", cause)
        if resource.namespaced:
            if meta.setdefault("namespace", target.namespace) != target.namespace:
                raise ApiError(
                    400,
                    "the namespace of the provided object does not match the namespace sent on "
                    "the request",
                )
        else:
            meta.pop("namespace", None)
        for path, value in resource.defaults.items():
            if scale.value_at(obj, path) is None:
                scale.set_at(obj, path, value)
        validation.check(resource, obj)
        return event_forms.kept(obj) if resource.plural == "events" else obj

    def _without_status(self, resource: Resource, obj: dict[str, Any]) -> None:
        if "status" in resource.subresources:
            obj.pop("status", None)
            if resource.kind == "Pod":
                obj["status"] = {"phase": "Pending"}
            elif not resource.custom:
                obj["status"] = {}

    def _conditional(
        self, target: Target, live: Mapping[str, Any], given: Mapping[str, Any]
    ) -> None:
        asked = (given.get("metadata") or {}).get("resourceVersion")
        if asked and asked != live.get("metadata", {}).get("resourceVersion"):
            raise status.conflict(target.resource.group, target.resource.plural, target.name)
        uid = (given.get("metadata") or {}).get("uid")
        if uid and live and uid != live["metadata"]["uid"]:
            raise status.conflict(target.resource.group, target.resource.plural, target.name)

    def _within(
        self, target: Target, live: Mapping[str, Any], obj: dict[str, Any]
    ) -> dict[str, Any]:
        """Keep to the half of the object that this path may change."""
        if target.subresource == "status":
            return {**live, "status": obj.get("status", {})}
        if "status" in target.resource.subresources:
            obj.pop("status", None)
            if "status" in live:
                obj["status"] = live["status"]
        return obj

    def _changed(
        self, target: Target, live: Mapping[str, Any], obj: dict[str, Any], writer: Writer
    ) -> dict[str, Any]:
        self._conditional(target, live, obj)
        return self._keep(target, target.key, live, self._within(target, live, obj), writer)

    def _as_object(
        self, target: Target, live: Mapping[str, Any], given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the apply of a Scale as an apply of the object."""
        wish = scale.write(target.resource, live, given)
        paths = target.resource.scale
        assert paths is not None
        said = (given.get("spec") or {}).get("replicas")
        config: dict[str, Any] = {
            "apiVersion": target.resource.api_version,
            "kind": target.resource.kind,
            "metadata": {"name": target.name, **(given.get("metadata") or {})},
        }
        if said is not None:
            scale.set_at(config, paths.spec, scale.value_at(wish, paths.spec))
        return config

    def _scale(
        self, target: Target, live: Mapping[str, Any], given: Mapping[str, Any], writer: Writer
    ) -> dict[str, Any]:
        obj = scale.write(target.resource, live, given)
        self._conditional(target, live, given)
        return self._keep(target, target.key, live, obj, writer)

    def _keep(
        self,
        target: Target,
        key: Key,
        live: Mapping[str, Any],
        obj: dict[str, Any],
        writer: Writer,
        owners: ownership.Owners | None = None,
    ) -> dict[str, Any]:
        resource = target.resource
        old = live.get("metadata") or {}
        meta = dict(obj["metadata"])
        if owners is None:
            owners = ownership.Owners(old.get("managedFields", ()))
            owners.written(
                live,
                obj,
                by=writer.manager,
                subresource=target.subresource,
                api_version=resource.api_version,
                time=times.seconds(self.clock()),
            )
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
            meta = self._stamped(meta)
        obj = {**obj, "metadata": meta}
        if resource.generation and _wish(obj) != _wish(live):
            meta["generation"] = old.get("generation", 0) + 1
        if old and _same(live, obj):
            obj = dict(live)
        elif not writer.dry:
            obj = dict(self.store.put(kept(resource), key, obj).obj)
            if (
                meta.get("deletionTimestamp")
                and not meta.get("finalizers")
                and (resource.kind != "Pod")
            ):
                self.store.remove(kept(resource), key)
        if target.subresource == "scale":
            return scale.read(resource, obj, strict=False)
        return as_seen(resource, obj)

    def _deleted(self, target: Target, obj: Mapping[str, Any]) -> dict[str, Any]:
        if target.resource.kind in {"Pod", "ServiceAccount"}:
            return dict(obj)
        details = {
            "name": target.name,
            "group": target.resource.group,
            "kind": target.resource.plural,
            "uid": obj["metadata"]["uid"],
        }
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {name: value for name, value in details.items() if value},
        }


def _wish(obj: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in obj.items() if name not in {"metadata", "status"}}


def _same(live: Mapping[str, Any], obj: Mapping[str, Any]) -> bool:
    def bare(one: Mapping[str, Any]) -> dict[str, Any]:
        meta = dict(one["metadata"])
        owned = [{**entry, "time": ""} for entry in meta.pop("managedFields", ())]
        return {**one, "metadata": {**meta, "managedFields": owned}}

    return bare(live) == bare(obj)


def _grace(resource: Resource, obj: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """Return for how many seconds a pod on a node may go on."""
    if resource.kind != "Pod" or not obj.get("spec", {}).get("nodeName"):
        return 0
    asked = options.get("gracePeriodSeconds")
    return int(asked if asked is not None else obj["spec"].get("terminationGracePeriodSeconds", 30))
