"""Autoscalers of others: HorizontalPodAutoscalers and KEDA's ScaledObjects, by their target."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from autoscaler.adapters.kubernetes.managed_fields import Json, mapping
from autoscaler.adapters.kubernetes.requests import KubernetesError, Query

HPA: Final = "HorizontalPodAutoscaler"
SCALED_OBJECT: Final = "ScaledObject"
COLLECTIONS: Final = {
    HPA: ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    SCALED_OBJECT: ("/apis/keda.sh/v1alpha1", "scaledobjects"),
}
"""Where each kind is listed."""

_PAGE: Final = 500


class Asks(Protocol):
    """Asks the API server; `Connection` does."""

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Any = None,
        content_type: str = "application/json",
        deadline_seconds: float | None = None,
        retry: bool = True,
    ) -> Any:
        """Return the answer's JSON, or raise KubernetesError."""
        ...


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that is scaled.

    Attributes:
        api_version: Group and version; empty where it is not told.
        kind: Such as Deployment.
        namespace: Where it lies; empty for one that lies in none.
        name: Its name.
    """

    api_version: str
    kind: str
    namespace: str
    name: str

    @property
    def group(self) -> str:
        """Its API group: versions of one group name the same objects."""
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {where}"


@dataclass(frozen=True, slots=True)
class Scaler:
    """One autoscaler of others.

    Attributes:
        kind: HorizontalPodAutoscaler or ScaledObject.
        name: Its name.
        target: What it scales.
        made_by: The ScaledObject that made this HorizontalPodAutoscaler; empty for others.
    """

    kind: str
    name: str
    target: Reference
    made_by: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.target.namespace}/{self.name}"


def scaler_of(kind: str, item: Json) -> Scaler | None:
    """Return what an HPA or ScaledObject scales; None where it names no target."""
    metadata, spec = mapping(item.get("metadata")), mapping(item.get("spec"))
    target = mapping(spec.get("scaleTargetRef"))
    if not target.get("name"):
        return None
    keda = kind == SCALED_OBJECT  # its target is a Deployment unless it says otherwise
    reference = Reference(
        api_version=str(target.get("apiVersion") or ("apps/v1" if keda else "")),
        kind=str(target.get("kind") or ("Deployment" if keda else "")),
        namespace=str(metadata.get("namespace") or ""),
        name=str(target["name"]),
    )
    owners = metadata.get("ownerReferences")
    made_by = next(
        (
            str(owner.get("name"))
            for owner in (owners if isinstance(owners, Sequence) else ())
            if mapping(owner).get("kind") == SCALED_OBJECT
        ),
        "",
    )
    return Scaler(kind, str(metadata.get("name") or ""), reference, made_by)


@dataclass(frozen=True, slots=True)
class Scalers:
    """All that were found at one time.

    Attributes:
        found: In the order of the lists.
        read_at: When they were listed, Unix seconds.
        unseen: Why a kind could not be listed, by kind; it passes, and nothing is known of it.
        forbidden: Kinds that we may not list at all.
    """

    found: tuple[Scaler, ...] = ()
    read_at: float = 0.0
    unseen: Mapping[str, str] = field(default_factory=dict)
    forbidden: frozenset[str] = frozenset()
    _by_name: Mapping[tuple[str, str, str], tuple[Scaler, ...]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        """Index them by target: each of thousands of workloads asks every cycle."""
        by_name: dict[tuple[str, str, str], tuple[Scaler, ...]] = {}
        for one in self.found:
            key = (one.target.namespace, one.target.kind, one.target.name)
            by_name[key] = (*by_name.get(key, ()), one)
        object.__setattr__(self, "_by_name", by_name)

    def of(self, target: Reference) -> tuple[Scaler, ...]:
        """Return who scales a target; a ScaledObject stands for the HPA that it made."""
        found = [
            one
            for one in self._by_name.get((target.namespace, target.kind, target.name), ())
            if not one.target.api_version or one.target.group == target.group
        ]
        objects = {one.name for one in found if one.kind == SCALED_OBJECT}
        return tuple(one for one in found if one.made_by not in objects)


class ScalerReader:
    """Lists the autoscalers of others, now and then, and remembers what it saw."""

    def __init__(
        self,
        asks: Asks,
        namespaces: Iterable[str] | None,
        *,
        say: Callable[[str], None],
        every_seconds: float = 60.0,
        deadline_seconds: float = 5.0,
    ) -> None:
        """Look in some namespaces.

        Args:
            asks: The connection.
            namespaces: Where to look; None: everywhere in one list.
            say: Is told once what a person should know.
            every_seconds: How old an answer may be before it is asked for again.
            deadline_seconds: For one page of one list.
        """
        self._asks = asks
        self._places = None if namespaces is None else tuple(sorted(set(namespaces)))
        self._say = say
        self._every = every_seconds
        self._deadline = deadline_seconds
        self._last: dict[str, tuple[Scaler, ...]] = {}
        self._said: set[str] = set()
        self._scalers: Scalers | None = None

    def read(self, now: float) -> Scalers:
        """Return what is there; an answer that failed leaves what was known before.

        Args:
            now: Unix seconds.
        """
        last = self._scalers
        if last is not None and not last.unseen and 0 <= now - last.read_at < self._every:
            return last
        unseen: dict[str, str] = {}
        forbidden: set[str] = set()
        for kind in COLLECTIONS:
            if unseen:  # the other lists would keep the cycle waiting for as long
                unseen[kind] = next(iter(unseen.values()))
                continue
            try:
                self._last[kind] = self._listed(kind)
            except KubernetesError as error:
                if error.status == 403:
                    forbidden.add(kind)
                    self._last.pop(kind, None)
                    self._once(f"{error}; until then nobody notices a {kind} on a target")
                else:
                    unseen[kind] = str(error)
        found = tuple(one for kind in COLLECTIONS for one in self._last.get(kind, ()))
        # What was known before still counts; a kind never listed is unknown.
        unknown = {kind: why for kind, why in unseen.items() if kind not in self._last}
        read_at = now if not unseen else (last.read_at if last is not None else 0.0)
        scalers = Scalers(found, read_at, unknown, frozenset(forbidden))
        self._scalers = scalers
        return scalers

    def _listed(self, kind: str) -> tuple[Scaler, ...]:
        root, plural = COLLECTIONS[kind]
        if self._places is None:
            return self._pages(kind, f"{root}/{plural}")
        return tuple(
            one
            for place in self._places
            for one in self._pages(kind, f"{root}/namespaces/{place}/{plural}")
        )

    def _pages(self, kind: str, path: str) -> tuple[Scaler, ...]:
        found: list[Scaler] = []
        more = ""
        while True:
            query: Query = (("limit", str(_PAGE)), *((("continue", more),) if more else ()))
            try:
                answer = mapping(  # what failed is asked for again in the next cycle
                    self._asks.ask(
                        "GET", path, query=query, deadline_seconds=self._deadline, retry=False
                    )
                )
            except KubernetesError as error:
                if error.status == 404:  # the cluster has no such kind: nobody uses it
                    return ()
                raise
            items = answer.get("items")
            for item in items if isinstance(items, Sequence) else ():
                one = scaler_of(kind, mapping(item))
                if one is not None:
                    found.append(one)
            more = str(mapping(answer.get("metadata")).get("continue") or "")
            if not more:
                return tuple(found)

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)
