"""What an unquoted YAML value means: the plain reading of YAML 1.2, and no guessing.

YAML 1.1 reads `no` as false, `1:30` as 90 and `0644` as 420; YAML 1.2 does not; tools differ. A
value that readers disagree about is refused, with what to write instead.
"""

import math
import re

from autoscaler.config.nodes import Value, clean

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_PREFIXED = re.compile(r"[-+]?0(o[0-7_]+|x[0-9a-fA-F_]+|b[01_]+)")
_UNDERSCORED = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_BOOLEAN_WORDS = {"y": True, "yes": True, "on": True, "n": False, "no": False, "off": False}
_MOST_DIGITS = 18


class AmbiguousError(ValueError):
    """The value is read differently by different tools, or is no number that can be used."""


def read_plain(text: str) -> Value:
    """Return what an unquoted scalar means.

    Raises:
        AmbiguousError: Readers disagree about it, or it is not a finite number of usual size.
    """
    if text in {"", "~", "null", "Null", "NULL"}:
        return None
    if text in {"true", "True", "TRUE"}:
        return True
    if text in {"false", "False", "FALSE"}:
        return False
    if text.lower() in _BOOLEAN_WORDS and text in {text.lower(), text.capitalize(), text.upper()}:
        raise _ambiguous(text, str(_BOOLEAN_WORDS[text.lower()]).lower())
    if text[0] in "-+.0123456789":
        return _number(text)
    return text


def _number(text: str) -> Value:
    if _INTEGER.fullmatch(text):
        if len(text) > _MOST_DIGITS:
            raise AmbiguousError(f"should have at most {_MOST_DIGITS} digits, not {clean(text)}")
        return int(text)
    if _LEADING_ZERO.fullmatch(text):
        digits = text.replace("_", "")
        octal = not set(digits) & {"8", "9"}
        raise _ambiguous(text, _decimal(digits, 8 if octal else 10))
    if _PREFIXED.fullmatch(text):
        raise _ambiguous(text, _decimal(text.replace("_", ""), 0))
    if _SEXAGESIMAL.fullmatch(text):
        raise _ambiguous(text, _base_sixty(text))
    if _UNDERSCORED.fullmatch(text):
        raise _ambiguous(text, text.replace("_", ""))
    if _NOT_FINITE.fullmatch(text):
        raise AmbiguousError(f"should be a finite number, not {text}")
    if _FLOAT.fullmatch(text):
        return _float(text)
    return text


def _float(text: str) -> int | float:
    value = float(text)
    if not math.isfinite(value):
        raise AmbiguousError(f"should be a finite number, not {clean(text)}")
    return int(value) if value.is_integer() and abs(value) < 10**_MOST_DIGITS else value


def _decimal(text: str, radix: int) -> str:
    return str(int(text, radix)) if len(text) <= _MOST_DIGITS else "the number in decimal digits"


def _base_sixty(text: str) -> str:
    if len(text) > _MOST_DIGITS:
        return "the number in decimal digits"
    sign = -1 if text.startswith("-") else 1
    total = 0.0
    for part in text.lstrip("-+").replace("_", "").split(":"):
        total = total * 60 + float(part)
    return f"{sign * total:g}"


def _ambiguous(text: str, meaning: str) -> AmbiguousError:
    quoted = clean(text)
    return AmbiguousError(
        f"unquoted {quoted} is {meaning} to some YAML readers and not to others: "
        f'write {meaning} or "{quoted}"'
    )
