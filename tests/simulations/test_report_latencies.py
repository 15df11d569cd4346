"""The report tells how long users waited: p50, p95 and p99 of every run."""

import re
from dataclasses import replace

from simulations.report import page
from simulations.report.words import duration
from simulations.runs import Comparison
from simulations.score import Percentiles
from tests.simulations.comparing import a_comparison

NAMES = ("first token", "between tokens", "whole answer")


def tables_of(comparison: Comparison) -> list[list[tuple[str, ...]]]:
    """Return the rows of the latency table of each run."""
    tables = re.findall(r'<table class="latencies">(.*?)</table>', page(comparison), re.DOTALL)
    row = re.compile(r'<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>')
    return [row.findall(table) for table in tables]


def written(times: Percentiles | None) -> tuple[str, ...]:
    assert times is not None
    return tuple(duration(one) for one in (times.p50, times.p95, times.p99))


def test_every_run_has_its_latencies_in_a_table() -> None:
    comparison = a_comparison()

    tables = tables_of(comparison)

    assert len(tables) == len(comparison.runs)
    for run, table in zip(comparison.runs, tables, strict=True):
        score = run.result.score
        times = (score.ttft, score.itl, score.e2e)
        assert table == [(name, *written(one)) for name, one in zip(NAMES, times, strict=True)]
    assert tables[0] != tables[1]


def test_latencies_that_nobody_has_are_dashes_never_zero() -> None:
    comparison = a_comparison()
    first = comparison.runs[0]
    score = replace(first.result.score, ttft=Percentiles(0.1, 0.25, 2.0), itl=None, e2e=None)
    run = replace(first, result=replace(first.result, score=score))

    table, *_ = tables_of(replace(comparison, runs=(run, *comparison.runs[1:])))

    assert table == [
        ("first token", "100 ms", "250 ms", "2 s"),
        ("between tokens", "-", "-", "-"),
        ("whole answer", "-", "-", "-"),
    ]
