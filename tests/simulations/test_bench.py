"""The benchmark runs, and prints what it says it prints."""

import pytest

from simulations import bench


@pytest.mark.slow
def test_prints_a_row_for_every_load_and_size(capsys: pytest.CaptureFixture[str]) -> None:
    bench.main([
        "--requests", "300", "--plain-requests", "20", "--tries", "1", "--decide-seconds", "60",
    ])  # fmt: skip

    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.startswith(("conversation", "code"))]
    assert [(name, replicas) for name, replicas, *_ in rows] == [
        (name, replicas) for name in ("conversation", "code") for replicas in ("1", "16", "128")
    ]
    assert all(int(rate.replace(",", "")) > 0 for row in rows for rate in row[3:8])
    words = ("a day of 900", "decisions:", "autoscaler --help:", "autoscaler check:", "peak memory")
    assert [word for word in words if not any(line.startswith(word) for line in lines)] == []


def test_several_days_are_one_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "DAY", 900.0)

    bench.main(["--days", "2", "--day-requests", "40"])

    row, memory = capsys.readouterr().out.splitlines()[-2:]
    assert row.startswith("2 days of 80 conversation requests under vllm-queue-latency.yaml")
    assert "; 120 cycles, " in row
    assert memory.startswith("peak memory")
