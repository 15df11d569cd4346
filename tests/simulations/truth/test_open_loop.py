import pytest

from simulations.truth.open_loop import PROFILES, rows
from simulations.truth.rows import Row
from tests.simulations.truth.tables import DATA, needs_data


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], Row]:
    return {(row.basis, row.figure): row for row in rows(DATA)}


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("figure", "most"),
    [
        pytest.param("TTFT mean, s", 14.0, id="TTFT"),
        pytest.param("TTFT p99, s", 11.0, id="TTFT p99"),
        pytest.param("ITL mean, s", 5.5, id="ITL"),
        pytest.param("ITL p99, s", 4.0, id="ITL p99"),
        pytest.param("E2E mean, s", 8.0, id="E2E"),
        pytest.param("E2E p90, s", 8.5, id="E2E p90"),
        pytest.param("E2E p99, s", 8.0, id="E2E p99"),
        pytest.param("ITL of each request", 6.0, id="ITL of each request"),
        pytest.param("E2E of each request", 8.0, id="E2E of each request"),
    ],
)
def test_a_profile_of_layer_times_is_a_little_too_fast(
    found: dict[tuple[str, str], Row], figure: str, most: float
) -> None:
    row = found[PROFILES[0], figure]

    assert abs(row.error) <= most
    assert row.points == 300


@needs_data
@pytest.mark.slow
def test_a_profile_of_operator_times_is_further_off(found: dict[tuple[str, str], Row]) -> None:
    layers, operators = (found[name, "E2E mean, s"].error for name in PROFILES)

    assert -16 <= operators < layers < 0
