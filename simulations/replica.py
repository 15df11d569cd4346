"""One replica, engine step by engine step: continuous batching with chunked prompts.

This is the plain reference: every step is carried out, one after the other, exactly and without
chance. A step, in this order:

1. Every decoding sequence takes one token of the step's budget and one place in the KV cache. While
   the places do not suffice, the youngest sequence is preempted: it gives up its places and goes
   back to the head of the wait list, to read its prompt and all that it has written again.
2. The one prompt that is read in part takes what is left of the budget, up to its end.
3. From the head of the wait list, sequences are admitted while there is budget and a seat, and the
   whole prompt fits into the free KV places. A prompt longer than the budget left is read in part.

The step lasts as long as the profile's law says. At its end every decoding sequence has one more
token, and so has every sequence whose prompt was read to its end: its first one, unless it had been
preempted. Requests that are routed during a step join at its end.

The cost of a step does not depend on how many sequences decode: a sequence's last step is known
when its prompt has been read, and the steps are numbered.
"""

from bisect import bisect_left
from collections import deque
from heapq import heappop, heappush

from simulations.histogram import E2E_BOUNDS, ITL_BOUNDS, TTFT_BOUNDS, Histogram
from simulations.profiles import Profile
from simulations.request import Request


class Replica:
    """A replica that serves.

    All times are seconds since the simulation began, and never go back.

    Attributes:
        profile: What it is.
        steps: Steps begun.
        preemptions: Sequences thrown out of the batch.
        prompt_tokens: Tokens of prompts read to their end, each request's prompt once.
        output_tokens: Tokens written.
        completions: Requests finished.
        ttft: Seconds from routing to first token, counted at the first token.
        itl: Seconds between tokens, counted at each token but the first.
        e2e: Seconds from routing to last token, counted at the last token.
    """

    def __init__(self, profile: Profile, now: float = 0.0) -> None:
        """Start empty at `now`."""
        self.profile = profile
        self.steps = 0
        self.preemptions = 0
        self.prompt_tokens = 0
        self.output_tokens = 0
        self.completions = 0
        self.ttft = Histogram(TTFT_BOUNDS)
        self.itl = Histogram(ITL_BOUNDS)
        self.e2e = Histogram(E2E_BOUNDS)
        self._waiting: deque[Request] = deque()
        self._running: dict[int, Request] = {}  # in the order of admission
        self._decoding = 0
        self._partial: Request | None = None
        self._read_to_end: list[Request] = []  # prompts that end with the step in progress
        self._finishes: list[tuple[int, int]] = []  # heap of (last step, request index)
        self._decode_kv = 0
        self._prompt_kv = 0
        self._steps_done = 0
        self._busy_seconds = 0.0
        self._step_began = now
        self._step_seconds = 0.0
        self._step_ends: float | None = None
        self._clock = now
        self._longest = _LongestStep()

    @property
    def waiting(self) -> int:
        """Requests in the wait list."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Sequences in the batch, read or being read."""
        return len(self._running)

    @property
    def outstanding(self) -> int:
        """Requests routed here and not finished, as seen after the last step that has ended."""
        return len(self._waiting) + len(self._running)

    @property
    def kv_used(self) -> int:
        """KV places taken, those of prompts still being read included."""
        return self._decode_kv + self._prompt_kv

    @property
    def clock(self) -> float:
        """When the last step ended, or the replica was last given work while idle."""
        return self._clock

    def busy_seconds(self, now: float) -> float:
        """Return how long it has computed, the step in progress counted up to `now`."""
        if self._step_ends is None:
            return self._busy_seconds
        return self._busy_seconds + (now - self._step_began)

    def join(self, request: Request, now: float) -> None:
        """Put a request at the end of the wait list; `advance(now)` has been called.

        Raises:
            ValueError: The request can never fit the KV cache, or exceeds the model's context.
        """
        if not self.profile.can_hold(request.prompt_tokens, request.output_tokens):
            raise ValueError(
                f"request {request.index} can never fit: prompt and answer have "
                f"{request.prompt_tokens + request.output_tokens:,} tokens, at most "
                f"{self.profile.longest_request:,} are held"
            )
        if self._step_ends is None:
            self._clock = max(self._clock, now)
        request.routed = now
        self._waiting.append(request)

    def advance(self, until: float) -> None:
        """Carry out every step that ends by `until`, and begin those that begin before it.

        What begins exactly at `until` begins with the next call, so that whoever arrives at that
        very moment is part of it.
        """
        while True:
            if self._step_ends is not None:
                if self._step_ends > until:
                    return
                self._end_step(self._step_ends)
            if self._clock >= until or not (self._running or self._waiting):
                return
            self._begin_step()

    def _begin_step(self) -> None:
        profile = self.profile
        while self._decoding and self.kv_used + self._decoding > profile.kv_tokens:
            self._preempt_youngest()
        decoding = self._decoding
        self._decode_kv += decoding
        budget = profile.step_tokens - decoding
        prompt, attended = 0, 0.0
        if self._partial is not None or (self._waiting and budget):
            prompt, attended = self._read_prompts(budget)
        seconds = profile.seconds(prompt, decoding, self._decode_kv, attended)
        self.steps += 1
        self._step_began = self._clock
        self._step_seconds = seconds
        self._step_ends = self._clock + seconds

    def _read_prompts(self, budget: int) -> tuple[int, float]:
        """Fill the budget with prompts; return the tokens read and the pairs attended."""
        left, attended = budget, 0.0
        request = self._partial or self._admit()
        while request is not None and left:
            piece = min(left, request.to_read - request.read)
            attended += piece * (request.read + piece / 2)
            request.read += piece
            left -= piece
            if request.read < request.to_read:
                self._partial = request
                break
            self._read_to_end.append(request)
            self._partial = None
            request = self._admit() if left else None
        return budget - left, attended

    def _admit(self) -> Request | None:
        """Move the head of the wait list into the batch, if there is a seat and room."""
        profile = self.profile
        if not self._waiting or len(self._running) >= profile.max_sequences:
            return None
        request = self._waiting[0]
        request.to_read = request.prompt_tokens + request.written
        if self.kv_used + request.to_read > profile.kv_tokens:
            return None
        self._waiting.popleft()
        self._running[request.index] = request
        self._prompt_kv += request.to_read
        if request.admitted is None:
            request.admitted = self._clock
        return request

    def _preempt_youngest(self) -> None:
        _, request = self._running.popitem()
        if request is self._partial:
            self._partial = None
            self._prompt_kv -= request.to_read
        else:
            self._decoding -= 1
            request.written = request.output_tokens - (request.last_step - self._steps_done)
            self._decode_kv -= request.prompt_tokens + request.written - 1
            request.widest_gap = max(request.widest_gap, self._longest.since(request.decodes_from))
            request.last_token = self._clock
        request.read = 0
        request.last_step = -1
        request.preemptions += 1
        self.preemptions += 1
        self._waiting.appendleft(request)

    def _end_step(self, now: float) -> None:
        seconds = self._step_seconds
        step = self._steps_done = self.steps
        self._busy_seconds += seconds
        self._step_ends = None
        self._clock = now
        if self._decoding:
            self.output_tokens += self._decoding
            self.itl.observe(seconds, self._decoding)
            self._longest.add(step, seconds)
            while self._finishes and self._finishes[0][0] <= step:
                _, index = heappop(self._finishes)
                request = self._running.get(index)
                if request is not None and request.last_step == step:
                    self._decoding -= 1
                    self._decode_kv -= request.prompt_tokens + request.output_tokens - 1
                    gap = self._longest.since(request.decodes_from)
                    request.widest_gap = max(request.widest_gap, gap)
                    self._finish(request, now)
        if self._read_to_end:
            for request in self._read_to_end:
                self._give_first_token(request, step, now)
            self._read_to_end.clear()
        if not self._running:
            self._longest.forget()

    def _give_first_token(self, request: Request, step: int, now: float) -> None:
        """Give the token that reading a prompt brings; the first, unless it was read again."""
        overhead = self.profile.overhead_seconds
        self._prompt_kv -= request.to_read
        request.written += 1
        self.output_tokens += 1
        if request.first_token is None:
            request.first_token = now + overhead
            self.prompt_tokens += request.prompt_tokens
            self.ttft.observe(request.first_token - request.routed)
        else:
            gap = now - request.last_token
            request.widest_gap = max(request.widest_gap, gap)
            self.itl.observe(gap)
        left = request.output_tokens - request.written
        if not left:
            self._finish(request, now)
            return
        self._decode_kv += request.to_read
        self._decoding += 1
        request.decodes_from = step + 1
        request.last_step = step + left
        heappush(self._finishes, (request.last_step, request.index))

    def _finish(self, request: Request, now: float) -> None:
        del self._running[request.index]
        request.written = request.output_tokens
        request.finished = now + self.profile.overhead_seconds
        self.completions += 1
        self.e2e.observe(request.finished - request.routed)


class _LongestStep:
    """The longest of all steps since a given one, in the time of a binary search.

    Only steps that no later step exceeds are kept, so their lengths fall.
    """

    __slots__ = ("_lengths", "_steps")

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._lengths: list[float] = []

    def add(self, step: int, seconds: float) -> None:
        lengths = self._lengths
        while lengths and lengths[-1] <= seconds:
            lengths.pop()
            self._steps.pop()
        self._steps.append(step)
        lengths.append(seconds)

    def since(self, step: int) -> float:
        """Return the longest step numbered `step` or later; 0 where there is none."""
        at = bisect_left(self._steps, step)
        return self._lengths[at] if at < len(self._lengths) else 0.0

    def forget(self) -> None:
        self._steps.clear()
        self._lengths.clear()
