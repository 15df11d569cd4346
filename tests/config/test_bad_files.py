"""A table of policy files that are wrong, with every message whole."""

import json
import time
from pathlib import Path

import pytest

from autoscaler.config import read_fleet
from autoscaler.config.yaml_source import DEEPEST, MOST_NODES
from autoscaler.core.errors import ConfigError
from tests.config.texts import CHAT, changed, problems_in

INSTALLED = "burst, hpa, kpa, latency-guard, queue-drain, schedule, target-tracking, watermark"


@pytest.mark.parametrize(
    ("replacement", "expected"),
    [
        pytest.param(
            ("replicas: {min: 1, max: 12}", "replicas: {min: 5, max: 3}"),
            "chat.yaml:7: spec.replicas: min should be at most max, not 5 > 3",
            id="min above max",
        ),
        pytest.param(
            ("type: queue-drain", "type: queue-drian"),
            "chat.yaml:19: spec.policies[0].type: no policy is called 'queue-drian'; "
            f"did you mean 'queue-drain'?; installed are: {INSTALLED}",
            id="unknown policy",
        ),
        pytest.param(
            ("{type: queue-drain, signal: queue_length}", "{signal: queue_length}"),
            f"chat.yaml:19: spec.policies[0].type: is required; installed are: {INSTALLED}",
            id="policy without a type",
        ),
        pytest.param(
            ("{type: queue-drain, signal: queue_length}", "queue-drain"),
            "chat.yaml:19: spec.policies[0]: input should be a mapping, not 'queue-drain'",
            id="policy by name alone",
        ),
        pytest.param(
            ("type: queue-drain", "type: 7"),
            "chat.yaml:19: spec.policies[0].type: input should be text, not 7",
            id="policy type that is a number",
        ),
        pytest.param(
            ("signal: queue_length}", "signal: queue_lenght}"),
            "chat.yaml:19: spec.policies[0].signal: queue-drain uses the signal 'queue_lenght', "
            "which spec.signals does not define; did you mean 'queue_length'?; "
            "defined are: queue_length, ttft_p95",
            id="policy that needs an undefined signal",
        ),
        pytest.param(
            ("signal: queue_length}", "signal: queue_length, throughput: rps}"),
            "chat.yaml:19: spec.policies[0].throughput: queue-drain uses the signal 'rps', which "
            "spec.signals does not define; defined are: queue_length, ttft_p95",
            id="policy that may use an undefined signal",
        ),
        pytest.param(
            ("signal: queue_length}", 'signal: queue_length, drainSeconds: "30"}'),
            "chat.yaml:19: spec.policies[0].drainSeconds: input should be a number, not '30': "
            "remove the quotes",
            id="number in quotes",
        ),
        pytest.param(
            ("signal: queue_length}", "signal: queue_length, drainSecond: 30}"),
            "chat.yaml:19: spec.policies[0].drainSecond: no such field; did you mean "
            "'drainSeconds'?; allowed are: drainSeconds, quietQueuePerReplica, rememberSeconds, "
            "requestsPerSecondPerReplica, signal, throughput, type",
            id="unknown parameter",
        ),
        pytest.param(
            ("stabilizationWindowSeconds: 600", "stabilizationWindowSeconds: 7200"),
            "chat.yaml:23: spec.behavior.scaleDown.stabilizationWindowSeconds: input should be "
            "less than or equal to 3600, not 7200",
            id="out of range",
        ),
        pytest.param(
            ("gpus: 4", "gpu: 4"),
            "chat.yaml:8: spec.replica.gpu: no such field; did you mean 'gpus'?; allowed are: "
            "coldStartSeconds, gpuHourPrice, gpus, nodePool, profile",
            id="unknown field",
        ),
        pytest.param(
            ("coldStartSeconds: 240", "cold_start_seconds: 240"),
            "chat.yaml:8: spec.replica.cold_start_seconds: no such field; did you mean "
            "'coldStartSeconds'?; allowed are: coldStartSeconds, gpuHourPrice, gpus, nodePool, "
            "profile",
            id="snake case",
        ),
        pytest.param(
            ("gpus: 4", "gpus: 4.5"),
            "chat.yaml:8: spec.replica.gpus: input should be a whole number, not 4.5",
            id="fraction where a whole number belongs",
        ),
        pytest.param(
            ("gpus: 4", "gpus: true"),
            "chat.yaml:8: spec.replica.gpus: input should be a number, not true",
            id="boolean where a number belongs",
        ),
        pytest.param(
            ("gpus: 4", "gpus: null"),
            "chat.yaml:8: spec.replica.gpus: input should be a whole number, not null",
            id="nothing where a number belongs",
        ),
        pytest.param(
            ("actuation: none", "actuation: patch"),
            "chat.yaml:6: spec.actuation: input should be 'none', 'scale' or 'hpa', not 'patch'",
            id="unknown word",
        ),
        pytest.param(
            ("actuation: none", "actuation: no"),
            "chat.yaml:6: spec.actuation: unquoted no is false to some YAML readers and not to "
            'others: write false or "no"',
            id="no",
        ),
        pytest.param(
            ("gpus: 4", "gpus: 1:30"),
            "chat.yaml:8: spec.replica.gpus: unquoted 1:30 is 90 to some YAML readers and not to "
            'others: write 90 or "1:30"',
            id="1:30",
        ),
        pytest.param(
            ("gpus: 4", "gpus: 0644"),
            "chat.yaml:8: spec.replica.gpus: unquoted 0644 is 420 to some YAML readers and not to "
            'others: write 420 or "0644"',
            id="0644",
        ),
        pytest.param(
            ("gpus: 4", "gpus: .inf"),
            "chat.yaml:8: spec.replica.gpus: should be a finite number, not .inf",
            id="infinity",
        ),
        pytest.param(
            ("model_name: chat", "on: chat"),
            'chat.yaml:10: spec.match: a key should be text, not on: write "on"',
            id="on as a key",
        ),
        pytest.param(
            ("model_name: chat", "model_name: 70"),
            'chat.yaml:10: spec.match.model_name: input should be text, not 70: write "70"',
            id="number where text belongs",
        ),
        pytest.param(
            ("model_name: chat", "model-name: chat"),
            'chat.yaml:10: spec.match.model-name: a label\'s name should be letters, digits and _, '
            "and not begin with a digit",
            id="label name",
        ),
        pytest.param(
            ("min: 1, max: 12", "min: 1, max: 12, min: 2"),
            "chat.yaml:7: spec.replicas.min: this key is here twice; first in line 7",
            id="key twice",
        ),
        pytest.param(
            ("    ttft_p95:\n", "    queue_length:\n"),
            [
                "chat.yaml:15: spec.signals.queue_length: this key is here twice; first in line 12",
                ("chat.yaml:20: spec.policies[1].signal: latency-guard uses the signal 'ttft_p95', "
                "which spec.signals does not define; defined are: queue_length"),
            ],
            id="signal twice",
        ),
        pytest.param(
            ("combine: highest", "combine: hihgest"),
            "chat.yaml:21: spec.combine: no combiner is called 'hihgest'; did you mean 'highest'?; "
            "installed are: first-live, highest, vote",
            id="unknown combiner",
        ),
        pytest.param(
            ("replicas: keep", "replicas: 13"),
            "chat.yaml:24: spec.fallback.replicas: should be within replicas.min and replicas.max "
            "(1 to 12), not 13",
            id="fallback above max",
        ),
        pytest.param(
            ("replicas: keep", "replicas: most"),
            "chat.yaml:24: spec.fallback.replicas: input should be 'keep' or a whole number, "
            "not 'most'",
            id="alternatives",
        ),
        pytest.param(
            ("name: chat, namespace", "name: Chat, namespace"),
            "chat.yaml:3: metadata.name: input should be a Kubernetes name (lower-case letters, "
            "digits, - and .), not 'Chat'",
            id="name in capitals",
        ),
        pytest.param(
            ("kind: Deployment, name: chat", "kind: Deployment, namespace: web, name: chat"),
            "chat.yaml:1: target.namespace should equal metadata.namespace (llm), not web",
            id="target in another namespace",
        ),
        pytest.param(
            ("{kind: Deployment, name: chat}", "{kind: Deployment}"),
            "chat.yaml:5: spec.target.name: is required",
            id="required field",
        ),
        pytest.param(
            ("kind: ScaledWorkload", "kind: Deployment"),
            "chat.yaml:2: kind: input should be 'ScaledWorkload', not 'Deployment'",
            id="another kind, and nothing else of it",
        ),
        pytest.param(
            ("rate(vllm:ttft_bucket{$match}[$window])", "rate(vllm:ttft_bucket{$sel}[$window])"),
            "chat.yaml:17: spec.signals.ttft_p95.query: placeholders should be $match, $labels, "
            "$window, not $sel; write $match",
            id="unknown placeholder",
        ),
        pytest.param(
            ("rate(vllm:ttft_bucket{$match}[$window]))", "rate(vllm:ttft_bucket{$match}[$window])"),
            "chat.yaml:17: spec.signals.ttft_p95.query: the ( at character 19 is never closed",
            id="query with an open bracket",
        ),
        pytest.param(
            ("actuation: none", "actuation: !!python/object/apply:os.system [ls]"),
            "chat.yaml:6: spec.actuation: tags (!!python/object/apply:os.system) are not read "
            "here: remove it",
            id="tag",
        ),
        pytest.param(
            ("  fallback: {", "  <<: {"),
            "chat.yaml:24: spec: merge keys (<<) are not read here: write the fields out",
            id="merge key",
        ),
        pytest.param(
            ("  combine: highest", "\tcombine: highest"),
            "chat.yaml:21:1: indent with spaces: YAML allows no tab here",
            id="tab",
        ),
        pytest.param(
            ("actuation: none", "actuation: 'none"),
            "chat.yaml:6:14: the quote that opens here is never closed",
            id="open quote",
        ),
        pytest.param(
            ("actuation: none", "actuation: @none"),
            "chat.yaml:6:14: quote the value: '@' cannot start an unquoted one",
            id="reserved letter",
        ),
        pytest.param(
            ("gpus: 4", "gpus:"),
            "chat.yaml:8:17: put a space after the colon, or the value in quotes",
            id="colon without a space",
        ),
        pytest.param(
            ("actuation: none", "actuation: a: b"),
            "chat.yaml:6:15: a second colon: indent what belongs to the key, or put a value that "
            "holds ': ' in quotes",
            id="second colon",
        ),
        pytest.param(
            ("  actuation: none", "   actuation: none"),
            "chat.yaml:6:4: this line fits to nothing above it: check its indentation",
            id="wrong indentation",
        ),
        pytest.param(
            ("replicas: {min: 1, max: 12}", "replicas: {min: 1, max: 12"),
            "chat.yaml:7:13: the { that opens here is never closed, or a comma is missing in it",
            id="open brace",
        ),
        pytest.param(
            ("actuation: none", "actuation: \0"),
            "chat.yaml:6:14: the control character U+0000 has no place here: remove it",
            id="NUL",
        ),
    ],
)  # fmt: skip
def test_tells_file_line_field_rule_and_value(
    replacement: tuple[str, str], expected: str | list[str]
) -> None:
    found = problems_in({"chat.yaml": changed(replacement)})

    assert found == (expected if isinstance(expected, list) else [expected])


