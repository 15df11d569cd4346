"""The simulator's README says what the code does."""

import re
from pathlib import Path

import simulations
from simulations.arrivals import DAY, WEEKDAY, synthetic_day
from simulations.layouts import CSV_LAYOUTS, MOONCAKE, MOST_REQUESTS
from simulations.lengths import (
    CONVERSATION_OUTPUTS,
    CONVERSATION_PROMPTS,
    OUTPUT_VARIATION,
    PROMPT_VARIATION,
)
from simulations.measurements import CATALOGUE
from simulations.profiles import profiles
from simulations.rates import COLUMNS, MOST_IN_ALL

LAWS = (CONVERSATION_PROMPTS, CONVERSATION_OUTPUTS)
README = (Path(simulations.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_the_table_of_measurements_is_the_catalogue() -> None:
    table = README.partition("| measurement |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", table, re.MULTILINE)

    assert rows == [(name, one.unit, one.text) for name, one in CATALOGUE.items()]


def test_the_synthetic_day_is_described_as_it_is() -> None:
    prompts, outputs = (dict(zip(law.shares, law.tokens, strict=True)) for law in LAWS)

    assert (DAY.prompt, DAY.output) == LAWS
    assert f"{len(synthetic_day()):,} requests, {DAY.requests_per_second:g} requests/s" in README
    assert f"median of {prompts[0.5]:,} and a 95th percentile of {prompts[0.95]:,}" in README
    assert f"answers {outputs[0.5]} and {outputs[0.95]}" in README
    assert f"index of dispersion of {DAY.dispersion:g}" in README
    assert f"{WEEKDAY[8]} and {WEEKDAY[14]} times the week's mean, and {WEEKDAY[22]} at" in README
    assert max(WEEKDAY[:10]) == WEEKDAY[8]
    assert (max(WEEKDAY), min(WEEKDAY)) == (WEEKDAY[14], WEEKDAY[22])
    assert DAY.burst_from == 18.5 * 3600
    rise, stay, fall = (
        seconds / 60
        for seconds in (DAY.burst_rise_seconds, DAY.burst_seconds, DAY.burst_fall_seconds)
    )
    assert (
        f"from 18:30 the load grows to {DAY.burst_factor:g} times within {rise:g} minutes, stays "
        f"for {stay:g}, and fades in {fall:g}" in README
    )


def test_the_layouts_of_traces_are_those_that_are_read() -> None:
    table = README.partition("| layout |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (.+?) \| (`.+?`) \|", table, re.MULTILINE)

    found = {name: tuple(re.findall(r"`([^`]+)`", columns)) for name, columns in rows}

    assert set(found.values()) == {*(one.names for one in (*CSV_LAYOUTS, MOONCAKE)), COLUMNS}
    assert f"{MOST_REQUESTS:,} of them" in README
    assert f"more than {MOST_IN_ALL:,} requests" in README
    assert f"{PROMPT_VARIATION:.2f} and {OUTPUT_VARIATION:.2f}" in README


def test_profiles_are_counted_and_those_named_exist() -> None:
    named = set(re.findall(r"`(\w[\w.-]*/\w+/tp\d/[\w/]+)`", README))

    assert f"All {len(profiles())} stand" in README
    assert named
    assert named <= set(profiles())


def test_the_python_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}

    exec(compile(example, "README.md", "exec"), names)

    assert names["result"]
