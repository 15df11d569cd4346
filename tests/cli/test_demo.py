"""demo: the controller before one's eyes, then beside the HPA, with a report."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import simulations.arrivals
from autoscaler.cli import demo
from autoscaler.core.spec import Slo
from simulations.arrivals import Traffic, synthesize
from simulations.replay import replay
from simulations.run import Settings
from simulations.score import Score
from simulations.trace import Trace
from tests.cli.conftest import TRACE, Ran

Run = Callable[..., Ran]

SHORT = synthesize(Traffic(seconds=180.0, burst_from=60.0), np.random.default_rng(1), "short")


@pytest.fixture(autouse=True)
def three_minutes_in_place_of_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulations.arrivals, "synthetic_day", lambda: SHORT)


def test_it_compares_two_presets_writes_a_report_and_says_what_to_do_next(run: Run) -> None:
    ran = run("demo")

    assert ran.code == 0
    heading, requests = ran.out.strip().splitlines()[:2]
    assert heading.split("  ")[-2:] == [
        "hpa (hpa)",
        "vllm-queue-latency (queue-drain + latency-guard + latency-guard)",
    ]
    assert requests.split()[1:] == 2 * [f"{len(SHORT):,}"]
    first, second, before, told, empty, kept, took, report, *following = ran.err.splitlines()
    assert first == (
        f"A synthetic day: {len(SHORT):,} chat requests come to one model, with two peaks as on a "
        "weekday, and from 18:30 an incident that grows to 3 times the load within 20 minutes."
    )
    assert second == (
        "Every 15 s the controller decides how many replicas (llama-3.1-70b/h100/tp4/fp8) run, and "
        "each new one takes 4 min to start: first by the policy file vllm-queue-latency, then as a "
        "Kubernetes HPA decides."
    )
    assert before == empty == ""
    assert told == "2026-01-05T00:01:45Z  1 -> 2 replicas  latency-guard(itl_p95) wants 2, the most"
    assert "the promise to serve 95 % of all requests" in kept
    assert "GPU-hours" in took
    assert report == "Report, with pictures and every decision's reason: demo.html"
    assert any("autoscaler init my-policies" in line for line in following)
    assert Path("demo.html").read_text().startswith("<!")


@pytest.mark.parametrize(
    ("on_path", "typed"),
    [
        pytest.param("bin", "autoscaler", id="found by its name"),
        pytest.param("nowhere", ".venv/bin/autoscaler", id="in an environment that is not active"),
    ],
)
def test_the_hint_can_be_typed_as_it_stands(
    on_path: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("bin", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "autoscaler").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / on_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / ".venv/bin/python"))

    assert demo.command() == typed


def test_a_command_installed_elsewhere_is_named_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "autoscaler").touch(mode=0o755)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))

    assert demo.command() == str(tmp_path / "autoscaler")


def test_where_no_terminal_shows_a_table_each_change_is_a_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    flood = Traffic(seconds=180.0, requests_per_second=40.0, burst_from=60.0)
    busy = synthesize(flood, np.random.default_rng(1), "busy")
    monkeypatch.setattr(simulations.arrivals, "synthetic_day", lambda: busy)
    monkeypatch.setattr(demo, "MOST_TOLD", 2)

    ran = run("demo", "--no-report", "--speed", "600")

    told = [line for line in ran.err.splitlines() if " replicas  " in line]
    assert len(told) == 2
    assert told[0].startswith("2026-01-05T00:00:")
    assert re.search(r"Z  1 -> \d+ replicas  .* wants \d+, the most", told[0])
    assert re.search(r"\nand \d+ more changes: see the report\n", ran.err)
    assert "\x1b" not in ran.out + ran.err


def test_a_run_without_a_change_says_so(run: Run) -> None:
    Path("one.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,100,10\n")

    ran = run("demo", "--trace", "one.csv", "--no-report")

    assert ran.code == 0
    assert "\nvllm-queue-latency changed nothing.\n" in ran.err


def test_scores_as_json_are_those_of_compare(run: Run) -> None:
    ran = run("demo", "--json", "--no-report", "--quiet")

    assert (ran.code, ran.err) == (0, "")
    document = json.loads(ran.out)
    assert set(document) >= {"trace", "slo", "runs"}
    assert [one["name"] for one in document["runs"]][:2] == list(demo.COMPARED)
    assert not Path("demo.html").exists()


def test_quiet_prints_the_table_alone(run: Run) -> None:
    ran = run("demo", "--no-report", "--quiet")

    assert (ran.code, ran.err) == (0, "")
    assert "met every limit" in ran.out


def test_a_real_trace_may_take_the_place_of_the_day(run: Run) -> None:
    Path("azure.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        + "".join(f"2023-11-16 18:17:{second:02d}.0000000,100,10\n" for second in range(0, 60, 2))
    )

    ran = run("demo", "--trace", "azure.csv", "--report", "mine.html")

    assert ran.code == 0
    assert ran.err.startswith("azure: 30 requests come within 58 s.\nEvery 15 s")
    assert Path("mine.html").exists()


@pytest.mark.parametrize("name", demo.COMPARED)
def test_its_journals_are_those_of_a_replay_to_the_byte_and_can_be_verified(
    run: Run, name: str
) -> None:
    Path("busy.csv").write_text(
        "arrival_s,prompt_tokens,output_tokens\n"
        + "".join(f"{number / 20},3000,200\n" for number in range(1200))
    )
    preset = Path("preset", f"{name}.yaml")
    preset.parent.mkdir()
    preset.write_text((files("policies") / "presets" / preset.name).read_text())

    ran = run("demo", "--trace", "busy.csv", "--no-report", "--journals", "kept/here")
    replayed = run(
        "replay", "--trace", "busy.csv", "--workload", str(preset), "--journal", "j.jsonl"
    )

    kept = Path("kept", "here", f"{name}.jsonl")
    assert (ran.code, replayed.code) == (0, 0)
    assert {path.stem for path in kept.parent.iterdir()} == set(demo.COMPARED)
    assert kept.read_bytes() == Path("j.jsonl").read_bytes()
    assert len(kept.read_bytes().splitlines()) > 4
    assert run("verify", str(kept), "--quiet").code == 0


def test_it_says_how_to_ask_a_journal_and_that_works(run: Run) -> None:
    ran = run("demo", "--trace", "trace.csv", "--no-report", "--journals", "kept")

    (line,) = (line for line in ran.err.splitlines() if line.startswith("Why a decision"))
    told = line.partition("autoscaler ")[2].split()
    assert told[-1] == str(Path("kept", "vllm-queue-latency.jsonl"))
    assert run(*told).code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ("--trace", "none.csv"),
            "none.csv: cannot be read: no such file or directory",
            id="no such trace",
        ),
        pytest.param(
            ("--report", "."), ".: cannot be written: is a directory", id="a folder for a report"
        ),
        pytest.param(
            ("--report", "no/demo.html"),
            "no/demo.html: cannot be written: no such file or directory",
            id="no such folder",
        ),
        pytest.param(
            ("--trace", "trace.csv", "--report", "trace.csv"),
            "trace.csv: is also read by this command; name another report",
            id="the trace for a report",
        ),
        pytest.param(
            ("--journals", "trace.csv"),
            "trace.csv: cannot be made: file exists",
            id="a file for journals",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    ran = run("demo", *arguments)

    assert (ran.code, ran.out, ran.err) == (2, "", f"{message}\n")
    assert Path("trace.csv").read_text() == TRACE


@pytest.mark.parametrize("speed", ["0", "-5", "nan", "inf"])
def test_a_speed_that_is_none_is_refused(run: Run, speed: str) -> None:
    ran = run("demo", "--speed", speed)

    assert ran.code == 2
    assert "should be above 0" in ran.err


@pytest.mark.parametrize("name", demo.COMPARED)
def test_it_compares_like_with_like(name: str) -> None:
    """Same limits, same replicas, same bounds: what differs is the policies."""
    spec, other = demo.preset_workload(name).spec, demo.preset_workload(demo.COMPARED[0]).spec

    assert (spec.slo, spec.replica, spec.replicas) == (other.slo, other.replica, other.replicas)


def test_the_run_that_is_watched_is_the_run_that_is_compared(run: Run) -> None:
    watched = replay(SHORT, demo.preset_workload(demo.OURS), start=Settings().start)

    compared = json.loads(run("demo", "--json", "--no-report", "--quiet").out)["runs"][1]

    assert compared["name"] == demo.OURS
    assert compared["gpu_hours"] == watched.score.gpu_hours
    assert compared["attainment"] == watched.score.attainment


@pytest.fixture(scope="module")
def score() -> Score:
    return replay(SHORT, demo.preset_workload(demo.OURS)).score


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        pytest.param(
            {"attainment": 0.99, "gpu_hours": 90.0, "scale_events": 4},
            {"attainment": 0.97, "gpu_hours": 100.0, "scale_events": 1234},
            "Both keep the promise to serve 95 % of all requests within the limits "
            "(vllm-queue-latency 99.0 %, hpa 97.0 %).\nvllm-queue-latency takes 10 % fewer "
            "GPU-hours than hpa, and changes the number of replicas 4 times, hpa 1,234 times.",
            id="both",
        ),
        pytest.param(
            {"attainment": 0.94, "gpu_hours": 110.0, "scale_events": 4},
            {"attainment": 0.97, "gpu_hours": 100.0, "scale_events": 2},
            "Only hpa keeps the promise to serve 95 % of all requests within the limits "
            "(vllm-queue-latency 94.0 %, hpa 97.0 %).\nvllm-queue-latency takes 10 % more "
            "GPU-hours than hpa, and changes the number of replicas 4 times, hpa 2 times.",
            id="the other alone, and ours costs more",
        ),
        pytest.param(
            {"attainment": 0.96, "gpu_hours": 100.3, "scale_events": 4},
            {"attainment": 0.5, "gpu_hours": 100.0, "scale_events": 2},
            "Only vllm-queue-latency keeps the promise to serve 95 % of all requests within the "
            "limits (vllm-queue-latency 96.0 %, hpa 50.0 %).\nvllm-queue-latency takes as many "
            "GPU-hours as hpa, and changes the number of replicas 4 times, hpa 2 times.",
            id="ours alone, for as much",
        ),
        pytest.param(
            {"attainment": 0.9499, "gpu_hours": 100.0, "scale_events": 4},
            {"attainment": 0.9, "gpu_hours": 100.0, "scale_events": 2},
            "Neither keeps the promise to serve 95 % of all requests within the limits "
            "(vllm-queue-latency 94.9 %, hpa 90.0 %).\nvllm-queue-latency takes as many "
            "GPU-hours as hpa, and changes the number of replicas 4 times, hpa 2 times.",
            id="neither",
        ),
    ],
)
def test_the_verdict_says_what_the_numbers_say(
    score: Score, ours: dict[str, float], theirs: dict[str, float], said: str
) -> None:
    scores = {
        demo.OURS: replace(score, **ours),  # type: ignore[arg-type]
        demo.THEIRS: replace(score, **theirs),  # type: ignore[arg-type]
    }

    assert demo.verdict(scores, Slo(ttft_p95_seconds=2.0)) == said


def test_the_story_of_a_trace_begins_with_the_trace() -> None:
    trace = Trace("chat", np.array([0.0, 7200.0]), np.ones(2, np.int64), np.ones(2, np.int64))

    said = demo.story(trace, demo.preset_workload(demo.OURS), Settings(), bundled=False)

    assert said.startswith("chat: 2 requests come within 2 h.\nEvery 15 s the controller decides")
