"""Requests: which are answered, which are refused, and with which headers."""

import http.client
import json
import socket

import pytest

from autoscaler.telemetry.latest import Latest
from tests.telemetry.conftest import Serve, get
from tests.telemetry.reports import a_report


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/v1/cycles?limit=0", 400, id="no cycles"),
        pytest.param("/v1/cycles?limit=241", 400, id="more than are kept"),
        pytest.param("/v1/cycles?limit=%C2%B2", 400, id="a digit that is no number"),
        pytest.param("/v1/cycles?limit=1e1", 400, id="no whole number"),
        pytest.param("/v1/plan?after=x&wait=nan", 400, id="no time at all"),
        pytest.param("/v1/plan?after=x&wait=-1", 400, id="a time before now"),
        pytest.param("/v1/plan?after=x&wait=soon", 400, id="a word"),
        pytest.param("/nowhere", 404, id="no such path"),
        pytest.param("/v1/../etc/passwd", 404, id="a way up"),
        pytest.param("/v1/workloads/%2e%2e/%2e%2e", 404, id="a hidden way up"),
        pytest.param("//v1/plan", 404, id="two slashes"),
        pytest.param("/v1/workloads/" + "x" * 3000, 404, id="a long name"),
    ],
)
def test_a_bad_request_is_told_in_one_line(
    serve: Serve, latest: Latest, path: str, status: int
) -> None:
    server = serve()
    latest.publish(a_report())

    found, _, body = get(server, path)

    assert found == status
    assert "\n" not in json.loads(body)["error"]
    assert len(body) < 300


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/v1/plan", "/metrics", "/nowhere"])
def test_nothing_but_get_and_head_is_answered(serve: Serve, method: str, path: str) -> None:
    status, headers, _ = get(serve(), path, method)

    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_head_has_the_headers_and_no_body(serve: Serve, latest: Latest) -> None:
    server = serve()
    latest.publish(a_report())

    status, headers, body = get(server, "/v1/plan", "HEAD")

    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 100


def test_a_request_with_a_body_is_refused(serve: Serve) -> None:
    connection = http.client.HTTPConnection(*serve().address, timeout=10)
    connection.request("GET", "/v1/cycles", body=b"x" * 100)

    answer = connection.getresponse()

    assert answer.status == 413
    connection.close()


def test_every_answer_has_the_headers_of_a_careful_server(serve: Serve) -> None:
    for path in ("/", "/metrics", "/healthz", "/v1/plan", "/nowhere"):
        _, headers, _ = get(serve(), path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cache-control"] == "no-store"
        assert headers["server"] == "inference-autoscaler"


def test_http_1_0_is_answered_and_closed(serve: Serve) -> None:
    with socket.create_connection(serve().address) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        answer = b""
        while block := connection.recv(65536):
            answer += block

    assert answer.startswith(b"HTTP/1.0 200")
