"""The examples fit each other and the code; the README names what there is."""

import ipaddress
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from metrics_adapter import keda
from metrics_adapter.keda import server, trigger
from metrics_adapter.keda.settings import KedaSettings
from metrics_adapter.keda.trigger import Trigger, read_trigger
from metrics_adapter.settings import read_settings

FOLDER = Path(__file__).parents[3] / "manifests" / "keda"
BESIDE = FOLDER.with_name("metrics-api")
README = Path(keda.__file__).with_name("README.md").read_text(encoding="utf-8")


def documents(name: str, folder: Path = FOLDER) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((folder / name).read_text(encoding="utf-8")))


def adapter(folder: Path = FOLDER) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the adapter's settings, its Deployment, and the rest by kind."""
    found = {one["kind"]: one for one in documents("adapter.yaml", folder)}
    settings = yaml.safe_load(found.pop("ConfigMap")["data"]["adapter.yaml"])
    return settings, found.pop("Deployment"), found


def test_the_trigger_of_the_example_is_one_that_is_read() -> None:
    (scaled,) = documents("scaledobject.yaml")
    (pushed,) = scaled["spec"]["triggers"]

    read = read_trigger("chat", scaled["metadata"]["namespace"], pushed["metadata"])

    assert pushed["type"] == "external-push"
    assert "metricType" not in pushed
    assert read == Trigger("llm/chat", "desired_replicas", 1.0)


def test_the_trigger_finds_the_service_and_its_certificate() -> None:
    (scaled,) = documents("scaledobject.yaml")
    (service,) = documents("service.yaml")
    address = scaled["spec"]["triggers"][0]["metadata"]["scalerAddress"]
    host, port = address.split(":")

    (names,) = [
        one["spec"]["dnsNames"]
        for one in documents("certificates.yaml")
        if "dnsNames" in one["spec"]
    ]

    assert host == "{name}.{namespace}.svc".format(**service["metadata"])
    assert host in names
    assert int(port) == service["spec"]["ports"][0]["port"] == KedaSettings().port
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True


@pytest.mark.parametrize("folder", [FOLDER, BESIDE], ids=["keda", "metrics-api"])
def test_the_service_finds_the_pods(folder: Path) -> None:
    (service,) = documents("service.yaml", folder)
    _, deployment, _ = adapter()
    pods = deployment["spec"]["template"]

    assert service["metadata"]["namespace"] == deployment["metadata"]["namespace"]
    assert service["spec"]["selector"].items() <= pods["metadata"]["labels"].items()
    (container,) = pods["spec"]["containers"]
    assert service["spec"]["ports"][0]["targetPort"] in {
        port["name"] for port in container["ports"]
    }


def test_the_adapter_s_settings_listen_where_the_service_points_with_the_certificate_made(
    tmp_path: Path,
) -> None:
    document, deployment, _ = adapter()
    path = tmp_path / "adapter.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    read = read_settings(path).keda
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    secrets = {
        one["name"]: one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one
    }
    (mount,) = [one for one in container["volumeMounts"] if one["name"] in secrets]
    (made,) = [
        one
        for one in documents("certificates.yaml")
        if one["kind"] == "Certificate" and one["spec"].get("usages") == ["server auth"]
    ]

    assert read is not None
    assert read.secure
    assert not ipaddress.ip_address(read.host).is_loopback
    assert {"name": "grpc", "containerPort": read.port} in container["ports"]
    assert [read.cert_file, read.key_file, read.client_ca_file] == [
        Path(mount["mountPath"], name) for name in ("tls.crt", "tls.key", "ca.crt")
    ]
    assert secrets[mount["name"]] == made["spec"]["secretName"]
    assert made["metadata"]["namespace"] == deployment["metadata"]["namespace"]


def test_the_adapter_for_keda_is_the_adapter_of_the_apis_and_nothing_else() -> None:
    settings, deployment, rest = adapter()
    plain_settings, plain_deployment, plain_rest = adapter(BESIDE)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    del settings["keda"]
    assert settings.pop("groups") == []  # which leaves the probes' port as it is
    for listed, name in (
        (container["ports"], "grpc"),
        (container["volumeMounts"], "keda"),
        (pod["volumes"], "keda"),
    ):
        (added,) = [one for one in listed if one["name"] == name]
        listed.remove(added)

    assert settings == plain_settings
    assert deployment == plain_deployment
    assert rest == plain_rest


def test_the_authentication_finds_the_secret_that_is_made() -> None:
    (scaled,) = documents("scaledobject.yaml")
    (authentication,) = documents("triggerauthentication.yaml")
    made = {
        (one["metadata"]["namespace"], one["spec"]["secretName"])
        for one in documents("certificates.yaml")
        if one["kind"] == "Certificate"
    }
    given = authentication["spec"]["secretTargetRef"]

    assert scaled["spec"]["triggers"][0]["authenticationRef"] == {
        "name": authentication["metadata"]["name"]
    }
    assert authentication["metadata"]["namespace"] == scaled["metadata"]["namespace"]
    assert {one["parameter"] for one in given} == {"caCert", "tlsClientCert", "tlsClientKey"}
    assert {(authentication["metadata"]["namespace"], one["name"]) for one in given} <= made


def test_nothing_skips_the_check_of_a_certificate() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in FOLDER.iterdir())

    assert "kind: ScaledObject" in text
    assert not re.search("unsafeSsl|insecure", text)


def test_the_hpa_that_keda_makes_follows_exactly() -> None:
    (scaled,) = documents("scaledobject.yaml")
    behavior = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]

    for direction in ("scaleUp", "scaleDown"):
        assert behavior[direction]["tolerance"] == 0
        assert behavior[direction]["stabilizationWindowSeconds"] == 0


def test_the_readme_names_every_metadata_and_the_limits_as_they_are() -> None:
    for name in (trigger.WORKLOAD, trigger.METRIC, trigger.TARGET_SIZE):
        assert f"| `{name}` |" in README
    settings = KedaSettings()
    assert f"`maxStreams`, {settings.max_streams:,};" in README
    assert f"`requestSeconds`, {settings.request_seconds:g} s" in README
    assert f"`graceSeconds`, {settings.grace_seconds:g} s" in README
    request, headers = server.LARGEST_REQUEST // 1024, server.LARGEST_HEADERS // 1024
    assert f"{request} KiB; its headers {headers} KiB" in README
    assert f"| connections | {server.MOST_CONNECTIONS} |" in README
    assert f"{server.BESIDE_STREAMS:,}, and {server.MOST_WATCHERS} that watch" in README
    modules = {path.name for path in Path(keda.__file__).parent.glob("*.p*")} - {
        "__init__.py", "externalscaler_pb2.pyi",
    }  # fmt: skip
    assert modules == set(re.findall(r"`(\w+\.(?:py|proto))`", README))
