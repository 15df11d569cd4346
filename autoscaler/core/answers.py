"""What plug-ins answer, checked: nonsense stops one workload, never the cycle or the journal."""

import marshal
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from autoscaler.core.errors import Ended, PolicyError
from autoscaler.core.observation import Memory
from autoscaler.core.policy import MOST_REPLICAS, Forecast, Recommendation, Verdict

_MOST_INT: Final = 2**63
"""What the journal's JSON can hold: 64 bits."""

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
    copy: Memory = marshal.loads(marshal.dumps(dict(memory)))  # noqa: S302 - our own bytes, just written
    return copy


def memory_copy(memory: object) -> Memory | None:
    """Return a copy of a memory that nobody else holds, of plain JSON types.

    Raises:
        PolicyError: It holds something that JSON does not.
    """
    if memory is None:
        return None
    if type(memory) is not dict and not isinstance(memory, Mapping):
        raise PolicyError(f"memory should be JSON values by name, not {memory!r}")
    copy: Memory = _json(memory, _DEEPEST)
    return copy


def _json(value: object, deep: int) -> Any:
    """Copy a value that may be nested `deep` times."""
    if type(value) is dict and deep:
        return _json_object(value, deep - 1)
    return _json_value(value, deep)


def _json_value(value: object, deep: int) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and _is_whole(value):
        return int(value)
    if isinstance(value, str):
        return _text(value)
    if not deep:
        raise PolicyError(f"memory should be nested at most {_DEEPEST} deep")
    if isinstance(value, list):
        return [_json(one, deep - 1) for one in value]
    if isinstance(value, (dict, Mapping)):
        return _json_object(value, deep - 1)
    raise _no_json(value)


def _json_object(values: Mapping[Any, object], deep: int) -> dict[str, object]:
    try:
        names = "".join(values)
    except TypeError as error:
        raise _no_json(values) from error
    if not names.isascii():
        for name in values:
            _text(name)
    copy: dict[str, object] = dict(values)
    for name, value in values.items():
        # Every policy's memory passes here in every cycle. It is mostly plain numbers, so these
        # cost no call.
        kind = type(value)
        if kind is float:
            plain = math.isfinite(value)  # type: ignore[arg-type]
        elif kind is int:
            plain = -_MOST_INT <= value < _MOST_INT  # type: ignore[operator]
        else:
            plain = value is None or kind is bool
        if not plain:
            copy[name] = _json(value, deep)
    return copy


def _no_json(value: object) -> PolicyError:
    return PolicyError(f"memory should hold JSON values only, not {value!r}")


def _check_evidence(evidence: object) -> None:
    if type(evidence) is not dict and not isinstance(evidence, Mapping):
        raise PolicyError(f"evidence should be numbers by name, not {evidence!r}")
    for name, number in evidence.items():
        if type(number) is float and type(name) is str and math.isfinite(number):
            continue
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
    return isinstance(number, int) and -_MOST_INT <= number < _MOST_INT
