"""A replay's score as a table that a newcomer understands."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from autoscaler.cli.words import columns

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.core.spec import Slo
    from simulations.decisions import Decided
    from simulations.replay import ReplayResult
    from simulations.score import Percentiles, Score


def comparison(
    scores: Mapping[str, "Score"], slo: "Slo", decided: "Decided | None" = None
) -> list[str]:
    """Return a table with one column for each score, side by side.

    Args:
        scores: By the heading of the column.
        slo: The limits that every one was judged by.
        decided: What was decided on the way, where there is only one score.
    """
    rows = [_rows(score, slo) for score in scores.values()]
    if decided is not None and len(rows) == 1:
        rows[0].append(("forecast held", held(decided)))
    table = [("", *scores)] if len(scores) > 1 else []
    table += [(line[0][0], *(value for _, value in line)) for line in zip(*rows, strict=True)]
    return columns(_without_empty(table), right=True)


def _rows(score: "Score", slo: "Slo") -> list[tuple[str, str]]:
    """Return label and value of every line; a value is empty where the line says nothing."""
    return [
        ("requests", f"{score.requests:,}"),
        ("met every limit", _share(score.attainment)),
        (f"  first token within {_limit(slo.ttft_p95_seconds)}", _share(score.ttft_attainment)),
        (
            f"  {_limit(slo.itl_p95_seconds)} or less between tokens",
            _share(score.itl_attainment),
        ),
        (f"  last token within {_limit(slo.e2e_p95_seconds)}", _share(score.e2e_attainment)),
        ("  in the worst minute", _share(score.worst_minute_attainment)),
        ("unfinished or refused", f"{score.unfinished + score.failed:,}"),
        ("p95 to first token", _p95(score.ttft)),
        ("p95 between tokens", _p95(score.itl)),
        ("p95 to last token", _p95(score.e2e)),
        ("GPU-hours", f"{score.gpu_hours:.2f}"),
        ("GPU-hours of nodes", _number(score.node_gpu_hours, ".2f")),
        ("cost", "" if score.cost is None else f"{score.cost:,.2f}"),
        ("replicas, mean", f"{score.mean_replicas:.2f}"),
        ("replicas, most", str(score.max_replicas)),
        ("  hours waiting for a node", _number(score.pending_hours, ".2f")),
        ("changes of replicas", str(score.scale_events)),
        ("  against the one before", str(score.reversals)),
        ("nodes, most", _number(score.max_nodes)),
        ("changes of nodes", _number(score.node_changes)),
    ]


def held(decided: "Decided") -> str:
    """Write how often what came stayed below the highest forecast; empty where nobody forecast."""
    forecasts = decided.forecasts
    if forecasts is None or forecasts.held is None:
        return ""
    return f"{_share(forecasts.held)} of p{forecasts.quantiles[-1] * 100:g}"


def _without_empty(table: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [row for row in table if any(row[1:])]


def _share(share: float | None) -> str:
    """Write a share in percent, rounded down: 99.99 % must not look like all."""
    return "" if share is None else f"{int(share * 1000 + 1e-9) / 10:.1f} %"


def _number(value: float | None, form: str = "") -> str:
    return "" if value is None else format(value, form)


def _limit(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _p95(percentiles: "Percentiles | None") -> str:
    return "-" if percentiles is None else duration(percentiles.p95)


def duration(seconds: float) -> str:
    """Write a duration with three digits: 45 ms, 1.23 s, 75.2 s."""
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"


def as_document(result: "ReplayResult", decided: "Decided") -> dict[str, Any]:
    """Return a replay's outcome for JSON: the score, the cycles, the changes of both kinds."""
    return {
        "score": asdict(result.score),
        "cycles": result.cycles,
        "reasons": dict(decided.reasons),
        "forecast_held": decided.forecasts.held if decided.forecasts else None,
        "changes": [
            {"seconds": seconds, "before": before, "after": after}
            for seconds, before, after in result.changes
        ],
        "node_changes": [
            {"seconds": seconds, "before": before, "after": after}
            for seconds, before, after in result.node_changes
        ],
    }
