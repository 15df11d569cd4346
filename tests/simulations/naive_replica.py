"""One replica, token by token, as plainly as can be: what the replica must agree with.

Written from the rules alone, without the shortcuts: every sequence keeps its own tokens, and every
count is taken anew in every step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from simulations.profiles import Profile


@dataclass(eq=False)
class NaiveSequence:
    arrival: float
    prompt: int
    output: int
    held: int = 0
    read: int = 0
    to_read: int = 0
    preempted: int = 0
    tokens: list[float] = field(default_factory=list)

    @property
    def decodes(self) -> bool:
        return self.read == self.to_read


class NaiveReplica:
    def __init__(self, profile: Profile, requests: Sequence[tuple[float, int, int]]) -> None:
        self.profile = profile
        self.everyone = [NaiveSequence(*request) for request in requests]
        self.future = list(self.everyone)
        self.waiting: list[NaiveSequence] = []
        self.running: list[NaiveSequence] = []
        self.now = 0.0
        self.steps = 0

    def run(self) -> None:
        while self.future or self.waiting or self.running:
            while self.future and self.future[0].arrival <= self.now:
                self.waiting.append(self.future.pop(0))
            if self.waiting or self.running:
                self.step()
            else:
                self.now = self.future[0].arrival

    def held(self) -> int:
        return sum(sequence.held for sequence in self.running)

    def step(self) -> None:
        decoding = self.decode()
        pieces = self.prompts(self.profile.step_tokens - len(decoding))
        prompt = sum(piece for _, piece, _ in pieces)
        attended = sum(piece * (before + piece / 2) for _, piece, before in pieces)
        kv = sum(sequence.held for sequence in decoding)
        self.now += self.profile.seconds(prompt, len(decoding), kv, attended)
        self.steps += 1
        for sequence in decoding + [s for s, _, _ in pieces if s.decodes]:
            sequence.tokens.append(self.now)
            if len(sequence.tokens) == sequence.output:
                self.running.remove(sequence)

    def decode(self) -> list[NaiveSequence]:
        """Give every decoding sequence a place; throw out the youngest while there are too few."""
        while True:
            decoding = [sequence for sequence in self.running if sequence.decodes]
            if not decoding or self.held() + len(decoding) <= self.profile.kv_tokens:
                break
            victim = self.running.pop()
            victim.held, victim.preempted = 0, victim.preempted + 1
            self.waiting.insert(0, victim)
        for sequence in decoding:
            sequence.held += 1
        return decoding

    def prompts(self, budget: int) -> list[tuple[NaiveSequence, int, int]]:
        """Read the prompt begun earlier, then new ones: (sequence, tokens, tokens before them)."""
        pieces = []
        reading = [sequence for sequence in self.running if not sequence.decodes]
        assert len(reading) <= 1
        while budget > 0 and (reading := reading or self.admit()):
            sequence, before = reading[0], reading[0].read
            piece = min(budget, sequence.to_read - before)
            sequence.read += piece
            budget -= piece
            pieces.append((sequence, piece, before))
            reading = []
        return pieces

    def admit(self) -> list[NaiveSequence]:
        if not self.waiting or len(self.running) == self.profile.max_sequences:
            return []
        head = self.waiting[0]
        need = head.prompt + len(head.tokens)
        if self.held() + need > self.profile.kv_tokens:
            return []
        head.held, head.to_read, head.read = need, need, 0
        self.running.append(self.waiting.pop(0))
        return [head]
