"""The controller of the benchmark, a process of its own: it measures itself.

Composed as `autoscaler run` composes it: leader election, state in ConfigMaps, every workload with
`actuation: scale`, log to standard error. Cycles run one after the other on a clock of their own,
15 s further each, with all the time they want; or on the real clock, for the lag. `/metrics` is
made once a cycle.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import orjson

import autoscaler.controller
import autoscaler.service.saving
from autoscaler.compose import compose
from autoscaler.config.reload import PolicyFiles
from autoscaler.core.past import Mark, Past
from autoscaler.core.planner import FleetState
from autoscaler.core.workload import FleetSpec
from autoscaler.service import Service, collect_rarely, wall
from autoscaler.settings import Settings
from autoscaler.state import dump_state
from autoscaler.telemetry import routes
from autoscaler.telemetry.logs import set_up_logs
from autoscaler.telemetry.narrator import Narrator
from autoscaler.telemetry.report import CycleReport
from tests.bench.fleet import REPLICAS, Unchanging, fleet_of
from tests.bench.meter import Meter, Theft, most_resident_bytes, pace, resident_bytes

INTERVAL = 15.0
UNHURRIED = 600.0
"""With this interval no reading is cut short, however busy the machine."""
WINDOW_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to run.

    Attributes:
        workloads: How many.
        prometheus: Its address.
        kubeconfig: Of the API.
        recorded: Whether histograms are read through the recording rules.
        lease_seconds: Of our lease: leading begins after as long.
        cycles: How many; the first is the cold one.
        scheduled: Whether they run on the real clock.
    """

    workloads: int
    prometheus: str
    kubeconfig: str
    recorded: bool
    cycles: int
    scheduled: bool = False
    lease_seconds: float = 15.0


@dataclass(slots=True)
class Measured:
    """What came out.

    Attributes:
        cycles: What each one brought and, one after the other, cost.
        signals: Of all workloads: as many are due in a cycle, if no step is longer than it.
        resident: Bytes, after the last cycle.
        most_resident: Bytes, at any time.
        state_bytes: Of a saved state, uncompressed.
        lags: Seconds that each cycle on the real clock began late.
        seconds: That each of those took.
        missed: Of those.
    """

    cycles: list[dict[str, float]] = field(default_factory=list)
    signals: int = 0
    resident: int = 0
    most_resident: int = 0
    state_bytes: int = 0
    lags: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    missed: int = 0


class Clock:
    """The wall clock, turned back at first."""

    def __init__(self, steps: int) -> None:
        self._back = steps * INTERVAL

    def __call__(self) -> float:
        return wall() - self._back

    def step(self) -> None:
        """Go on by one interval; at last the time is right."""
        self._back -= INTERVAL


def main() -> None:
    order = Order(**orjson.loads(sys.argv[1]))
    sys.stdout.buffer.write(orjson.dumps(asdict(run(order))) + b"\n")


def run(order: Order) -> Measured:
    """Run the cycles that are ordered."""
    settings = Settings(
        prometheus=order.prometheus,
        kubeconfig=Path(order.kubeconfig),
        recorded_signals=order.recorded,
        interval_seconds=INTERVAL if order.scheduled else UNHURRIED,
        lease_seconds=order.lease_seconds,
        renew_seconds=2 / 3 * order.lease_seconds,
        retry_seconds=0.1 * order.lease_seconds,
        lease_request_seconds=0.2 * order.lease_seconds,
    )
    set_up_logs("json", "info")
    collect_rarely(order.workloads)
    fleet, meter, clock = (
        fleet_of(order.workloads),
        Meter(),
        Clock(0 if order.scheduled else order.cycles),
    )
    parts = compose(settings, fleet, clock=wall)
    files = cast("PolicyFiles", Unchanging(fleet))
    service = Service(settings, files, parts, narrate=Narrator().narrate, clock=clock)
    service.controller.state = _after_a_window(fleet, clock())
    _metered(service, meter)
    measured = Measured(signals=sum(len(w.spec.signals) for w in fleet.workloads))
    parts.leadership.start()
    _wait(parts.leadership.is_leader, "nobody became the leader")
    service._leading._term = parts.leadership.term  # it goes on from the state above
    if order.scheduled:
        _on_the_real_clock(service, meter, order.cycles, measured)
    else:
        _one_after_the_other(service, meter, order.cycles, clock, measured)
    measured.resident, measured.most_resident = resident_bytes(), most_resident_bytes()
    measured.state_bytes = len(dump_state(service.controller.state, clock()))
    service.stop()
    return measured


