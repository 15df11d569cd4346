"""Measures how true the simulator is, and prints one table: `python -m simulations.truth`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from autoscaler.core.errors import TraceError
from simulations.truth import agreement, closed_loop, mlperf, open_loop, queues, steps
from simulations.truth.rows import Row, as_table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m simulations.truth", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/serving-data"), help="measured tables"
    )
    parser.add_argument(
        "--requests", type=int, default=50_000, help="for each seed of a queue (20 seeds)"
    )
    parser.add_argument(
        "--plain-requests", type=int, default=20_000, help="for the fast pool and the plain one"
    )
    chosen = parser.parse_args(arguments)
    data = chosen.data
    checks: dict[str, Callable[[], list[Row]]] = {
        "steps": lambda: steps.rows(data),
        "open loop": lambda: open_loop.rows(data),
        "MLPerf": lambda: mlperf.rows(data),
        "closed loop": lambda: closed_loop.rows(data),
        "queues": lambda: queues.rows(chosen.requests),
        "fast pool": lambda: agreement.rows(chosen.plain_requests),
    }
    rows: list[Row] = []
    for name, measure in checks.items():
        sys.stderr.write(f"measuring: {name}\n")
        try:
            rows += measure()
        except TraceError as error:
            sys.stderr.write(f"{error}\n")
            return 2
    sys.stdout.write("\n".join(as_table(rows)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
