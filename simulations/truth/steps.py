"""The law of a step against tables of step times."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from simulations.profiles import Profile, profiles
from simulations.truth.readings import Reading, readings
from simulations.truth.rows import Row, many

LAYERS: Final = {
    "rtxpro6000_llama31_8b_tp1": "llama-3.1-8b/rtx_pro_6000_server/tp1/bfloat16/llmservingsim",
    "rtx4090_llama31_8b_tp1": "llama-3.1-8b/rtx_4090/tp1/bfloat16/llmservingsim",
    "rtxpro6000_qwen3_32b_tp2": "qwen3-32b/rtx_pro_6000_server/tp2/bfloat16/llmservingsim",
}
"""Which profile each table of layer times is of."""
KINDS: Final = ("decodes", "prompts", "prompts and decodes")


@dataclass(frozen=True, slots=True)
class Step:
    """One step that was measured; the letters of the step law.

    Attributes:
        prompt: P, prompt tokens taken in.
        decoding: D, decoding sequences.
        kv_read: K, KV tokens that the decodes read.
        attended: A, pairs of prompt token and token before it.
        seconds: How long it took.
    """

    prompt: int
    decoding: int
    kv_read: int
    attended: float
    seconds: float

    @property
    def kind(self) -> str:
        """What the step does: one of `KINDS`."""
        if not self.prompt:
            return "decodes"
        return "prompts and decodes" if self.decoding else "prompts"


def operator_steps(data: Path) -> dict[str, list[Step]]:
    """Return the steps that AIConfigurator composes from measured operators, by profile.

    Those with at most 256 decodes and 8,192 prompt tokens; without those of models and GPUs that
    have no profile.
    """
    columns = ("model", "gpu", "tp", "precision", "prefill_tokens", "prefill_seqs", "prefill_ctx")
    table = readings(data, "step_times_aic.csv", (*columns, *_DECODES))
    found: dict[str, list[Step]] = defaultdict(list)
    for row in table:
        gpu = row["gpu"].removesuffix("_sxm")
        name = f"{row['model']}/{gpu}/tp{row['tp']}/{row['precision']}"
        attended = int(row["prefill_seqs"]) * int(row["prefill_ctx"]) ** 2 / 2
        step = _step(row, attended)
        if name in profiles() and step.decoding <= 256 and step.prompt <= 8192:
            found[name].append(step)
    return dict(found)


def layer_steps(data: Path) -> dict[str, list[Step]]:
    """Return the steps summed from the layer times of LLMServingSim, by profile.

    Those within the replica's limits: contexts of 128 to 4,096, at most 300,000 KV tokens.
    """
    columns = ("profile", "prefill_tokens", "prefill_ctx_before")
    table = readings(data, "step_times_llmservingsim.csv", (*columns, *_DECODES))
    found: dict[str, list[Step]] = defaultdict(list)
    for row in table:
        name = LAYERS[row["profile"]]
        prompt, before = int(row["prefill_tokens"]), int(row["prefill_ctx_before"])
        step = _step(row, prompt * (before + prompt / 2))
        limits = profiles()[name]
        usual = not step.decoding or 128 <= int(row["decode_ctx"]) <= 4096
        if (
            usual
            and step.decoding <= limits.max_sequences
            and step.prompt <= limits.step_tokens
            and step.kv_read <= 300_000
        ):
            found[name].append(step)
    return dict(found)


def errors(check: str, profile: Profile, steps: Sequence[Step]) -> Row:
    """Compare a profile's law with steps."""
    law = [
        profile.seconds(step.prompt, step.decoding, step.kv_read, step.attended) for step in steps
    ]
    truth = np.array([step.seconds for step in steps])
    return many(check, profile.name, "seconds of a step", truth, np.array(law))


def rows(data: Path) -> list[Row]:
    """Compare every profile that was fitted to step times."""
    found = []
    for check, tables in (
        ("steps, operators", operator_steps(data)),
        ("steps, layers", layer_steps(data)),
    ):
        each = [errors(check, profiles()[name], steps) for name, steps in tables.items()]
        found += each
        for kind in KINDS:
            some = {name: [s for s in steps if s.kind == kind] for name, steps in tables.items()}
            ours = [errors(check, profiles()[name], steps) for name, steps in some.items() if steps]
            found += _median(check, f"steps of {kind}", ours)
        for precision in ("bfloat16", "fp8"):
            ours = [row for row in each if f"/{precision}" in row.basis]
            found += _median(check, f"{precision} profiles", ours)
        found += _median(check, "all profiles", each)
    return found


_DECODES: Final = ("decode_seqs", "decode_ctx", "latency_ms")


def _step(row: Reading, attended: float) -> Step:
    decoding = int(row["decode_seqs"])
    return Step(
        prompt=int(row["prefill_tokens"]),
        decoding=decoding,
        kv_read=decoding * int(row["decode_ctx"]),
        attended=attended,
        seconds=float(row["latency_ms"]) / 1000,
    )


def _median(check: str, basis: str, of: list[Row]) -> list[Row]:
    if not of:
        return []
    biases = [row.bias for row in of if row.bias is not None]
    return [
        Row(
            check,
            f"median of {len(of)}: {basis}",
            "seconds of a step",
            sum(row.points for row in of),
            float(np.median([row.error for row in of])),
            bias=float(np.median(biases)),
        )
    ]
