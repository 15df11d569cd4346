"""Many runs on one trace: what is compared, with what, and in how many processes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.core.spec import Actuation, Slo
from autoscaler.journal import read_journal
from autoscaler.verify import verify
from simulations.compare import compare, unshared
from simulations.report.columns import columns_of
from simulations.report.words import signed
from simulations.run import Settings
from simulations.runs import Candidate, Comparison, Facts, Kind
from tests.simulations.builders import Fixed, a_trace
from tests.simulations.comparing import SETTINGS, a_burst, a_comparison, candidates, serving

KEYS = {
    "name",
    "attainment",
    "ttft_attainment",
    "itl_attainment",
    "gpu_hours",
    "cost",
    "clairvoyant_gpu_hours",
    "regret_static_best_gpu_hours",
    "regret_static_peak_gpu_hours",
    "requests",
    "unserved",
    "scale_events",
    "reversals",
    "seed",
}


def test_policies_come_first_then_what_they_are_measured_against() -> None:
    runs = a_comparison().runs

    assert [run.name for run in runs] == [
        "drain", "still", "static-peak", "static-best", "clairvoyant",
    ]  # fmt: skip
    assert [run.kind for run in runs] == [
        Kind.POLICY, Kind.POLICY, Kind.BASELINE, Kind.BASELINE, Kind.REFERENCE,
    ]  # fmt: skip
    assert runs[0].note == "queue-drain(queue_length) + target-tracking(in_flight)"
    assert {run.result.score.requests for run in runs} == {len(a_burst())}


def test_the_document_has_the_agreed_names_and_is_json() -> None:
    document = a_comparison().document()

    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert {"trace", "slo", "runs"} <= set(document)
    assert all(set(run) >= KEYS for run in document["runs"])
    assert document["slo"]["ttftP95Seconds"] == 1.0


def test_regret_is_measured_from_the_clairvoyant_plan() -> None:
    comparison = a_comparison()

    plan = comparison.reference
    assert (plan.regret_gpu_hours, plan.regret_misses) == (0.0, 0)
    for run in comparison.runs:
        assert run.regret_gpu_hours == run.gpu_hours - plan.gpu_hours
        assert run.regret_misses == run.misses - plan.misses
        assert run.misses == int(run.result.minutes.missed.sum())
        assert run.document()["clairvoyant_gpu_hours"] == plan.gpu_hours


def test_regret_is_measured_from_both_constant_numbers_too() -> None:
    comparison = a_comparison()

    runs = {run.name: run for run in comparison.runs}
    best, peak = runs["static-best"].gpu_hours, runs["static-peak"].gpu_hours
    for run, told in zip(comparison.runs, comparison.document()["runs"], strict=True):
        assert told["regret_static_best_gpu_hours"] == run.gpu_hours - best
        assert told["regret_static_peak_gpu_hours"] == run.gpu_hours - peak
    assert runs["static-best"].regret_static_best_gpu_hours == 0.0
    assert runs["static-peak"].regret_static_peak_gpu_hours == 0.0
    assert runs["still"].regret_static_peak_gpu_hours != 0.0


def test_without_a_constant_number_there_is_no_regret_against_it() -> None:
    comparison = a_comparison()
    alone = tuple(replace(run, static_best=None, static_peak=None) for run in comparison.runs)
    half = tuple(replace(run, static_peak=None) for run in comparison.runs)

    for told in replace(comparison, runs=alone).document()["runs"]:
        assert told["regret_static_best_gpu_hours"] is None
        assert told["regret_static_peak_gpu_hours"] is None
        assert told["regret_gpu_hours"] is not None
    heads = [
        [column.head for column in columns_of(replace(comparison, runs=runs))]
        for runs in (alone, half, comparison.runs)
    ]
    assert ["over static, best / peak" in head for head in heads] == [False, True, True]
    columns = {column.head: column for column in columns_of(comparison)}
    over = columns["over static, best / peak"]
    best = comparison.runs[3]
    assert over.text(half[3]) == "0.00 / -"
    assert over.value(best) == 0.0
    assert over.text(best) == f"0.00 / {signed(best.regret_static_peak_gpu_hours or 0.0, 2)}"


def test_the_clairvoyant_plan_is_no_dearer_than_standing_still() -> None:
    runs = {run.name: run for run in a_comparison().runs}

    assert runs["clairvoyant"].attainment >= a_comparison().slo.attainment
    assert runs["clairvoyant"].gpu_hours <= runs["static-best"].gpu_hours
    assert runs["static-best"].gpu_hours <= runs["static-peak"].gpu_hours
    assert runs["still"].attainment < runs["drain"].attainment


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_processes() -> None:
    spread = Settings(drain_seconds=120, cold_start_spread=0.4, seed=3)
    heard: list[tuple[str, float]] = []

    def told(comparison: Comparison) -> str:
        timelines = [run.result.timeline.ready.tolist() for run in comparison.runs]
        changes = [(run.decided.changes, run.result.changes) for run in comparison.runs]
        return json.dumps([comparison.document(), timelines]) + repr(changes)

    trace = a_burst(120.0)
    alone = told(compare(trace, candidates()[::-1], spread))
    together = told(
        compare(
            trace,
            candidates()[::-1],
            spread,
            jobs=2,
            on_progress=lambda name, share: heard.append((name, share)),
        )
    )

    assert alone == together
    assert {name for name, share in heard if share == 1.0} == {
        "clairvoyant", "static", "drain", "still",
    }  # fmt: skip


def test_a_journal_of_each_policy_is_decided_alike_to_the_byte(tmp_path: Path) -> None:
    """What compare, replay and verify decide on equal snapshots is equal."""
    registered = [candidates()[0]]
    comparison = compare(a_burst(120.0), registered, SETTINGS, journals=tmp_path)

    journal = tmp_path / "drain.jsonl"
    cycles = sum(count for _, count in comparison.runs[0].decided.reasons)
    assert len(list(read_journal(journal))) == cycles
    found = verify(journal)
    assert found.equal
    assert found.other_lines == 0


def test_the_widest_bounds_hold_for_the_baselines() -> None:
    comparison = compare(
        a_burst(120.0),
        [
            Candidate("narrow", serving(Fixed(replicas=1), minimum=1, maximum=1)),
            Candidate("wide", serving(Fixed(replicas=1), minimum=1, maximum=5)),
        ],
        SETTINGS,
    )

    bounds = comparison.workload.spec.replicas
    assert (bounds.min, bounds.max) == (1, 5)
    assert comparison.runs[2].result.initial > 1


def test_a_file_that_only_watches_acts_in_a_simulation() -> None:
    watching = candidates()[0].workload.with_actuation(Actuation.NONE)

    comparison = compare(a_burst(120.0), [Candidate("watching", watching)], SETTINGS)

    assert comparison.runs[0].result.score.scale_events > 0


def test_files_that_promise_different_things_are_told_apart() -> None:
    strict = serving(slo=Slo(ttft_p95_seconds=0.5, itl_p95_seconds=0.1, attainment=0.8))

    assert list(unshared(serving(), strict)) == [("spec.slo.ttftP95Seconds", 1.0, 0.5)]
    assert list(unshared(serving(), serving(cold_start=31))) == [
        ("spec.replica.coldStartSeconds", 30.0, 31.0)
    ]
    with pytest.raises(ValueError, match=r"a and b differ in spec\.slo\.ttftP95Seconds"):
        compare(a_burst(), [Candidate("a", serving()), Candidate("b", strict)])


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        pytest.param([], "there is no policy file", id="none"),
        pytest.param(["a", "a"], "names should differ", id="twice"),
        pytest.param(["clairvoyant"], "names should differ", id="taken"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(names: list[str], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        compare(a_burst(), [Candidate(name, serving()) for name in names])


def test_the_facts_of_a_trace() -> None:
    facts = Facts.of(a_trace(*((second, 100, 10) for second in (0.0, 61.0, 62.0, 63.0, 120.0))))

    assert (facts.requests, facts.seconds) == (5, 120.0)
    assert facts.per_second == 5 / 120
    assert facts.peak_per_second == 3 / 60
    assert (facts.prompt_p50, facts.output_p95) == (100, 10)


def test_one_request_has_facts_too() -> None:
    facts = Facts.of(a_trace((0.0, 100, 10)))

    assert (facts.per_second, facts.peak_per_second) == (1.0, 1.0)
