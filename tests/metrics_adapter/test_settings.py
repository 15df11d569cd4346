"""Settings and the command."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
import yaml

from autoscaler.cli import main
from autoscaler.core.errors import ConfigError
from autoscaler.settings import Settings
from autoscaler.telemetry.access import ServerSettings
from metrics_adapter.api_server import ApiServerSettings
from metrics_adapter.settings import read_settings
from tests.metrics_adapter.cluster import FakeCluster, FakeController

MANIFESTS = Path(__file__).parents[2] / "manifests" / "metrics-api"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "adapter.yaml"
    path.write_text(text)
    return path


def test_flags_go_over_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path, "controller: {url: 'http://a:1', waitSeconds: 5}\nserving: {port: 1}\n"
    )

    settings = read_settings(path, {"controller.url": "http://b:2", "serving.host": "::1"})

    assert settings.controller.url == "http://b:2"
    assert settings.controller.wait_seconds == 5
    assert (settings.serving.host, settings.serving.port) == ("::1", 1)


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, ""))

    assert settings == read_settings()
    assert settings.groups == ("external.metrics.k8s.io", "custom.metrics.k8s.io")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("- a", "should be one mapping of settings", id="a list"),
        pytest.param("a: [", "should be YAML: while parsing", id="no YAML"),
        pytest.param("port: 1", "port: extra inputs are not permitted, not 1", id="unknown"),
        pytest.param(
            "serving: {certFile: a}",
            "serving: certFile and keyFile should be given together",
            id="half a pair",
        ),
        pytest.param(
            "groups: [custom.metrics.k8s.io, custom.metrics.k8s.io]",
            "settings: groups should name each API once",
            id="twice",
        ),
        pytest.param("groups: [apps]", "groups.0: input should be 'external", id="a strange group"),
        pytest.param("controller: 7", "controller: should be a mapping", id="no mapping"),
        pytest.param(
            "delegates: {external: {url: 'http://a', caFile: a}}",
            "delegates.external.url: string should match pattern",
            id="an incumbent without TLS",
        ),
        pytest.param(
            "delegates: {external: {url: 'https://a', caFile: a, timeoutSeconds: 9}}",
            "delegates.external.timeoutSeconds: input should be less than or equal to 8, not 9",
            id="an incumbent with more time than an answer has",
        ),
    ],
)
def test_what_is_wrong_is_told_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(ConfigError) as refused:
        read_settings(path, {"controller.url": "http://b:2"})

    assert str(refused.value).startswith(f"{path}: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_settings(tmp_path / "none.yaml")


def test_the_address_of_the_api_server_comes_from_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    assert ApiServerSettings().address() == "https://10.0.0.1:6443"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    assert ApiServerSettings().address() == "https://[fd00::1]:6443"
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    with pytest.raises(ConfigError, match="not in a pod"):
        ApiServerSettings().address()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--log-format", "xml"], "--log-format: should be json or console", id="form"),
        pytest.param(["--log-level", "loud"], "--log-level: should be one of debug", id="level"),
        pytest.param(["--controller", "a"], "controller.url: string should match", id="address"),
    ],
)
def test_a_wrong_flag_ends_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["adapter", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_outside_a_cluster_it_says_what_is_needed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    assert main(["adapter"]) == 2
    assert "apiServer.url: not in a pod" in capsys.readouterr().err


def test_a_port_that_is_taken_ends_with_2(
    tmp_path: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        path = a_file(tmp_path, cluster, "http://127.0.0.1:1", taken.getsockname()[1])

        assert main(["adapter", "--config", str(path)]) == 2
    assert "cannot listen on 127.0.0.1:" in capsys.readouterr().err


def test_a_certificate_that_is_not_there_ends_with_2(
    tmp_path: Path, cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_file(tmp_path, cluster, "http://127.0.0.1:1", 0)
    (tmp_path / "tls.key").unlink()

    assert main(["adapter", "--config", str(path)]) == 2
    assert "tls.key: cannot be read: no such file" in capsys.readouterr().err


@pytest.mark.slow
def test_the_process_serves_and_ends_in_order(
    tmp_path: Path, cluster: FakeCluster, controller: FakeController
) -> None:
    path = a_file(tmp_path, cluster, controller.url, 0)
    with subprocess.Popen(
        [sys.executable, "-m", "autoscaler", "adapter", "--config", str(path)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if '"serving"' in line:
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(20) == 0

    assert '"stopped"' in rest
    assert "Traceback" not in "".join(lines) + rest


def a_file(tmp_path: Path, cluster: FakeCluster, controller: str, port: int) -> Path:
    certificate = trustme.CA().issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "tls.crt"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "tls.key"))
    document: dict[str, Any] = {
        "controller": {"url": controller},
        "apiServer": {
            "url": cluster.url,
            "caFile": str(cluster.ca_file),
            "tokenFile": str(cluster.token_file),
        },
        "serving": {
            "host": "127.0.0.1",
            "port": port,
            "certFile": str(tmp_path / "tls.crt"),
            "keyFile": str(tmp_path / "tls.key"),
            "drainSeconds": 0,
        },
    }
    return written(tmp_path, yaml.safe_dump(document))


def test_the_manifests_and_the_defaults_agree() -> None:
    settings = read_settings()
    found = {
        (one["kind"], one["metadata"]["name"]): one
        for path in MANIFESTS.glob("*.yaml")
        for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    }

    service = found["Service", settings.service]
    assert service["metadata"]["namespace"] == settings.namespace
    for name in ("v1beta1.external.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"):
        spec = found["APIService", name]["spec"]
        assert (spec["service"]["namespace"], spec["service"]["name"]) == (
            settings.namespace,
            settings.service,
        )
    secrets = found["Role", settings.service]["rules"][0]["resourceNames"]
    assert secrets == [f"{settings.service}-tls"]
    (container,) = found["Deployment", settings.service]["spec"]["template"]["spec"]["containers"]
    assert container["ports"][0]["containerPort"] == settings.serving.port
    data = found["ConfigMap", settings.service]["data"]["adapter.yaml"]
    controller = urlsplit(yaml.safe_load(data)["controller"]["url"])
    assert controller.hostname == "inference-autoscaler.inference-autoscaler.svc"
    assert controller.port == Settings().listen_port


def test_without_a_word_the_adapter_asks_where_the_controller_listens() -> None:
    default = Settings()

    assert (
        read_settings().controller.url == f"http://{default.listen_address}:{default.listen_port}"
    )
    assert ServerSettings().port == default.listen_port


def test_the_manifest_for_delegates_shows_settings_that_are_read(tmp_path: Path) -> None:
    text = (MANIFESTS / "delegates.yaml").read_text(encoding="utf-8")
    shown = [line[3:] for line in text.splitlines() if line.startswith("#   ")]

    delegates = read_settings(written(tmp_path, "\n".join(shown))).delegates.by_group()

    assert set(delegates) == set(read_settings().groups)


def test_who_is_passed_on_may_be_asked_by_the_account_that_asks() -> None:
    found = {
        one["kind"]: one
        for one in yaml.safe_load_all((MANIFESTS / "delegates.yaml").read_text(encoding="utf-8"))
    }
    (account,) = [
        one["metadata"]
        for one in yaml.safe_load_all((MANIFESTS / "rbac.yaml").read_text(encoding="utf-8"))
        if one["kind"] == "ServiceAccount"
    ]
    role, binding = found["ClusterRole"], found["ClusterRoleBinding"]

    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]
    assert {
        (group, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for verb in rule["verbs"]
    } == {("external.metrics.k8s.io", "list"), ("custom.metrics.k8s.io", "get")}


def test_no_manifest_skips_the_check_of_a_certificate() -> None:
    for path in MANIFESTS.glob("*.yaml"):
        assert "insecureSkipTLSVerify" not in path.read_text(encoding="utf-8")


def test_the_example_hpa_follows_exactly() -> None:
    (hpa,) = yaml.safe_load_all((MANIFESTS / "hpa-example.yaml").read_text(encoding="utf-8"))

    (metric,) = hpa["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] == "desired_replicas"
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "1"}
    for direction in hpa["spec"]["behavior"].values():
        assert direction["tolerance"] == "0"
        assert direction["stabilizationWindowSeconds"] == 0
        assert any(
            one["type"] == "Percent" and one["value"] >= 100 for one in direction["policies"]
        )
