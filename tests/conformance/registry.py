"""Which function replays which kind of recorded case."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.conformance import hpa_cases, kpa_cases

CASES: Final[Mapping[str, Callable[[dict[str, Any]], list[str]]]] = {
    **hpa_cases.CASES,
    **kpa_cases.CASES,
}
"""By `kind`: a function that returns what differs from the record, nothing if it conforms."""
