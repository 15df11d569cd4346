"""replay and explain: from a trace to a table, and from a journal to a reason."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autoscaler.cli.scores import as_document, comparison, held
from autoscaler.cli.words import utc
from autoscaler.core.spec import Slo
from simulations.decisions import Decided, Forecasts
from simulations.replay import replay
from tests.cli.conftest import TRACE, WORKLOAD, Ran
from tests.simulations.builders import a_trace, a_workload
from tests.simulations.comparing import SLOW

Run = Callable[..., Ran]

REPLAY = ("replay", "--trace", "trace.csv", "--workload", "chat.yaml")


def test_replay_prints_a_table_on_stdout_and_words_on_stderr(run: Run) -> None:
    ran = run(*REPLAY)

    assert ran.code == 0
    assert ran.err == "llm/chat: 80 requests in 4 minutes\n"
    labels = [line[: line.index("  ", 3)].rstrip() for line in ran.out.splitlines()]
    assert labels == [
        "requests",
        "met every limit",
        "  first token within 2 s",
        "  in the worst minute",
        "unfinished or refused",
        "p95 to first token",
        "p95 between tokens",
        "p95 to last token",
        "GPU-hours",
        "replicas, mean",
        "replicas, most",
        "changes of replicas",
        "  against the one before",
    ]
    assert ran.out.splitlines()[0].split() == ["requests", "80"]


def test_replay_as_json_is_data_alone(run: Run) -> None:
    ran = run(*REPLAY, "--json", "--quiet")

    assert ran.err == ""
    document = json.loads(ran.out)
    assert document["score"]["requests"] == 80
    assert document["score"]["cost"] is None
    assert document["cycles"] > 10


SEASONAL = WORKLOAD.replace(
    "  policies:\n", "  policies:\n    - {type: seasonal, signal: queue_length, perReplica: 9}\n"
)


def test_how_well_a_forecast_held_is_a_row_and_a_number() -> None:
    """What came stayed below the p90 at three of four times."""
    times = np.arange(60.0, 120.0, 15.0)
    forecasts = Forecasts(
        policy="seasonal(load)",
        signal="load",
        quantiles=(0.5, 0.9),
        times=times,
        values=np.stack([times, 2 * times], axis=1),
        ahead_seconds=60.0,
        seen_times=times,
        seen=np.array([1.0, 1.0, 1.0, 1000.0]),
    )
    decided = Decided(reasons=(("at-target", 4),), forecasts=forecasts)
    told = replay(a_trace((1.0, 10, 1)), a_workload(profile=SLOW))

    lines = comparison({"chat": told.score}, Slo(), decided)
    document = as_document(told, decided)

    assert lines[-1].split() == ["forecast", "held", "75.0", "%", "of", "p90"]
    assert (document["forecast_held"], document["reasons"]) == (0.75, {"at-target": 4})
    assert held(Decided()) == ""
    assert as_document(told, Decided())["forecast_held"] is None


def test_a_policy_that_never_had_a_say_is_named(run: Run) -> None:
    Path("chat.yaml").write_text(SEASONAL)

    ran = run(*REPLAY)

    assert ran.code == 0
    assert "never had a say: " in ran.err


def test_the_same_replay_twice_gives_equal_bytes(run: Run) -> None:
    spread = (*REPLAY, "--cold-start-spread", "0.5", "--seed", "7", "--start", "2026-03-01T08:00")

    one = run(*spread, "--journal", "one.jsonl")
    two = run(*spread, "--journal", "two.jsonl")

    assert one.out == two.out
    assert Path("one.jsonl").read_bytes() == Path("two.jsonl").read_bytes()


def test_replay_takes_one_workload_of_several(run: Run) -> None:
    other = WORKLOAD.replace("name: chat", "name: other")
    Path("chat.yaml").write_text(f"{WORKLOAD}---\n{other}")

    assert run(*REPLAY).err == (
        "chat.yaml: holds several workloads; choose one with --name: llm/chat, llm/other\n"
    )
    assert run(*REPLAY, "--name", "third").err == (
        "chat.yaml: no workload is called 'third'; there are: llm/chat, llm/other\n"
    )
    assert run(*REPLAY, "--name", "other").code == 0
    assert run(*REPLAY, "--name", "llm/other").code == 0
    Path("chat.yaml").write_text(f"{WORKLOAD}---\n{WORKLOAD.replace('llm', 'dev')}")
    assert run(*REPLAY, "--name", "chat").err == (
        "chat.yaml: 'chat' names several workloads; choose one: llm/chat, dev/chat\n"
    )


def test_replay_on_other_replicas(run: Run) -> None:
    """The profile brings its GPUs: the file says 1, this profile has 4."""
    ran = run(*REPLAY, "--profile", "llama-3.1-70b/h100/tp4/fp8", "--json", "--quiet")

    score = json.loads(ran.out)["score"]
    assert score["gpu_hours"] == pytest.approx(4 * score["replica_hours"])


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (("--trace", "none.csv"), "none.csv: cannot be read: no such file or directory"),
        (("--trace", "chat.yaml"), "chat.yaml:1: should have the columns "),
        (("--workload", "none.yaml"), "none.yaml: cannot be read: no such file or directory"),
        (("--profile", "h100"), "--profile: no profile is called 'h100'; "),
        (("--initial", "13"), "--initial: should be from spec.replicas.min to max (1-12), not 13"),
        (("--initial", "0"), "--initial: should be from spec.replicas.min to max (1-12), not 0"),
        (("--journal", "none/j.jsonl"), "none/j.jsonl: cannot be written: "),
        (("--journal", "trace.csv"), "trace.csv: is also read by this replay; name another "),
        (("--journal", "chat.yaml"), "chat.yaml: is also read by this replay; name another "),
    ],
    ids=" ".join,
)  # fmt: skip
def test_replay_refuses_in_one_line_and_writes_nothing(
    run: Run, arguments: tuple[str, ...], start: str
) -> None:
    ran = run(*REPLAY, "--quiet", "--journal", "j.jsonl", *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(start)
    assert len(ran.err.splitlines()) == 1
    assert sorted(path.name for path in Path().iterdir()) == ["chat.yaml", "trace.csv"]
    assert Path("trace.csv").read_text() == TRACE


def test_what_the_simulator_refuses_is_told_with_file_and_line(run: Run) -> None:
    Path("chat.yaml").write_text(WORKLOAD.replace("profile: llama-3.1-8b/h100/tp1/fp8, ", ""))

    ran = run(*REPLAY, "--quiet", "--journal", "j.jsonl")

    assert ran.code == 2
    assert ran.err.startswith("chat.yaml:8: spec.replica.profile: ")
    assert sorted(path.name for path in Path().iterdir()) == ["chat.yaml", "trace.csv"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--start", "yesterday"),
        ("--interval", "0"),
        ("--interval", "nan"),
        ("--interval", "inf"),
        ("--scrape", "-1"),
        ("--scrape", "nan"),
        ("--seed", "-1"),
        ("--initial", "-1"),
        ("--cold-start-spread", "nan"),
        ("--cold-start-spread", "9"),
    ],
    ids=" ".join,
)
def test_an_option_out_of_range_is_wrong_input(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run(*REPLAY, *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert f"Error: Invalid value for '{arguments[0]}'" in ran.err


# --- explain ---------------------------------------------------------------------------------


@pytest.fixture
def journal(run: Run) -> str:
    Path("trace.csv").write_text(
        "arrival_s,prompt_tokens,output_tokens\n"
        + "".join(f"{second / 40},6000,200\n" for second in range(3600))
    )
    assert run(*REPLAY, "--quiet", "--journal", "j.jsonl").code == 0
    return "j.jsonl"


def test_explain_tells_the_whole_trail(run: Run, journal: str) -> None:
    ran = run("explain", "chat", "--journal", journal, "--at", "+45")

    lines = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert lines[0] == "llm/chat at 2026-01-05T00:01:00Z (+45 s since the first cycle)"
    headings = [line for line in lines if line and not line.startswith(" ")][2:]
    assert headings[:4] == ["replicas", "signals", "policies", "steps"]
    assert any(line.startswith("  queue_length  fresh") for line in lines)
    assert any(line.startswith("  queue-drain(queue_length)") for line in lines)


def test_explain_shows_the_action_and_its_number(run: Run, journal: str) -> None:
    cycles = [json.loads(line) for line in Path(journal).read_text().splitlines()[1:]]
    acted = next(cycle for cycle in cycles if cycle.get("outcomes"))
    action = acted["outcomes"][0]["action"]
    seconds = acted["plan"]["now"] - cycles[0]["plan"]["now"]

    ran = run("explain", "llm/chat", "--journal", journal, "--at", f"+{seconds:g}")
    document = json.loads(
        run("explain", "chat", "--journal", journal, "--at", f"+{seconds:g}", "--json").out
    )

    assert f"{action['before']} -> {action['after']} (" in ran.out
    assert f"action  {action['before']} -> {action['after']}, done" in ran.out
    assert (document["current"], document["replicas"]) == (action["before"], action["after"])
    assert document["outcomes"][0]["done"] is True


@pytest.mark.parametrize(
    ("at", "time"),
    [
        ("+0", "2026-01-05T00:00:15Z"),
        ("+44.9", "2026-01-05T00:00:45Z"),
        ("+45", "2026-01-05T00:01:00Z"),
        ("2026-01-05T00:00:59Z", "2026-01-05T00:00:45Z"),
        ("2026-01-05T01:01:00+01:00", "2026-01-05T00:01:00Z"),
        ("2026-01-05 00:01:00", "2026-01-05T00:01:00Z"),
    ],
)
def test_explain_takes_the_nearest_cycle_at_or_before(
    run: Run, journal: str, at: str, time: str
) -> None:
    ran = run("explain", "chat", "--journal", journal, "--at", at, "--json")

    assert json.loads(ran.out)["time"] == time


def test_explain_takes_the_last_cycle_if_nobody_says_when(run: Run, journal: str) -> None:
    newest = json.loads(Path(journal).read_text().splitlines()[-1])["plan"]["now"]
    last = json.loads(run("explain", "chat", "--journal", journal, "--json").out)

    assert last["time"] == utc(newest)
    assert run("explain", "chat", "--journal", journal, "--at", "+1e9", "--json").out == (
        run("explain", "chat", "--journal", journal, "--at", "last", "--json").out
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("chatt",), "j.jsonl: no workload is called 'chatt'; there are: llm/chat"),
        (
            ("chat", "--at", "2020-01-01"),
            "j.jsonl: no cycle at or before 2020-01-01; the first is at 2026-01-05T00:00:15Z",
        ),
        (
            ("chat", "--at", "noon"),
            (
                "--at: should be a time such as 2026-01-05T00:10:00Z, seconds such as +600, "
                "or last, not 'noon'"
            ),
        ),
        (
            ("chat", "--at", "+x"),
            (
                "--at: should be a time such as 2026-01-05T00:10:00Z, seconds such as +600, "
                "or last, not '+x'"
            ),
        ),
    ],
)
def test_explain_refuses_in_one_line(
    run: Run, journal: str, arguments: tuple[str, ...], error: str
) -> None:
    ran = run("explain", *arguments, "--journal", journal)

    assert (ran.code, ran.out, ran.err) == (2, "", f"{error}\n")


@pytest.mark.parametrize("text", ["", "{}\n", "not json\n", "[]\n"])
def test_explain_refuses_what_is_no_journal(run: Run, text: str) -> None:
    Path("j.jsonl").write_text(text)

    ran = run("explain", "chat", "--journal", "j.jsonl")

    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1
    assert ran.err.startswith("j.jsonl:")


def test_explain_says_so_where_no_cycle_was_recorded(run: Run, journal: str) -> None:
    header = Path(journal).read_text().splitlines()[0]
    Path(journal).write_text(f"{header}\n")

    assert run("explain", "chat", "--journal", journal).err == "j.jsonl: holds no cycle\n"
