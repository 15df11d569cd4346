"""Discovery as names come and go: made between requests, and always there."""

import asyncio
import json
from typing import Any

import pytest

from metrics_adapter import documents as documents_module
from metrics_adapter.discovery import AGGREGATED
from metrics_adapter.documents import Documents
from metrics_adapter.targets import CUSTOM, EXTERNAL, VERSIONS
from metrics_adapter.turns import plan_in_turns
from tests.metrics_adapter.plans import a_board, a_row

BOARD = a_board(a_row())
OWN = {
    EXTERNAL: ["desired_replicas", "load"],
    CUSTOM: ["deployments.apps/desired_replicas", "deployments.apps/load"],
}


def listed(documents: Documents, group: str) -> list[str]:
    body, _ = documents.find(f"/apis/{group}/{VERSIONS[group]}", "")
    return [one["name"] for one in json.loads(body)["resources"]]


def aggregated(documents: Documents, group: str, version: str = "v2") -> list[str]:
    body, kind = documents.find("/apis", AGGREGATED[version])
    assert kind == AGGREGATED[version]
    document: Any = json.loads(body)
    assert document["apiVersion"] == f"apidiscovery.k8s.io/{version}"
    (resources,) = [
        one["versions"][0]["resources"]
        for one in document["items"]
        if one["metadata"]["name"] == group
    ]
    if group == EXTERNAL:
        return [one["resource"] for one in resources]
    return [
        f"{one['resource']}/{below['subresource']}"
        for one in resources
        for below in one["subresources"]
    ]


@pytest.mark.parametrize("group", [EXTERNAL, CUSTOM])
def test_before_any_board_nothing_is_listed(group: str) -> None:
    documents = Documents()

    assert listed(documents, group) == aggregated(documents, group) == []


@pytest.mark.parametrize("version", AGGREGATED)
@pytest.mark.parametrize(
    ("group", "more"),
    [
        pytest.param(EXTERNAL, ["a", "load", "zoo"], id="external"),
        pytest.param(
            CUSTOM, ["deployments.apps/load", "deployments/x", "pods-a/x", "pods/a"], id="custom"
        ),
    ],
)
def test_names_of_both_are_listed_once_in_order(group: str, more: list[str], version: str) -> None:
    documents = Documents()

    async def telling() -> None:
        await documents.use(BOARD)
        await documents.use_more(group, more)

    asyncio.run(telling())

    expected = sorted({*OWN[group], *more})
    assert listed(documents, group) == expected
    assert sorted(aggregated(documents, group, version)) == expected


def test_each_resource_is_there_once() -> None:
    """In the order of text "pods-a/x" stands between "pods" and "pods/x"."""
    documents = Documents()
    asyncio.run(documents.use_more(CUSTOM, sorted(["pods/a", "pods-a/x", "pods.b/x", "pods/z"])))
    body, _ = documents.find("/apis", AGGREGATED["v2"])

    resources = json.loads(body)["items"][1]["versions"][0]["resources"]

    assert sorted(one["resource"] for one in resources) == ["pods", "pods-a", "pods.b"]


def test_while_new_ones_are_made_the_ones_before_are_answered() -> None:
    documents = Documents()
    many = [f"m{number:05}" for number in range(5000)]
    seen: list[int] = []

    async def telling() -> None:
        await documents.use(BOARD)
        making = asyncio.create_task(documents.use_more(EXTERNAL, many))
        while not making.done():
            seen.append(len(listed(documents, EXTERNAL)))
            await asyncio.sleep(0)

    asyncio.run(telling())

    assert len(seen) > 5
    assert set(seen) == {len(OWN[EXTERNAL])}
    assert len(listed(documents, EXTERNAL)) == len(OWN[EXTERNAL]) + 5000


def test_who_tells_meanwhile_is_not_forgotten() -> None:
    documents = Documents()
    many = [f"m{number:05}" for number in range(2000)]

    async def telling() -> None:
        await asyncio.gather(
            documents.use_more(EXTERNAL, many),
            documents.use_more(CUSTOM, ["pods/x"]),
            documents.use(BOARD),
        )

    asyncio.run(telling())

    assert listed(documents, EXTERNAL) == sorted([*OWN[EXTERNAL], *many])
    assert listed(documents, CUSTOM) == [*OWN[CUSTOM], "pods/x"]


def test_names_that_stay_are_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = Documents()
    times: list[Any] = []

    async def counting(steps: Any) -> Any:
        times.append(steps)
        return await plan_in_turns(steps)

    monkeypatch.setattr(documents_module, "plan_in_turns", counting)

    async def telling() -> None:
        for cycle in ("c-1", "c-2", "c-3"):
            await documents.use(a_board(a_row(), cycle=cycle))
            await documents.use_more(EXTERNAL, ["x"])

    asyncio.run(telling())

    assert len(times) == 2
