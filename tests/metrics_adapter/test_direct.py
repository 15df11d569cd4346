"""Requests that do not come through the API server: whom they are taken for, and what they get."""

import datetime as dt
import http.client
import json
import ssl

import pytest
import trustme
from structlog.testing import capture_logs

from metrics_adapter import front_proxy
from metrics_adapter.identity import FrontProxy, User
from tests.metrics_adapter.cluster import HPA, FakeCluster, raw
from tests.metrics_adapter.conftest import AGGREGATOR, AS_HPA, Running, Start, request
from tests.waiting import until

VALUE = "/apis/external.metrics.k8s.io/v1beta1/namespaces/llm/load"
LIST = "/apis/external.metrics.k8s.io/v1beta1"
MASTERS = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no headers"),
        pytest.param(MASTERS, id="masters headers"),
        pytest.param({"X-Remote-User": HPA}, id="the HPA's name"),
    ],
)
def test_without_a_certificate_one_is_anonymous(adapter: Running, headers: dict[str, str]) -> None:
    answer = adapter.get(VALUE, headers, proxied=False)

    assert answer.status == 403
    assert 'User "system:anonymous" cannot list resource "load"' in answer.message
    assert adapter.get(LIST, headers, proxied=False).status == 403
    assert adapter.get("/anything", headers, proxied=False).status == 403


def test_a_certificate_of_the_cluster_s_authority_ends_the_handshake(
    adapter: Running, cluster: FakeCluster
) -> None:
    certificate = cluster.authority.issue_cert(common_name="front-proxy-client")

    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        adapter.ask(VALUE, MASTERS, certificate)


@pytest.mark.parametrize("name", ["front-proxy-client", "kubernetes-admin"])
def test_a_certificate_of_a_strange_authority_ends_the_handshake(
    adapter: Running, name: str
) -> None:
    certificate = trustme.CA().issue_cert(common_name=name)

    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        adapter.ask(VALUE, MASTERS, certificate)


def test_an_expired_certificate_ends_the_handshake(adapter: Running, front: trustme.CA) -> None:
    expired = front.issue_cert(
        common_name="front-proxy-client",
        not_before=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        not_after=dt.datetime(2021, 1, 1, tzinfo=dt.UTC),
    )

    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        adapter.ask(VALUE, MASTERS, expired)


def test_another_name_of_the_front_proxy_s_authority_is_anonymous(
    adapter: Running, front: trustme.CA
) -> None:
    answer = adapter.ask(VALUE, MASTERS, front.issue_cert(common_name="somebody-else"))

    assert answer.status == 403
    assert "system:anonymous" in answer.message


def test_a_second_name_in_the_certificate_is_not_enough(
    adapter: Running, front: trustme.CA
) -> None:
    """A subject alternative name is not the common name."""
    certificate = front.issue_cert("front-proxy-client", common_name="somebody-else")

    assert adapter.ask(VALUE, MASTERS, certificate).status == 403


def test_the_front_proxy_without_a_user_is_anonymous(adapter: Running) -> None:
    answer = adapter.get(VALUE, {"X-Remote-Group": "system:masters"})

    assert answer.status == 403
    assert "system:anonymous" in answer.message


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        pytest.param("system:anonymous", ["system:unauthenticated"], id="nobody"),
        pytest.param("system:anonymous", ["system:masters"], id="nobody among masters"),
        pytest.param("somebody", ["system:unauthenticated"], id="who did not prove it"),
    ],
)
def test_nobody_stays_nobody_through_the_front_proxy(
    adapter: Running, cluster: FakeCluster, user: str, groups: list[str]
) -> None:
    headers = [("X-Remote-User", user), *(("X-Remote-Group", one) for one in groups)]

    assert adapter.get(LIST, headers).status == (200 if "system:masters" in groups else 403)
    review = cluster.reviews()[-1]
    assert (review["user"], review["groups"]) == (user, groups)


@pytest.mark.parametrize(
    ("header", "proxied", "status"),
    [
        pytest.param(b"Authorization: Bearer \xff\xfe", False, 401, id="a token"),
        pytest.param("Authorization: Bearer caf\u00e9".encode(), False, 401, id="a word"),
        pytest.param(b"X-Remote-User: \xff", True, 400, id="a user"),
        pytest.param(b"X-Remote-User: u\r\nX-Remote-Group: \xff", True, 400, id="a group"),
        pytest.param(b"X-Remote-User: u\r\nX-Remote-Extra-A: \xff", True, 400, id="more"),
        pytest.param("X-Remote-User: caf\u00e9".encode(), True, 403, id="a user with an accent"),
    ],
)
def test_bytes_that_are_no_text_are_nobody(
    adapter: Running, cluster: FakeCluster, header: bytes, proxied: bool, status: int
) -> None:
    data = f"GET {VALUE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + header
    certificate = adapter.front_proxy_client if proxied else None

    with capture_logs() as logs:
        found = raw(adapter.address, adapter.context(certificate), data + b"\r\n\r\n")

    assert found.startswith(f"HTTP/1.1 {status} ".encode())
    assert json.loads(found.partition(b"\r\n\r\n")[2])["code"] == status
    assert not [one for one in logs if one["log_level"] == "error"]


def test_the_front_proxy_speaks_for_a_user_without_rights(adapter: Running) -> None:
    answer = adapter.get(VALUE, {"X-Remote-User": "bob"})

    assert answer.status == 403
    assert answer.message == (
        'User "bob" cannot list resource "load" in API group "external.metrics.k8s.io" '
        'in the namespace "llm"'
    )


@pytest.mark.parametrize("headers", [AS_HPA, MASTERS], ids=["the HPA", "masters"])
def test_the_front_proxy_speaks_for_users_with_rights(adapter: Running, headers: object) -> None:
    assert adapter.get(VALUE, headers).status == 200  # type: ignore[arg-type]


