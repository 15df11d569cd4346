"""Serving profiles: the law by its formula, the names, and what a bad name gets."""

import csv
from pathlib import Path

import pytest

from autoscaler.core.errors import ConfigError
from autoscaler.core.spec import Replica
from simulations.profiles import PROFILES_FILE, profile_of, profiles
from tests.simulations.builders import a_profile

NAME = "llama-3.1-70b/h100/tp4/fp8"
SOURCE = Path(__file__).parents[3] / "shared" / "serving-data" / "profiles.csv"


def test_every_profile_has_its_place_in_the_name() -> None:
    with PROFILES_FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert len(profiles()) == len(rows) == 43
    for row in rows:
        name = f"{row['model']}/{row['gpu']}/tp{row['tp']}/{row['precision']}"
        assert row["profile"] == name or row["profile"].startswith(f"{name}/")
        assert not row["gpu"].endswith("_sxm")


@pytest.mark.skipif(not SOURCE.is_file(), reason="the fits are not part of the project")
def test_the_numbers_are_those_of_the_fits() -> None:
    names = ["profile", "model", "gpu", "context_tokens"]
    with PROFILES_FILE.open(newline="") as ours, SOURCE.open(newline="") as fits:
        for row, fit in zip(csv.DictReader(ours), csv.DictReader(fits), strict=True):
            kept = {name: value for name, value in row.items() if name not in names}
            assert kept == {name: value for name, value in fit.items() if name not in names}


@pytest.mark.parametrize(
    ("prompt", "decoding", "kv", "attended", "expected_ms"),
    [
        pytest.param(0, 0, 0, 0.0, 10.0, id="an empty step costs a"),
        pytest.param(0, 5, 1000, 0.0, 10 + 5 * 0.02 + 1000 * 30e-6, id="decodes read KV at d"),
        pytest.param(0, 30, 0, 0.0, 10 + 10 * 0.05 + 30 * 0.02, id="decodes beyond n0 cost b too"),
        pytest.param(
            50, 5, 1000, 1250.0, 10 + 35 * 0.05 + 5 * 0.02 + 1000 * 90e-6 + 1250 * 4e-6, id="mixed"
        ),
        pytest.param(20, 0, 0, 200.0, 10 + 200 * 4e-6, id="n0 tokens are free"),
    ],
)
def test_the_law(prompt: int, decoding: int, kv: int, attended: float, expected_ms: float) -> None:
    profile = a_profile(
        step_seconds=10e-3,
        token_seconds=50e-6,
        free_tokens=20,
        sequence_seconds=20e-6,
        kv_token_seconds=30e-9,
        kv_token_seconds_mixed=90e-9,
        attended_seconds=4e-9,
    )

    seconds = profile.seconds(prompt, decoding, kv, attended)

    assert seconds * 1e3 == pytest.approx(expected_ms, rel=1e-12)


def test_units_are_read_as_the_columns_say() -> None:
    profile = profiles()["llama-3.1-70b/h100/tp4/fp8/measured"]

    assert profile.step_seconds == pytest.approx(11.149e-3)
    assert profile.token_seconds == pytest.approx(50.8e-6)
    assert profile.free_tokens == 0
    assert profile.sequence_seconds == pytest.approx(57.02e-6)
    assert profile.kv_token_seconds == pytest.approx(23.7e-9)
    assert profile.kv_token_seconds_mixed == pytest.approx(23.7e-9)
    assert profile.attended_seconds == pytest.approx(0.815e-9)
    assert (profile.kv_tokens, profile.max_sequences, profile.step_tokens) == (687_000, 256, 8192)
    assert profile.overhead_seconds == pytest.approx(9.9e-3)
    assert profile.gpus == 4


@pytest.mark.parametrize(
    ("model", "tokens"),
    [("llama-3.1-8b", 131_072), ("llama-3.1-70b", 131_072), ("qwen3-32b", 40_960)],
)
def test_every_profile_knows_the_context_of_its_model(model: str, tokens: int) -> None:
    found = {one.context_tokens for name, one in profiles().items() if name.split("/")[0] == model}

    assert found == {tokens}


@pytest.mark.parametrize(
    ("context", "longest"),
    [
        pytest.param(None, 1001, id="not known: the KV cache alone, the last token is not kept"),
        pytest.param(500, 500, id="a context shorter than the cache"),
        pytest.param(1000, 1000, id="a context as long as the cache"),
        pytest.param(5000, 1001, id="a context longer than the cache"),
    ],
)
def test_a_request_fits_the_cache_and_the_context(context: int | None, longest: int) -> None:
    profile = a_profile(kv_tokens=1000, context_tokens=context)

    assert profile.longest_request == longest
    assert profile.can_hold(longest - 1, 1)
    assert profile.can_hold(1, longest - 1)
    assert not profile.can_hold(longest, 1)
    assert not profile.can_hold(1, longest)


def test_a_policy_file_names_its_profile() -> None:
    assert profile_of(Replica(gpus=4, profile=NAME)).name == NAME


@pytest.mark.parametrize(
    ("replica", "message"),
    [
        pytest.param(
            Replica(),
            "spec.replica.profile: is needed to simulate, such as llama-3.1-70b/h100/tp4/fp8",
            id="none",
        ),
        pytest.param(
            Replica(gpus=4, profile="llama-3.1-70b/h100/tp4/fp9"),
            "spec.replica.profile: no profile is called 'llama-3.1-70b/h100/tp4/fp9'; close ones "
            "are: llama-3.1-70b/h100/tp4/fp8, llama-3.1-70b/h200/tp4/fp8, "
            "llama-3.1-70b/h100/tp8/fp8, llama-3.1-70b/h100/tp2/fp8, llama-3.1-70b/h200/tp8/fp8 "
            "(43 exist: see simulations/profiles.csv)",
            id="a slip",
        ),
        pytest.param(
            Replica(profile="?"),
            "spec.replica.profile: no profile is called '?'; close ones are: "
            "llama-3.1-70b/a100/tp4/bfloat16, llama-3.1-70b/a100/tp8/bfloat16, "
            "llama-3.1-70b/b200/tp1/fp8, llama-3.1-70b/b200/tp1/fp8/measured, "
            "llama-3.1-70b/b200/tp2/fp8 (43 exist: see simulations/profiles.csv)",
            id="nothing like one",
        ),
        pytest.param(
            Replica(gpus=1, profile=NAME),
            f"spec.replica.gpus: should be 4, as profile {NAME} says, not 1",
            id="GPUs that do not fit",
        ),
    ],
)
def test_a_profile_that_cannot_be_had_is_an_error(replica: Replica, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        profile_of(replica)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"kv_tokens": 0}, "every limit should be at least 1", id="no cache"),
        pytest.param({"context_tokens": 0}, "every limit should be at least 1", id="no context"),
        pytest.param(
            {"max_sequences": 101},
            "max_sequences should be at most step_tokens, not 101 > 100",
            id="more decodes than tokens",
        ),
    ],
)
def test_limits_that_leave_no_room_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        a_profile(**changes)
