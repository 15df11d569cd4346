"""Answers that are none: a status of gRPC and one line that says why."""

from typing import Final, Literal

Code = Literal[
    "INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"
]
"""Name of a status; UNAVAILABLE is what passes by itself."""

_LONGEST: Final = 500


class RefusedError(Exception):
    """A request that gets a status instead of an answer.

    Attributes:
        code: The status.
        text: What is wrong, for whoever reads KEDA's log or events: one printable line.
    """

    def __init__(self, code: Code, text: str) -> None:
        self.code: Code = code
        self.text = "".join(one if one.isprintable() else " " for one in text[:_LONGEST])
        super().__init__(self.text)


def shown(text: str) -> str:
    """Quote what a client sent, cut where it is long."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
