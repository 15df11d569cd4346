"""autoscaler signals: the ready-made sets, listed and printed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from autoscaler.cli.signals import signal_sets
from tests.cli.conftest import WORKLOAD, Ran

Run = Callable[..., Ran]


def test_lists_every_set_with_its_signals(run: Run) -> None:
    ran = run("signals")

    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines] == list(signal_sets())
    assert next(line for line in lines if line.startswith("rabbitmq")).split() == [
        "rabbitmq", "queue_length", "running",
    ]  # fmt: skip
    assert ran.err == "autoscaler signals NAME prints one set.\n"


def test_lists_them_as_json(run: Run) -> None:
    document = json.loads(run("signals", "--json").out)

    assert document["kafka"] == ["queue_length"]
    assert list(document) == list(signal_sets())


@pytest.mark.parametrize("name", sorted(signal_sets()))
def test_a_printed_set_can_be_pasted_under_signals(run: Run, name: str) -> None:
    printed = run("signals", name).out
    first = next(iter(yaml.safe_load(printed)))
    head = WORKLOAD.partition("    queue_length:")[0]
    policies = f"  policies: [{{type: target-tracking, signal: {first}, target: 1}}]\n"
    Path("chat.yaml").write_text(head + printed + policies, encoding="utf-8")

    assert run("check", "chat.yaml").code == 0
    assert yaml.safe_load(printed) == json.loads(run("signals", name, "--json").out)


def test_an_unknown_set_is_told_with_what_is_near(run: Run) -> None:
    ran = run("signals", "vlm")

    assert ran.code == 2
    assert ran.err.startswith(
        "no signal set is called 'vlm'; did you mean 'vllm'?; signal sets are: dcgm, "
    )
