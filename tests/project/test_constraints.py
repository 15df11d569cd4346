"""Pins: every dependency has one exact version, no address, and the environment follows it."""

import ast
import itertools
import re
import tomllib
from importlib import metadata
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project.tree import ROOT, RUNTIME, runtime_modules

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINES = [
    line
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PINS = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in LINES}

DECLARED = [
    Requirement(text)
    for text in [
        *PYPROJECT["build-system"]["requires"],
        *PYPROJECT["project"]["dependencies"],
        *itertools.chain(*PYPROJECT["project"]["optional-dependencies"].values()),
    ]
]


def test_a_line_is_a_name_and_one_exact_version() -> None:
    assert [line for line in LINES if not re.fullmatch(r"[\w.-]+==[\w.!+]+", line)] == []
    assert len(PINS) == len(LINES), "a package is pinned twice"


@pytest.mark.parametrize("requirement", sorted(set(DECLARED), key=str), ids=str)
def test_a_declared_dependency_is_pinned_within_its_range(requirement: Requirement) -> None:
    pinned = PINS.get(canonicalize_name(requirement.name))

    assert pinned is not None, f"{requirement.name} is not in constraints.txt"
    assert requirement.specifier.contains(pinned), f"pinned to {pinned}"
    assert requirement.url is None


def test_the_environment_holds_nothing_unpinned_and_nothing_else_than_pinned() -> None:
    installed = {
        canonicalize_name(distribution.name): distribution.version
        for distribution in metadata.distributions()
    }
    ours = {canonicalize_name(PYPROJECT["project"]["name"]), "pip", "setuptools"}
    different = {
        name: f"installed {version}, pinned {PINS.get(name, 'not at all')}"
        for name, version in installed.items()
        if name not in ours and PINS.get(name) != version
    }
    assert different == {}


def test_a_dependency_excused_as_unused_is_really_unused() -> None:
    excused = {
        canonicalize_name(name)
        for name in PYPROJECT["tool"]["deptry"]["per_rule_ignores"]["DEP002"]
    }
    providers = metadata.packages_distributions()
    used = {
        canonicalize_name(distribution)
        for path in runtime_modules()
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        for module in imported(node)
        for distribution in providers.get(module.partition(".")[0], [])
    }
    assert excused & used == set(), "take these out of tool.deptry.per_rule_ignores"


def imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module)):
            return [module]
        case _:
            return []


def test_the_wheel_holds_the_packages_that_are_checked() -> None:
    assert tuple(PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == RUNTIME
