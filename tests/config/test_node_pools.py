"""Documents of node pools: read, checked, and held against the workloads that name them."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.config import load_fleet, read_fleet
from tests.config.texts import POOL, changed, problems_in

ON_POOL = changed(("gpus: 4, coldStartSeconds: 240", "gpus: 4, nodePool: h100"))


def on_pool(name: str = "chat", *, gpus: int = 4, least: int = 1, most: int = 12) -> str:
    return (
        ON_POOL.replace("name: chat", f"name: {name}")
        .replace("gpus: 4", f"gpus: {gpus}")
        .replace("min: 1, max: 12", f"min: {least}, max: {most}")
    )


def warnings_in(files: Mapping[str, str]) -> list[str]:
    for name, text in files.items():
        Path(name).write_text(text)
    return list(read_fleet([Path(name) for name in files]).warnings)


def test_a_pool_may_stand_in_the_file_of_its_workload() -> None:
    Path("all.yaml").write_text(f"{POOL}---\n{ON_POOL}")

    loaded = read_fleet([Path("all.yaml")])

    (pool,) = loaded.fleet.pools
    assert [workload.key for workload in loaded.fleet.workloads] == ["llm/chat"]
    assert (pool.key, pool.spec.gpus_per_node, pool.spec.nodes.max) == ("h100", 8, 6)
    assert {key: str(source) for key, source in loaded.sources.items()} == {
        "h100": "all.yaml:1",
        "llm/chat": "all.yaml:11",
    }
    assert loaded.sources["h100"].at("spec.nodes.max") == "all.yaml:7"
    assert loaded.warnings == ()


def test_pools_keep_the_order_of_the_files() -> None:
    Path("a.yaml").write_text(POOL.replace("h100", "l4"))
    Path("b.yaml").write_text(POOL)

    fleet = load_fleet([Path("b.yaml"), Path("a.yaml")])

    assert [pool.key for pool in fleet.pools] == ["h100", "l4"]
    assert fleet.workloads == ()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param(
            ("kind: NodePool", "kind: Nodepool"),
            "2: kind: input should be 'ScaledWorkload' or 'NodePool', not 'Nodepool'; "
            "did you mean 'NodePool'?",
            id="kind",
        ),
        pytest.param(
            ("gpusPerNode: 8", "gpuPerNode: 8"),
            "4: spec.gpusPerNode: is required",
            id="required",
        ),
        pytest.param(
            ("gpusPerNode: 8", "gpusPerNode: 0"),
            "6: spec.gpusPerNode: input should be greater than 0, not 0",
            id="no GPUs",
        ),
        pytest.param(
            ("{min: 1, max: 6}", "{min: 7, max: 6}"),
            "7: spec.nodes: min should be at most max, not 7 > 6",
            id="bounds",
        ),
        pytest.param(
            ("actuation: none", "actuation: hpa"),
            "5: spec.actuation: input should be 'none' or 'scale', not 'hpa'",
            id="actuation",
        ),
        pytest.param(
            ("metadata: {name: h100}", "metadata: {name: h100, namespace: llm}"),
            "3: metadata.namespace: no such field; did you mean 'name'?; allowed are: name",
            id="no namespace",
        ),
        pytest.param(
            ("gpusPerNode: 8", "gpusPerNode: no"),
            "6: spec.gpusPerNode: unquoted no is false to some YAML readers and not to others: "
            'write false or "no"',
            id="told once",
        ),
    ],
)
def test_tells_what_is_wrong_with_a_pool(change: tuple[str, str], problem: str) -> None:
    found = problems_in({"pool.yaml": changed(change, text=POOL)})

    assert f"pool.yaml:{problem}" in found
    assert len(found) == (2 if "is required" in problem else 1)


def test_an_unknown_field_is_told_with_the_one_that_is_meant() -> None:
    found = problems_in({"pool.yaml": changed(("gpusPerNode: 8", "gpuPerNode: 8"), text=POOL)})

    assert found[1] == (
        "pool.yaml:6: spec.gpuPerNode: no such field; did you mean 'gpusPerNode'?; allowed are: "
        "actuation, gpusPerNode, nodes, provisioningSeconds, scaleDownSeconds, target"
    )


def test_a_pool_may_say_which_object_makes_its_nodes() -> None:
    machines = "{apiVersion: cluster.x-k8s.io/v1beta2, kind: MachineDeployment, name: h100"
    Path("pool.yaml").write_text(f"{POOL}  target: {machines}, namespace: fleet}}\n")

    (pool,) = load_fleet([Path("pool.yaml")]).pools

    assert pool.spec.target is not None
    assert (pool.spec.target.kind, pool.spec.target.namespace) == ("MachineDeployment", "fleet")


def test_a_target_without_its_namespace_is_told_with_its_line() -> None:
    machines = "{apiVersion: cluster.x-k8s.io/v1beta2, kind: MachineDeployment, name: h100}"

    assert problems_in({"pool.yaml": f"{POOL}  target: {machines}\n"}) == [
        "pool.yaml:10: spec.target: namespace should be given for a MachineDeployment"
    ]


def test_two_pools_of_one_name_are_an_error() -> None:
    assert problems_in({"a.yaml": POOL, "b.yaml": POOL}) == [
        "b.yaml:3: metadata.name: node pool h100 is defined twice; first in a.yaml:3"
    ]


def test_a_pool_without_a_name_is_told_once() -> None:
    nameless = POOL.replace("metadata: {name: h100}", "metadata: {}")

    assert problems_in({"a.yaml": nameless, "b.yaml": nameless}) == [
        "a.yaml:3: metadata.name: is required",
        "b.yaml:3: metadata.name: is required",
    ]


def test_a_pool_and_a_workload_may_share_a_name() -> None:
    assert problems_in({"a.yaml": ON_POOL, "b.yaml": POOL.replace("h100", "chat")}) == []


# Against the workloads


@pytest.mark.parametrize(
    ("files", "warnings"),
    [
        pytest.param({"a.yaml": ON_POOL, "b.yaml": POOL}, [], id="just enough"),
        pytest.param(
            {"a.yaml": ON_POOL},
            [
                (
                    "a.yaml:8: spec.replica.nodePool: no node pool here is called 'h100': it is "
                    "not sized with this workload, and a replay always has room"
                )
            ],
            id="no such pool",
        ),
        pytest.param(
            {"a.yaml": ON_POOL, "b.yaml": POOL.replace("h100", "h1000")},
            [
                (
                    "a.yaml:8: spec.replica.nodePool: no node pool here is called 'h100'; did you "
                    "mean 'h1000'?: it is not sized with this workload, and a replay always has "
                    "room"
                ),
                (
                    "b.yaml:3: metadata.name: no workload here names this pool: it would be sized "
                    "to nodes.min (1)"
                ),
            ],
            id="a pool of another name",
        ),
        pytest.param(
            {"a.yaml": on_pool(most=13), "b.yaml": POOL},
            [
                (
                    "a.yaml:7: spec.replicas.max: 13 replicas of 4 GPUs need 7 nodes of 8, and "
                    "node pool h100 has at most 6 (b.yaml:7): 12 fit"
                )
            ],
            id="one too many",
        ),
        pytest.param(
            {"a.yaml": on_pool(gpus=5), "b.yaml": POOL},
            [
                (
                    "a.yaml:7: spec.replicas.max: 12 replicas of 5 GPUs need 12 nodes of 8, and "
                    "node pool h100 has at most 6 (b.yaml:7): 6 fit"
                )
            ],
            id="sizes that leave gaps",
        ),
        pytest.param(
            {"a.yaml": on_pool(gpus=20, most=3), "b.yaml": POOL},
            [
                (
                    "a.yaml:7: spec.replicas.max: 3 replicas of 20 GPUs need 9 nodes of 8, and "
                    "node pool h100 has at most 6 (b.yaml:7): 2 fit"
                )
            ],
            id="replicas of several nodes",
        ),
        pytest.param(
            {"a.yaml": on_pool(gpus=56, most=1), "b.yaml": POOL},
            [
                (
                    "a.yaml:7: spec.replicas.max: 1 replicas of 56 GPUs need 7 nodes of 8, and "
                    "node pool h100 has at most 6 (b.yaml:7): 0 fit"
                )
            ],
            id="not a single one",
        ),
        pytest.param(
            {"a.yaml": on_pool(gpus=16, most=3), "b.yaml": POOL}, [], id="larger than a node"
        ),
        pytest.param(
            {
                "a.yaml": on_pool("one", least=7),
                "b.yaml": on_pool("two", least=6),
                "c.yaml": POOL,
            },
            [
                (
                    "c.yaml:7: spec.nodes.max: the minimums of llm/one, llm/two together need 7 "
                    "nodes, not 6"
                )
            ],
            id="minimums that do not fit together",
        ),
        pytest.param(
            {
                "a.yaml": on_pool("one", least=6),
                "b.yaml": on_pool("two", least=6),
                "c.yaml": POOL,
            },
            [],
            id="maximums may share",
        ),
    ],
)
def test_warns_of_workloads_that_do_not_fit_their_pool(
    files: Mapping[str, str], warnings: list[str]
) -> None:
    assert warnings_in(files) == warnings


@given(
    gpus=st.integers(1, 40),
    per_node=st.integers(1, 16),
    nodes=st.integers(1, 20),
    most=st.integers(1, 60),
)
def test_as_many_fit_as_the_warning_says(gpus: int, per_node: int, nodes: int, most: int) -> None:
    pool = POOL.replace("gpusPerNode: 8", f"gpusPerNode: {per_node}")
    pool = pool.replace("{min: 1, max: 6}", f"{{min: 0, max: {nodes}}}")

    def said(count: int) -> list[str]:
        return warnings_in({"a.yaml": on_pool(gpus=gpus, least=0, most=count), "b.yaml": pool})

    told = [one for one in said(most) if " fit" in one]
    if not told:
        return
    fit = int(told[0].rpartition(": ")[2].split()[0])
    assert fit < most
    assert not fit or not [one for one in said(fit) if " fit" in one]
    assert [one for one in said(fit + 1) if " fit" in one]
