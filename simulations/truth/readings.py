"""Reads the tables of measured serving data."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoscaler.core.errors import TraceError

Reading = Mapping[str, str]


def readings(data: Path, name: str, columns: Sequence[str]) -> list[Reading]:
    """Return the rows of a table.

    Args:
        data: The folder of the tables.
        name: The file.
        columns: Those that are needed.

    Raises:
        TraceError: The file cannot be read, or lacks a column.
    """
    path = data / name
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            absent = [column for column in columns if column not in (reader.fieldnames or ())]
            if absent:
                raise TraceError(f"{path}:1: columns are missing: {', '.join(absent)}")
            return list(reader)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise TraceError(f"{path}: cannot be read: {why}") from error
