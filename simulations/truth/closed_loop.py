"""Users who send the next request when they have their answer, against measured closed loops.

The tables are of InferenceX. Its client, as its public description says: at most C requests are in
flight, all of them sent at once at the beginning; 10 C requests in all; prompts and answers of 80
to 100 % of the nominal lengths, each as likely; no prefix cache. Means are over all requests, so
TTFT contains the opening burst. Here a user has the answer when the request is `finished`, the
overhead outside the engine included, and then sends the next.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import Final

import numpy as np

from simulations.profiles import Profile, profiles
from simulations.replica import Replica
from simulations.request import Request
from simulations.truth.readings import readings
from simulations.truth.rows import Row, many, one

REQUESTS_PER_USER: Final = 10
SHORTEST: Final = 0.8
"""Of the nominal length."""
MODEL: Final = "meta-llama/Llama-3.1-70B"
CURVE: Final = "llama-3.1-70b/h100/tp4/fp8/measured"
"""The profile whose throughput is shown for every number of users."""
OTHER_ENGINE: Final = ("llama-3.1-70b/h200/tp4/fp8/measured", "llama-3.1-70b/b200/tp2/fp8/measured")
"""Profiles of vLLM that are compared with TensorRT-LLM on the same GPUs, too."""
SHORT: Final = "KV cache too small"
"""Said of points whose requests do not all fit the profile's KV cache at once."""


@dataclass(frozen=True, slots=True)
class Point:
    """One closed-loop run.

    Attributes:
        prompt: Nominal tokens to read.
        answer: Nominal tokens to write.
        users: C.
        ttft: Mean seconds to the first token.
        itl: Mean seconds between tokens after it.
    """

    prompt: int
    answer: int
    users: int
    ttft: float
    itl: float

    @property
    def tokens_per_second(self) -> float:
        """Tokens written in a second, by Little's law."""
        answer = self.answer * (1 + SHORTEST) / 2
        return self.users * answer / (self.ttft + (answer - 1) * self.itl)

    def fits(self, profile: Profile) -> bool:
        """Whether the KV cache holds everybody's prompt and answer at once."""
        length = (self.prompt + self.answer) * (1 + SHORTEST) / 2
        return self.users * length <= profile.kv_tokens


@dataclass(frozen=True, slots=True)
class PromptsAlone(Profile):
    """A profile read differently: b is for prompt tokens alone, and not for decodes."""

    @classmethod
    def of(cls, profile: Profile) -> "PromptsAlone":
        """Return the same numbers."""
        return cls(**{field.name: getattr(profile, field.name) for field in fields(profile)})

    def seconds(self, prompt: int, decoding: int, kv_read: int, attended: float) -> float:
        """Return how long one step takes, with b for prompt tokens alone."""
        per_kv = self.kv_token_seconds_mixed if prompt else self.kv_token_seconds
        return (
            self.step_seconds
            + self.token_seconds * max(0, prompt - self.free_tokens)
            + self.sequence_seconds * decoding
            + per_kv * kv_read
            + self.attended_seconds * attended
        )


class _Watched(Replica):
    """A replica whose next moment is known."""

    @property
    def step_ends(self) -> float | None:
        return self._step_ends


def closed_loop(
    profile: Profile,
    prompts: Sequence[int],
    answers: Sequence[int],
    users: int,
    *,
    patient: bool = True,
) -> list[Request]:
    """Return the requests, all answered, in the order in which they were sent.

    Args:
        profile: Of the one replica.
        prompts: Tokens to read, of each request in turn.
        answers: Tokens to write, likewise.
        users: Requests in flight, as long as there are more.
        patient: Whether users wait for the overhead too before they send the next.
    """
    replica = _Watched(profile)
    early = 0.0 if patient else profile.overhead_seconds
    sends, sent = [0.0] * users, list[Request]()
    in_flight: list[Request] = []
    heapify(sends)
    while True:
        step = replica.step_ends
        send = sends[0] if sends and len(sent) < len(prompts) else math.inf
        if step is None and replica.outstanding and send > replica.clock:
            replica.advance(math.nextafter(replica.clock, math.inf))
            continue
        if send == math.inf and step is None:
            return sent
        if step is None or send <= step:
            now = heappop(sends)
            request = Request(len(sent), now, prompts[len(sent)], answers[len(sent)])
            replica.advance(now)
            replica.join(request, now)
            sent.append(request)
            in_flight.append(request)
        else:
            replica.advance(step)
        if replica.outstanding < len(in_flight):
            for request in in_flight:
                if request.finished is not None:
                    heappush(sends, max(replica.clock, request.finished - early))
            in_flight = [request for request in in_flight if request.finished is None]


def simulated(profile: Profile, point: Point, *, patient: bool = True) -> Point:
    """Return the run that a profile makes of a point."""
    rng = np.random.default_rng([point.prompt, point.answer, point.users])
    count = REQUESTS_PER_USER * point.users
    prompts, answers = (
        rng.integers(round(SHORTEST * length), length, count, endpoint=True).tolist()
        for length in (point.prompt, point.answer)
    )
    requests = closed_loop(profile, prompts, answers, point.users, patient=patient)
    ttft = [request.ttft_seconds for request in requests if request.ttft_seconds is not None]
    itl = [request.itl_seconds for request in requests if request.itl_seconds is not None]
    return Point(point.prompt, point.answer, point.users, float(np.mean(ttft)), float(np.mean(itl)))