def test_the_file_of_the_table_is_in_order() -> None:
    assert problems_in({"chat.yaml": CHAT}) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("", "x.yaml: the file is empty", id="empty"),
        pytest.param("\n  \n", "x.yaml: the file is empty", id="blank"),
        pytest.param(
            "# nothing\n", "x.yaml: the file holds no document, only comments", id="comments"
        ),
        pytest.param(
            CHAT + "---\n",
            "x.yaml:25: the document is empty: remove it, or one line --- beside it",
            id="empty document at the end",
        ),
        pytest.param(
            "null\n",
            "x.yaml:1: a policy file should be a mapping (apiVersion, kind, ...), not null",
            id="null",
        ),
        pytest.param(
            "- a\n- b\n",
            "x.yaml:1: a policy file should be a mapping (apiVersion, kind, ...), not a list",
            id="list",
        ),
        pytest.param(
            "kind: a\n- b\n",
            "x.yaml:2:1: this line fits to nothing above it: check its indentation",
            id="several roots",
        ),
        pytest.param(
            CHAT.encode().replace(b"chat", b"ch\xe4t", 1),
            "x.yaml:3:20: the byte 0xe4 is not UTF-8: save the file as UTF-8",
            id="latin 1",
        ),
        pytest.param(
            CHAT.encode("utf-16"),
            "x.yaml:1:1: the byte 0xff is not UTF-8: save the file as UTF-8",
            id="utf-16",
        ),
        pytest.param(
            b"a: \xed\xa0\x80\n",
            "x.yaml:1:4: the byte 0xed is not UTF-8: save the file as UTF-8",
            id="half a surrogate pair",
        ),
        pytest.param(
            "a: " + "[" * 1000,
            f"x.yaml:1:{4 + DEEPEST - 1}: nested more than {DEEPEST} levels deep",
            id="deep flow",
        ),
        pytest.param(
            "".join(" " * depth + "a:\n" for depth in range(500)),
            f"x.yaml:{DEEPEST + 1}:{DEEPEST + 1}: nested more than {DEEPEST} levels deep",
            id="deep block",
        ),
        pytest.param(
            "[" + "1," * (MOST_NODES + 1) + "]",
            f"x.yaml:1:{2 * MOST_NODES}: a file should hold at most {MOST_NODES} keys and values: "
            "split it",
            id="very many values",
        ),
        pytest.param(
            b"a" * (10 * 1024 * 1024),
            "x.yaml: a policy file should be at most 4 MiB: split it",
            id="10 MB",
        ),
    ],
)
def test_tells_why_a_file_cannot_be_read(content: str | bytes, expected: str) -> None:
    assert problems_in({"x.yaml": content}) == [expected]


