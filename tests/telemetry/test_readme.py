"""The table of metrics in the README and the code say the same."""

import re

import pytest

from autoscaler.telemetry.access import ServerSettings
from autoscaler.telemetry.families import FAMILIES
from autoscaler.telemetry.routes import _PATHS
from tests.project.tree import ROOT

README = (ROOT / "autoscaler" / "telemetry" / "README.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| `(inference_autoscaler_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE
)


def test_the_table_holds_every_metric_as_the_code_has_it() -> None:
    written = [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), text)
        for name, kind, labels, text in ROW.findall(README)
    ]

    assert written == [
        (family.name, family.kind, family.labels, family.help) for family in FAMILIES.values()
    ]


@pytest.mark.parametrize("path", _PATHS)
def test_every_path_is_described(path: str) -> None:
    assert f"| `{path}" in README


def test_every_setting_is_described() -> None:
    assert all(field.description for field in ServerSettings.model_fields.values())
