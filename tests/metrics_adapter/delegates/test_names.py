"""The names of another adapter's metrics: asked for again and again, checked, listed."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from structlog.testing import capture_logs

from metrics_adapter import delegate
from metrics_adapter.targets import CUSTOM, EXTERNAL
from tests.metrics_adapter.conftest import AGGREGATOR, AS_HPA, Running, Start
from tests.metrics_adapter.incumbents import Incumbent
from tests.waiting import until

LIST = "/apis/external.metrics.k8s.io/v1beta1"


def test_the_incumbent_s_names_are_listed_and_stay_while_it_is_away(
    delegating: Running, incumbent: Incumbent
) -> None:
    def listed() -> list[str]:
        answer = delegating.get(LIST, AGGREGATOR)
        return [one["name"] for one in answer.document["resources"]]

    until(lambda: listed() == ["desired_replicas", "load", "s0-cron"])
    incumbent.reply = b"out of order"

    assert listed() == ["desired_replicas", "load", "s0-cron"]
    value = delegating.get(f"{LIST}/namespaces/llm/s0-cron", AS_HPA)
    assert value.status == 503
    assert value.message.startswith("the adapter behind this one: ")


def kept(names: dict[str, list[str]]) -> Callable[[str, Iterable[str]], Awaitable[None]]:
    """What a delegate tells its names."""

    async def use(group: str, told: Iterable[str]) -> None:
        names[group] = list(told)

    return use


def test_an_incumbent_that_is_away_is_told_once(
    delegating: Running, incumbent: Incumbent, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: incumbent.asked)
    monkeypatch.setattr(delegate, "LOOK_SECONDS", 0.01)
    incumbent.reply, incumbent.status = json.dumps({"message": "no"}).encode(), 403
    settings = delegating.adapter.settings.delegates.external
    assert settings is not None

    async def looking() -> None:
        one = delegate.Delegate(EXTERNAL, settings)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(one.run(kept({})), 0.5)
        await one.close()

    before = len(incumbent.asked)
    with capture_logs() as logs:
        asyncio.run(looking())

    assert len(incumbent.asked) > before + 1
    reasons = [one["reason"] for one in logs if one["event"] == "delegate not reached"]
    assert set(reasons) == {"status 403"}
    assert len(reasons) <= 2  # the adapter itself may look once more, too


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b'{"resources":5}', id="a number"),
        pytest.param(b'{"resources":true}', id="yes"),
        pytest.param(b'{"resources":{"name":"x"}}', id="an object"),
        pytest.param(b'{"resources":[{"name":"x"}],"resources":[]}', id="two lists"),
        pytest.param(b"[" * 5000, id="deep"),
        pytest.param(b'{"resources":[{"name":"\\ud800"}]}', id="half a character"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_whatever_the_incumbent_lists_the_process_goes_on(
    start: Start, behind: dict[str, Any], incumbent: Incumbent, reply: bytes
) -> None:
    """A group that does not answer blocks the deletion of every namespace."""
    incumbent.reply = reply

    with capture_logs() as logs:
        adapter = start(delegates={"external": behind})
        until(lambda: any(one["event"] == "delegate not reached" for one in logs))

    assert adapter.get(LIST, AGGREGATOR).status == 200
    assert adapter.get(f"{LIST}/namespaces/llm/load", AS_HPA).status == 200
    assert adapter.error is None
    (told,) = [one for one in logs if one["event"] == "delegate not reached"]
    assert told["reason"].startswith("its answer (200) ")


def test_a_mistake_of_ours_is_told_with_its_cause_and_the_incumbent_asked_again(
    behind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delegate, "LOOK_SECONDS", 0.01)
    settings = delegate.DelegateSettings.model_validate(behind)
    names: dict[str, list[str]] = {}
    failed: list[ZeroDivisionError] = []

    async def use(group: str, told: Iterable[str]) -> None:
        if len(failed) < 3:
            failed.append(ZeroDivisionError("seven"))
            raise failed[-1]
        await kept(names)(group, told)

    async def looking() -> None:
        one = delegate.Delegate(EXTERNAL, settings)
        running = asyncio.create_task(one.run(use))
        while not names:
            await asyncio.sleep(0.01)
        running.cancel()
        await one.close()

    with capture_logs() as logs:
        asyncio.run(looking())

    assert names == {EXTERNAL: ["s0-cron"]}
    assert len(failed) == 3
    (told,) = [one for one in logs if one["event"] == "delegate not reached"]
    assert told["reason"] == "it could not be understood: ZeroDivisionError('seven')"
    assert told["exc_info"] is failed[0]


@pytest.mark.parametrize(
    ("group", "names", "told", "left_out"),
    [
        pytest.param(
            EXTERNAL,
            ["s1", "", None, 5, "a/b", "a b", "a%2Fb", "..", "*", "s0", "s1", "x" * 254],
            ["s0", "s1"],
            "9 that nobody could ask for",
            id="external",
        ),
        pytest.param(
            CUSTOM,
            ["pods/s1", "pods", "/x", "x/", "a/b/c", "A b\n/c%2F", "namespaces/s0", None],
            ["namespaces/s0", "pods/s1"],
            "6 that nobody could ask for",
            id="custom",
        ),
        pytest.param(
            EXTERNAL,
            ["d", "b", "a", "e", "c", "b", ""],
            ["a", "b", "c"],
            "1 that nobody could ask for and 2 beyond the first 3",
            id="many",
        ),
    ],
)
def test_only_names_that_can_be_asked_for_are_listed_and_so_many_at_most(
    behind: dict[str, Any],
    incumbent: Incumbent,
    monkeypatch: pytest.MonkeyPatch,
    group: str,
    names: list[Any],
    told: list[str],
    left_out: str,
) -> None:
    monkeypatch.setattr(delegate, "MOST_NAMES", 3)
    resources = [{"name": name} for name in names]
    incumbent.reply = json.dumps(
        {"versions": [{"version": "v1beta1"}], "resources": [*resources, 7]}
    ).encode()

    async def asking() -> list[list[str]]:
        one = delegate.Delegate(group, delegate.DelegateSettings.model_validate(behind))
        found = [await one.names(), await one.names()]
        await one.close()
        return found

    with capture_logs() as logs:
        assert asyncio.run(asking()) == [told, told]

    (said,) = [one for one in logs if one["event"] == "delegate's names left out"]
    assert said["reason"] == left_out
