"""What plug-ins answer, checked: nonsense stops one workload, never the cycle or the journal."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from autoscaler.core.errors import Ended, PolicyError
from autoscaler.core.observation import Memory
from autoscaler.core.policy import MOST_REPLICAS, Forecast, Recommendation, Verdict

_LEAST_INT, _MOST_INT = -(2**63), 2**64 - 1
"""What the journal's JSON can hold: 64 bits, with a sign or without."""

_PLAIN: Final = (
    orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
)
"""Nothing is written but JSON's own types; anything else is an error."""

_DEEPEST: Final = 100
"""How deep a memory may be nested; the journal's JSON can hold more."""


def asked(plugin: Callable[[], object]) -> object:
    """Call other people's code.

    Raises:
        PolicyError: It raised anything, or wanted to end the process.
        Ended: Somebody else ended the process meanwhile.
    """
    try:
        return plugin()
    except Ended:
        raise
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
    _check_evidence(answer.evidence)
    forecast: object = answer.forecast
    if forecast is not None and not isinstance(forecast, Forecast):
        raise PolicyError(f"forecast should be a Forecast, not {forecast!r}")
    raise_only: object = answer.raise_only
    if not isinstance(raise_only, bool):
        raise PolicyError(f"raise_only should be true or false, not {raise_only!r}")
    return Recommendation(
        replicas=_count(answer.replicas),
        reason=_text(answer.reason),
        evidence=answer.evidence,
        memory=memory_copy(answer.memory),
        forecast=answer.forecast,
        raise_only=answer.raise_only,
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
    copy: Memory = orjson.loads(orjson.dumps(memory))
    return copy


def memory_copy(memory: object) -> Memory | None:
    """Return a copy of a memory that nobody else holds, of plain JSON types.

    Raises:
        PolicyError: It holds something that JSON does not.
    """
    if memory is None:
        return None
    if type(memory) is dict:
        found = _as_written(memory)
        if found is not None:
            return found
    elif not isinstance(memory, Mapping):
        raise PolicyError(f"memory should be JSON values by name, not {memory!r}")
    copy: Memory = _json(memory, _DEEPEST)
    return copy


def _as_written(memory: Memory) -> Memory | None:
    """Return a copy of a memory that is all that it should be; None where it must be looked into.

    Every policy's memory passes here in every cycle, and most are flawless. What is not (NaN,
    tuples, subclasses) cannot be written, or reads back otherwise than it was.
    """
    try:
        text = orjson.dumps(memory, option=_PLAIN)
    except orjson.JSONEncodeError:
        return None
    if text.count(b"{") + text.count(b"[") > _DEEPEST:
        return None
    copy: Memory = orjson.loads(text)
    return copy if copy == memory else None


def _json(value: object, deep: int) -> Any:
    """Copy a value that may be nested `deep` times."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, int) and _is_whole(value):
        return int(value)
    if isinstance(value, str):
        return _text(value)
    if not deep:
        raise PolicyError(f"memory should be nested at most {_DEEPEST} deep")
    if isinstance(value, list):
        return [_json(one, deep - 1) for one in value]
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise _no_json(value)
        return {_text(name): _json(one, deep - 1) for name, one in value.items()}
    raise _no_json(value)


def _no_json(value: object) -> PolicyError:
    return PolicyError(f"memory should hold JSON values only, not {value!r}")


def _check_evidence(evidence: object) -> None:
    if type(evidence) is not dict and not isinstance(evidence, Mapping):
        raise PolicyError(f"evidence should be numbers by name, not {evidence!r}")
    numbers = evidence.values()
    plain = {*map(type, numbers)} == {float} and {*map(type, evidence)} == {str}
    if plain and math.isfinite(sum(numbers)):
        return
    for name, number in evidence.items():
        if not isinstance(name, str) or not _is_finite(number):
            raise PolicyError(
                f"evidence should be finite numbers by name, not {name!r}: {number!r}"
            )


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
    return str(text)


def _is_finite(number: object) -> bool:
    if isinstance(number, float):
        return math.isfinite(number)
    return _is_whole(number)


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and _LEAST_INT <= number <= _MOST_INT
