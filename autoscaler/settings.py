"""Settings of the live process: flags over environment over file over defaults."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from autoscaler.adapters.prometheus.settings import SourceSettings
from autoscaler.config.nodes import Mapping as YamlMapping
from autoscaler.config.nodes import find, plain
from autoscaler.config.problems import Problem
from autoscaler.config.yaml_source import UnreadableError, read_yaml
from autoscaler.core.errors import ConfigError

PREFIX: Final = "AUTOSCALER_"
_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

_MAY_HOLD_SECRETS: Final = frozenset({"prometheus", "url", "headers"})

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseSettings):
    """Everything about the process that is not about one workload.

    Unknown names are errors in files and flags. Times are seconds.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    interval_seconds: Annotated[float, Field(ge=1, le=600)] = 15.0
    """Seconds between control cycles. 15 as the HPA's: shorter rarely sees newer samples."""

    observe_seconds: Seconds | None = None
    """Most seconds of a cycle spent on looking; absent: 0.6 of the interval. What has not answered
    by then is missing, and the cycle goes on without it."""

    act_seconds: Seconds | None = None
    """Most seconds of a cycle spent on changing; absent: 0.3 of the interval. What is left over is
    tried in the next cycle."""

    shadow: bool = False
    """Decide and record, change nothing, whatever the policy files say. Off: they decide."""

    kill_switch: bool = False
    """Pause every workload. The same as the annotation on all targets; for emergencies."""

    prometheus: str | None = None
    """Address of the source called default, where nothing else need be said of it, such as
    http://prometheus.monitoring:9090."""

    sources: tuple[SourceSettings, ...] = ()
    """Prometheus servers by name, with authentication and TLS: what `spec.source` names."""

    scrape_interval_seconds: Annotated[float, Field(gt=0, le=600)] = 15.0
    """Seconds between scrapes of your Prometheus: $window is at least four of them, so that a
    rate has samples when one scrape fails."""

    recorded_signals: bool = False
    """Read the series of `autoscaler queries --recording-rules` instead of raw histograms. Off:
    the rules must be loaded first."""

    kubeconfig: Path | None = None
    """Kubeconfig to use; absent: the pod's service account, else the usual kubeconfig."""

    context: str | None = None
    """Context of the kubeconfig; absent: its current one."""

    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)] = (
        "inference-autoscaler"
    )
    """Our own namespace: of the lease, the saved state and the kill switch. Absent in a pod: the
    pod's."""

    human_edit_seconds: Annotated[float, Field(ge=0, le=604_800)] = 1800.0
    """Seconds for which a number that a person has set is left alone. Half an hour: long enough
    for an incident, short enough not to be forgotten."""

    leader_election: bool = True
    """Act only while holding the lease. Off is right for one process on one machine only."""

    lease_name: str = "inference-autoscaler"
    """Name of the Lease."""

    lease_seconds: Annotated[float, Field(ge=3, le=600)] = 15.0
    """How long a lease lasts that is not renewed; a failover takes about this long."""

    renew_seconds: Annotated[float, Field(ge=2, le=600)] = 10.0
    """A leader that could not renew for this long stops acting: before its lease can be taken."""

    retry_seconds: Annotated[float, Field(ge=0.1, le=60)] = 2.0
    """Seconds between attempts to take or renew the lease."""

    lease_request_seconds: Annotated[float, Field(ge=0.1, le=60)] = 3.0
    """Longest wait for one request about the lease."""

    identity: str = ""
    """Name in the lease; absent: host name and process."""

    state: Literal["config-map", "file", "none"] = "config-map"
    """Where decisions' memory is kept between processes. none: after each start nothing is
    lowered for one whole window."""

    state_name: str = "inference-autoscaler-state"
    """Name of the ConfigMap."""

    state_file: Path | None = None
    """The file, where `state` is file."""

    state_max_age_seconds: Seconds = 900.0
    """An older state is not trusted: nothing is lowered for one whole window."""

    state_interval_seconds: Seconds = 30.0
    """Seconds between savings; a state with changes in it is saved at once."""

    journal: Path | None = None
    """Folder for the journal of cycles; absent: none is kept."""

    journal_max_bytes: Annotated[int, Field(ge=100_000)] = 64_000_000
    """Bytes of one journal file before the next is begun."""

    journal_files: Annotated[int, Field(ge=2, le=100_000)] = 8
    """Journal files that are kept; the oldest goes first."""

    listen_address: str = "127.0.0.1"
    """Address of /metrics, /healthz, /readyz and /v1. The loopback, until you say otherwise."""

    listen_port: Annotated[int, Field(ge=0, le=65_535)] = 8090
    """Their port; 0 takes a free one and logs it."""

    tls_cert_file: Path | None = None
    """Certificate of that server; absent: plain HTTP."""

    tls_key_file: Path | None = None
    """Its key."""

    token_file: Path | None = None
    """File with the bearer token that /v1 asks for; absent: it asks for none."""

    reload_seconds: Annotated[float, Field(ge=0, le=3600)] = 5.0
    """Seconds between looks at the policy files; 0: they are read once. A broken file changes
    nothing: the last good ones stay in force."""

    log_format: Literal["json", "console"] = "json"
    """json for machines, console for people."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""

    @field_validator("prometheus")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        try:
            return None if url is None else SourceSettings(url=url).url
        except ValidationError as error:
            raise ValueError(_plain(error.errors()[0]["msg"])) from None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.renew_seconds >= self.lease_seconds:
            raise ValueError(
                f"renewSeconds should be less than leaseSeconds, "
                f"not {self.renew_seconds:g} >= {self.lease_seconds:g}"
            )
        if self.retry_seconds + self.lease_request_seconds >= self.renew_seconds:
            raise ValueError(
                f"retrySeconds and leaseRequestSeconds should fit into renewSeconds, not "
                f"{self.retry_seconds:g} + {self.lease_request_seconds:g} >= "
                f"{self.renew_seconds:g}"
            )
        if self.looking_seconds + self.acting_seconds > self.interval_seconds:
            raise ValueError(
                f"observeSeconds and actSeconds should fit into intervalSeconds, "
                f"not {self.looking_seconds:g} + {self.acting_seconds:g} > "
                f"{self.interval_seconds:g}"
            )
        if self.state == "file" and self.state_file is None:
            raise ValueError("stateFile should be given where state is file")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tlsCertFile and tlsKeyFile should be given together")
        names = [source.name for source in self.all_sources]
        if len(set(names)) < len(names):
            raise ValueError(f"sources should have different names, not {', '.join(names)}")
        return self

    @property
    def looking_seconds(self) -> float:
        """Most seconds of a cycle spent on looking."""
        return 0.6 * self.interval_seconds if self.observe_seconds is None else self.observe_seconds

    @property
    def acting_seconds(self) -> float:
        """Most seconds of a cycle spent on changing."""
        return 0.3 * self.interval_seconds if self.act_seconds is None else self.act_seconds

    @property
    def all_sources(self) -> tuple[SourceSettings, ...]:
        """Every source, that of `prometheus` included."""
        if self.prometheus is None:
            return self.sources
        return (SourceSettings(url=self.prometheus), *self.sources)

    @property
    def name(self) -> str:
        """What stands in the lease."""
        return self.identity or f"{socket.gethostname()}-{os.getpid()}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `read_settings` has gathered, which knows where each value stands."""
        return (init_settings,)


