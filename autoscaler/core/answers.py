"""What plug-ins answer, checked: nonsense stops one workload, never the cycle or the journal."""

import marshal
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from autoscaler.core.errors import PolicyError
from autoscaler.core.observation import Memory
from autoscaler.core.policy import MOST_REPLICAS, Forecast, Recommendation, Verdict

_MOST_INT = 2**63
"""What the journal's JSON can hold: 64 bits."""


def asked(plugin: Callable[[], object]) -> object:
    """Call other people's code.

    Raises:
        PolicyError: It raised anything, or wanted to end the process.
    """
    try:
        return plugin()
    except (Exception, SystemExit) as error:  # a plug-in may raise anything
        try:
            text = str(error)
        except Exception:  # noqa: BLE001 - even its text may be broken
            text = "and its text cannot be read"
        raise PolicyError(f"{type(error).__name__}: {text}") from error


def recommendation_in(answer: object) -> Recommendation:
    """Return a policy's answer if it is one that can be decided with and journalled.

    A count that is larger than Kubernetes can hold becomes the largest that it can.

    Raises:
        PolicyError: It is no recommendation, or a part of it is not what its type says.
    """
    if not isinstance(answer, Recommendation):
        raise PolicyError(f"should return a Recommendation, not {type(answer).__name__}")
    evidence: object = answer.evidence
    if not isinstance(evidence, Mapping):
        raise PolicyError(f"evidence should be numbers by name, not {evidence!r}")
    for name, number in evidence.items():
        if not isinstance(name, str) or not _is_finite(number):
            raise PolicyError(
                f"evidence should be finite numbers by name, not {name!r}: {number!r}"
            )
    forecast: object = answer.forecast
    if forecast is not None and not isinstance(forecast, Forecast):
        raise PolicyError(f"forecast should be a Forecast, not {forecast!r}")
    raise_only: object = answer.raise_only
    if not isinstance(raise_only, bool):
        raise PolicyError(f"raise_only should be true or false, not {raise_only!r}")
    return replace(
        answer,
        replicas=_count(answer.replicas),
        reason=_text(answer.reason),
        memory=memory_copy(answer.memory),
    )


def verdict_in(answer: object) -> Verdict:
    """Return a combiner's answer if it is one that can be decided with.

    Raises:
        PolicyError: It is no verdict, or a part of it is not what its type says.
    """
    if not isinstance(answer, Verdict):
        raise PolicyError(f"should return a Verdict, not {type(answer).__name__}")
    return Verdict(_count(answer.replicas), _text(answer.reason))


def lent(memory: Memory | None) -> Memory | None:
    """Return a copy of a memory that passed `memory_copy`, for a plug-in to do with as it likes."""
    if memory is None:
        return None
    copy: Memory = marshal.loads(marshal.dumps(dict(memory)))  # noqa: S302 - our own bytes, just written
    return copy


def memory_copy(memory: object) -> Memory | None:
    """Return a copy of a memory that nobody else holds.

    Raises:
        PolicyError: It holds something that JSON does not.
    """
    if memory is None:
        return None
    if not isinstance(memory, Mapping):
        raise PolicyError(f"memory should be JSON values by name, not {memory!r}")
    copy: Memory = _json(memory)
    return copy


def _json(value: object) -> Any:
    if isinstance(value, float) and math.isfinite(value):  # the most of them, so asked for first
        return value
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool) or _is_whole(value):
        return value
    if isinstance(value, list):
        return [_json(each) for each in value]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {_text(name): _json(each) for name, each in value.items()}
    raise PolicyError(f"memory should hold JSON values only, not {value!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and -_MOST_INT <= value < _MOST_INT


def _count(count: object) -> int | None:
    if count is None:
        return None
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise PolicyError(f"replicas should be a whole number, 0 or more, not {count!r}")
    return min(count, MOST_REPLICAS)


def _text(text: object) -> str:
    if not isinstance(text, str):
        raise PolicyError(f"a reason should be text, not {text!r}")
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError as error:
        raise PolicyError(f"text should be Unicode, not {text!r}") from error
    return text


def _is_finite(number: object) -> bool:
    return isinstance(number, int | float) and math.isfinite(number)
