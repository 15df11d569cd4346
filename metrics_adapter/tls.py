"""TLS: our certificate and the one authority of client certificates, both changed while serving."""

import os
import ssl
import tempfile
from pathlib import Path
from typing import Final

from autoscaler.core.errors import ConfigError

_LONGEST: Final = 1024 * 1024


class Tls:
    """What handshakes are made with.

    Every handshake takes `current`. Without tickets and resumption: a client certificate is checked
    anew each time, so that an authority that was removed is refused at once.
    """

    def __init__(self, certificate: bytes, key: bytes) -> None:
        """Serve with this certificate chain and key (PEM); no client certificate is good yet.

        Raises:
            ConfigError: They cannot be used.
        """
        self._pair = certificate, key
        self._authority = ""
        self.current = _context(certificate, key, "")
        self.outer = _context(certificate, key, "")
        """What the listener holds; it hands every handshake to `current`."""
        self.outer.sni_callback = self._hand_over

    @property
    def authority(self) -> str:
        """Who signs good client certificates (PEM); empty where nobody does."""
        return self._authority

    def set_authority(self, pem: str) -> bool:
        """Trust client certificates of this authority and of no other; return if that is new.

        Raises:
            ConfigError: It is no certificate; everything stays as it is.
        """
        if pem == self._authority:
            return False
        self.current = _context(*self._pair, pem)
        self._authority = pem
        return True

    def set_certificate(self, certificate: bytes, key: bytes) -> bool:
        """Serve the next handshakes with another certificate; return if it is another.

        Raises:
            ConfigError: It cannot be used; everything stays as it is.
        """
        if (certificate, key) == self._pair:
            return False
        # Into a context of its own first: a bad pair must not touch those in use.
        _context(certificate, key, "")
        for context in (self.current, self.outer):
            _load(context, certificate, key)
        self._pair = certificate, key
        return True

    def _hand_over(
        self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        connection.context = self.current


def read_pair(cert_file: Path, key_file: Path) -> tuple[bytes, bytes]:
    """Return certificate chain and key as the files hold them.

    Raises:
        ConfigError: One cannot be read.
    """
    found = []
    for path in (cert_file, key_file):
        try:
            with path.open("rb") as file:
                found.append(file.read(_LONGEST))
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise ConfigError(f"{path}: cannot be read: {why}") from error
    return found[0], found[1]


def _context(certificate: bytes, key: bytes, authority: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    # A foreign client certificate ends the handshake; none at all is for bearer tokens.
    context.verify_mode = ssl.CERT_OPTIONAL
    # As in Kubernetes, an intermediate authority may be the anchor.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    _load(context, certificate, key)
    if authority:
        try:
            context.load_verify_locations(cadata=authority)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"the front proxy's authority is no certificate: {error}") from error
    return context


def _load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a pair; the ssl module reads it from files only, which nobody else may read."""
    with tempfile.TemporaryDirectory(prefix="tls-") as folder:
        cert_file, key_file = Path(folder, "tls.crt"), Path(folder, "tls.key")
        for path, data in ((cert_file, certificate), (key_file, key)):
            path.touch(mode=0o600)
            path.write_bytes(data)
        try:
            context.load_cert_chain(cert_file, key_file, password=lambda: b"")
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"certificate and key cannot be used: {error}") from error
