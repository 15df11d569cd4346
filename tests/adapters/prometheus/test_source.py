"""One Prometheus over real HTTP: what it answers, and what becomes of everything else."""

import base64
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from pydantic import ValidationError

from autoscaler.adapters.prometheus.errors import (
    BadQueryError,
    MalformedError,
    OverloadedError,
    RestingError,
    SourceError,
    TimedOutError,
    UnauthorisedError,
    UnreachableError,
)
from autoscaler.adapters.prometheus.settings import SourceSettings
from autoscaler.adapters.prometheus.source import PrometheusSource
from autoscaler.core.errors import ObservationError
from tests.builders import NOON
from tests.fakes.prometheus_double import (
    HTML,
    Asked,
    Fault,
    Faulting,
    Line,
    PrometheusDouble,
    always,
)

QUICK = {"retry": {"backoffSeconds": 0.01, "maxBackoffSeconds": 0.02}}


def one_line(_: Asked) -> list[Line]:
    return [Line({"model_name": "m"}, always(7.0))]


@pytest.fixture
def double() -> Iterator[PrometheusDouble]:
    with PrometheusDouble(one_line) as server:
        yield server


def a_source(url: str, **settings: Any) -> PrometheusSource:
    return PrometheusSource(SourceSettings.model_validate({"url": url, **QUICK, **settings}))


def failure_of(source: PrometheusSource, promql: str = "up", **how: Any) -> SourceError:
    with pytest.raises(SourceError) as raised:
        source.query_range(promql, NOON, NOON + 30, 15, **how)
    assert isinstance(raised.value, ObservationError)
    assert "\n" not in str(raised.value)
    return raised.value


def times(count: int, fault: Fault) -> Faulting:
    """The first so many requests go wrong."""
    left = iter([fault] * count)
    return lambda _: next(left, None)


# --- what is asked ---------------------------------------------------------------------------


def test_a_range_comes_back_whole_and_at_the_times_that_were_asked_for(
    double: PrometheusDouble,
) -> None:
    double.clock = lambda: NOON + 31
    with a_source(double.url) as source:
        answer = source.query_range("up", NOON + 0.25, NOON + 30.25, 15)

    assert answer.kind == "matrix"
    assert answer.rows[0]["metric"] == {"model_name": "m"}
    assert answer.rows[0]["values"] == [[NOON + 0.25 + 15 * n, "7.0"] for n in range(3)]
    assert answer.date == NOON + 31
    assert answer.body_bytes > 50


def test_an_instant_query_asks_at_one_time(double: PrometheusDouble) -> None:
    with a_source(double.url) as source:
        answer = source.query("up", NOON)

    assert answer.kind == "vector"
    assert answer.rows[0]["value"] == [NOON, "7.0"]


def test_the_server_is_told_to_stop_when_we_do(double: PrometheusDouble) -> None:
    with a_source(double.url, timeoutSeconds=3) as source:
        source.query("up", NOON)

    assert double.asked[0].form["timeout"].endswith("ms")
    assert 2000 < int(double.asked[0].form["timeout"].removesuffix("ms")) <= 3000


def test_a_long_query_travels_in_the_body_and_a_short_one_in_the_address(
    double: PrometheusDouble,
) -> None:
    long = "up{pod=~'" + "a|" * 3000 + "b'}"
    with a_source(double.url) as source:
        source.query("up", NOON)
        source.query(long, NOON)

    short, posted = double.asked
    assert (short.method, short.promql) == ("GET", "up")
    assert (posted.method, posted.promql) == ("POST", long)
    assert "query=" not in posted.path


def test_connections_are_used_again(double: PrometheusDouble) -> None:
    accepted = []
    original = double._server.process_request
    double._server.process_request = lambda *given: (accepted.append(given), original(*given))  # type: ignore[method-assign,func-returns-value,assignment]
    with a_source(double.url) as source:
        for _ in range(5):
            source.query("up", NOON)

    assert len(double.asked) == 5
    assert len(accepted) == 1


def test_warnings_and_infos_are_kept(double: PrometheusDouble) -> None:
    double.fault = lambda _: Fault(warnings=("store eu-1 is gone",), infos=("not a counter",))
    with a_source(double.url) as source:
        answer = source.query("up", NOON)

    assert answer.warnings == ("store eu-1 is gone",)
    assert answer.infos == ("not a counter",)


def test_a_path_before_the_api_is_kept(double: PrometheusDouble) -> None:
    with a_source(f"{double.url}/tenant/prometheus/") as source:
        source.query("up", NOON)

    assert double.asked[0].path.startswith("/tenant/prometheus/api/v1/query?")


