"""How much the live controller costs here: `python -m tests.bench.live`.

Fleets on three engine presets (vllm-queue-latency, sglang, tgi; four signals each), against a
loopback double of Prometheus and our fake Kubernetes API, each in a process of its own: neither
their processor time nor their memory is in the figures. All workloads are scaled (`actuation:
scale`), one in a hundred grows in each cycle, every decision remembers a whole window of
recommendations, the state is saved in each cycle, and `/metrics` is made once a cycle.

Processor seconds are those of the controller process, in the cheapest of several cycles: they are
what can be compared on a machine that does other things too. Signals with a step of 30 s are due in
every second cycle; only cycles in which all are due and all workloads are seen count. The first
cycle reads whole windows and lists the cluster, and is told apart.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from tests.bench.fleet import PRESETS
from tests.bench.meter import python_text

PHASES: Final = (
    ("prometheus", "Prometheus read"),
    ("targets", "targets read"),
    ("planning", "planned"),
    ("changes", "changes made"),
    ("state", "state saved"),
    ("telemetry", "logged, counted"),
    ("metrics page", "/metrics page"),
    ("rest", "watches, threads"),
)
LIMIT_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Row:
    """One run of the controller.

    Attributes:
        workloads: How many.
        recorded: Whether histograms came from the recording rules.
        cold: What the first cycle cost.
        steady: What the cheapest later one cost in which every signal was due.
        measured: All that the controller's process told.
    """

    workloads: int
    recorded: bool
    cold: Mapping[str, float]
    steady: Mapping[str, float]
    measured: Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.live", description=__doc__)
    parser.add_argument("--workloads", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument(
        "--cycles", type=int, default=4, help="one after the other, the cold first; 2 or more"
    )
    parser.add_argument(
        "--scheduled", type=int, default=4, help="15 s apart, the cold first; 0: none"
    )
    parser.add_argument("--lease-seconds", type=float, default=15.0, help="before we lead")
    parser.add_argument("--sample", type=int, default=400, help="queries asked one by one")
    chosen = parser.parse_args(arguments)
    if chosen.cycles < 2:
        parser.error(f"argument --cycles: should be 2 or more, not {chosen.cycles}")
    rows, paced, plain = [], [], []
    with tempfile.TemporaryDirectory() as folder, _server("prometheus_server") as prometheus:
        log = Path(folder) / "log"
        for workloads in chosen.workloads:
            with _server("kubernetes_server", str(workloads), folder) as kubeconfig:
                order = {
                    "workloads": workloads,
                    "prometheus": prometheus,
                    "kubeconfig": kubeconfig,
                    "lease_seconds": chosen.lease_seconds,
                }
                for recorded in (True, False):
                    _say(f"measuring {workloads:,} workloads, {_how(recorded)} ...")
                    it = {**order, "recorded": recorded, "cycles": chosen.cycles}
                    rows.append(_row(it, _asked("controller", it, log)))
                if chosen.scheduled:
                    _say(f"measuring {workloads:,} workloads, 15 s apart ...")
                    it = {**order, "recorded": True, "cycles": chosen.scheduled, "scheduled": True}
                    paced.append(_asked("controller", it, log))
            it = {"workloads": workloads, "prometheus": prometheus, "sample": chosen.sample}
            plain.append({**_asked("one_by_one", it, log), "workloads": workloads})
    _print(f"presets {', '.join(PRESETS)}; seconds are processor seconds of the controller")
    _print(python_text())
    _print("")
    _print_cycles(rows)
    _print("")
    _print_phases(rows)
    _print("")
    if paced:
        _print_paced(chosen.workloads, paced)
        _print("")
    _print_plain(rows, plain)


def _row(order: Mapping[str, Any], measured: Mapping[str, Any]) -> Row:
    cold, *later = measured["cycles"]
    due = max(cycle["signals"] for cycle in later)
    full = [cycle for cycle in later if cycle["signals"] == due]
    steady = min(full, key=lambda cycle: float(cycle["cpu"]))
    return Row(order["workloads"], order["recorded"], cold, steady, measured)


def _how(recorded: bool) -> str:
    return "recorded" if recorded else "raw"


def _print_cycles(rows: Sequence[Row]) -> None:
    _print(
        f"{'workloads':>9} {'histograms':>10} {'queries':>8} {'signals':>8} {'changes':>8} "
        f"{'cold':>7} {'steady':>7} {'pace':>6} {'stolen':>7} {'MiB':>6} {'at most':>8} "
        f"{'state':>8}"
    )
    for row in rows:
        told, steady = row.measured, row.steady
        wrong = [f"{steady[name]} {name}" for name in ("blind", "failed") if steady[name]]
        _print(
            f"{row.workloads:>9,} {_how(row.recorded):>10} {steady['queries']:>8,} "
            f"{steady['signals']:>8,} {steady['actions']:>8,} {row.cold['cpu']:>6.2f}s "
            f"{steady['cpu']:>6.2f}s {steady['pace']:>6.1f} {_stolen(steady):>7} "
            f"{told['resident'] / 2**20:>6.0f} {told['most_resident'] / 2**20:>8.0f} "
            f"{told['state_bytes'] / 1e6:>5.1f} MB"
            f"{'  ' if wrong else ''}{', '.join(wrong)}"
        )
    least = min(cycle["pace"] for row in rows for cycle in row.measured["cycles"])
    _print("pace: microseconds of processor time that sum(range(1000)) took around that cycle;")
    _print(f"{least:.1f} at the quietest moment. More: others use the core, too.")
    _print("stolen: how much of all processors the host gave to others during that cycle, as")
    _print("/proc/stat has it; -: it is not told here.")


def _stolen(cycle: Mapping[str, float]) -> str:
    return f"{cycle['stolen']:.1%}" if "stolen" in cycle else "-"


def _print_paced(sizes: Sequence[int], paced: Sequence[Mapping[str, Any]]) -> None:
    _print("At an interval of 15 s, in wall time; the first cycle is the cold one:")
    for workloads, told in zip(sizes, paced, strict=True):
        seconds = ", ".join(f"{one:.1f}" for one in told["seconds"])
        blind = ", ".join(f"{cycle['blind']:,}" for cycle in told["cycles"])
        lag = 1000 * max(told["lags"])
        _print(
            f"{workloads:>9,} took {seconds} s; began up to {lag:.0f} ms late; "
            f"{told['missed']} missed; not seen in time: {blind}"
        )


def _print_phases(rows: Sequence[Row]) -> None:
    heads = [f"{row.workloads:,} {_how(row.recorded)}" for row in rows]
    _print(f"{'a steady cycle':<18}" + "".join(f"{head:>17}" for head in heads))
    for phase, name in (*PHASES, ("cpu", "together")):
        cells = "".join(f"{row.steady.get(phase, 0.0):>16.2f}s" for row in rows)
        _print(f"{name:<18}{cells}")


def _print_plain(rows: Sequence[Row], plain: Sequence[Mapping[str, Any]]) -> None:
    _print("One query for each workload and signal, as KEDA and prometheus-adapter ask, beside it;")
    _print("only the asking, over the same HTTP client; times are a sample's, times their number:")
    _print(
        f"{'workloads':>9} {'':<12} {'queries':>8} {'asked':>6} {'processor':>10} "
        f"{'wall, 8 at once':>16}"
    )
    for row in rows:
        if not row.recorded:
            continue
        one = next(one for one in plain if one["workloads"] == row.workloads)
        each = one["queries"] / one["asked"]
        _print(
            f"{row.workloads:>9,} {'one by one':<12} {one['queries']:>8,} {one['asked']:>6,} "
            f"{each * one['cpu_seconds']:>9.1f}s {each * one['wall_seconds']:>15.1f}s"
        )
        _print(
            f"{'':>9} {'shared':<12} {row.steady['queries']:>8,} {'all':>6} "
            f"{row.steady['prometheus']:>9.1f}s"
        )


@contextmanager
def _server(module: str, *arguments: str) -> Iterator[str]:
    """Run a stand-in; yield what it says when it is ready. It ends with its standard input."""
    command = [sys.executable, "-m", f"tests.bench.{module}", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ready = process.stdout.readline().strip()
            if not ready:
                raise RuntimeError(f"{module} did not start")
            yield ready
        finally:
            process.stdin.close()


def _asked(module: str, order: Mapping[str, Any], log: Path) -> Mapping[str, Any]:
    """Run a measurement in a process of its own; return what it told."""
    command = [sys.executable, "-m", f"tests.bench.{module}", orjson.dumps(order).decode()]
    with log.open("wb") as errors:
        done = subprocess.run(
            command, check=False, stdout=subprocess.PIPE, stderr=errors, timeout=LIMIT_SECONDS
        )
    if done.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        raise RuntimeError("\n".join([f"{module} failed:", *tail]))
    told: Mapping[str, Any] = orjson.loads(done.stdout)
    return told


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()