def read_settings(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Gather the settings: flags over environment over file over defaults.

    Args:
        file: YAML mapping of settings in camelCase; none if absent.
        flags: Settings by name, as the command line gave them; None means not given.

    Raises:
        ConfigError: A value is wrong, or a name is unknown; every problem is told, with where it
            stands.
    """
    from_file, places = _of_file(file) if file is not None else ({}, {})
    from_env = EnvSettingsSource(Settings)()
    from_flags = {name: value for name, value in (flags or {}).items() if value is not None}
    places |= {name: f"{PREFIX}{name.upper()}" for name in from_env}
    places |= {name: f"--{name.replace('_', '-')}" for name in from_flags}
    gathered = {"namespace": _own_namespace(), **from_file, **from_env, **from_flags}
    given = {name: value for name, value in gathered.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigError(*(_said(one, places) for one in error.errors())) from None


def snake(name: str) -> str:
    """Return a setting's name as Python writes it, from either form."""
    return next((known for known in Settings.model_fields if to_camel(known) == name), name)


def _of_file(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    problems: list[Problem] = []
    try:
        text = file.read_text(encoding="utf-8")
        documents = list(read_yaml(str(file), text, problems))
    except OSError as error:
        raise ConfigError(f"{file}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: should be UTF-8 text") from error
    except UnreadableError as error:
        raise ConfigError(str(Problem(str(file), error.text, error.mark, exact=True))) from error
    if problems:
        raise ConfigError(*map(str, problems))
    if not documents:
        return {}, {}
    root = documents[0]
    if len(documents) > 1 or not isinstance(root, YamlMapping):
        raise ConfigError(f"{file}: should be one mapping of settings")
    known = {to_camel(name): name for name in Settings.model_fields}
    unknown = [name for name in root.entries if name not in known]
    if unknown:
        raise ConfigError(
            *(f"{file}:{find(root, [n])[1].line}: {n}: no setting has this name" for n in unknown)
        )
    values: Any = plain(root)
    places = {
        known[name]: f"{file}:{entry.mark.line}: {name}" for name, entry in root.entries.items()
    }
    return {known[name]: value for name, value in values.items()}, places


def _own_namespace() -> str | None:
    try:
        return _POD_NAMESPACE.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _said(error: Any, places: Mapping[str, str]) -> str:
    loc, text = error["loc"], _plain(error["msg"])
    if not loc:
        return f"settings: {text}"
    where = places.get(str(loc[0]), str(loc[0]))
    rest = ".".join(str(part) for part in loc[1:])
    found = error.get("input")
    secret = not _MAY_HOLD_SECRETS.isdisjoint(map(str, loc))
    shown = isinstance(found, bool | int | float | str) and not secret and ", not " not in text
    return f"{where}{'.' + rest if rest else ''}: {text}{f', not {found!r}' if shown else ''}"


def _plain(message: str) -> str:
    text = message.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
