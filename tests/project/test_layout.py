"""Where things stand: the top level is fixed, and names say what a file is about."""

import pytest

from tests.project.tree import ROOT, RUNTIME, files_ending, project_files

TOP_LEVEL = {
    ".ci",
    ".dockerignore",
    ".editorconfig",
    ".gitignore",
    ".pre-commit-config.yaml",
    ".yamllint",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "autoscaler",
    "constraints.txt",
    "manifests",
    "metrics_adapter",
    "policies",
    "pyproject.toml",
    "simulations",
    "tests",
}

EMPTY_NAMES = {
    "base", "common", "helper", "helpers", "manager", "managers", "misc", "util", "utils",
}  # fmt: skip


def test_the_top_level_holds_exactly_what_is_agreed() -> None:
    assert {path.parts[0] for path in project_files()} == TOP_LEVEL


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = [path for path in files_ending(".py") if EMPTY_NAMES & {path.stem, *path.parent.parts}]
    assert named == []


@pytest.mark.parametrize("package", RUNTIME)
def test_an_installed_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_every_folder_of_modules_is_a_package() -> None:
    modules = files_ending(".py")
    packages = {path.parent for path in modules if path.name == "__init__.py"}
    assert {path.parent for path in modules} - packages == set()


def test_no_file_is_larger_than_a_megabyte() -> None:
    large = [path for path in project_files() if (ROOT / path).stat().st_size > 2**20]
    assert large == []
