"""Settings of the live process: flags over environment over file over defaults."""

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from autoscaler.adapters.prometheus.settings import SourceSettings
from autoscaler.config.nodes import plain
from autoscaler.config.problems import Problem
from autoscaler.config.yaml_source import UnreadableError, read_yaml

PREFIX: Final = "AUTOSCALER_"

ONE_SOURCE: Final = "[{name: default, url: 'http://prometheus.monitoring:9090'}]"
"""What to write for the least list of sources."""

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseSettings):
    """Everything about the process that is not about one workload.

    Unknown names are errors in files and flags. Times are seconds.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    interval_seconds: Annotated[float, Field(ge=1, le=600)] = 15.0
    """Seconds between control cycles. 15 as the HPA's: shorter rarely sees newer samples."""

    wake_seconds: Annotated[float, Field(ge=0, le=600)] = 0.5
    """Seconds between looks at workloads that sleep at zero: one that is wanted does not wait for
    the next cycle. A look asks Prometheus for their newest samples alone. 0: there are none."""

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

    sources: Annotated[tuple[SourceSettings, ...], NoDecode] = ()
    """Prometheus servers by name, with authentication and TLS: what `spec.source` names. A list;
    its fields stand below. In the environment and with `--set`: the same list on one line."""

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
    """Name in the lease and in events; absent: the host's name and a part of its own."""

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

    @field_validator("sources", mode="before")
    @classmethod
    def _is_a_list(cls, given: Any) -> Any:
        # Never repeat the text in a message: an address may hold a password.
        said = _on_one_line(given) if isinstance(given, str) else given
        if isinstance(said, list | tuple):
            return said
        found = "a mapping" if isinstance(said, dict) else "text"
        raise ValueError(f"should be a list of sources, such as {ONE_SOURCE}, not {found}")

    @field_validator("prometheus")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        try:
            return None if url is None else SourceSettings(url=url).url
        except ValidationError as error:
            raise ValueError(plain_message(error.errors()[0]["msg"])) from None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.lease_seconds - self.renew_seconds < 1.0:
            # What is between them is the time for one change.
            raise ValueError(
                f"renewSeconds should be less than leaseSeconds by 1 or more, "
                f"not {self.renew_seconds:g} and {self.lease_seconds:g}"
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

    def shown(self) -> dict[str, str]:
        """Return every setting as a person may see it: no address with a password in it."""
        values = {to_camel(name): written(getattr(self, name)) for name in type(self).model_fields}
        urls = {source.name: source.shown_url for source in self.all_sources}
        values["prometheus"] = urls["default"] if self.prometheus is not None else ""
        values["sources"] = ", ".join(f"{one.name} {urls[one.name]}" for one in self.sources)
        return values

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


def _on_one_line(text: str) -> Any:
    """Return what a text means as JSON, or as YAML, of which JSON is nearly a part."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    problems: list[Problem] = []
    try:
        roots = list(read_yaml("", text, problems))
    except UnreadableError:
        return text
    return plain(roots[0]) if len(roots) == 1 and not problems else text


def written(value: object) -> str:
    """Return a value as a person writes it."""
    match value:
        case None | "" | ():
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def plain_message(message: str) -> str:
    """Return a message of pydantic as it stands within a sentence."""
    text = message.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
