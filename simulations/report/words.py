"""How numbers are written for a person: shares, durations, times since the start."""

from math import floor, isfinite


def share(value: float | None) -> str:
    """Write a share in percent, rounded down: 99.99 % must not look like all."""
    return "-" if value is None else f"{floor(value * 1000 + 1e-9) / 10:.1f} %"


def duration(seconds: float | None) -> str:
    """Write a duration with three digits: 45 ms, 1.23 s, 4 min, 2 h."""
    if seconds is None or not isfinite(seconds):
        return "-"
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def since_start(seconds: float, *, days: bool) -> str:
    """Write a time as 1:05, with seconds where there are some; after days as day 2 1:05."""
    whole = round(seconds)
    day, rest = divmod(whole, 86_400) if days else (0, whole)
    hour, minute, second = rest // 3600, rest % 3600 // 60, rest % 60
    text = f"{hour}:{minute:02d}" + (f":{second:02d}" if second else "")
    return f"day {day + 1} {text}" if days else text


def signed(value: float, digits: int) -> str:
    """Write a difference with its sign, none for what rounds to 0."""
    text = f"{value:+,.{digits}f}"
    return f"{0:.{digits}f}" if float(text.replace(",", "")) == 0 else text


def counted(number: int, noun: str) -> str:
    """Write how many of something there are: 1 replica, 1,024 replicas."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