def _one_after_the_other(
    service: Service, meter: Meter, cycles: int, clock: Clock, measured: Measured
) -> None:
    for number in range(cycles):
        clock.step()
        before, theft = pace(), Theft()
        meter.lap()
        report = service.tick()
        _scraped(service, meter)
        service.saving.flush(4 * INTERVAL)
        spent, stolen = meter.lap(), theft.share()
        if stolen is not None:
            spent["stolen"] = stolen
        measured.cycles.append({**spent, "pace": (before + pace()) / 2, **_brought(report)})
        time.sleep(0.2 if number else 1.0)


def _on_the_real_clock(service: Service, meter: Meter, cycles: int, measured: Measured) -> None:
    reports: list[CycleReport] = []

    def note() -> None:
        entry = service.latest.entry
        assert entry is not None
        reports.append(entry.report)

    service.latest.listen(note)
    leadership: Any = service._parts.leadership
    leadership.start = lambda: None  # it leads already
    service.start()
    for number in range(cycles):
        _wait(lambda number=number: len(reports) > number, "no cycle came")  # type: ignore[misc]
        _scraped(service, meter)
    measured.cycles = [_brought(report) for report in reports]
    measured.lags = [report.lag_seconds for report in reports]
    measured.seconds = [report.seconds for report in reports]
    measured.missed = sum(report.missed for report in reports)


def _wait(done: Callable[[], bool], why_not: str) -> None:
    end = time.monotonic() + 4 * INTERVAL
    while not done():
        if time.monotonic() > end:
            raise RuntimeError(why_not)
        time.sleep(0.05)


def _after_a_window(fleet: FleetSpec, now: float) -> FleetState:
    """Return what decisions remember when they have run for a whole window, restless ones."""
    backs = range(int(WINDOW_SECONDS / INTERVAL), 0, -1)
    marks = tuple(Mark(now - INTERVAL * back, REPLICAS - 7 * back % 4) for back in backs)
    past = partial(Past, desired=REPLICAS, asleep=False)
    return FleetState(
        {
            workload.key: past(recommendations=tuple(Mark(m.time, m.count) for m in marks))
            for workload in fleet.workloads
        }
    )


def _metered(service: Service, meter: Meter) -> None:
    """Meter the phases where they are called from."""
    parts: Any = service._parts
    signals, targets = parts.observer._signals, parts.observer._targets
    for owner, attribute, name in (
        (signals._signals, "_fetch", "prometheus"),
        (signals, "read", "prometheus"),
        (targets, "read", "targets"),
        (autoscaler.controller, "plan_cycle", "planning"),
        (autoscaler.controller, "note_outcomes", "planning"),
        (parts.actuator, "act", "changes"),
        (autoscaler.service.saving, "_problem_of", "state"),
        (service, "_narrate", "telemetry"),
        (service.latest, "publish", "telemetry"),
    ):
        meter.wrap(owner, attribute, name)


def _scraped(service: Service, meter: Meter) -> None:
    """Make the page of metrics, as a scrape does."""
    with meter.phase("metrics page"):
        entry = service.latest.entry
        assert entry is not None
        routes._metrics_of(entry)


def _brought(report: CycleReport) -> dict[str, float]:
    sources, outcomes = report.sources.values(), report.cycle.outcomes
    decisions = report.cycle.plan.decisions.values()
    return {
        "queries": sum(source.queries for source in sources),
        "signals": sum(source.signals for source in sources),
        "actions": len(outcomes),
        "failed": sum(not outcome.done for outcome in outcomes),
        "blind": sum(one.reason in ("blind", "unseen") for one in decisions),
    }


if __name__ == "__main__":
    main()
