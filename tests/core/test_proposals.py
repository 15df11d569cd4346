"""A policy is shown what was seen, and nothing that is ours to keep."""

from dataclasses import fields, replace
from typing import Literal

import pytest

from autoscaler.core.observation import (
    Gap,
    GapReason,
    Intervention,
    InterventionKind,
    Observation,
    PodSample,
    PodStatus,
    ReplicaStatus,
    Series,
    Terms,
)
from autoscaler.core.past import Past
from autoscaler.core.policy import Policy, Recommendation
from autoscaler.core.proposals import View, ask_all
from autoscaler.core.spec import Bounds, Replica, Slo
from tests.builders import NOON, a_workload

LOAD = Series.of([(NOON - 15.0, 4.0), (NOON, 5.0)])
SEEN = Observation(
    now=NOON,
    replicas=ReplicaStatus(desired=7, ready=6, total=8, failing=1),
    signals={"load": LOAD, "not used": LOAD},
    missing={"other": Gap(GapReason.EMPTY)},
    pods=(PodStatus("chat-0"),),
    pod_samples={"load": {"chat-0": PodSample(5.0, NOON)}},
    memory={"not": "the policy's own"},
    lead_seconds=1.0,
    terms=Terms(Bounds(max=1), Replica(), Slo()),
    interventions=(Intervention(InterventionKind.PAUSED_DOWN, "a person"),),
)
KEPT = {"asked": 3.0}

shown: list[Observation] = []


class Looks(Policy):
    """Keeps what it is shown."""

    type: Literal["looks"] = "looks"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"load"})

    def recommend(self, observation: Observation) -> Recommendation:
        shown.append(observation)
        return Recommendation(1, "looked")


@pytest.mark.parametrize("name", [field.name for field in fields(Observation)])
def test_a_policy_is_shown_what_was_seen_and_what_is_its_own(name: str) -> None:
    workload = a_workload(Looks(), signals={"load": {}})
    expected = replace(
        SEEN, signals={"load": LOAD}, memory=KEPT, lead_seconds=240.0, terms=workload.terms
    )

    view = View(workload, SEEN, {}, SEEN.signals, 240.0)
    (proposal,) = ask_all(view, Past(memories={"0:looks": KEPT}))

    assert proposal.live
    assert getattr(shown.pop(), name) == getattr(expected, name)
