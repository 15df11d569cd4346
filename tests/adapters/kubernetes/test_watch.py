"""A collection that is followed: complete, up to date, and honest about its age."""

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.watch import Watched, WatchLimits
from autoscaler.adapters.kubernetes.watches import Watches
from tests.adapters.kubernetes.conftest import HASTY
from tests.fakes.kubernetes import Break, FakeApiServer, objects
from tests.waiting import until

PATH = "/apis/apps/v1/namespaces/default/deployments"
QUICK = WatchLimits(
    watch_seconds=1.0,
    silence_seconds=0.3,
    relist_after_seconds=5.0,
    page=2,
    first_wait_seconds=0.01,
    longest_wait_seconds=0.05,
)


def count(body: Mapping[str, Any]) -> int:
    return int(body["spec"]["replicas"])


@pytest.fixture
def watched(api: FakeApiServer, connection: Connection) -> Iterator[Watched[int]]:
    for number in range(5):
        api.add(objects.deployment(f"d{number}", replicas=number))
    followed = Watched(connection, PATH, count, limits=QUICK)
    followed.start()
    assert followed.wait(5)
    yield followed
    followed.stop()


def scale(api: FakeApiServer, name: str, replicas: int) -> None:
    api.merge(f"{PATH}/{name}", {"spec": {"replicas": replicas}})


def test_everything_is_there_after_the_first_pages(
    api: FakeApiServer, watched: Watched[int]
) -> None:
    assert sorted(watched.all()) == [0, 1, 2, 3, 4]
    assert watched.get("default", "d3") == 3
    assert watched.get("other", "d3") is None
    assert len(api.requests.matching("GET", PATH)) == 3
    assert watched.unusable(5.0) == ""


def test_changes_come_by_themselves(api: FakeApiServer, watched: Watched[int]) -> None:
    scale(api, "d1", 7)
    api.add(objects.deployment("new", replicas=9))
    api.delete(f"{PATH}/d0")

    until(lambda: watched.get("default", "d0") is None)
    assert watched.get("default", "d1") == 7
    assert watched.get("default", "new") == 9


@pytest.mark.slow
def test_a_watch_that_ended_goes_on_where_it_was(api: FakeApiServer, watched: Watched[int]) -> None:
    until(lambda: len(api.requests.matching("WATCH")) >= 2)
    scale(api, "d1", 7)

    until(lambda: watched.get("default", "d1") == 7)
    assert len(api.requests.matching("GET", PATH)) == 3, "nothing was listed again"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"breaks": Break.GONE}, id="410 as an event"),
        pytest.param({"status": 410}, id="410 as a status"),
        pytest.param({"status": 500}, id="500"),
        pytest.param({"breaks": Break.RESET}, id="connection reset"),
        pytest.param({"breaks": Break.HALF}, id="half an event"),
        pytest.param({"breaks": Break.MALFORMED}, id="an event that is no JSON"),
        pytest.param({"breaks": Break.HANG}, id="no answer", marks=pytest.mark.slow),
    ],
)
def test_a_broken_watch_misses_nothing(
    api: FakeApiServer, watched: Watched[int], fault: dict[str, Any]
) -> None:
    armed = api.faults.add(method="WATCH", times=2, **fault)
    api.cut_watches()
    for replicas in (6, 7, 8):
        scale(api, "d1", replicas)

    until(lambda: watched.get("default", "d1") == 8)
    until(lambda: armed.hits == 2)
    scale(api, "d2", 9)
    until(lambda: watched.get("default", "d2") == 9)


def test_forgotten_history_is_listed_again(api: FakeApiServer, watched: Watched[int]) -> None:
    with api.faults.during(method="WATCH", status=503):
        api.cut_watches()
        scale(api, "d1", 7)
        api.delete(f"{PATH}/d0")
        api.compact()

    until(lambda: watched.get("default", "d1") == 7)
    assert watched.get("default", "d0") is None


def test_pages_that_expire_midway_are_asked_for_from_the_start(
    api: FakeApiServer, connection: Connection
) -> None:
    for number in range(5):
        api.add(objects.deployment(f"d{number}", replicas=number))
    api.faults.add(method="GET", path="continue=", breaks=Break.GONE)
    followed = Watched(connection, PATH, count, limits=QUICK)
    followed.start()

    until(lambda: sorted(followed.all()) == [0, 1, 2, 3, 4])
    followed.stop()


@pytest.mark.slow
def test_a_server_that_is_away_shows_as_age(api: FakeApiServer, watched: Watched[int]) -> None:
    api.stop()
    until(lambda: watched.age > 0.3)

    assert watched.get("default", "d1") == 1
    until(lambda: "no answer from" in watched.unusable(0.2))
    assert watched.unusable(0.2).startswith(
        "list deployments.apps default was last confirmed 0 s ago, more than 0.2 s: "
    )

    api.start()
    until(lambda: watched.unusable(2.0) == "" and watched.trouble == "")


