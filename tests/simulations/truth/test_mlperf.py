import pytest

from simulations.profiles import profiles
from simulations.truth.mlperf import rows, throughput
from tests.simulations.builders import a_profile
from tests.simulations.truth.tables import DATA, needs_data, needs_numba


def test_a_full_batch_writes_a_token_for_each_seat_and_step() -> None:
    profile = a_profile(max_sequences=8, step_tokens=4096, kv_tokens=100_000)

    assert throughput(profile, mean=50.0, requests=400) == pytest.approx(8 / 0.010, rel=0.03)


@needs_data
@needs_numba
@pytest.mark.slow
def test_tuned_submissions_are_faster_than_any_profile_and_not_three_times() -> None:
    found = rows(DATA)

    assert len(found) == 6
    for row in found:
        assert -63 <= row.error <= -20
        assert profiles()[row.basis.split(",")[0]].gpus <= 4
