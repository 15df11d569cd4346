"""A live controller, composed of its ends: what each setting becomes."""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from autoscaler.adapters.acting import Aftermath, Scaling
from autoscaler.adapters.early import EarlySignals
from autoscaler.adapters.kubernetes.annotations import KillSwitch
from autoscaler.adapters.kubernetes.connection import DEFAULT_LIMITS, ONCE_LIMITS, Connection
from autoscaler.adapters.kubernetes.counts import Counts
from autoscaler.adapters.kubernetes.drain import Drain
from autoscaler.adapters.kubernetes.election import Durations, Election, own_identity
from autoscaler.adapters.kubernetes.kept_state import ClusterStore
from autoscaler.adapters.kubernetes.kinds import Kinds
from autoscaler.adapters.kubernetes.lease import ClusterLease
from autoscaler.adapters.kubernetes.neighbours import Neighbours
from autoscaler.adapters.kubernetes.scalers import ScalerReader
from autoscaler.adapters.kubernetes.targets import DEFAULT_READ, TargetReader
from autoscaler.adapters.kubernetes.watches import Watches
from autoscaler.adapters.kubernetes.writers import Respect
from autoscaler.adapters.live import FencedActuator, LiveObserver
from autoscaler.adapters.node_pools.pools import PoolReader
from autoscaler.adapters.prometheus.newest import NewestReader
from autoscaler.adapters.prometheus.plan import PlanLimits, QueryPlan, plan_queries
from autoscaler.adapters.prometheus.reader import SignalReader
from autoscaler.adapters.prometheus.source import PrometheusSource
from autoscaler.config.load import LoadedFleet
from autoscaler.config.reload import PolicyFiles
from autoscaler.core.node_pools import without_target
from autoscaler.core.workload import FleetSpec
from autoscaler.journal import Limits, RotatingJournal
from autoscaler.service import Alone, Leadership, Parts, Service, wall
from autoscaler.settings import Settings
from autoscaler.state import FileStore, StateStore
from autoscaler.telemetry.narrator import Narrator


def compose(
    settings: Settings,
    fleet: FleetSpec,
    *,
    clock: Callable[[], float],
    follow: bool = True,
    reads_state: bool = False,
) -> Parts:
    """Make the ends of a live controller; nothing is asked or changed yet.

    Args:
        settings: Of the process.
        fleet: The policy files in force at the start.
        clock: Unix seconds, for what people read.
        follow: Whether collections are watched; else each look lists them, for a process that
            looks once.
        reads_state: Whether a process that only watches begins with the saved state.

    Raises:
        ConfigError: There is no way to Kubernetes; the message says why.
    """
    log: Any = structlog.get_logger("cluster")
    limits = DEFAULT_LIMITS if follow else ONCE_LIMITS
    connection = Connection.open(settings.kubeconfig, settings.context, limits=limits)
    identity = settings.identity or own_identity(socket.gethostname())
    leadership = _leadership(settings, connection, identity, clock, log)
    sources = {one.name: PrometheusSource(one) for one in settings.all_sources}
    signals = EarlySignals(
        reader := signal_reader(settings, sources),
        NewestReader(
            sources, planner(settings), deadline_seconds=min(1.0, settings.looking_seconds / 4)
        ),
    )
    kinds, watches = Kinds(connection), Watches(connection, follow=follow)
    # In shadow mode nobody stands for election, and another process may well be the one that acts.
    counts = Counts(lambda: not settings.shadow and leadership.is_leader())
    scalers = ScalerReader(
        connection, (), say=log.warning, deadline_seconds=min(5.0, settings.looking_seconds / 2)
    )
    neighbours = Neighbours(
        scalers,
        counts=counts,
        respect=Respect(edit_seconds=settings.human_edit_seconds),
        say=log.warning,
    )
    targets = TargetReader(connection, kinds, watches, say=neighbours)
    observer = LiveObserver(
        signals=signals,
        targets=targets,
        pools=PoolReader(connection, kinds, deadline_seconds=settings.looking_seconds),
        seconds=settings.looking_seconds,
        paused=KillSwitch(
            connection, settings.namespace, say=log.warning, flag=settings.kill_switch
        ).read,
        trouble=lambda: connection.failure,
    )
    journal = _journal(settings, fleet)
    drain = Drain(connection, deadline_seconds=_write_seconds(settings) / 2)
    scaling = Scaling(
        connection,
        kinds,
        observer,
        drain,
        counts,
        leads=leadership.is_leader,
        seconds=_write_seconds(settings),
    )
    aftermath = Aftermath(identity, connection, targets, drain, leadership.is_leader, log)

    def replan(fleet: FleetSpec) -> None:
        scaling.use(fleet)
        scalers.use(DEFAULT_READ.places(fleet))
        counts.use(workload.key for workload in fleet.workloads)

    def close() -> None:
        aftermath.close()
        observer.close()
        signals.close()
        watches.close()
        for source in sources.values():
            source.close()
        connection.close()
        if journal is not None:
            journal.close()

    replan(fleet)
    return Parts(
        observer=observer,
        actuator=None
        if settings.shadow
        else FencedActuator(scaling, leads=leadership.is_leader, seconds=settings.acting_seconds),
        leadership=leadership,
        replan=replan,
        looks=signals,
        sources=reader.reports,
        store=_store(settings, connection, leadership.is_leader)
        if reads_state or not settings.shadow
        else None,
        memories={"counts": counts, "series": observer},
        journal=journal,
        announce=aftermath.follow,
        refused_seconds=lambda: connection.refused_seconds,
        close=close,
    )


