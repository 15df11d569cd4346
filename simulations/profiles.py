"""Serving profiles: how long one engine step takes, and what one replica can hold."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType

from autoscaler.core.errors import ConfigError
from autoscaler.core.spec import Replica

PROFILES_FILE = Path(__file__).with_name("profiles.csv")


@dataclass(frozen=True, slots=True)
class Profile:
    """One model on one kind of GPU: the step law's six numbers, and the limits of a replica.

    A step that takes P prompt tokens in, while D sequences decode and read K tokens of KV cache,
    lasts

        t = a + b * max(0, P + D - n0) + c * D + d * K + e * A

    where A sums, over the prompt pieces of the step, piece * (tokens before it + piece / 2), and
    d is another number (dmix) in steps that take prompt tokens.

    Attributes:
        name: model/gpu/tpN/precision, and the source where several fits exist.
        gpus: GPUs of one replica (the tensor-parallel size).
        step_seconds: a, what every step costs.
        token_seconds: b, for each token of the step beyond `free_tokens`.
        free_tokens: n0, tokens that cost nothing beside reading the weights.
        sequence_seconds: c, for each decoding sequence.
        kv_token_seconds: d, for each KV token that a step of decodes alone reads.
        kv_token_seconds_mixed: dmix, the same in a step that also takes prompt tokens.
        attended_seconds: e, for each pair of prompt token and token before it.
        kv_tokens: Tokens that the KV cache holds.
        max_sequences: Sequences in the running batch at most.
        step_tokens: Tokens in one step at most (max_num_batched_tokens).
        overhead_seconds: Time outside the engine for each answer, before its first token.
        context_tokens: Tokens of prompt and answer together that the model takes at most; None
            where that is not known: then only the KV cache limits them.
    """

    name: str
    gpus: int
    step_seconds: float
    token_seconds: float
    free_tokens: int
    sequence_seconds: float
    kv_token_seconds: float
    kv_token_seconds_mixed: float
    attended_seconds: float
    kv_tokens: int
    max_sequences: int
    step_tokens: int
    overhead_seconds: float
    context_tokens: int | None = None

    def __post_init__(self) -> None:
        """Refuse limits under which a step could have no room for the decodes.

        Raises:
            ValueError: A limit is not positive, or more sequences decode than a step has tokens.
        """
        limits = (self.gpus, self.kv_tokens, self.max_sequences, self.step_tokens)
        if min(limits) < 1 or (self.context_tokens is not None and self.context_tokens < 1):
            raise ValueError(f"{self.name}: every limit should be at least 1")
        if self.max_sequences > self.step_tokens:
            raise ValueError(
                f"{self.name}: max_sequences should be at most step_tokens, "
                f"not {self.max_sequences} > {self.step_tokens}"
            )

    def seconds(self, prompt: int, decoding: int, kv_read: int, attended: float) -> float:
        """Return how long one step takes.

        Args:
            prompt: P, prompt tokens taken in.
            decoding: D, decoding sequences.
            kv_read: K, KV tokens that the decodes read.
            attended: A, pairs of prompt token and token before it.
        """
        costly = prompt + decoding - self.free_tokens
        per_kv = self.kv_token_seconds_mixed if prompt else self.kv_token_seconds
        return (
            self.step_seconds
            + (self.token_seconds * costly if costly > 0 else 0.0)
            + self.sequence_seconds * decoding
            + per_kv * kv_read
            + self.attended_seconds * attended
        )

    @property
    def longest_request(self) -> int:
        """Tokens of prompt and answer together that a replica takes at most.

        The KV cache of an empty replica must hold them but for the last one, which is not kept;
        and they must not exceed the model's context, as vLLM demands of prompt and max_tokens.
        """
        fitting = self.kv_tokens + 1
        return fitting if self.context_tokens is None else min(fitting, self.context_tokens)

    def can_hold(self, prompt_tokens: int, output_tokens: int) -> bool:
        """Whether a request fits an empty replica: its KV cache, and the model's context."""
        return prompt_tokens + output_tokens <= self.longest_request


@cache
def profiles() -> Mapping[str, Profile]:
    """Return every profile that ships with the simulator, by name."""
    with PROFILES_FILE.open(encoding="utf-8", newline="") as file:
        found = [_profile(row) for row in csv.DictReader(file)]
    return MappingProxyType({profile.name: profile for profile in found})


def profile_of(replica: Replica) -> Profile:
    """Return the profile that a policy file's `spec.replica` names.

    Raises:
        ConfigError: It names none, an unknown one, or one of another number of GPUs.
    """
    name, known = replica.profile, profiles()
    if name is None:
        raise ConfigError(
            "spec.replica.profile: is needed to simulate, such as llama-3.1-70b/h100/tp4/fp8"
        )
    profile = known.get(name)
    if profile is None:
        close = get_close_matches(name, known, n=5, cutoff=0.5) or sorted(known)[:5]
        raise ConfigError(
            f"spec.replica.profile: no profile is called {name!r}; close ones are: "
            f"{', '.join(close)} ({len(known)} exist: see simulations/profiles.csv)"
        )
    if replica.gpus != profile.gpus:
        raise ConfigError(
            f"spec.replica.gpus: should be {profile.gpus}, as profile {name} says, "
            f"not {replica.gpus}"
        )
    return profile


def _profile(row: Mapping[str, str]) -> Profile:
    return Profile(
        name=row["profile"],
        gpus=int(row["tp"]),
        step_seconds=float(row["a_ms"]) * 1e-3,
        token_seconds=float(row["b_us"]) * 1e-6,
        free_tokens=int(row["n0"]),
        sequence_seconds=float(row["c_us"]) * 1e-6,
        kv_token_seconds=float(row["d_ns"]) * 1e-9,
        kv_token_seconds_mixed=float(row["dmix_ns"]) * 1e-9,
        attended_seconds=float(row["e_ns"]) * 1e-9,
        kv_tokens=int(row["kv_tokens"]),
        max_sequences=int(row["max_seqs"]),
        step_tokens=int(row["budget"]),
        overhead_seconds=float(row["ovh_ms"]) * 1e-3,
        context_tokens=int(row["context_tokens"]) if row["context_tokens"] else None,
    )
