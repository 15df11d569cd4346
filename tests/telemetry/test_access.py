"""Who may ask: the token, and the certificate that the server shows."""

import contextlib
import http.client
import ssl
import time
from pathlib import Path

import pytest
import trustme

from autoscaler.core.errors import ConfigError
from autoscaler.telemetry.access import ServerSettings
from autoscaler.telemetry.http import TelemetryServer
from autoscaler.telemetry.latest import Latest
from tests.telemetry.conftest import Serve, get
from tests.telemetry.reports import a_report
from tests.waiting import until


def test_v1_asks_for_the_token_and_the_probes_do_not(
    serve: Serve, latest: Latest, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    server = serve(token_file=token)
    latest.publish(a_report())

    none, wrong = get(server, "/v1/plan"), get(server, "/v1/plan", Authorization="Bearer wrong")
    basic = get(server, "/v1/plan", Authorization="Basic first")
    hidden = get(server, "/%76%31/plan")
    right = get(server, "/v1/plan", Authorization="bearer first")
    token.write_text("the second\n")
    replaced = get(server, "/v1/plan", Authorization="Bearer the second")
    token.unlink()
    removed = get(server, "/v1/plan", Authorization="Bearer the second")

    assert [one[0] for one in (none, wrong, basic, hidden)] == [401] * 4
    assert none[1]["www-authenticate"] == 'Bearer realm="inference-autoscaler"'
    assert [one[0] for one in (right, replaced, removed)] == [200] * 3
    assert get(server, "/readyz")[0] == 200
    assert get(server, "/metrics")[0] == 200


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(None, "cannot be read: no such file or directory", id="absent"),
        pytest.param(" \n", "should hold a token, is empty", id="empty"),
    ],
)
def test_a_token_that_cannot_be_read_is_told_at_start(
    serve: Serve, tmp_path: Path, content: str | None, problem: str
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content)

    with pytest.raises(ConfigError) as error:
        serve(token_file=token)

    assert str(error.value) == f"{token}: {problem}"


def issued(folder: Path, authority: trustme.CA) -> tuple[Path, Path]:
    """Write a certificate for this machine as a mounted secret would: chain and key."""
    certificate = authority.issue_cert("127.0.0.1")
    cert, key = folder / "tls.crt", folder / "tls.key"
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(cert)
    return cert, key


def trusted(server: TelemetryServer, authority: trustme.CA) -> int:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    connection = http.client.HTTPSConnection(*server.address, timeout=10, context=context)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
def test_tls_follows_its_certificate_without_a_restart(serve: Serve, tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    cert, key = issued(tmp_path, old)
    server = serve(cert_file=cert, key_file=key, refresh_seconds=0.05)
    before = trusted(server, old)
    cert.write_text("half a certificate")
    time.sleep(0.2)
    during = trusted(server, old)
    issued(tmp_path, new)

    def is_new() -> bool:
        with contextlib.suppress(ssl.SSLCertVerificationError):
            return trusted(server, new) == 200
        return False

    until(is_new)
    assert (before, during) == (200, 200)
    assert server.url.startswith("https://")
    with pytest.raises(ssl.SSLCertVerificationError):
        trusted(server, old)


def test_a_folder_is_no_token(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: is a directory"):
        serve(token_file=tmp_path)


def test_a_certificate_without_its_key_is_told_at_start(serve: Serve, tmp_path: Path) -> None:
    cert, key = issued(tmp_path, trustme.CA())
    trustme.CA().issue_cert("127.0.0.1").private_key_pem.write_to_path(key)

    with pytest.raises(ConfigError, match=r"tls\.crt: should be a certificate with the key in"):
        serve(cert_file=cert, key_file=key)
    with pytest.raises(ValueError, match="certFile and keyFile should be given together"):
        ServerSettings(cert_file=cert)
