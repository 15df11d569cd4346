"""Replicas changed over HTTP: once, only from what was seen, and never blindly."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.drain import Drain
from autoscaler.adapters.kubernetes.kinds import Kinds
from autoscaler.adapters.kubernetes.pods import DELETION_COST
from autoscaler.adapters.kubernetes.requests import MERGE_PATCH
from autoscaler.adapters.kubernetes.scale import Scaler
from autoscaler.core.decision import Action, Outcome
from autoscaler.core.errors import ActuationError
from autoscaler.core.workload import ScaledWorkload
from tests.adapters.kubernetes.bodies import NOON, a_pod, a_target
from tests.builders import a_fleet, a_workload
from tests.fakes.kubernetes import Break, FakeApiServer, objects

CHAT = "/apis/apps/v1/namespaces/llm/deployments/chat"
SCALE = f"{CHAT}/scale"


@pytest.fixture(autouse=True)
def chat(api: FakeApiServer) -> None:
    api.add(objects.deployment("chat", namespace="llm", replicas=3))


def on(**target: Any) -> ScaledWorkload:
    return a_workload(target={"name": "chat", **target})


def scaler_of(
    connection: Connection, workload: ScaledWorkload | None = None, **options: Any
) -> Scaler:
    scaler = Scaler(connection, Kinds(connection), **options)
    scaler.use(a_fleet(workload or on()))
    return scaler


def act(scaler: Scaler, before: int, after: int) -> Outcome:
    return scaler.act(Action("llm/chat", before, after), NOON)


def replicas(api: FakeApiServer) -> int:
    return int(api.peek(CHAT)["spec"]["replicas"])


def during_the_write(api: FakeApiServer, change: Callable[[], object]) -> Callable[[], bool]:
    """Something happens between reading and writing, once."""
    happened: list[bool] = []

    def may_write() -> bool:
        if not happened:
            happened.append(True)
            change()
        return True

    return may_write


def test_replicas_are_set_under_our_name_for_the_version_that_was_read(
    api: FakeApiServer, connection: Connection
) -> None:
    version = api.peek(CHAT)["metadata"]["resourceVersion"]

    outcome = act(scaler_of(connection), 3, 5)

    assert outcome == Outcome(Action("llm/chat", 3, 5), done=True)
    assert replicas(api) == 5
    (write,) = api.requests.writes
    assert (write.method, write.path) == ("PATCH", SCALE)
    assert write.query["fieldManager"] == "inference-autoscaler"
    assert write.headers["Content-Type"] == MERGE_PATCH
    assert write.json == {"metadata": {"resourceVersion": version}, "spec": {"replicas": 5}}


def test_what_is_there_already_is_done_and_nothing_is_written(
    api: FakeApiServer, connection: Connection
) -> None:
    outcome = act(scaler_of(connection), 1, 3)

    assert outcome.done
    assert outcome.detail == "Deployment llm/chat has 3 already"
    assert api.requests.writes == []


def test_the_same_action_again_changes_nothing_twice(
    api: FakeApiServer, connection: Connection
) -> None:
    scaler = scaler_of(connection)
    act(scaler, 3, 5)
    outcome = act(scaler, 3, 5)

    assert outcome.done
    assert len(api.requests.writes) == 1


def test_what_somebody_else_changed_is_left_alone(
    api: FakeApiServer, connection: Connection
) -> None:
    api.merge(SCALE, {"spec": {"replicas": 7}}, fieldManager="kubectl-scale")
    api.requests.clear()

    outcome = act(scaler_of(connection), 3, 5)

    assert not outcome.done
    assert outcome.detail == (
        "Deployment llm/chat left alone: 7 replicas found where 3 were seen, so it was changed "
        "meanwhile; 5 not set"
    )
    assert api.requests.writes == []


def test_a_conflict_over_something_else_is_tried_again(
    api: FakeApiServer, connection: Connection
) -> None:
    may_write = during_the_write(
        api, lambda: api.merge(CHAT, {"metadata": {"labels": {"new": "label"}}})
    )

    outcome = act(scaler_of(connection, may_write=may_write), 3, 5)

    assert outcome.done
    assert replicas(api) == 5
    assert [each.status for each in api.requests.matching("PATCH", "/scale$")] == [409, 200]


def test_a_conflict_over_the_number_is_somebody_elses(
    api: FakeApiServer, connection: Connection
) -> None:
    may_write = during_the_write(api, lambda: api.merge(CHAT, {"spec": {"replicas": 9}}))

    outcome = act(scaler_of(connection, may_write=may_write), 3, 5)

    assert not outcome.done
    assert "9 replicas found where 3 were seen" in outcome.detail
    assert replicas(api) == 9


def test_conflicts_without_end_are_left_to_the_next_cycle(
    api: FakeApiServer, connection: Connection
) -> None:
    def stir() -> bool:
        api.merge(CHAT, {"metadata": {"annotations": {"n": str(len(api.requests))}}})
        return True

    with pytest.raises(ActuationError, match=r"409, changed by somebody else .*\(tried 5 times\)"):
        act(scaler_of(connection, may_write=stir), 3, 5)

    assert replicas(api) == 3


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"breaks": Break.RESET}, id="reset before it was done"),
        pytest.param({"breaks": Break.LOST}, id="done, and the answer lost"),
        pytest.param({"breaks": Break.HALF}, id="half an answer"),
        pytest.param({"breaks": Break.MALFORMED}, id="no JSON"),
        pytest.param({"status": 503}, id="503"),
        pytest.param({"status": 429, "retry_after": 0}, id="429"),
    ],
)
def test_a_lost_write_is_made_once(
    api: FakeApiServer, connection: Connection, fault: dict[str, Any]
) -> None:
    api.faults.add(method="PATCH", **fault)
    generation = api.peek(CHAT)["metadata"]["generation"]

    outcome = act(scaler_of(connection), 3, 5)

    assert outcome.done
    assert replicas(api) == 5
    assert api.peek(CHAT)["metadata"]["generation"] == generation + 1


def test_an_outage_is_one_clear_line(api: FakeApiServer, connection: Connection) -> None:
    with api.faults.during(status=503, message="etcd is gone"), pytest.raises(ActuationError) as no:
        act(scaler_of(connection, deadline_seconds=0.2), 3, 5)

    # The deadline may cut the last try short: then that is what is told of it.
    cut = "the answer did not end within the deadline"
    assert "503, etcd is gone" in str(no.value) or cut in str(no.value)
    assert "\n" not in str(no.value)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        pytest.param(
            {"kind": "StatefulSet"},
            "get statefulsets.apps/scale llm/chat: 404, there is no such object",
            id="an object that is not there",
        ),
        pytest.param(
            {"kind": "Deploy"},
            "Deploy llm/chat: the cluster serves no Deploy of apps/v1",
            id="a kind that is not there",
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "ConfigMap"},
            "ConfigMap llm/chat cannot be scaled: ConfigMap has no /scale",
            id="a kind without /scale",
        ),
    ],
)
def test_what_cannot_be_scaled_is_explained(
    connection: Connection, target: dict[str, Any], message: str
) -> None:
    with pytest.raises(ActuationError) as failed:
        act(scaler_of(connection, on(**target)), 3, 5)

    assert str(failed.value).startswith(message)


def test_a_workload_whose_file_is_gone(connection: Connection) -> None:
    with pytest.raises(ActuationError, match="llm/other: no policy file is about it any more"):
        scaler_of(connection).act(Action("llm/other", 1, 2), NOON)


def test_who_no_longer_leads_writes_nothing(api: FakeApiServer, connection: Connection) -> None:
    with pytest.raises(ActuationError, match="we no longer lead, nothing written"):
        act(scaler_of(connection, may_write=lambda: False), 3, 5)

    assert api.requests.writes == []


def test_a_number_that_the_server_changes_is_told(
    api: FakeApiServer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = connection.ask

    def webhook(method: str, path: str, **how: Any) -> Any:
        if method == "PATCH":
            how["body"] = {"spec": {"replicas": 4}}
        return ask(method, path, **how)

    monkeypatch.setattr(connection, "ask", webhook)

    outcome = act(scaler_of(connection), 3, 5)

    assert not outcome.done
    assert outcome.detail == "Deployment llm/chat: 5 asked for, and the API server made it 4"


def test_an_answer_that_is_no_scale_is_told(
    api: FakeApiServer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = connection.get

    def whole(path: str, *how: Any, **more: Any) -> Any:
        return get(path.removesuffix("/scale"), *how, **more)

    monkeypatch.setattr(connection, "get", whole)

    with pytest.raises(ActuationError) as failed:
        act(scaler_of(connection), 3, 5)

    assert str(failed.value) == (
        "Deployment llm/chat: its /scale answers with a Deployment, not a Scale"
    )
    assert api.requests.writes == []


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("apps/v1", "StatefulSet"),
        ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"),
        ("example.com/v1", "Teller"),
    ],
)
def test_anything_with_a_scale_is_scaled(
    api: FakeApiServer, connection: Connection, api_version: str, kind: str
) -> None:
    api.add(a_target(kind, api_version=api_version, serviceName="chat"))

    outcome = act(scaler_of(connection, on(apiVersion=api_version, kind=kind)), 3, 5)

    assert outcome.done
    (write,) = api.requests.writes
    assert api.peek(write.path)["spec"]["replicas"] == 5


def test_a_count_that_lies_elsewhere_is_found_by_scale(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(objects.custom("example.com/v1", "Engine", "chat", namespace="llm", size=3))

    assert act(scaler_of(connection, on(apiVersion="example.com/v1", kind="Engine")), 3, 5).done
    assert api.peek("/apis/example.com/v1/namespaces/llm/engines/chat")["spec"]["size"] == 5


SERVICE = "/apis/serving.kserve.io/v1beta1/namespaces/llm/inferenceservices/chat"


def test_an_inference_service_is_scaled_by_its_least_number(
    api: FakeApiServer, connection: Connection
) -> None:
    predictor = {"minReplicas": 2, "maxReplicas": 4, "model": {"storageUri": "pvc://m"}}
    api.add(
        objects.custom(
            "serving.kserve.io/v1beta1",
            "InferenceService",
            "chat",
            namespace="llm",
            predictor=predictor,
        )
    )
    scaler = scaler_of(
        connection, on(apiVersion="serving.kserve.io/v1beta1", kind="InferenceService")
    )

    outcome = act(scaler, 2, 6)
    again = act(scaler, 2, 6)
    late = act(scaler, 2, 3)

    assert outcome.done
    assert again.detail == "InferenceService llm/chat has 6 already"
    assert not late.done
    assert api.peek(SERVICE)["spec"]["predictor"] == {
        **predictor,
        "minReplicas": 6,
        "maxReplicas": 6,
    }
    assert len(api.requests.writes) == 1


def test_before_a_decrease_the_least_loaded_are_marked(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(*(a_pod(name) for name in "abc"))
    loads = {"llm/chat": {"a": 3.0, "b": 0.0, "c": 2.0}}
    scaler = scaler_of(connection, drain=Drain(connection), loads=loads.__getitem__)

    outcome = act(scaler, 3, 1)

    assert outcome.done
    assert [write.path.rsplit("/", 1)[-1] for write in api.requests.writes] == ["b", "c", "scale"]
    costs = [
        int(
            api.peek(f"/api/v1/namespaces/llm/pods/{name}")["metadata"]["annotations"][
                DELETION_COST
            ]
        )
        for name in "bc"
    ]
    assert costs == sorted(costs)


def test_a_decrease_goes_on_where_pods_cannot_be_marked(
    api: FakeApiServer, connection: Connection
) -> None:
    api.faults.add(path="/pods", status=403, times=None)
    scaler = scaler_of(connection, drain=Drain(connection))

    outcome = act(scaler, 3, 1)

    assert outcome.done
    assert outcome.detail.startswith("no pod was given a deletion cost: list pods llm: 403")
    assert replicas(api) == 1


def test_only_a_decrease_of_a_replica_set_is_drained(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(objects.deployment("chat", namespace="llm", replicas=3, kind="StatefulSet"))
    drain = Drain(connection)

    act(scaler_of(connection, drain=drain), 3, 5)
    act(scaler_of(connection, on(kind="StatefulSet"), drain=drain), 3, 2)

    assert not api.requests.matching("GET", "/pods$")


def test_nobody_is_marked_for_a_change_that_is_not_made(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(*(a_pod(name) for name in "abc"))
    scaler = scaler_of(connection, drain=Drain(connection))

    assert not act(scaler, 5, 2).done
    assert act(scaler, 5, 3).done
    assert api.requests.writes == []


def test_two_writers_do_not_overwrite_each_other(
    api: FakeApiServer, connection: Connection
) -> None:
    outcomes: list[Outcome] = []
    threads = [
        threading.Thread(
            target=lambda after=after: outcomes.append(act(scaler_of(connection), 3, after))
        )
        for after in (4, 5, 6, 7)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (done,) = [outcome for outcome in outcomes if outcome.done]
    assert replicas(api) == done.action.after
    assert len(outcomes) == 4
