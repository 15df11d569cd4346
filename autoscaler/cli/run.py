"""autoscaler run."""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoscaler.cli.words import bold, columns, emit, emit_json, say

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.service import Service
    from autoscaler.settings import Settings
    from autoscaler.telemetry.report import CycleReport


def run(  # noqa: PLR0917  # typer turns each into an option
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Policy files, folders.")],
    config: Annotated[
        Path | None, typer.Option(help="Settings, one YAML mapping; see autoscaler/SETTINGS.md.")
    ] = None,
    shadow: Annotated[
        bool | None, typer.Option("--shadow", help="Decide and record, change nothing.")
    ] = None,
    once: Annotated[
        bool,
        typer.Option(
            "--once",
            help="Run one cycle, print what was decided, and end: 0 when everything was seen and "
            "done, 1 else.",
        ),
    ] = False,
    prometheus: Annotated[
        str | None, typer.Option(help="Address of the source called default.")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Kubeconfig; if absent, the pod's account or the usual one.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Our own namespace: of the lease and the saved state.")
    ] = None,
    interval: Annotated[float | None, typer.Option(help="Seconds between control cycles.")] = None,
    listen_address: Annotated[
        str | None, typer.Option(help="Address of /metrics, the probes and /v1.")
    ] = None,
    listen_port: Annotated[int | None, typer.Option(help="Their port; 0 takes a free one.")] = None,
    journal: Annotated[Path | None, typer.Option(help="Folder for the journal of cycles.")] = None,
    leader_election: Annotated[
        bool | None,
        typer.Option("--leader-election/--no-leader-election", help="Act only with the lease."),
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="json or console.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any setting; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --once: print JSON.")] = False,
) -> None:
    """Run the controller: read signals, decide, scale.

    Policy files say what becomes of a decision: actuation none, scale or hpa. Settings come from
    flags, the environment (AUTOSCALER_...), a file, in this order.
    """
    from autoscaler.compose import live_service, policy_files
    from autoscaler.settings import read_settings, unknown_variables
    from autoscaler.telemetry.logs import set_up_logs

    flags: dict[str, Any] = {
        "shadow": shadow,
        "prometheus": prometheus,
        "kubeconfig": kubeconfig,
        "context": context,
        "namespace": namespace,
        "interval_seconds": interval,
        "listen_address": listen_address,
        "listen_port": listen_port,
        "journal": journal,
        "leader_election": leader_election,
        "log_format": log_format,
        "log_level": log_level,
    }
    settings = read_settings(config, flags, setting or ())
    for warning in unknown_variables():
        say(f"warning: {warning}")
    set_up_logs(settings.log_format, settings.log_level)
    watched = policy_files(settings, files)
    for warning in watched.loaded.warnings:
        say(f"warning: {warning}")
    service = live_service(settings, watched, follow=not once)
    if once:
        _once(service, settings, as_json=as_json)
    else:
        _until_stopped(service, settings)


def _until_stopped(service: "Service", settings: "Settings") -> None:
    """Serve and scale until SIGTERM or Ctrl-C; then end in order, with 0."""
    from autoscaler.service import serve

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    serve(service, settings, stopping)


def _once(service: "Service", settings: "Settings", *, as_json: bool) -> None:
    """Run one cycle, print it, and end with 1 where something was not seen or not done."""
    from autoscaler.telemetry.sight import said_once

    # A lease that we make is ours once another's would have run out, counted from the answer.
    for_the_lease = settings.lease_seconds + settings.retry_seconds
    for_the_lease += 2 * settings.lease_request_seconds
    try:
        report = service.once(for_the_lease)
    finally:
        service.stop()
    rows = [_row(report, key) for key in report.cycle.plan.decisions]
    rows += [_pool_row(report, name) for name in report.cycle.plan.pools]
    trouble = service.why_not_leading
    if as_json:
        emit_json({"leader": report.leader, "mode": report.mode, "workloads": rows})
    else:
        names = ("workload", "current", "replicas", "reason", "done")
        head, *lines = columns([names, *([row[name] for name in names] for row in rows)])
        texts = [f"{row['workload']}: {row['text']}" for row in rows]
        decisions = report.cycle.plan.decisions.values()
        texts[: len(decisions)] = map(said_once, decisions, texts)
        emit("\n".join([bold(head), *lines, "", *texts]))
    if trouble:
        say(f"nothing was changed: {trouble}")
    if trouble or not all(row["good"] for row in rows):
        raise typer.Exit(1)


def _row(report: "CycleReport", key: str) -> dict[str, Any]:
    from autoscaler.telemetry.sight import why_blind

    cycle = report.cycle
    decision = cycle.plan.decisions[key]
    outcome = next((one for one in cycle.outcomes if one.action.key == key), None)
    failed = outcome is not None and not outcome.done
    done = "" if outcome is None else "yes" if outcome.done else f"no: {outcome.detail}"
    return {
        "workload": key,
        "current": _count(decision.current),
        "replicas": _count(decision.replicas),
        "reason": str(decision.reason),
        "text": decision.text,
        "done": done or ("nothing to do" if not decision.changes else "only watching"),
        "good": not failed and not why_blind(cycle, decision),
    }


def _pool_row(report: "CycleReport", name: str) -> dict[str, Any]:
    sized = report.cycle.plan.pools[name]
    outcome = next((one for one in report.cycle.outcomes if one.action.key == name), None)
    done = "" if outcome is None else "yes" if outcome.done else f"no: {outcome.detail}"
    return {
        "workload": f"node pool {name}",
        "current": _count(sized.current),
        "replicas": _count(sized.nodes),
        "reason": str(sized.reason),
        "text": sized.text,
        "done": done or ("nothing to do" if sized.nodes == sized.current else "only watching"),
        "good": sized.nodes is not None and (outcome is None or outcome.done),
    }


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)
