"""Traffic and replicas that make no sense: a clear error or a clear result, and soon."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoscaler.cli import main
from tests.cli.conftest import Ran

Run = Callable[..., Ran]

FILE = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: ScaledWorkload
metadata: {name: chat, namespace: llm}
spec:
  target: {name: chat}
  replicas: {min: 1, max: 4}
  replica: {gpus: 1, profile: llama-3.1-8b/h100/tp1/bfloat16, coldStartSeconds: 30}
  slo: {ttftP95Seconds: 1.0, itlP95Seconds: 0.1}
  signals: {in_flight: {query: q, windowSeconds: 120, stepSeconds: 15}}
  policies: [{type: target-tracking, signal: in_flight, target: 20}]
"""
RATES, OURS = "t_s,requests\n", "arrival_s,prompt_tokens,output_tokens\n"
REPLAY = ("replay", "--trace", "t.csv", "--workload", "w.yaml")
COMPARE = ("compare", "--trace", "t.csv", "w.yaml", "--no-report")
BOTH = pytest.mark.parametrize("command", [REPLAY, COMPARE], ids=["replay", "compare"])


def given(trace: str, **changes: str) -> None:
    """Write a trace and a policy file, with parts of it changed."""
    text = FILE
    for field, value in changes.items():
        text, done = re.subn(rf"\b{field}: [^,}}]+", f"{field}: {value}", text)
        assert done == 1
    Path("t.csv").write_text(trace)
    Path("w.yaml").write_text(text)


def score_of(run: Run, *options: str) -> dict[str, Any]:
    ran = run(*REPLAY, "--json", "--quiet", *options)
    assert (ran.code, ran.err) == (0, "")
    score: dict[str, Any] = json.loads(ran.out)["score"]
    assert score["requests"] == score["finished"] + score["unfinished"] + score["failed"]
    return score


@BOTH
@pytest.mark.parametrize(
    ("trace", "message"),
    [
        pytest.param(
            f"{RATES}0,3\n60,-1\n", "3: requests: should not be negative, not '-1'", id="negative"
        ),
        pytest.param(
            f"{RATES}0,3\n60,1\n30,3\n",
            "4: t_s: should be after the row above (60): sort the rows by time; found '30'",
            id="back in time",
        ),
        pytest.param(
            f"{RATES}0,3\n60,nan\n",
            "3: requests: should be a number of requests, not 'nan'",
            id="no number",
        ),
        pytest.param(
            f"{RATES}0,3\n60,1e12\n",
            "3: requests: should be at most 2000000000, not '1e12'",
            id="absurd rate",
        ),
        pytest.param(
            f"{RATES}0,3\n60,inf\n",
            "3: requests: should be at most 2000000000, not 'inf'",
            id="boundless rate",
        ),
        pytest.param(
            f"{RATES}0,0\n60,0\n", "3: requests: should not be 0 in every row", id="no request"
        ),
        pytest.param(
            RATES,
            "1: should have at least two bins, to tell how long one lasts; has 0",
            id="no bin",
        ),
        pytest.param(
            f"{RATES}0,9\n",
            "2: should have at least two bins, to tell how long one lasts; has 1",
            id="one bin",
        ),
        pytest.param(
            "",
            "1: should be a header with arrival_s, prompt_tokens and output_tokens; the file is "
            "empty",
            id="empty",
        ),
        pytest.param(
            OURS,
            "1: should have at least one request below the header, has 0 rows",
            id="a header alone",
        ),
        pytest.param(
            f"{OURS}nan,1,1\n",
            "2: arrival_s: should be a number of seconds, not 'nan'",
            id="no time",
        ),
        pytest.param(
            f"{OURS}0,nan,1\n",
            "2: prompt_tokens: should be a whole number of tokens, not 'nan'",
            id="no length",
        ),
        pytest.param(
            f"{OURS}0,1,-1\n",
            "2: output_tokens: should not be negative, not '-1'",
            id="negative answer",
        ),
        pytest.param(
            "t_s,requests,prompt_tokens,output_tokens\n0,30,9,9\n60,10,1e15,10\n",
            "3: prompt_tokens: should be at most 100000000 for each request, is "
            "100,000,000,000,000",
            id="absurd prompts of a bin",
        ),
    ],
)
def test_a_trace_that_is_wrong_is_one_line(
    run: Run, command: tuple[str, ...], trace: str, message: str
) -> None:
    given(trace)

    ran = run(*command)

    assert (ran.code, ran.out, ran.err) == (2, "", f"t.csv:{message}\n")


