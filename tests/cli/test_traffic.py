"""Which part of a trace is replayed, how much of it, and when it begins."""

from pathlib import Path

import pytest
import typer

from autoscaler.cli.traffic import _positive, _seconds, read_traffic, start_of
from autoscaler.core.errors import ConfigError
from simulations.replay import START

RATES = "t_s,requests\n0,60\n60,120\n120,60\n"
AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 18:17:03.9799600,100,10\n"
    "2023-11-16 18:17:04.0319600,100,10\n"
)


def test_a_part_of_a_rate_is_drawn_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(RATES)

    traffic = read_traffic(path, seed=1, scale=0.5, begin=60, end=120, quiet=False)

    assert 30 < len(traffic) < 90
    assert float(traffic.arrivals.max()) < 60
    assert "bins of 60 s" in capsys.readouterr().err


def test_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(RATES)

    first, second, other = (
        read_traffic(path, seed=seed, scale=1, begin=0, end=None, quiet=True).arrivals.tolist()
        for seed in (1, 1, 2)
    )

    assert first == second != other


def test_a_part_that_ends_before_it_begins_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as failure:
        read_traffic(tmp_path / "x.csv", seed=0, scale=1, begin=60, end=60, quiet=True)

    assert str(failure.value) == "--to: should be after --from (60), not 60"


def test_a_replay_begins_as_asked_or_as_the_trace_says_or_on_a_monday(tmp_path: Path) -> None:
    dated, bare = tmp_path / "azure.csv", tmp_path / "rates.csv"
    dated.write_text(AZURE)
    bare.write_text(RATES)

    def traffic(path: Path) -> object:
        return read_traffic(path, seed=0, scale=1, begin=0, end=None, quiet=True)

    assert start_of("2026-01-01T00:00:00Z", traffic(dated)) == 1767225600  # type: ignore[arg-type]
    assert start_of(None, traffic(dated)) == pytest.approx(1700158623.98)  # type: ignore[arg-type]
    assert start_of(None, traffic(bare)) == START  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_is_above_zero(value: float) -> None:
    with pytest.raises(typer.BadParameter, match="should be a number above 0"):
        _positive(value)


def test_times_are_finite() -> None:
    assert _seconds(None) is None
    assert (_seconds(5.0), _positive(2.0)) == (5.0, 2.0)
    with pytest.raises(typer.BadParameter, match="should be a finite number of seconds"):
        _seconds(float("inf"))
