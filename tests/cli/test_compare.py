"""autoscaler compare: what it prints, writes and refuses."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from autoscaler.cli import main
from autoscaler.cli.app import app
from tests.simulations.comparing import a_burst

FILE = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: ScaledWorkload
metadata: {name: chat, namespace: llm}
spec:
  target: {name: chat}
  replicas: {min: 1, max: 6}
  replica: {gpus: 4, profile: llama-3.1-70b/a100/tp4/bfloat16, coldStartSeconds: 30}
  slo: {ttftP95Seconds: 1.0, itlP95Seconds: 0.1, attainment: 0.8}
  signals: {in_flight: {query: q, windowSeconds: 120, stepSeconds: 15}}
  policies: [{type: target-tracking, signal: in_flight, target: 20}]
"""

Compare = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traces") / "burst.csv"
    burst = a_burst(60.0)
    rows = zip(burst.arrivals, burst.prompt_tokens, burst.output_tokens, strict=True)
    text = "arrival_s,prompt_tokens,output_tokens\n"
    path.write_text(text + "".join(f"{a:.3f},{p},{o}\n" for a, p, o in rows), encoding="utf-8")
    return path


@pytest.fixture
def compare(
    trace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Compare:
    """Write the given texts to files in an empty folder, and compare them."""
    monkeypatch.chdir(tmp_path)

    def run(files: dict[str, str], *options: str) -> tuple[int, str, str]:
        for name, text in files.items():
            Path(name).write_text(text, encoding="utf-8")
        code = main(["compare", "--trace", str(trace), *files, *options])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def wanting(target: int, **changes: str) -> str:
    text = FILE.replace("target: 20}", f"target: {target}}}")
    for before, after in changes.items():
        text = text.replace(before, after)
    return text


def test_a_row_for_each_file_and_for_what_it_is_measured_against(
    compare: Compare, tmp_path: Path
) -> None:
    code, out, err = compare({"ten.yaml": wanting(10), "forty.yaml": wanting(40)})

    assert code == 0
    names = [line.split()[0] for line in out.splitlines() if "%" in line]
    assert names == ["ten", "forty", "static-peak", "static-best", "clairvoyant"]
    assert "\x1b" not in out
    assert "2 policy files. Promised is the first token within 1 s" in err
    assert err.endswith("Report: compare.html\n")
    report = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert '<th scope="row">forty<span' in report


def test_json_is_one_document_on_stdout(compare: Compare, tmp_path: Path) -> None:
    code, out, err = compare(
        {"ten.yaml": wanting(10)}, "--json", "--quiet", "--no-report", "--seed", "7"
    )

    document: dict[str, Any] = json.loads(out)
    assert code == 0
    assert err == ""
    assert set(document) >= {"trace", "slo", "runs"}
    assert next(run["name"] for run in document["runs"]) == "ten"
    assert {run["seed"] for run in document["runs"]} == {7}
    assert document["trace"]["requests"] == len(a_burst(60.0))
    assert not (tmp_path / "compare.html").exists()


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(compare: Compare) -> None:
    files = {"ten.yaml": wanting(10), "forty.yaml": wanting(40)}
    told = [
        compare(files, "--json", "--quiet", "--jobs", jobs, "--report", f"{jobs}.html")[1]
        for jobs in ("1", "2")
    ]

    assert told[0] == told[1]
    assert Path("1.html").read_bytes() == Path("2.html").read_bytes()


def test_variants_of_one_workload_are_told_apart_by_their_files(compare: Compare) -> None:
    Path("other").mkdir()

    code, out, _ = compare(
        {"chat.yaml": wanting(10), "other/chat.yaml": wanting(40)}, "--json", "--no-report"
    )

    assert code == 0
    assert [run["name"] for run in json.loads(out)["runs"]][:2] == ["chat", "chat-2"]


def test_several_workloads_of_one_file_bear_their_own_names(compare: Compare) -> None:
    two = wanting(10) + "---\n" + wanting(40).replace("name: chat", "name: code")

    _, out, _ = compare({"both.yaml": two}, "--json", "--no-report")

    assert [run["name"] for run in json.loads(out)["runs"]][:2] == ["both.chat", "both.code"]


POOL = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: NodePool
metadata: {name: a100}
spec: {gpusPerNode: 8, nodes: {min: 1, max: 3}, provisioningSeconds: 30}
"""
PLACED = FILE.replace("gpus: 4,", "gpus: 4, nodePool: a100,")


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"chat.yaml": PLACED + "---\n" + POOL}, id="beside its workload"),
        pytest.param({"chat.yaml": PLACED, "pools.yaml": POOL}, id="in a file for all"),
    ],
)
def test_nodes_are_simulated_where_their_pool_is_given(
    compare: Compare, files: dict[str, str]
) -> None:
    code, out, _ = compare(files, "--json", "--journals", "kept")

    assert code == 0
    runs = json.loads(out)["runs"]
    assert runs[0]["name"] == "chat"
    assert runs[0]["node_gpu_hours"] > runs[0]["gpu_hours"]
    assert runs[-1]["node_gpu_hours"] > runs[-1]["gpu_hours"]
    assert "of nodes" in Path("compare.html").read_text(encoding="utf-8")
    assert main(["verify", "kept/chat.jsonl"]) == 0


def test_plans_with_room_beside_files_that_wait_for_nodes_are_said(compare: Compare) -> None:
    files = {"on-nodes.yaml": PLACED + "---\n" + POOL, "roomy.yaml": FILE}

    code, _, err = compare(files)

    said = (
        "Runs that have GPU-hours of nodes wait for nodes; the others, among them those that all "
        "are measured against, always have room: give every policy file the same node pool to "
        "measure all alike."
    )
    assert code == 0
    assert said in err.splitlines()
    assert f"<li>{said}</li>" in Path("compare.html").read_text(encoding="utf-8")


NO_POOL = "spec.replica.nodePool: no node pool here is called 'a100'"
UNNAMED = "pools.yaml:3: metadata.name: no workload here names this pool"


@pytest.mark.parametrize(
    ("files", "warned"),
    [
        pytest.param({"a.yaml": FILE}, [], id="nothing to warn of"),
        pytest.param({"a.yaml": PLACED}, [f"a.yaml:7: {NO_POOL}"], id="no such pool"),
        pytest.param({"a.yaml": PLACED, "pools.yaml": POOL}, [], id="its pool is in another file"),
        pytest.param(
            {"pools.yaml": POOL, "a.yaml": PLACED, "b.yaml": FILE}, [], id="one of them names it"
        ),
        pytest.param({"a.yaml": FILE, "pools.yaml": POOL}, [UNNAMED], id="nobody names it"),
        pytest.param(
            {
                "a.yaml": PLACED,
                "b.yaml": f"{PLACED}---\n{POOL}",
                "pools.yaml": POOL.replace("max: 3", "max: 2"),
            },
            ["a.yaml:6: spec.replicas.max: 6 replicas of 4 GPUs need 3 nodes of 8, and node pool"],
            id="one has a pool of its own",
        ),
    ],
)
def test_what_check_warns_of_is_said_before_the_runs(
    compare: Compare, files: dict[str, str], warned: list[str]
) -> None:
    code, _, err = compare(files, "--no-report")
    quiet = compare(files, "--no-report", "--quiet")

    lines = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert code == 0
    assert err.splitlines()[: len(lines)] == lines
    assert len(lines) == len(warned)
    for line, start in zip(lines, warned, strict=True):
        assert line.startswith(f"warning: {start}")
    assert (quiet[0], quiet[2]) == (0, "")


def test_a_pool_that_never_holds_a_replica_is_said_of_the_run(compare: Compare) -> None:
    small = POOL.replace("gpusPerNode: 8", "gpusPerNode: 1")

    code, _, err = compare({"small.yaml": f"{PLACED}---\n{small}", "roomy.yaml": FILE})

    said = (
        "small: node pool a100 never holds a replica: one has 4 GPUs, the pool at most 3 nodes of "
        "1. It served nobody."
    )
    assert code == 0
    assert [line for line in err.splitlines() if "never holds" in line] == [said]
    assert f"<li>{said}</li>" in Path("compare.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["chat.yaml", "both.yaml"])
def test_a_replays_journal_is_that_of_a_comparison_to_the_byte(
    compare: Compare, trace: Path, file: str
) -> None:
    files = {"chat.yaml": FILE, "both.yaml": PLACED + "---\n" + POOL}
    code, _, _ = compare(files, "--journals", "kept", "--no-report", "--quiet")

    replayed = main(
        ["replay", "--trace", str(trace), "--workload", file, "--journal", "j.jsonl", "--quiet"]
    )

    assert (code, replayed) == (0, 0)
    assert Path("j.jsonl").read_bytes() == Path("kept", file).with_suffix(".jsonl").read_bytes()


def test_a_profile_stands_in_for_that_of_every_file(compare: Compare) -> None:
    files = {"one.yaml": FILE, "two.yaml": FILE.replace("tp4/bfloat16", "tp8/bfloat16")}

    code, out, _ = compare(
        files, "--json", "--no-report", "--quiet", "--profile", "llama-3.1-8b/h100/tp1/bfloat16"
    )

    document = json.loads(out)
    assert code == 0
    assert document["replica"]["profile"] == "llama-3.1-8b/h100/tp1/bfloat16"
    assert document["replica"]["gpus"] == 1
    assert document["runs"][0]["gpu_hours"] == document["runs"][1]["gpu_hours"]


def test_replay_and_compare_have_the_same_options_for_what_is_simulated() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    ours, theirs = (
        {one.name: (one.opts, one.default, one.help) for one in commands[name].params}
        for name in ("replay", "compare")
    )

    shared = set(ours) & set(theirs)
    assert shared >= {
        "start", "interval", "scrape", "initial", "profile", "cold_start_spread", "seed", "scale",
        "begin", "end", "as_json", "quiet",
    }  # fmt: skip
    for name in shared - {"trace"}:
        assert ours[name] == theirs[name]


def test_a_file_of_node_pools_alone_is_nothing_to_compare(compare: Compare) -> None:
    code, _, err = compare({"pools.yaml": POOL})

    assert code == 2
    assert err == "pools.yaml: should hold a workload to compare\n"


def test_journals_can_be_verified(compare: Compare) -> None:
    code, _, _ = compare({"ten.yaml": wanting(10)}, "--journals", "kept/here", "--no-report")

    assert code == 0
    assert main(["verify", "kept/here/ten.jsonl"]) == 0


def test_files_with_different_promises_are_refused_with_both_places(compare: Compare) -> None:
    strict = FILE.replace("ttftP95Seconds: 1.0", "ttftP95Seconds: 0.5")

    code, out, err = compare({"one.yaml": FILE, "two.yaml": strict})

    assert code == 2
    assert out == ""
    assert err == (
        "two.yaml:8: spec.slo.ttftP95Seconds: should be 1.0, as in one.yaml:8, not 0.5: runs are "
        "compared under one objective and on equal replicas; make them equal, or say whose count "
        "with --slo-of FILE\n"
    )


def test_slo_of_says_whose_promise_counts(compare: Compare) -> None:
    strict = FILE.replace("ttftP95Seconds: 1.0", "ttftP95Seconds: 0.5")
    files = {"one.yaml": FILE, "two.yaml": strict}

    code, out, _ = compare(files, "--json", "--no-report", "--slo-of", "two.yaml")

    document = json.loads(out)
    assert code == 0
    assert document["slo"]["ttftP95Seconds"] == 0.5
    assert document["runs"][0]["attainment"] == document["runs"][1]["attainment"]


def test_the_narrower_the_terminal_the_fewer_columns(
    compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")

    _, out, err = compare({"ten.yaml": wanting(10)}, "--no-report")

    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    assert max(len(line) for line in plain.splitlines()) <= 60
    assert "promised" in plain
    assert "No room for: replicas, mean / most" in err


def test_a_person_at_a_terminal_sees_each_part_go_on(
    compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")

    _, _, err = compare({"ten.yaml": wanting(10)}, "--no-report")

    assert all(name in err for name in ("clairvoyant", "static", "ten"))


def test_no_color_is_honoured(compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")

    _, out, _ = compare({"ten.yaml": wanting(10), "forty.yaml": wanting(40)}, "--no-report")

    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", out)


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        pytest.param(
            {"a.yaml": FILE.replace("tp4/bfloat16", "tp4/none")},
            [],
            r"a\.yaml:7: spec\.replica\.profile: no profile is called",
            id="unknown profile",
        ),
        pytest.param(
            {"a.yaml": FILE.replace("in_flight", "moon_phase")},
            [],
            r"a\.yaml:\d+: spec\.signals\.moon_phase",
            id="a signal that nobody can simulate",
        ),
        pytest.param(
            {"a.yaml": FILE.replace("min: 1, max: 6", "min: 7, max: 6"), "b.yaml": "kind: none\n"},
            [],
            r"a\.yaml:6: .*\n(.*\n)*b\.yaml:1: ",
            id="every problem of every file",
        ),
        pytest.param(
            {"a.yaml": FILE},
            ["--report", "none/compare.html"],
            r"none/compare\.html: cannot be written",
            id="no folder for the report",
        ),
        pytest.param(
            {"a.yaml": FILE},
            ["--report", "."],
            r"\.: cannot be written: is a directory",
            id="a folder as report",
        ),
        pytest.param(
            {"a.yaml": FILE},
            ["--report", "a.yaml"],
            r"a\.yaml: is also read by this command",
            id="a report over an input",
        ),
        pytest.param(
            {"a.yaml": FILE},
            ["--journals", "a.yaml"],
            r"a\.yaml: cannot be made: file exists\n",
            id="a file as journals",
        ),
        pytest.param(
            {"a.yaml": FILE},
            ["--initial", "7"],
            r"--initial: should be from spec\.replicas\.min to max of a\.yaml \(1-6\), not 7",
            id="more than the maximum",
        ),
        pytest.param(
            {"a.yaml": FILE}, ["--start", "soon"], r"should be a time such as", id="no time"
        ),
        pytest.param(
            {"a.yaml": FILE}, ["--interval", "inf"], r"should be a finite number", id="no number"
        ),
        pytest.param(
            {"a.yaml": FILE + "---\n" + FILE.replace("name: chat", "name: code")},
            ["--slo-of", "a.yaml"],
            r"--slo-of: a\.yaml should hold one workload, not llm/chat, llm/code",
            id="whose promise",
        ),
        pytest.param(
            {"a.yaml": FILE, "pools.yaml": POOL},
            ["--slo-of", "pools.yaml"],
            r"--slo-of: pools\.yaml should hold a workload",
            id="nobody's promise",
        ),
        pytest.param(
            {"a.yaml": FILE},
            ["--profile", "none"],
            r"--profile: no profile is called 'none'; close ones are: ",
            id="unknown profile for all",
        ),
    ],
)
def test_wrong_input_is_told_before_anything_runs(
    compare: Compare, files: dict[str, str], options: list[str], message: str, tmp_path: Path
) -> None:
    code, out, err = compare(files, *options)

    assert code == 2
    assert out == ""
    assert re.search(message, err), err
    assert not (tmp_path / "compare.html").exists()