@BOTH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--from", "10", "--to", "5"),
            "--to: should be after --from (10), not 5",
        ),
        (("--to", "0"), "--to: should be after --from (0), not 0"),
        (("--from", "99"), "t: no request arrives from 99 to inf s; the last one arrives at 5 s"),
        (
            ("--scale", "1e12"),
            (
                "t: stands for 2,000,000,000,000 requests, at most 250,000,000 can be replayed: "
                "scale it to 0.00012 of that, or cut a part out"
            ),
        ),
        (("--scale", "1e-12"), "t: scaled by 1e-12, no request is left"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_part_of_a_trace_that_is_none_is_one_line(
    run: Run, command: tuple[str, ...], options: tuple[str, ...], message: str
) -> None:
    given(f"{OURS}0,100,10\n5,100,10\n")

    ran = run(*command, *options)

    assert (ran.code, ran.out, ran.err) == (2, "", f"{message}\n")


@BOTH
@pytest.mark.parametrize("scale", ["0", "-1", "inf", "nan"])
def test_a_scale_is_a_number_above_zero(run: Run, command: tuple[str, ...], scale: str) -> None:
    given(f"{OURS}0,100,10\n")

    ran = run(*command, "--scale", scale)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith(
        f"Error: Invalid value for '--scale': should be a number above 0, not {scale}\n"
    )


@BOTH
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"profile": "llama-9"},
            "w.yaml:7: spec.replica.profile: no profile is called 'llama-9'; close ones are: ",
            id="unknown",
        ),
        pytest.param(
            {"profile": "llama-3.1-70b/h100/tp4/fp8"},
            "w.yaml:7: spec.replica.gpus: should be 4, as profile llama-3.1-70b/h100/tp4/fp8 says, "
            "not 1\n",
            id="of other GPUs",
        ),
        pytest.param(
            {"min": "100000", "max": "100000"},
            "w.yaml:6: spec.replicas.min: should be at most 10,000 to be simulated, not 100,000\n",
            id="a hundred thousand replicas",
        ),
    ],
)
def test_replicas_that_cannot_be_simulated_are_one_line(
    run: Run, command: tuple[str, ...], changes: dict[str, str], message: str
) -> None:
    given(f"{OURS}0,100,10\n", **changes)

    ran = run(*command, "--quiet")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(message)
    assert ran.err.count("\n") == 1


def test_one_request_is_a_trace(run: Run) -> None:
    given(f"{OURS}0,100,10\n")

    score = score_of(run)

    assert (score["requests"], score["finished"], score["attainment"]) == (1, 1, 1.0)
    ran = run(*COMPARE, "--json", "--quiet")
    assert [one["attainment"] for one in json.loads(ran.out)["runs"]] == [1.0] * 4


def test_answers_of_no_token_are_one_token_and_said(run: Run) -> None:
    given(f"{OURS}0,100,0\n1,100,0\n")

    ran = run(*REPLAY)

    assert ran.code == 0
    assert ran.err == (
        "t.csv: Answers of 0 tokens, counted as 1 (the end-of-text token): 2.\n"
        "llm/chat: 2 requests in 0 minutes\n"
    )
    assert score_of(run)["finished"] == 2


REFUSED = (
    "2 of 3 requests are longer than the model's context of 131,072 tokens, prompt and answer "
    "together, and were refused."
)


