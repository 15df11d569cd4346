"""Recording rules for histograms: Prometheus computes each quantile once, and we read the result.

A quantile over raw buckets costs Prometheus as much in one query as in many, and it pays each
time anyone asks. With these rules it pays once an interval, in its own time; what is read then is
one series for each workload.

The rules do not name workloads, as long as one rule can carry all of a template's series: the file
changes when templates do, not when workloads come and go. Where there are more, it is cut by the
values of one label, and a last rule takes whatever is in none of the parts.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import yaml

from autoscaler.adapters.prometheus.groups import Group
from autoscaler.adapters.prometheus.template import fill, literal, matcher, quoted

PREFIX: Final = "inference_autoscaler"
SHARD: Final = "inference_autoscaler_shard"
_LONGEST_INTERVAL: Final = 60
_HEADER: Final = """\
# Recording rules for `autoscaler`: quantiles over histograms, computed by Prometheus itself.
# Load this file with rule_files, or put its groups into a PrometheusRule; then let the plan read
# the recorded series. Print it again when a query in a policy file changes.
"""


def recordable(group: Group) -> bool:
    """Whether rules are offered for it: it reads histograms, and workloads can be told apart."""
    return group.shared and group.shape.costly


def record_name(group: Group) -> str:
    """Return the name of the recorded series: the same for the same question, whoever asks."""
    metric = group.shape.metrics[0] if group.shape.metrics else "query"
    metric = re.sub(r"[^a-zA-Z0-9_]", "_", metric.removesuffix("_bucket"))
    text = "\n".join((group.template, str(group.range_seconds), *group.labels))
    return f"{PREFIX}:{metric}:{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def reading(group: Group) -> str:
    """Return the template that reads what the rules of a group recorded."""
    return f"max by ($labels) ({record_name(group)}{{$match}})"


def recording_rules(
    groups: Iterable[Group], *, scrape_seconds: float, most_groups: int
) -> Mapping[str, Any]:
    """Return a Prometheus rule file as a document: a group of its own for each rule.

    Prometheus computes its rule groups side by side, and the rules of one group in turn.

    Args:
        groups: The fleet's signals; those that need no rule are left out.
        scrape_seconds: How often Prometheus scrapes; no rule is computed more often.
        most_groups: Most values of a label in one rule.
    """
    same: dict[str, list[Group]] = {}
    for group in groups:
        if recordable(group):
            same.setdefault(record_name(group), []).append(group)
    return {
        "groups": [
            rule
            for record, alike in sorted(same.items())
            for rule in _rules(record, alike, scrape_seconds, most_groups)
        ]
    }


def rule_file(document: Mapping[str, Any]) -> str:
    """Return a rule file as text."""
    return _HEADER + yaml.safe_dump(document, sort_keys=False, width=2**20)


def _rules(
    record: str, alike: list[Group], scrape_seconds: float, most: int
) -> Iterator[dict[str, Any]]:
    group = alike[0]
    step = min(one.step_seconds for one in alike)
    interval = max(round(scrape_seconds), min(step, _LONGEST_INTERVAL), 1)
    parts = list(_parts(alike, most))
    for number, match in enumerate(parts, start=1):
        rule: dict[str, Any] = {
            "record": record,
            "expr": fill(group.template, match, group.labels, group.range_seconds),
        }
        name = record
        if len(parts) > 1:
            name = f"{record}/{number}-of-{len(parts)}"
            rule["labels"] = {SHARD: str(number)}
        yield {"name": name, "interval": f"{interval}s", "rules": [rule]}


def _parts(alike: list[Group], most: int) -> Iterator[str]:
    """Yield the matchers of each rule: together they take every series, each once."""
    labels = alike[0].labels
    members = {values for group in alike for values in group.members}
    columns = [sorted(set(column)) for column in zip(*members, strict=True)]
    widest = max(columns, key=len, default=[])
    if len(widest) <= most:
        yield ""
        return
    label = labels[columns.index(widest)]
    count = -(-len(widest) // most)
    for index in range(count):
        yield matcher(
            label, widest[index * len(widest) // count : (index + 1) * len(widest) // count]
        )
    yield f"{label}!~{quoted('|'.join(map(literal, widest)))}"
