"""Unquoted values: what they mean, and which are refused with what to write instead."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.config.scalars import AmbiguousError, read_plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("NULL", None),
        ("true", True), ("False", False), ("TRUE", True),
        ("0", 0), ("-7", -7), ("+7", 7), ("12", 12), ("3.0", 3), ("1e3", 1000), ("2.5", 2.5),
        (".5", 0.5), ("-1.5e-3", -0.0015),
        ("none", "none"), ("nOn", "nOn"), ("yEs", "yEs"), ("2026-01-05", "2026-01-05"),
        ("1.2.3", "1.2.3"), ("10.0.0.1/8", "10.0.0.1/8"), ("-", "-"), ("100m", "100m"),
        ("sum(up)", "sum(up)"), ("=", "="), ("1:90", "1:90"), ("0x", "0x"), ("e5", "e5"),
    ],
)  # fmt: skip
def test_reads_what_all_readers_agree_about(text: str, value: object) -> None:
    read = read_plain(text)

    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("no", "false"), ("No", "false"), ("NO", "false"), ("n", "false"), ("off", "false"),
        ("yes", "true"), ("y", "true"), ("Y", "true"), ("On", "true"),
        ("1:30", "90"), ("-1:30", "-90"), ("1:30:00", "5400"), ("1:30.5", "90.5"),
        ("08:30", "510"), ("0644", "420"), ("-012", "-10"), ("0899", "899"), ("0o644", "420"),
        ("0x1F", "31"), ("0b101", "5"), ("1_000", "1000"), ("1_000.5", "1000.5"), ("0_7", "7"),
    ],
)  # fmt: skip
def test_refuses_what_readers_disagree_about(text: str, meaning: str) -> None:
    with pytest.raises(AmbiguousError) as refused:
        read_plain(text)

    assert str(refused.value) == (
        f"unquoted {text} is {meaning} to some YAML readers and not to others: "
        f'write {meaning} or "{text}"'
    )


@pytest.mark.parametrize("text", [".inf", "-.INF", ".NaN", "1e999", "-1e999"])
def test_refuses_numbers_that_are_not_finite(text: str) -> None:
    with pytest.raises(AmbiguousError, match="should be a finite number, not "):
        read_plain(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("9" * 19, id="19 digits"),
        pytest.param("9" * 5000, id="5000 digits"),
        pytest.param("0" + "7" * 9000, id="endless octal"),
        pytest.param("0x" + "f" * 9000, id="endless hexadecimal"),
        pytest.param("1" + ":1" * 999, id="endless sexagesimal"),
    ],
)
def test_endless_numbers_are_refused_and_never_converted(text: str) -> None:
    with pytest.raises(AmbiguousError) as refused:
        read_plain(text)

    assert len(str(refused.value)) < 300


@given(st.text(st.sampled_from("0123456789.:_-+eExobnyNYaflrusEt~"), max_size=8))
def test_whatever_is_accepted_means_the_same_to_yaml_1_1(text: str) -> None:
    """Against PyYAML's resolver, whose traps are the known ones."""
    try:
        value = read_plain(text)
    except AmbiguousError:
        return
    loader: Any = yaml.SafeLoader("")
    kind = loader.resolve(yaml.ScalarNode, text, (True, False)).rpartition(":")[2]

    if value is None:
        assert kind == "null"
    elif isinstance(value, bool):
        assert kind == "bool"
    elif isinstance(value, str):
        assert kind in {"str", "timestamp"}
    else:
        assert kind in {"int", "float", "str"}  # it takes 1e3 for text
        assert kind == "str" or value == yaml.safe_load(text)
