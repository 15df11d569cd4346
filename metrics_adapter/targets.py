"""What a request asks for: its path, read strictly, and what RBAC calls that."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

EXTERNAL: Final = "external.metrics.k8s.io"
CUSTOM: Final = "custom.metrics.k8s.io"
VERSIONS: Final = {EXTERNAL: "v1beta1", CUSTOM: "v1beta2"}
LONGEST_SEGMENT: Final = 253
_SHORT: Final = 300
"""Longer paths are not remembered: memory stays small whatever is asked."""
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HEALTH: Final = frozenset({"/healthz", "/livez", "/readyz"})


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the API server's authorizer is asked about.

    Attributes:
        path: Of a request for no resource; empty for one.
        verb: get or list.
    """

    path: str = ""
    verb: str = "get"
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """A probe."""

    path: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Discovery:
    """A document about what there is: /apis, one group, one version, OpenAPI.

    Attributes:
        path: As it is written in the documents' table.
    """

    path: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class External:
    """Values of an external metric in a namespace."""

    namespace: str
    metric: str
    attributes: Attributes

    @property
    def segments(self) -> tuple[str, ...]:
        """Of the path, after group and version."""
        return "namespaces", self.namespace, self.metric


@dataclass(frozen=True, slots=True)
class Custom:
    """Values of a custom metric of objects in a namespace; `*` as name is all of them."""

    namespace: str
    resource: str
    name: str
    metric: str
    attributes: Attributes

    @property
    def segments(self) -> tuple[str, ...]:
        """Of the path, after group and version."""
        return "namespaces", self.namespace, self.resource, self.name, self.metric


@dataclass(frozen=True, slots=True)
class Unscaled:
    """Custom metrics of what no workload scales: of a namespace, of objects without a namespace.

    An adapter behind us may have them.
    """

    segments: tuple[str, ...]
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing that is served here."""

    attributes: Attributes


Asked = Health | Discovery | External | Custom | Unscaled | Unknown


def read_path(raw: str) -> Asked | None:
    """Read the path of a request target, without its query; None where it is malformed.

    Segments are split before they are decoded, so that no escape makes a separator; empty ones,
    dots, and what is no printable text are refused.
    """
    return _remembered(raw) if len(raw) <= _SHORT else _read(raw)


def _read(raw: str) -> Asked | None:
    if not raw.startswith("/") or not raw.isascii() or _ESCAPE.search(raw):
        return None
    if raw in _HEALTH:
        return Health(raw, Attributes(path=raw))
    segments = []
    for escaped in raw[1:].removesuffix("/").split("/"):
        segment = _decoded(escaped)
        if segment is None:
            return None
        segments.append(segment)
    return _asked(segments)


_remembered = lru_cache(maxsize=16384)(_read)
"""The same paths are asked for again and again."""


def _decoded(escaped: str) -> str | None:
    try:
        segment = unquote_to_bytes(escaped).decode()
    except UnicodeDecodeError:
        return None
    if not segment or len(segment) > LONGEST_SEGMENT or segment in (".", ".."):
        return None
    if "/" in segment or "\\" in segment or "%" in segment or not segment.isprintable():
        return None
    return segment


def _asked(segments: list[str]) -> Asked:
    path = "/" + "/".join(segments)
    nothing = Attributes(path=path)
    match segments:
        case ["apis"] | ["openapi", "v2"] | ["openapi", "v3"]:
            return Discovery(path, nothing)
        case ["apis", group] | ["openapi", "v3", "apis", group] if group in VERSIONS:
            return Discovery(path, nothing)
        case ["apis", group, version] | ["openapi", "v3", "apis", group, version] if (
            VERSIONS.get(group) == version
        ):
            return Discovery(path, nothing)
        case ["apis", "external.metrics.k8s.io", "v1beta1", "namespaces", namespace, metric]:
            return External(
                namespace,
                metric,
                Attributes("", "list", EXTERNAL, "v1beta1", namespace, metric),
            )
        case ["apis", "custom.metrics.k8s.io", "v1beta2", *rest]:
            return _custom(tuple(rest)) or Unknown(nothing)
        case _:
            return Unknown(nothing)


def _custom(segments: tuple[str, ...]) -> Custom | Unscaled | None:
    """Return what is asked of custom metrics, by the path after group and version."""
    group = CUSTOM, VERSIONS[CUSTOM]
    match segments:
        case ["namespaces", namespace, resource, name, metric]:
            attributes = Attributes("", "get", *group, namespace, resource, metric, name)
            return Custom(namespace, resource, name, metric, attributes)
        case ["namespaces", namespace, "metrics", metric]:
            attributes = Attributes("", "get", *group, namespace, "metrics", name=metric)
            return Unscaled(segments, attributes)
        case [resource, name, metric] if resource != "namespaces":
            return Unscaled(segments, Attributes("", "get", *group, "", resource, metric, name))
        case _:
            return None
