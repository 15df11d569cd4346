"""Policy files change under a running process: the good ones come in, the broken ones do not."""

from pathlib import Path

import pytest

from autoscaler.config.reload import PolicyFiles
from autoscaler.core.errors import ConfigError

GOOD = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: ScaledWorkload
metadata: {{name: {name}, namespace: llm}}
spec:
  target: {{name: {name}}}
  replicas: {{min: 1, max: {most}}}
  signals: {{load: {{query: "sum by ($labels) (up{{$match}})"}}}}
  match: {{app: {name}}}
  policies: [{{type: target-tracking, signal: load, target: 10}}]
"""


def written(folder: Path, name: str = "chat", most: int = 4) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(GOOD.format(name=name, most=most))
    return path


def keys(files: PolicyFiles) -> list[str]:
    return [workload.key for workload in files.loaded.fleet.workloads]


def test_a_change_comes_into_force(tmp_path: Path) -> None:
    written(tmp_path)
    files = PolicyFiles([tmp_path])
    assert not files.look()

    written(tmp_path, most=9)

    assert files.look()
    assert files.loaded.fleet.workloads[0].spec.replicas.max == 9
    assert not files.look()


def test_files_come_and_go(tmp_path: Path) -> None:
    written(tmp_path)
    files = PolicyFiles([tmp_path])

    second = written(tmp_path, "code")
    assert files.look()
    assert keys(files) == ["llm/chat", "llm/code"]
    second.unlink()
    assert files.look()
    assert keys(files) == ["llm/chat"]


def test_a_comment_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path)
    files = PolicyFiles([path])

    path.write_text("# hello\n" + path.read_text())

    assert not files.look()
    assert files.problem == ""


def test_a_broken_file_leaves_the_last_good_one_in_force_until_it_is_mended(tmp_path: Path) -> None:
    path = written(tmp_path)
    files = PolicyFiles([path])

    path.write_text("replicas: [")
    assert not files.look()
    assert files.problem.startswith(f"{path}:")
    assert keys(files) == ["llm/chat"]
    path.unlink()
    assert not files.look()
    assert "no such file" in files.problem
    written(tmp_path, most=9)
    assert files.look()
    assert files.problem == ""


def test_a_broken_file_at_the_start_is_fatal(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        PolicyFiles([tmp_path / "absent.yaml"])