def live_service(
    settings: Settings,
    files: PolicyFiles,
    *,
    follow: bool = True,
    from_saved_state: bool = False,
) -> Service:
    """Return a process that is ready to start.

    Args:
        settings: Of the process.
        files: The policy files.
        follow: As `compose`.
        from_saved_state: Whether a process that only watches begins with the state that the
            acting one keeps. It never writes there.

    Raises:
        ConfigError: There is no way to Kubernetes; the message says why.
    """
    parts = compose(
        settings, files.loaded.fleet, clock=wall, follow=follow, reads_state=from_saved_state
    )
    return Service(settings, files, parts, narrate=Narrator().narrate)


def policy_files(settings: Settings, paths: Sequence[Path]) -> PolicyFiles:
    """Return the policy files of a process, which refuse what it could not observe or size.

    Raises:
        ConfigError: Something is wrong in them, a workload names a source that is not configured,
            or a pool to size names no object.
    """

    def wrong_here(loaded: LoadedFleet) -> tuple[str, ...]:
        refused = () if settings.shadow else without_target(loaded.fleet.pools)
        pools = (f"{loaded.sources[key].at('spec.target')}: {why}" for key, why in refused)
        return (*_unconfigured(settings, loaded), *pools)

    return PolicyFiles(paths, wrong_here=wrong_here)


def _unconfigured(settings: Settings, loaded: LoadedFleet) -> Iterator[str]:
    """Yield a line for each source that workloads ask and nobody configured."""
    known = {one.name for one in settings.all_sources}
    asking: dict[str, list[str]] = {}
    for workload in loaded.fleet.workloads:
        if workload.spec.signals and workload.spec.source not in known:
            asking.setdefault(workload.spec.source, []).append(workload.key)
    there = f"configured are: {', '.join(sorted(known)) or 'none'}"
    for name, (first, *more) in asking.items():
        whom = f"{first} and {len(more)} more" if more else first
        how = "--prometheus takes its address" if name == "default" else "`sources` lists such ones"
        yield (
            f"{loaded.sources[first].at('spec.source')}: spec.source: {name!r} is not configured: "
            f"{whom} would see nothing; {there}; {how}"
        )


def planner(settings: Settings) -> Callable[[FleetSpec], QueryPlan]:
    """Return what plans the queries of a fleet, live and in backtests."""
    limits = PlanLimits(
        scrape_seconds=settings.scrape_interval_seconds, recorded=settings.recorded_signals
    )
    return lambda fleet: plan_queries(fleet, limits=limits)


def signal_reader(settings: Settings, sources: Mapping[str, PrometheusSource]) -> SignalReader:
    """Return what reads signals, under the limits of the settings."""
    return SignalReader(
        sources,
        planner(settings),
        deadline_seconds=0.95 * settings.looking_seconds,
        jitter_seconds=min(0.25, 0.05 * settings.looking_seconds),
    )


def _write_seconds(settings: Settings) -> float:
    """Return how long one change may take."""
    # A write that begins while we lead must end before another can lead.
    # One that hangs must leave time for those behind it.
    return min(settings.acting_seconds / 2, settings.lease_seconds - settings.renew_seconds)


def _leadership(
    settings: Settings,
    connection: Connection,
    identity: str,
    clock: Callable[[], float],
    log: Any,
) -> Leadership:
    if settings.shadow or not settings.leader_election:
        return Alone()
    durations = Durations(
        lease_seconds=settings.lease_seconds,
        renew_seconds=settings.renew_seconds,
        retry_seconds=settings.retry_seconds,
        request_seconds=settings.lease_request_seconds,
    )
    lease = ClusterLease(
        connection,
        settings.namespace,
        settings.lease_name,
        deadline_seconds=settings.lease_request_seconds,
    )
    return Election(
        lease,
        identity,
        now=clock,
        chance=np.random.default_rng().random,
        durations=durations,
        say=log.info,
        warn=log.warning,
    )


def _journal(settings: Settings, fleet: FleetSpec) -> RotatingJournal | None:
    if settings.journal is None:
        return None
    limits = Limits(file_bytes=settings.journal_max_bytes, files=settings.journal_files)
    return RotatingJournal(settings.journal, fleet, limits)


def _store(
    settings: Settings, connection: Connection, leads: Callable[[], bool]
) -> StateStore | None:
    if settings.state == "none":
        return None
    if settings.state == "file" and settings.state_file is not None:
        return FileStore(settings.state_file)
    return ClusterStore(connection, settings.namespace, settings.state_name, may_write=leads)
