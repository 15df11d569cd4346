"""Backtest: the live questions asked at past times, and what would have been decided then.

Open loop: what is seen is what really ran, and each decision starts from the size of its moment.
So `decided` tells what the controller would have set next, and `wanted` what the policies together
would have run if every one of their numbers had been there at once. How queues and latencies
would have gone on from there only a replay can tell.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from autoscaler.controller import Controller
from autoscaler.core.decision import Cycle, Decision
from autoscaler.core.ports import Journal, Observer
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from autoscaler.telemetry.sight import why_blind


@dataclass(frozen=True, slots=True)
class Backtested:
    """What a backtest found of one workload.

    Attributes:
        workload: Its key.
        cycles: Cycles in which its size was known.
        unseen: Cycles in which it was not: nothing can be said of those.
        blind: Cycles, among the known ones, in which no policy could see enough.
        more: Cycles in which more replicas would have been set than ran.
        fewer: Cycles in which fewer would have been set.
        real_gpu_hours: What ran.
        decided_gpu_hours: With each cycle's decision in place of what ran.
        wanted_gpu_hours: With what the policies together wanted, within the bounds; what ran
            where they wanted nothing.
        most_wanted: The most replicas that they wanted at once.
        why_blind: Of the last cycle that was blind or unseen; empty without one.
    """

    workload: str
    cycles: int = 0
    unseen: int = 0
    blind: int = 0
    more: int = 0
    fewer: int = 0
    real_gpu_hours: float = 0.0
    decided_gpu_hours: float = 0.0
    wanted_gpu_hours: float = 0.0
    most_wanted: int = 0
    why_blind: str = ""

    def after(
        self, workload: ScaledWorkload, decision: Decision, blind: str, seconds: float
    ) -> "Backtested":
        """Return this with one more cycle of so many seconds."""
        if decision.current is None or decision.replicas is None:
            why = blind or decision.text
            return replace(self, unseen=self.unseen + 1, why_blind=why)
        wanted = decision.current
        if decision.combined is not None:
            wanted = workload.spec.replicas.clamp(decision.combined)
        hours = workload.spec.replica.gpus * seconds / 3600.0
        return replace(
            self,
            cycles=self.cycles + 1,
            blind=self.blind + bool(blind),
            more=self.more + (decision.replicas > decision.current),
            fewer=self.fewer + (decision.replicas < decision.current),
            real_gpu_hours=self.real_gpu_hours + decision.current * hours,
            decided_gpu_hours=self.decided_gpu_hours + decision.replicas * hours,
            wanted_gpu_hours=self.wanted_gpu_hours + wanted * hours,
            most_wanted=max(self.most_wanted, wanted),
            why_blind=blind or self.why_blind,
        )


def backtest(
    fleet: FleetSpec,
    observer: Observer,
    *,
    since: float,
    until: float,
    interval_seconds: float,
    journal: Journal | None = None,
    on_cycle: Callable[[Cycle], None] = lambda cycle: None,
) -> tuple[Backtested, ...]:
    """Decide at past times, one cycle after the other.

    Args:
        fleet: The policy files.
        observer: Sees the fleet as it was; asked with rising times.
        since: The first cycle, Unix seconds.
        until: Cycles are before this, Unix seconds.
        interval_seconds: Between cycles.
        journal: Keeps the cycles.
        on_cycle: Is told each cycle.

    Returns:
        What was found, a workload each, in file order.
    """
    controller = Controller(fleet, observer=observer, journal=journal)
    found = {workload.key: Backtested(workload.key) for workload in fleet.workloads}
    for number in range(max(0, int((until - since) / interval_seconds + 1e-9))):
        cycle = controller.run_once(since + number * interval_seconds)
        for workload in fleet.workloads:
            decision = cycle.plan.decisions[workload.key]
            found[workload.key] = found[workload.key].after(
                workload, decision, why_blind(cycle, decision), interval_seconds
            )
        on_cycle(cycle)
    return tuple(found.values())
