"""Files and folders to a fleet: order, places, warnings, and any input at all."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.config import load_fleet, read_fleet
from policies.reactive.latency_guard import LatencyGuard
from policies.reactive.queue_drain import QueueDrain
from tests.config.texts import CHAT, changed, problems_in

PRESETS = sorted((Path(__file__).parents[2] / "policies" / "presets").glob("*.yaml"))


def named(name: str) -> str:
    return CHAT.replace("name: chat", f"name: {name}")


def test_builds_the_policies_of_the_types_that_are_named() -> None:
    Path("chat.yaml").write_text(CHAT)

    (workload,) = load_fleet([Path("chat.yaml")]).workloads

    drain, guard = workload.spec.policies
    assert isinstance(drain, QueueDrain)
    assert isinstance(guard, LatencyGuard)
    assert drain.signal == "queue_length"
    assert workload.spec.replica.cold_start_seconds == 240.0
    assert workload.spec.combine == "highest"


def test_brings_the_combiners_that_are_named_and_no_others() -> None:
    Path("a.yaml").write_text(changed(("combine: highest", "combine: vote")))

    assert set(load_fleet([Path("a.yaml")]).combiners) == {"vote"}


def test_a_file_may_hold_several_workloads() -> None:
    Path("all.yaml").write_text(f"{named('b')}---\n{named('a')}")

    loaded = read_fleet([Path("all.yaml")])

    assert [workload.key for workload in loaded.fleet.workloads] == ["llm/b", "llm/a"]
    assert [str(source) for source in loaded.sources.values()] == ["all.yaml:1", "all.yaml:26"]


def test_a_folder_stands_for_its_own_files_by_name() -> None:
    for name in ("b.yml", "a.yaml", ".hidden.yaml", "notes.txt", "x.schema.json", "in/c.yaml"):
        path = Path("fleet", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(named(path.stem.strip(".")))

    fleet = load_fleet([Path("fleet")])

    assert [workload.metadata.name for workload in fleet.workloads] == ["a", "b"]


def test_a_file_named_twice_is_read_once() -> None:
    Path("fleet").mkdir()
    Path("fleet/a.yaml").write_text(CHAT)
    Path("link.yaml").symlink_to("fleet/a.yaml")

    fleet = load_fleet([Path("fleet"), Path("fleet/a.yaml"), Path("link.yaml")])

    assert len(fleet.workloads) == 1


def test_a_pipe_is_read_like_a_file() -> None:
    read, write = os.pipe()

    def put() -> None:
        os.write(write, CHAT.encode())
        os.close(write)

    writer = threading.Thread(target=put)
    writer.start()
    fleet = load_fleet([Path(f"/dev/fd/{read}")])

    writer.join()
    os.close(read)
    assert fleet.workloads[0].key == "llm/chat"


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem() -> None:
    Path("a.yaml").write_bytes(b"\xef\xbb\xbf" + CHAT.replace("\n", "\r\n").encode())

    assert read_fleet([Path("a.yaml")]).sources["llm/chat"].at("spec.replicas.max") == "a.yaml:7"


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ("spec.replica.gpus", "a.yaml:8"),
        ("spec.replica.profile", "a.yaml:8"),
        ("spec.policies[1].signal", "a.yaml:20"),
        ("spec.signals.ttft_p95.query", "a.yaml:17"),
        ("nothing.of.this", "a.yaml:1"),
    ],
)
def test_knows_where_every_field_stands(field: str, place: str) -> None:
    Path("a.yaml").write_text(CHAT)

    assert read_fleet([Path("a.yaml")]).sources["llm/chat"].at(field) == place


def test_json_and_yaml_say_the_same() -> None:
    Path("a.yaml").write_text(CHAT)
    (workload,) = load_fleet([Path("a.yaml")]).workloads

    Path("a.json").write_text(workload.model_dump_json(by_alias=True))

    assert load_fleet([Path("a.json")]).workloads == (workload,)


def test_only_what_the_file_says_counts_as_set() -> None:
    Path("a.yaml").write_text(CHAT)
    (workload,) = load_fleet([Path("a.yaml")]).workloads

    said = workload.model_dump(mode="json", by_alias=True, exclude_unset=True)

    assert said["spec"]["replica"] == {"gpus": 4, "coldStartSeconds": 240.0}
    assert said["spec"]["policies"][0] == {"type": "queue-drain", "signal": "queue_length"}
    assert "source" not in said["spec"]


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        pytest.param(CHAT, [], id="nothing to say"),
        pytest.param(
            changed(("    - {type: latency-guard, signal: ttft_p95}\n", "")),
            ["a.yaml:15: spec.signals.ttft_p95: no policy uses this signal"],
            id="unused signal",
        ),
        *(
            pytest.param(
                changed(("{kind: Deployment,", f"{{apiVersion: {version}, kind: Deployment,")),
                [
                    (
                        f"a.yaml:5: spec.target.apiVersion: '{version}' is no API of Kubernetes "
                        "that scales anything; did you mean 'apps/v1'?"
                    )
                ],
                id=f"an API called {version}",
            )
            for version in ("app/v1", "apps", "v2", "extensions/v1beta1")
        ),
        *(
            pytest.param(
                changed(("{kind: Deployment,", f"{{apiVersion: {version}, kind: Engine,")),
                [],
                id=f"an API called {version}",
            )
            for version in ("apps/v1", "v1", "leaderworkerset.x-k8s.io/v1")
        ),
        pytest.param(
            changed(("    - {type: queue-drain, signal: queue_length}\n", "")),
            [],
            id="an unused queue still tells whether others lie",
        ),
        pytest.param(
            changed(("slo: {ttftP95Seconds: 2.0}", "slo: {itlP95Seconds: 0.1}")),
            [
                (
                    "a.yaml:20: spec.policies[1]: "
                    "spec.slo.ttftP95Seconds is not set: without this limit the policy says nothing"
                )
            ],
            id="guard without its limit",
        ),
        pytest.param(
            changed(("match: {model_name: chat}", "match: {}")),
            [
                f"a.yaml:{line}: spec.signals.{name}.query: spec.match is empty: this query takes "
                "the series of every workload"
                for line, name in ((14, "queue_length"), (17, "ttft_p95"))
            ],
            id="empty match",
        ),
        pytest.param(
            changed(("min: 1", "min: 0")),
            [
                (
                    "a.yaml:7: spec.replicas.min: at 0 replicas nothing serves the metrics that "
                    "every policy here rests on, so nothing would wake the workload: add a signal "
                    "of the gateway in front, or a schedule"
                )
            ],
            id="sleeps for ever",
        ),
        pytest.param(
            changed(("min: 1", "min: 0"), ("(vllm:num_requests_waiting{", "(gateway_queue{")),
            [],
            id="a gateway wakes it",
        ),
    ],
)
def test_warns_of_what_is_allowed_and_probably_not_meant(text: str, warnings: list[str]) -> None:
    Path("a.yaml").write_text(text)

    assert list(read_fleet([Path("a.yaml")]).warnings) == warnings


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_in_order_and_gives_no_warning(preset: Path) -> None:
    assert read_fleet([preset]).warnings == ()


@pytest.mark.parametrize(
    ("tolerance", "read"), [("0.1", 0.1), ('"0.1"', 0.1), ("100m", 0.1), ("0", 0.0)]
)
def test_a_tolerance_is_a_quantity(tolerance: str, read: float) -> None:
    Path("a.yaml").write_text(changed(("scaleDown: {", f"scaleDown: {{tolerance: {tolerance}, ")))

    behavior = load_fleet([Path("a.yaml")]).workloads[0].spec.behavior

    assert behavior is not None
    assert behavior.scale_down is not None
    assert behavior.scale_down.tolerance == read


@pytest.mark.parametrize("tolerance", ["-0.1", '"-0.1"', "abc", "1Xi", "true", "[]", "null"])
def test_a_wrong_tolerance_is_told_in_one_line(tolerance: str) -> None:
    text = changed(("scaleDown: {", f"scaleDown: {{tolerance: {tolerance}, "))

    found = problems_in({"a.yaml": text})

    assert len(found) == (0 if tolerance == "null" else 1)
    assert all(one.startswith("a.yaml:23: spec.behavior.scaleDown.tolerance: ") for one in found)


# --- any input at all ------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_any_bytes_give_problems_and_no_traceback(noise: bytes) -> None:
    for name in ("x.yaml", "x.json"):
        found = problems_in({name: noise})

        assert found
        assert all(problem.isprintable() for problem in found)


LETTERS = st.text(st.sampled_from("{}[]:,-#&*!|>'\"%@`\t\n =~<?$().0123eynox\0\u2028\u00e4"))


@given(
    at=st.integers(0, len(CHAT)),
    removed=st.integers(0, 30),
    noise=st.one_of(LETTERS, st.text(max_size=10)),
)
def test_any_edit_of_a_file_gives_a_fleet_or_problems(at: int, removed: int, noise: str) -> None:
    text = CHAT[:at] + noise + CHAT[at + removed :]

    for problem in problems_in({"x.yaml": text.encode("utf-8", "surrogatepass")}):
        assert problem.startswith("x.yaml")
        assert problem.isprintable()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(at=st.integers(0, 100), value=VALUES)
def test_any_value_in_any_field_gives_a_fleet_or_problems(at: int, value: object) -> None:
    document = yaml.safe_load(CHAT)
    places = _places(document)
    holder, key = places[at % len(places)]
    holder[key] = value

    for problem in problems_in({"x.json": json.dumps(document, indent=1)}):
        assert problem.startswith("x.json:")
        assert problem.isprintable()


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every place of a value that can be set: its container and key."""
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    here = [(value, key) for key, _ in inside]
    return here + [place for _, inner in inside for place in _places(inner)]
