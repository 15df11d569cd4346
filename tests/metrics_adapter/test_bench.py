"""The benchmark runs, and measures what it says."""

import re
from collections.abc import Callable, Sequence

import pytest

from tests.metrics_adapter import bench

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        pytest.param("20 metrics", lambda **how: bench.measure(20, **how), id="ours"),
        pytest.param("aiohttp alone", bench.measure_alone, id="one that does nothing"),
    ],
)
def test_every_request_is_answered_at_the_rate_asked_for(
    name: str, measure: Callable[..., str]
) -> None:
    line = measure(seconds=1.0, rate=50.0)

    found = re.fullmatch(
        f" *{name}: "
        r" +(\d+)/s  p50 +([\d.]+) ms  p99 +([\d.]+) ms +(\d+) us of processor each  "
        r"at most +(\d+)/s +(\d+) MiB(?:  stolen \d+\.\d %)?",
        line,
    )
    assert found, line
    rate, middle, late, used, most, memory = map(float, found.groups())
    assert 0 < rate <= 51
    assert 0 < middle <= late
    assert used > 0
    assert most > 0
    assert memory > 10


def test_a_soak_asks_half_of_it_rubbish_and_tells_the_memory() -> None:
    lines = list(bench.soak(400, metrics=5, parts=2))

    assert [line.split()[0] for line in lines] == ["0", "200", "400"]
    assert all("MiB" in line for line in lines)
    counts = dict(re.findall(r"(\d{3}): (\d+)", lines[-1]))
    assert counts["200"] == "100"
    assert set(counts) == {"200", "400", "404"}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param([0] * 8, [50, 0, 10, 100, 0, 0, 39, 1], "  stolen 0.5 %", id="some"),
        pytest.param([9] * 8, [19] * 7 + [9], "  stolen 0.0 %", id="none"),
        pytest.param([1] * 8, [1] * 8, "", id="no time has gone by"),
        pytest.param([1] * 7, [2] * 7, "", id="a kernel that does not count it"),
        pytest.param([], [], "", id="no such file"),
    ],
)
def test_what_the_host_took_is_told_where_it_is_known(
    before: Sequence[int], after: Sequence[int], told: str
) -> None:
    assert bench.stolen(before, after) == told