def test_an_anchor_bomb_costs_nothing() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
    )

    started = time.process_time()
    found = problems_in({"bomb.yaml": bomb})

    assert time.process_time() - started < 2
    assert found[:3] == [
        "bomb.yaml:1: metadata: is required",
        "bomb.yaml:1: spec: is required",
        "bomb.yaml:1: a0: no such field; allowed are: apiVersion, kind, metadata, spec",
    ]
    assert "bomb.yaml:2: a1[0]: aliases (*a0) are not read here: write the value out" in found
    assert found[-1] == "and 93 problems more"


def whole_json() -> str:
    fleet = read_fleet([Path("chat.yaml")]).fleet
    return json.dumps(fleet.workloads[0].model_dump(mode="json", by_alias=True), indent=1)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            '"max": 12\n', '"max": 12,\n',
            "x.json:20:13: JSON allows no comma before }: remove it",
            id="comma at the end",
        ),
        pytest.param(
            '"max": 12\n', '"max": 12 "min": 3\n',
            "x.json:20:14: a comma or } should stand here, not '\"'",
            id="no comma",
        ),
        pytest.param(
            '"max": 12\n', '"max": "12"\n',
            "x.json:20: spec.replicas.max: input should be a whole number, not '12': "
            "remove the quotes",
            id="number in quotes",
        ),
        pytest.param(
            '"max": 12\n', '"max": 12,\n"min": 3\n',
            "x.json:21: spec.replicas.min: this key is here twice; first in line 19",
            id="key twice",
        ),
        pytest.param(
            '"max": 12\n', '"max": NaN\n',
            "x.json:20:11: a JSON value should stand here, not 'NaN'",
            id="NaN",
        ),
        pytest.param(
            '"max": 12\n', '"max": 1e999\n',
            "x.json:20: spec.replicas.max: should be a finite number, not 1e999",
            id="infinity",
        ),
        pytest.param(
            '"max": 12\n', '"max": ' + "[" * 100_000 + "\n",
            "x.json:20:73: nested more than 64 levels deep",
            id="deep",
        ),
        pytest.param(
            '"Deployment"', '"Deployment',
            "x.json:13:12: the quote that opens here is not closed in its line",
            id="open quote",
        ),
        pytest.param(
            '"Deployment"', '"\\ud800"',
            "x.json:13:12: half of a surrogate pair is not text",
            id="half a surrogate pair",
        ),
    ],
)  # fmt: skip
def test_reads_json_to_the_letter(old: str, new: str, expected: str) -> None:
    Path("chat.yaml").write_text(CHAT)

    assert problems_in({"x.json": changed((old, new), text=whole_json())}) == [expected]


