"""The simulator's README says what the code does."""

import re
from pathlib import Path

import simulations
from simulations.arrivals import Traffic
from simulations.measurements import CATALOGUE
from simulations.profiles import profiles

README = (Path(simulations.__file__).parent / "README.md").read_text(encoding="utf-8")


def test_the_table_of_measurements_is_the_catalogue() -> None:
    table = README.partition("| measurement |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", table, re.MULTILINE)

    assert rows == [(name, one.unit, one.text) for name, one in CATALOGUE.items()]


def test_the_synthetic_hour_is_described_as_it_is() -> None:
    hour = Traffic()

    assert f"{hour.requests_per_second:g} requests/s on average" in README
    assert f"swing of\n{hour.swing:.0%}".replace("%", " %") in README
    assert (hour.burst_factor, hour.burst_seconds, hour.burst_from) == (3, 10 * 60, 25 * 60)
    assert f"index of dispersion of {hour.dispersion:g}" in README
    assert f"median of {hour.prompt.p50:,} and a 95th percentile of {hour.prompt.p95:,}" in README
    assert f"answers {hour.output.p50} and {hour.output.p95}" in README


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