@pytest.mark.slow
def test_a_silent_watch_shows_as_age_and_is_left(api: FakeApiServer, watched: Watched[int]) -> None:
    limits = WatchLimits(
        watch_seconds=1.0, silence_seconds=0.2, relist_after_seconds=0.5, first_wait_seconds=0.01
    )
    with api.faults.during(method="WATCH", breaks=Break.HANG):
        silent = Watched(
            Connection.open(api.kubeconfig_path, limits=HASTY), PATH, count, limits=limits
        )
        silent.start()
        assert silent.wait(5)
        until(lambda: silent.age > 0.5)
        lists = len(api.requests.matching("GET", PATH))
        # Without any word for so long, everything is listed again.
        until(lambda: len(api.requests.matching("GET", PATH)) > lists)
        until(lambda: silent.age < 0.5)
    silent.stop()


def test_a_quiet_watch_is_confirmed_by_bookmarks(api: FakeApiServer, watched: Watched[int]) -> None:
    lists = len(api.requests.matching("GET", PATH))
    until(lambda: watched.age > 1.0)
    api.bookmark()

    until(lambda: watched.age < 1.0)
    assert len(api.requests.matching("GET", PATH)) == lists


@pytest.mark.parametrize("answer", ["ends at once", "has always forgotten"])
def test_a_useless_server_is_not_asked_in_a_loop(
    api: FakeApiServer, connection: Connection, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    api.add(objects.deployment("d", replicas=1))
    slow = WatchLimits(first_wait_seconds=0.1, longest_wait_seconds=0.1)
    watches: list[str] = []

    class Ended:
        def lines(self) -> Iterator[bytes]:
            watches.append(answer)
            if answer == "has always forgotten":
                yield b'{"type": "ERROR", "object": {"code": 410, "message": "too old"}}'

        def stop(self) -> None:
            """It has ended."""

    monkeypatch.setattr(connection, "follow", lambda *_, **__: Ended())
    followed = Watched(connection, PATH, count, limits=slow)
    followed.start()
    assert followed.wait(5)
    took = until(lambda: len(watches) >= 5)
    followed.stop()

    assert took >= 4 * 0.05  # waits are 0.1 s, and half of it at least
    assert len(api.requests.matching("GET", PATH)) <= len(watches)


def test_a_watch_that_opens_while_it_is_stopped_ends_too(
    api: FakeApiServer, connection: Connection
) -> None:
    followed = Watched(connection, PATH, count, limits=QUICK)
    api.faults.add(method="WATCH", delay=0.3)
    followed.start()
    assert followed.wait(5)
    followed.stop()

    until(lambda: f"watch {PATH}" not in {one.name for one in threading.enumerate()}, seconds=10)


def test_one_object_that_cannot_be_read_takes_no_other_with_it(
    api: FakeApiServer, connection: Connection
) -> None:
    def picky(body: Mapping[str, Any]) -> int:
        if count(body) == 13:
            raise ValueError("13 is unlucky")
        return count(body)

    api.add(objects.deployment("a", replicas=1), objects.deployment("b", replicas=13))
    followed = Watched(connection, PATH, picky, limits=QUICK)
    followed.start()
    assert followed.wait(5)

    assert followed.get("default", "a") == 1
    assert followed.get("default", "b") is None
    assert followed.odd("default", "b") == "cannot be read: ValueError: 13 is unlucky"

    scale(api, "a", 13)
    scale(api, "b", 2)
    until(lambda: followed.get("default", "b") == 2)
    assert followed.odd("default", "b") == ""
    assert followed.get("default", "a") is None, "what it was before is not what it is"
    api.delete(f"{PATH}/a")
    until(lambda: followed.odd("default", "a") == "")
    followed.stop()


def test_a_collection_that_may_not_be_listed_says_so_at_once(api: FakeApiServer) -> None:
    account = api.account("default", "nobody")
    connection = Connection.open(account.kubeconfig_path, limits=HASTY)
    followed = Watched(connection, PATH, count, limits=QUICK)
    followed.start()

    assert not followed.wait(5)
    assert followed.unusable(90).startswith(
        "list deployments.apps default has not been answered yet: list deployments.apps default: "
        "403, not allowed: grant the verb list on deployments.apps in namespace default"
    )
    assert not followed.not_served
    followed.stop()
    connection.close()


@pytest.mark.slow
def test_only_wanted_collections_are_followed(api: FakeApiServer, connection: Connection) -> None:
    watches = Watches(connection, limits=QUICK)
    first = watches.want(PATH, count)
    watches.want(PATH.replace("deployments", "statefulsets"), count)
    watches.settle(5)
    again = watches.want(PATH, count)
    watches.settle(5)

    assert again is first
    assert first.age < 5
    api.requests.clear()
    time.sleep(1.5)
    assert not api.requests.matching("WATCH", "statefulsets")
    watches.close()


def test_a_look_without_following_lists_each_time(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(objects.deployment("d", replicas=1))
    watches = Watches(connection, limits=QUICK, follow=False)
    watched = watches.want(PATH, count)
    watches.settle(5)
    scale(api, "d", 2)
    assert watched.get("default", "d") == 1

    watches.want(PATH, count)
    watches.settle(5)
    assert watched.get("default", "d") == 2

    watches.want(PATH, count)
    with api.faults.during(status=404):
        watches.settle(5)
    assert watched.not_served
    assert "404" in watched.unusable(0.0)
    assert not api.requests.matching("WATCH")
    watches.close()