def test_an_answer_can_be_taken_once(double: PrometheusDouble) -> None:
    with a_source(double.url) as source:
        source.query("up", NOON)
        client = source._idle.get_nowait()
        with pytest.raises(LookupError, match="nothing was asked"):
            client.session.taken()
        client.close()


# --- who we are ------------------------------------------------------------------------------


def test_headers_of_a_tenant_go_with_every_call(double: PrometheusDouble) -> None:
    with a_source(double.url, headers={"X-Scope-OrgID": "team-a"}) as source:
        source.query("up", NOON)

    assert double.asked[0].headers["x-scope-orgid"] == "team-a"


def test_a_bearer_token_is_read_again_for_every_call(
    double: PrometheusDouble, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first-token\n")
    with a_source(double.url, auth={"bearerTokenFile": str(token)}) as source:
        source.query("up", NOON)
        token.write_text("second-token\n")
        source.query("up", NOON)

    sent = [asked.headers["authorization"] for asked in double.asked]
    assert sent == ["Bearer first-token", "Bearer second-token"]


def test_basic_auth_takes_its_password_from_a_file(
    double: PrometheusDouble, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("open sesame")
    basic = {"username": "ada", "passwordFile": str(tmp_path / "password")}
    with a_source(double.url, auth={"basic": basic}) as source:
        source.query("up", NOON)

    expected = base64.b64encode(b"ada:open sesame").decode()
    assert double.asked[0].headers["authorization"] == f"Basic {expected}"


def test_a_user_in_the_address_is_sent_and_never_shown(double: PrometheusDouble) -> None:
    double.fault = lambda _: Fault(status=400, body=b'{"status":"error","error":"p%40ss? p@ss!"}')
    with a_source(double.url.replace("//", "//ada:p%40ss@")) as source:
        error = failure_of(source)

    expected = base64.b64encode(b"ada:p@ss").decode()
    assert double.asked[0].headers["authorization"] == f"Basic {expected}"
    assert "p@ss" not in str(error)
    assert "p%40ss" not in str(error)
    assert "ada" not in repr(source.settings)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="absent"),
        pytest.param(b" \n", "is empty", id="empty"),
        pytest.param(b"a\r\nHost: evil", "should hold one line of printable ASCII", id="two lines"),
        pytest.param(b"\xff\xfe", "cannot be read: not UTF-8 text", id="binary"),
    ],
)
def test_a_token_file_without_a_token_is_told_of_and_nothing_is_asked(
    double: PrometheusDouble, tmp_path: Path, content: bytes | None, rule: str
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    with a_source(double.url, auth={"bearerTokenFile": str(token)}) as source:
        error = failure_of(source)

    assert str(error) == f"default: unauthorised: bearerTokenFile {token} {rule}"
    assert isinstance(error, UnauthorisedError)
    assert double.asked == []


def test_no_secret_is_in_any_message_whatever_the_server_repeats(
    double: PrometheusDouble, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("s3cr3t-token")
    body = b'{"status":"error","errorType":"bad_data","error":"Bearer s3cr3t-token, my-tenant-key"}'
    double.fault = lambda _: Fault(status=400, body=body)
    with a_source(
        double.url,
        auth={"bearerTokenFile": str(tmp_path / "token")},
        headers={"X-Api-Key": "my-tenant-key"},
    ) as source:
        error = failure_of(source)

    assert "s3cr3t" not in str(error)
    assert "my-tenant-key" not in str(error)
    assert str(error).startswith("default: bad query: Bearer ***, ***")
    assert "my-tenant-key" not in repr(source.settings)


def test_neither_netrc_nor_a_proxy_of_the_environment_gets_between(
    double: PrometheusDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login eve password eve")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with a_source(double.url) as source:
        source.query("up", NOON)

    assert "authorization" not in double.asked[0].headers


# --- what goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "text", "asked"),
    [
        pytest.param(
            Fault(status=400, body=b'{"status":"error","error":"parse\\nerr"}'),
            BadQueryError, "bad query: parse err (HTTP 400 from {url})", 1, id="400",
        ),
        pytest.param(
            Fault(status=422, body=b'{"status":"error","error":"many-to-many"}'),
            BadQueryError, "bad query: many-to-many (HTTP 422 from {url})", 1, id="422",
        ),
        pytest.param(
            Fault(status=503, body=b'{"status":"error","errorType":"timeout","error":"timed out"}'),
            OverloadedError, "overloaded: timed out (HTTP 503 from {url})", 3, id="503",
        ),
        pytest.param(
            Fault(status=500, body=b"oops"),
            OverloadedError, "overloaded: Internal Server Error (HTTP 500 from {url})", 3, id="500",
        ),
        pytest.param(
            Fault(status=429, body=b"", headers={"Retry-After": "0.01"}),
            OverloadedError, "overloaded: Too Many Requests (HTTP 429 from {url})", 3, id="429",
        ),
        pytest.param(
            Fault(status=401, body=b"nope"),
            UnauthorisedError, "unauthorised: the credentials are refused (HTTP 401 from {url})", 1,
            id="401",
        ),
        pytest.param(
            Fault(status=403, body=b'{"message":"forbidden for tenant"}'),
            UnauthorisedError, "unauthorised: forbidden for tenant (HTTP 403 from {url})", 1,
            id="403",
        ),
        pytest.param(
            Fault(status=302, body=b"", headers={"Location": "http://login/"}),
            MalformedError,
            "malformed answer: a redirect: the url is wrong, or a login stands before it "
            "(HTTP 302 from {url})", 1, id="redirect",
        ),
        pytest.param(
            Fault(status=404, body=b"404 page not found"),
            MalformedError, "malformed answer: there is no Prometheus API at this url "
            "(HTTP 404 from {url})", 1, id="404",
        ),
        pytest.param(
            HTML, MalformedError, "malformed answer: not JSON but text/html (HTTP 200 from {url})",
            1, id="login page",
        ),
        pytest.param(
            Fault(body=b"[1, 2]"), MalformedError,
            "malformed answer: JSON that is no query result (HTTP 200 from {url})", 1, id="a list",
        ),
        pytest.param(
            Fault(body=b'{"status":"success","data":{"result":null}}'), MalformedError,
            "malformed answer: JSON that is no query result (HTTP 200 from {url})", 1,
            id="no result",
        ),
        pytest.param(
            Fault(body=b'{"status":"success","data":{"resultType":"matrix","result":[1]}}'),
            MalformedError, "malformed answer: a row of the answer is not an object", 1,
            id="bad row",
        ),
        pytest.param(
            Fault(body=b'{"status":"error","errorType":"bad_data","error":"no"}'),
            BadQueryError, "bad query: no (HTTP 200 from {url})", 1, id="error with status 200",
        ),
        pytest.param(
            Fault(reset=True), UnreachableError, "unreachable: {url}: connection reset by peer", 3,
            id="reset",
        ),
        pytest.param(
            Fault(hang_up=True), UnreachableError,
            "unreachable: {url}: the connection was closed", 3, id="hang up",
        ),
        pytest.param(
            Fault(half=True), UnreachableError,
            "unreachable: {url}: the answer broke off in the middle", 3, id="half a body",
        ),
        pytest.param(
            Fault(headers={"Content-Encoding": "gzip"}), MalformedError,
            "malformed answer: {url}: the compressed body is damaged", 1, id="bad gzip",
        ),
    ],
)  # fmt: skip
def test_each_fault_is_told_in_one_line_and_retried_only_where_that_helps(
    double: PrometheusDouble, fault: Fault, kind: type[SourceError], text: str, asked: int
) -> None:
    double.fault = lambda _: fault
    with a_source(double.url) as source:
        error = failure_of(source)

    assert type(error) is kind
    assert str(error) == f"default: {text.format(url=double.url)}"
    assert len(double.asked) == asked


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(status=503, body=b""), id="overload"),
        pytest.param(Fault(reset=True), id="reset"),
        pytest.param(Fault(half=True), id="half a body"),
    ],
)
def test_what_passes_is_tried_again_and_answered(double: PrometheusDouble, fault: Fault) -> None:
    double.fault = times(2, fault)
    with a_source(double.url) as source:
        answer = source.query("up", NOON)

    assert len(answer.rows) == 1
    assert len(double.asked) == 3