def test_tells_all_problems_of_all_files_in_order() -> None:
    found = problems_in(
        {
            "b.yaml": changed(
                ("min: 1, max: 12", "min: 5, max: 3"),
                ("gpus: 4", 'gpus: "4"'),
                ("combine: highest", "combine: loudest"),
                ("signal: ttft_p95", "signal: ttft_p99"),
            ),
            "a.yaml": changed(("actuation: none", "actuation: off"), ("slo:", "sla:")),
        }
    )

    assert found == [
        "b.yaml:7: spec.replicas: min should be at most max, not 5 > 3",
        "b.yaml:8: spec.replica.gpus: input should be a whole number, not '4': remove the quotes",
        (
            "b.yaml:20: spec.policies[1].signal: latency-guard uses the signal 'ttft_p99', which "
            "spec.signals does not define; did you mean 'ttft_p95'?; "
            "defined are: queue_length, ttft_p95"
        ),
        (
            "b.yaml:21: spec.combine: no combiner is called 'loudest'; "
            "installed are: first-live, highest, vote"
        ),
        "a.yaml:3: metadata.name: workload llm/chat is defined twice; first in b.yaml:3",
        (
            "a.yaml:6: spec.actuation: unquoted off is false to some YAML readers and not "
            'to others: write false or "off"'
        ),
        (
            "a.yaml:9: spec.sla: no such field; did you mean 'slo'?; allowed are: actuation, "
            "behavior, combine, fallback, match, policies, replica, replicas, signals, slo, "
            "source, target"
        ),
    ]


