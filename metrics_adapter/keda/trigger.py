"""What a ScaledObject's trigger asks for, read from its metadata."""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from autoscaler.core.spec import DNS_LABEL
from metrics_adapter.keda.refusals import RefusedError, shown
from metrics_adapter.values import DESIRED, servable

WORKLOAD: Final = "workload"
METRIC: Final = "metric"
TARGET_SIZE: Final = "targetSize"
_NAMES: Final = (WORKLOAD, METRIC, TARGET_SIZE)
_LONGEST_NAME: Final = 253
_LARGEST_TARGET: Final = 1e15
"""KEDA counts in thousandths, in 64 bits."""
_SMALLEST_TARGET: Final = 0.001
_ALIKE: Final = 0.75


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger of one ScaledObject.

    Attributes:
        workload: The workload it follows, namespace/name.
        metric: The number it asks for.
        target_size: What one replica carries of it.
    """

    workload: str
    metric: str
    target_size: float


def read_trigger(name: str, namespace: str, metadata: Mapping[str, str]) -> Trigger:
    """Read the trigger of the ScaledObject `namespace/name`.

    KEDA passes on everything that the trigger's metadata says, its own names too, and later
    versions may have more of them. So unknown names are ignored, unless they are ours misspelt.

    Raises:
        RefusedError: Something is missing or malformed; names field, rule and value found.
    """
    where = f"ScaledObject {_plain(namespace)}/{_plain(name)}: trigger metadata"
    try:
        for key in metadata:
            _refuse_misspelt(key)
        workload = _workload(namespace, metadata.get(WORKLOAD))
        metric = _metric(metadata.get(METRIC, DESIRED))
        return Trigger(workload, metric, _target_size(metric, metadata.get(TARGET_SIZE)))
    except ValueError as error:
        raise RefusedError("INVALID_ARGUMENT", f"{where}: {error}") from error


def _refuse_misspelt(key: str) -> None:
    if key in _NAMES:
        return
    lower = {name.lower(): name for name in _NAMES}
    alike = difflib.get_close_matches(key[:_LONGEST_NAME].lower(), lower, n=1, cutoff=_ALIKE)
    if alike:
        raise ValueError(f"{shown(key)} is not known here; is {lower[alike[0]]} meant?")


def _workload(namespace: str, text: str | None) -> str:
    if text is None:
        raise ValueError(f"{WORKLOAD}: should be NAME or NAMESPACE/NAME, is missing")
    given, slash, name = text.rpartition("/")
    parts = (given if slash else namespace, name)
    if not all(len(part) <= _LONGEST_NAME and re.fullmatch(DNS_LABEL, part) for part in parts):
        raise ValueError(f"{WORKLOAD}: should be NAME or NAMESPACE/NAME, not {shown(text)}")
    return "/".join(parts)


def _metric(text: str) -> str:
    if not servable(text):
        raise ValueError(f"{METRIC}: should be a metric's name, not {shown(text)}")
    return text


def _target_size(metric: str, text: str | None) -> float:
    if metric == DESIRED:
        if text not in (None, "1"):
            raise ValueError(f"{TARGET_SIZE}: should be 1 for {DESIRED}, not {shown(str(text))}")
        return 1.0
    if text is None:
        raise ValueError(f"{TARGET_SIZE}: should say what one replica carries of {metric}")
    number = float(text) if re.fullmatch(r"[0-9]{1,16}(\.[0-9]{1,16})?", text) else math.nan
    if not _SMALLEST_TARGET <= number <= _LARGEST_TARGET:
        raise ValueError(f"{TARGET_SIZE}: should be a number from 0.001 to 1e15, not {shown(text)}")
    return number


def _plain(text: str) -> str:
    return text if re.fullmatch(DNS_LABEL, text) and len(text) <= _LONGEST_NAME else shown(text)
