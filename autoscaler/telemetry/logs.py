"""The log: one line for each event, as JSON or for a person, the reason last.

What libraries say through Python's own logging comes out in the same form. Nothing secret does.
"""

import logging
import sys
import threading
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from autoscaler.telemetry.redact import redacted

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
CHATTY: Final = ("aiohttp", "apscheduler", "asyncio", "kubernetes", "urllib3")
"""Libraries that are heard from warnings on only, unless everything is asked for."""

_FIRST: Final = ("time", "level", "event", "logger")
_LAST: Final = ("reason", "exception")


def set_up_logs(form: str = "json", level: str = "info", stream: TextIO | None = None) -> None:
    """Send every log line to `stream`, from now on and for the whole process.

    Args:
        form: `json` for machines, `console` for people.
        level: Least severity: debug, info, warning or error.
        stream: Where lines go; the standard error if absent.
    """
    least = LEVELS[level]
    output = _Output(stream if stream is not None else sys.stderr)
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        _add_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        _redact,
        _in_order,
        _as_json if form == "json" else _for_people,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=output.named,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge())
    root.setLevel(least)
    for name in CHATTY:
        logging.getLogger(name).setLevel(least if least <= logging.DEBUG else logging.WARNING)
    logging.captureWarnings(capture=True)


class _Output:
    """Writes lines whole, whichever threads they come from."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def named(self, *names: str) -> "_Logger":
        return _Logger(self, names[0] if names else "")

    def write(self, line: str) -> None:
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass  # nobody listens any more: no reason to stop scaling


class _Logger:
    """What structlog hands finished lines to."""

    def __init__(self, output: _Output, name: str) -> None:
        self.name = name
        self._output = output

    def msg(self, line: str) -> None:
        self._output.write(line)

    debug = info = warning = error = critical = exception = msg


class _Bridge(logging.Handler):
    """Brings what libraries log through Python's own logging to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = min(logging.CRITICAL, max(logging.DEBUG, record.levelno // 10 * 10))
            facts: dict[str, Any] = {"exc_info": record.exc_info} if record.exc_info else {}
            structlog.get_logger(record.name).log(level, record.getMessage(), **facts)
        except Exception:  # noqa: BLE001  # a line that cannot be written is no reason to fail
            self.handleError(record)


def _add_name(logger: WrappedLogger, _: str, event: EventDict) -> EventDict:
    if logger.name:
        event["logger"] = logger.name
    return event


def _redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {name: redacted(value, name) for name, value in event.items()}


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    middle = [name for name in event if name not in _FIRST and name not in _LAST]
    names = [*_FIRST, *middle, *_LAST]
    return {name: event[name] for name in names if name in event}


def _as_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _for_people(_: WrappedLogger, __: str, event: EventDict) -> str:
    """Return TIME LEVEL event name=value ... on one line, whatever the values hold."""
    facts: MutableMapping[str, Any] = dict(event)
    time, level = facts.pop("time", ""), str(facts.pop("level", ""))
    words = [str(time), f"{level.upper():7}", _one_line(str(facts.pop("event", "")))]
    words += [f"{name}={_shown(value)}" for name, value in facts.items()]
    return " ".join(words)


def _shown(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    plain = text.isprintable() and text and not any(mark in text for mark in " '\"=")
    return text if plain else repr(text)


def _one_line(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]
