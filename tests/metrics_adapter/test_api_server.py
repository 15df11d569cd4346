"""Asking the Kubernetes API, and what is remembered of its answers."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import trustme

from autoscaler.core.errors import ConfigError, ObservationError
from metrics_adapter import access, api_server, pods
from metrics_adapter.access import Access
from metrics_adapter.api_server import ApiServer, ApiServerSettings
from metrics_adapter.front_proxy import FrontProxyFollower
from metrics_adapter.identity import FrontProxy, User, read_front_proxy
from metrics_adapter.pods import PodLists
from metrics_adapter.statuses import RefusalError, status_body
from metrics_adapter.targets import Attributes
from tests.metrics_adapter.cluster import FakeCluster
from tests.metrics_adapter.test_own_certificate import asking

BOB = User("bob", groups=("system:authenticated",))
LOAD = Attributes("", "list", "external.metrics.k8s.io", "v1beta1", "llm", "load")


def settings_of(cluster: FakeCluster) -> ApiServerSettings:
    return ApiServerSettings(
        url=cluster.url, ca_file=cluster.ca_file, token_file=cluster.token_file
    )


def test_a_renewed_token_is_read(cluster: FakeCluster) -> None:
    cluster.objects["/x"] = {"kind": "X"}
    cluster.token_file.write_text("old")
    with pytest.raises(ObservationError, match="GET /x: Unauthorized"):
        asking(cluster, lambda api: api.get("/x"))
    cluster.token_file.write_text("adapter-token")

    assert asking(cluster, lambda api: api.get("/x")) == {"kind": "X"}


def test_a_token_that_is_not_there_is_told(cluster: FakeCluster) -> None:
    cluster.token_file.unlink()

    with pytest.raises(ObservationError, match=r"token: the token cannot be read"):
        asking(cluster, lambda api: api.get("/x"))


def test_another_authority_is_not_believed(cluster: FakeCluster) -> None:
    trustme.CA().cert_pem.write_to_path(str(cluster.ca_file))

    with pytest.raises(ObservationError, match="certificate verify failed"):
        asking(cluster, lambda api: api.get("/x"))


def test_a_renewed_authority_is_read_and_a_broken_one_is_not(cluster: FakeCluster) -> None:
    good = cluster.ca_file.read_bytes()
    cluster.objects["/x"] = {"kind": "X"}

    async def work(api: ApiServer) -> None:
        await api.get("/x")
        cluster.ca_file.write_text("rubbish")
        await api.get("/x")
        cluster.ca_file.write_bytes(good)
        await api.get("/x")

    asking(cluster, work)


def test_an_authority_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none: should hold certificates: "):
        ApiServer(ApiServerSettings(url="https://a", ca_file=tmp_path / "none"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"<html>", "the API server's answer is no JSON", id="no JSON"),
        pytest.param(b"[]", "the API server's answer is no object", id="a list"),
        pytest.param(b'"' + b"a" * 2000 + b'"', "the answer is too large", id="too large"),
    ],
)
def test_nonsense_is_told(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, body: bytes, message: str
) -> None:
    monkeypatch.setattr(api_server, "LARGEST_ANSWER", 1000)
    cluster.objects["/x"] = body  # type: ignore[assignment]

    with pytest.raises(ObservationError, match=message):
        asking(cluster, lambda api: api.get("/x"))


def test_a_watch_that_is_refused_is_told(cluster: FakeCluster) -> None:
    cluster.refuse = lambda method, path: 410

    async def work(api: ApiServer) -> None:
        async for _ in api.watch("/x?watch=true", seconds=1):
            pass

    with pytest.raises(ObservationError, match=r"watch /x\?watch=true: status 410"):
        asking(cluster, work)


def test_an_event_that_is_too_large_is_told(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_server, "LARGEST_ANSWER", 1000)
    cluster.objects["/x"] = b"a" * 2000  # type: ignore[assignment]

    async def work(api: ApiServer) -> None:
        async for _ in api.watch("/x?watch=true", seconds=1):
            pass

    with pytest.raises(ObservationError, match="an event is too large"):
        asking(cluster, work)


class Api:
    """Answers when told; counts questions."""

    def __init__(self) -> None:
        self.asked = 0
        self.status: Any = {"allowed": True}
        self.release = asyncio.Event()
        self.release.set()

    async def ask(self, method: str, path: str, body: Any = None, **_: Any) -> dict[str, Any]:
        self.asked += 1
        await self.release.wait()
        return {"status": self.status, "items": []}


def run(work: Callable[[Api], Coroutine[Any, Any, Any]]) -> Api:
    async def all_of_it() -> Api:
        api = Api()
        await work(api)
        return api

    return asyncio.run(all_of_it())


def test_who_asks_the_same_at_once_is_one_question() -> None:
    async def work(api: Api) -> None:
        one = Access(api)
        api.release.clear()
        asking_them = [asyncio.create_task(one.check(BOB, LOAD, trusted=True)) for _ in range(50)]
        await asyncio.sleep(0)
        api.release.set()
        await asyncio.gather(*asking_them)

    assert run(work).asked == 1


def test_strangers_cannot_crowd_out_the_api_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_WAITING", 16)

    async def work(api: Api) -> None:
        one = Access(api)
        api.release.clear()
        strangers = [
            asyncio.create_task(one.check(User(f"u{n}"), LOAD, trusted=False)) for n in range(3)
        ]
        await asyncio.sleep(0)
        trusted = asyncio.create_task(one.check(BOB, LOAD, trusted=True))
        await asyncio.sleep(0)
        api.release.set()
        found = await asyncio.gather(*strangers, return_exceptions=True)
        await trusted
        assert [getattr(one, "code", 200) for one in found] == [200, 200, 429]

    run(work)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_REMEMBERED", 10)

    async def work(api: Api) -> None:
        one = Access(api)
        for n in range(50):
            await one.check(User(f"u{n}"), LOAD, trusted=True)
        await asyncio.sleep(0)
        assert len(one._rights._known) == 10

    run(work)


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(None, id="no status"),
        pytest.param({}, id="empty"),
        pytest.param({"allowed": "yes"}, id="a word"),
        pytest.param({"allowed": True, "denied": True}, id="denied"),
    ],
)
def test_anything_but_a_plain_yes_is_no(status: Any) -> None:
    async def work(api: Api) -> None:
        api.status = status
        with pytest.raises(RefusalError) as refused:
            await Access(api).check(BOB, Attributes(path="/apis"), trusted=True)
        assert refused.value.code == 403
        assert refused.value.message == 'User "bob" cannot get path "/apis"'

    run(work)


def test_lists_of_pods_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "MOST_NAMESPACES", 3)

    async def work(api: Api) -> None:
        lists = PodLists(api)
        for n in range(10):
            await lists.of(f"n{n}")
        assert len(lists._lists) == 3

    run(work)


def test_the_front_proxy_s_lists_must_be_lists() -> None:
    data = {"requestheader-client-ca-file": "-----BEGIN CERTIFICATE-----"}

    with pytest.raises(ObservationError, match="requestheader-allowed-names should be a list in J"):
        read_front_proxy({**data, "requestheader-allowed-names": "x"})
    with pytest.raises(ObservationError, match="should be a list of texts, not '7'"):
        read_front_proxy({**data, "requestheader-group-headers": "7"})
    with pytest.raises(ObservationError, match="holds no certificate"):
        read_front_proxy({})
    assert read_front_proxy(data) == FrontProxy("-----BEGIN CERTIFICATE-----")


def test_no_names_allow_every_name_and_two_names_are_none() -> None:
    front = FrontProxy("")
    one, two = (
        {"subject": ((("commonName", "a"),),)},
        {"subject": ((("commonName", "a"),), (("commonName", "b"),))},
    )

    assert front.allows(one)
    assert not front.allows(two)
    assert not front.allows({})
    assert not front.allows(None)


def test_a_watch_that_ends_with_an_error_is_begun_anew() -> None:
    used: list[FrontProxy] = []
    good = {
        "metadata": {"resourceVersion": "7"},
        "data": {"requestheader-client-ca-file": "-----BEGIN CERTIFICATE-----"},
    }

    class Watched:
        async def get(self, path: str) -> dict[str, Any]:
            return {"metadata": {"resourceVersion": "7"}, "items": [good]}

        async def watch(self, path: str, *, seconds: float) -> Any:
            assert "resourceVersion=7" in path
            yield {"type": "BOOKMARK", "object": {}}
            yield {"type": "MODIFIED", "object": good}
            yield {"type": "ERROR", "object": {"code": 410}}
            raise AssertionError("it goes on after an error")

    asyncio.run(FrontProxyFollower(Watched(), used.append).follow())

    assert len(used) == 2


def test_a_message_is_one_line_of_printable_text() -> None:
    assert b'"message":"a b  "' in status_body(503, "a\nb \ud800")
    assert b'"reason":"Unknown"' in status_body(418, "")
