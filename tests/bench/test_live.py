"""The benchmark runs, and measures what it says: every workload seen, some changed, few queries."""

import numpy as np
import orjson
import pytest

from autoscaler.adapters.prometheus.plan import PlanLimits, plan_queries
from autoscaler.adapters.prometheus.questions import Question
from tests.bench import live
from tests.bench.fleet import fleet_of
from tests.bench.one_by_one import texts
from tests.bench.prometheus_server import answer


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "raw"])
def test_each_planned_query_is_answered_for_each_workload(recorded: bool) -> None:
    plan = plan_queries(fleet_of(30), limits=PlanLimits(recorded=recorded))

    for planned in plan.queries:
        question = Question(planned)
        rows = question.rows_in(orjson.loads(answer(question.text, [60.0, 75.0]))["data"]["result"])

        assert len(rows.values) == len(planned.serves)
        assert not any(np.isnan(part).any() for part in (rows.values, *rows.ages, rows.counts))
        assert not rows.faults


def test_one_by_one_there_is_a_query_for_each_workload_and_signal() -> None:
    found = list(texts(fleet_of(30)))

    assert len(set(found)) == len(found) == 120
    assert len(orjson.loads(answer(found[7], [60.0], instant=True))["data"]["result"]) == 1


@pytest.mark.parametrize("workloads", [1_000, 10_000])
def test_a_fleet_of_any_size_costs_some_tens_of_queries(workloads: int) -> None:
    fleet = fleet_of(workloads)

    assert len(plan_queries(fleet, limits=PlanLimits(recorded=True)).queries) <= 50


@pytest.mark.slow
def test_the_benchmark_prints_its_tables(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = "--workloads 100 --cycles 3 --scheduled 2 --sample 20 --lease-seconds 5"
    live.main(sizes.split())

    printed = capsys.readouterr().out.splitlines()
    recorded = next(line.split() for line in printed if " recorded " in line)
    assert recorded[:5] == ["100", "recorded", "12", "400", "1"]
    assert any(line.startswith("planned ") for line in printed)
    assert any("0 missed; not seen in time: 0, 0" in line for line in printed)
    assert any(line.split()[1:5] == ["one", "by", "one", "400"] for line in printed)


@pytest.mark.slow
def test_the_benchmark_leaves_the_real_clock_out(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = "--workloads 20 --cycles 2 --scheduled 0 --sample 2 --lease-seconds 5"
    live.main(sizes.split())

    printed = capsys.readouterr().out
    assert "together" in printed
    assert "At an interval of 15 s" not in printed


def test_a_benchmark_of_one_cycle_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        live.main(["--cycles", "1"])

    assert "--cycles: should be 2 or more, not 1" in capsys.readouterr().err