def test_nobody_listening_is_told_by_address() -> None:
    with PrometheusDouble(one_line) as gone:
        url = gone.url
    with a_source(url) as source:
        error = failure_of(source)

    assert str(error) == f"default: unreachable: {url}: connection refused"
    assert isinstance(error, UnreachableError)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(delay_seconds=30), id="no byte at all"),
        pytest.param(Fault(drip_seconds=0.3), id="a byte now and then"),
    ],
)
def test_a_call_ends_at_its_deadline_whatever_the_server_does(
    double: PrometheusDouble, fault: Fault
) -> None:
    double.fault = lambda _: fault
    begun = time.monotonic()
    with a_source(double.url, timeoutSeconds=0.4) as source:
        error = failure_of(source)

    assert isinstance(error, TimedOutError)
    assert str(error).startswith("default: timed out: no whole answer within 0.4")
    assert time.monotonic() - begun < 10.0  # the server would take half a minute


def test_tries_stay_within_the_deadline(double: PrometheusDouble) -> None:
    double.fault = lambda _: Fault(status=429, body=b"", headers={"Retry-After": "60"})
    begun = time.monotonic()
    with a_source(double.url, timeoutSeconds=20) as source:
        error = failure_of(source)

    assert isinstance(error, OverloadedError)
    assert error.retry_after == 60
    assert len(double.asked) == 1
    assert time.monotonic() - begun < 10.0


