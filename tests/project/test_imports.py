"""Start-up stays fast: heavy libraries load only when they are used."""

import json
import subprocess
import sys
from pathlib import Path

from tests.project.tree import ROOT

HEAVY = {
    "aiohttp", "apscheduler", "grpc", "kubernetes", "numba", "numpy", "pandas",
    "prometheus_api_client", "requests", "scipy", "sklearn",
}  # fmt: skip

LIST_MODULES = """
import json, sys
sys.argv[1:] = {arguments!r}
from autoscaler.cli import main
try:
    code = main()
except SystemExit as stop:
    code = stop.code
print()
print(json.dumps([code or 0, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""

PRESETS = sorted((ROOT / "policies" / "presets").glob("*.yaml"))


def start(arguments: list[str]) -> tuple[int, set[str]]:
    """Run the command line in a new process; return its exit code and what it had imported."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES.format(arguments=arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules)


def test_help_imports_nothing_heavy() -> None:
    code, modules = start(["--help"])

    assert code == 0
    assert modules & HEAVY == set()


def test_check_imports_no_client_and_no_learning_library() -> None:
    code, modules = start(["check", str(PRESETS[0])])

    assert code == 0
    assert modules & (HEAVY - {"numpy"}) == set()


def test_python_m_autoscaler_is_the_same_command() -> None:
    script = Path(sys.executable).parent / "autoscaler"
    as_script, as_module = (
        subprocess.run(
            [*command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for command in ([str(script)], [sys.executable, "-m", "autoscaler"])
    )
    assert as_module.replace("python -m autoscaler", "autoscaler") == as_script
