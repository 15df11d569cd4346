"""`autoscaler run` with two policy files, a real Prometheus and a Kubernetes API."""

import json
import signal
from typing import Final

import pytest

from tests.fakes.kubernetes import FakeApiServer
from tests.live.stage import Stage
from tests.waiting import until

pytestmark = pytest.mark.slow


def test_deployments_follow_the_exported_metrics_up_and_down(either: Stage) -> None:
    either.run(election=True)

    either.demand("chat", 60)
    either.until(6, "chat")
    either.demand("code", 10)
    either.until(1, "code")
    either.demand("chat", 25)
    either.until(3, "chat")

    assert either.generation("chat") == 3
    assert either.generation("code") == 2


def test_shadow_decides_and_writes_nothing(stage: Stage, fake: FakeApiServer) -> None:
    stage.demand("chat", 60)
    fake.requests.clear()
    process = stage.run("--shadow")

    until(lambda: bool(process.lines("advise")), "a decision is told")
    (advice,) = process.lines("advise")
    process.send(signal.SIGTERM)

    assert process.ended()[0] == 0
    assert (advice["from"], advice["to"]) == (2, 6)
    assert stage.replicas("chat") == 2
    ours = [one for one in fake.requests.writes if "autoscaler" in one.headers["User-Agent"]]
    assert [one.path for one in ours] == []


def test_sigterm_ends_in_order_with_0(stage: Stage) -> None:
    process = stage.run(election=True)
    stage.demand("chat", 50)
    stage.until(5)

    process.send(signal.SIGTERM)
    code, _ = process.ended()

    assert code == 0
    lease = stage.api.peek(
        f"/apis/coordination.k8s.io/v1/namespaces/{stage.own}/leases/inference-autoscaler"
    )
    assert not lease["spec"].get("holderIdentity")
    past = stage.past("chat")
    assert past is not None
    assert past.desired == 5
    assert sum(mark.count for mark in past.scale_ups) == 3


def test_a_changed_policy_file_is_in_force_without_a_restart(stage: Stage) -> None:
    process = stage.run()
    stage.demand("chat", 150)
    stage.until(10)

    (stage.folder / "chat.yaml").write_text("kind: [", encoding="utf-8")
    until(lambda: bool(process.lines("policy files are broken")), "the breakage is told")
    stage.write_policy("chat", most=12)

    stage.until(12)


# Of a cron job, unlike the hurried controllers above: there is no second cycle to be right in.
ONE_LOOK: Final = {
    "intervalSeconds": 15,
    "leaseSeconds": 4,
    "renewSeconds": 3,
    "retrySeconds": 0.5,
    "leaseRequestSeconds": 2,
}


class TestOnce:
    """`--once`, for cron and CI."""

    def test_it_acts_prints_and_ends_with_0(self, stage: Stage) -> None:
        stage.demand("chat", 40)
        until(lambda: stage.prometheus.value("sum(vllm:num_requests_running)") == 60, "40 and 20")

        process = stage.run("--once", "--json", election=True, settings=ONE_LOOK)
        code, printed = process.ended()

        assert code == 0, process.log.read_text(encoding="utf-8")
        said = json.loads(printed)
        assert said["leader"] is True
        assert [(row["replicas"], row["done"]) for row in said["workloads"]] == [
            ("4", "yes"),
            ("2", "nothing to do"),
        ]
        assert stage.replicas("chat") == 4

    def test_what_cannot_be_seen_ends_with_1(self, stage: Stage) -> None:
        stage.prometheus.stop()

        code, printed = stage.run("--once").ended()

        assert code == 1
        # On a busy machine there may be no time left to be refused.
        assert "connection refused" in printed or "did not answer" in printed
        assert stage.replicas("chat") == 2

    def test_a_broken_policy_file_ends_with_2(self, stage: Stage) -> None:
        (stage.folder / "chat.yaml").write_text("kind: [", encoding="utf-8")

        process = stage.run("--once")

        assert process.ended()[0] == 2
        assert "chat.yaml" in process.log.read_text(encoding="utf-8")
