"""autoscaler explain."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoscaler.cli.live_look import ask_controller, look_now
from autoscaler.cli.trail import document_of, trail
from autoscaler.cli.words import emit, emit_json, read_time, utc

if TYPE_CHECKING:  # commands import what they need when they run
    from autoscaler.core.decision import Cycle

LAST = "last"
_SECONDS = re.compile(r"\+[0-9]+(\.[0-9]+)?(e\+?[0-9]{1,2})?", re.IGNORECASE)


def explain(  # noqa: PLR0917  # typer turns each into an option
    workload: Annotated[str, typer.Argument(help="Name, or namespace/name.")],
    journal: Annotated[
        Path | None,
        typer.Option(help="The file of cycles that a replay wrote, or a live journal's folder."),
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            help="When: an ISO 8601 time, seconds since the first cycle (+600), or last. The "
            "nearest cycle at or before it is shown."
        ),
    ] = LAST,
    url: Annotated[
        str | None, typer.Option(help="Ask the running controller at this address instead.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="With --url: file with the bearer token.")
    ] = None,
    policy: Annotated[
        list[Path] | None,
        typer.Option(
            help="Look at the live cluster now, with this policy file or folder, and change "
            "nothing; may be repeated."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="With --policy: settings, as `autoscaler run` takes them.")
    ] = None,
    prometheus: Annotated[
        str | None, typer.Option(help="With --policy: address of the source called default.")
    ] = None,
    kubeconfig: Annotated[Path | None, typer.Option(help="With --policy: kubeconfig.")] = None,
    context: Annotated[
        str | None, typer.Option(help="With --policy: context of the kubeconfig.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="With --policy: the controller's namespace.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the trail as JSON.")] = False,
) -> None:
    """Say why a workload has the number it has.

    Prints the whole trail of one decision: signals, policies, rules, action; and what was decided
    of its node pool. From a journal, from a running controller (--url), or from a look at the
    live cluster now (--policy).
    """
    from autoscaler.core.errors import ConfigError

    if [journal is not None, url is not None, bool(policy)].count(True) != 1:
        raise ConfigError("one of --journal, --url and --policy should say where to look")
    first: float | None
    if journal is not None:
        cycle, first, key, pool = _recorded(journal, workload, at)
    elif url is not None:
        first = None
        cycle, key, pool = ask_controller(url, token_file, workload)
    else:
        flags = {
            "prometheus": prometheus,
            "kubeconfig": kubeconfig,
            "context": context,
            "namespace": namespace,
        }
        first = None
        cycle, key, pool = look_now(policy or [], config, flags, workload)
    decision, sized = cycle.plan.decisions[key], cycle.plan.pools.get(pool)
    if as_json:
        emit_json(document_of(cycle, decision, sized))
    else:
        emit("\n".join(trail(cycle, decision, first, sized)))


def _recorded(journal: Path, workload: str, at: str) -> tuple["Cycle", float, str, str]:
    """Return a cycle of a journal, the time of the first, the workload's key and its pool."""
    from autoscaler.core.errors import ConfigError
    from autoscaler.journal import journal_files, read_header, read_journal

    files = journal_files(journal)
    header = read_header(files[-1])
    key = _key(journal, workload, header)
    cycles = (cycle for file in files for cycle in read_journal(file))
    cycle, first, line = _nearest(cycles, at, journal)
    if key not in cycle.plan.decisions:
        raise ConfigError(f"{journal}:{line}: holds no decision for {key}, which the header names")
    return cycle, first, key, _pool(header, key)


def _pool(header: dict[str, Any], key: str) -> str:
    """Return the name of a workload's node pool; empty where it has none."""
    workload = next(one for one in header["workloads"] if _key_of(one) == key)
    return str(workload["spec"].get("replica", {}).get("nodePool", ""))


def _key_of(workload: dict[str, Any]) -> str:
    metadata = workload["metadata"]
    return f"{metadata.get('namespace', 'default')}/{metadata['name']}"


def _key(journal: Path, name: str, header: dict[str, Any]) -> str:
    from autoscaler.core.errors import ConfigError

    known = [_key_of(workload) for workload in header["workloads"]]
    found = [key for key in known if name in (key, key.partition("/")[2])]
    if len(found) == 1:
        return found[0]
    rule = "several workloads are called" if found else "no workload is called"
    raise ConfigError(f"{journal}: {rule} {name!r}; there are: {', '.join(known)}")


def _nearest(cycles: Iterator["Cycle"], at: str, journal: Path) -> tuple["Cycle", float, int]:
    """Return the newest cycle not after a time, the time of the first cycle, and its own line."""
    from autoscaler.core.errors import ConfigError

    found: Cycle | None = None
    first = until = math.nan
    line = 1
    for cycle in cycles:
        now = cycle.plan.now
        if math.isnan(first):
            first, until = now, _until(at, now)
        if now > until:
            break
        found = cycle
        line += 1
    if math.isnan(first):
        raise ConfigError(f"{journal}: holds no cycle")
    if found is None:
        raise ConfigError(f"{journal}: no cycle at or before {at}; the first is at {utc(first)}")
    return found, first, line


def _until(at: str, first: float) -> float:
    from autoscaler.core.errors import ConfigError

    if at == LAST:
        return math.inf
    if _SECONDS.fullmatch(at):
        return first + float(at)
    time = read_time(at)
    if time is None:
        raise ConfigError(
            f"--at: should be a time such as 2026-01-05T00:10:00Z, seconds such as +600, or last, "
            f"not {at!r}"
        )
    return time
