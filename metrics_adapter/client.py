"""Asking others over HTTP(S): whom we believe, what we show, and what went wrong."""

import os
import ssl
from pathlib import Path
from typing import Final

import aiohttp

from autoscaler.core.errors import ConfigError, ObservationError

_LONGEST: Final = 300
"""Characters of what a library says: it may quote what it was sent."""


class Trust:
    """The authorities in a file; read again when it changes, and the last good ones are kept."""

    def __init__(self, file: Path | None) -> None:
        """Read them; without a file those of the system are believed.

        Raises:
            ConfigError: They cannot be read.
        """
        self._file = file
        self._stamp = _stamp(file)
        try:
            self._context = ssl.create_default_context(cafile=file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{file}: should hold certificates: {error}") from error

    def context(self) -> ssl.SSLContext:
        """Return what connections are made with now; a new one only where the file has changed."""
        stamp = _stamp(self._file)
        if stamp not in (self._stamp, None):
            try:
                self._context = ssl.create_default_context(cafile=self._file)
            except (OSError, ssl.SSLError):
                return self._context  # half written, perhaps: it is looked at again
            self._stamp = stamp
        return self._context


def a_session(connections: int, *, unpacks: bool = True) -> aiohttp.ClientSession:
    """Return a session with so many connections at one time; it keeps nothing of answers.

    Args:
        connections: At one time.
        unpacks: Whether a compressed answer is unpacked.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=unpacks,
    )


def token_of(file: Path) -> str:
    """Return the token in a file.

    Raises:
        ObservationError: It cannot be read, or is none that a request could show.
    """
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ObservationError(f"{file}: the token cannot be read: {why(error)}") from error
    if not token or not token.isprintable() or " " in token:
        raise ObservationError(f"{file}: should hold one token, in one line")
    return token


def abandon(answer: aiohttp.ClientResponse) -> None:
    """Break the connection of an answer that was not read to its end; else nothing.

    Closing it politely over TLS would wait for the other side, which may be gone.
    """
    connection = answer.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


def why(error: BaseException) -> str:
    """Return what went wrong, in one line of words; not what a connection was made with."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ssl.SSLError):
        return str(error.os_error)
    if isinstance(error, OSError) and error.errno and error.strerror:
        return (os.strerror(error.errno) if error.errno > 0 else error.strerror).lower()
    return " ".join(str(error).split())[:_LONGEST] or type(error).__name__


def _stamp(file: Path | None) -> tuple[int, int, int] | None:
    """Return what changes with a file; None where there is none."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
