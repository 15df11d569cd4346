"""The verbs: what a read, a create, an update, a patch or a delete does to the store."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from tests.fakes.kubernetes import admission, ownership, patches, scale, status, times, writes
from tests.fakes.kubernetes.address import Catalogue, Target
from tests.fakes.kubernetes.resources import Resource
from tests.fakes.kubernetes.status import ApiError
from tests.fakes.kubernetes.store import Store, Stored
from tests.fakes.kubernetes.writes import Keeper, Writer, as_seen, kept

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


class Api:
    """The verbs over one store. `clock` gives Unix seconds for what the server stamps."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Callable[[], float]) -> None:
        self.store = store
        self.catalogue = catalogue
        self.clock = clock
        self._keeper = Keeper(store, clock)
        for name in NAMESPACES:
            self.namespace(name)

    def namespace(self, name: str) -> None:
        """Make a namespace if it is not there."""
        key = ("", "namespaces")
        if self.store.get(key, ("", name)) is None:
            meta = self._keeper.stamped(
                {"name": name, "labels": {"kubernetes.io/metadata.name": name}}
            )
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
        obj = admission.admitted(target, given)
        name = obj["metadata"]["name"]
        with self.store.lock:
            if target.namespace and self.store.get(("", "namespaces"), ("", target.namespace)) is (
                None
            ):
                raise status.not_found("", "namespaces", target.namespace)
            key = (target.namespace, name)
            if self.store.get(kept(target.resource), key) is not None:
                raise status.already_exists(target.resource.group, target.resource.plural, name)
            admission.without_status(target.resource, obj)
            return self._keeper.keep(target, key, {}, obj, writer)

    def replace(self, target: Target, given: Mapping[str, Any], writer: Writer) -> dict[str, Any]:
        """Write the whole object (or its status, or its scale).

        Raises:
            ApiError: 400, 404, 409 (an old resourceVersion), 422.
        """
        with self.store.lock:
            live = self._stored(target).obj
            if target.subresource == "scale":
                return self._scale(target, live, given, writer)
            obj = admission.admitted(target, given)
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
                made = change(scale.read(target.resource, live, strict=False))
            else:
                made = change(as_seen(target.resource, live))
            try:
                if target.subresource == "scale":
                    return self._scale(target, live, made, writer)
                return self._changed(target, live, admission.admitted(target, made), writer)
            except status.UnreadableError as error:
                raise error.in_patch(orjson.dumps(made).decode()) from error

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
            through = None
            if target.subresource == "scale":
                through = "autoscaling/v1"
                given = self._as_object(target, live, given)
            writes.conditional(target, live, given)
            config = {**given, "metadata": dict(given.get("metadata") or {})}
            config["metadata"].pop("resourceVersion", None)
            owners = ownership.Owners(live.get("metadata", {}).get("managedFields", ()))
            conflicts = owners.conflicts(live, config, by=writer.manager, through=through)
            if conflicts and not writer.force:
                raise ownership.refuse(conflicts)
            if through and target.resource.custom:
                raise ApiError(
                    500,
                    f"failed to convert new object ({target.namespace}/{target.name}; "
                    "autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an "
                    "invalid group/version: autoscaling/v1",
                )
            dropped = owners.applied(
                live,
                config,
                by=writer.manager,
                subresource=target.subresource,
                api_version=target.resource.api_version,
                time=None if through else times.seconds(self.clock()),
            )
            merged = orjson.loads(orjson.dumps(patches.merge(live, config, strategic=True)))
            ownership.remove(merged, dropped)
            obj = admission.admitted(target, merged)
            if found is None:
                admission.without_status(target.resource, obj)
            elif target.subresource != "scale":
                obj = writes.within(target, live, obj)
            return self._keeper.keep(target, target.key, live, obj, writer, owners)

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
                    resource = target.resource
                    raise status.conflict(resource.group, resource.kind, target.name)
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
            obj = admission.admitted(target, given)
            found = self.store.get(kept(resource), target.key)
            live = found.obj if found else {}
            obj["metadata"].pop("resourceVersion", None)
            fields = obj["metadata"].pop("managedFields", None)
            owners = ownership.Owners(fields) if fields is not None else None
            return self._keeper.keep(target, target.key, live, obj, Writer(manager), owners)

    # --- how an object is written ---------------------------------------------------------

    def _stored(self, target: Target) -> Stored:
        found = self.store.get(kept(target.resource), target.key)
        if found is None:
            raise self._missing(target)
        return found

    def _missing(self, target: Target) -> ApiError:
        return status.not_found(target.resource.group, target.resource.plural, target.name)

    def _changed(
        self, target: Target, live: Mapping[str, Any], obj: dict[str, Any], writer: Writer
    ) -> dict[str, Any]:
        writes.conditional(target, live, obj)
        return self._keeper.keep(target, target.key, live, writes.within(target, live, obj), writer)

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
        writes.conditional(target, live, given)
        return self._keeper.keep(target, target.key, live, obj, writer)

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


def _grace(resource: Resource, obj: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """Return for how many seconds a pod on a node may go on."""
    if resource.kind != "Pod" or not obj.get("spec", {}).get("nodeName"):
        return 0
    asked = options.get("gracePeriodSeconds")
    return int(asked if asked is not None else obj["spec"].get("terminationGracePeriodSeconds", 30))
