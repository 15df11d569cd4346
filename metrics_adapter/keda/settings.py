"""Where KEDA is answered, over which certificates, and how much of it at once."""

import ipaddress
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from autoscaler.core.spec import Number, Spec


class KedaSettings(Spec):
    """The gRPC server for KEDA's external scalers."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on. A pod needs 0.0.0.0 or ::, and certificates then."""

    port: Annotated[int, Number, Field(ge=0, le=65535)] = 9444
    """Port to listen on; 0 takes any free one."""

    cert_file: Path | None = None
    """The server's certificate chain (PEM). Read again when it changes."""

    key_file: Path | None = None
    """Private key of the certificate (PEM)."""

    client_ca_file: Path | None = None
    """Authority whose clients are answered (PEM): best one that signs for KEDA alone."""

    max_streams: Annotated[PositiveInt, Number] = 10_000
    """Triggers that wait for a wake-up at one time; KEDA opens one stream for each."""

    request_seconds: Annotated[PositiveFloat, Number] = 10.0
    """Time for a handshake, and for a request to arrive whole."""

    grace_seconds: Annotated[PositiveFloat, Number] = 5.0
    """Time for requests in flight when the server stops."""

    @property
    def secure(self) -> bool:
        """Whether both sides show certificates."""
        return self.cert_file is not None

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        given = [self.cert_file, self.key_file, self.client_ca_file]
        if any(given) and not all(given):
            raise ValueError("certFile, keyFile and clientCaFile should be given together")
        if not self.secure and not _is_loopback(self.host):
            raise ValueError(
                "certFile, keyFile and clientCaFile should be given where other machines can"
                f" connect; without them host should be 127.0.0.1 or ::1, not {self.host!r}"
            )
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
