"""Who we are to a Prometheus: read from files for every call, never shown to anybody."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from autoscaler.adapters.prometheus.errors import UnauthorisedError
from autoscaler.adapters.prometheus.settings import SourceSettings

_USERINFO = re.compile(r"://[^/\s@]*@")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}")
_HIDDEN = "***"


class Credentials:
    """The headers that a source wants, and what must not appear in any message."""

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._secrets: set[str] = {value for value in settings.headers.values() if len(value) >= 8}
        parts = urlsplit(settings.url)
        if parts.password:
            self._secrets |= {parts.password, unquote(parts.password)}

    def headers(self) -> Mapping[str, str]:
        """Return the headers of the next call, with the credentials that the files hold now.

        Raises:
            UnauthorisedError: A file cannot be read, or holds no credential.
        """
        auth = self._settings.auth
        headers = dict(self._settings.headers)
        if auth is None:
            parts = urlsplit(self._settings.url)
            if parts.username is not None:
                password = unquote(parts.password or "")
                headers["Authorization"] = self._basic(unquote(parts.username), password)
        elif auth.bearer_token_file is not None:
            token = self._read("bearerTokenFile", auth.bearer_token_file)
            headers["Authorization"] = f"Bearer {token}"
        elif auth.basic is not None:
            password = self._read("passwordFile", auth.basic.password_file)
            headers["Authorization"] = self._basic(auth.basic.username, password)
        return headers

    def redact(self, text: str) -> str:
        """Return a text without anything that would let its reader in."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        text = _BEARER.sub(rf"\1 {_HIDDEN}", text)
        return _USERINFO.sub(f"://{_HIDDEN}@", text)

    def _basic(self, username: str, password: str) -> str:
        encoded = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._secrets |= {secret for secret in (password, encoded) if secret}
        return f"Basic {encoded}"

    def _read(self, field: str, path: Path) -> str:
        name = self._settings.name
        try:
            secret = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not UTF-8 text"
            raise UnauthorisedError(name, f"{field} {path} cannot be read: {why}") from error
        if not secret:
            raise UnauthorisedError(name, f"{field} {path} is empty")
        # A line break in a header would let the file's writer add headers of his own.
        if not secret.isprintable() or not secret.isascii():
            raise UnauthorisedError(name, f"{field} {path} should hold one line of printable ASCII")
        if secret not in self._secrets:
            self._secrets.add(secret)
        return secret
