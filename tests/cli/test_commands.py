"""What each command prints, where, and with which exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from autoscaler import plugins
from autoscaler.core.errors import ConfigError
from autoscaler.core.policy import Policy
from autoscaler.plugins import load_policy_type
from tests.cli.conftest import WORKLOAD, Ran
from tests.config.texts import changed

Run = Callable[..., Ran]

ALL_COMMANDS = ("init", "check", "policies", "schema", "replay", "demo", "explain", "version")


def test_help_names_every_command(run: Run) -> None:
    ran = run("--help")

    assert ran.code == 0
    assert ran.err == ""
    assert [name for name in ALL_COMMANDS if f"\n  {name} " not in ran.out] == []


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_every_command_explains_itself(run: Run, command: str) -> None:
    ran = run(command, "-h")

    assert ran.code == 0
    assert ran.out.startswith(f"Usage: autoscaler {command} ")


@pytest.mark.parametrize("arguments", [("--version",), ("version",)])
def test_version(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("autoscaler 0.")


@pytest.mark.parametrize(
    "arguments", [("cheque",), ("check",), ("replay",), ("check", "chat.yaml", "--nope")]
)
def test_wrong_usage_is_wrong_input(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)

    assert ran.code == 2
    assert ran.out == ""
    assert "Error: " in ran.err


# --- check -----------------------------------------------------------------------------------


def test_check_says_what_each_workload_resolves_to(run: Run) -> None:
    ran = run("check", "chat.yaml")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "chat.yaml:1: llm/chat: Deployment chat, 1 to 12 replicas, "
        "queue-drain(queue_length) + latency-guard(ttft_p95) by highest, watching only\n"
    )


def test_check_tells_every_problem_on_stderr(run: Run) -> None:
    Path("bad.yaml").write_text(
        changed(("min: 1, max: 12", "min: 5, max: 3"), ("actuation: none", "actuation: no"))
    )

    ran = run("check", "chat.yaml", "bad.yaml")

    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.splitlines() == [
        "bad.yaml:3: metadata.name: workload llm/chat is defined twice; first in chat.yaml:3",
        (
            "bad.yaml:6: spec.actuation: unquoted no is false to some YAML readers and not to "
            'others: write false or "no"'
        ),
        "bad.yaml:7: spec.replicas: min should be at most max, not 5 > 3",
    ]


def test_check_warns_and_is_content(run: Run) -> None:
    Path("chat.yaml").write_text(WORKLOAD.replace("8b/h100/tp1/fp8", "8b/h100/tp1/fp9"))

    ran = run("check", "chat.yaml")

    assert ran.code == 0
    assert ran.err.startswith(
        "warning: chat.yaml:8: spec.replica.profile: no profile is called "
        "'llama-3.1-8b/h100/tp1/fp9'"
    )
    assert ran.err.endswith("; a replay would refuse it\n")


def test_check_as_json_has_every_default_filled_in(run: Run) -> None:
    ran = run("check", "chat.yaml", "--json")

    (workload,) = json.loads(ran.out)["workloads"]
    assert (workload["workload"], workload["file"], workload["line"]) == (
        "llm/chat", "chat.yaml", 1,
    )  # fmt: skip
    assert workload["spec"]["signals"]["queue_length"]["windowSeconds"] == 120
    assert workload["spec"]["policies"][0]["drainSeconds"] == 30.0


# --- policies and schema ---------------------------------------------------------------------


def test_policies_lists_what_is_installed(run: Run) -> None:
    ran = run("policies", "--json")

    found = json.loads(ran.out)
    assert [one["name"] for one in found["combiners"]] == ["first-live", "highest", "vote"]
    for one in found["policies"]:
        assert one["summary"], one["name"]
        assert run("policies").out.count(f"  {one['name']} ") == 1
        for parameter in one["parameters"]:
            assert parameter["description"], (one["name"], parameter["name"])


def test_policies_explains_one_with_units_and_defaults(run: Run) -> None:
    ran = run("policies", "queue-drain")

    assert ran.code == 0
    assert ran.out.startswith("queue-drain: a policy of inference-autoscaler ")
    assert "\n  drainSeconds  (number >= 1; default 30.0)\n      The backlog should be " in ran.out
    assert "\n  signal  (text; required)\n" in ran.out
    assert "\n  throughput  (text; optional)\n" in ran.out


def test_policies_shows_parameters_inside_lists(run: Run) -> None:
    names = [one["name"] for one in json.loads(run("policies", "hpa", "--json").out)["parameters"]]

    assert "metrics[].target.type" in names


def test_policies_explains_a_combiner(run: Run) -> None:
    ran = run("policies", "vote")

    assert ran.code == 0
    assert ran.out.startswith("vote: a combiner of inference-autoscaler ")


def test_policies_knows_no_such_policy(run: Run) -> None:
    ran = run("policies", "hpaa")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("no policy is called 'hpaa'; did you mean 'hpa'?; installed are: ")


def test_policies_lists_the_others_where_one_is_broken(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str) -> type[Policy]:
        if name == "burst":
            raise ConfigError("policy 'burst' of acme 1.0: cannot be imported")
        return load_policy_type(name)

    monkeypatch.setattr(plugins, "load_policy_type", load)

    ran = run("policies")

    assert ran.code == 1
    assert "  hpa " in ran.out
    assert "  burst " not in ran.out
    assert ran.err == "policy 'burst' of acme 1.0: cannot be imported\n"


def test_schema_prints_json_and_nothing_else(run: Run) -> None:
    ran = run("schema")

    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["title"] == "ScaledWorkload or NodePool"


# --- init ------------------------------------------------------------------------------------


def test_init_copies_a_preset_that_is_in_order_beside_the_schema_it_names(run: Run) -> None:
    ran = run("init", "mine")

    assert ran.code == 0
    assert ran.out.splitlines() == [
        "mine/vllm-queue-latency.yaml",
        "mine/scaledworkload.schema.json",
    ]
    first_line = Path("mine/vllm-queue-latency.yaml").read_text().splitlines()[0]
    assert first_line == "# yaml-language-server: $schema=scaledworkload.schema.json"
    assert json.loads(Path("mine/scaledworkload.schema.json").read_text()) == json.loads(
        run("schema").out
    )
    assert ran.err == (
        "Next: edit metadata, target, replicas, replica, slo and match, then run: "
        "autoscaler check mine\n"
    )
    assert run("check", "mine").code == 0


def test_init_copies_every_preset_byte_for_byte(run: Run) -> None:
    presets = Path(__file__).parents[2] / "policies" / "presets"

    assert run("init", "mine", "--preset", "all").code == 0

    for preset in presets.glob("*.yaml"):
        assert Path("mine", preset.name).read_bytes() == preset.read_bytes()


def test_presets_side_by_side_are_for_different_workloads(run: Run) -> None:
    run("init", "mine", "--preset", "all")

    assert run("check", "mine").code == 0


def test_init_lists_the_presets_with_a_sentence_each(run: Run) -> None:
    ran = run("init", "--list")

    names = sorted(path.stem for path in Path(__file__).parents[2].glob("policies/presets/*.yaml"))
    assert [line.split()[0] for line in ran.out.splitlines()] == names
    assert all(line.endswith((".", "out.")) for line in ran.out.splitlines())
    assert sorted(Path().iterdir()) == [Path("chat.yaml"), Path("trace.csv")]


def test_init_never_overwrites_what_was_edited(run: Run) -> None:
    run("init", "mine", "--preset", "hpa", "--preset", "kpa")
    Path("mine/kpa.yaml").write_text("mine")
    Path("mine/hpa.yaml").unlink()

    ran = run("init", "mine", "--preset", "hpa", "--preset", "kpa")

    assert ran.code == 2
    assert ran.err == "mine/kpa.yaml: is there already; --force overwrites it\n"
    assert Path("mine/kpa.yaml").read_text() == "mine"
    assert not Path("mine/hpa.yaml").exists()


def test_init_overwrites_by_force_and_leaves_nothing_else(run: Run) -> None:
    run("init", "mine", "--preset", "kpa")
    Path("mine/kpa.yaml").write_text("mine")

    assert run("init", "mine", "--preset", "kpa", "--force").code == 0
    assert yaml.safe_load(Path("mine/kpa.yaml").read_text())["kind"] == "ScaledWorkload"
    assert sorted(path.name for path in Path("mine").iterdir()) == [
        "kpa.yaml",
        "scaledworkload.schema.json",
    ]


def test_init_again_changes_nothing_and_is_content(run: Run) -> None:
    run("init", "mine")

    assert run("init", "mine").code == 0


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (("mine", "--preset", "kpaa"), "no preset is called 'kpaa'; did you mean 'kpa'?; presets"),
        (("chat.yaml",), "chat.yaml: cannot be written: "),
        (("chat.yaml/mine",), "chat.yaml/mine: cannot be written: "),
    ],
)
def test_init_tells_why_it_cannot(run: Run, arguments: tuple[str, ...], start: str) -> None:
    ran = run("init", *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(start)
    assert len(ran.err.splitlines()) == 1
    assert not Path("mine").exists()
