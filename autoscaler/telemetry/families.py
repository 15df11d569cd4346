"""The metrics that we export: name, kind, unit and meaning of each, in one table."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PREFIX: Final = "inference_autoscaler_"


class Kind(StrEnum):
    """What Prometheus should make of a family."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        name: As scraped, without the suffixes of a histogram.
        kind: Gauge, counter or histogram.
        help: What it says, in one sentence.
        labels: Its labels, in alphabetical order.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


FAMILIES: Final[dict[str, Family]] = {}
"""Every family by its name without the prefix, in the order of the page."""


def _gauge(name: str, text: str, *labels: str) -> None:
    FAMILIES[name] = Family(PREFIX + name, Kind.GAUGE, text, labels)


def _counter(name: str, text: str, *labels: str) -> None:
    FAMILIES[name] = Family(PREFIX + name, Kind.COUNTER, text, labels)


_gauge("build_info", "1; the labels say what runs.", "python", "version")
_gauge("leader", "1 if this process may act, 0 if it only watches.")
_gauge("mode", "1 for the mode it runs in: live or shadow.", "mode")
_gauge("workloads", "Workloads in the policy files.")
_gauge("blind_workloads", "Workloads of which nothing useful is seen.")
_gauge("reload_failed", "1 while changed policy files are not in force because one is wrong.")
_gauge("journal_failed", "1 while cycles cannot be kept; decisions go on.")
_gauge("cycle_timestamp_seconds", "When the newest cycle began, Unix seconds.")
_gauge("cycle_lag_seconds", "How much later than planned the newest cycle began.")
_gauge("cycle_interval_seconds", "Planned time between cycles.")
FAMILIES["cycle_seconds"] = Family(
    f"{PREFIX}cycle_seconds", Kind.HISTOGRAM, "How long cycles took, first query to last action."
)
_counter("cycles_total", "Cycles that ran.")
_counter("cycles_missed_total", "Planned cycles that never ran, because an earlier one took long.")
_counter("cycles_lost_total", "Cycles that the journal could not keep.")

_gauge("source_up", "0 while a Prometheus does not answer.", "source")
_gauge("source_queries", "Queries of the newest cycle.", "source")
_gauge("source_signals", "Signals that the queries of the newest cycle serve.", "source")
_gauge("source_query_seconds", "Time spent on the queries of the newest cycle.", "source")
_counter("source_queries_total", "Queries that were run.", "source")
_counter("source_query_failures_total", "Queries that brought no answer.", "source")
_counter("source_query_seconds_total", "Time spent on queries.", "source")
_counter(
    "source_queries_saved_total",
    "Queries saved by sharing: one for each signal, less those that were run.",
    "source",
)
_counter(
    "source_looks_total",
    "Queries between cycles, to see whether a workload that sleeps is wanted.",
    "source",
)

_WORKLOAD = ("namespace", "workload")

_gauge("min_replicas", "replicas.min of the policy file.", *_WORKLOAD)
_gauge("max_replicas", "replicas.max of the policy file.", *_WORKLOAD)
_gauge("current_replicas", "Replicas asked for when the cycle began (spec.replicas).", *_WORKLOAD)
_gauge("ready_replicas", "Replicas that serve.", *_WORKLOAD)
_gauge("starting_replicas", "Replicas asked for that do not serve yet.", *_WORKLOAD)
_gauge("failing_replicas", "Replicas that crash or cannot start for good.", *_WORKLOAD)
_gauge("rolling", "1 while a roll-out is under way.", *_WORKLOAD)
_gauge(
    "recommended_replicas",
    "What one policy would run if nothing limited it; absent while it has no opinion.",
    "namespace",
    "policy",
    "workload",
)
_gauge(
    "combined_replicas",
    "What the policies together want; absent while they want nothing.",
    *_WORKLOAD,
)
_gauge("decided_replicas", "The number decided, after every rule.", *_WORKLOAD)
_gauge(
    "decision_reason",
    "1 for the reason of the number decided.",
    "namespace",
    "reason",
    "workload",
)
_gauge(
    "limited",
    "1 for each rule that changed the number in the newest cycle.",
    "namespace",
    "reason",
    "rule",
    "workload",
)
_counter(
    "limited_cycles_total",
    "Cycles in which a rule changed the number.",
    "namespace",
    "reason",
    "rule",
    "workload",
)
_gauge("blind", "1 while nothing useful is seen of a workload.", *_WORKLOAD)
_gauge(
    "intervention",
    "1 while a person or another controller has a say: paused, replicas, suspended ...",
    "kind",
    "namespace",
    "workload",
)
_counter(
    "actions_total",
    "Changes of replicas by what became of them: done, failed or withheld.",
    "namespace",
    "result",
    "workload",
)
_gauge("desired_gpus", "GPUs of all replicas asked for.", *_WORKLOAD)
_gauge(
    "cost_per_hour",
    "GPUs of all replicas asked for, times replica.gpuHourPrice, in the money of the file.",
    *_WORKLOAD,
)

_SIGNAL = ("namespace", "signal", "workload")

_gauge("signal_value", "Newest value of a signal, in its own unit; absent without one.", *_SIGNAL)
_gauge("signal_age_seconds", "Age of that value by the sample's own time.", *_SIGNAL)
_gauge(
    "signal_state",
    "1 for the state of a signal: fresh, ageing, stale, missing or suspect.",
    "namespace",
    "signal",
    "state",
    "workload",
)

_FORECAST = ("namespace", "policy", "signal", "workload")

_gauge(
    "forecast",
    "Quantiles of a signal at the end of the horizon, in its own unit.",
    "namespace",
    "policy",
    "quantile",
    "signal",
    "workload",
)
_gauge("forecast_horizon_seconds", "How far ahead the forecast goes.", *_FORECAST)
_gauge(
    "forecast_error",
    "What was seen, less the median forecast for that time, in the signal's unit; next is the "
    "nearest time of a forecast, far the furthest.",
    "horizon",
    "namespace",
    "policy",
    "signal",
    "workload",
)
_counter(
    "forecasts_scored_total",
    "Forecasts whose time came and was seen.",
    "horizon",
    "namespace",
    "policy",
    "signal",
    "workload",
)
_counter(
    "forecasts_exceeded_total",
    "Forecasts that were exceeded, by quantile: of a true 0.9, one in ten.",
    "horizon",
    "namespace",
    "policy",
    "quantile",
    "signal",
    "workload",
)

_gauge("node_pool_current_nodes", "Nodes asked for when the cycle began.", "pool")
_gauge("node_pool_ready_nodes", "Nodes that pods can start on.", "pool")
_gauge("node_pool_needed_nodes", "Nodes that hold every replica of the plan.", "pool")
_gauge("node_pool_decided_nodes", "Nodes decided.", "pool")
_gauge("node_pool_reason", "1 for the reason of the nodes decided.", "pool", "reason")
_counter(
    "node_pool_actions_total",
    "Changes of nodes by what became of them: done, failed or withheld.",
    "pool",
    "result",
)