def test_two_workloads_may_not_scale_one_target() -> None:
    other = changed(("name: chat, namespace: llm", "name: other, namespace: llm"))

    assert problems_in({"a.yaml": CHAT, "b.yaml": other}) == [
        (
            "b.yaml:5: spec.target: Deployment llm/chat is already the target of llm/chat "
            "(a.yaml:5): two workloads would undo each other"
        )
    ]


def test_the_same_name_in_another_namespace_is_another_workload() -> None:
    other = changed(("name: chat, namespace: llm", "name: chat, namespace: web"))

    assert problems_in({"a.yaml": CHAT, "b.yaml": other}) == []


def test_what_is_not_there_is_told_with_the_rest() -> None:
    Path("empty").mkdir()

    found = problems_in({"a.yaml": "a: 1\n"}, "nowhere.yaml", "empty", "a.yaml")

    assert found == [
        "nowhere.yaml: cannot be read: no such file or directory",
        "empty: this folder holds no policy file (*.yaml, *.yml, *.json)",
        "a.yaml:1: metadata: is required",
        "a.yaml:1: spec: is required",
        "a.yaml:1: a: no such field; allowed are: apiVersion, kind, metadata, spec",
    ]


def test_an_error_is_one_line_whatever_the_file_says() -> None:
    nasty = changed(("combine: highest", 'combine: "a\\nb\\e[31m\\u2028' + "x" * 500 + '"'))

    (found,) = problems_in({"x.yaml": nasty})

    assert found.isprintable()
    assert len(found) < 300


