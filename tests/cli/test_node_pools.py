"""Node pools on the command line: check, replay, explain."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import WORKLOAD, Ran
from tests.config.texts import POOL

Run = Callable[..., Ran]

ON_POOL = WORKLOAD.replace("coldStartSeconds: 60", "coldStartSeconds: 60, nodePool: h100")


@pytest.fixture(autouse=True)
def with_a_pool(in_a_folder_of_its_own: None) -> None:
    Path("chat.yaml").write_text(f"{ON_POOL}---\n{POOL}")


# --- check -----------------------------------------------------------------------------------


def test_check_says_what_each_pool_resolves_to(run: Run) -> None:
    ran = run("check", "chat.yaml")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "chat.yaml:1: llm/chat: Deployment chat, 1 to 12 replicas, "
        "queue-drain(queue_length) + latency-guard(ttft_p95) by highest, watching only, "
        "on node pool h100\n"
        "chat.yaml:26: node pool h100: 1 to 6 nodes of 8 GPUs, ready after 300 s, watching only\n"
    )


def test_check_says_of_a_replica_that_it_takes_several_nodes(run: Run) -> None:
    small = POOL.replace("gpusPerNode: 8", "gpusPerNode: 1").replace("max: 6", "max: 48")
    large = ON_POOL.replace("profile: llama-3.1-8b/h100/tp1/fp8", "gpus: 4")
    Path("chat.yaml").write_text(f"{large}---\n{small}")

    ran = run("check", "chat.yaml")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[0].endswith(", on node pool h100, 4 whole nodes for each replica")


def test_check_of_one_policy_names_no_combiner(run: Run) -> None:
    alone = ON_POOL.replace("    - {type: queue-drain, signal: queue_length}\n", "")
    Path("chat.yaml").write_text(f"{alone}---\n{POOL}")

    assert ", latency-guard(ttft_p95), watching only, on node pool" in run("check", "chat.yaml").out


def test_check_names_a_pool_that_is_not_given(run: Run) -> None:
    Path("chat.yaml").write_text(ON_POOL)

    ran = run("check", "chat.yaml")

    assert ran.code == 0
    assert ran.out.endswith(", on node pool h100\n")
    assert ran.err.startswith("warning: chat.yaml:8: spec.replica.nodePool: no node pool here is ")


def test_check_as_json_has_the_pools_with_every_default(run: Run) -> None:
    Path("chat.yaml").write_text(
        f"{ON_POOL}---\n" + POOL.replace("  provisioningSeconds: 300\n", "")
    )

    document = json.loads(run("check", "chat.yaml", "--json").out)

    (pool,) = document["nodePools"]
    assert (pool["nodePool"], pool["file"], pool["line"]) == ("h100", "chat.yaml", 26)
    assert pool["spec"]["provisioningSeconds"] == 300.0


# --- replay and explain ------------------------------------------------------------------------

REPLAY = ("replay", "--trace", "trace.csv", "--workload", "chat.yaml")


@pytest.fixture
def busy() -> None:
    """A trace that needs more replicas than one, and nodes that take one each."""
    Path("trace.csv").write_text(
        "arrival_s,prompt_tokens,output_tokens\n"
        + "".join(f"{second / 40},6000,200\n" for second in range(3600))
    )
    pool = POOL.replace("gpusPerNode: 8", "gpusPerNode: 1").replace("max: 6", "max: 3")
    pool = pool.replace("provisioningSeconds: 300", "provisioningSeconds: 20")
    Path("chat.yaml").write_text(f"{ON_POOL}---\n{pool}")


def test_replay_prints_what_the_nodes_cost(run: Run) -> None:
    ran = run(*REPLAY, "--quiet")

    labels = {line[: line.index("  ", 3)].strip() for line in ran.out.splitlines()}
    assert ran.code == 0
    assert {
        "GPU-hours",
        "GPU-hours of nodes",
        "hours waiting for a node",
        "nodes, most",
        "changes of nodes",
    } <= labels


def test_replay_as_json_tells_of_the_nodes(run: Run, busy: None) -> None:
    document = json.loads(run(*REPLAY, "--quiet", "--json").out)

    score = document["score"]
    assert score["node_gpu_hours"] >= score["gpu_hours"] > 0
    assert score["pending_hours"] > 0
    assert score["max_nodes"] == 3
    assert score["node_changes"] == len(document["node_changes"]) > 0
    first = document["node_changes"][0]
    assert (first["before"], first["after"]) == (1, 3)


def test_replay_without_a_pool_is_silent_about_nodes(run: Run) -> None:
    Path("chat.yaml").write_text(WORKLOAD)

    ran = run(*REPLAY, "--quiet")
    document = json.loads(run(*REPLAY, "--quiet", "--json").out)

    assert "node" not in ran.out
    assert document["score"]["node_gpu_hours"] is None
    assert document["node_changes"] == []


def test_replay_takes_the_pool_from_a_folder(run: Run) -> None:
    Path("fleet").mkdir()
    Path("fleet/a.yaml").write_text(ON_POOL)
    Path("fleet/b.yaml").write_text(POOL)

    ran = run(*REPLAY[:3], "--workload", "fleet", "--quiet")

    assert ran.code == 0
    assert "GPU-hours of nodes" in ran.out


def test_replay_needs_a_workload(run: Run) -> None:
    Path("chat.yaml").write_text(POOL)

    ran = run(*REPLAY, "--quiet")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "chat.yaml: holds no workload, only node pools\n"


def test_a_pool_that_never_holds_a_replica_is_a_result(run: Run) -> None:
    """Replicas of four GPUs on at most three nodes of one."""
    small = POOL.replace("gpusPerNode: 8", "gpusPerNode: 1").replace("max: 6", "max: 3")
    Path("chat.yaml").write_text(
        ON_POOL.replace("profile: llama-3.1-8b/h100/tp1/fp8", "gpus: 4").replace(
            "gpus: 4", "gpus: 4, profile: llama-3.1-70b/h100/tp4/fp8"
        )
        + f"---\n{small}"
    )

    ran = run(*REPLAY, "--json")

    score = json.loads(ran.out)["score"]
    assert ran.code == 0
    assert ran.err.startswith(
        "warning: chat.yaml:7: spec.replicas.max: 12 replicas of 4 GPUs need 48 nodes of 1, and "
        "node pool h100 has at most 3 (chat.yaml:32): 0 fit\n"
    )
    assert score["requests"] == score["unfinished"] == 80
    assert score["gpu_hours"] == 0.0
    assert score["pending_hours"] > 0


def test_explain_shows_what_was_decided_of_the_pool(run: Run, busy: None) -> None:
    document = json.loads(run(*REPLAY, "--quiet", "--json", "--journal", "j.jsonl").out)
    cycle = document["node_changes"][0]["seconds"] - 15

    ran = run("explain", "chat", "--journal", "j.jsonl", "--at", f"+{cycle:g}")
    told = json.loads(
        run("explain", "chat", "--journal", "j.jsonl", "--at", f"+{cycle:g}", "--json").out
    )

    lines = ran.out.splitlines()
    at = lines.index("node pool h100")
    assert lines[at + 1] == "  1 asked for, 1 ready, 5 needed"
    assert lines[at + 2] == (
        "  1 -> 3 (at-maximum): 5 replicas of 1 GPUs need 5 nodes; nodes.max is 3, 2 too few"
    )
    assert lines[at + 4] == "action  1 -> 3, done"
    assert told["node_pool"]["nodes"] == 3
    assert told["node_pool"]["outcomes"][0]["done"] is True
    assert told["outcomes"][0]["action"]["after"] == 5


def test_explain_is_silent_about_a_pool_that_nobody_decided(run: Run) -> None:
    Path("chat.yaml").write_text(ON_POOL)
    assert run(*REPLAY, "--quiet", "--journal", "j.jsonl").code == 0

    ran = run("explain", "chat", "--journal", "j.jsonl")

    assert "node pool" not in ran.out
    assert "node_pool" not in json.loads(
        run("explain", "chat", "--journal", "j.jsonl", "--json").out
    )


def test_verify_decides_the_pool_alike_to_the_byte(run: Run, busy: None) -> None:
    assert run(*REPLAY, "--quiet", "--journal", "j.jsonl").code == 0

    assert run("verify", "j.jsonl").code == 0
