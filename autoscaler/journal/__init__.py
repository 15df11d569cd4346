"""The file of cycles: JSON lines with sorted keys; equal cycles give equal bytes.

The first line is a header with the policy files. The cycles after it are numbered from 1. A series
is written once and then only its new samples: each line says from when on the earlier ones still
count. A file is self-contained. A journal that never ends is a folder of such files (`rotation`).
"""

from autoscaler.journal.reading import decode, read_header, read_journal
from autoscaler.journal.rotation import (
    Limits,
    RotatingJournal,
    journal_files,
    rotated_files,
    state_in,
)
from autoscaler.journal.writing import VERSION, JournalFile, SeriesByKey, encode, header

__all__ = [
    "VERSION",
    "JournalFile",
    "Limits",
    "RotatingJournal",
    "SeriesByKey",
    "decode",
    "encode",
    "header",
    "journal_files",
    "read_header",
    "read_journal",
    "rotated_files",
    "state_in",
]