def test_a_token_without_rights_is_its_own_user_whatever_the_headers_say(
    adapter: Running, cluster: FakeCluster
) -> None:
    cluster.tokens["weak"] = {"username": "weak"}

    answer = adapter.get(VALUE, {**MASTERS, "Authorization": "Bearer weak"}, proxied=False)

    assert answer.status == 403
    assert 'User "weak" cannot list' in answer.message


def test_a_token_with_rights_is_answered(adapter: Running, cluster: FakeCluster) -> None:
    cluster.tokens["good"] = {
        "username": "prometheus", "uid": "u", "groups": ["monitoring"], "extra": {"k": ["v"]},
    }  # fmt: skip
    cluster.rights.of["prometheus"] = {"load"}
    headers = {"Authorization": "Bearer good"}

    assert adapter.get(VALUE, headers, proxied=False).status == 200
    assert adapter.get(LIST, headers, proxied=False).status == 200
    wide, narrow = cluster.reviews()
    assert wide["resourceAttributes"]["resource"] == "*"
    assert narrow == {
        "user": "prometheus",
        "uid": "u",
        "groups": ["monitoring", "system:authenticated"],
        "extra": {"k": ["v"]},
        "resourceAttributes": {
            "verb": "list",
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "namespace": "llm",
            "resource": "load",
        },
    }


def test_a_token_that_nobody_owns_is_refused(adapter: Running) -> None:
    answer = adapter.get(VALUE, {"Authorization": "Bearer rubbish"}, proxied=False)

    assert answer.status == 401
    assert answer.document["reason"] == "Unauthorized"


def test_a_token_review_without_a_name_is_refused(adapter: Running, cluster: FakeCluster) -> None:
    cluster.tokens["odd"] = {"groups": ["system:masters"]}

    assert adapter.get(VALUE, {"Authorization": "Bearer odd"}, proxied=False).status == 401


def test_rights_are_remembered_for_ten_seconds(adapter: Running, cluster: FakeCluster) -> None:
    assert adapter.get(VALUE, AS_HPA).status == 200
    cluster.rights.of[HPA] = set()

    assert adapter.get(VALUE, AS_HPA).status == 200
    adapter.clock.now += 10
    assert adapter.get(VALUE, AS_HPA).status == 403
    cluster.rights.of[HPA] = {"*"}
    assert adapter.get(VALUE, AS_HPA).status == 403
    adapter.clock.now += 3
    assert adapter.get(VALUE, AS_HPA).status == 200


def test_what_cannot_be_asked_is_refused_and_discovery_goes_on(
    adapter: Running, cluster: FakeCluster
) -> None:
    cluster.broken = True

    assert adapter.get(VALUE, AS_HPA).status == 503
    assert adapter.get(VALUE, MASTERS).status == 200
    assert adapter.get(LIST, {"X-Remote-User": "system:kube-aggregator"}).status == 200
    assert adapter.get(LIST, AGGREGATOR).status == 200
    assert adapter.get(VALUE, {"Authorization": "Bearer x"}, proxied=False).status == 503


def test_a_new_front_proxy_is_trusted_and_the_old_one_is_not(
    adapter: Running, cluster: FakeCluster
) -> None:
    open_before = adapter.connect(adapter.front_proxy_client)
    assert request(open_before, VALUE, AS_HPA).status == 200
    renewed = trustme.CA()

    cluster.trusts(renewed, "proxy-2")
    until(lambda: _allowed(adapter) == {"proxy-2"})

    assert adapter.ask(VALUE, AS_HPA, renewed.issue_cert(common_name="proxy-2")).status == 200
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        adapter.get(VALUE, AS_HPA)
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        request(open_before, VALUE, AS_HPA)
    open_before.close()


def test_an_unusable_front_proxy_changes_nothing(
    start: Start, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_proxy, "PAUSE_SECONDS", 0.02)
    adapter = start()
    with cluster._changed:
        cluster._version += 1
        cluster.config_map = {
            "metadata": {"resourceVersion": str(cluster._version)},
            "data": {"requestheader-client-ca-file": "rubbish"},
        }
        cluster._changed.notify_all()
    before = len(cluster.asked)
    until(lambda: len(cluster.asked) > before)  # it asks again, for what came was no use

    assert adapter.get(VALUE, AS_HPA).status == 200
    assert _allowed(adapter) == {"front-proxy-client"}


def test_no_certificate_can_be_used_before_the_front_proxy_is_known(
    start: Start, cluster: FakeCluster
) -> None:
    cluster.config_map = {}
    adapter = start(follows=False)

    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        adapter.get(LIST, AGGREGATOR)
    ready = adapter.get("/readyz", proxied=False)
    assert ready.status == 503
    assert ready.message == "the front proxy's authority is not known yet"
    assert adapter.get("/livez", proxied=False).body == b"ok"
    assert adapter.get("/healthz", proxied=False).status == 200


def _allowed(adapter: Running) -> frozenset[str]:
    server = adapter.adapter._server
    assert server is not None
    assert server.front_proxy is not None
    return server.front_proxy.allowed_names


def test_users_with_very_much_about_them_are_told_apart_and_not_remembered() -> None:
    front = FrontProxy("a certificate")

    def user(extra: str) -> User | None:
        return front.user([("X-Remote-User", "bob"), ("X-Remote-Extra-Why", extra)])

    first, second = user("a" * 5000), user("a" * 4999 + "b")

    assert first != second
    assert first is not user("a" * 5000)
    assert user("short") is user("short")
    assert front.user([("X-Remote-Group", "system:masters")]) is None
