"""How to reach a Prometheus: address, credentials, TLS, limits. Safe defaults, units in names."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, PositiveInt, field_validator, model_validator

from autoscaler.core.spec import Number, Spec

_HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
_OURS = frozenset({"authorization", "content-length", "content-type", "host"})


class BasicAuth(Spec):
    """User and password."""

    username: Annotated[str, Field(min_length=1)]
    """The user's name."""

    password_file: Path
    """File with the password; read again for every call, so that it can be rotated."""


class Auth(Spec):
    """How we say who we are: one of the two."""

    bearer_token_file: Path | None = None
    """File with a bearer token; read again for every call: projected tokens rotate hourly."""

    basic: BasicAuth | None = None
    """User and password."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.bearer_token_file is None) == (self.basic is None):
            raise ValueError("auth should have either bearerTokenFile or basic")
        return self


class Tls(Spec):
    """Whom to trust, and our own certificate."""

    ca_file: Path | None = None
    """Authorities to trust, PEM; absent: the well-known public ones."""

    cert_file: Path | None = None
    """Our client certificate, PEM."""

    key_file: Path | None = None
    """Its key, PEM."""

    insecure_skip_verify: bool = False
    """Trust any server. Whoever stands in between can then steer the fleet."""

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("certFile and keyFile should be given together")
        if self.insecure_skip_verify and self.ca_file is not None:
            raise ValueError("insecureSkipVerify should be false where caFile is given")
        return self


class Retry(Spec):
    """How often one call is tried; always within its deadline."""

    attempts: Annotated[PositiveInt, Number] = 3
    """Tries in all. Bad queries, refused credentials and foreign answers are never retried."""

    backoff_seconds: Annotated[float, Number, Field(gt=0, le=60)] = 0.2
    """Wait before the second try; doubles for each further one, with up to 50 % jitter."""

    max_backoff_seconds: Annotated[float, Number, Field(gt=0, le=60)] = 2.0
    """Longest wait between two tries."""


class BreakerSettings(Spec):
    """When a source that fails is left alone for a while."""

    failures: Annotated[PositiveInt, Number] = 5
    """Calls that fail in a row before it rests."""

    rest_seconds: Annotated[float, Number, Field(gt=0, le=3600)] = 10.0
    """First rest; doubles while the probe after it fails, too."""

    max_rest_seconds: Annotated[float, Number, Field(gt=0, le=3600)] = 60.0
    """Longest rest: how late we may notice that the source is back."""


class SourceSettings(Spec):
    """One Prometheus, Thanos or Mimir."""

    model_config = ConfigDict(hide_input_in_errors=True)  # an address may hold a password

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)] = (
        "default"
    )
    """What `spec.source` of a policy file says."""

    url: str = Field(repr=False)
    """Address before /api/v1, such as http://prometheus.monitoring:9090; may have a path."""

    auth: Auth | None = None
    """Bearer token or basic auth."""

    tls: Tls = Tls()
    """Certificates; verification is on."""

    headers: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """Sent with every call, such as X-Scope-OrgID for a Mimir or Thanos tenant."""

    timeout_seconds: Annotated[float, Number, Field(gt=0, le=300)] = 8.0
    """Longest call, retries included. Keep it below the cycle interval."""

    max_concurrency: Annotated[PositiveInt, Number, Field(le=64)] = 4
    """Most calls at once: Prometheus itself runs 20 queries at once, for all its users."""

    max_answer_mebibytes: Annotated[PositiveInt, Number] = 256
    """A longer answer is cut off and refused: it would fill our memory."""

    retry: Retry = Retry()
    """How often one call is tried."""

    breaker: BreakerSettings = BreakerSettings()
    """When a source that fails is left alone."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        # Never repeat the text in a message: it may hold a password.
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValueError("url should be http(s)://host[:port][/prefix]") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("url should begin with http:// or https:// and name a host")
        if parts.query or parts.fragment:
            raise ValueError("url should end before any ? or #")
        if any(letter.isspace() or not letter.isprintable() for letter in url):
            raise ValueError("url should have no spaces")
        return url.rstrip("/")

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: Mapping[str, str]) -> Mapping[str, str]:
        for name, value in headers.items():
            if not re.match(_HEADER_NAME, name):
                raise ValueError(f"header names should be letters, digits and -, not {name[:60]!r}")
            if name.lower() in _OURS:
                raise ValueError(f"header {name} should not be set; use auth")
            if not value.isprintable() or not value.isascii() or value != value.strip():
                raise ValueError(f"the value of header {name} should be printable ASCII, no edges")
        return headers

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        if self.auth is not None and "@" in urlsplit(self.url).netloc:
            raise ValueError("url should hold no user where auth is given")
        return self

    @property
    def shown_url(self) -> str:
        """The address without user and password: for messages and logs."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
