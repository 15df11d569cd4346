"""A table of policy files with a wrong field, with every message whole."""

import pytest

from autoscaler.plugins import policy_types
from tests.config.texts import CHAT, changed, problems_in

INSTALLED = ", ".join(policy_types())


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
            "chat.yaml:2: kind: input should be 'ScaledWorkload' or 'NodePool', not 'Deployment'",
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


def test_a_name_of_control_characters_stays_in_one_line() -> None:
    text = changed(("queue-drain, signal: queue_length", 'queue-drain, signal: "a\\nb"'))

    assert problems_in({"a.yaml": text}) == [
        (
            "a.yaml:19: spec.policies[0].signal: queue-drain uses the signal 'a\\nb', which "
            "spec.signals does not define; defined are: queue_length, ttft_p95"
        )
    ]


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
