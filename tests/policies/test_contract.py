"""What every installed policy must keep, whoever wrote it; its parameters are those of a preset."""

import copy
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from autoscaler.core.observation import Observation, PodSample, PodStatus, ReplicaStatus, Series
from autoscaler.core.policy import Policy, Recommendation
from autoscaler.plugins import load_policy_type, policy_types
from tests.builders import NOON
from tests.policies.preset_files import policies_in_presets
from tests.policies.worlds import samples, shown

TYPES = policy_types()

REPLICAS = {
    "asleep": ReplicaStatus(0, 0, 0),
    "one": ReplicaStatus(1, 1, 1),
    "waking": ReplicaStatus(3, 0, 3),
    "four": ReplicaStatus(4, 4, 4),
    "growing": ReplicaStatus(9, 4, 9, failing=1),
    "shrinking": ReplicaStatus(2, 4, 4),
}
HISTORIES = {
    "one sample": samples(7.0),
    "one zero": samples(0.0),
    "two samples": samples(3.0, 4.0),
    "constant": samples(*[0.7] * 20),
    "constant zero": samples(*[0.0] * 20),
    "rising": samples(*[float(value) for value in range(20)]),
    "falling": samples(*[1e5 / 2**value for value in range(20)]),
    "huge": samples(*[1e9] * 20),
    "uneven": Series.of([(NOON - 700, 5.0), (NOON - 31, 1e-9), (NOON - 1, 3.0)]),
}


def examples(name: str) -> list[Policy]:
    return [policy for policy in policies_in_presets() if policy.type == name]


def sights(policy: Policy) -> Iterator[Observation]:
    """What a policy may be shown: every size with every history."""
    for replicas in REPLICAS.values():
        pods = tuple(
            PodStatus(f"pod-{place}", started=NOON - 9000, ready_changed=NOON - 8000)
            for place in range(replicas.ready)
        )
        for series in HISTORIES.values():
            yield replace(
                shown(replicas.ready),
                replicas=replicas,
                signals=dict.fromkeys(policy.uses, series),
                pods=pods,
                pod_samples={
                    name: {pod.name: PodSample(series.latest, NOON) for pod in pods}
                    for name in policy.uses
                },
            )


def story(policy: Policy) -> Iterator[tuple[Observation, Recommendation]]:
    """Every sight in turn, a quarter of a minute apart, with the memory that goes along."""
    memory = None
    for place, sight in enumerate(sights(policy)):
        later = 15.0 * place
        observation = replace(
            sight,
            now=sight.now + later,
            signals={
                name: Series(series.times + later, series.values)
                for name, series in sight.signals.items()
            },
            memory=memory,
        )
        answer = policy.recommend(observation)
        yield observation, answer
        memory = answer.memory


class Watched(Mapping[str, Series]):
    """Signals that note which of them were looked at."""

    def __init__(self, signals: Mapping[str, Series]) -> None:
        self._signals = signals
        self.touched: set[str] = set()

    def __getitem__(self, name: str) -> Series:
        self.touched.add(name)
        return self._signals[name]

    def __iter__(self) -> Iterator[str]:
        self.touched.update(self._signals)
        return iter(self._signals)

    def __len__(self) -> int:
        return len(self._signals)


@pytest.mark.parametrize("name", TYPES)
def test_it_stands_in_a_preset_that_loads(name: str) -> None:
    assert examples(name) != []


@pytest.mark.parametrize("name", TYPES)
def test_it_knows_its_own_name(name: str) -> None:
    assert load_policy_type(name).model_fields["type"].default == name


@pytest.mark.parametrize("name", TYPES)
def test_every_parameter_is_described(name: str) -> None:
    schema = load_policy_type(name).model_json_schema(by_alias=True)
    models = [schema, *schema.get("$defs", {}).values()]
    fields = [
        (model["title"], field, facts)
        for model in models
        for field, facts in model.get("properties", {}).items()
        if (model["title"], field) != (schema["title"], "type")  # the docstring of the class
    ]

    assert [model["title"] for model in models if not model.get("description")] == []
    assert [(model, field) for model, field, facts in fields if not facts.get("description")] == []


@pytest.mark.parametrize("name", TYPES)
def test_unknown_parameters_are_refused(name: str) -> None:
    kind = load_policy_type(name)

    assert kind.model_config["extra"] == "forbid"
    assert kind.model_config["frozen"] is True


@pytest.mark.parametrize("name", TYPES)
def test_what_it_needs_is_among_what_it_uses(name: str) -> None:
    for policy in examples(name):
        assert policy.needs <= policy.uses


@pytest.mark.parametrize("name", TYPES)
def test_the_answer_is_a_count_with_a_reason_and_finite_evidence(name: str) -> None:
    for policy in examples(name):
        for _, answer in story(policy):
            assert type(answer.replicas) in (int, type(None))
            assert (answer.replicas or 0) >= 0
            assert answer.reason.strip()
            assert "nan" not in answer.reason
            assert all(math.isfinite(value) for value in answer.evidence.values())


@pytest.mark.parametrize("name", TYPES)
def test_the_same_sight_gets_the_same_answer(name: str) -> None:
    for policy in examples(name):
        for observation, answer in story(policy):
            assert policy.recommend(observation) == answer
            assert policy.recommend(copy.deepcopy(observation)) == answer
            assert policy.model_copy(deep=True).recommend(observation) == answer


@pytest.mark.parametrize("name", TYPES)
def test_memory_is_json_and_survives_it(name: str) -> None:
    for policy in examples(name):
        for observation, answer in story(policy):
            if observation.memory is None:
                continue
            written = json.dumps(observation.memory, allow_nan=False)
            read: dict[str, Any] = json.loads(written)
            assert policy.recommend(replace(observation, memory=read)) == answer


@pytest.mark.parametrize("name", TYPES)
def test_it_leaves_what_it_is_shown_as_it_was(name: str) -> None:
    for policy in examples(name):
        for observation, _ in story(policy):
            before = copy.deepcopy(observation)
            policy.recommend(observation)
            assert observation == before


@pytest.mark.parametrize("name", TYPES)
def test_it_looks_only_at_what_it_declares(name: str) -> None:
    for policy in examples(name):
        for sight in sights(policy):
            watched = Watched({**sight.signals, "undeclared": samples(1.0)})
            policy.recommend(replace(sight, signals=watched))
            assert watched.touched <= policy.uses


@pytest.mark.parametrize("name", TYPES)
def test_without_pods_it_answers_alike_unless_it_needs_them(name: str) -> None:
    for policy in examples(name):
        if policy.needs_pods:
            continue
        for sight in sights(policy):
            blind = replace(sight, pods=(), pod_samples={})
            assert policy.recommend(blind) == policy.recommend(sight)


@pytest.mark.parametrize("name", TYPES)
def test_what_it_needs_is_enough_to_answer(name: str) -> None:
    for policy in examples(name):
        for sight in sights(policy):
            needed = {key: series for key, series in sight.signals.items() if key in policy.needs}
            answer = policy.recommend(replace(sight, signals=needed, pod_samples={}))
            assert answer.reason.strip()


@pytest.mark.parametrize("name", TYPES)
def test_a_floor_is_always_a_floor(name: str) -> None:
    """Also where it has no opinion: else its silence would count as a vote."""
    for policy in examples(name):
        assert len({answer.raise_only for _, answer in story(policy)}) == 1
