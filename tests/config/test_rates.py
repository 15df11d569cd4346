"""Rate limits that no workload could live with are refused before anything runs."""

import pytest

from tests.config.texts import changed, problems_in

PERCENT = "{type: Percent, value: 100, periodSeconds: 15}"
PODS = "{type: Pods, value: 4, periodSeconds: 15}"
STUCK = (
    "a.yaml:{line}: spec.behavior.scaleUp: at 0 replicas a percentage allows 0 more, so nothing "
    "would wake the workload: add {{type: Pods, value: 4, periodSeconds: 15}}, or set "
    "replicas.min to 1"
)


def behaving(scale_up: str, *, minimum: int) -> list[str]:
    """What is wrong with a file whose scaleUp is this."""
    old = "  behavior:"
    text = changed(("min: 1", f"min: {minimum}"))
    assert text.count(old) == 1
    return problems_in({"a.yaml": text.replace(old, f"{old}\n    scaleUp: {scale_up}", 1)})


@pytest.mark.parametrize(
    ("scale_up", "minimum", "stuck"),
    [
        pytest.param(f"{{policies: [{PERCENT}]}}", 0, True, id="percent of nothing"),
        pytest.param(f"{{policies: [{PERCENT}]}}", 1, False, id="never at zero"),
        pytest.param(f"{{policies: [{PERCENT}, {PODS}]}}", 0, False, id="pods beside it"),
        pytest.param(
            f"{{selectPolicy: Min, policies: [{PERCENT}, {PODS}]}}", 0, True, id="the smaller one"
        ),
        pytest.param("{selectPolicy: Disabled}", 0, True, id="never up"),
        pytest.param("{}", 0, False, id="the defaults have pods"),
    ],
)
def test_a_workload_that_may_sleep_can_wake(scale_up: str, minimum: int, stuck: bool) -> None:
    found = behaving(scale_up, minimum=minimum)

    assert [one.split(": ", 1)[1] for one in found] == (
        [STUCK.format(line=0).split(": ", 1)[1]] if stuck else []
    )


def test_an_empty_list_of_rate_limits_is_refused() -> None:
    (found,) = behaving("{policies: []}", minimum=1)

    assert found.endswith(
        "spec.behavior.scaleUp.policies: should have at least one rate limit; leave it out for the "
        "defaults, or set selectPolicy: Disabled"
    )
