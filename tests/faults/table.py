"""What is expected of each fault, as FAULTS.md shows it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.world import SITUATIONS

DOCUMENT: Final = Path(__file__).parents[2] / "autoscaler" / "FAULTS.md"
NOTHING: Final = "—"

_CELLS: Final = {"grows", "shrinks", "holds"}


@dataclass(frozen=True, slots=True)
class Row:
    """One fault.

    Attributes:
        fault: Its name.
        during: What becomes of each situation while it lasts, by workload.
        seconds: Longest time after it until every workload has what its demand needs.
        says: What a line of the log holds; empty where nothing need be told.
    """

    fault: str
    during: dict[str, str]
    seconds: int
    says: str


def rows(text: str) -> list[Row]:
    """Read the tables of the document.

    Raises:
        ValueError: A row is not as it should be.
    """
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("| ") or cells[0] == "fault":
            continue
        name, *during, seconds, says = cells
        time, told = re.fullmatch(r"(\d+) s", seconds), re.fullmatch(r"`(.+)`", says)
        whole = len(during) == len(SITUATIONS) and set(during) <= _CELLS
        if not whole or time is None or (told is None and says != NOTHING):
            raise ValueError(f"not a row of the table: {line}")
        names = [situation.name for situation in SITUATIONS]
        cell = dict(zip(names, during, strict=True))
        found.append(Row(name, cell, int(time[1]), told[1] if told else ""))
    return found
