"""Counts over cycles: they add up, and forget what is gone."""

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.node_pools import NodePool
from autoscaler.core.observation import Gap, GapReason, NodePoolStatus
from autoscaler.telemetry.report import CycleReport, SourceReport
from autoscaler.telemetry.tally import Tally
from tests.builders import NOON, Wants, a_workload, seen
from tests.telemetry.reports import CHAT, Foresees, a_report

POOL = NodePool.model_validate(
    {
        "metadata": {"name": "h100"},
        "spec": {"gpusPerNode": 8, "nodes": {"max": 3}, "actuation": "scale"},
    }
)
FORESEEING = a_workload(Foresees(), signals={"load": {}})


def foreseen(at: float, load: float | None = 50.0) -> CycleReport:
    signals = {} if load is None else {"load": load}
    missing = {"load": Gap(GapReason.ERROR)} if load is None else {}
    observation = seen(1, at=at, signals=signals, missing=missing)
    return a_report({FORESEEING.key: observation}, FORESEEING, at=at)


@given(
    st.lists(
        st.builds(
            SourceReport, st.integers(0, 50), st.integers(0, 5), st.floats(0, 9), st.integers(0, 99)
        ),
        max_size=6,
    )
)
def test_what_was_asked_adds_up(asked: list[SourceReport]) -> None:
    tally = Tally()
    for source in asked:
        tally = tally.after(a_report(sources={"default": source}))

    assert tally.cycles == sum(tally.buckets) == len(asked)
    if asked:
        assert tally.sources["default"].queries == sum(one.queries for one in asked)
        assert tally.saved["default"] == sum(max(0, one.signals - one.queries) for one in asked)


def test_a_source_that_nobody_asks_any_more_is_forgotten() -> None:
    tally = Tally().after(a_report(sources={"old": SourceReport(1)})).after(a_report())

    assert (tally.sources, tally.saved) == ({}, {})


def test_a_pool_that_is_gone_is_forgotten() -> None:
    nodes = {"h100": NodePoolStatus(9, 9)}
    with_pool = a_report(pools=(POOL,), nodes=nodes)

    assert len(Tally().after(with_pool).actions) == 2
    assert len(Tally().after(with_pool).after(a_report()).actions) == 1


def test_a_standby_withholds_only_what_it_would_change() -> None:
    settled = a_report(
        {CHAT.key: seen(5, signals={"load": 50.0})},
        pools=(POOL,),
        nodes={"h100": NodePoolStatus(0, 0)},
        leader=False,
    )

    assert Tally().after(settled).actions == {}


def test_a_forecast_waits_for_its_time_while_its_signal_is_gone() -> None:
    tally = Tally().after(foreseen(NOON)).after(foreseen(NOON + 60, None))
    assert all(score.waiting for score in tally.scores.values())

    later = tally.after(foreseen(NOON + 61)).after(foreseen(NOON + 62))

    assert {name[3]: score.scored for name, score in later.scores.items()} == {"next": 0, "far": 0}


def test_a_target_that_is_not_seen_keeps_its_scores() -> None:
    unseen = a_report({}, FORESEEING, missing={FORESEEING.key: Gap(GapReason.ERROR)})

    tally = Tally().after(foreseen(NOON)).after(unseen)

    assert len(tally.scores) == 2


def test_scores_of_a_signal_that_is_gone_are_forgotten() -> None:
    bare = a_workload(Wants(replicas=1))

    tally = Tally().after(foreseen(NOON)).after(a_report({bare.key: seen(1)}, bare))

    assert tally.scores == {}
