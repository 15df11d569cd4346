"""The rows of the table of errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoscaler.core.observation import FloatArray


@dataclass(frozen=True, slots=True)
class Row:
    """One error, and what it was measured on.

    Attributes:
        check: Which comparison.
        basis: What was compared.
        figure: Of what the error is.
        points: How many numbers were compared, or what they were estimated from.
        error: Percent. Of one number, signed: positive is too high. Of several, the mean of the
            absolute errors.
        bias: Mean of the signed errors; None of one number.
        truth: The number of theory or measurement; None of several.
        simulated: Ours.
        spread: Half the width of the 99.9 % confidence interval of `error`, in percentage points;
            None where nothing is drawn.
    """

    check: str
    basis: str
    figure: str
    points: int
    error: float
    bias: float | None = None
    truth: float | None = None
    simulated: float | None = None
    spread: float | None = None


def one(
    check: str,
    basis: str,
    figure: str,
    points: int,
    truth: float,
    simulated: float,
    *,
    spread: float | None = None,
) -> Row:
    """Return the row of a single number."""
    error = 100 * (simulated / truth - 1)
    relative = None if spread is None else 100 * spread / truth
    return Row(
        check,
        basis,
        figure,
        points,
        error,
        truth=truth,
        simulated=simulated,
        spread=relative,
    )


def many(check: str, basis: str, figure: str, truth: FloatArray, simulated: FloatArray) -> Row:
    """Return the row of several numbers, none of which is 0 in truth."""
    errors = 100 * (simulated / truth - 1)
    return Row(
        check,
        basis,
        figure,
        len(errors),
        float(np.mean(np.abs(errors))),
        bias=float(np.mean(errors)),
    )


def as_table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the table, as plain text."""
    header = ("check", "basis", "figure", "points", "truth", "simulated", "error %", "bias %", "±")
    cells = [header, *(_cells(row) for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(header))]
    left = 3
    return [
        "  ".join(
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def _cells(row: Row) -> tuple[str, ...]:
    several = row.bias is not None
    return (
        row.check,
        row.basis,
        row.figure,
        f"{row.points:,}",
        _number(row.truth),
        _number(row.simulated),
        f"{row.error:.1f}" if several else f"{row.error:+.1f}",
        "" if row.bias is None else f"{row.bias:+.1f}",
        "" if row.spread is None else f"{row.spread:.1f}",
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
