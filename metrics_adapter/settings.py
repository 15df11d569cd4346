"""Settings of the metrics adapter: flags over one YAML file over defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from autoscaler.core.errors import ConfigError
from autoscaler.core.spec import DNS_LABEL, Number, Spec
from metrics_adapter.api_server import ApiServerSettings
from metrics_adapter.delegate import DelegateSettings
from metrics_adapter.follower import ControllerSettings
from metrics_adapter.keda import KedaSettings
from metrics_adapter.targets import CUSTOM, EXTERNAL

Group = Literal["external.metrics.k8s.io", "custom.metrics.k8s.io"]


class ServingSettings(Spec):
    """Where the metrics APIs are served."""

    host: Annotated[str, Field(min_length=1)] = "0.0.0.0"  # noqa: S104  # a pod serves its Service
    """Address to listen on."""

    port: Annotated[int, Number, Field(ge=0, le=65535)] = 6443
    """Port to listen on; 0 takes any free one."""

    cert_file: Path | None = None
    """Certificate chain (PEM), with keyFile, as cert-manager mounts it; absent: one that signs
    itself, kept in a Secret and renewed. Read again when changed."""

    key_file: Path | None = None
    """Private key of the certificate (PEM)."""

    max_connections: Annotated[PositiveInt, Number] = 1024
    """Connections at one time; one more is closed at once."""

    header_seconds: Annotated[PositiveFloat, Number] = 20.0
    """Time for a handshake, and for a request to arrive whole."""

    idle_seconds: Annotated[PositiveFloat, Number] = 120.0
    """Time to take an answer and to bring the next request. The API server's own connections end
    after 90 s without use: ending them later than that loses no request."""

    drain_seconds: Annotated[float, Number, Field(ge=0, le=600)] = 10.0
    """After SIGTERM: how long requests are still answered while the Service forgets us."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("certFile and keyFile should be given together")
        return self


class DelegatesSettings(Spec):
    """Who answers what we do not know, by group."""

    external: DelegateSettings | None = None
    """Of external.metrics.k8s.io, such as KEDA's metrics API server."""

    custom: DelegateSettings | None = None
    """Of custom.metrics.k8s.io, such as prometheus-adapter."""

    def by_group(self) -> dict[str, DelegateSettings]:
        """Return those that are set, by the group's full name."""
        both = {EXTERNAL: self.external, CUSTOM: self.custom}
        return {group: one for group, one in both.items() if one is not None}


class AdapterSettings(Spec):
    """Everything about the process."""

    groups: tuple[Group, ...] = (EXTERNAL, CUSTOM)
    """Metrics APIs that are served; none: only the other protocols."""

    namespace: Annotated[str, Field(pattern=DNS_LABEL, max_length=63)] = "inference-autoscaler"
    """Our own namespace."""

    service: Annotated[str, Field(pattern=DNS_LABEL, max_length=63)] = (
        "inference-autoscaler-metrics"
    )
    """The Service that the APIService names."""

    controller: ControllerSettings = ControllerSettings()
    """Where the plan comes from."""

    api_server: ApiServerSettings = ApiServerSettings()
    """The Kubernetes API: who may speak for others, tokens, rights."""

    serving: ServingSettings = ServingSettings()
    """Where the metrics APIs are served."""

    delegates: DelegatesSettings = DelegatesSettings()
    """Adapters that answer metrics that no workload has: who owned an API before us."""

    keda: KedaSettings | None = None
    """KEDA's external scaler over gRPC, beside the APIs or without them; absent: not served."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.groups)) != len(self.groups):
            raise ValueError("groups should name each API once")
        return self


def read_settings(
    file: Path | None = None, flags: Mapping[str, object] | None = None
) -> AdapterSettings:
    """Return the settings: flags over the file over defaults.

    Args:
        file: One YAML mapping in camelCase; none if absent.
        flags: Values by dotted name, such as controller.url.

    Raises:
        ConfigError: A value is wrong, or a name is unknown; every problem is told.
    """
    document: dict[str, Any] = _of_file(file) if file is not None else {}
    for name, value in (flags or {}).items():
        *parents, last = name.split(".")
        place = document
        for parent in parents:
            below = place.setdefault(parent, {})
            if not isinstance(below, dict):
                raise ConfigError(f"{file}: {parent}: should be a mapping")
            place = below
        place[last] = value
    try:
        return AdapterSettings.model_validate(document)
    except ValidationError as error:
        raise ConfigError(*(_said(one, file) for one in error.errors())) from None


def _of_file(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: {(error.strerror or str(error)).lower()}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        first = str(error).partition("\n")[0]
        raise ConfigError(f"{file}: should be YAML: {first}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{file}: should be one mapping of settings")
    return document


def _said(error: Any, file: Path | None) -> str:
    where = ".".join(str(part) for part in error["loc"])
    text = error["msg"].removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    found = error.get("input")
    shown = f", not {found!r}" if isinstance(found, str | int | float) else ""
    place = f"{file}: " if file is not None else ""
    return f"{place}{where or 'settings'}: {text}{shown}"
