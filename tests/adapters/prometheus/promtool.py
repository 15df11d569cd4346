"""Prometheus' own tool as a judge: does it accept a rule file, and what does a query answer?"""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus"
)


def _promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)


def complaints(folder: Path, text: str) -> str:
    """Return what Prometheus has against a rule file; nothing where it accepts it."""
    file = folder / "rules.yaml"
    file.write_text(text, encoding="utf-8")
    done = _promtool("check", "rules", "--lint-fatal", str(file))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def complaints_of(folder: Path, queries: Sequence[str]) -> str:
    """Return what Prometheus has against queries."""
    rules = [{"record": f"query:{number}", "expr": one} for number, one in enumerate(queries)]
    return complaints(folder, yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))


def differences(
    folder: Path, series: Mapping[str, str], expected: Sequence[tuple[str, float]], at: str = "10m"
) -> str:
    """Return where queries answer something else than one number without labels.

    Args:
        folder: Where to write.
        series: Samples 15 s apart, by series.
        expected: Queries with their answers.
        at: When they are asked.
    """
    document: dict[str, Any] = {
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": name, "values": text} for name, text in series.items()],
                "promql_expr_test": [
                    {
                        "expr": query,
                        "eval_time": at,
                        "exp_samples": [{"labels": "{}", "value": value}],
                    }
                    for query, value in expected
                ],
            }
        ],
    }
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump(document, width=2**20), encoding="utf-8")
    done = _promtool("test", "rules", str(file))
    return "" if done.returncode == 0 else done.stdout + done.stderr
