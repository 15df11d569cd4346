"""Node pools over HTTP: Cluster API's machines and Karpenter's static NodePools."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kinds import Kinds
from autoscaler.adapters.node_pools.pools import PoolReader, PoolScaler
from autoscaler.core.decision import NodeAction, Outcome
from autoscaler.core.errors import ActuationError
from autoscaler.core.node_pools import NodePool
from autoscaler.core.observation import Gap, GapReason, NodePoolStatus
from autoscaler.core.workload import FleetSpec
from tests.adapters.kubernetes.conftest import HASTY, MORE
from tests.builders import NOON
from tests.fakes.kubernetes import FakeApiServer, custom, objects

CAPI = "cluster.x-k8s.io/v1beta2"
MACHINES = "/apis/cluster.x-k8s.io/v1beta2/namespaces/fleet/machinedeployments/h100"
STATIC = "/apis/karpenter.sh/v1/nodepools/h100"
MACHINE_TARGET = {
    "apiVersion": CAPI,
    "kind": "MachineDeployment",
    "name": "h100",
    "namespace": "fleet",
}
STATIC_TARGET = {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "name": "h100"}
OWN = custom("example.com", "v1", "racks", "Rack")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApiServer]:
    with FakeApiServer(tmp_path, resources=(*MORE, OWN)) as server:
        yield server


@pytest.fixture
def connection(api: FakeApiServer) -> Iterator[Connection]:
    opened = Connection.open(api.kubeconfig_path, limits=HASTY)
    yield opened
    opened.close()


def a_fleet_of(*targets: Mapping[str, Any] | None) -> FleetSpec:
    """A pool for each target, called pool0, pool1 ..."""
    pools = [
        NodePool.model_validate(
            {
                "metadata": {"name": f"pool{number}"},
                "spec": {
                    "actuation": "scale",
                    "gpusPerNode": 8,
                    "nodes": {"max": 9},
                    "target": target,
                },
            }
        )
        for number, target in enumerate(targets)
    ]
    return FleetSpec((), {}, tuple(pools))


def machines(
    kind: str = "MachineDeployment",
    *,
    replicas: int = 3,
    ready: int = 3,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    body = objects.custom(CAPI, kind, "h100", namespace="fleet", replicas=replicas)
    body["metadata"]["annotations"] = dict(annotations or {})
    return {**body, "status": {"replicas": replicas, "readyReplicas": ready}}


def static(**spec: Any) -> dict[str, Any]:
    return objects.custom("karpenter.sh/v1", "NodePool", "h100", namespace=None, **spec)


def claim(name: str, *, ready: bool = True, pool: str = "h100") -> dict[str, Any]:
    body = objects.custom("karpenter.sh/v1", "NodeClaim", name, namespace=None)
    body["metadata"]["labels"] = {"karpenter.sh/nodepool": pool}
    return {**body, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


def read(
    connection: Connection, *targets: Mapping[str, Any] | None
) -> tuple[Mapping[str, NodePoolStatus], Mapping[str, Gap]]:
    return PoolReader(connection, Kinds(connection)).read(a_fleet_of(*targets), NOON)


def act(
    connection: Connection, target: Mapping[str, Any] | None, before: int, after: int, **how: Any
) -> Outcome:
    scaler = PoolScaler(connection, Kinds(connection), **how)
    scaler.use(a_fleet_of(target))
    return scaler.act(NodeAction("pool0", before, after), NOON)


def test_pools_are_read_side_by_side(api: FakeApiServer, connection: Connection) -> None:
    api.add(
        machines(ready=2),
        static(replicas=4),
        claim("a"),
        claim("b"),
        claim("c", ready=False),
        claim("other", pool="other"),
    )

    seen, missing = read(connection, MACHINE_TARGET, STATIC_TARGET)

    assert seen == {"pool0": NodePoolStatus(3, 2), "pool1": NodePoolStatus(4, 2)}
    assert missing == {}


def test_machines_of_a_roll_out_are_no_capacity(api: FakeApiServer, connection: Connection) -> None:
    api.add(machines(replicas=3, ready=4))

    assert read(connection, MACHINE_TARGET)[0] == {"pool0": NodePoolStatus(3, 3)}


def test_a_pool_that_follows_the_pods_asks_for_what_it_has(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(static(), claim("a"), claim("b", ready=False))

    assert read(connection, STATIC_TARGET)[0] == {"pool0": NodePoolStatus(2, 1)}


def test_many_claims_come_in_pages(
    api: FakeApiServer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoscaler.adapters.node_pools.pools._PAGE", 2)
    api.add(static(replicas=5), *(claim(name) for name in "abcde"))

    assert read(connection, STATIC_TARGET)[0] == {"pool0": NodePoolStatus(5, 5)}
    assert len(api.requests.matching("GET", "nodeclaims")) == 3


@pytest.mark.parametrize(
    ("target", "gap"),
    [
        pytest.param(
            None,
            Gap(GapReason.EMPTY, "its file has no spec.target, so nobody knows its nodes"),
            id="no target",
        ),
        pytest.param(
            MACHINE_TARGET,
            Gap(
                GapReason.ERROR,
                "MachineDeployment fleet/h100: get machinedeployments.cluster.x-k8s.io fleet/h100: "
                "404, there is no such object",
            ),
            id="not there",
        ),
        pytest.param(
            {**MACHINE_TARGET, "kind": "MachineDeploy"},
            Gap(
                GapReason.ERROR,
                "MachineDeploy fleet/h100: the cluster serves no MachineDeploy of "
                "cluster.x-k8s.io/v1beta2",
            ),
            id="no such kind",
        ),
    ],
)
def test_a_pool_that_cannot_be_seen_is_missing_and_the_others_are_not(
    api: FakeApiServer, connection: Connection, target: Mapping[str, Any] | None, gap: Gap
) -> None:
    api.add(static(replicas=1))

    seen, missing = read(connection, target, STATIC_TARGET)

    assert missing == {"pool0": gap}
    assert seen == {"pool1": NodePoolStatus(1, 0)}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(
            machines(replicas=-1), "replicas should be an integer of 0 or more, not -1", id="count"
        ),
        pytest.param({**machines(), "status": 5}, "cannot be read: AttributeError", id="shape"),
    ],
)
def test_an_odd_object_is_missing(
    api: FakeApiServer, connection: Connection, body: dict[str, Any], said: str
) -> None:
    api.add(body)

    assert said in read(connection, MACHINE_TARGET)[1]["pool0"].detail


def test_a_fleet_without_pools_asks_nothing(api: FakeApiServer, connection: Connection) -> None:
    assert read(connection) == ({}, {})
    assert len(api.requests) == 0


@pytest.mark.parametrize("kind", ["MachineDeployment", "MachinePool"])
def test_machines_are_asked_for_by_scale(
    api: FakeApiServer, connection: Connection, kind: str
) -> None:
    api.add(machines(kind))
    path = MACHINES.replace("machinedeployments", f"{kind.lower()}s")

    outcome = act(connection, {**MACHINE_TARGET, "kind": kind}, 3, 5)
    again = act(connection, {**MACHINE_TARGET, "kind": kind}, 3, 5)

    assert outcome == Outcome(NodeAction("pool0", 3, 5), done=True)
    assert again.detail == f"{kind} fleet/h100 has 5 already"
    assert api.peek(path)["spec"]["replicas"] == 5
    (write,) = api.requests.writes
    assert write.path == f"{path}/scale"
    assert write.query["fieldManager"] == "inference-autoscaler"


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        pytest.param(
            {
                "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size": "9",
                "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size": "1",
            },
            "MachineDeployment fleet/h100 is not sized by us: cluster-autoscaler sizes it "
            "(annotation cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size): remove its "
            "min-size and max-size annotations, or set actuation: none",
            id="cluster-autoscaler",
        ),
        pytest.param(
            {"cluster.x-k8s.io/replicas-managed-by": "aws"},
            "MachineDeployment fleet/h100 is not sized by us: aws sizes it (annotation "
            "cluster.x-k8s.io/replicas-managed-by): remove the annotation, or set actuation: none",
            id="the provider",
        ),
        pytest.param(
            {"cluster.x-k8s.io/replicas-managed-by": ""},
            "MachineDeployment fleet/h100 is not sized by us: something else sizes it (annotation "
            "cluster.x-k8s.io/replicas-managed-by): remove the annotation, or set actuation: none",
            id="somebody",
        ),
    ],
)
def test_machines_that_another_autoscaler_sizes_are_refused(
    api: FakeApiServer, connection: Connection, annotation: Mapping[str, str], said: str
) -> None:
    api.add(machines(annotations=annotation))

    with pytest.raises(ActuationError) as refused:
        act(connection, MACHINE_TARGET, 3, 5)

    assert str(refused.value) == said
    assert api.requests.writes == []


def test_machines_of_a_topology_are_refused(api: FakeApiServer, connection: Connection) -> None:
    api.apply(
        MACHINES,
        objects.custom(CAPI, "MachineDeployment", "h100", namespace="fleet", replicas=3),
        manager="capi-topology",
    )
    api.requests.clear()

    with pytest.raises(ActuationError, match="its Cluster's topology sets replicas and would undo"):
        act(connection, MACHINE_TARGET, 3, 5)

    assert api.requests.writes == []


def test_a_static_pool_is_sized(api: FakeApiServer, connection: Connection) -> None:
    api.add(static(replicas=3))

    assert act(connection, STATIC_TARGET, 3, 5) == Outcome(NodeAction("pool0", 3, 5), done=True)
    assert api.peek(STATIC)["spec"]["replicas"] == 5


def test_a_pools_own_limit_is_told(api: FakeApiServer, connection: Connection) -> None:
    api.add(static(replicas=3, limits={"nodes": 4}))

    outcome = act(connection, STATIC_TARGET, 3, 5)

    assert outcome.done
    assert outcome.detail == "spec.limits.nodes is 4: Karpenter makes no more"
    assert act(connection, STATIC_TARGET, 5, 4).detail == ""


def test_a_pool_that_karpenter_sizes_is_refused(api: FakeApiServer, connection: Connection) -> None:
    api.add(static(limits={"cpu": "100"}))

    with pytest.raises(ActuationError) as refused:
        act(connection, STATIC_TARGET, 3, 5)

    assert str(refused.value) == (
        "NodePool h100 is not sized by us: Karpenter sizes it by the pods that wait (it has no "
        "spec.replicas): make a static NodePool, or set actuation: none"
    )


def test_nodes_that_somebody_else_changed_are_left_alone(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(machines(replicas=7))

    outcome = act(connection, MACHINE_TARGET, 3, 5)

    assert not outcome.done
    assert outcome.detail == (
        "MachineDeployment fleet/h100 left alone: 7 nodes found where 3 were seen, so it was "
        "changed meanwhile; 5 not set"
    )


def test_a_kind_without_scale_is_sized_by_its_field(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(objects.custom("example.com/v1", "Rack", "h100", namespace="fleet", replicas=3))
    target = {**MACHINE_TARGET, "apiVersion": "example.com/v1", "kind": "Rack"}

    assert act(connection, target, 3, 5).done
    path = "/apis/example.com/v1/namespaces/fleet/racks/h100"
    assert api.peek(path)["spec"]["replicas"] == 5
    assert "resourceVersion" in api.requests.writes[0].json["metadata"]


def test_who_no_longer_leads_asks_for_no_nodes(api: FakeApiServer, connection: Connection) -> None:
    api.add(machines())

    with pytest.raises(ActuationError, match="we no longer lead"):
        act(connection, MACHINE_TARGET, 3, 5, may_write=lambda: False)

    assert api.requests.writes == []


def test_a_pool_without_a_target_cannot_be_sized(connection: Connection) -> None:
    with pytest.raises(ActuationError, match="pool0: no policy file says which object makes its"):
        act(connection, None, 3, 5)


def test_a_pool_that_is_not_there_cannot_be_sized(connection: Connection) -> None:
    with pytest.raises(ActuationError, match=r"MachineDeployment fleet/h100: get .*404, there is"):
        act(connection, MACHINE_TARGET, 3, 5)
