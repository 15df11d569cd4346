"""Autoscalers of others, listed: where, how often, and what is known when that fails."""

from pathlib import Path
from typing import Any

import pytest

from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.adapters.kubernetes.scalers import (
    HPA,
    SCALED_OBJECT,
    Reference,
    ScalerReader,
    Scalers,
)
from tests.builders import NOON
from tests.fakes.kubernetes import Break, FakeApiServer, objects
from tests.fakes.kubernetes.resources import BUILT_IN

HPAS = "horizontalpodautoscalers"


def an_hpa(name: str = "chat", namespace: str = "llm") -> dict[str, Any]:
    return objects.autoscaler(name, "chat", namespace=namespace)


def names(found: Scalers) -> list[str]:
    return [str(one) for one in found.found]


def asked(api: FakeApiServer) -> int:
    return len(api.requests.matching("GET", HPAS))


@pytest.mark.parametrize("namespaces", [None, {"llm", "other"}], ids=["everywhere", "in some"])
def test_they_are_listed(
    api: FakeApiServer, connection: Connection, namespaces: set[str] | None
) -> None:
    api.add(an_hpa(), objects.scaled_object("batch", "batch", namespace="llm"))
    api.add(an_hpa(namespace="other"))
    words: list[str] = []

    reader = ScalerReader(connection, namespaces, say=words.append)
    found, other = reader.read("llm", NOON), reader.read("other", NOON)

    assert names(found) == ["HorizontalPodAutoscaler llm/chat", "ScaledObject llm/batch"]
    assert names(other) == ["HorizontalPodAutoscaler other/chat"]
    assert words == []
    assert not found.unseen
    assert asked(api) == (1 if namespaces is None else 2)


