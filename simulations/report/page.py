"""The page of a comparison: one HTML file that needs nothing else."""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from simulations.decisions import Change, Decided, Forecasts
from simulations.report.columns import Column, best, columns_of
from simulations.report.prose import answer_of, cautions_of, facts_of, made_of, words_of
from simulations.report.series import Grid, chart_data
from simulations.report.trade import trade_of
from simulations.report.words import counted, duration, share, since_start
from simulations.runs import Comparison, Kind, Run
from simulations.score import Score

MOST_CHANGES: Final = 500
"""Changes that are listed for one run; the charts show all."""

_HERE: Final = files("simulations.report")


def page(comparison: Comparison) -> str:
    """Return a comparison as one HTML page: no other file, no network, a strict policy of content.

    Equal comparisons give equal pages.
    """
    chart_script, page_script = _text("vendor", "uplot", "uPlot.iife.min.js"), _text("report.js")
    chart_style, page_style = _text("vendor", "uplot", "uPlot.min.css"), _text("report.css")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=False, keep_trailing_newline=True
    )
    grid = Grid.of(comparison)
    columns = columns_of(comparison)
    return environment.from_string(_text("report.html.j2")).render(
        title=f"Scaling policies compared on {comparison.facts.name}",
        policy=_content_policy((chart_script, page_script), (chart_style, page_style)),
        chart_style=Markup(chart_style),  # noqa: S704 - files of our own package, hashed above
        page_style=Markup(page_style),  # noqa: S704
        chart_script=Markup(chart_script),  # noqa: S704
        page_script=Markup(page_script),  # noqa: S704
        licence=Markup(_text("vendor", "uplot", "LICENSE")),  # noqa: S704
        data=Markup(_json(chart_data(comparison))),  # noqa: S704 - cannot end its element
        facts=facts_of(comparison),
        answer=answer_of(comparison),
        cautions=cautions_of(comparison),
        trade=trade_of(comparison),
        columns=[Column("run", "What decided.", lambda _: None, lambda _: ""), *columns],
        rows=_rows(comparison, columns),
        runs=[_run(run, index, comparison, grid) for index, run in enumerate(comparison.runs)],
        binned=_binned(grid),
        words=words_of(comparison),
        made=made_of(comparison),
    )


def _text(*path: str) -> str:
    return _HERE.joinpath(*path).read_text(encoding="utf-8")


def _content_policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    def hashes(texts: Sequence[str]) -> str:
        digests = (hashlib.sha256(text.encode()).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in digests)

    return (
        f"default-src 'none'; script-src {hashes(scripts)}; style-src {hashes(styles)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _json(document: object) -> str:
    """Return JSON that no browser takes for the end of the element that it stands in."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _rows(comparison: Comparison, columns: Sequence[Column]) -> list[dict[str, Any]]:
    goal, runs = comparison.slo.attainment, comparison.runs
    tops = [best(column, comparison) for column in columns]
    rows = []
    for index, run in enumerate(runs):
        other = run.kind is not Kind.POLICY
        begins = other and runs[index - 1].kind is Kind.POLICY
        cells = [
            {"text": column.text(run), "best": run.name in top, "mark": ""}
            for column, top in zip(columns, tops, strict=True)
        ]
        cells[0]["mark"] = "yes" if run.attainment >= goal else "no"
        style = " ".join(
            word for word, wanted in (("other", other), ("first-other", begins)) if wanted
        )
        rows.append({"name": run.name, "note": run.note, "cells": cells, "style": style})
    return rows


def _run(run: Run, index: int, comparison: Comparison, grid: Grid) -> dict[str, Any]:
    slo, score = comparison.slo, run.result.score
    charts = [
        ("missed", "Requests that arrived, and of these the ones not served as promised"),
        ("queue", "Requests waiting"),
        ("ttft", "Time to first token, p95 of each minute"),
        ("itl", "Time between tokens, p95 of each minute"),
    ]
    if slo.e2e_p95_seconds is not None:
        charts.append(("e2e", "Time to last token, p95 of each minute"))
    sentence = (
        f"{share(run.attainment)} of all requests were served as promised (in the worst minute "
        f"{share(score.worst_minute_attainment)}), for "
        f"{run.gpu_hours:,.2f} GPU-hours: {score.mean_replicas:.1f} replicas on average, "
        f"{score.max_replicas} at most. {counted(run.misses, 'request')} missed the promise, "
        f"{run.unserved:,} of them {'was' if run.unserved == 1 else 'were'} not served at all."
    )
    if run.result.timeline.nodes is not None:
        charts.insert(0, ("nodes", "Nodes"))
        sentence += (
            f" Nodes took {score.node_gpu_hours:,.2f} GPU-hours, idle GPUs included: "
            f"{score.max_nodes} at most, changed {counted(score.node_changes or 0, 'time')}. "
            f"Replicas waited {duration(3600 * (score.pending_hours or 0))} for them, all together."
        )
    return {
        "name": run.name,
        "anchor": f"run-{index + 1}",
        "note": run.note,
        "short": f"{share(run.attainment)}, {run.gpu_hours:,.2f} GPU-hours",
        "sentence": sentence,
        "latencies": _latencies(score),
        "open": run.kind is Kind.POLICY,
        "charts": [{"kind": kind, "head": head} for kind, head in charts],
        "forecast": _forecast(run.decided.forecasts),
        "decided": _decided(run.decided, grid) if run.kind is Kind.POLICY else None,
    }


def _latencies(score: Score) -> list[dict[str, str]]:
    """Return how long users waited: a row for each latency, a dash where nobody has one."""
    return [
        {
            "name": name,
            **{p: duration(getattr(times, p) if times else None) for p in ("p50", "p95", "p99")},
        }
        for name, times in (
            ("first token", score.ttft),
            ("between tokens", score.itl),
            ("whole answer", score.e2e),
        )
    ]


def _forecast(forecasts: Forecasts | None) -> dict[str, str] | None:
    if forecasts is None:
        return None
    level, held = forecasts.quantiles[-1], forecasts.held
    return {
        "policy": forecasts.policy,
        "signal": forecasts.signal,
        "ahead": duration(forecasts.ahead_seconds),
        "held": (
            ""
            if held is None
            else f"What came stayed below its p{level * 100:g} {share(held)} of the time; a good "
            f"forecast does so about {level * 100:g} % of the time."
        ),
    }


def _decided(decided: Decided, grid: Grid) -> dict[str, Any]:
    cycles = sum(count for _, count in decided.reasons)
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in decided.reasons)
    changes = decided.changes
    told = f"{cycles:,} cycles, {len(changes):,} changes. Reasons given, by cycles: {reasons}."
    if len(changes) > MOST_CHANGES:
        told += f" The first {MOST_CHANGES} changes are listed."
    return {
        "told": told,
        "changes": _changes(changes, grid),
        "nodes": _changes(decided.node_changes, grid),
    }


def _changes(changes: Sequence[Change], grid: Grid) -> list[dict[str, Any]]:
    return [
        {
            "time": since_start(change.seconds, days=grid.days),
            "before": change.before,
            "after": change.after,
            "wanted": "-" if change.wanted is None else change.wanted,
            "reason": change.reason,
            "text": change.text,
            "because": change.because,
            "done": change.done,
        }
        for change in changes[:MOST_CHANGES]
    ]


def _binned(grid: Grid) -> str:
    return (
        ""
        if grid.minutes == 1
        else f"; each point is the largest value in {duration(grid.cell)}, and latencies are those "
        f"of the worst minute in {grid.minutes} minutes"
    )
