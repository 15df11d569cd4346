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
