"""The capacity law: monotone, and near the rate at which the simulator just keeps the objective."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.spec import Slo
from simulations.arrivals import Lengths, Traffic, synthesize
from simulations.capacity import Capacity, Shape
from simulations.profiles import profiles
from simulations.run import Schedule, Settings, follow
from tests.simulations.builders import a_workload

CONVERSATION = Shape(1154.7, 211.1, 0.92, 0.60)
CODE = Shape(2047.8, 27.9, 0.93, 4.6)


def capacity(profile: str = "llama-3.1-70b/h100/tp4/fp8", shape: Shape = CONVERSATION) -> Capacity:
    return Capacity(profiles()[profile], shape)


@pytest.mark.parametrize(
    ("profile", "shape", "limits", "expected"),
    [
        pytest.param("llama-3.1-8b/h100/tp1/bfloat16", CONVERSATION, (0.5, 0.05), 22.2, id="tight"),
        pytest.param("llama-3.1-8b/h100/tp1/bfloat16", CONVERSATION, (2.0, 0.1), 22.6, id="loose"),
        pytest.param("llama-3.1-8b/h100/tp1/bfloat16", CODE, (0.5, 0.05), 13.8, id="long prompts"),
        pytest.param("llama-3.1-8b/a100/tp1/bfloat16", CONVERSATION, (0.5, 0.05), 5.3, id="slower"),
        pytest.param("llama-3.1-70b/a100/tp4/bfloat16", CODE, (1.0, 0.06), 0.0, id="out of reach"),
    ],
)
def test_the_rate_is_the_published_one(
    profile: str, shape: Shape, limits: tuple[float, float], expected: float
) -> None:
    """Requests per second of one replica, worked out elsewhere by the same law."""
    slo = Slo(ttft_p95_seconds=limits[0], itl_p95_seconds=limits[1])

    assert capacity(profile, shape).rate(slo) == pytest.approx(expected, abs=0.06)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("profile", "ttft", "itl"),
    [
        ("llama-3.1-70b/a100/tp4/bfloat16", 2.0, 0.1),
        ("llama-3.1-70b/h100/tp4/fp8", 1.0, 0.06),
        ("llama-3.1-8b/l40s/tp1/bfloat16", 2.0, 0.1),
    ],
)
def test_the_simulator_keeps_the_objective_below_the_rate_and_fails_it_well_above(
    profile: str, ttft: float, itl: float
) -> None:
    """Poisson arrivals at one replica, log-normal lengths, 20 minutes."""
    slo = Slo(ttft_p95_seconds=ttft, itl_p95_seconds=itl)
    prompt, output = Lengths(1000, 3400, 16_000), Lengths(150, 450, 2_000)
    gpus = profiles()[profile].gpus
    workload = a_workload(profile=profile, slo=slo, gpus=gpus)
    sample = synthesize(
        Traffic(requests_per_second=5, prompt=prompt, output=output), np.random.default_rng(1)
    )
    shape = Shape.of(sample.prompt_tokens, sample.output_tokens)
    rate = capacity(profile, shape).rate(slo)

    def attained(factor: float) -> float:
        traffic = Traffic(
            seconds=1200,
            requests_per_second=rate * factor,
            swing=0.0,
            burst_factor=1.0,
            dispersion=1.0,
            prompt=prompt,
            output=output,
        )
        trace = synthesize(traffic, np.random.default_rng(7))
        return follow(trace, workload, Settings(), Schedule.constant(1)).score.attainment

    assert attained(0.8) >= 0.95
    assert attained(1.3) < 0.95


@given(
    st.floats(1, 20_000),
    st.floats(1, 4_000),
    st.floats(0, 5),
    st.floats(0, 5),
    st.sampled_from(sorted(profiles())),
)
def test_more_load_is_never_faster(
    prompt: float, output: float, prompts_vary: float, outputs_vary: float, profile: str
) -> None:
    law = capacity(profile, Shape(prompt, output, prompts_vary, outputs_vary))

    found = [law.latency(law.throughput * share) for share in (0.05, 0.3, 0.6, 0.9)]
    known = [latency for latency in found if latency is not None]

    assert found[: len(known)] == known  # once too much, always too much
    for lower, higher in itertools.pairwise(known):
        assert lower.itl <= higher.itl * (1 + 1e-9)
        assert lower.ttft <= higher.ttft * (1 + 1e-9)


@given(st.floats(0.01, 10), st.floats(0.001, 1))
def test_a_looser_objective_allows_at_least_as_much(ttft: float, itl: float) -> None:
    law = capacity()
    tight = law.rate(Slo(ttft_p95_seconds=ttft, itl_p95_seconds=itl))

    assert tight <= law.rate(Slo(ttft_p95_seconds=2 * ttft, itl_p95_seconds=2 * itl)) + 1e-9
    assert tight <= law.throughput


def test_without_limits_the_throughput_bounds_the_rate() -> None:
    law = capacity()

    assert 0.9 * law.throughput < law.rate(Slo()) <= law.throughput


def test_no_request_has_no_shape() -> None:
    with pytest.raises(ValueError, match="no request has a shape"):
        Shape.of(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
