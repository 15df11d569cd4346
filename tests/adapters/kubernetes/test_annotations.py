"""Pauses and numbers set by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.kubernetes.annotations import (
    KNOWN,
    PAUSED,
    PAUSED_DOWN,
    REPLICAS,
    REPLICAS_UNTIL,
    KillSwitch,
    read_annotations,
    read_switch,
)
from autoscaler.adapters.kubernetes.connection import Connection
from autoscaler.core.observation import Intervention, InterventionKind
from tests.builders import NOON
from tests.fakes.kubernetes import FakeApiServer

NAMED = "Deployment llm/chat"


def a_target(*entries: dict[str, Any], **marks: str) -> dict[str, Any]:
    named = {f"inference-autoscaler.dev/{key.replace('_', '-')}": v for key, v in marks.items()}
    return {"metadata": {"annotations": {"other": "x", **named}, "managedFields": list(entries)}}


def said(target: dict[str, Any], now: float = NOON) -> tuple[tuple[Intervention, ...], list[str]]:
    found = read_annotations(target, NAMED, now)
    return found.interventions, list(found.problems)


@pytest.mark.parametrize("target", [{}, {"metadata": {}}, a_target()], ids=str)
def test_without_annotations_nothing_is_said(target: dict[str, Any]) -> None:
    assert said(target) == ((), [])


@pytest.mark.parametrize("text", ["true", "True", " yes ", "on", "1", ""])
def test_a_pause_pauses(text: str) -> None:
    ((one,), problems) = said(a_target(paused=text))

    assert one == Intervention(
        InterventionKind.PAUSED,
        "Deployment llm/chat has the annotation inference-autoscaler.dev/paused: nothing changes",
    )
    assert problems == []


@pytest.mark.parametrize("text", ["false", "False", "no", "off", "0"])
def test_a_pause_that_is_off_does_not(text: str) -> None:
    assert said(a_target(paused=text, paused_down=text)) == ((), [])


def test_a_pause_with_a_wrong_value_is_a_pause_and_is_told() -> None:
    ((one,), problems) = said(a_target(paused="wahr"))

    assert one.kind is InterventionKind.PAUSED
    assert problems == [
        (
            "Deployment llm/chat: inference-autoscaler.dev/paused should be true or false, "
            "not 'wahr'; it counts as true"
        )
    ]


def test_only_decreases_can_be_paused() -> None:
    ((one,), _) = said(a_target(paused_down="true"))

    assert one.kind is InterventionKind.PAUSED_DOWN
    assert one.text.endswith("inference-autoscaler.dev/paused-down: no decrease")


def test_who_set_it_is_told_where_the_api_server_knows() -> None:
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{PAUSED}": {}}}}
    entry = {"manager": "kubectl-annotate", "time": "2023-11-14T22:13:20Z", "fieldsV1": fields}

    ((one,), _) = said(a_target(entry, paused="true"))

    assert "(set by kubectl-annotate at 2023-11-14T22:13:20Z)" in one.text
    del entry["time"]
    ((one,), _) = said(a_target(entry, paused="true"))
    assert "(set by kubectl-annotate):" in one.text


@pytest.mark.parametrize(
    ("until", "end"),
    [
        pytest.param(None, None, id="without an end"),
        pytest.param("2023-11-14T23:13:20Z", NOON + 3600, id="ISO 8601"),
        pytest.param("2023-11-15T00:13:20+01:00", NOON + 3600, id="with a zone"),
        pytest.param("2023-11-14T23:13:20", NOON + 3600, id="without a zone it is UTC"),
        pytest.param(f"{NOON + 60:.0f}", NOON + 60, id="Unix seconds"),
        pytest.param(f"{NOON + 60.5}", NOON + 60.5, id="and parts of them"),
    ],
)
def test_a_number_holds_until_its_end(until: str | None, end: float | None) -> None:
    marks = {"replicas": " 7 "} | ({} if until is None else {"replicas_until": until})

    ((one,), problems) = said(a_target(**marks))

    assert (one.kind, one.replicas, one.until) == (InterventionKind.REPLICAS, 7, end)
    assert "7 replicas" in one.text
    assert problems == []
    if end is not None:
        assert said(a_target(**marks), now=end) == ((), [])


@pytest.mark.parametrize(
    "text", ["7.0", "-1", "seven", "", "1e3", "\u0667", "2147483648", "99999999999"]
)
def test_a_number_that_is_none_is_ignored_and_told(text: str) -> None:
    found, problems = said(a_target(replicas=text))

    assert found == ()
    assert problems == [
        (
            f"{NAMED}: inference-autoscaler.dev/replicas should be a whole number from 0 "
            f"to 2147483647, not {text!r}; ignored"
        )
    ]


@pytest.mark.parametrize("text", ["tomorrow", "", "20261122", "3600", "1700000000000", "-5"])
def test_an_end_that_is_none_is_told_and_the_number_holds(text: str) -> None:
    ((one,), problems) = said(a_target(replicas="7", replicas_until=text))

    assert (one.replicas, one.until) == (7, None)
    assert problems == [
        (
            f"{NAMED}: inference-autoscaler.dev/replicas-until should be a time like "
            f"2026-01-05T00:10:00Z or Unix seconds, not {text!r}; {REPLICAS} "
            "holds until it is removed"
        )
    ]


def test_an_end_without_a_number_is_told() -> None:
    assert said(a_target(replicas_until="2026-01-01")) == (
        (),
        [
            (
                "Deployment llm/chat: inference-autoscaler.dev/replicas-until without "
                "inference-autoscaler.dev/replicas means nothing"
            )
        ],
    )


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("pausd", "; is inference-autoscaler.dev/paused meant?"),
        ("xyzzy-and-so-on-forever", f"; there are {', '.join(KNOWN)}"),
    ],
)
def test_a_misspelt_annotation_is_told(key: str, hint: str) -> None:
    found, problems = said({"metadata": {"annotations": {f"inference-autoscaler.dev/{key}": "1"}}})

    assert found == ()
    assert problems == [
        f"Deployment llm/chat: no annotation is called inference-autoscaler.dev/{key}{hint}"
    ]


@given(
    st.dictionaries(
        st.sampled_from([PAUSED, PAUSED_DOWN, REPLICAS, REPLICAS_UNTIL]),
        st.one_of(st.text(), st.integers(), st.none(), st.booleans()),
    )
)
def test_whatever_stands_there_nothing_breaks_and_a_pause_pauses(marks: dict[str, Any]) -> None:
    found = read_annotations({"metadata": {"annotations": marks}}, NAMED, NOON)

    off = str(marks.get(PAUSED)).strip().lower() in {"false", "no", "off", "0"}
    paused = any(one.kind is InterventionKind.PAUSED for one in found.interventions)
    assert paused == (PAUSED in marks and not off)


# --- the switch for everything -----------------------------------------------------------------

PATH = "/api/v1/namespaces/autoscaler/configmaps/inference-autoscaler"


def a_switch(data: dict[str, str] | None = None, **annotations: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "inference-autoscaler",
            "namespace": "autoscaler",
            "annotations": {f"inference-autoscaler.dev/{key}": v for key, v in annotations.items()},
        },
        **({} if data is None else {"data": data}),
    }


@pytest.mark.parametrize(
    ("switch", "text"),
    [
        (a_switch({"paused": "true"}), "(data.paused)"),
        (a_switch(paused="true"), "(annotation inference-autoscaler.dev/paused)"),
        (a_switch({"paused": "false"}, paused="true"), "(annotation"),
        (a_switch({"paused": "true"}, paused="false"), "(data.paused)"),
        (a_switch({"paused": "true"}, paused="true"), "(data.paused)"),
    ],
    ids=["data", "annotation", "only one of both", "only the other", "both"],
)
def test_the_switch_pauses_everything(switch: dict[str, Any], text: str) -> None:
    (one,) = read_switch(switch).interventions

    assert one.kind is InterventionKind.PAUSED
    assert one.text.startswith(
        "everything is paused by ConfigMap autoscaler/inference-autoscaler (" + text[1:-1]
    )


@pytest.mark.parametrize("switch", [{}, a_switch(), a_switch({"paused": "off"})], ids=str)
def test_a_switch_that_is_off_does_not(switch: dict[str, Any]) -> None:
    assert read_switch(switch).interventions == ()


def test_who_threw_the_switch_is_told() -> None:
    switch = a_switch({"paused": "true"})
    switch["metadata"]["managedFields"] = [
        {"manager": "kubectl-patch", "fieldsV1": {"f:data": {"f:paused": {}}}}
    ]
    (one,) = read_switch(switch).interventions
    assert one.text.endswith("(data.paused, set by kubectl-patch)")


class Switch:
    """A kill switch with what it says."""

    def __init__(self, connection: Connection, **options: Any) -> None:
        self.words: list[str] = []
        self.switch = KillSwitch(
            connection, "autoscaler", say=self.words.append, deadline_seconds=0.3, **options
        )

    def read(self) -> str:
        found = self.switch.read()
        return "" if found is None else found.text


def test_a_switch_is_said_once_each_way(api: FakeApiServer, connection: Connection) -> None:
    one = Switch(connection)
    assert [one.read(), one.read()] == ["", ""]

    api.add(a_switch({"paused": "yup"}))
    assert one.read().startswith("everything is paused by ConfigMap autoscaler/")
    assert one.read()
    api.merge(PATH, {"data": {"paused": "false"}})
    assert [one.read(), one.read()] == ["", ""]

    assert [text.partition(" (")[0] for text in one.words] == [
        "everything is paused by ConfigMap autoscaler/inference-autoscaler",
        (
            "ConfigMap autoscaler/inference-autoscaler: data.paused should be true or false, "
            "not 'yup'; it counts as true"
        ),
        "nothing pauses everything any more",
    ]


def test_until_it_could_be_read_once_everything_is_paused(
    api: FakeApiServer, connection: Connection
) -> None:
    one = Switch(connection)
    with api.faults.during(status=403, path="configmaps"):
        assert one.read().startswith(
            "everything is paused until ConfigMap autoscaler/inference-autoscaler could be read "
            "once: get configmaps autoscaler/inference-autoscaler: 403, not allowed: grant"
        )
    assert one.read() == ""
    with api.faults.during(status=503, path="configmaps"):
        assert one.read() == ""


def test_during_an_outage_a_switch_that_was_thrown_stays_so(
    api: FakeApiServer, connection: Connection
) -> None:
    api.add(a_switch({"paused": "true"}))
    one = Switch(connection)
    before = one.read()

    with api.faults.during(status=503):
        assert one.read() == before

    api.delete(PATH)
    assert one.read() == ""


def test_the_settings_pause_without_any_request(api: FakeApiServer, connection: Connection) -> None:
    assert Switch(connection, flag=True).read() == "the settings pause everything"
    assert Switch(connection, name="").read() == ""
    assert len(api.requests) == 0