def test_waits_between_tries_double_and_jitter(double: PrometheusDouble) -> None:
    double.fault = lambda _: Fault(status=503, body=b"")
    waits: list[float] = []
    settings = SourceSettings.model_validate(
        {
            "url": double.url,
            "retry": {"attempts": 4, "backoffSeconds": 0.1, "maxBackoffSeconds": 0.3},
        }
    )
    with PrometheusSource(settings, chance=np.random.default_rng(1), sleep=waits.append) as source:
        failure_of(source)

    assert [0.1 <= waits[0] <= 0.15, 0.2 <= waits[1] <= 0.3, 0.3 <= waits[2] <= 0.45] == [True] * 3


def test_a_call_without_time_left_is_not_made(double: PrometheusDouble) -> None:
    with a_source(double.url) as source:
        error = failure_of(source, deadline=time.monotonic() - 1)

    assert "no time was left" in str(error) or "under way" in str(error)
    assert double.asked == []


def test_an_answer_that_would_fill_the_memory_is_refused(double: PrometheusDouble) -> None:
    double.fault = lambda _: Fault(body=b" " * (3 << 20))
    with a_source(double.url, maxAnswerMebibytes=1) as source:
        error = failure_of(source)

    assert (
        str(error) == "default: malformed answer: the answer is longer than maxAnswerMebibytes (1)"
    )
    assert error.too_large


