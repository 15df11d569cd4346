"""The README is true: its tables are complete, and the plug-in that it shows works."""

import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from autoscaler import plugins
from autoscaler.config import load_fleet
from autoscaler.core.policy import Policy
from tests.policies.preset_files import ROOT
from tests.policies.worlds import shown

README = (ROOT / "policies" / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert isinstance(found, str)
    return found


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package of the README, laid out as an installer would."""
    project = tomllib.loads(block("toml"))["project"]
    (tmp_path / "square_root.py").write_text(block("python"), encoding="utf-8")
    info = tmp_path / f"square_root-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n",
        encoding="utf-8",
    )
    lines = [
        line
        for group, names in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in names.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    plugins._installed.cache_clear()
    yield tmp_path
    plugins._installed.cache_clear()
    sys.modules.pop("square_root", None)


def test_the_plug_in_is_thirty_lines() -> None:
    code = [line for line in block("python").splitlines() if line.strip()]

    assert len(code) <= 30


def test_the_plug_in_is_found_and_answers(installed: Path) -> None:
    assert "square-root" in plugins.policy_types()

    kind = plugins.load_policy_type("square-root")
    policy = kind.model_validate({"signal": "in_flight", "target": 10})

    assert issubclass(kind, Policy)
    assert policy.recommend(shown(4, in_flight=90.0)).replicas == 12  # 9 busy, 3 spare
    assert policy.recommend(shown(4, in_flight=0.0)).replicas == 0
    assert plugins.policy_origin("square-root") == "square-root 1.0"


def test_the_plug_in_can_be_used_in_a_policy_file(installed: Path) -> None:
    preset = ROOT / "policies" / "presets" / "target-tracking.yaml"
    document = yaml.safe_load(preset.read_text(encoding="utf-8"))
    document["spec"] |= yaml.safe_load(block("yaml"))
    file = installed / "chat.yaml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")

    (workload,) = load_fleet([file]).workloads

    assert [policy.label for policy in workload.spec.policies] == ["square-root(in_flight)"]


@pytest.mark.parametrize("name", [*plugins.policy_types(), *plugins.combiners()])
def test_the_tables_list_everything_that_is_installed(name: str) -> None:
    assert f"| [`{name}`](" in README
