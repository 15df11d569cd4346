"""The Dockerfile builds what is checked here: the same packages, pinned, for a plain user."""

import re
import tomllib
from typing import Final

import pytest
import yaml

from tests.project.tree import ROOT, RUNTIME, project_files

LINES: Final = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8")).split("\n")
STEPS: Final = [
    (word, rest)
    for word, _, rest in (line.partition(" ") for line in LINES if line and line[0] != "#")
]
PYPROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def steps(word: str) -> list[str]:
    return [rest for step, rest in STEPS if step == word]


def copied() -> list[str]:
    """Return what comes from the checkout."""
    return [
        source.rstrip("/")
        for rest in steps("COPY")
        if "--from" not in rest
        for source in rest.split()[:-1]
    ]


def test_everything_that_is_copied_is_in_the_project_and_every_package_is_copied() -> None:
    there = {path.parts[0] for path in project_files()}

    assert set(copied()) <= there
    assert set(RUNTIME) <= set(copied())
    named = {PYPROJECT["project"]["readme"], *PYPROJECT["project"]["license-files"]}
    assert named <= set(copied())


def test_the_builder_is_sent_what_is_copied_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]

    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == set(copied())


def test_every_installation_is_pinned() -> None:
    installs = [part for rest in steps("RUN") for part in rest.split("&&") if "pip install" in part]

    assert len(installs) == 2
    assert [part for part in installs if "-c constraints.txt" not in part] == []


def test_the_base_is_a_plain_public_name_of_a_python_that_is_supported() -> None:
    bases = {rest.split()[0] for rest in steps("FROM")}

    assert len(bases) == 1
    version = re.fullmatch(r"python:(3\.\d+)-slim", bases.pop())
    assert version is not None
    classifier = f"Programming Language :: Python :: {version[1]}"
    assert classifier in PYPROJECT["project"]["classifiers"]


def test_it_starts_our_command() -> None:
    (entry,) = steps("ENTRYPOINT")
    (name,) = yaml.safe_load(entry)

    assert name in PYPROJECT["project"]["scripts"]


@pytest.mark.parametrize(
    "path", ["controller/deployment.yaml", "metrics-api/adapter.yaml", "keda/adapter.yaml"]
)
def test_it_runs_as_the_user_and_under_the_name_of_the_manifests(path: str) -> None:
    (deployment,) = [
        one
        for one in yaml.safe_load_all((ROOT / "manifests" / path).read_text(encoding="utf-8"))
        if one["kind"] == "Deployment"
    ]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (user,) = steps("USER")

    assert user.split(":")[0] == str(pod["securityContext"]["runAsUser"]) != "0"
    assert container["image"] == f"inference-autoscaler:{PYPROJECT['project']['version']}"
    assert f"-t {container['image']} ." in (ROOT / "Dockerfile").read_text(encoding="utf-8")
