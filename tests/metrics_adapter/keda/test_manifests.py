"""The examples fit each other and the code; the README names what there is."""

import re
from pathlib import Path
from typing import Any

import yaml

from metrics_adapter import keda
from metrics_adapter.keda import server, trigger
from metrics_adapter.keda.settings import KedaSettings
from metrics_adapter.keda.trigger import Trigger, read_trigger

FOLDER = Path(__file__).parents[3] / "manifests" / "keda"
README = Path(keda.__file__).with_name("README.md").read_text(encoding="utf-8")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


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
