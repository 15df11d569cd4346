from pathlib import Path

import numpy as np
import pytest

from simulations.truth.__main__ import main
from simulations.truth.rows import as_table, many, one
from tests.simulations.truth.tables import tiny_tables


@pytest.mark.slow
def test_the_command_prints_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tiny_tables(tmp_path)

    code = main(["--data", str(data), "--requests", "100", "--plain-requests", "100"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[0].split()[:4] == ["check", "basis", "figure", "points"]
    checks = ("steps, operators", "steps, layers", "open loop", "closed loop, measured")
    for check in (*checks, "closed loop, operators", "another engine", "Erlang C", "fast pool"):
        assert any(line.startswith(check) for line in lines), check


def test_without_the_tables_it_says_which_one_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--data", str(tmp_path)])

    told = capsys.readouterr().err.splitlines()[-1]
    assert code == 2
    assert told == f"{tmp_path}/step_times_aic.csv: cannot be read: no such file or directory"


def test_a_table_without_its_columns_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tiny_tables(tmp_path) / "step_times_aic.csv"
    table.write_text("model,gpu,tp,precision,prefill_tokens,prefill_seqs\n", encoding="utf-8")

    code = main(["--data", str(tmp_path)])

    told = capsys.readouterr().err.splitlines()[-1]
    missing = "prefill_ctx, decode_seqs, decode_ctx, latency_ms"
    assert code == 2
    assert told == f"{table}:1: columns are missing: {missing}"


def test_an_error_has_its_sign_and_errors_have_a_mean_and_a_bias() -> None:
    single = one("check", "basis", "wait, s", 10, 2.0, 1.9, spread=0.2)
    several = many("check", "basis", "steps", np.array([1.0, 2.0]), np.array([1.1, 1.9]))

    assert [line.split() for line in as_table([single, several])[1:]] == [
        ["check", "basis", "wait,", "s", "10", "2", "1.9", "-5.0", "10.0"],
        ["check", "basis", "steps", "2", "7.5", "+2.5"],
    ]
