"""Autoscalers of others: HorizontalPodAutoscalers and KEDA's ScaledObjects, by their target."""

import time
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
    """All that were found in a namespace.

    Attributes:
        found: In the order of the lists.
        read_at: When they were listed, Unix seconds.
        unseen: Why a kind has never been listed there, by kind; it passes, and nothing is known
            of it.
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

    def confirms(self, earlier: "Scalers") -> bool:
        """Whether this shows what an earlier look has shown."""
        return self is earlier or (
            self.read_at >= earlier.read_at
            and (self.found, self.unseen, self.forbidden)
            == (earlier.found, earlier.unseen, earlier.forbidden)
        )

    def of(self, target: Reference) -> tuple[Scaler, ...]:
        """Return who scales a target; a ScaledObject stands for the HPA that it made."""
        found = [
            one
            for one in self._by_name.get((target.namespace, target.kind, target.name), ())
            if not one.target.api_version or one.target.group == target.group
        ]
        objects = {one.name for one in found if one.kind == SCALED_OBJECT}
        return tuple(one for one in found if one.made_by not in objects)


@dataclass(frozen=True, slots=True)
class _Listed:
    """What one list showed, by namespace, and when (Unix seconds)."""

    at: float
    found: Mapping[str, Sequence[Scaler]]


_EVERYWHERE: Final = ""
"""The place of a list over all namespaces; any other place is a namespace."""


class ScalerReader:
    """Lists the autoscalers of others, now and then, and remembers what it saw.

    For one thread that reads and one that says where.
    """

    def __init__(
        self,
        asks: Asks,
        namespaces: Iterable[str] | None,
        *,
        say: Callable[[str], None],
        every_seconds: float = 60.0,
        deadline_seconds: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look in some namespaces.

        Args:
            asks: The connection.
            namespaces: As `use`.
            say: Is told once what a person should know.
            every_seconds: How old an answer may be before it is asked for again.
            deadline_seconds: For all lists of one cycle together.
            monotonic: Measures that.
        """
        self._asks = asks
        self._say = say
        self._every = every_seconds
        self._deadline = deadline_seconds
        self._monotonic = monotonic
        self._places: tuple[str, ...] = ()
        self._looked: tuple[str, ...] | None = None  # the places of the last look
        self._looked_at = 0.0
        self._trouble = ""
        self._lists: dict[tuple[str, str], _Listed] = {}
        self._forbidden: set[tuple[str, str]] = set()
        self._views: dict[str, Scalers] = {}
        self._said: set[str] = set()
        self.use(namespaces)

    def use(self, namespaces: Iterable[str] | None) -> None:
        """Look in these namespaces from now on; None: everywhere in one list."""
        self._places = (_EVERYWHERE,) if namespaces is None else tuple(sorted(set(namespaces)))

    def read(self, namespace: str, now: float) -> Scalers:
        """Return what is there; an answer that failed leaves what was known before.

        A whole fleet waits for the lists: they are asked for once at each `now`, whatever becomes
        of it.

        Args:
            namespace: Where.
            now: Unix seconds.
        """
        places = self._places
        if self._is_due(places, now):
            self._look(places, now)
        view = self._views.get(namespace)
        if view is None:
            wide = places == (_EVERYWHERE,)
            view = self._view(namespace, _EVERYWHERE if wide else namespace)
            self._views[namespace] = view
        return view

    def _is_due(self, places: tuple[str, ...], now: float) -> bool:
        if self._looked != places:
            return True
        if self._looked_at == now:
            return False
        return bool(self._trouble) or not 0 <= now - self._looked_at < self._every

    def _look(self, places: tuple[str, ...], now: float) -> None:
        self._looked, self._looked_at, self._trouble = places, now, ""
        self._views.clear()
        end = self._monotonic() + self._deadline
        for key in ((kind, place) for kind in COLLECTIONS for place in places):
            try:
                self._lists[key] = _Listed(now, self._listed(*key, end))
                self._forbidden.discard(key)
            except KubernetesError as error:
                if error.status != 403:
                    self._trouble = str(error)
                    return  # the other lists would keep the cycle waiting for as long
                self._forbidden.add(key)
                self._lists.pop(key, None)
                self._once(f"{error}; until then nobody notices a {key[0]} on a target")
        # All that stands elsewhere is known from here by now.
        self._lists = {key: one for key, one in self._lists.items() if key[1] in places}
        self._forbidden = {key for key in self._forbidden if key[1] in places}

    def _view(self, namespace: str, place: str) -> Scalers:
        """Return what is known of a namespace that is listed at `place`."""
        found: list[Scaler] = []
        unseen: dict[str, str] = {}
        forbidden: set[str] = set()
        read_at = self._looked_at
        for kind in COLLECTIONS:
            # Right after a change of places, the list from before it may be all there is.
            places = (place, namespace, _EVERYWHERE)
            listed = next(filter(None, (self._lists.get((kind, one)) for one in places)), None)
            if (kind, place) in self._forbidden:
                forbidden.add(kind)
            elif listed is None:
                unseen[kind] = self._trouble or "it has not been asked yet"
            else:
                found += listed.found.get(namespace, ())
                read_at = min(read_at, listed.at)
        return Scalers(tuple(found), 0.0 if unseen else read_at, unseen, frozenset(forbidden))

    def _listed(self, kind: str, place: str, end: float) -> Mapping[str, Sequence[Scaler]]:
        root, plural = COLLECTIONS[kind]
        path = f"{root}/namespaces/{place}/{plural}" if place else f"{root}/{plural}"
        found: dict[str, list[Scaler]] = {}
        more = ""
        while True:
            query: Query = (("limit", str(_PAGE)), *((("continue", more),) if more else ()))
            left = end - self._monotonic()
            try:
                answer = mapping(  # what failed is asked for again in the next cycle
                    self._asks.ask("GET", path, query=query, deadline_seconds=left, retry=False)
                )
            except KubernetesError as error:
                if error.status == 404:  # the cluster has no such kind: nobody uses it
                    return {}
                raise
            items = answer.get("items")
            for item in items if isinstance(items, Sequence) else ():
                one = scaler_of(kind, mapping(item))
                if one is not None:
                    found.setdefault(one.target.namespace, []).append(one)
            more = str(mapping(answer.get("metadata")).get("continue") or "")
            if not more:
                return found

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)
