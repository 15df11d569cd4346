"""The columns of a comparison: what each says, and which direction is better."""

from collections.abc import Callable
from dataclasses import dataclass

from simulations.report.words import duration, share, signed
from simulations.runs import Comparison, Kind, Run


@dataclass(frozen=True, slots=True)
class Column:
    """One number of every run.

    Attributes:
        head: The heading, in few words.
        help: What it means, in a sentence.
        value: The number; None where it does not apply.
        text: How it is written.
        better: 1 where more is better, -1 where less is, 0 where neither is.
        thrift: Being best counts only where the promise is kept: anybody can be cheap.
        weight: The lighter ones go first where there is no room for all.
    """

    head: str
    help: str
    value: Callable[[Run], float | None]
    text: Callable[[Run], str]
    better: int = 0
    thrift: bool = False
    weight: int = 5


def columns_of(comparison: Comparison) -> list[Column]:
    """Return the columns that say something: those of limits that are set, cost with a price."""
    slo, price = comparison.slo, comparison.workload.spec.replica.gpu_hour_price
    found = [_served()]
    found += [
        _limit(head, words, limit, name)
        for head, words, limit, name in (
            ("1st token in {}", "the first token came within {}", slo.ttft_p95_seconds, "ttft"),
            ("{} a token", "tokens came {} apart or less, on average", slo.itl_p95_seconds, "itl"),
            ("answer in {}", "the last token came within {}", slo.e2e_p95_seconds, "e2e"),
        )
        if limit is not None
    ]
    found += [
        Column(
            "un-served",
            "Requests that were refused, or still waited or ran at the end.",
            lambda run: run.unserved,
            lambda run: f"{run.unserved:,}",
            -1,
            weight=6,
        ),
        Column(
            "p95 to 1st token",
            "95 % of first tokens came at least this soon after the request.",
            lambda run: run.result.score.ttft.p95 if run.result.score.ttft else None,
            lambda run: duration(run.result.score.ttft.p95 if run.result.score.ttft else None),
            -1,
            weight=3,
        ),
        Column(
            "GPU-hours",
            "GPUs times hours from when they were taken to when they were given back, starting "
            "and draining included.",
            lambda run: run.gpu_hours,
            lambda run: f"{run.gpu_hours:,.2f}",
            -1,
            thrift=True,
            weight=10,
        ),
    ]
    if any(run.result.score.node_gpu_hours is not None for run in comparison.runs):
        found.append(_nodes())
    if price:
        found.append(_cost(price))
    if any(run.decided.forecasts is not None for run in comparison.runs):
        found.append(_forecast())
    found += _regret()
    if any(run.static_best or run.static_peak for run in comparison.runs):
        found.append(_over_static())
    return [*found, *_changes()]


def best(column: Column, comparison: Comparison) -> frozenset[str]:
    """Return the names of the policy runs that are best in a column; none if all are alike."""
    goal = comparison.slo.attainment
    values = {
        run.name: value
        for run in comparison.runs
        if run.kind is Kind.POLICY
        and (not column.thrift or run.attainment >= goal)
        and (value := column.value(run)) is not None
    }
    alike = len(set(values.values())) < 2
    if not column.better or not values or (alike and not column.thrift):
        return frozenset()
    top = max(value * column.better for value in values.values())
    return frozenset(name for name, value in values.items() if value * column.better == top)


def _served() -> Column:
    return Column(
        "served as promised",
        "Share of all requests that arrived which met every limit. Requests that were not served "
        "count as not.",
        lambda run: run.attainment,
        lambda run: share(run.attainment),
        1,
        weight=10,
    )


def _limit(head: str, words: str, limit: float, name: str) -> Column:
    attribute = f"{name}_attainment"

    def value(run: Run) -> float | None:
        found: float | None = getattr(run.result.score, attribute)
        return found

    told = duration(limit)
    return Column(
        head.format(told),
        f"Share of all requests of which {words.format(told)}.",
        value,
        lambda run: share(value(run)),
        1,
    )


def _nodes() -> Column:
    return Column(
        "GPU-hours of nodes",
        "GPUs of nodes times hours from when a node was ordered until it was gone: idle GPUs are "
        "paid too. Simulated for runs with a node pool; the others always have room.",
        lambda run: run.result.score.node_gpu_hours,
        lambda run: (
            "-"
            if run.result.score.node_gpu_hours is None
            else f"{run.result.score.node_gpu_hours:,.2f}"
        ),
        -1,
        thrift=True,
        weight=6,
    )


def _cost(price: float) -> Column:
    return Column(
        "cost",
        f"GPU-hours at {price:g} each, in the money of the policy file; those of the nodes where "
        "nodes are simulated.",
        lambda run: run.result.score.cost,
        lambda run: f"{run.result.score.cost or 0:,.2f}",
        -1,
        thrift=True,
        weight=4,
    )


def _forecast() -> Column:
    """How often what came stayed below the forecast: neither more nor less is better by itself."""

    def text(run: Run) -> str:
        forecasts = run.decided.forecasts
        if forecasts is None or forecasts.held is None:
            return "-"
        return f"{share(forecasts.held)} of p{forecasts.quantiles[-1] * 100:g}"

    return Column(
        "forecast held",
        "How often what came stayed below the highest quantile that was forecast: below its p90 it "
        "should about 90 % of the time.",
        lambda run: run.decided.forecasts.held if run.decided.forecasts else None,
        text,
        weight=3,
    )


def _regret() -> list[Column]:
    return [
        Column(
            "GPU-hours over plan",
            "GPU-hours beyond those of the clairvoyant plan. Below 0: less was spent, and users "
            "paid for it if more of them were not served as promised.",
            lambda run: run.regret_gpu_hours,
            lambda run: signed(run.regret_gpu_hours, 2),
            weight=8,
        ),
        Column(
            "misses over plan",
            "Requests not served as promised, beyond those of the clairvoyant plan, which may miss "
            "as many as the promise allows.",
            lambda run: run.regret_misses,
            lambda run: signed(run.regret_misses, 0),
            weight=7,
        ),
    ]


def _over_static() -> Column:
    def text(run: Run) -> str:
        both = run.regret_static_best_gpu_hours, run.regret_static_peak_gpu_hours
        return " / ".join("-" if hours is None else signed(hours, 2) for hours in both)

    return Column(
        "over static, best / peak",
        "GPU-hours beyond those of static-best and of static-peak, which never scale. Below 0: "
        "scaling saved so many.",
        lambda run: run.regret_static_best_gpu_hours,
        text,
        weight=2,
    )


def _changes() -> list[Column]:
    return [
        Column(
            "scaling events",
            "Changes of the number of replicas.",
            lambda run: run.result.score.scale_events,
            lambda run: f"{run.result.score.scale_events:,}",
            -1,
            thrift=True,
            weight=5,
        ),
        Column(
            "of these back",
            "Changes against the direction of the one before: up after down, down after up.",
            lambda run: run.result.score.reversals,
            lambda run: f"{run.result.score.reversals:,}",
            -1,
            thrift=True,
            weight=2,
        ),
        Column(
            "replicas, mean / most",
            "Replicas that held GPUs.",
            lambda run: run.result.score.mean_replicas,
            lambda run: f"{run.result.score.mean_replicas:.1f} / {run.result.score.max_replicas}",
            weight=1,
        ),
    ]
