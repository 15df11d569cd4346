"""Which version another adapter serves: found out, kept, and found out again."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from metrics_adapter import delegate as delegate_module
from metrics_adapter.delegate import Delegate, DelegateSettings
from metrics_adapter.statuses import RefusalError
from metrics_adapter.targets import CUSTOM
from tests.metrics_adapter.conftest import Clock, Running, Start
from tests.metrics_adapter.delegates.conftest import OBJECT, ask
from tests.metrics_adapter.incumbents import Older
from tests.waiting import until


def test_which_version_it_serves_is_asked_once_for_many_values(
    with_older: Running, older: Older
) -> None:
    until(older.looks)
    for name in ("hits", "misses", "hits", "errors"):
        ask(with_older, f"{OBJECT}/{name}")

    assert older.looks() == 1


def test_a_new_version_is_found_after_a_404(with_older: Running, older: Older) -> None:
    assert ask(with_older).document["items"][0]["value"] == "31500m"
    older.versions = ["v1beta2"]

    just_asked = ask(with_older)
    with_older.clock.now += delegate_module.AGAIN_SECONDS
    later = ask(with_older)

    assert just_asked.status == 503
    assert just_asked.message == (
        "the adapter behind this one: its answer (404) is no object in JSON"
    )
    assert later.document["items"] == [{"metric": {"name": "hits", "selector": None}, "value": "7"}]
    assert older.looks() == 2


def test_our_version_goes_before_an_older_one(with_older: Running, older: Older) -> None:
    assert ask(with_older).document["items"][0]["value"] == "31500m"
    older.versions = ["v1beta1", "v1beta2"]
    with_older.clock.now += delegate_module.AGAIN_SECONDS
    assert ask(with_older, f"{OBJECT}/misses").status == 404

    assert ask(with_older).document["items"][0]["value"] == "7"


def test_without_a_word_of_its_group_its_versions_are_tried(
    start: Start, behind_custom: dict[str, Any], older: Older
) -> None:
    older.tells_of_its_group = False

    answer = ask(start(delegates={"custom": behind_custom}))

    assert answer.document["items"][0]["metric"]["name"] == "hits"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda older: setattr(older, "versions", ["v1alpha1"]),
            "it serves custom.metrics.k8s.io neither at v1beta2 nor v1beta1",
            id="older still",
        ),
        pytest.param(
            lambda older: older.__dict__.update(versions=[], tells_of_its_group=False),
            "status 404",
            id="not this group",
        ),
        pytest.param(
            lambda older: setattr(older, "reply", b"<html>"),
            "its answer (200) is no object in JSON", id="no JSON",
        ),
        pytest.param(
            lambda older: setattr(older, "reply", b"[]"), "its answer (200) is no object in JSON",
            id="no object",
        ),
        pytest.param(
            lambda older: setattr(older, "reply", b'{"versions":5}'),
            "its answer (200) has no list of versions", id="no list",
        ),
        pytest.param(
            lambda older: setattr(older, "reply", b'{"versions":[{"version":["v1beta1"]},{},5]}'),
            "it serves custom.metrics.k8s.io neither at v1beta2 nor v1beta1", id="no version",
        ),
    ],
)  # fmt: skip
def test_whoever_serves_no_version_that_is_known_is_told(
    start: Start,
    behind_custom: dict[str, Any],
    older: Older,
    change: Callable[[Older], Any],
    message: str,
) -> None:
    change(older)

    answer = ask(start(delegates={"custom": behind_custom}))

    assert (answer.status, answer.message) == (503, f"the adapter behind this one: {message}")


def test_an_answer_has_its_time_however_many_questions_it_takes(
    behind_custom: dict[str, Any], older: Older
) -> None:
    older.late = 0.25

    async def asking() -> None:
        one = Delegate(
            CUSTOM, DelegateSettings.model_validate({**behind_custom, "timeoutSeconds": 0.35})
        )
        try:
            await one.answer([*OBJECT.split("/"), "hits"], {})
        finally:
            await asyncio.sleep(2 * older.late)  # then the connection that was given up ends
            await one.close()

    with pytest.raises(RefusalError, match=r"this one: no answer within 0\.35 s$") as refused:
        asyncio.run(asking())

    assert refused.value.code == 503
    assert len(older.asked) == 2


def test_of_many_who_ask_at_once_one_finds_out(behind_custom: dict[str, Any], older: Older) -> None:
    """Those who waited for one that found nothing do not ask again, each after the other."""
    older.versions = ["v1alpha1"]
    clock = Clock(0.0)

    def rising() -> float:
        clock.now += 0.001
        return clock.now

    async def asking() -> list[Any]:
        one = Delegate(CUSTOM, DelegateSettings.model_validate(behind_custom), rising)
        answers = (one.answer(["a", "b"], {}) for _ in range(8))
        found = await asyncio.gather(*answers, return_exceptions=True)
        await one.close()
        return found

    found = asyncio.run(asking())

    assert all(isinstance(one, RefusalError) and one.code == 503 for one in found)
    assert any("it is not known which version" in one.message for one in found)
    assert older.looks() == 1
