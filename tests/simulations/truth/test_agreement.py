import pytest

from simulations.fast.compile import can_compile
from simulations.truth.agreement import rows


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param(150, id="few"),
        pytest.param(
            20_000,
            id="many",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not can_compile(), reason="numba is not installed"),
            ],
        ),
    ],
)
def test_the_fast_pool_does_what_the_plain_one_does(requests: int) -> None:
    found = rows(requests)

    for row in found:
        binned = "fine buckets" in row.figure
        assert abs(row.error) <= (1.6 if binned else 1e-6), row
    assert {row.figure for row in found} >= {"steps", "last token of each request"}
    assert any(row.figure == "preemptions" for row in found) == (requests == 20_000)
