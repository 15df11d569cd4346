"""autoscaler queries: the plan as a table, as JSON, and the recording rules."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.adapters.prometheus.promtool import complaints, needs_promtool
from tests.cli.conftest import WORKLOAD, Ran

Run = Callable[..., Ran]


@pytest.fixture
def two_files() -> None:
    """A second workload that asks the same of the same Prometheus."""
    other = WORKLOAD.replace("name: chat", "name: code").replace(
        "model_name: chat", "model_name: code"
    )
    Path("code.yaml").write_text(other, encoding="utf-8")


@pytest.mark.usefixtures("two_files")
def test_the_plan_is_a_table(run: Run) -> None:
    ran = run("queries", "chat.yaml", "code.yaml")

    head, *rows = ran.out.splitlines()
    assert ran.code == 0
    assert head.split() == ["source", "window", "step", "workloads", "cost", "query"]
    assert [row.split()[:6] for row in rows] == [
        ["default", "120", "s", "15", "s", "2"],
        ["default", "120", "s", "15", "s", "2"],
    ]
    assert rows[0].endswith(
        'sum by (model_name) (vllm:num_requests_waiting{model_name=~"chat|code"})'
    )
    assert "histogram" in rows[1]
    assert ran.err == (
        "2 queries for 4 signals, 1 of them over histograms; "
        "each also asks how old its samples are\n"
    )  # fmt: skip


@pytest.mark.usefixtures("two_files")
def test_the_plan_as_json_says_whom_each_answer_serves(run: Run) -> None:
    ran = run("queries", "chat.yaml", "code.yaml", "--json")

    document = json.loads(ran.out)
    first, second = document["queries"]
    assert (document["signals"], document["saved"]) == (4, 2)
    assert first == {
        "source": "default",
        "query": 'sum by (model_name) (vllm:num_requests_waiting{model_name=~"chat|code"})',
        "windowSeconds": 120,
        "stepSeconds": 15,
        "rangeSeconds": 61,
        "labels": ["model_name"],
        "selectors": ['vllm:num_requests_waiting{model_name=~"chat|code"}'],
        "costly": False,
        "alone": None,
        "serves": [
            {
                "match": {"model_name": name},
                "signals": [{"workload": f"llm/{name}", "signal": "queue_length"}],
            }
            for name in ("chat", "code")
        ],
    }
    assert second["costly"] is True


def test_a_long_query_is_shown_in_part_or_whole(run: Run) -> None:
    long = WORKLOAD.replace("model_name: chat", f"model_name: {'x' * 300}")
    Path("chat.yaml").write_text(long, encoding="utf-8")

    short, whole = run("queries", "chat.yaml").out, run("queries", "chat.yaml", "--full").out

    assert " ... " in short
    assert "x" * 300 not in short
    assert "x" * 300 in whole


def test_a_query_that_cannot_be_shared_says_why(run: Run) -> None:
    alone = WORKLOAD.replace("sum by ($labels) (vllm", "sum (vllm")
    Path("chat.yaml").write_text(alone, encoding="utf-8")

    ran = run("queries", "chat.yaml")

    assert "alone" in ran.out.splitlines()[1]
    assert ran.err.splitlines()[1] == (
        "1 alone, such as llm/chat queue_length: its answer does not keep the labels of "
        "spec.match: aggregate by ($labels) throughout"
    )


@pytest.mark.usefixtures("two_files")
def test_one_source_alone_can_be_asked_for(run: Run) -> None:
    far = (
        Path("code.yaml").read_text(encoding="utf-8").replace("  match:", "  source: far\n  match:")
    )
    Path("code.yaml").write_text(far, encoding="utf-8")

    both = run("queries", "chat.yaml", "code.yaml").out.splitlines()[1:]
    one = run("queries", "chat.yaml", "code.yaml", "--source", "far").out.splitlines()[1:]
    wrong = run("queries", "chat.yaml", "code.yaml", "--source", "fra")

    assert [row.split()[0] for row in both] == ["default", "default", "far", "far"]
    assert [row.split()[0] for row in one] == ["far", "far"]
    assert (wrong.code, wrong.err) == (
        2,
        "--source: no workload asks 'fra'; did you mean 'far'?; sources are: default, far\n",
    )


def test_the_scrape_interval_sets_the_range(run: Run) -> None:
    assert "[61s]" in run("queries", "chat.yaml", "--full").out
    assert "[121s]" in run("queries", "chat.yaml", "--full", "--scrape-seconds", "30").out


def test_recorded_series_are_read_where_the_rules_write_them(run: Run) -> None:
    rules = yaml.safe_load(run("queries", "chat.yaml", "--recording-rules").out)
    ran = run("queries", "chat.yaml", "--recorded", "--full")

    (record,) = [rule["record"] for group in rules["groups"] for rule in group["rules"]]
    assert f'max by (model_name) ({record}{{model_name="chat"}})' in ran.out
    assert "0 of them over histograms" in ran.err


@needs_promtool
def test_prometheus_accepts_the_rule_file(run: Run, tmp_path: Path) -> None:
    ran = run("queries", "chat.yaml", "--recording-rules")

    assert complaints(tmp_path, ran.out) == ""
    assert ran.err.startswith("1 rule; check the file with promtool check rules")


def test_a_wrong_file_is_told_as_check_tells_it(run: Run) -> None:
    Path("chat.yaml").write_text(WORKLOAD.replace("sum by", "smu by"), encoding="utf-8")

    assert run("queries", "chat.yaml").err == run("check", "chat.yaml").err
    assert run("queries", "chat.yaml").code == 2
