"""Checks that no single field can make: of one workload, and of all workloads together."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from autoscaler.config.draft import NODE_POOL, POLICIES, Draft
from autoscaler.config.installed import Installed
from autoscaler.config.nodes import List, Mapping, Path, Scalar, get, leaves
from autoscaler.config.problems import Problem, did_you_mean, listed
from autoscaler.config.query import placeholders_in, query_faults
from autoscaler.core.behavior import effective
from autoscaler.core.errors import ConfigError
from autoscaler.core.policy import Policy
from autoscaler.core.spec import Role
from autoscaler.core.workload import ScaledWorkload, WorkloadSpec

SIGNALS: Final = ("spec", "signals")

_LABEL_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ENGINE_METRIC: Final = re.compile(r"\b(vllm:|sglang:|tgi_|nv_(inference|gpu|trt)|trtllm_)")
_ROLES_THAT_JUDGE: Final = frozenset({Role.QUEUE, Role.THROUGHPUT, Role.ARRIVALS})
_LATENCY_LIMITS: Final = {
    "ttft": "ttftP95Seconds", "itl": "itlP95Seconds", "e2e": "e2eP95Seconds",
}  # fmt: skip


def errors_in(draft: Draft, installed: Installed) -> Iterator[Problem]:
    """Yield what is wrong between the fields of one document, whole or not."""
    if draft.kind == NODE_POOL:
        return
    yield from _combiner(draft, installed)
    yield from _labels(draft)
    yield from _queries(draft)
    for index, policy in draft.policies.items():
        yield from _signals_of(draft, index, policy)
    if draft.workload is not None:
        yield from _fallback(draft, draft.workload)
        yield from _rates(draft, draft.workload)


def warnings_in(draft: Draft) -> Iterator[Problem]:
    """Yield what is allowed and probably not meant, in a document that is in order."""
    workload = draft.workload
    if workload is None:
        return
    yield from _unknown_group(draft, workload)
    yield from _unused_signals(draft, workload)
    yield from _matches_everything(draft, workload)
    yield from _sleeps_for_ever(draft, workload)
    yield from _guards_without_limit(draft, workload)


def errors_among(drafts: Iterable[Draft]) -> Iterator[Problem]:
    """Yield workloads and pools that share a name, or a target, with an earlier one."""
    keys: dict[tuple[str, str], Problem] = {}
    targets: dict[tuple[str, ...], tuple[Problem, str]] = {}
    pools: dict[str, Problem] = {}
    for draft in drafts:
        name = _text(draft, "metadata", "name")
        if draft.kind == NODE_POOL:
            if name and name in pools:
                text = f"node pool {name} is defined twice; first in {pools[name].place}"
                yield draft.problem(("metadata", "name"), text)
            elif name:
                pools[name] = draft.problem(("metadata", "name"), "")
            continue
        namespace = _text(draft, "metadata", "namespace") or "default"
        target = _text(draft, "spec", "target", "name")
        if name:
            key = (namespace, name)
            here = draft.problem(("metadata", "name"), "")
            if key in keys:
                text = f"workload {namespace}/{name} is defined twice; first in {keys[key].place}"
                yield draft.problem(("metadata", "name"), text)
                continue
            keys[key] = here
        if target:
            group = (_text(draft, "spec", "target", "apiVersion") or "apps/v1").rpartition("/")[0]
            kind = _text(draft, "spec", "target", "kind") or "Deployment"
            object_ = (namespace, group, kind, target)
            here = draft.problem(("spec", "target"), "")
            if object_ in targets:
                first, owner = targets[object_]
                text = (
                    f"{kind} {namespace}/{target} is already the target of {owner} "
                    f"({first.place}): two workloads would undo each other"
                )
                yield draft.problem(("spec", "target"), text)
            else:
                targets[object_] = (here, f"{namespace}/{name}")


def _text(draft: Draft, *path: str) -> str | None:
    node = get(draft.root, *path)
    if isinstance(node, Scalar) and isinstance(node.value, str) and not node.bad:
        return node.value
    return None


def _combiner(draft: Draft, installed: Installed) -> Iterator[Problem]:
    name = _text(draft, "spec", "combine")
    if name is None:
        name = WorkloadSpec.model_fields["combine"].default
    try:
        installed.combiner(name)
    except ConfigError as error:
        yield draft.problem(("spec", "combine"), str(error))


def _labels(draft: Draft) -> Iterator[Problem]:
    node = get(draft.root, "spec", "match")
    for name in node.entries if isinstance(node, Mapping) else ():
        if not _LABEL_NAME.fullmatch(name):
            yield draft.problem(
                ("spec", "match", name),
                "a label's name should be letters, digits and _, and not begin with a digit",
            )


def _queries(draft: Draft) -> Iterator[Problem]:
    signals = get(draft.root, *SIGNALS)
    for name in signals.entries if isinstance(signals, Mapping) else ():
        query = _text(draft, *SIGNALS, name, "query")
        step = get(draft.root, *SIGNALS, name, "stepSeconds")
        seconds = step.value if isinstance(step, Scalar) and type(step.value) is int else None
        for fault in query_faults(query, seconds) if query else ():
            yield draft.problem((*SIGNALS, name, "query"), fault)


def _signals_of(draft: Draft, index: int, policy: Policy) -> Iterator[Problem]:
    signals = get(draft.root, *SIGNALS)
    if signals is not None and not isinstance(signals, Mapping):
        return
    defined = tuple(signals.entries) if signals is not None else ()
    for name in sorted((policy.uses | policy.needs) - set(defined)):
        loc = (*POLICIES, index, *_reference(draft, index, name))
        yield draft.problem(
            loc,
            f"{policy.type} uses the signal '{name}', which spec.signals does not define"
            f"{did_you_mean(name, defined)}; defined are: {listed(defined)}",
        )


def _reference(draft: Draft, index: int, signal: str) -> Path:
    """Return where a policy names a signal; nothing where it does so by default."""
    policies = get(draft.root, *POLICIES)
    if isinstance(policies, List):
        for path, scalar in leaves(policies.items[index]):
            if scalar.value == signal and path != ("type",):
                return path
    return ()


def _fallback(draft: Draft, workload: ScaledWorkload) -> Iterator[Problem]:
    bounds, count = workload.spec.replicas, workload.spec.fallback.replicas
    if count != "keep" and not bounds.min <= count <= bounds.max:
        yield draft.problem(
            ("spec", "fallback", "replicas"),
            f"should be within replicas.min and replicas.max ({bounds.min} to {bounds.max}), "
            f"not {count}",
        )


def _unknown_group(draft: Draft, workload: ScaledWorkload) -> Iterator[Problem]:
    """Yield a group that no cluster has: those of others have a dot in their name."""
    version = workload.spec.target.api_version
    group = version.rpartition("/")[0]
    if "." not in group and version != "v1" and group != "apps":
        yield draft.problem(
            ("spec", "target", "apiVersion"),
            f"{version!r} is no API of Kubernetes that scales anything; did you mean 'apps/v1'?",
        )


def _unused_signals(draft: Draft, workload: ScaledWorkload) -> Iterator[Problem]:
    used = frozenset[str]().union(*(policy.uses for policy in workload.spec.policies))
    for name, signal in workload.spec.signals.items():
        if name not in used and signal.role not in _ROLES_THAT_JUDGE:
            yield draft.problem((*SIGNALS, name), "no policy uses this signal")


def _matches_everything(draft: Draft, workload: ScaledWorkload) -> Iterator[Problem]:
    if workload.spec.match:
        return
    for name, signal in workload.spec.signals.items():
        if placeholders_in(signal.query) & {"$match", "$labels"}:
            yield draft.problem(
                (*SIGNALS, name, "query"),
                "spec.match is empty: this query takes the series of every workload",
            )


def _rates(draft: Draft, workload: ScaledWorkload) -> Iterator[Problem]:
    """Yield rate limits that the API server refuses, or that no sleeping workload could leave."""
    behavior = workload.spec.behavior
    if behavior is None:
        return
    for direction, rules in (("scaleUp", behavior.scale_up), ("scaleDown", behavior.scale_down)):
        if rules is not None and rules.policies == ():
            yield draft.problem(
                ("spec", "behavior", direction, "policies"),
                "should have at least one rate limit; leave it out for the defaults, or set "
                "selectPolicy: Disabled",
            )
    limits = effective(behavior).scale_up
    choose = all if limits.select == "Min" else any
    wakes = limits.select != "Disabled" and choose(one.type == "Pods" for one in limits.policies)
    if workload.spec.replicas.min == 0 and limits.policies and not wakes:
        yield draft.problem(
            ("spec", "behavior", "scaleUp"),
            "at 0 replicas a percentage allows 0 more, so nothing would wake the workload: add "
            "{type: Pods, value: 4, periodSeconds: 15}, or set replicas.min to 1",
        )


def _sleeps_for_ever(draft: Draft, workload: ScaledWorkload) -> Iterator[Problem]:
    if workload.spec.replicas.min > 0:
        return
    signals = workload.spec.signals
    for policy in workload.spec.policies:
        if not policy.uses or not all(
            _ENGINE_METRIC.search(signals[name].query) for name in policy.uses if name in signals
        ):
            return
    yield draft.problem(
        ("spec", "replicas", "min"),
        "at 0 replicas nothing serves the metrics that every policy here rests on, so nothing "
        "would wake the workload: add a signal of the gateway in front, or a schedule",
    )


def _guards_without_limit(draft: Draft, workload: ScaledWorkload) -> Iterator[Problem]:
    slo = workload.spec.slo.model_dump(by_alias=True)
    for index, policy in enumerate(workload.spec.policies):
        if policy.type != "latency-guard":
            continue
        given = policy.model_dump()
        objective = given.get("objective") or str(given.get("signal")).partition("_")[0]
        limit = _LATENCY_LIMITS.get(objective)
        if limit is not None and slo.get(limit) is None:
            yield draft.problem(
                (*POLICIES, index),
                f"spec.slo.{limit} is not set: without this limit the policy says nothing",
            )
