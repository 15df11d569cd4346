"""Files that cannot be read, and problems that span files, with every message whole."""

import json
import time
from pathlib import Path

import pytest

from autoscaler.config import read_fleet
from autoscaler.config.yaml_source import DEEPEST, MOST_NODES
from autoscaler.core.errors import ConfigError
from tests.config.texts import CHAT, changed, problems_in


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
