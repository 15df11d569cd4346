"""What `kubectl apply -k manifests/controller` applies: whole, safe, accepted by our command."""

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main
import yaml

from autoscaler.cli.app import app
from autoscaler.config import load_fleet
from autoscaler.core.workload import ScaledWorkload
from autoscaler.settings import Settings, read_settings
from autoscaler.telemetry import routes
from tests.fakes.envtest import RealApiServer, real_api_server
from tests.project.tree import ROOT, files_ending

__all__ = ["real_api_server"]

MANIFESTS: Final = ROOT / "manifests"
CONTROLLER: Final = MANIFESTS / "controller"
MOUNTED: Final = "/etc/inference-autoscaler"
OURS: Final = "inference-autoscaler"
KUSTOMIZATION: Final = "kustomization.yaml"


def load(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def built(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of a kustomization, generated ConfigMaps included, as they are named."""
    (plan,) = load(folder / KUSTOMIZATION)
    found = []
    for name in plan["resources"]:
        path = folder / name
        found += built(path) if path.is_dir() else load(path)
    for made in plan.get("configMapGenerator", []):
        files = [folder / name for name in made["files"]]
        data = {path.name: path.read_text(encoding="utf-8") for path in files}
        metadata = {"name": made["name"], "namespace": made["namespace"]}
        found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return found


OBJECTS: Final = {(one["kind"], one["metadata"]["name"]): one for one in built(CONTROLLER)}
DEPLOYMENT: Final = OBJECTS["Deployment", OURS]
POD: Final = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def here(path: str) -> Path:
    """Return the file or folder of the project that a path in the container shows."""
    mount = next(one for one in CONTAINER["volumeMounts"] if path.startswith(one["mountPath"]))
    volume = next(one for one in POD["volumes"] if one["name"] == mount["name"])
    (plan,) = load(CONTROLLER / KUSTOMIZATION)
    made = next(
        one for one in plan["configMapGenerator"] if one["name"] == volume["configMap"]["name"]
    )
    folder = (CONTROLLER / str(made["files"][0])).parent
    return folder / Path(path).relative_to(mount["mountPath"])


def settings_of_the_pod() -> Settings:
    """Read the container's arguments as the command does, and the settings that they name."""
    command, *arguments = CONTAINER["args"]
    typed = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    local = [str(here(one)) if one.startswith(MOUNTED) else one for one in arguments]
    given = typed.make_context(command, local).params
    assert load_fleet(given["files"]).workloads
    flags = {name: given[name] for name in given if name in Settings.model_fields}
    return read_settings(given["config"], flags)


def test_every_manifest_is_in_a_kustomization_or_a_folder_of_its_own() -> None:
    (plan,) = load(CONTROLLER / KUSTOMIZATION)
    generated = [name for one in plan["configMapGenerator"] for name in one["files"]]
    named = {KUSTOMIZATION, *plan["resources"], *generated} - {"../base"}
    there = {path.relative_to(CONTROLLER).as_posix() for path in CONTROLLER.rglob("*.yaml")}
    assert named == there

    (rights,) = load(MANIFESTS / "base" / KUSTOMIZATION)
    there = {path.name for path in (MANIFESTS / "base").glob("*.yaml")}
    assert {KUSTOMIZATION, *rights["resources"]} == there


@pytest.mark.parametrize(
    "path", [path for path in files_ending(".yaml") if path.parts[0] == "manifests"], ids=str
)
def test_a_manifest_is_made_of_whole_objects(path: Path) -> None:
    objects = load(ROOT / path)

    if path.name == "settings.yaml":  # not an object: its names are checked below
        return
    assert objects
    for one in objects:
        assert {"apiVersion", "kind"} <= set(one)
        assert one["kind"] == "Kustomization" or one["metadata"]["name"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_builds_the_same_objects() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(CONTROLLER)], capture_output=True, text=True, check=True
    )
    (plan,) = load(CONTROLLER / KUSTOMIZATION)
    hashed = {
        one["name"]
        for one in plan["configMapGenerator"]
        if not one.get("options", {}).get("disableNameSuffixHash")
    }

    found = set()
    for one in yaml.safe_load_all(done.stdout):
        name = one["metadata"]["name"]
        stem = name.rpartition("-")[0]
        found.add((one["kind"], stem if stem in hashed else name))
    assert found == set(OBJECTS)
    assert hashed == {"inference-autoscaler-settings"}, "policy files keep their name"


def test_the_arguments_and_settings_are_those_that_the_command_takes() -> None:
    settings = settings_of_the_pod()

    assert settings.listen_address == "0.0.0.0"
    assert settings.leader_election
    assert not settings.shadow
    assert settings.prometheus
    assert settings.namespace == DEPLOYMENT["metadata"]["namespace"]
    assert DEPLOYMENT["spec"]["replicas"] == 2


def test_one_port_is_meant_everywhere() -> None:
    port = settings_of_the_pod().listen_port
    (published,) = OBJECTS["Service", OURS]["spec"]["ports"]
    (opened,) = CONTAINER["ports"]

    assert opened["containerPort"] == published["port"] == port == Settings().listen_port
    assert published["targetPort"] == opened["name"]
    for probe in ("livenessProbe", "readinessProbe"):
        assert CONTAINER[probe]["httpGet"]["port"] == opened["name"]


def test_the_probes_ask_what_is_served_to_everybody() -> None:
    paths = [CONTAINER[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")]

    assert paths == ["/healthz", "/readyz"]
    assert set(paths) <= routes._OPEN


def test_the_policy_files_are_in_order_and_only_watch() -> None:
    (config,) = [OBJECTS["ConfigMap", "inference-autoscaler-policies"]]
    folder = here(f"{MOUNTED}/policies")

    assert {path.name for path in folder.iterdir()} == set(config["data"])
    fleet = load_fleet([folder])
    assert [one.spec.actuation for one in fleet.workloads] == ["none"]
    (preset,) = load_fleet([ROOT / "policies/presets/vllm-queue-latency.yaml"]).workloads
    assert fleet.workloads == (preset,), "the example is the preset to start with"
    assert isinstance(preset, ScaledWorkload)


def test_what_selects_finds_the_pods() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    (spread,) = POD["topologySpreadConstraints"]

    for selector in (
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        OBJECTS["PodDisruptionBudget", OURS]["spec"]["selector"]["matchLabels"],
        OBJECTS["Service", OURS]["spec"]["selector"],
        spread["labelSelector"]["matchLabels"],
    ):
        assert selector == labels
    (adapter,) = [
        one for one in load(MANIFESTS / "metrics-api/adapter.yaml") if one["kind"] == "Deployment"
    ]
    assert adapter["spec"]["template"]["metadata"]["labels"] != labels


def test_the_pod_is_the_account_that_has_the_rights_in_a_namespace_that_is_made() -> None:
    account = OBJECTS["ServiceAccount", POD["serviceAccountName"]]
    bindings = [one for (kind, _), one in OBJECTS.items() if kind.endswith("Binding")]

    assert len(bindings) == 4
    for one in bindings:
        assert one["subjects"] == [
            {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": OURS}
        ]
        assert (one["roleRef"]["kind"], one["roleRef"]["name"]) in OBJECTS
    spaces = {one["metadata"].get("namespace", OURS) for one in OBJECTS.values()}
    assert spaces == {OBJECTS["Namespace", OURS]["metadata"]["name"]}


@pytest.mark.parametrize(
    "path", ["controller/deployment.yaml", "metrics-api/adapter.yaml", "keda/adapter.yaml"]
)
def test_a_pod_asks_for_nothing_that_a_restricted_namespace_refuses(path: str) -> None:
    (deployment,) = [one for one in load(MANIFESTS / path) if one["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    labels = OBJECTS["Namespace", OURS]["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


def test_the_image_is_the_one_that_kustomize_renames() -> None:
    (plan,) = load(CONTROLLER / KUSTOMIZATION)
    (renamed,) = plan["images"]

    assert CONTAINER["image"] == f"{renamed['name']}:{renamed['newTag']}"


@pytest.mark.slow
def test_a_real_api_server_takes_every_object_and_the_pod(real_api_server: RealApiServer) -> None:
    """In a namespace of the test's own: other tests need ours without its label."""
    place = "restricted-place"
    labels = OBJECTS["Namespace", OURS]["metadata"]["labels"]
    real_api_server.create("/api/v1/namespaces", {"metadata": {"name": place, "labels": labels}})
    rules = {"manager": "kubectl", "dryRun": "All", "fieldValidation": "Strict"}

    for one in OBJECTS.values():
        meta = {
            **one["metadata"],
            **({"namespace": place} if "namespace" in one["metadata"] else {}),
        }
        root = "/api/v1" if one["apiVersion"] == "v1" else f"/apis/{one['apiVersion']}"
        within = f"/namespaces/{place}" if "namespace" in meta else ""
        path = f"{root}{within}/{one['kind'].lower()}s/{meta['name']}"
        taken = real_api_server.apply(path, {**one, "metadata": meta}, **rules)
        assert taken["kind"] == one["kind"]

    account = {"metadata": {"name": POD["serviceAccountName"]}}
    real_api_server.create(f"/api/v1/namespaces/{place}/serviceaccounts", account)
    careless = {**CONTAINER, "securityContext": {}}
    pods = f"/api/v1/namespaces/{place}/pods"
    for container, status in ((CONTAINER, 201), (careless, 403)):
        pod = {"metadata": {"name": "one"}, "spec": {**POD, "containers": [container]}}
        answer = real_api_server.request("POST", pods, pod, dryRun="All")
        assert answer.status == status, answer.body