def test_nobody_named_a_file() -> None:
    with pytest.raises(ConfigError, match=r"^no policy file was named$"):
        read_fleet([])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("x" * 5000, "file name too long", id="endless name"),
        pytest.param("a\0b", "embedded null byte", id="NUL in the name"),
        pytest.param("loop.yaml", "too many levels of symbolic links", id="link to itself"),
    ],
)
def test_a_path_that_leads_nowhere_is_told(name: str, reason: str) -> None:
    Path("loop.yaml").symlink_to("loop.yaml")

    (found,) = problems_in({}, name)

    assert found.endswith(f": cannot be read: {reason}")
    assert found.isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "x.json: the file is empty"),
        ("{", "x.json:1:1: the { that opens here is never closed"),
        ('{"a": [', "x.json:1:7: the [ that opens here is never closed"),
        ('{"a": 1', "x.json:1:1: the { that opens here is never closed"),
        ('{"a" 1}', "x.json:1:6: a colon should follow the key"),
        ("{'a': 1}", 'x.json:1:2: a key in double quotes should stand here, not "\'"'),
        ('{"a":', "x.json:1:6: a JSON value should stand here, not the end of the file"),
        ('{"a": 01}', "x.json:1:7: a JSON value should stand here, not '01'"),
        ('{"a": +1}', "x.json:1:7: a JSON value should stand here, not '+1'"),
        ('{"a": .5}', "x.json:1:7: a JSON value should stand here, not '.5'"),
        ('{"a": True}', "x.json:1:7: a JSON value should stand here, not 'True'"),
        ('{"a": "\\q"}', "x.json:1:7: not JSON: invalid \\escape"),
        ('{"a": "b', "x.json:1:7: the quote that opens here is never closed"),
        ("{} {}", "x.json:1:4: nothing should follow the closing brace"),
        ("[]", "x.json:1: a policy file should be a mapping (apiVersion, kind, ...), not a list"),
        ("\n\n  nope", "x.json:3:3: a JSON value should stand here, not 'nope'"),
    ],
)
def test_json_that_is_none(text: str, expected: str) -> None:
    assert problems_in({"x.json": text}) == [expected]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            ("  match: {model_name: chat}\n"), "  ? [a]\n  : b\n",
            "a.yaml:10: spec: a key should be text, not a list or a mapping",
            id="key that is a list",
        ),
        pytest.param(
            "model_name: chat", "7: chat",
            'a.yaml:10: spec.match: a key should be text, not 7: write "7"',
            id="key that is a number",
        ),
        pytest.param(
            "type: queue-drain", "type: no",
            "a.yaml:19: spec.policies[0].type: unquoted no is false to some YAML readers and not "
            'to others: write false or "no"',
            id="type that is ambiguous",
        ),
        pytest.param(
            "signal: ttft_p95}", "signal: ttft_p95}\n    - 0x1F",
            "a.yaml:21: spec.policies[2]: unquoted 0x1F is 31 to some YAML readers and not to "
            'others: write 31 or "0x1F"',
            id="policy that is ambiguous",
        ),
        pytest.param(
            "apiVersion: inference-autoscaler.dev/v1alpha1", "apiVersion: v2",
            "a.yaml:1: apiVersion: input should be 'inference-autoscaler.dev/v1alpha1', not 'v2'",
            id="another version",
        ),
        pytest.param(
            "labels) (vllm:num_requests_waiting{$match})", "labels) (a{$match}",
            "a.yaml:14: spec.signals.queue_length.query: the ( at character 18 is never closed",
            id="query",
        ),
    ],
)  # fmt: skip
def test_tells_the_rarer_mistakes(old: str, new: str, expected: str) -> None:
    assert problems_in({"a.yaml": changed((old, new))}) == [expected]


@pytest.mark.parametrize(
    "policies", ["[]", "{}", "queue-drain", "null", "3"], ids=lambda text: f"policies {text}"
)
def test_a_list_of_policies_is_needed(policies: str) -> None:
    head, _, rest = CHAT.partition("  policies:\n")
    tail = rest.partition("  combine")[2]

    found = problems_in({"a.yaml": f"{head}  policies: {policies}\n  combine{tail}"})

    rule = (
        "should have at least 1 entry"
        if policies == "[]"
        else "input should be a list, not "
        + {"{}": "a mapping", "queue-drain": "'queue-drain'"}.get(policies, policies)
    )
    assert found == [f"a.yaml:18: spec.policies: {rule}"]


def test_signals_that_are_no_mapping_are_told_once() -> None:
    head, _, rest = CHAT.partition("  signals:\n")
    tail = rest.partition("  policies")[2]

    assert problems_in({"a.yaml": f"{head}  signals: [a]\n  policies{tail}"}) == [
        "a.yaml:11: spec.signals: input should be a mapping, not a list"
    ]


def test_an_unknown_field_inside_a_list_knows_what_is_allowed() -> None:
    text = changed(
        ("stabilizationWindowSeconds: 600", "policies: [{type: Pods, value: 1, seconds: 60}]")
    )

    assert problems_in({"a.yaml": text}) == [
        "a.yaml:23: spec.behavior.scaleDown.policies[0].periodSeconds: is required",
        (
            "a.yaml:23: spec.behavior.scaleDown.policies[0].seconds: no such field; did you mean "
            "'periodSeconds'?; allowed are: periodSeconds, type, value"
        ),
    ]
