"""Requests in the words of roles, and refusals that say what to do."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.kubernetes.requests import (
    Asked,
    KubernetesError,
    Query,
    asked,
    one_line,
    refused,
)

CHAT = "/apis/apps/v1/namespaces/llm/deployments/chat"


@pytest.mark.parametrize(
    ("method", "path", "query", "said"),
    [
        pytest.param("GET", CHAT, (), "get deployments.apps llm/chat", id="one object"),
        pytest.param(
            "PATCH", f"{CHAT}/scale", (), "patch deployments.apps/scale llm/chat", id="a part of it"
        ),
        pytest.param(
            "GET", "/api/v1/namespaces/llm/pods", (), "list pods llm", id="a core collection"
        ),
        pytest.param("GET", "/api/v1/pods", (), "list pods", id="everywhere"),
        pytest.param(
            "GET", "/api/v1/pods", (("watch", "true"),), "watch pods", id="a watch of a collection"
        ),
        pytest.param("GET", "/api/v1/namespaces/llm", (), "get namespaces llm", id="a namespace"),
        pytest.param("GET", "/api/v1/namespaces", (), "list namespaces", id="all namespaces"),
        pytest.param(
            "GET",
            "/apis/karpenter.sh/v1/nodepools/h100",
            (),
            "get nodepools.karpenter.sh h100",
            id="an object outside of namespaces",
        ),
        pytest.param("GET", "/apis/apps/v1", (), "get /apis/apps/v1", id="discovery"),
        pytest.param("GET", "/version", (), "get /version", id="something else"),
        pytest.param(
            "POST", "/api/v1/namespaces/llm/events", (), "create events llm", id="a new object"
        ),
        pytest.param("PUT", CHAT, (), "update deployments.apps llm/chat", id="a replaced object"),
        pytest.param("DELETE", CHAT, (), "delete deployments.apps llm/chat", id="a deleted object"),
    ],
)
def test_a_request_in_the_words_of_a_role(method: str, path: str, query: Query, said: str) -> None:
    assert str(asked(method, path, query)) == said


SCALE = asked("PATCH", f"{CHAT}/scale")


def answered(status: int, message: str = "", name: str = "chat", what: Asked = SCALE) -> str:
    body = {"kind": "Status", "message": message, "details": {"name": name} if name else {}}
    return str(refused(what, status, orjson.dumps(body), {}))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        pytest.param(
            answered(401),
            "patch deployments.apps/scale llm/chat: 401, our credentials are not accepted: renew "
            "the token or the certificate",
            id="401",
        ),
        pytest.param(
            answered(403, 'User "system:serviceaccount:llm:a" cannot'),
            "patch deployments.apps/scale llm/chat: 403, not allowed: grant the verb patch on "
            "deployments.apps/scale in namespace llm to the autoscaler "
            '(User "system:serviceaccount:llm:a" cannot)',
            id="403",
        ),
        pytest.param(
            answered(403, what=asked("GET", "/api/v1/pods")),
            "list pods: 403, not allowed: grant the verb list on pods to the autoscaler "
            "(no reason given)",
            id="403 everywhere",
        ),
        pytest.param(
            answered(404),
            "patch deployments.apps/scale llm/chat: 404, there is no such object",
            id="404 of an object",
        ),
        pytest.param(
            answered(404, name=""),
            "patch deployments.apps/scale llm/chat: 404, the cluster does not serve "
            "deployments.apps/scale: check apiVersion and kind, and that its CRD is installed",
            id="404 of a kind",
        ),
        pytest.param(
            answered(409, "the object has been modified"),
            "patch deployments.apps/scale llm/chat: 409, changed by somebody else meanwhile "
            "(the object has been modified)",
            id="409",
        ),
        pytest.param(
            answered(422, "must be greater than or equal to 0"),
            "patch deployments.apps/scale llm/chat: 422, refused as invalid: "
            "must be greater than or equal to 0",
            id="422",
        ),
        pytest.param(
            answered(503),
            "patch deployments.apps/scale llm/chat: 503, no reason given",
            id="anything else",
        ),
    ],
)
def test_a_refusal_says_what_to_do(found: str, said: str) -> None:
    assert found == said


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"[]", b'{"message": "x"}', b""])
def test_only_the_words_of_a_status_are_quoted(body: bytes) -> None:
    assert str(refused(SCALE, 502, body, {})).endswith("502, no reason given")


def test_a_secret_is_never_repeated() -> None:
    body = orjson.dumps({"kind": "Status", "message": "bad header\n Bearer s3cret"})

    error = refused(SCALE, 400, body, {}, ("s3cret", ""))

    assert str(error).endswith("400, bad header Bearer ***")


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3.0), ("0", 0.0), ("soon", None), ("-1", None), (None, None)]
)
def test_how_long_the_server_wants_us_to_wait(text: str | None, seconds: float | None) -> None:
    headers = {} if text is None else {"Retry-After": text}

    assert refused(SCALE, 429, b"", headers).retry_after == seconds


@given(text=st.text(), secrets=st.lists(st.text(min_size=1)))
def test_a_message_is_one_short_line(text: str, secrets: list[str]) -> None:
    said = one_line(text, secrets)

    assert "\n" not in said
    assert len(said) <= 300


@pytest.mark.parametrize(
    ("method", "status", "sent", "passes"),
    [
        pytest.param("PATCH", None, True, True, id="a lost patch may be sent again"),
        pytest.param("GET", 503, True, True, id="an overloaded server recovers"),
        pytest.param("GET", 404, True, False, id="what is not there does not come by asking"),
        pytest.param("POST", None, True, False, id="a lost creation may have happened"),
        pytest.param("POST", None, False, True, id="one that was not sent has not"),
        pytest.param("POST", 429, True, True, id="nor one that was put off"),
        pytest.param("POST", 503, True, False, id="one that failed inside may have"),
    ],
)
def test_what_may_be_sent_twice(method: str, status: int | None, sent: bool, passes: bool) -> None:
    error = KubernetesError("no", asked=asked(method, CHAT), status=status, sent=sent)

    assert error.passes is passes
