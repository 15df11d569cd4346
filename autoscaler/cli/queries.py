"""autoscaler queries."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoscaler.cli.words import bold, columns, emit, emit_json, say

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.adapters.prometheus.plan import PlanLimits, PlannedQuery, QueryPlan
    from autoscaler.core.workload import FleetSpec

_SHOWN = 140


def queries(
    files: Annotated[
        list[Path], typer.Argument(help="Policy files, or folders of them (*.yaml, *.yml, *.json).")
    ],
    source: Annotated[
        str | None, typer.Option(help="Only what this Prometheus is asked (spec.source).")
    ] = None,
    scrape_seconds: Annotated[
        float,
        typer.Option(min=0.001, help="How often Prometheus scrapes; $window is four times that."),
    ] = 15.0,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="As if the recording rules were loaded.")
    ] = False,
    rules: Annotated[
        bool,
        typer.Option(
            "--recording-rules", help="Print a Prometheus rule file for the costly ones instead."
        ),
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Print queries whole.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Print what Prometheus is asked in a cycle, for all workloads together.

    Workloads whose signals share source, template, label names, window and step are ONE query.
    Quantiles over histograms cost the most: --recording-rules prints rules that let Prometheus
    compute each once, and --recorded shows the plan with them.
    """
    from autoscaler.adapters.prometheus.plan import PlanLimits, plan_queries
    from autoscaler.config import load_fleet

    fleet = _only(load_fleet(files), source)
    limits = PlanLimits(scrape_seconds=scrape_seconds, recorded=recorded)
    if rules:
        _print_rules(fleet, limits)
        return
    plan = plan_queries(fleet, limits=limits)
    if as_json:
        emit_json(_document(plan))
    else:
        emit("\n".join(columns(_table(plan.queries, full=full))))
        say(_summary(plan))


def _only(fleet: "FleetSpec", source: str | None) -> "FleetSpec":
    """Return the workloads that ask this source.

    Raises:
        ConfigError: None does.
    """
    from dataclasses import replace

    from autoscaler.config.problems import did_you_mean, listed
    from autoscaler.core.errors import ConfigError

    if source is None:
        return fleet
    kept = tuple(one for one in fleet.workloads if one.spec.source == source)
    if not kept:
        known = sorted({one.spec.source for one in fleet.workloads})
        raise ConfigError(
            f"--source: no workload asks {source!r}{did_you_mean(source, known)}; "
            f"sources are: {listed(known)}"
        )
    return replace(fleet, workloads=kept)


def _print_rules(fleet: "FleetSpec", limits: "PlanLimits") -> None:
    from autoscaler.adapters.prometheus.groups import grouped
    from autoscaler.adapters.prometheus.recording_rules import recording_rules, rule_file

    document = recording_rules(
        grouped(fleet, limits.scrape_seconds),
        scrape_seconds=limits.scrape_seconds,
        most_groups=limits.most_groups,
    )
    emit(rule_file(document).rstrip("\n"))
    say(
        f"{_count(len(document['groups']), 'rule')}; check the file with promtool check rules, "
        "load it into every Prometheus of these workloads, then read with recorded series"
    )


def _table(planned: Iterable["PlannedQuery"], *, full: bool) -> list[tuple[str, ...]]:
    head = tuple(map(bold, ("source", "window", "step", "workloads", "cost", "query")))
    return [
        head,
        *(
            (
                one.source,
                f"{one.window_seconds} s",
                f"{one.step_seconds} s",
                str(one.workloads),
                _cost(one),
                one.promql if full else _short(one.promql),
            )
            for one in planned
        ),
    ]


def _cost(query: "PlannedQuery") -> str:
    told = [*(["histogram"] if query.costly else []), *(["alone"] if query.apart else [])]
    return ", ".join(told) or "-"


def _short(query: str) -> str:
    """Return a query on one line, its middle left out where it is long."""
    line = " ".join(query.split())
    if len(line) <= _SHOWN:
        return line
    half = _SHOWN // 2
    return f"{line[:half]} ... {line[-half:]}"


def _summary(plan: "QueryPlan") -> str:
    costly = sum(one.costly for one in plan.queries)
    alone = [one for one in plan.queries if one.apart]
    text = (
        f"{_count(len(plan.queries), 'query', 'queries')} for {_count(plan.signals, 'signal')}, "
        f"{costly} of them over histograms; each also asks how old its samples are"
    )
    if alone:
        served = next(iter(alone[0].serves.values()))[0]
        text += f"\n{len(alone)} alone, such as {served[0]} {served[1]}: {alone[0].apart}"
    return text


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _document(plan: "QueryPlan") -> dict[str, Any]:
    return {
        "queries": [
            {
                "source": one.source,
                "query": one.promql,
                "windowSeconds": one.window_seconds,
                "stepSeconds": one.step_seconds,
                "rangeSeconds": one.range_seconds,
                "labels": list(one.labels),
                "selectors": list(one.selectors),
                "costly": one.costly,
                "alone": one.apart or None,
                "serves": [
                    {
                        "match": dict(zip(one.labels, values, strict=True)),
                        "signals": [
                            {"workload": workload, "signal": signal} for workload, signal in served
                        ],
                    }
                    for values, served in one.serves.items()
                ],
            }
            for one in plan.queries
        ],
        "signals": plan.signals,
        "saved": plan.saved,
    }
