"""The rights: neither more nor less than what the code asks for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from autoscaler.adapters.kubernetes.annotations import KillSwitch
from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.drain import Drain
from autoscaler.adapters.kubernetes.election import Election
from autoscaler.adapters.kubernetes.events import EventRecorder
from autoscaler.adapters.kubernetes.kept_state import MOST_PIECES, ClusterStore
from autoscaler.adapters.kubernetes.kinds import Kinds
from autoscaler.adapters.kubernetes.lease import ClusterLease
from autoscaler.adapters.kubernetes.neighbours import Neighbours
from autoscaler.adapters.kubernetes.occurrences import Occurrence, reference_of
from autoscaler.adapters.kubernetes.rbac import (
    EVERYWHERE,
    Own,
    Right,
    Rights,
    base_rights,
    fleet_rights,
    plural,
    shadowed,
    without,
)
from autoscaler.adapters.kubernetes.rights_used import rules_used
from autoscaler.adapters.kubernetes.role_files import base_files, role_file
from autoscaler.adapters.kubernetes.scale import Scaler
from autoscaler.adapters.kubernetes.scalers import Reference, ScalerReader
from autoscaler.adapters.kubernetes.targets import ReadLimits, TargetReader
from autoscaler.adapters.kubernetes.watches import Watches
from autoscaler.adapters.node_pools.pools import PoolReader, PoolScaler
from autoscaler.cli import main
from autoscaler.core.decision import Action, NodeAction
from autoscaler.core.errors import AutoscalerError
from autoscaler.core.node_pools import NodePool
from autoscaler.core.observation import InterventionKind
from autoscaler.core.spec import Actuation
from autoscaler.core.workload import FleetSpec, ScaledWorkload
from tests.adapters.kubernetes.bodies import a_pod
from tests.adapters.kubernetes.conftest import MORE
from tests.builders import NOON, a_fleet, a_workload
from tests.fakes.kubernetes import FakeApiServer, ScalePaths, custom, objects

OURS = "inference-autoscaler"
ROOT = Path(__file__).parents[3]


def grants(rights: Rights) -> set[tuple[str, str, str]]:
    """Every verb on every resource, with its place."""
    return {
        (place, f"{right.resource}.{right.group}".rstrip("."), verb)
        for place, mine in rights.items()
        for right in mine
        for verb in right.verbs
    }


def on(
    name: str = "chat",
    *,
    kind: str = "Deployment",
    version: str = "apps/v1",
    namespace: str = "llm",
    actuation: Actuation = Actuation.SCALE,
) -> ScaledWorkload:
    target = {"apiVersion": version, "kind": kind, "name": name}
    whole = a_workload(name=name, target=target, actuation=actuation)
    return whole.model_copy(
        update={"metadata": whole.metadata.model_copy(update={"namespace": namespace})}
    )


def a_pool(
    name: str = "h100",
    *,
    version: str = "karpenter.sh/v1",
    kind: str = "NodePool",
    namespace: str | None = None,
    actuation: Actuation = Actuation.SCALE,
    target: bool = True,
) -> NodePool:
    place = {"apiVersion": version, "kind": kind, "name": name}
    if namespace is not None:
        place["namespace"] = namespace
    spec = {"gpusPerNode": 8, "nodes": {"max": 4}, "actuation": actuation}
    return NodePool.model_validate(
        {"metadata": {"name": name}, "spec": {**spec, **({"target": place} if target else {})}}
    )


def with_pools(fleet: FleetSpec, *pools: NodePool) -> FleetSpec:
    return FleetSpec(fleet.workloads, fleet.combiners, pools)


# --- a whole run, with no more than the rights ---------------------------------------------------


def documents(rights: Rights) -> list[dict[str, Any]]:
    """Every role and binding, as the files have them."""
    texts = [role_file(rights, OURS, writes=writes) for writes in (False, True)]
    return [one for text in texts for one in yaml.safe_load_all(text) if one]


def a_cluster(api: FakeApiServer, fleet: FleetSpec) -> None:
    for workload in fleet.workloads:
        target, namespace = workload.spec.target, workload.metadata.namespace
        if (target.api_version, target.kind) == ("apps/v1", "Deployment"):
            api.add(
                objects.deployment(target.name, namespace=namespace, replicas=3),
                *(
                    a_pod(f"{target.name}-{n}", namespace=namespace, labels={"app": target.name})
                    for n in range(3)
                ),
            )
        else:
            labels = {"app": target.name}
            body = {
                "apiVersion": target.api_version,
                "kind": target.kind,
                "metadata": {"name": target.name, "namespace": namespace},
                "spec": {
                    "replicas": 3,
                    "selector": {"matchLabels": labels},
                    "predictor": {"minReplicas": 3},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {"containers": [{"name": "engine", "image": "engine:1"}]},
                    },
                },
            }
            api.add(body)
    for pool in fleet.pools:
        target_ = pool.spec.target
        if target_ is not None:
            metadata = {"name": target_.name}
            if target_.namespace:
                metadata["namespace"] = target_.namespace
            api.add(
                {
                    "apiVersion": target_.api_version,
                    "kind": target_.kind,
                    "metadata": metadata,
                    "spec": {"replicas": 1},
                }
            )


def a_run(connection: Connection, fleet: FleetSpec, *, shadow: bool = False) -> None:
    """Look, lead, act, tell and remember: everything that a live controller asks for."""
    problems: list[str] = []
    kinds, limits = Kinds(connection), ReadLimits(first_read_seconds=3.0)
    namespaces = {workload.metadata.namespace for workload in fleet.workloads}
    wide = len(namespaces) > limits.namespaces
    neighbours = Neighbours(
        ScalerReader(connection, None if wide else namespaces, say=problems.append),
        say=problems.append,
    )
    watches = Watches(connection)
    reader = TargetReader(connection, kinds, watches, limits=limits, say=neighbours)
    seen = reader.read(fleet, NOON)
    reader.close()
    assert not seen.missing
    held = {one.kind for target in seen.observed.values() for one in target.interventions}
    assert held <= {InterventionKind.EXPECTED_MISSING}
    _, gaps = PoolReader(connection, kinds).read(fleet, NOON)
    assert not {name for name, gap in gaps.items() if "no spec.target" not in gap.detail}
    assert KillSwitch(connection, OURS, say=problems.append).read() is None
    if not shadow:
        _acts(connection, kinds, fleet)
    assert problems == []


def _acts(connection: Connection, kinds: Kinds, fleet: FleetSpec) -> None:
    clock = [0.0]
    election = Election(
        ClusterLease(connection, OURS, OURS, deadline_seconds=3.0),
        "pod-1",
        now=lambda: NOON,
        chance=lambda: 0.5,
        monotonic=lambda: clock[0],
    )
    for _ in range(2):
        election.attempt()
        clock[0] += 15.0
    election.attempt()
    assert election.is_leader()
    scaler = Scaler(connection, kinds, drain=Drain(connection), may_write=election.is_leader)
    scaler.use(fleet)
    recorder = EventRecorder(connection, "pod-1")
    for workload in fleet.workloads:
        if workload.spec.actuation is Actuation.SCALE:
            outcome = scaler.act(Action(workload.key, 3, 2), NOON)
            assert outcome.done
            assert outcome.detail == ""
        for _ in range(2):
            recorder.tell(Occurrence(reference_of(workload), "Any", "note", "Any"), NOON)
    pools = PoolScaler(connection, kinds)
    pools.use(fleet)
    for pool in fleet.pools:
        if pool.spec.actuation is Actuation.SCALE:
            assert pools.act(NodeAction(pool.key, 1, 2), NOON).done
            target = pool.spec.target
            assert target is not None
            about = Reference(target.api_version, target.kind, target.namespace or "", target.name)
            for _ in range(2):
                recorder.tell(Occurrence(about, "Any", "note", "Any"), NOON)
    recorder.flush(5.0)
    assert recorder.lost == 0
    store = ClusterStore(connection, OURS, f"{OURS}-state")
    store.load()
    store.save(b"state")
    store.save(b"state")
    assert election.stop()


def run_with(
    api: FakeApiServer, fleet: FleetSpec, rights: Rights, *, shadow: bool = False
) -> list[Any]:
    """Run with an account that has these rights and no others; return what it asked."""
    a_cluster(api, fleet)
    account = api.account(OURS, OURS, *documents(rights))
    connection = Connection.open(account.kubeconfig_path)
    api.requests.clear()
    a_run(connection, fleet, shadow=shadow)
    connection.close()
    return [one for one in api.requests if one.user != "admin"]


BASE_FLEET = a_fleet(on(), on("batch", kind="StatefulSet"))


def test_the_shipped_rights_are_all_that_a_run_needs_and_each_is_used(api: FakeApiServer) -> None:
    rights = base_rights()

    log = run_with(api, BASE_FLEET, rights)

    use = rules_used(log, rights)
    assert log
    assert use.beyond == ()
    assert use.unused == ()


def test_shadow_needs_only_the_half_that_reads(api: FakeApiServer) -> None:
    rights = shadowed(base_rights())

    log = run_with(api, BASE_FLEET, rights, shadow=True)

    use = rules_used(log, rights)
    assert (use.beyond, use.unused) == ((), ())
    assert {verb for _, _, verb in grants(rights)} == {"get", "list", "watch"}
    assert {one.method for one in log} <= {"GET", "WATCH"}


FLEETS = {
    "one Deployment": a_fleet(on()),
    "only followed": a_fleet(on(actuation=Actuation.HPA)),
    "only watched": a_fleet(on(actuation=Actuation.NONE)),
    "a StatefulSet": a_fleet(on(kind="StatefulSet")),
    "a LeaderWorkerSet": a_fleet(on(kind="LeaderWorkerSet", version="leaderworkerset.x-k8s.io/v1")),
    "an InferenceService": a_fleet(
        on(kind="InferenceService", version="serving.kserve.io/v1beta1")
    ),
    "a kind of somebody's": a_fleet(on(kind="Server", version="acme.example/v1")),
    "two namespaces": a_fleet(on(), on(namespace="other", actuation=Actuation.NONE)),
    "our own namespace": a_fleet(on(namespace=OURS)),
    "many namespaces": a_fleet(*(on(namespace=f"team-{n}") for n in range(9))),
    "Cluster API": with_pools(
        a_fleet(on()),
        a_pool(version="cluster.x-k8s.io/v1beta2", kind="MachineDeployment", namespace="capi"),
    ),
    "a pool that is only watched": with_pools(a_fleet(on()), a_pool(actuation=Actuation.NONE)),
    "two pools of Karpenter": with_pools(a_fleet(on()), a_pool(), a_pool("l40s")),
    "a pool without a target": with_pools(
        a_fleet(on()), a_pool(actuation=Actuation.NONE, target=False)
    ),
}


@pytest.mark.parametrize("fleet", FLEETS.values(), ids=FLEETS.keys())
def test_the_rights_of_a_fleet_are_all_that_it_needs_and_each_is_used(
    tmp_path: Path, fleet: FleetSpec
) -> None:
    server = custom("acme.example", "v1", "servers", "Server", scale=ScalePaths())
    rights = fleet_rights(fleet)

    with FakeApiServer(tmp_path, resources=(*MORE, server)) as api:
        use = rules_used(run_with(api, fleet, rights), rights)

    assert (use.beyond, use.unused) == ((), ())


@pytest.mark.slow
def test_with_one_right_less_something_fails(tmp_path: Path) -> None:
    rights = base_rights()
    enough = []
    for place, mine in rights.items():
        for number, right in enumerate(mine):
            less = {**rights, place: mine[:number] + mine[number + 1 :]}
            folder = tmp_path / f"{place}{number}"
            folder.mkdir()
            with FakeApiServer(folder) as api:
                try:
                    run_with(api, BASE_FLEET, less)
                except (AssertionError, AutoscalerError):
                    continue
            enough.append(right)

    assert enough == []


# --- what the rights never are -------------------------------------------------------------------


@pytest.mark.parametrize(
    "rights",
    [base_rights(), *map(fleet_rights, FLEETS.values())],
    ids=["shipped", *FLEETS.keys()],
)
def test_no_right_reads_secrets_or_covers_everything(rights: Rights) -> None:
    for mine in rights.values():
        for right in mine:
            assert right.resource not in {"secrets", "*"}
            assert "*" not in right.verbs
            assert right.group != "*"
            assert "delete" not in right.verbs
            assert right.reason.endswith(".")
            changes = set(right.verbs) & {"create", "update", "patch"}
            assert right.writes or not changes


def test_where_nothing_is_scaled_no_right_changes_a_target() -> None:
    watched = grants(fleet_rights(a_fleet(on(actuation=Actuation.HPA))))
    assert ("llm", "deployments/scale.apps", "patch") not in watched
    assert ("llm", "pods", "patch") not in watched


def test_what_is_not_there_needs_no_rights() -> None:
    own = Own(lease="", state="", switch="")
    assert fleet_rights(a_fleet(), own) == {OURS: ()}


# --- kinds and add-ons ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Server", "servers"),
        ("Proxy", "proxies"),
        ("Gateway", "gateways"),
        ("Box", "boxes"),
        ("Batch", "batches"),
    ],
)
def test_the_plural_of_a_strange_kind_is_guessed(kind: str, expected: str) -> None:
    assert plural("acme.example", kind) == (expected, False)


def test_a_guess_is_told_in_the_reason() -> None:
    rights = fleet_rights(FLEETS["a kind of somebody's"])
    (right,) = [one for one in rights["llm"] if one.resource == "servers"]
    assert "its plural is guessed: see kubectl api-resources" in right.reason


def test_an_add_on_is_what_the_shipped_rights_lack() -> None:
    fleet = with_pools(
        a_fleet(on(), on("big", kind="LeaderWorkerSet", version="leaderworkerset.x-k8s.io/v1")),
        a_pool(),
    )

    more = without(fleet_rights(fleet), base_rights())

    assert grants(more) == {
        ("llm", "leaderworkersets.leaderworkerset.x-k8s.io", "list"),
        ("llm", "leaderworkersets.leaderworkerset.x-k8s.io", "watch"),
        ("llm", "leaderworkersets/scale.leaderworkerset.x-k8s.io", "get"),
        ("llm", "leaderworkersets/scale.leaderworkerset.x-k8s.io", "patch"),
        (EVERYWHERE, "nodepools.karpenter.sh", "get"),
        (EVERYWHERE, "nodeclaims.karpenter.sh", "list"),
        (EVERYWHERE, "nodepools/scale.karpenter.sh", "get"),
        (EVERYWHERE, "nodepools/scale.karpenter.sh", "patch"),
    }
    assert without(fleet_rights(BASE_FLEET), base_rights()) == {}


# --- held against a log --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)


def used(rights: Rights, *log: Asked) -> tuple[list[str], Iterable[tuple[str, str, str]]]:
    use = rules_used(log, rights)
    return [str(one) for one in use.beyond], use.unused


def test_a_request_beyond_the_rights_is_found_once() -> None:
    rights = {"llm": (Right("", "pods", ("list",), "."),)}
    secret = Asked("GET", "/api/v1/namespaces/llm/secrets/x")
    elsewhere = Asked("GET", "/api/v1/namespaces/other/pods")

    beyond, unused = used(rights, secret, secret, elsewhere)

    assert beyond == ["get secrets llm/x", "list pods other"]
    assert unused == (("llm", "pods", "list"),)


def test_names_watches_and_discovery_are_understood() -> None:
    named = Right("coordination.k8s.io", "leases", ("get",), ".", names=("ours",))
    rights = {EVERYWHERE: (Right("apps", "deployments", ("watch",), "."),), "a": (named,)}
    leases = "/apis/coordination.k8s.io/v1/namespaces/a/leases"

    beyond, unused = used(
        rights,
        Asked("WATCH", "/apis/apps/v1/deployments", {"watch": "true"}),
        Asked("GET", f"{leases}/ours"),
        Asked("GET", f"{leases}/theirs"),
        Asked("GET", "/apis/apps/v1"),
    )

    assert beyond == ["get leases.coordination.k8s.io a/theirs"]
    assert unused == ()


# --- files and command ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(base_files(base_rights(), OURS)))
def test_the_shipped_files_are_the_generated_ones(name: str) -> None:
    expected = base_files(base_rights(), OURS)[name]
    found = (ROOT / "manifests/base" / name).read_text(encoding="utf-8")
    assert found == expected, "run: autoscaler rbac --into manifests/base"


def test_every_right_stands_in_its_role_with_its_reason() -> None:
    rights = base_rights()
    for writes in (False, True):
        text = role_file(rights, OURS, writes=writes)
        roles = [one for one in yaml.safe_load_all(text) if "rules" in one]
        rules = [
            (
                one["metadata"].get("namespace", EVERYWHERE),
                rule["apiGroups"],
                rule["resources"],
                rule["verbs"],
                rule.get("resourceNames", []),
            )
            for one in roles
            for rule in one["rules"]
        ]
        expected = [
            (place, [right.group], [right.resource], list(right.verbs), list(right.names))
            for place, mine in rights.items()
            for right in mine
            if right.writes is writes
        ]
        assert rules == expected
        for mine in rights.values():
            assert all(f"# {right.reason}" in text for right in mine if right.writes is writes)


def test_the_command_prints_what_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rbac"]) == 0
    kinds = [one["kind"] for one in yaml.safe_load_all(capsys.readouterr().out)]
    assert kinds == [
        "ServiceAccount",
        *["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"] * 2,
    ]


PRESET = str(ROOT / "policies/presets/node-pool.yaml")


def test_the_command_prints_the_rights_of_policy_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rbac", PRESET, "--namespace", "scaling"]) == 0

    found = list(yaml.safe_load_all(capsys.readouterr().out))
    assert {one["kind"] for one in found} == {"ServiceAccount", "Role", "RoleBinding"}
    assert {one["metadata"]["namespace"] for one in found} == {"scaling", "llm"}


def test_the_command_knows_the_names_in_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("namespace: scaling\nleaseName: our-lease\nstateName: our-state\n")

    assert main(["rbac", PRESET, "--config", str(config)]) == 0

    found = list(yaml.safe_load_all(capsys.readouterr().out))
    named = {name for one in found for rule in one.get("rules", ()) for name in
             rule.get("resourceNames", ())}  # fmt: skip
    assert {"our-lease", "our-state", "our-state-a-0", f"our-state-b-{MOST_PIECES - 1}"} <= named
    assert not any(name.startswith("inference-autoscaler-") for name in named)
    assert "scaling" in {one["metadata"]["namespace"] for one in found}


def test_who_leads_alone_and_keeps_no_state_in_the_cluster_needs_no_rights_for_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("leaderElection: false\nstate: none\n")

    assert main(["rbac", PRESET, "--config", str(config)]) == 0

    found = list(yaml.safe_load_all(capsys.readouterr().out))
    resources = {
        (resource, verb)
        for one in found
        for rule in one.get("rules", ())
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert ("configmaps", "get") in resources  # the switch
    assert not {one for one in resources if one[0] == "leases" or one == ("configmaps", "update")}


def test_a_state_of_the_most_pieces_needs_no_more_rights_than_it_has(api: FakeApiServer) -> None:
    api.add(objects.config_map("another", namespace=OURS))
    account = api.account(OURS, OURS, *documents(base_rights()))
    connection = Connection.open(account.kubeconfig_path)
    data = np.random.default_rng(1).bytes(100 * MOST_PIECES - 50)  # they do not compress
    store = ClusterStore(connection, OURS, f"{OURS}-state", piece_bytes=100)

    store.save(data)
    store.save(data)

    assert store.load() == data
    names = {
        one["metadata"]["name"] for one in api.objects(f"/api/v1/namespaces/{OURS}/configmaps")
    }
    assert f"{OURS}-state-b-{MOST_PIECES - 1}" in names
    connection.close()


def test_the_command_knows_shadow_mode(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rbac", "--shadow"]) == 0

    found = list(yaml.safe_load_all(capsys.readouterr().out))
    verbs = {verb for one in found for rule in one.get("rules", ()) for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}


def test_the_command_prints_add_ons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "big.yaml"
    text = Path(PRESET).read_text(encoding="utf-8").partition("\n---\n")[0]
    text = text.replace(
        "{apiVersion: apps/v1, kind: Deployment",
        "{apiVersion: leaderworkerset.x-k8s.io/v1, kind: LeaderWorkerSet",
    )
    file.write_text(text.replace("actuation: none", "actuation: scale"), encoding="utf-8")

    assert main(["rbac", "--add-on", str(file)]) == 0

    found = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [(one["kind"], one["metadata"]["name"]) for one in found] == [
        ("Role", "inference-autoscaler-read-more"),
        ("RoleBinding", "inference-autoscaler-read-more"),
        ("Role", "inference-autoscaler-write-more"),
        ("RoleBinding", "inference-autoscaler-write-more"),
    ]


def test_where_nothing_is_to_be_added_the_command_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["rbac", "--add-on", PRESET]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith("nothing more is needed than what is shipped\n")


def test_an_add_on_needs_policy_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rbac", "--add-on"]) == 2
    assert capsys.readouterr().err == ("--add-on: name the policy files whose targets it is for\n")


def test_the_command_writes_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rbac", "--into", str(tmp_path / "new")]) == 0

    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == ["rbac-read.yaml", "rbac-write.yaml", "serviceaccount.yaml"]
    assert capsys.readouterr().out == ""


def test_a_folder_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.touch()
    assert main(["rbac", "--into", str(file)]) == 2
    assert capsys.readouterr().err.endswith("file: cannot be written to: File exists\n")
