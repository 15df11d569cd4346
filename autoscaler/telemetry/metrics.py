"""`/metrics`: the newest cycle and the tally as Prometheus reads them.

Everything is computed from two frozen values, never from live objects: what is not in the newest
cycle is not on the page, so that the series of a removed workload end with it.
"""

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from autoscaler.core.decision import Cycle, Decision
from autoscaler.core.workload import ScaledWorkload
from autoscaler.telemetry.families import FAMILIES, Family, Kind
from autoscaler.telemetry.report import CycleReport
from autoscaler.telemetry.sight import by_label, why_blind
from autoscaler.telemetry.tally import BUCKETS, Subject, Tally

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Row = tuple[tuple[str, ...], float]
"""Label values in the order of the family's labels, and the value."""

_Add = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Page:
    """All samples of one cycle, by family.

    Attributes:
        rows: By the family's name without the prefix.
        tally: Where the histogram of cycle seconds is.
    """

    rows: dict[str, list[Row]]
    tally: Tally


class CycleCollector(Collector):
    """What prometheus_client's registries know us as."""

    def __init__(self, newest: Callable[[], Page | None]) -> None:
        """Collect what `newest` returns at each scrape; nothing before the first cycle."""
        self._newest = newest

    def collect(self) -> Iterator[Metric]:
        page = self._newest()
        if page is None:
            return
        for name, family in FAMILIES.items():
            if family.kind is Kind.HISTOGRAM:
                yield HistogramMetricFamily(
                    family.name, family.help, list(_buckets(page.tally)), page.tally.seconds
                )
                continue
            kind = GaugeMetricFamily if family.kind is Kind.GAUGE else CounterMetricFamily
            metric = kind(family.name, family.help, labels=family.labels)
            for labels, value in page.rows[name]:
                metric.add_metric(labels, value)
            yield metric


def page_of(report: CycleReport, tally: Tally) -> Page:
    """Return all samples of a cycle; takes about 40 microseconds for a workload."""
    rows: dict[str, list[Row]] = {name: [] for name in FAMILIES}

    def add(name: str, value: float, *labels: str) -> None:
        rows[name].append((labels, value))

    _service(add, report, tally)
    _sources(add, report, tally)
    blind = 0
    for workload in report.fleet.workloads:
        blind += _workload(add, report.cycle, workload)
    add("blind_workloads", blind)
    _counted(add, tally)
    _pools(add, report.cycle)
    return Page(rows, tally)