ONE_IS_LONGER = (
    "1 of 3 requests is longer than the model's context of 131,072 tokens, prompt and answer "
    "together, and was refused."
)
NOT_FITTING = "prompt and answer do not fit the KV cache of a replica"


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_a_prompt_fills_the_context_or_exceeds_it_by_a_token(
    run: Run, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """131,062 tokens leave room for 10; one more is refused, long before the KV cache is full."""
    if engine == "plain":
        monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    given(f"{OURS}0,131062,10\n1,131063,10\n2,100,10\n")

    ran = run(*REPLAY)

    assert (ran.code, ran.err.splitlines()[-1]) == (0, ONE_IS_LONGER)
    score = score_of(run)
    assert (score["failed"], score["too_long"], score["finished"]) == (1, 1, 2)


def test_the_kv_cache_refuses_what_the_context_allows(run: Run) -> None:
    trace = f"{OURS}0,27000,10\n1,140000,10\n2,100,10\n"
    given(trace, profile="llama-3.1-8b/l4/tp1/bfloat16")

    ran = run(*REPLAY)

    assert ran.err.splitlines()[-2:] == [
        ONE_IS_LONGER,
        f"1 of 3 requests were refused: {NOT_FITTING} (26,000 tokens).",
    ]
    score = score_of(run)
    assert (score["failed"], score["too_long"]) == (2, 1)


def test_a_prompt_that_no_replica_can_hold_is_refused_and_said(run: Run) -> None:
    given(f"{OURS}0,100,10\n1,100000000,10\n2,100,100000000\n")

    ran = run(*REPLAY)

    assert (ran.code, ran.err.splitlines()[-1]) == (0, REFUSED)
    score = score_of(run)
    assert (score["failed"], score["finished"]) == (2, 1)


def test_replicas_that_hold_not_one_prompt_are_a_result(run: Run) -> None:
    given(OURS + "".join(f"{second},100000000,10\n" for second in range(3)))

    ran = run(*COMPARE)

    runs = json.loads(run(*COMPARE, "--json", "--quiet").out)["runs"]
    assert ran.code == 0
    assert "\nNot even that plan" not in ran.err
    assert "Not even that plan keeps the promise" in ran.err
    assert ran.err.splitlines()[-1] == (
        REFUSED.replace("2 of 3", "3 of 3") + " So it was even for the clairvoyant plan."
    )
    for one in runs:
        assert (one["attainment"], one["unserved"], one["requests"]) == (0.0, 3, 3)
        assert one["regret_gpu_hours"] == 0.0


def test_a_cold_start_longer_than_the_trace_is_said(run: Run) -> None:
    busy = OURS + "".join(f"{second / 100},900,300\n" for second in range(6000))
    given(busy, coldStartSeconds="86400")

    ran = run(*REPLAY)
    compared = run(*COMPARE)

    said = (
        "A replica takes 86,400 s to start and the trace only 60 s: whatever is asked for comes "
        "too late."
    )
    assert (ran.code, compared.code) == (0, 0)
    assert said in ran.err.splitlines()
    assert said in compared.err.splitlines()
    assert score_of(run)["max_replicas"] > 1


@pytest.mark.slow
def test_a_pool_that_can_never_hold_the_load_is_a_result_that_says_so(run: Run) -> None:
    given(f"{RATES}0,60000\n60,60000\n", max="1")

    replayed, compared, score = run(*REPLAY), run(*COMPARE), score_of(run)

    said = (
        f"{score['unfinished']:,} of {score['requests']:,} requests had no full answer 600 s after "
        "the last one arrived, though spec.replicas.max (1) ran."
    )
    assert score["unfinished"] > 50_000
    assert replayed.err.splitlines()[-1] == said
    assert compared.code == 0
    assert "No policy file keeps the promise to 95 % of all requests." in compared.err
    assert compared.err.splitlines()[-1] == f"{said} So it was even for the clairvoyant plan."


@BOTH
@pytest.mark.parametrize("most", ["1", "2147483647"])
def test_a_promise_that_nobody_can_keep_ends_soon(
    run: Run, command: tuple[str, ...], most: str
) -> None:
    given(f"{RATES}0,600\n60,600\n", max=most, ttftP95Seconds="0.001")

    ran = run(*command, "--json", "--quiet")

    assert ran.code == 0
    document = json.loads(ran.out)
    scores = document["runs"] if command is COMPARE else [document["score"]]
    assert {score["attainment"] for score in scores} == {0.0}
    assert all(score["max_replicas"] <= 200 for score in scores)


FLOODED = """
import sys
from pathlib import Path
from autoscaler.config import load_fleet
from simulations.cluster import Engine
from simulations.replay import replay
from simulations.trace import read_trace

workload = load_fleet([Path("w.yaml")]).workloads[0]
result = replay(read_trace(Path("t.csv")), workload, engine=Engine(sys.argv[1]))
score = result.score
assert score.requests == score.finished + score.unfinished + score.failed
print(score.requests, score.unfinished)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "minutely"),
    [pytest.param("compiled", 50_000, id="compiled"), pytest.param("plain", 5_000, id="plain")],
)
def test_a_flood_takes_bounded_memory_and_time(engine: str, minutely: int) -> None:
    """Millions of requests that one replica can never serve: a kilobyte each is far too much."""
    if engine == "compiled":
        pytest.importorskip("numba", reason="numba is not installed")
    given(RATES + "".join(f"{60 * minute},{minutely}\n" for minute in range(40)), max="1")
    least = 600_000_000  # what an interpreter with numpy, scikit-learn and numba may need by itself

    def limited() -> None:
        most = least + 40 * minutely * 1000
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))

    done = subprocess.run(
        [sys.executable, "-c", FLOODED, engine],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        preexec_fn=limited,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )

    assert done.stderr == ""
    requests, unfinished = map(int, done.stdout.split())
    assert requests > 39 * minutely
    assert unfinished > requests / 3


def test_a_wrong_trace_stops_a_demo_too(run: Run) -> None:
    given(f"{RATES}0,3\n60,-1\n")

    assert main(["demo", "--trace", "t.csv", "--no-report"]) == 2
