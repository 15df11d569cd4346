"""One request, from arrival to its last token."""

from dataclasses import dataclass
from enum import StrEnum


class End(StrEnum):
    """What became of a request. Each request ends in exactly one of these ways."""

    FINISHED = "finished"
    """It got all its tokens."""
    UNFINISHED = "unfinished"
    """It was still waiting or running when the simulation ended."""
    FAILED = "failed"
    """It can never fit the KV cache of a replica, and was refused on arrival."""


@dataclass(slots=True, eq=False)
class Request:
    """What is known of one request while it is served, and afterwards.

    Times are seconds since the simulation began; None for what has not happened.

    Attributes:
        index: Its row in the trace.
        arrival: When the user sent it.
        prompt_tokens: Tokens to read.
        output_tokens: Tokens to write.
        failed: Whether it was refused.
        routed: When a replica was chosen; NaN before.
        admitted: When its prompt began to be read for the first time.
        first_token: When the user had the first token.
        finished: When the user had the last token.
        widest_gap: The longest time between two of its tokens, in seconds.
        preemptions: How often it was thrown out of the batch.
        written: Tokens written; while it decodes, those at the end of its last reading.
        to_read: Tokens of its reading: the prompt, and after a preemption what it had written.
        read: Of these, how many have been read.
        decodes_from: Number of the first step in which it decodes.
        last_step: Number of the step that brings its last token.
        last_token: When it wrote its last token before a preemption.
    """

    index: int
    arrival: float
    prompt_tokens: int
    output_tokens: int
    failed: bool = False
    routed: float = float("nan")
    admitted: float | None = None
    first_token: float | None = None
    finished: float | None = None
    widest_gap: float = 0.0
    preemptions: int = 0
    written: int = 0
    to_read: int = 0
    read: int = 0
    decodes_from: int = 0
    last_step: int = -1
    last_token: float = 0.0

    @property
    def end(self) -> End:
        """What has become of it so far."""
        if self.failed:
            return End.FAILED
        return End.UNFINISHED if self.finished is None else End.FINISHED

    @property
    def ttft_seconds(self) -> float | None:
        """Seconds from arrival to first token."""
        return None if self.first_token is None else self.first_token - self.arrival

    @property
    def e2e_seconds(self) -> float | None:
        """Seconds from arrival to last token."""
        return None if self.finished is None else self.finished - self.arrival

    @property
    def itl_seconds(self) -> float | None:
        """Mean seconds between tokens; None for an answer of one token."""
        if self.finished is None or self.first_token is None or self.output_tokens == 1:
            return None
        return (self.finished - self.first_token) / (self.output_tokens - 1)