def test_no_more_calls_at_once_than_the_source_allows(double: PrometheusDouble) -> None:
    double.fault = lambda _: Fault(delay_seconds=0.05)
    with a_source(double.url, maxConcurrency=2) as source:
        threads = [threading.Thread(target=source.query, args=("up", NOON)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(double.asked) == 8
    assert double.most_open == 2


def test_a_call_that_finds_no_free_place_gives_up_at_its_deadline(double: PrometheusDouble) -> None:
    double.fault = lambda _: Fault(delay_seconds=2.0)
    with a_source(double.url, maxConcurrency=1) as source:
        first = threading.Thread(target=source.query, args=("up", NOON))
        first.start()
        while not double.asked:
            time.sleep(0.005)
        error = failure_of(source, deadline=time.monotonic() + 0.05)
        first.join()

    assert str(error) == "default: timed out: 1 calls are under way, none came back"


# --- the circuit breaker around it -----------------------------------------------------------


def test_a_source_that_keeps_failing_is_left_alone(double: PrometheusDouble) -> None:
    double.fault = lambda _: Fault(status=503, body=b"")
    breaker = {"failures": 2, "restSeconds": 100, "maxRestSeconds": 100}
    with a_source(double.url, retry={"attempts": 1}, breaker=breaker) as source:
        failures = [failure_of(source) for _ in range(4)]

    assert [type(failure) for failure in failures] == [OverloadedError] * 2 + [RestingError] * 2
    assert len(double.asked) == 2
    assert "not asked: 2 calls failed in a row, next try in" in str(failures[-1])


def test_bad_queries_do_not_open_the_circuit(double: PrometheusDouble) -> None:
    double.fault = lambda _: Fault(status=400, body=b'{"status":"error","error":"no"}')
    with a_source(double.url, breaker={"failures": 1}) as source:
        failures = [failure_of(source) for _ in range(3)]

    assert [type(failure) for failure in failures] == [BadQueryError] * 3


def test_a_call_that_had_to_be_short_does_not_open_the_circuit(double: PrometheusDouble) -> None:
    double.fault = lambda _: Fault(delay_seconds=0.3)
    with a_source(double.url, timeoutSeconds=5, breaker={"failures": 1}) as source:
        failure_of(source, deadline=time.monotonic() + 0.05)
        double.fault = lambda _: None
        answer = source.query("up", NOON)

    assert len(answer.rows) == 1


# --- TLS -------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return authority


@pytest.fixture
def secure(double: PrometheusDouble, authority: trustme.CA) -> Callable[[bool], str]:
    def start(client_certificate: bool) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        if client_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            authority.configure_trust(context)
        double._server.socket = context.wrap_socket(double._server.socket, server_side=True)
        return double.url.replace("http://", "https://")

    return start


def test_a_certificate_of_our_own_authority_is_trusted(
    secure: Callable[[bool], str], tmp_path: Path
) -> None:
    with a_source(secure(False), tls={"caFile": str(tmp_path / "ca.pem")}) as source:
        assert len(source.query("up", NOON).rows) == 1


def test_a_certificate_of_a_stranger_is_not(secure: Callable[[bool], str]) -> None:
    url = secure(False)
    with a_source(url) as source:
        error = failure_of(source)

    assert isinstance(error, UnreachableError)
    assert str(error).startswith(f"default: unreachable: {url}: TLS: unable to get local issuer")


def test_verification_is_only_off_where_the_settings_say_so(secure: Callable[[bool], str]) -> None:
    with a_source(secure(False), tls={"insecureSkipVerify": True}) as source:
        assert len(source.query("up", NOON).rows) == 1


def test_our_own_certificate_is_shown(
    secure: Callable[[bool], str], authority: trustme.CA, tmp_path: Path
) -> None:
    ours = authority.issue_cert("autoscaler")
    ours.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    tls = {"caFile": str(tmp_path / "ca.pem")}
    own = {"certFile": str(tmp_path / "cert.pem"), "keyFile": str(tmp_path / "key.pem")}
    url = secure(True)
    with a_source(url, tls={**tls, **own}) as source:
        assert len(source.query("up", NOON).rows) == 1
    with a_source(url, tls=tls) as source:
        assert isinstance(failure_of(source), UnreachableError)


def test_a_drip_over_tls_ends_at_the_deadline_too(
    double: PrometheusDouble, secure: Callable[[bool], str], tmp_path: Path
) -> None:
    double.fault = lambda _: Fault(drip_seconds=0.3)
    begun = time.monotonic()
    with a_source(
        secure(False), tls={"caFile": str(tmp_path / "ca.pem")}, timeoutSeconds=0.5
    ) as source:
        assert isinstance(failure_of(source), TimedOutError)

    assert time.monotonic() - begun < 10.0


def test_an_authority_file_that_is_not_there_is_named(double: PrometheusDouble) -> None:
    with a_source(
        double.url.replace("http:", "https:"), tls={"caFile": "/nowhere/ca.pem"}
    ) as source:
        error = failure_of(source)

    assert "/nowhere/ca.pem" in str(error)


# --- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        pytest.param({"url": "prometheus:9090"}, "begin with http", id="no scheme"),
        pytest.param({"url": "http://[::1"}, "url should be http(s)", id="broken"),
        pytest.param({"url": "http://h/?token=x"}, "end before any ?", id="query"),
        pytest.param({"url": "http://h/a b"}, "no spaces", id="space"),
        pytest.param({"url": "http://h", "auth": {}}, "either bearerTokenFile or basic", id="auth"),
        pytest.param(
            {"url": "http://a:b@h", "auth": {"bearerTokenFile": "/t"}}, "no user", id="two users"
        ),
        pytest.param(
            {"url": "http://h", "tls": {"certFile": "/c"}}, "given together", id="half a pair"
        ),
        pytest.param(
            {"url": "http://h", "tls": {"caFile": "/c", "insecureSkipVerify": True}},
            "insecureSkipVerify should be false", id="trust and no trust",
        ),
        pytest.param({"url": "http://h", "headers": {"A B": "x"}}, "header names", id="name"),
        pytest.param(
            {"url": "http://h", "headers": {"Authorization": "x"}}, "use auth", id="ours"
        ),
        pytest.param(
            {"url": "http://h", "headers": {"X-A": "a\nb"}}, "printable ASCII", id="two headers"
        ),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValidationError, match="should") as raised:
        SourceSettings.model_validate(settings)

    assert rule in str(raised.value)


def test_a_wrong_setting_does_not_show_the_password() -> None:
    with pytest.raises(ValidationError) as raised:
        SourceSettings.model_validate({"url": "http://ada:hunter2@h/?x=1"})

    assert "hunter2" not in str(raised.value)
