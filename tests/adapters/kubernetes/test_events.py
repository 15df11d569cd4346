"""What people see in `kubectl describe`, and that it never matters."""

import re
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.events import Budget, EventRecorder, cut
from autoscaler.adapters.kubernetes.occurrences import Occurrence, occurrences, reference_of
from autoscaler.adapters.kubernetes.scalers import Reference
from autoscaler.core.decision import (
    Action,
    Cycle,
    Decision,
    NodeAction,
    NodePoolDecision,
    Outcome,
    Plan,
    Reason,
)
from autoscaler.core.node_pools import NodePool
from autoscaler.core.observation import Intervention, InterventionKind, Snapshot
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import FleetSpec
from tests.builders import NOON, a_fleet, a_workload, seen
from tests.fakes.kubernetes import FakeApiServer

CHAT = Reference("apps/v1", "Deployment", "llm", "chat")
EVENTS = "/apis/events.k8s.io/v1/namespaces/llm/events"
POOL = NodePool.model_validate(
    {
        "metadata": {"name": "h100"},
        "spec": {
            "target": {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": "h100"},
            "gpusPerNode": 8,
            "nodes": {"max": 4},
        },
    }
)


# --- what of a cycle is told -----------------------------------------------------------------


def a_fleet_with_pool() -> FleetSpec:
    fleet = a_fleet(a_workload())
    return FleetSpec(fleet.workloads, fleet.combiners, (POOL,))


def a_cycle(
    *outcomes: Outcome,
    said: tuple[Intervention, ...] = (),
    reason: Reason = Reason.RECOMMENDED,
    leading: bool = True,
    unseen: bool = False,
) -> Cycle:
    observed = replace(seen(running=3), interventions=said)
    decision = Decision("llm/chat", 3, 5, 5, reason, "queue is 90; at most 5 more")
    pool = NodePoolDecision("h100", 1, 2, 2, Reason.RECOMMENDED, "5 replicas need 2 nodes")
    snapshot = Snapshot(NOON, {} if unseen else {"llm/chat": observed})
    return Cycle(
        snapshot, Plan(NOON, {"llm/chat": decision}, pools={"h100": pool}), outcomes, leading
    )


GROWS = Action("llm/chat", 3, 5)


def told(cycle: Cycle, before: dict[str, dict[str, str]] | None = None) -> list[Occurrence]:
    return list(occurrences(a_fleet_with_pool(), cycle, before or {})[0])


def test_a_change_is_told_with_its_trail() -> None:
    (one,) = told(a_cycle(Outcome(GROWS, done=True)))

    assert one == Occurrence(
        CHAT, "SuccessfulRescale", "3 -> 5 replicas: queue is 90; at most 5 more", "Rescale"
    )


def test_a_change_that_failed_is_a_warning_with_its_reason() -> None:
    (one,) = told(a_cycle(Outcome(GROWS, done=False, detail="403, not allowed")))

    assert one == Occurrence(
        CHAT,
        "FailedRescale",
        "3 -> 5 replicas failed: 403, not allowed",
        "Rescale",
        warning=True,
    )


def test_a_change_of_nodes_is_told_on_what_makes_them() -> None:
    (one,) = told(a_cycle(Outcome(NodeAction("h100", 1, 2), done=True)))

    assert str(one.about) == "NodePool h100"
    assert one.note == "1 -> 2 nodes: 5 replicas need 2 nodes"


@pytest.mark.parametrize(
    "action", [Action("llm/gone", 1, 2), NodeAction("gone", 1, 2)], ids=["workload", "pool"]
)
def test_of_what_no_file_is_about_nothing_is_told(action: Action | NodeAction) -> None:
    assert told(a_cycle(Outcome(action, done=True))) == []


@pytest.mark.parametrize(
    ("kind", "reason", "warning"),
    [
        (InterventionKind.SUSPENDED, "Suspended", True),
        (InterventionKind.PAUSED, "Paused", False),
        (InterventionKind.REPLICAS, "ReplicasOverridden", False),
        (InterventionKind.EDITED, "EditRespected", False),
        (InterventionKind.PAUSED_DOWN, "ScaleDownPaused", False),
        (InterventionKind.EXPECTED_MISSING, "FollowerMissing", True),
    ],
)
def test_a_hold_is_told_when_it_begins_and_when_it_ends(
    kind: InterventionKind, reason: str, warning: bool
) -> None:
    fleet, held = a_fleet(a_workload()), a_cycle(said=(Intervention(kind, "because"),))

    begun, holds = occurrences(fleet, held, {})
    lasts, holds = occurrences(fleet, held, holds)
    unseen, holds = occurrences(fleet, a_cycle(unseen=True), holds)
    ended, holds = occurrences(fleet, a_cycle(), holds)
    after, _ = occurrences(fleet, a_cycle(), holds)

    assert begun == (Occurrence(CHAT, reason, "because", "Hold", warning),)
    assert lasts == unseen == after == ()
    assert ended == (Occurrence(CHAT, "Resumed", f"no longer held: {reason} is over", "Hold"),)


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        (Reason.BLIND, "SignalsMissing"),
        (Reason.POLICY_FAILED, "PolicyFailed"),
        (Reason.BROKEN_ROLLOUT, "ReplicasDoNotStart"),
    ],
)
def test_a_person_is_told_of_what_stands_in_the_way(why: Reason, reason: str) -> None:
    (one,) = told(a_cycle(reason=why))
    assert (one.reason, one.warning, one.note) == (reason, True, "queue is 90; at most 5 more")


