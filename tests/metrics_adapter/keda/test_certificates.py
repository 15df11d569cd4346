"""Both sides show certificates, which rotate while the server runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import pytest
import structlog.testing
import trustme
from cryptography.hazmat.primitives import serialization

from autoscaler.core.errors import ConfigError
from metrics_adapter.keda.certificates import Certificates
from metrics_adapter.keda.server import KedaServer
from metrics_adapter.keda.settings import KedaSettings
from metrics_adapter.newest import Newest
from tests.metrics_adapter.keda.scene import ARGUMENTS, ScalerClient, a_ref, refused, run
from tests.metrics_adapter.plans import a_board

OURS, CLIENTS, OTHERS = trustme.CA(), trustme.CA(), trustme.CA()


@dataclass(slots=True)
class Files:
    """The three files, as a volume mounts them."""

    folder: Path

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        return self.folder / "tls.crt", self.folder / "tls.key", self.folder / "ca.crt"

    def issue(self, by: trustme.CA) -> None:
        leaf = by.issue_cert("127.0.0.1")
        self.paths[0].write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
        self.paths[1].write_bytes(leaf.private_key_pem.bytes())

    def trust(self, clients: trustme.CA) -> None:
        self.paths[2].write_bytes(clients.cert_pem.bytes())


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.issue(OURS)
    made.trust(CLIENTS)
    return made


@asynccontextmanager
async def serving(files: Files) -> AsyncIterator[str]:
    newest = Newest()
    newest.publish(a_board(), 0.0)
    cert, key, authority = files.paths
    settings = KedaSettings(
        host="127.0.0.1", port=0, cert_file=cert, key_file=key, client_ca_file=authority
    )
    server = KedaServer(newest, settings)
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop()


async def ask(address: str, server: trustme.CA, client: trustme.CA | None) -> bool:
    """Ask over a connection of its own, which takes only servers of one authority."""
    leaf = client.issue_cert(common_name="keda") if client else None
    credentials = grpc.ssl_channel_credentials(
        root_certificates=server.cert_pem.bytes(),
        private_key=leaf.private_key_pem.bytes() if leaf else None,
        certificate_chain=leaf.cert_chain_pems[0].bytes() if leaf else None,
    )
    async with grpc.aio.secure_channel(address, credentials, options=ARGUMENTS) as channel:
        return await ScalerClient(channel).is_active(a_ref())


async def gets_in(address: str, server: trustme.CA, client: trustme.CA | None) -> bool:
    try:
        return await ask(address, server, client)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False


def test_only_clients_of_the_authority_get_in(files: Files) -> None:
    async def test() -> None:
        async with serving(files) as address:
            assert await gets_in(address, OURS, CLIENTS)
            assert not await gets_in(address, OURS, None)
            assert not await gets_in(address, OURS, OTHERS)
            assert not await gets_in(address, OURS, OURS)
            assert not await gets_in(address, OTHERS, CLIENTS)

    run(test())


def test_plain_text_is_no_way_in(files: Files) -> None:
    async def test() -> None:
        async with (
            serving(files) as address,
            grpc.aio.insecure_channel(address, options=ARGUMENTS) as channel,
        ):
            code, _ = await refused(ScalerClient(channel).is_active(a_ref()))
            assert code == "UNAVAILABLE"

    run(test())


def test_new_files_count_from_the_next_connection_on(files: Files) -> None:
    async def test() -> None:
        async with serving(files) as address:
            files.issue(OTHERS)
            assert not await gets_in(address, OURS, CLIENTS)
            assert await gets_in(address, OTHERS, CLIENTS)

            files.trust(OTHERS)
            assert not await gets_in(address, OTHERS, CLIENTS)
            assert await gets_in(address, OTHERS, OTHERS)

    run(test())


def test_files_that_cannot_be_used_change_nothing_and_are_told_once(files: Files) -> None:
    async def test() -> None:
        async with serving(files) as address:
            files.paths[0].write_text("nothing")
            with structlog.testing.capture_logs() as lines:
                assert await gets_in(address, OURS, CLIENTS)
                assert await gets_in(address, OURS, CLIENTS)
                files.paths[2].unlink()
                assert await gets_in(address, OURS, CLIENTS)
            assert [(line["event"], line["log_level"]) for line in lines] == [
                ("certificate kept", "error"),
                ("certificate kept", "error"),
            ]
            assert (
                lines[1]["reason"] == f"{files.paths[2]}: cannot be read: no such file or directory"
            )

            files.issue(OURS)
            files.trust(OTHERS)
            assert await gets_in(address, OURS, OTHERS)

    run(test())


def test_files_that_change_while_they_are_read_wait_for_the_next_connection(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = Certificates(*files.paths)
    files.issue(OTHERS)
    read = certificates._read

    def replaced_meanwhile() -> grpc.ServerCertificateConfiguration:
        found = read()
        files.trust(OTHERS)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(certificates, "_read", replaced_meanwhile)
        assert certificates.newer() is None
    assert certificates.newer() is not None
    assert certificates.newer() is None


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        pytest.param(0, None, r"tls\.crt: cannot be read: no such file", id="no certificate"),
        pytest.param(0, "x", r"tls\.crt: should be a certificate with the key in", id="junk"),
        pytest.param(1, "x", r"tls\.crt: should be a certificate with the key in", id="junk key"),
        pytest.param(2, "x", r"ca\.crt: should hold certificates", id="junk authority"),
        pytest.param(2, "é", r"ca\.crt: should hold certificates", id="no text"),
    ],
)
def test_a_start_with_files_that_cannot_be_used_says_which(
    files: Files, file: int, text: str | None, problem: str
) -> None:
    path = files.paths[file]
    path.unlink() if text is None else path.write_text(text)

    with pytest.raises(ConfigError, match=problem):
        Certificates(*files.paths)


def test_a_key_of_another_certificate_is_told(files: Files) -> None:
    files.paths[1].write_bytes(OTHERS.issue_cert("127.0.0.1").private_key_pem.bytes())

    with pytest.raises(ConfigError, match=r"tls\.crt: should be a certificate with the key in"):
        Certificates(*files.paths)


def test_a_key_with_a_password_asks_nobody(files: Files) -> None:
    key = serialization.load_pem_private_key(files.paths[1].read_bytes(), None)
    files.paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )

    with pytest.raises(ConfigError, match=r"the key asks for a password"):
        Certificates(*files.paths)


def test_what_is_no_file_is_told(files: Files) -> None:
    files.paths[1].unlink()
    files.paths[1].mkdir()

    with pytest.raises(ConfigError, match=r"tls\.key: cannot be read: is a directory"):
        Certificates(*files.paths)


def test_files_that_cannot_be_used_are_asked_for_again_and_told_once(files: Files) -> None:
    certificates = Certificates(*files.paths)
    files.paths[0].write_text("nothing")

    with structlog.testing.capture_logs() as lines:
        assert certificates.newer() is None
        assert certificates.newer() is None
        files.issue(OURS)
        assert certificates.newer() is not None

    assert [line["event"] for line in lines] == ["certificate kept", "certificate loaded"]
