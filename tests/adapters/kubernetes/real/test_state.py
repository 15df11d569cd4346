"""State kept in ConfigMaps, on both servers: as large as they take, and larger."""

import numpy as np
import pytest

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.kept_state import PIECE_BYTES, ClusterStore
from autoscaler.state import StateError
from tests.adapters.kubernetes.real.place import Place

NAME = "state"


def incompressible(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def store_at(place: Place, connection: Connection | None = None) -> ClusterStore:
    return ClusterStore(connection or place.connection, place.namespace, NAME)


def config_maps(place: Place) -> list[str]:
    root = f"/api/v1/namespaces/{place.namespace}/configmaps"
    names = (one["metadata"]["name"] for one in place.server.objects(root))
    return sorted(name for name in names if name.startswith(NAME))


ZLIB = 400  # bytes that it adds to what cannot be made smaller
SIZES = {
    "nothing": (0, 1),
    "little": (1000, 1),
    "all that one takes": (PIECE_BYTES - ZLIB, 1),
    "a little more": (PIECE_BYTES + 1, 3),
    "four of them": (3 * PIECE_BYTES + 7, 5),
}


@pytest.mark.parametrize(("size", "objects"), SIZES.values(), ids=SIZES.keys())
def test_what_is_saved_is_what_another_finds(place: Place, size: int, objects: int) -> None:
    data = incompressible(size)
    assert store_at(place).load() is None

    store_at(place).save(data)

    assert store_at(place).load() == data
    assert len(config_maps(place)) == objects


def test_one_is_put_in_the_others_place(place: Place) -> None:
    store = store_at(place)
    for size in (10, 2 * PIECE_BYTES, PIECE_BYTES + 1, 10):
        data = incompressible(size, seed=size)
        store.save(data)
        assert store_at(place).load() == data


def test_two_that_save_do_not_hinder_each_other(place: Place) -> None:
    first, second = store_at(place), store_at(place)
    first.save(b"first")
    second.save(b"second")
    first.save(b"first again")

    assert second.load() == b"first again"


def test_what_no_config_map_takes_is_refused_and_the_old_state_stays(place: Place) -> None:
    store_at(place).save(b"old")
    too_large = ClusterStore(place.connection, place.namespace, NAME, piece_bytes=1_200_000)

    with pytest.raises(StateError, match=r"configmaps .*/state: 4\d\d, .*"):
        too_large.save(incompressible(1_100_000))

    assert store_at(place).load() == b"old"


def test_a_half_that_was_written_is_no_state(place: Place) -> None:
    old, new = incompressible(PIECE_BYTES + 1, 1), incompressible(PIECE_BYTES + 1, 2)
    store_at(place).save(old)
    dying = store_at(place)
    assert dying.load() == old

    # As one that ends before it names its new pieces: the other slot is half full.
    dying._write(f"{NAME}-b-0", {}, new[:100])

    assert store_at(place).load() == old


def test_somebody_elses_config_map_is_told(place: Place) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": place.namespace},
        "data": {"colour": "red"},
    }
    place.server.add(body)

    with pytest.raises(StateError, match="holds no state of ours"):
        store_at(place).load()


def test_without_its_namespace_the_reason_is_told(place: Place) -> None:
    store = ClusterStore(place.connection, f"{place.namespace}-gone", NAME)

    assert store.load() is None
    with pytest.raises(StateError, match=f"404, there is no namespace {place.namespace}-gone"):
        store.save(b"any")