def test_more_than_a_page_is_read_to_its_end(
    api: FakeApiServer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoscaler.adapters.kubernetes.scalers._PAGE", 2)
    api.add(*(an_hpa(f"h{number}") for number in range(5)))

    found = ScalerReader(connection, None, say=print).read("llm", NOON)

    assert len(found.found) == 5
    assert asked(api) == 3


def test_they_are_asked_for_now_and_then(api: FakeApiServer, connection: Connection) -> None:
    reader = ScalerReader(connection, None, say=print, every_seconds=60.0)

    for second in (0, 15, 59, 60, 75):
        reader.read("llm", NOON + second)

    assert asked(api) == 2


def test_a_cluster_without_keda_is_no_error(tmp_path: Path) -> None:
    with FakeApiServer(tmp_path, resources=BUILT_IN) as api:
        connection = Connection.open(api.kubeconfig_path)
        words: list[str] = []
        found = ScalerReader(connection, None, say=words.append).read("llm", NOON)
        connection.close()

    assert found == Scalers(read_at=NOON)
    assert words == []


# --- a fleet that changes ------------------------------------------------------------------------


def test_a_namespace_that_is_new_is_looked_at_in_the_next_cycle(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(an_hpa(namespace="other"))
    reader = ScalerReader(connection, {"llm"}, say=print)
    reader.read("llm", NOON)

    reader.use({"llm", "other"})

    assert names(reader.read("other", NOON + 15)) == ["HorizontalPodAutoscaler other/chat"]


def test_what_was_never_listed_is_unknown_there_and_nowhere_else(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(an_hpa())
    reader = ScalerReader(connection, {"llm"}, say=print)
    reader.read("llm", NOON)
    reader.use({"llm", "other"})

    with api.faults.during(path=f"other/{HPAS}", status=503):
        other, known = reader.read("other", NOON + 15), reader.read("llm", NOON + 15)

    assert set(other.unseen) == {HPA, SCALED_OBJECT}
    assert "503" in other.unseen[HPA]
    assert not known.unseen
    assert names(known) == ["HorizontalPodAutoscaler llm/chat"]
    assert not reader.read("other", NOON + 30).unseen


def test_where_nobody_said_to_look_nothing_is_known(
    api: FakeApiServer, connection: Connection
) -> None:
    reader = ScalerReader(connection, {"llm"}, say=print)

    assert reader.read("other", NOON).unseen[HPA] == "it has not been asked yet"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({"llm"}, None, id="to everywhere"),
        pytest.param(None, {"llm", "other"}, id="to a few"),
    ],
)
def test_what_was_known_from_other_lists_holds_until_the_new_ones_are_read(
    api: FakeApiServer, connection: Connection, before: set[str] | None, after: set[str] | None
) -> None:
    api.add(an_hpa())
    reader = ScalerReader(connection, before, say=print)
    reader.read("llm", NOON)
    reader.use(after)

    with api.faults.during(status=503):
        during = reader.read("llm", NOON + 15)
    api.request("DELETE", f"/apis/autoscaling/v2/namespaces/llm/{HPAS}/chat")

    assert names(during) == ["HorizontalPodAutoscaler llm/chat"]
    assert during.read_at == NOON
    assert reader.read("llm", NOON + 30) == Scalers(read_at=NOON + 30)


# --- what fails ----------------------------------------------------------------------------------


def test_what_may_not_be_listed_is_said_once(api: FakeApiServer, connection: Connection) -> None:
    api.faults.add(path=HPAS, status=403, times=None)
    words: list[str] = []
    reader = ScalerReader(connection, None, say=words.append, every_seconds=0.0)

    found = [reader.read("llm", NOON + second) for second in range(3)][-1]

    assert found.forbidden == {HPA}
    assert not found.unseen
    (line,) = words
    assert "grant the verb list on horizontalpodautoscalers.autoscaling" in line
    assert line.endswith("until then nobody notices a HorizontalPodAutoscaler on a target")


def test_a_right_that_one_namespace_lacks_takes_nothing_from_the_others(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(an_hpa(namespace="other"))
    reader = ScalerReader(connection, {"llm", "other"}, say=lambda text: None)

    with api.faults.during(path=f"llm/{HPAS}", status=403):
        found, other = reader.read("llm", NOON), reader.read("other", NOON)

    assert found.forbidden == {HPA}
    assert other.forbidden == frozenset()
    assert names(other) == ["HorizontalPodAutoscaler other/chat"]
    assert reader.read("llm", NOON + 60).forbidden == frozenset()


def test_during_an_outage_what_was_known_still_counts(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(an_hpa())
    reader = ScalerReader(connection, None, say=print, every_seconds=10.0, deadline_seconds=0.2)
    before = reader.read("llm", NOON)
    with api.faults.during(status=503):
        during = reader.read("llm", NOON + 20)

    assert during.found == before.found
    assert during.read_at == NOON
    assert not during.unseen
    assert reader.read("llm", NOON + 21).read_at == NOON + 21


def test_what_was_never_known_is_unknown(api: FakeApiServer, connection: Connection) -> None:
    reader = ScalerReader(connection, None, say=print, deadline_seconds=0.2)
    with api.faults.during(status=503):
        found = reader.read("llm", NOON)

    assert set(found.unseen) == {HPA, SCALED_OBJECT}
    assert found.read_at == 0.0
    assert not reader.read("llm", NOON + 1).unseen


def test_while_the_api_is_in_trouble_a_cycle_asks_for_one_list(
    api: FakeApiServer, connection: Connection
) -> None:
    reader = ScalerReader(connection, {"llm", "other"}, say=print)
    with api.faults.during(status=503):
        found = [
            reader.read(place, cycle)
            for cycle in (NOON, NOON + 15)
            for place in ("llm", "other", "llm")
        ]

    assert len(api.requests) == 2
    assert len({one.unseen[kind] for one in found for kind in (HPA, SCALED_OBJECT)}) == 1


def test_all_lists_of_a_cycle_have_one_deadline(api: FakeApiServer, connection: Connection) -> None:
    clock = iter((0.0, 0.0, 4.9, 5.5, 99.0))
    reader = ScalerReader(
        connection, {"a", "b", "c"}, say=print, deadline_seconds=5.0, monotonic=lambda: next(clock)
    )

    found = reader.read("c", NOON)

    assert asked(api) <= 3  # the third may have been sent, and is not waited for
    assert set(found.unseen) == {HPA, SCALED_OBJECT}
    assert not reader.read("a", NOON).found


def test_lists_that_hang_hold_a_cycle_up_once(api: FakeApiServer, connection: Connection) -> None:
    target = Reference("apps/v1", "Deployment", "llm", "chat")
    api.add(an_hpa())
    reader = ScalerReader(connection, {"llm"}, say=print, deadline_seconds=0.3)
    reader.read("llm", NOON)

    with api.faults.during(path=HPAS, breaks=Break.HANG) as hung:
        found = [reader.read("llm", NOON + 61).of(target) for _ in range(20)]

    assert hung.hits == 1
    assert all(found)
