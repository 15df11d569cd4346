"""Certificates of both sides, read again when their files change."""

import ssl
import threading
from pathlib import Path
from typing import Final

import grpc
import structlog

from autoscaler.core.errors import ConfigError

_LARGEST: Final = 1024 * 1024

_Stamp = tuple[tuple[int, int, int], ...]

_log = structlog.get_logger("metrics_adapter.keda")


class Certificates:
    """The server's certificate with its key, and the authority of its clients.

    Every new connection sees the files as they are then; connections that are open stay so. While
    the files cannot be used, what was read last goes on being used.
    """

    def __init__(self, cert_file: Path, key_file: Path, client_ca_file: Path) -> None:
        """Read the files.

        Raises:
            ConfigError: One cannot be read, or certificate and key do not belong together.
        """
        self._files = cert_file, key_file, client_ca_file
        self._lock = threading.Lock()
        self._problem = ""
        self._stamps = self._stamped()
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Return what a server listens with: no client without a certificate gets in."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self.newer,  # type: ignore[arg-type] # its own text allows None: nothing new
            require_client_authentication=True,
        )

    def newer(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the certificates if they are others than before; called for each connection."""
        with self._lock:
            try:
                stamps = self._stamped()
                if stamps == self._stamps:
                    return None
                found = self._read()
                if self._stamped() != stamps:
                    return None  # being replaced; the next connection looks again
            except ConfigError as error:
                if str(error) != self._problem:
                    _log.error("certificate kept", reason=str(error))
                self._problem = str(error)
                return None
            self._stamps, self._problem = stamps, ""
        _log.info("certificate loaded", reason="its files changed")
        return found

    def _stamped(self) -> _Stamp:
        return tuple(_stamp(path) for path in self._files)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        chain, key, authority = (_bytes(path) for path in self._files)
        cert_file, key_file, client_ca_file = self._files
        # gRPC says nothing of what is wrong with a file; OpenSSL does.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(cert_file, key_file, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"{cert_file}: should be a certificate with the key in {key_file}: {error}"
            ) from error
        try:
            context.load_verify_locations(cadata=authority.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"{client_ca_file}: should hold certificates: {error}") from error
        return grpc.ssl_server_certificate_configuration([(key, chain)], authority)


def _no_password() -> str:
    raise ValueError("the key asks for a password")


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {_why(error)}") from error
    return status.st_ino, status.st_mtime_ns, status.st_size


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {_why(error)}") from error


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
