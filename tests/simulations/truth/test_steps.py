import csv

import pytest

from simulations.profiles import PROFILES_FILE, profiles
from simulations.truth.rows import Row
from simulations.truth.steps import errors, layer_steps, operator_steps, rows
from tests.simulations.truth.tables import DATA, needs_data


def fitted() -> dict[str, float]:
    """The error that each profile says of its own fit, by name."""
    with PROFILES_FILE.open(encoding="utf-8", newline="") as file:
        return {
            row["profile"]: float(row["fit_mape_pct"])
            for row in csv.DictReader(file)
            if row["source"] == "aic-step-fit"
        }


@pytest.fixture(scope="module")
def medians() -> dict[str, Row]:
    return {row.basis: row for row in rows(DATA) if row.check == "steps, operators"}


@needs_data
def test_every_profile_of_operator_times_is_as_near_as_it_says() -> None:
    found = {
        name: errors("steps", profiles()[name], steps)
        for name, steps in operator_steps(DATA).items()
    }

    assert {name: round(row.error, 1) for name, row in found.items()} == fitted()
    assert {row.points for row in found.values()} == {229}


@needs_data
@pytest.mark.parametrize(
    ("basis", "most", "bias"),
    [
        pytest.param("median of 29: all profiles", 5.0, 0.5, id="all"),
        pytest.param("median of 16: bfloat16 profiles", 4.0, 0.4, id="bfloat16"),
        pytest.param("median of 13: fp8 profiles", 6.6, 1.0, id="fp8"),
        pytest.param("median of 29: steps of decodes", 4.0, 1.0, id="decodes"),
        pytest.param("median of 29: steps of prompts", 6.8, 1.5, id="prompts"),
        pytest.param("median of 29: steps of prompts and decodes", 4.5, 2.0, id="mixed"),
    ],
)
def test_the_median_error_of_operator_steps_is_small(
    medians: dict[str, Row], basis: str, most: float, bias: float
) -> None:
    row = medians[basis]

    assert row.error <= most
    assert row.bias is not None
    assert abs(row.bias) <= bias


@needs_data
@pytest.mark.parametrize(
    ("name", "most"),
    [
        pytest.param("llama-3.1-8b/rtx_pro_6000_server/tp1/bfloat16/llmservingsim", 4.8, id="8B"),
        pytest.param("llama-3.1-8b/rtx_4090/tp1/bfloat16/llmservingsim", 6.5, id="8B, 4090"),
        pytest.param("qwen3-32b/rtx_pro_6000_server/tp2/bfloat16/llmservingsim", 4.0, id="32B"),
    ],
)
def test_steps_summed_from_layer_times_are_reproduced(name: str, most: float) -> None:
    row = errors("steps", profiles()[name], layer_steps(DATA)[name])

    assert row.error <= most
    assert row.points > 3000
