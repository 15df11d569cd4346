"""What goes wrong between the controller and its Prometheus."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import ThreadingHTTPServer
from unittest.mock import patch

from tests.fakes.prometheus_double import (
    HTML,
    Asked,
    Fault,
    Line,
    PrometheusDouble,
    _Handler,
    _Server,
)
from tests.faults.injection import fault
from tests.faults.metrics import RUNNING, WAITING
from tests.faults.world import HASTY, PATIENT, Pace, World


def answers(name: str, found: Fault, *, cycles: int = 6, pace: Pace = PATIENT) -> None:
    """Register a fault of every answer."""

    @fault(name, cycles=cycles, pace=pace)
    def strikes(world: World) -> Iterator[None]:
        world.prometheus.fault = lambda asked: found
        yield
        world.prometheus.fault = lambda asked: None


def lines(name: str, change: Callable[[Line], Iterator[Line]]) -> None:
    """Register a change of every series of an answer."""

    @fault(name)
    def strikes(world: World) -> Iterator[None]:
        def changed(asked: Asked) -> Iterator[Line]:
            for line in world.metrics.answer(asked):
                yield from change(line)

        world.prometheus.answer = changed
        yield
        world.prometheus.answer = world.metrics.answer


answers("connection reset", Fault(reset=True))
answers("closed without an answer", Fault(hang_up=True))
answers("no answer in time", Fault(delay_seconds=30.0), pace=HASTY)
answers("an answer that drips", Fault(drip_seconds=0.05), pace=HASTY)
answers("an answer broken off in the middle", Fault(half=True))
answers("429", Fault(status=429, body=b"slow down"))
answers("429, Retry-After 3600", Fault(429, b"slow down", {"Retry-After": "3600"}))
answers("500", Fault(500, b'{"status":"error","errorType":"internal","error":"tsdb is closed"}'))
answers("502 from a proxy", Fault(502, b"<html>bad gateway</html>", {"Content-Type": "text/html"}))
answers("503", Fault(503, b'{"status":"error","errorType":"unavailable","error":"starting"}'))
answers("504", Fault(504, b"upstream request timeout"))
answers("401", Fault(401, b"who are you?"))
answers("403", Fault(403, b'{"message":"no access to this tenant"}'))
answers("404", Fault(404, b"404 page not found"))
answers("redirect to a login", Fault(302, b"", {"Location": "/login"}))
answers("HTML login page", HTML)
answers("malformed JSON", Fault(body=b'{"status":"success","data":{"resultType":"matr'))
answers("JSON that is no answer", Fault(body=b'{"hello":"world"}'))
answers("an empty body", Fault(body=b""))
answers("bad query", Fault(
    400, b'{"status":"error","errorType":"bad_data","error":"parse error"}'
))  # fmt: skip
answers("too many samples", Fault(
    422, b'{"status":"error","errorType":"execution","error":"query processing would load too '
    b'many samples into memory in query execution"}',
))  # fmt: skip
answers("damaged compression", Fault(body=b"no gzip", headers={"Content-Encoding": "gzip"}))
answers("NaN", Fault(nan=True))
answers("partial answer", Fault(warnings=("store 10.0.0.7 could not be reached",)))
answers("one failed cycle", Fault(status=500, body=b"oops"), cycles=1)
answers("slow, in time", Fault(delay_seconds=0.05))


def _infinite(line: Line) -> Iterator[Line]:
    yield replace(line, value=lambda at: float("inf"))


def _doubled(line: Line) -> Iterator[Line]:
    yield line
    yield replace(line, metric={**line.metric, "instance": "10.0.0.7:8000"})


def _vanished(line: Line) -> Iterator[Line]:
    yield from ()


lines("infinity", _infinite)
lines("duplicate series", _doubled)
lines("empty vector", _vanished)


@fault("connection refused")
def refused(world: World) -> Iterator[None]:
    port = world.prometheus.port
    world.prometheus.fault = lambda asked: Fault(hang_up=True)  # connections that are open end
    world.prometheus.close()
    yield
    world.prometheus = _reopened(world, port)


class _Reopened(_Server):
    """A server on a port that is given."""

    def __init__(self, double: PrometheusDouble, port: int) -> None:
        self.double = double
        ThreadingHTTPServer.__init__(self, ("127.0.0.1", port), _Handler)


def _reopened(world: World, port: int) -> PrometheusDouble:
    with patch("tests.fakes.prometheus_double._Server", lambda double: _Reopened(double, port)):
        double = PrometheusDouble(world.metrics.answer)
    double.clock = world.metrics.clock
    return double


@fault("the first try of every call fails")
def flickering(world: World) -> Iterator[None]:
    asked: Counter[str] = Counter()

    def every_other(question: Asked) -> Fault | None:
        asked[question.promql] += 1
        return Fault(reset=True) if asked[question.promql] % 2 else None

    world.prometheus.fault = every_other
    yield
    world.prometheus.fault = lambda asked: None


@fault("one query of two fails")
def one_query(world: World) -> Iterator[None]:
    broken = Fault(500, b"out of memory")
    world.prometheus.fault = lambda asked: broken if WAITING in asked.promql else None
    yield
    world.prometheus.fault = lambda asked: None


@fault("one query of two is empty")
def half_empty(world: World) -> Iterator[None]:
    def answer(asked: Asked) -> Iterator[Line]:
        return world.metrics.answer(asked) if RUNNING in asked.promql else iter(())

    world.prometheus.answer = answer
    yield
    world.prometheus.answer = world.metrics.answer


@fault("scrape targets dead", cycles=8, early=2)
def dead_targets(world: World) -> Iterator[None]:
    world.scraping, world.metrics.ended = False, True
    yield
    world.scraping, world.metrics.ended = True, False


@fault("scrape targets dead, last samples linger", cycles=12, early=4)
def lingering(world: World) -> Iterator[None]:
    world.scraping = False
    yield
    world.scraping = True


@fault("Prometheus an hour behind")
def behind(world: World) -> Iterator[None]:
    world.metrics.offset = -3600.0
    yield
    world.metrics.offset = 0.0


@fault("Prometheus an hour ahead", early=2)
def ahead(world: World) -> Iterator[None]:
    world.metrics.offset = 3600.0
    yield
    world.metrics.offset = 0.0
    world.metrics.forget_the_future()


@fault("our clock leaps an hour ahead")
def leapt(world: World) -> Iterator[None]:
    world.clock.wrong_by = 3600.0
    yield
    world.clock.wrong_by = 0.0


@fault("our clock falls back an hour")
def fallen(world: World) -> Iterator[None]:
    world.clock.wrong_by = -3600.0
    yield
    world.clock.wrong_by = 0.0


@fault("our clock leaps 45 s ahead")
def leapt_a_little(world: World) -> Iterator[None]:
    world.clock.wrong_by = 45.0
    yield
    world.clock.wrong_by = 0.0


@fault("our clock falls back 45 s")
def fallen_a_little(world: World) -> Iterator[None]:
    world.clock.wrong_by = -45.0
    yield
    world.clock.wrong_by = 0.0