def text_of(page: Page) -> bytes:
    """Return a page in Prometheus' text format, byte for byte as prometheus_client writes it.

    Its own writer takes five times as long: at 10,000 workloads that would be seconds, taken
    from the next cycle.
    """
    lines: list[str] = []
    escaped: dict[str, str] = {}
    for name, family in FAMILIES.items():
        lines.append(f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n")
        if family.kind is Kind.HISTOGRAM:
            lines += _histogram(family, page.tally)
            continue
        if not family.labels:
            lines += (f"{family.name} {_number(value)}\n" for _, value in page.rows[name])
            continue
        pairs = ",".join(f'{label}="%s"' for label in family.labels)
        row = f"{family.name}{{{pairs}}} "
        for labels, value in page.rows[name]:
            for label in labels:
                if label not in escaped:
                    escaped[label] = _escaped(label)
            lines.append(row % tuple([escaped[label] for label in labels]) + _number(value) + "\n")
    return "".join(lines).encode()


def process_text() -> bytes:
    """Return what this process uses (memory, processor, files), as prometheus_client knows it."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def installed_version() -> str:
    """Return the version of this project."""
    try:
        return version("inference-autoscaler")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "unknown"


_VERSION: Final = installed_version()


def _service(add: _Add, report: CycleReport, tally: Tally) -> None:
    add("build_info", 1, platform.python_version(), _VERSION)
    add("leader", report.leader)
    add("mode", 1, report.mode)
    add("workloads", len(report.fleet.workloads))
    add("reload_failed", bool(report.reload_problem))
    add("journal_failed", bool(report.journal_problem))
    add("cycle_timestamp_seconds", report.started)
    add("cycle_lag_seconds", report.lag_seconds)
    add("cycle_interval_seconds", report.interval_seconds)
    add("cycles_total", tally.cycles)
    add("cycles_missed_total", tally.missed)
    add("cycles_lost_total", tally.lost)


def _sources(add: _Add, report: CycleReport, tally: Tally) -> None:
    for name, source in report.sources.items():
        add("source_up", not source.problem, name)
        add("source_queries", source.queries, name)
        add("source_signals", source.signals, name)
        add("source_query_seconds", source.seconds, name)
    for name, total in tally.sources.items():
        add("source_queries_total", total.queries, name)
        add("source_query_failures_total", total.failures, name)
        add("source_query_seconds_total", total.seconds, name)
        add("source_queries_saved_total", tally.saved[name], name)


def _workload(add: _Add, cycle: Cycle, workload: ScaledWorkload) -> bool:
    """Add what is known of one workload; return whether it is blind."""
    where = (workload.metadata.namespace, workload.metadata.name)
    add("min_replicas", workload.spec.replicas.min, *where)
    add("max_replicas", workload.spec.replicas.max, *where)
    decision = cycle.plan.decisions.get(workload.key)
    if decision is None:
        return False
    _seen(add, cycle, workload, where)
    _decided(add, decision, where)
    _signals(add, decision, where)
    _forecasts(add, cycle.plan.now, decision, where)
    blind = bool(why_blind(cycle, decision))
    add("blind", blind, *where)
    return blind


def _seen(add: _Add, cycle: Cycle, workload: ScaledWorkload, where: tuple[str, str]) -> None:
    observation = cycle.snapshot.observations.get(workload.key)
    if observation is None:
        return
    status, replica = observation.replicas, workload.spec.replica
    add("current_replicas", status.desired, *where)
    add("ready_replicas", status.ready, *where)
    add("starting_replicas", status.starting, *where)
    add("failing_replicas", status.failing, *where)
    add("rolling", status.rolling, *where)
    gpus = status.desired * replica.gpus
    add("desired_gpus", gpus, *where)
    add("cost_per_hour", gpus * replica.gpu_hour_price, *where)
    standing = {one.kind for one in observation.interventions if one.holds(cycle.plan.now)}
    for kind in sorted(standing):
        add("intervention", 1, kind, *where)


def _decided(add: _Add, decision: Decision, where: tuple[str, str]) -> None:
    namespace, name = where
    for label, proposal in by_label(decision.proposals):
        answer = proposal.recommendation
        if answer is not None and answer.replicas is not None:
            add("recommended_replicas", answer.replicas, namespace, label, name)
    if decision.combined is not None:
        add("combined_replicas", decision.combined, *where)
    if decision.replicas is not None:
        add("decided_replicas", decision.replicas, *where)
    add("decision_reason", 1, namespace, decision.reason, name)
    for rule, reason in dict.fromkeys((step.rule, step.reason) for step in decision.steps):
        add("limited", 1, namespace, reason, rule, name)


def _signals(add: _Add, decision: Decision, where: tuple[str, str]) -> None:
    namespace, name = where
    for reading in decision.readings:
        add("signal_state", 1, namespace, reading.signal, reading.state, name)
        if reading.value is not None:
            add("signal_value", reading.value, namespace, reading.signal, name)
        if reading.age_seconds is not None:
            add("signal_age_seconds", reading.age_seconds, namespace, reading.signal, name)


def _forecasts(add: _Add, now: float, decision: Decision, where: tuple[str, str]) -> None:
    namespace, name = where
    for label, proposal in by_label(decision.proposals):
        answer = proposal.recommendation
        forecast = answer.forecast if answer is not None else None
        if forecast is None or not len(forecast.times):
            continue
        what = (namespace, label, forecast.signal, name)
        add("forecast_horizon_seconds", float(forecast.times[-1]) - now, *what)
        for level, value in zip(forecast.quantiles, forecast.values[:, -1], strict=True):
            add("forecast", float(value), namespace, label, str(level), forecast.signal, name)


def _counted(add: _Add, tally: Tally) -> None:
    for (key, rule, reason), count in tally.limited.items():
        namespace, name = split(key)
        add("limited_cycles_total", count, namespace, reason, rule, name)
    for (subject, key, result), count in tally.actions.items():
        if subject is Subject.POOL:
            add("node_pool_actions_total", count, key, result)
        else:
            namespace, name = split(key)
            add("actions_total", count, namespace, result, name)
    for (key, policy, signal, horizon), score in tally.scores.items():
        namespace, name = split(key)
        what = (horizon, namespace, policy, signal, name)
        add("forecasts_scored_total", score.scored, *what)
        for level, count in zip(score.levels, score.above, strict=True):
            labels = (horizon, namespace, policy, str(level), signal, name)
            add("forecasts_exceeded_total", count, *labels)
        if score.last is not None:
            add("forecast_error", score.error, *what)


def _pools(add: _Add, cycle: Cycle) -> None:
    for pool, sized in cycle.plan.pools.items():
        status = cycle.snapshot.pools.get(pool)
        if status is not None:
            add("node_pool_current_nodes", status.desired, pool)
            add("node_pool_ready_nodes", status.ready, pool)
        add("node_pool_needed_nodes", sized.needed, pool)
        if sized.nodes is not None:
            add("node_pool_decided_nodes", sized.nodes, pool)
        add("node_pool_reason", 1, pool, sized.reason)


def split(key: str) -> tuple[str, str]:
    """Return namespace and name of a workload's key."""
    namespace, _, name = key.partition("/")
    return namespace, name


def _buckets(tally: Tally) -> Iterator[tuple[str, float]]:
    total = 0
    for edge, count in zip((*BUCKETS, float("inf")), tally.buckets, strict=True):
        total += count
        yield _number(edge), float(total)


def _histogram(family: Family, tally: Tally) -> Iterable[str]:
    for edge, count in _buckets(tally):
        yield f'{family.name}_bucket{{le="{edge}"}} {_number(count)}\n'
    yield f"{family.name}_count {_number(sum(tally.buckets))}\n"
    yield f"{family.name}_sum {_number(tally.seconds)}\n"


def _number(value: float) -> str:
    """As Go writes it; small counts, which most samples are, come from a table."""
    return _SMALL.get(value) or str(floatToGoString(value))  # type: ignore[no-untyped-call]


_SMALL: Final = {float(count): f"{count}.0" for count in range(1000)}


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