def measured_points(data: Path, engine: str) -> dict[str, list[Point]]:
    """Return the runs of Llama 3.1 70B in fp8, by the profile's name without its source."""
    columns = ("model", "gpu", "backend", "precision", "tp", "isl", "osl", "concurrency")
    times = ("ttft_mean_ms", "tpot_mean_ms")
    found: dict[str, list[Point]] = defaultdict(list)
    for row in readings(data, "e2e_closed_loop.csv", (*columns, *times)):
        if (row["model"], row["backend"], row["precision"]) == (MODEL, engine, "fp8"):
            gpu = row["gpu"].removesuffix("_sxm")
            ttft, itl = (float(row[time]) / 1000 for time in times)
            point = Point(int(row["isl"]), int(row["osl"]), int(row["concurrency"]), ttft, itl)
            found[f"llama-3.1-70b/{gpu}/tp{float(row['tp']):.0f}/fp8"].append(point)
    return {
        name: sorted(points, key=lambda point: (point.prompt, point.users))
        for name, points in sorted(found.items())
    }


Pair = tuple[Point, Point]
"""A point as measured, and as simulated."""


def compared(check: str, basis: str, pairs: Sequence[Pair]) -> list[Row]:
    """Return the errors of TTFT, time between tokens, and throughput."""
    return [
        many(
            check,
            basis,
            figure,
            np.array([getattr(truth, name) for truth, _ in pairs]),
            np.array([getattr(ours, name) for _, ours in pairs]),
        )
        for figure, name in (
            ("TTFT", "ttft"),
            ("ITL", "itl"),
            ("tokens/s", "tokens_per_second"),
        )
    ]


def errors(check: str, name: str, points: Sequence[Point]) -> list[Row]:
    """Compare a profile with points; those whose requests its KV cache cannot hold stand apart."""
    pairs = _pairs(profiles()[name], points)
    fitting = [pair for pair in pairs if pair[0].fits(profiles()[name])]
    others = [pair for pair in pairs if pair not in fitting]
    return [
        *(compared(check, name, fitting) if fitting else ()),
        *(compared(check, f"{name}, {SHORT}", others) if others else ()),
    ]


def rows(data: Path) -> list[Row]:
    """Compare every profile of the model that was measured."""
    runs = measured_points(data, "vllm")
    found: list[Row] = []
    for source, suffix in (("measured", "/measured"), ("operators", "")):
        check = f"closed loop, {source}"
        known = {name + suffix: points for name, points in runs.items()}
        known = {name: points for name, points in known.items() if name in profiles()}
        each = [errors(check, name, points) for name, points in known.items()]
        found += [row for rows in each for row in rows]
        found += _medians(check, [row for rows in each for row in rows if SHORT not in row.basis])
        if source == "measured":
            found += _read_otherwise(check, known)
            found += _curve(profiles()[CURVE], known.get(CURVE, ()))
    other = measured_points(data, "trtllm")
    for name in OTHER_ENGINE:
        profile = profiles()[name]
        points = [p for p in other.get(name.removesuffix("/measured"), ()) if p.fits(profile)]
        if points:
            basis = f"{name}, TensorRT-LLM"
            found += compared("another engine", basis, _pairs(profile, points))
    return found


def _pairs(profile: Profile, points: Iterable[Point], *, patient: bool = True) -> list[Pair]:
    return [(point, simulated(profile, point, patient=patient)) for point in points]


def _read_otherwise(check: str, known: Mapping[str, Sequence[Point]]) -> list[Row]:
    """Show what the same numbers give with b for prompts alone, and as the fit read the client."""
    found = []
    for reading, patient in (
        ("b for prompts alone", True),
        ("the same, users not waiting for the overhead", False),
    ):
        each = []
        for name, points in known.items():
            fitting = [point for point in points if point.fits(profiles()[name])]
            pairs = _pairs(PromptsAlone.of(profiles()[name]), fitting, patient=patient)
            each += compared(f"{check}, {reading}", name, pairs) if pairs else []
        found += _medians(f"{check}, {reading}", each)
    return found


def _medians(check: str, each: Sequence[Row]) -> list[Row]:
    found = []
    for figure in dict.fromkeys(row.figure for row in each):
        of = [row for row in each if row.figure == figure]
        found.append(
            Row(
                check,
                f"median of {len(of)} profiles",
                figure,
                sum(row.points for row in of),
                float(np.median([row.error for row in of])),
                bias=float(np.median([row.bias for row in of if row.bias is not None])),
            )
        )
    return found


def _curve(profile: Profile, points: Sequence[Point]) -> list[Row]:
    return [
        one(
            "throughput curve",
            f"{profile.name}, {truth.prompt}/{truth.answer} tokens, {truth.users} users",
            figure,
            REQUESTS_PER_USER * truth.users,
            factor * getattr(truth, name),
            factor * getattr(ours, name),
        )
        for truth, ours in _pairs(profile, points)
        for figure, name, factor in (
            ("tokens/s", "tokens_per_second", 1),
            ("ITL, ms", "itl", 1000),
            ("TTFT, ms", "ttft", 1000),
        )
    ]
