"""Who may read, and over what: bearer token and certificate, both read again when changed."""

import hmac
import os
import ssl
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from autoscaler.core.errors import ConfigError
from autoscaler.core.spec import Number, Spec

_LONGEST_TOKEN: Final = 64 * 1024

_Stamp = tuple[int, int, int]


class ServerSettings(Spec):
    """Where `/metrics`, the probes and `/v1` are served, and to whom."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on. Only this machine unless told; a pod that is scraped needs 0.0.0.0."""

    port: Annotated[int, Number, Field(ge=0, le=65535)] = 8090
    """Port to listen on; 0 takes any free one."""

    cert_file: Path | None = None
    """Certificate chain (PEM) for TLS, with keyFile; absent: plain HTTP. Read again if changed."""

    key_file: Path | None = None
    """Private key of the certificate (PEM)."""

    token_file: Path | None = None
    """File with the bearer token that `/v1` asks for; absent: nobody is asked. `/metrics` and the
    probes are open to whoever reaches them. Read again when changed."""

    max_connections: Annotated[PositiveInt, Number] = 256
    """Connections at one time; one more is closed at once."""

    header_seconds: Annotated[PositiveFloat, Number] = 10.0
    """Time for a request to arrive whole, and for an idle connection to bring the next one."""

    answer_seconds: Annotated[PositiveFloat, Number] = 30.0
    """Time to make an answer, and again for the client to take it."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("certFile and keyFile should be given together")
        return self


class Token:
    """A bearer token in a file, which may be replaced at any time."""

    def __init__(self, path: Path) -> None:
        """Read the token.

        Raises:
            ConfigError: The file cannot be read, or holds none.
        """
        self._path = path
        self._stamp = _stamp(path)
        self._token = _read(path)

    def accepts(self, authorization: str) -> bool:
        """Whether a request with this Authorization header may pass.

        While the file cannot be read, the token read last still counts: a volume that is being
        replaced must not lock anybody out.
        """
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._token, self._stamp = _read(self._path), stamp
        except ConfigError:
            pass
        scheme, _, given = authorization.partition(" ")
        same = hmac.compare_digest(given.strip().encode(), self._token)
        return scheme.lower() == "bearer" and same


class Certificate:
    """A TLS context whose certificate follows its files: the next handshake sees the new one."""

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        """Load the certificate.

        Raises:
            ConfigError: It cannot be read, or key and certificate do not belong together.
        """
        self._cert, self._key = cert_file, key_file
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._stamps = self._load()

    def refresh(self) -> bool:
        """Load the files again if they changed; return whether they did.

        Raises:
            ConfigError: They changed and cannot be used; the certificate loaded last stays. Said
                once for each change.
        """
        stamps = _stamp(self._cert), _stamp(self._key)
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        # Into a context of its own first: a bad pair must not touch the one in use.
        Certificate(self._cert, self._key)
        self._stamps = self._load()
        return True

    def _load(self) -> tuple[_Stamp, _Stamp]:
        stamps = _stamp(self._cert), _stamp(self._key)
        try:
            self.context.load_cert_chain(self._cert, self._key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"{self._cert}: should be a certificate with the key in {self._key}: {error}"
            ) from error
        return stamps


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {os.strerror(error.errno or 0).lower()}"
        ) from error
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            token = file.read(_LONGEST_TOKEN).strip()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {os.strerror(error.errno or 0).lower()}"
        ) from error
    if not token:
        raise ConfigError(f"{path}: should hold a token, is empty")
    return token
