from autoscaler.core.behavior import Behavior, ScalingPolicy, effective


def test_an_empty_behavior_has_the_defaults_of_kubernetes() -> None:
    limits = effective(Behavior())

    up, down = limits.scale_up, limits.scale_down
    assert (up.window_seconds, up.select, up.tolerance) == (0, "Max", None)
    assert (down.window_seconds, down.select, down.tolerance) == (300, "Max", None)
    assert up.policies == (
        ScalingPolicy(type="Pods", value=4, period_seconds=15),
        ScalingPolicy(type="Percent", value=100, period_seconds=15),
    )
    assert down.policies == (ScalingPolicy(type="Percent", value=100, period_seconds=15),)


def test_defaults_are_per_field_and_a_given_list_replaces_the_default_list() -> None:
    given = {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}], "tolerance": "50m"}
    limits = effective(Behavior.model_validate({"scaleUp": given}))

    assert limits.scale_up.policies == (ScalingPolicy(type="Pods", value=1, period_seconds=60),)
    assert limits.scale_up.tolerance == 0.05
    assert limits.scale_up.select == "Max"
    assert limits.scale_down == effective(Behavior()).scale_down


def test_the_window_of_decreases_comes_from_the_controller_where_none_is_given() -> None:
    none_given = effective(Behavior(), 60.0)
    given = Behavior.model_validate({"scaleDown": {"stabilizationWindowSeconds": 0}})

    assert none_given.scale_down.window_seconds == 60
    assert effective(given, 60.0).scale_down.window_seconds == 0


def test_the_longest_period_of_a_direction() -> None:
    policies = [{"type": "Pods", "value": 1, "periodSeconds": seconds} for seconds in (30, 90, 60)]
    limits = effective(
        Behavior.model_validate({"scaleUp": {"policies": policies}, "scaleDown": {"policies": []}})
    )

    assert limits.scale_up.longest_period_seconds == 90
    assert limits.scale_down.longest_period_seconds == 0
