"""Signal sets: every query passes the check, can be shared, and answers what it says."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.adapters.prometheus.plan import PlannedQuery, plan_queries
from autoscaler.config import load_fleet, read_fleet
from autoscaler.core.spec import Role, SignalSpec
from tests.adapters.prometheus.promtool import complaints_of, differences, needs_promtool
from tests.policies.preset_files import ROOT

SETS = tuple(sorted((ROOT / "policies" / "signals").glob("*.yaml")))
MATCH = {"namespace": "llm", "container": "chat"}

by_name = pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)


def signals_of(name: str) -> dict[str, Any]:
    path = ROOT / "policies" / "signals" / f"{name}.yaml"
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def policy_file(folder: Path, name: str) -> Path:
    """A whole policy file with every signal of a set, each used by a policy."""
    signals = signals_of(name)
    document = {
        "apiVersion": "inference-autoscaler.dev/v1alpha1",
        "kind": "ScaledWorkload",
        "metadata": {"name": "chat", "namespace": "llm"},
        "spec": {
            "target": {"name": "chat"},
            "replicas": {"min": 1, "max": 4},
            "match": MATCH,
            "signals": signals,
            "policies": [
                {"type": "target-tracking", "signal": signal, "target": 1} for signal in signals
            ],
        },
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return file


def queries_of(folder: Path, name: str) -> dict[str, PlannedQuery]:
    """The planned query of each signal."""
    plan = plan_queries(load_fleet([policy_file(folder, name)]))
    return {
        signal: query
        for query in plan.queries
        for served in query.serves.values()
        for _, signal in served
    }


def test_there_is_one_for_everything_that_is_supported() -> None:
    assert {path.stem for path in SETS} == {
        "dcgm", "dcgm-exported", "inference-gateway", "kafka", "knative", "kserve", "nim",
        "rabbitmq", "ray-serve", "ray-vllm", "sglang", "sqs", "tgi", "triton-trtllm",
        "trtllm-serve", "vllm",
    }  # fmt: skip


@by_name
def test_it_passes_the_check_without_a_warning(path: Path, tmp_path: Path) -> None:
    assert read_fleet([policy_file(tmp_path, path.stem)]).warnings == ()


@by_name
def test_it_says_everything_that_matters(path: Path) -> None:
    for name, signal in signals_of(path.stem).items():
        assert set(signal) == {
            "role", "kind", "query", "windowSeconds", "stepSeconds", "maxAgeSeconds", "onMissing",
        }, name  # fmt: skip
        spec = SignalSpec.model_validate(signal)
        assert ("rate(" in spec.query or "deriv(" in spec.query) == ("[$window]" in spec.query)
        assert name != "queue_length" or spec.role is Role.QUEUE
        assert ("histogram_quantile" in spec.query) == name.endswith("_p95"), name


@by_name
def test_one_query_serves_all_workloads_that_ask_it(path: Path, tmp_path: Path) -> None:
    for name, query in queries_of(tmp_path, path.stem).items():
        assert query.apart == "", name
        assert query.labels == tuple(sorted(MATCH)), name


@by_name
def test_the_readme_lists_it(path: Path) -> None:
    readme = (ROOT / "policies" / "README.md").read_text(encoding="utf-8")

    assert f"[{path.stem}](signals/{path.name})" in readme


@needs_promtool
@by_name
def test_prometheus_accepts_every_query(path: Path, tmp_path: Path) -> None:
    planned = queries_of(tmp_path, path.stem).values()

    assert complaints_of(tmp_path, [query.promql for query in planned]) == ""


BASE = 'namespace="llm",container="chat"'


def pod(name: str, metric: str, more: str = "") -> str:
    return f'{metric}{{{BASE},pod="{name}"{"," + more if more else ""}}}'


VLLM = {
    **{pod(p, "vllm:num_requests_waiting", 'engine="0"'): "6x100" for p in "ab"},
    **{pod(p, "vllm:num_requests_running", 'engine="0"'): "41x100" for p in "ab"},
    pod("router", "vllm:num_requests_waiting", 'server="a"'): "6x100",  # repeats an engine's
    **{
        pod(p, "vllm:request_success_total", f'engine="0",finished_reason="{why}"'): f"0+{n}x100"
        for p in "ab"
        for why, n in (("stop", 54), ("abort", 4), ("error", 2))
    },
    **{pod(p, "vllm:prompt_tokens_total", 'engine="0"'): "0+1500x100" for p in "ab"},
    pod("a", "vllm:kv_cache_usage_perc", 'engine="0"'): "0.9x100",
    pod("b", "vllm:kv_cache_usage_perc", 'engine="0"'): "0.5x100",
    **{
        pod("a", "vllm:time_to_first_token_seconds_bucket", f'le="{le}"'): f"0+{n}x100"
        for le, n in (("0.5", 0), ("1.0", 100), ("+Inf", 100))
    },
    **{
        pod("a", "vllm:time_per_output_token_seconds_bucket", f'le="{le}"'): f"0+{n}x100"
        for le, n in (("0.05", 0), ("0.1", 100), ("+Inf", 100))
    },
}
SGLANG = {
    pod(
        "a", "sglang:num_queue_reqs", f'tp_rank="{rank}",dp_rank="0",priority="{priority}"'
    ): "8x100"
    for rank in "01"
    for priority in ("", "1")
}
DCGM = {
    pod("a", "DCGM_FI_DEV_GPU_UTIL", 'UUID="g1"'): "80x100",
    pod("a", "DCGM_FI_DEV_GPU_UTIL", 'UUID="g1",service="twice"'): "80x100",
    pod("a", "DCGM_FI_DEV_GPU_UTIL", 'UUID="g2"'): "40x100",
    pod("a", "DCGM_FI_DEV_GPU_UTIL", 'UUID="g3"'): "9223372036854775792x100",  # blank
    pod("a", "DCGM_FI_PROF_GR_ENGINE_ACTIVE", 'UUID="g1",GPU_I_ID="1"'): "0.2x100",
    pod("a", "DCGM_FI_PROF_GR_ENGINE_ACTIVE", 'UUID="g1",GPU_I_ID="2"'): "0.6x100",
}
EXPORTED = {
    name.replace("namespace=", 'namespace="gpu",exported_namespace=', 1)
    .replace("container=", 'container="dcgm",exported_container=', 1)
    .replace("pod=", 'pod="dcgm",exported_pod=', 1): values
    for name, values in DCGM.items()
}
GATEWAY = {
    f"{metric}{{{BASE}}}": values
    for old, new in (("inference_pool_", "pods"), ("llm_d_epp_", "endpoints"))
    for metric, values in (
        (f"{old}average_queue_size", "3x100"), (f"{old}ready_{new}", "4x100"),
    )
}  # fmt: skip
TRITON = {
    pod("a", "nv_inference_request_duration_us"): "0+60000000x100",
    pod("a", "nv_inference_request_success"): "0+30x100",
    pod("a", "nv_inference_request_failure", 'reason="OTHER"'): "0+10x100",
}
KAFKA = {
    f'kafka_consumergroup_lag_sum{{{BASE},topic="a"}}': "-1x100",
    f'kafka_consumergroup_lag{{{BASE},topic="a",partition="0"}}': "-1x100",
    f'kafka_consumergroup_lag{{{BASE},topic="a",partition="1"}}': "7x100",
}


@needs_promtool
@pytest.mark.parametrize(
    ("name", "series", "expected"),
    [
        pytest.param(
            "vllm",
            VLLM,
            {
                "queue_length": 12, "running": 82, "arrivals_per_second": 8,
                "requests_per_second": 8, "prompt_tokens_per_second": 200, "error_ratio": 0.1,
                "kv_usage": 0.7, "ttft_p95": 0.975, "itl_p95": 0.0975,
            },
            id="a router is not counted twice, and older names are found",
        ),
        pytest.param("sglang", SGLANG, {"queue_length": 8}, id="ranks and priorities count once"),
        pytest.param(
            "dcgm", DCGM, {"gpu_time": 0.6, "gpu_utilization": 0.4},
            id="GPUs are averaged, blanks dropped, instances told apart",
        ),
        pytest.param(
            "dcgm-exported", EXPORTED, {"gpu_time": 0.6, "gpu_utilization": 0.4},
            id="labels are renamed",
        ),
        pytest.param(
            "inference-gateway", GATEWAY, {"queue_length": 12}, id="old and new are not added up"
        ),
        pytest.param(
            "triton-trtllm", TRITON, {"e2e_mean": 2, "error_ratio": 0.25}, id="microseconds"
        ),
        pytest.param("kafka", KAFKA, {"queue_length": 7}, id="a lag of -1 is none"),
    ],
)  # fmt: skip
def test_it_answers_what_it_says(
    name: str, series: dict[str, str], expected: dict[str, float], tmp_path: Path
) -> None:
    queries = queries_of(tmp_path, name)
    rounded = [
        (f"round(sum({queries[signal].promql}), 1e-4)", value) for signal, value in expected.items()
    ]

    assert differences(tmp_path, series, rounded) == ""


def test_a_set_begins_with_what_to_match_and_every_comment_is_short() -> None:
    for path in SETS:
        head, _, rest = path.read_text(encoding="utf-8").partition("\n\n")
        assert rest
        assert "match:" in head
        assert all(re.fullmatch(r"# .{1,110}", line) for line in head.splitlines()), path.name
