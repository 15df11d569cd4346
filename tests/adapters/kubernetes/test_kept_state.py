"""State in ConfigMaps: what was kept is found, torn or foreign things are no state."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kept_state import ClusterStore
from autoscaler.state import StateError
from tests.fakes.kubernetes import Break, FakeApiServer, objects

MAPS = "/api/v1/namespaces/ours/configmaps"
SMALL = b"what was decided"
LARGE = np.random.default_rng(1).bytes(5000)  # they do not compress


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApiServer]:
    with FakeApiServer(tmp_path) as server:
        server.add(objects.config_map("another", namespace="ours"))
        yield server


def store(
    api: FakeApiServer, piece_bytes: int = 1000, may_write: Callable[[], bool] = lambda: True
) -> ClusterStore:
    connection = Connection.open(api.kubeconfig_path)
    return ClusterStore(connection, "ours", "state", piece_bytes=piece_bytes, may_write=may_write)


def test_nothing_was_kept_yet(api: FakeApiServer) -> None:
    assert store(api).load() is None


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["in one piece", "in several pieces"])
def test_what_is_kept_is_found_by_the_next_process(api: FakeApiServer, data: bytes) -> None:
    store(api).save(data)

    assert store(api).load() == data


def test_a_large_state_is_written_beside_the_one_in_force(api: FakeApiServer) -> None:
    first = store(api)
    first.save(LARGE)
    first.save(LARGE[::-1])

    assert store(api).load() == LARGE[::-1]
    names = {one["metadata"]["name"] for one in api.objects(MAPS)}
    assert {"state", "state-a-0", "state-b-0"} <= names
    first.save(SMALL)
    assert store(api).load() == SMALL


def test_a_write_that_fails_half_way_leaves_the_old_state(api: FakeApiServer) -> None:
    first = store(api)
    for _ in range(3):
        first.save(LARGE)
    api.faults.add(method="PUT", path="/configmaps/state-b-2", status=403)

    with pytest.raises(StateError, match="not allowed"):
        first.save(LARGE[::-1])

    assert store(api).load() == LARGE


def test_a_piece_that_is_gone_is_no_state(api: FakeApiServer) -> None:
    store(api).save(LARGE)
    Connection.open(api.kubeconfig_path).ask("DELETE", f"{MAPS}/state-a-1")

    with pytest.raises(StateError, match="holds no state of ours"):
        store(api).load()


def test_a_foreign_config_map_is_no_state(api: FakeApiServer) -> None:
    metadata = {"name": "state", "namespace": "ours"}
    api.add({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}})

    with pytest.raises(StateError, match="ConfigMap ours/state: holds no state of ours"):
        store(api).load()


def test_a_state_that_is_too_large_is_refused(api: FakeApiServer) -> None:
    with pytest.raises(StateError, match="too large"):
        store(api, piece_bytes=50).save(LARGE)


def test_without_our_namespace_it_says_so(api: FakeApiServer) -> None:
    elsewhere = ClusterStore(Connection.open(api.kubeconfig_path), "nowhere", "state")

    with pytest.raises(StateError, match="there is no namespace nowhere"):
        elsewhere.save(SMALL)


def test_an_api_that_refuses_is_told(api: FakeApiServer) -> None:
    api.faults.add(method="GET", path="/configmaps/state", status=403)

    with pytest.raises(StateError):
        store(api).load()


def test_the_leader_replaces_what_an_earlier_one_wrote_after_it_was_read(
    api: FakeApiServer,
) -> None:
    earlier, leader = store(api), store(api)
    earlier.save(b"one")
    assert leader.load() == b"one"
    earlier.save(b"two")

    leader.save(SMALL)

    assert store(api).load() == SMALL


@pytest.mark.parametrize("newer", [SMALL, LARGE], ids=["in one piece", "in several pieces"])
def test_an_earlier_leader_overwrites_nothing(api: FakeApiServer, newer: bytes) -> None:
    answers: list[bool] = []
    earlier = store(api, may_write=lambda: answers.pop(0) if answers else True)
    leader = store(api)
    for _ in range(3):
        earlier.save(LARGE[::-1])
    leader.load()
    leader.save(newer)
    writes = len(api.requests.writes)
    answers += [True, False]  # it loses the lead while its write is on its way

    with pytest.raises(StateError, match="not written: we do not lead any more"):
        earlier.save(b"old")

    assert len(api.requests.writes) == writes + 1
    assert store(api).load() == newer


def test_a_write_whose_answer_was_lost_is_made_again(api: FakeApiServer) -> None:
    first = store(api)
    first.save(LARGE)
    api.faults.add(method="PUT", path="/configmaps/state$", breaks=Break.LOST)

    first.save(SMALL)

    assert store(api).load() == SMALL


def test_a_state_that_was_deleted_is_made_again(api: FakeApiServer) -> None:
    first = store(api)
    first.save(SMALL)
    Connection.open(api.kubeconfig_path).ask("DELETE", f"{MAPS}/state")

    first.save(SMALL)

    assert store(api).load() == SMALL