def test_a_hold_that_has_ended_is_none() -> None:
    over = Intervention(InterventionKind.EDITED, "because", until=NOON)
    assert told(a_cycle(said=(over,))) == []


def test_one_hold_after_another_is_told_without_a_pause_between() -> None:
    paused = {"llm/chat": {"Paused": "because"}}
    (one,) = told(a_cycle(said=(Intervention(InterventionKind.EDITED, "edit"),)), paused)
    assert one.reason == "EditRespected"


def test_who_does_not_lead_tells_nothing_and_forgets_nothing() -> None:
    before = {"llm/chat": {"Paused": "because"}}
    cycle = a_cycle(Outcome(GROWS, done=True), leading=False)
    assert occurrences(a_fleet(a_workload()), cycle, before) == ((), before)


def test_where_we_only_watch_nothing_is_told() -> None:
    fleet = a_fleet(a_workload(actuation=Actuation.NONE))
    said = (Intervention(InterventionKind.PAUSED, "because"),)
    assert occurrences(fleet, a_cycle(said=said), {}) == ((), {})


def test_a_workload_without_a_decision_can_still_be_held() -> None:
    cycle = a_cycle(said=(Intervention(InterventionKind.PAUSED, "because"),))
    undecided = replace(cycle, plan=Plan(NOON))
    assert [one.reason for one in told(undecided)] == ["Paused"]


# --- notes -----------------------------------------------------------------------------------


@given(st.text(max_size=3000), st.integers(10, 1024))
def test_a_note_is_one_line_and_fits(note: str, longest: int) -> None:
    short = cut(note, longest)

    assert len(short.encode()) <= longest
    assert "\n" not in short
    whole = " ".join(note.split())
    assert short == whole or (short.endswith("...") and whole.startswith(short[:-3]))


# --- written ---------------------------------------------------------------------------------


class Recorder(EventRecorder):
    """Writes at once, and can say what the server keeps."""

    def __init__(self, api: FakeApiServer, connection: Connection, **options: Any) -> None:
        api.add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "llm"}})
        super().__init__(connection, "pod-1", **options)
        self.api = api

    def write(self, *happened: Occurrence, at: float = NOON) -> list[dict[str, Any]]:
        for one in happened:
            self.tell(one, at)
        self.flush(5.0)
        return self.api.objects(EVENTS)


def grown(note: str = "3 -> 5 replicas: queue is 90") -> Occurrence:
    return Occurrence(reference_of(a_workload()), "SuccessfulRescale", note, "Rescale")


def test_an_event_is_one_that_the_api_server_takes(
    api: FakeApiServer, connection: Connection
) -> None:
    recorder = Recorder(api, connection, uid_of=lambda about: f"uid of {about.name}")

    (event,) = recorder.write(grown())

    assert event["regarding"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "namespace": "llm",
        "name": "chat",
        "uid": "uid of chat",
    }
    assert event["eventTime"] == "2023-11-14T22:13:20.000000Z"
    assert event["reason"] == "SuccessfulRescale"
    assert event["action"] == "Rescale"
    assert event["type"] == "Normal"
    assert event["note"] == "3 -> 5 replicas: queue is 90"
    assert event["reportingController"] == "inference-autoscaler.dev/controller"
    assert event["reportingInstance"] == "pod-1"
    assert re.fullmatch(r"chat\.[0-9a-f]{16}", event["metadata"]["name"])
    assert (recorder.written, recorder.lost, recorder.kept_back) == (1, 0, 0)


def test_what_lies_in_no_namespace_is_told_in_the_default_one(
    api: FakeApiServer, connection: Connection
) -> None:
    pool = Reference("karpenter.sh/v1", "NodePool", "", "h100")
    Recorder(api, connection).write(Occurrence(pool, "FailedRescale", "no", "Rescale", True))

    (event,) = api.objects("/apis/events.k8s.io/v1/namespaces/default/events")
    assert event["type"] == "Warning"
    assert event["regarding"] == {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "name": "h100",
    }


