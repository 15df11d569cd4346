"""What a trigger's metadata may say, and the one line for whatever else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_adapter.keda.refusals import RefusedError
from metrics_adapter.keda.trigger import Trigger, read_trigger

WHERE = "ScaledObject llm/chat: trigger metadata"


def read(**metadata: Any) -> Trigger:
    return read_trigger("chat", "llm", metadata)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        pytest.param(
            {"workload": "llama"}, ("llm/llama", "desired_replicas", 1.0), id="a name alone"
        ),
        pytest.param(
            {"workload": "gpu/llama"}, ("gpu/llama", "desired_replicas", 1.0), id="with a namespace"
        ),
        pytest.param(
            {"workload": "llama", "targetSize": "1"},
            ("llm/llama", "desired_replicas", 1.0),
            id="the one target that follows the plan",
        ),
        pytest.param(
            {"workload": "llama", "metric": "queue_length", "targetSize": "2.5"},
            ("llm/llama", "queue_length", 2.5),
            id="a signal and what one replica carries of it",
        ),
        pytest.param(
            {"workload": "llama", "metric": "load_forecast_p90", "targetSize": "100"},
            ("llm/llama", "load_forecast_p90", 100.0),
            id="a forecast",
        ),
        pytest.param(
            {
                "workload": "llama",
                "scalerAddress": "adapter:9444",
                "enableTLS": "true",
                "unsafeSsl": "false",
                "tlsCertFile": "",
                "caCert": "x",
                "somethingNew": "y",
            },
            ("llm/llama", "desired_replicas", 1.0),
            id="names that are KEDA's own are none of ours",
        ),
    ],
)
def test_a_trigger_is_read(metadata: dict[str, str], expected: tuple[str, str, float]) -> None:
    assert read(**metadata) == Trigger(*expected)


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        pytest.param({}, "workload: should be NAME or NAMESPACE/NAME, is missing", id="nothing"),
        pytest.param(
            {"workload": ""}, "workload: should be NAME or NAMESPACE/NAME, not ''", id="empty"
        ),
        pytest.param(
            {"workload": "/llama"},
            "workload: should be NAME or NAMESPACE/NAME, not '/llama'",
            id="a slash and no namespace",
        ),
        pytest.param(
            {"workload": "a/b/c"},
            "workload: should be NAME or NAMESPACE/NAME, not 'a/b/c'",
            id="too many parts",
        ),
        pytest.param(
            {"workload": "Llama\n8b"},
            "workload: should be NAME or NAMESPACE/NAME, not 'Llama\\n8b'",
            id="two lines",
        ),
        pytest.param(
            {"workload": "x" * 300},
            f"workload: should be NAME or NAMESPACE/NAME, not '{'x' * 77}...'",
            id="too long",
        ),
        pytest.param(
            {"workload": "llama", "metric": "a/b"},
            "metric: should be a metric's name, not 'a/b'",
            id="a metric that is a path",
        ),
        pytest.param(
            {"workload": "llama", "metric": ""},
            "metric: should be a metric's name, not ''",
            id="an empty metric",
        ),
        pytest.param(
            {"workload": "llama", "targetSize": "2"},
            "targetSize: should be 1 for desired_replicas, not '2'",
            id="half the plan",
        ),
        pytest.param(
            {"workload": "llama", "metric": "load"},
            "targetSize: should say what one replica carries of load",
            id="a signal without a target",
        ),
        *[
            pytest.param(
                {"workload": "llama", "metric": "load", "targetSize": text},
                f"targetSize: should be a number from 0.001 to 1e15, not '{text}'",
                id=f"target {text!r}",
            )
            for text in ("0", "-1", "nan", "inf", "1e3", "0.0001", "1_000", "٣", "9" * 16, "")
        ],
        pytest.param(
            {"workload": "llama", "metrc": "load"},
            "'metrc' is not known here; is metric meant?",
            id="ours, misspelt",
        ),
        pytest.param(
            {"workload": "llama", "targetsize": "5"},
            "'targetsize' is not known here; is targetSize meant?",
            id="ours, in small letters",
        ),
    ],
)
def test_anything_else_is_refused_in_one_line(metadata: dict[str, str], problem: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read(**metadata)

    assert (caught.value.code, caught.value.text) == ("INVALID_ARGUMENT", f"{WHERE}: {problem}")


def test_a_scaled_object_with_a_strange_name_is_quoted() -> None:
    with pytest.raises(RefusedError, match=r"^ScaledObject 'a b'/'': trigger metadata: workload"):
        read_trigger("", "a b", {})


@given(
    name=st.text(max_size=20),
    namespace=st.sampled_from(["llm", "", "a/b", "LLM"]) | st.text(max_size=300),
    metadata=st.dictionaries(
        st.sampled_from(["workload", "metric", "targetSize"]) | st.text(max_size=20),
        st.sampled_from(["llama", "llm/llama", "load", "1", "0.5"]) | st.text(max_size=300),
        max_size=5,
    ),
)
def test_every_metadata_is_a_sound_trigger_or_one_short_printable_line(
    name: str, namespace: str, metadata: dict[str, str]
) -> None:
    found = trigger_or_refusal(name, namespace, metadata)

    if isinstance(found, RefusedError):
        assert found.code == "INVALID_ARGUMENT"
        assert found.text.isprintable()
        assert len(found.text) <= 500
    else:
        assert found.workload.count("/") == 1
        assert 0.001 <= found.target_size <= 1e15


def trigger_or_refusal(
    name: str, namespace: str, metadata: dict[str, str]
) -> Trigger | RefusedError:
    try:
        return read_trigger(name, namespace, metadata)
    except RefusedError as refused:
        return refused
