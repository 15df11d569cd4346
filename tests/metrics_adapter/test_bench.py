"""The benchmark runs, and measures what it says."""

import re

import pytest

from tests.metrics_adapter import bench

pytestmark = pytest.mark.slow


def test_every_request_is_answered_at_the_rate_asked_for() -> None:
    line = bench.measure(20, seconds=1.0, rate=50.0)

    found = re.fullmatch(
        r" *20 metrics: +(\d+)/s  p50 +([\d.]+) ms  p99 +([\d.]+) ms +(\d+) us of processor each  "
        r"at most +(\d+)/s +(\d+) MiB",
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