def test_the_longest_name_and_note_fit(api: FakeApiServer, connection: Connection) -> None:
    about = replace(CHAT, name="x" * 253)
    recorder = Recorder(api, connection)

    (event,) = recorder.write(Occurrence(about, "SuccessfulRescale", "ü" * 2000, "Rescale"))

    assert len(event["metadata"]["name"]) == 253
    assert len(event["note"].encode()) <= 1024


def test_equal_events_become_one_with_a_series(api: FakeApiServer, connection: Connection) -> None:
    recorder = Recorder(api, connection)
    recorder.write(grown())
    recorder.write(grown(), at=NOON + 60)

    (event,) = recorder.write(grown(), at=NOON + 120)

    assert event["series"] == {"count": 3, "lastObservedTime": "2023-11-14T22:15:20.000000Z"}


def test_other_notes_and_later_ones_are_events_of_their_own(
    api: FakeApiServer, connection: Connection
) -> None:
    recorder = Recorder(api, connection)
    recorder.write(grown(), grown("5 -> 7 replicas: queue is 95"))
    assert len(recorder.write(grown(), at=NOON + 600)) == 3


def test_an_event_that_the_server_has_forgotten_is_made_anew(
    api: FakeApiServer, connection: Connection
) -> None:
    recorder = Recorder(api, connection)
    (event,) = recorder.write(grown())
    api.delete(f"{EVENTS}/{event['metadata']['name']}")

    (again,) = recorder.write(grown(), at=NOON + 60)

    assert "series" not in again
    assert recorder.lost == 0


def test_one_object_that_flaps_drowns_nobody(api: FakeApiServer, connection: Connection) -> None:
    recorder = Recorder(api, connection, budget=Budget(burst=3, every_seconds=60.0))
    flaps = [grown(f"change {number}") for number in range(10)]

    kept = recorder.write(*flaps)
    assert len(kept) == 3
    assert recorder.kept_back == 7
    other = replace(grown(), about=replace(CHAT, name="other"))
    assert len(recorder.write(other)) == 4

    after = recorder.write(grown("change 11"), at=NOON + 60)
    assert len(after) == 5
    (last,) = [one for one in after if one["note"].startswith("change 11")]
    assert last["note"] == "change 11 (7 earlier ones were left out)"


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_what_cannot_be_written_is_counted_and_forgotten(
    api: FakeApiServer, connection: Connection, status: int
) -> None:
    recorder = Recorder(api, connection, deadline_seconds=0.2)
    with api.faults.during(status=status, path="events"):
        assert recorder.write(grown()) == []
    assert recorder.lost == 1

    assert len(recorder.write(grown(), at=NOON + 1)) == 1


def test_a_series_that_cannot_be_written_is_lost_too(
    api: FakeApiServer, connection: Connection
) -> None:
    recorder = Recorder(api, connection, deadline_seconds=0.2)
    recorder.write(grown())
    with api.faults.during(status=403, method="PATCH"):
        recorder.write(grown(), at=NOON + 1)
    assert (recorder.written, recorder.lost) == (1, 1)


def test_what_waits_too_long_makes_room(api: FakeApiServer, connection: Connection) -> None:
    recorder = Recorder(api, connection, budget=Budget(queue=2))

    kept = recorder.write(grown("a"), grown("b"), grown("c"))

    assert sorted(one["note"] for one in kept) == ["b", "c"]
    assert recorder.lost == 1


def test_only_so_many_objects_are_remembered(api: FakeApiServer, connection: Connection) -> None:
    recorder = Recorder(api, connection, budget=Budget(objects=2))
    for number in range(4):
        recorder.write(replace(grown(), about=replace(CHAT, name=f"chat-{number}")))
    assert len(recorder._tokens) == len(recorder._series) == 2


def test_a_thread_writes_them_and_ends_with_the_rest(
    api: FakeApiServer, connection: Connection
) -> None:
    recorder = Recorder(api, connection)
    recorder.start()
    for number in range(5):
        recorder.tell(grown(f"change {number}"), NOON)

    assert recorder.stop()

    assert len(api.objects(EVENTS)) == 5
    assert not [one for one in threading.enumerate() if one.name == "events"]


def test_a_server_that_hangs_does_not_hold_up_the_end(
    api: FakeApiServer, connection: Connection
) -> None:
    recorder = Recorder(api, connection, deadline_seconds=0.3)
    with api.faults.during(delay=2.0, path="events") as fault:
        recorder.start()
        recorder.tell(grown(), NOON)
        while not fault.hits:
            time.sleep(0.005)
        assert not recorder.stop(0.05)
        thread = recorder._thread
        assert thread is not None
        thread.join(3.0)
    assert recorder.stop()
    assert recorder.lost == 1


def test_without_a_thread_the_end_writes_what_waits(
    api: FakeApiServer, connection: Connection
) -> None:
    recorder = Recorder(api, connection)
    recorder.tell(grown(), NOON)
    assert recorder.stop()
    assert len(api.objects(EVENTS)) == 1
