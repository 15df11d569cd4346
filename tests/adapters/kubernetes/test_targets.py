"""The targets of a fleet, read over HTTP: what is seen, what is missing, and why."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kinds import Kinds
from autoscaler.adapters.kubernetes.neighbours import Neighbours
from autoscaler.adapters.kubernetes.scalers import ScalerReader
from autoscaler.adapters.kubernetes.sight import TargetSeen
from autoscaler.adapters.kubernetes.target_objects import Json
from autoscaler.adapters.kubernetes.targets import (
    ReadLimits,
    TargetReader,
    TargetsSeen,
    a_reader,
)
from autoscaler.adapters.kubernetes.watch import WatchLimits
from autoscaler.adapters.kubernetes.watches import Watches
from autoscaler.core.node_pools import NodePool
from autoscaler.core.observation import (
    Gap,
    GapReason,
    Intervention,
    InterventionKind,
    ReplicaStatus,
)
from autoscaler.core.policy import Policy
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from tests.adapters.kubernetes.bodies import NOON, a_budget, a_container, a_pod, a_target
from tests.adapters.kubernetes.conftest import HASTY
from tests.builders import Wants, a_fleet, a_workload, largest
from tests.fakes.kubernetes import Break, FakeApiServer, objects
from tests.waiting import until

QUICK = WatchLimits(
    watch_seconds=1.0, silence_seconds=0.3, first_wait_seconds=0.01, longest_wait_seconds=0.05
)
HASTY_READ = ReadLimits(max_age_seconds=2.0, first_read_seconds=3.0)
CRASHING = (a_container("CrashLoopBackOff"),)


class NeedsPods(Wants):
    """A policy that reads pods."""

    type: Any = "needs-pods"

    @property
    def needs_pods(self) -> bool:
        return True


def chat(name: str = "chat", *policies: Policy, **target: Any) -> ScaledWorkload:
    return a_workload(*policies, name=name, target={"name": name, **target})


Open = Callable[..., TargetReader]


@pytest.fixture
def reader(connection: Connection) -> Iterator[Open]:
    """Open readers, and close them."""
    opened: list[TargetReader] = []

    def make(limits: ReadLimits = HASTY_READ, **options: Any) -> TargetReader:
        kinds = options.pop("kinds", None) or Kinds(connection)
        watches = Watches(connection, limits=QUICK, follow=options.pop("follow", True))
        opened.append(TargetReader(connection, kinds, watches, limits=limits, **options))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def look(reader: TargetReader, *workloads: ScaledWorkload, now: float = NOON) -> TargetsSeen:
    return reader.read(a_fleet(*(workloads or (chat(),))), now)


def only(seen: TargetsSeen) -> TargetSeen:
    assert seen.missing == {}
    (found,) = seen.observed.values()
    return found


@pytest.mark.parametrize("follow", [True, False])
def test_a_settled_deployment(api: FakeApiServer, reader: Open, follow: bool) -> None:
    api.add(a_target())

    seen = only(look(reader(follow=follow)))

    assert seen.replicas == ReplicaStatus(desired=3, ready=3, total=3)
    assert (seen.pods, seen.interventions) == ((), ())
    assert seen.body["metadata"]["name"] == "chat"


def test_many_workloads_cost_no_more_requests_than_one(api: FakeApiServer, reader: Open) -> None:
    names = [f"w{number}" for number in range(40)]
    api.add(*(a_target(name=name) for name in names))
    fleet = a_fleet(*(chat(name) for name in names))
    targets = reader()

    seen = targets.read(fleet, NOON)
    asked = len(api.requests.matching("GET"))
    again = targets.read(fleet, NOON + 15)

    assert len(seen.observed) == 40
    assert asked == 4, "discovery, deployments, pods, budgets"
    assert len(api.requests.matching("GET")) == asked
    assert again.observed.keys() == seen.observed.keys()


def test_changes_are_seen_at_the_next_reading(api: FakeApiServer, reader: Open) -> None:
    api.add(a_target())
    targets = reader()
    look(targets)
    api.merge("/apis/apps/v1/namespaces/llm/deployments/chat", {"spec": {"replicas": 5}})

    until(lambda: only(look(targets)).replicas.desired == 5)
    assert only(look(targets)).replicas.starting == 2


@pytest.mark.parametrize(
    ("target", "gap"),
    [
        pytest.param(
            {"name": "other"},
            Gap(GapReason.EMPTY, "there is no Deployment llm/other"),
            id="not there",
        ),
        pytest.param(
            {"kind": "Deploy"},
            Gap(GapReason.ERROR, "the cluster serves no Deploy of apps/v1"),
            id="no such kind",
        ),
        pytest.param(
            {"apiVersion": "ray.io/v1"},
            Gap(
                GapReason.ERROR,
                "get /apis/ray.io/v1: 404, the cluster does not serve /apis/ray.io/v1: check "
                "apiVersion and kind, and that its CRD is installed",
            ),
            id="no such group",
        ),
    ],
)
def test_what_cannot_be_seen_is_missing_and_the_others_are_not(
    api: FakeApiServer, reader: Open, target: dict[str, Any], gap: Gap
) -> None:
    api.add(a_target())
    odd = a_workload(name="odd", target={"name": "chat", **target})

    seen = look(reader(), chat(), odd)

    assert seen.missing == {"llm/odd": gap}
    assert list(seen.observed) == ["llm/chat"]


def test_a_target_that_is_being_deleted_is_missing(api: FakeApiServer, reader: Open) -> None:
    api.add(a_target(metadata={"deletionTimestamp": "2023-11-14T22:13:20Z", "finalizers": ["x"]}))

    assert look(reader()).missing == {
        "llm/chat": Gap(GapReason.EMPTY, "Deployment llm/chat is being deleted")
    }


def test_a_count_that_is_none_is_missing(api: FakeApiServer, reader: Open) -> None:
    api.add(a_target(status={"replicas": "many"}))

    assert look(reader()).missing == {
        "llm/chat": Gap(
            GapReason.ERROR,
            "Deployment llm/chat: a replica count should be an integer of 0 or more, not 'many'",
        )
    }


def test_an_object_that_cannot_be_read_is_missing(api: FakeApiServer, reader: Open) -> None:
    api.add(a_target(status={"conditions": 5}), a_target(name="b"))

    seen = look(reader(), chat(), chat("b"))

    assert seen.missing["llm/chat"].detail.startswith("Deployment llm/chat: cannot be read: Type")
    assert list(seen.observed) == ["llm/b"]


def test_an_outage_is_a_gap_once_what_is_known_is_too_old(api: FakeApiServer, reader: Open) -> None:
    api.add(a_target())
    targets = reader(ReadLimits(max_age_seconds=0.5, first_read_seconds=3.0))
    only(look(targets))
    api.stop()

    until(lambda: look(targets).missing)
    gap = look(targets).missing["llm/chat"]
    assert gap.reason is GapReason.ERROR
    assert gap.detail.startswith(
        "Deployment llm/chat: list deployments.apps llm was last confirmed "
    )
    assert "more than 0.5 s: " in gap.detail

    api.start()
    until(lambda: not look(targets).missing)


def test_a_role_that_lacks_the_right_is_a_gap(api: FakeApiServer) -> None:
    api.add(a_target())
    connection = Connection.open(api.account("llm", "nobody").kubeconfig_path, limits=HASTY)
    targets = a_reader(connection, limits=HASTY_READ)

    gap = look(targets).missing["llm/chat"]

    assert (
        "403, not allowed: grant the verb list on deployments.apps in namespace llm" in gap.detail
    )
    targets.close()
    connection.close()


def unsettled(**changes: Any) -> dict[str, Any]:
    return a_target(
        status={"replicas": 3, "readyReplicas": 1, "updatedReplicas": 3, "observedGeneration": 1},
        **changes,
    )


def test_pods_that_do_not_come_up_are_failing(api: FakeApiServer, reader: Open) -> None:
    api.add(
        unsettled(),
        a_pod("chat-a"),
        a_pod("chat-b", ready=False, containers=CRASHING),
        a_pod("chat-c", ready=None, phase="Pending", unschedulable=True),
        a_pod("other", labels={"app": "other"}, ready=False, containers=CRASHING),
    )
    targets = reader()

    assert only(look(targets, now=NOON + 599)).replicas.failing == 1
    assert only(look(targets, now=NOON + 600)).replicas.failing == 2


def test_a_slow_node_pool_is_waited_for_longer(api: FakeApiServer, reader: Open) -> None:
    api.add(unsettled(), a_pod(ready=None, phase="Pending", unschedulable=True))
    pool = NodePool.model_validate(
        {
            "metadata": {"name": "h100"},
            "spec": {"gpusPerNode": 8, "nodes": {"max": 9}, "provisioningSeconds": 900},
        }
    )
    workload = a_workload(replica={"nodePool": "h100"})
    fleet = FleetSpec((workload,), {"highest": largest}, (pool,))
    targets = reader()

    assert only(targets.read(fleet, NOON + 1799)).replicas.failing == 0
    assert only(targets.read(fleet, NOON + 1800)).replicas.failing == 1


def test_pods_are_told_only_to_whom_they_matter(api: FakeApiServer, reader: Open) -> None:
    api.add(a_target(), a_pod("chat-a"), a_pod("chat-b"), a_pod("x", labels={"app": "other"}))

    without = only(look(reader(), chat()))
    with_pods = only(look(reader(), chat("chat", NeedsPods(replicas=1))))

    assert without.pods == ()
    assert [pod.name for pod in with_pods.pods] == ["chat-a", "chat-b"]


def no_rights_on(api: FakeApiServer, *resources: str) -> Connection:
    """A connection that may read everything but these."""
    able = {
        ("apps", "deployments"),
        ("", "pods"),
        ("policy", "poddisruptionbudgets"),
    }
    rules = [
        {"apiGroups": [group], "resources": [name], "verbs": ["list", "watch"]}
        for group, name in sorted(able)
        if name not in resources
    ]
    account = api.account("llm", "reader", objects.role("reader", *rules, namespace="llm"))
    return Connection.open(account.kubeconfig_path, limits=HASTY)


def test_without_budgets_nothing_may_be_lowered(api: FakeApiServer) -> None:
    api.add(a_target())
    connection = no_rights_on(api, "poddisruptionbudgets")
    targets = a_reader(connection, limits=HASTY_READ)

    (doubt,) = only(look(targets)).interventions

    assert doubt.kind is InterventionKind.PAUSED_DOWN
    assert doubt.text.startswith("disruption budgets are not known: list poddisruptionbudgets.poli")
    assert "grant the verb list" in doubt.text
    targets.close()
    connection.close()


def test_without_pods_only_who_is_settled_may_be_lowered(api: FakeApiServer) -> None:
    api.add(a_target(), unsettled(name="starting"))
    connection = no_rights_on(api, "pods")
    targets = a_reader(connection, limits=HASTY_READ)

    seen = look(targets, chat(), chat("starting"), a_workload(NeedsPods(replicas=1), name="asks",
                                                             target={"name": "chat"}))  # fmt: skip

    assert seen.observed["llm/chat"].interventions == ()
    (doubt,) = seen.observed["llm/starting"].interventions
    assert doubt.kind is InterventionKind.PAUSED_DOWN
    assert doubt.text.startswith("failing pods would not be seen: list pods llm has not been answ")
    assert seen.missing["llm/asks"].detail.startswith(
        "Deployment llm/chat: its pods are needed and not known: list pods llm"
    )
    targets.close()
    connection.close()


def test_the_least_budget_counts(api: FakeApiServer, reader: Open) -> None:
    api.add(
        a_target(),
        a_target(name="free"),
        a_budget(2),
        a_budget(1, name="second"),
        a_budget(0, name="other", selector={"matchLabels": {"app": "other"}}),
    )

    seen = look(reader(), chat(), chat("free"))

    assert seen.observed["llm/chat"].replicas.disruptions_allowed == 1
    assert seen.observed["llm/free"].replicas.disruptions_allowed is None


def test_the_budget_of_a_group_is_found_by_its_pods(api: FakeApiServer, reader: Open) -> None:
    name = {"leaderworkerset.sigs.k8s.io/name": "chat"}
    api.add(
        objects.custom(
            "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "chat", namespace="llm", replicas=2
        )
        | {"status": {"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2}},
        a_pod("chat-0", labels=name),
        a_budget(1, selector={"matchLabels": name}),
    )
    workload = chat(apiVersion="leaderworkerset.x-k8s.io/v1", kind="LeaderWorkerSet")

    seen = only(look(reader(), workload))

    assert seen.replicas == ReplicaStatus(desired=2, ready=2, total=2, disruptions_allowed=1)


def test_a_kind_that_nobody_knows_is_read_by_its_scale(api: FakeApiServer, reader: Open) -> None:
    api.add(
        objects.custom("example.com/v1", "Engine", "chat", namespace="llm", size=4)
        | {"status": {"size": 3, "readyReplicas": 2, "selector": "app=chat"}}
    )
    workload = chat(apiVersion="example.com/v1", kind="Engine")

    assert only(look(reader(), workload)).replicas == ReplicaStatus(desired=4, ready=2, total=3)
    assert len(api.requests.matching("GET", "/scale$")) == 1


def test_ready_is_counted_by_pods_where_the_object_does_not_tell(
    api: FakeApiServer, reader: Open
) -> None:
    api.add(
        objects.custom("example.com/v1", "Teller", "chat", namespace="llm", replicas=3)
        | {"status": {"replicas": 3, "selector": "app=chat"}},
        a_pod("a"),
        a_pod("b", ready=False, containers=CRASHING),
    )
    workload = chat(apiVersion="example.com/v1", kind="Teller")

    assert only(look(reader(), workload)).replicas == ReplicaStatus(
        desired=3, ready=1, total=3, failing=1
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param({"size": 0}, ReplicaStatus(0, 0, 0), id="asleep: nothing to count"),
        pytest.param({"size": 2}, "its pods are needed and not known: it does not tell its pods",
                     id="awake: not to be guessed"),
    ],
)  # fmt: skip
def test_a_kind_that_tells_neither_ready_nor_pods(
    api: FakeApiServer, reader: Open, status: dict[str, int], expected: ReplicaStatus | str
) -> None:
    size = status["size"]
    engine = objects.custom("example.com/v1", "Engine", "chat", namespace="llm", size=size)
    api.add(engine | {"status": status})

    seen = look(reader(), chat(apiVersion="example.com/v1", kind="Engine"))

    if isinstance(expected, str):
        assert seen.missing["llm/chat"].detail == f"Engine llm/chat: {expected}"
    else:
        assert only(seen).replicas == expected


def test_a_scale_that_is_refused_is_missing(api: FakeApiServer, reader: Open) -> None:
    api.add(objects.custom("example.com/v1", "Engine", "chat", namespace="llm", size=4))
    api.faults.add(path="/scale", status=403, times=None)

    seen = look(reader(), chat(apiVersion="example.com/v1", kind="Engine"))

    assert seen.missing["llm/chat"].detail.startswith(
        "Engine llm/chat: get engines.example.com/scale llm/chat: 403"
    )


def test_a_slow_server_is_not_asked_for_every_scale_in_turn(
    api: FakeApiServer, reader: Open
) -> None:
    names = [f"w{number}" for number in range(6)]
    api.add(
        *(objects.custom("example.com/v1", "Engine", n, namespace="llm", size=1) for n in names)
    )
    api.faults.add(path="/scale", breaks=Break.HANG, times=None)
    targets = reader(ReadLimits(max_age_seconds=5.0, threads=1, scale_seconds=0.3))

    seen = look(targets, *(chat(n, apiVersion="example.com/v1", kind="Engine") for n in names))

    assert len(seen.missing) == 6
    assert seen.missing["llm/w5"].detail == ("Engine llm/w5: its /scale was not asked within 0.3 s")
    assert len(api.requests.matching("GET", "/scale$")) < 6


def test_an_inference_service_is_read_by_its_pods(api: FakeApiServer, reader: Open) -> None:
    mine = {"component": "predictor", "serving.kserve.io/inferenceservice": "chat"}
    api.add(
        objects.custom(
            "serving.kserve.io/v1beta1",
            "InferenceService",
            "chat",
            namespace="llm",
            predictor={"minReplicas": 3},
        ),
        a_pod("a", labels=mine),
        a_pod("b", labels=mine, ready=False, containers=CRASHING),
        a_pod("transformer", labels={**mine, "component": "transformer"}),
        a_budget(1, selector={"matchLabels": mine}),
    )

    seen = only(
        look(reader(), chat(apiVersion="serving.kserve.io/v1beta1", kind="InferenceService"))
    )

    assert seen.replicas == ReplicaStatus(
        desired=3, ready=1, total=2, failing=1, disruptions_allowed=1
    )
    assert [pod.name for pod in seen.pods] == ["a", "b"]


def test_who_else_has_a_say_is_asked(api: FakeApiServer, reader: Open) -> None:
    api.add(a_target(metadata={"annotations": {"inference-autoscaler.dev/paused": "true"}}))

    def say(
        workload: ScaledWorkload, body: Json, count: int, now: float
    ) -> tuple[Intervention, ...]:
        (note,) = body["metadata"]["annotations"]
        return (Intervention(InterventionKind.PAUSED, f"{workload.key} {note} {count} {now:g}"),)

    seen = only(look(reader(say=say)))

    assert [one.text for one in seen.interventions] == [
        "llm/chat inference-autoscaler.dev/paused 3 1.7e+09"
    ]


def test_an_edit_of_a_kind_that_keeps_its_count_elsewhere_is_noticed(
    api: FakeApiServer, connection: Connection, reader: Open
) -> None:
    api.add(
        objects.custom("example.com/v1", "Engine", "chat", namespace="llm", size=4)
        | {"status": {"size": 4, "readyReplicas": 4, "selector": "app=chat"}}
    )
    workload = chat(apiVersion="example.com/v1", kind="Engine")
    others = ScalerReader(connection, {"llm"}, say=print)
    targets = reader(follow=False, say=Neighbours(others, say=print))
    assert only(look(targets, workload)).interventions == ()

    path = "/apis/example.com/v1/namespaces/llm/engines/chat/scale"
    api.merge(path, {"spec": {"replicas": 7}}, fieldManager="kubectl")

    (edit,) = only(look(targets, workload, now=NOON + 15)).interventions
    assert edit.kind is InterventionKind.EDITED
    assert edit.text.startswith("somebody set Engine llm/chat from 4 to 7 replicas")


def test_a_fleet_in_many_namespaces_is_followed_cluster_wide(
    api: FakeApiServer, reader: Open
) -> None:
    places = ["a", "b", "c"]
    api.add(*(a_target(namespace=place) for place in places))
    api.add(unsettled(namespace="d"), a_pod(namespace="d", ready=False, containers=CRASHING))
    workloads = [
        chat().model_copy(update={"metadata": chat().metadata.model_copy(update={"namespace": n})})
        for n in (*places, "d")
    ]

    seen = look(reader(ReadLimits(max_age_seconds=9.0, namespaces=3)), *workloads)

    assert len(seen.observed) == 4
    assert seen.observed["d/chat"].replicas.failing == 1
    assert {each.path for each in api.requests.matching("WATCH")} <= {
        "/apis/apps/v1/deployments",
        "/api/v1/pods",
        "/apis/policy/v1/poddisruptionbudgets",
    }


def test_what_is_no_longer_asked_for_is_no_longer_followed(
    api: FakeApiServer, reader: Open
) -> None:
    api.add(a_target(), a_target("StatefulSet", name="s", serviceName="s"))
    targets = reader()
    look(targets, chat(), chat("s", kind="StatefulSet"))
    look(targets, chat())
    api.requests.clear()
    api.cut_watches()

    until(lambda: len(api.requests.matching("WATCH", "deployments")) >= 1)
    assert not api.requests.matching("", "statefulsets")


def test_a_path_that_is_gone_is_asked_for_again(
    api: FakeApiServer, reader: Open, connection: Connection
) -> None:
    api.add(a_target())
    kinds = Kinds(connection)
    targets = reader(kinds=kinds, follow=False)
    with api.faults.during(path="/deployments", status=404):
        assert "404" in look(targets).missing["llm/chat"].detail
    api.requests.clear()

    only(look(targets))

    assert len(api.requests.matching("GET", "^/apis/apps/v1$")) == 1


def test_all_followed_pods_can_be_looked_through(api: FakeApiServer, reader: Open) -> None:
    api.add(a_target(), a_pod("chat-a"), a_pod("x", labels={"app": "other"}))
    targets = reader()

    assert targets.pods() == ()
    look(targets)
    assert sorted(pod.name for pod in targets.pods()) == ["chat-a", "x"]


def test_an_empty_fleet_asks_nothing(api: FakeApiServer, reader: Open) -> None:
    assert reader().read(FleetSpec((), {}), NOON) == TargetsSeen({}, {})
    assert len(api.requests) == 0
