"""Policy files change under a running process: the good ones come in, the broken ones do not."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.config import read_fleet, reload
from autoscaler.config.files import read_bytes
from autoscaler.config.installed import Installed
from autoscaler.config.policy_file import PolicyFile, policy_file
from autoscaler.config.problems import Problem
from autoscaler.config.reload import TRUSTED_AFTER_SECONDS, PolicyFiles
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


class Watched:
    """What is read and validated, by the names of the files; and a clock."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.read: list[str] = []
        self.validated: list[str] = []
        self.now = 100.0
        read, validate = read_bytes, policy_file

        def reading(path: Path, problems: list[Problem]) -> bytes | None:
            self.read.append(path.stem)
            return read(path, problems)

        def validating(path: Path, data: bytes, installed: Installed) -> PolicyFile:
            self.validated.append(path.stem)
            return validate(path, data, installed)

        patch.setattr(reload, "read_bytes", reading)
        patch.setattr(reload, "policy_file", validating)

    def files(self, *paths: Path) -> PolicyFiles:
        return PolicyFiles(paths, monotonic=lambda: self.now)

    def look(self, files: PolicyFiles) -> tuple[list[str], list[str]]:
        """Look once; return what was read and what was validated."""
        self.read.clear()
        self.validated.clear()
        files.look()
        return sorted(self.read), sorted(self.validated)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_only_the_file_that_has_changed_is_read_and_validated_again(
    tmp_path: Path, watched: Watched
) -> None:
    for name in ("chat", "code", "docs"):
        written(tmp_path, name)
    files = watched.files(tmp_path)
    watched.now += TRUSTED_AFTER_SECONDS
    assert watched.look(files) == (["chat", "code", "docs"], [])  # from now on it is trusted
    before = files.loaded.fleet.workloads

    written(tmp_path, "code", most=9)

    assert watched.look(files) == (["code"], ["code"])
    after = files.loaded.fleet.workloads
    assert [one.spec.replicas.max for one in after] == [4, 9, 4]
    assert [now is then for now, then in zip(after, before, strict=True)] == [True, False, True]


def test_a_file_that_is_only_touched_is_read_and_not_validated(
    tmp_path: Path, watched: Watched
) -> None:
    path = written(tmp_path)
    files = watched.files(path)
    watched.now += TRUSTED_AFTER_SECONDS
    watched.look(files)

    os.utime(path, (1, 1))

    assert watched.look(files) == (["chat"], [])


def test_an_editor_that_keeps_size_and_time_hides_nothing(tmp_path: Path, watched: Watched) -> None:
    path = written(tmp_path)
    files = watched.files(path)
    watched.now += TRUSTED_AFTER_SECONDS
    watched.look(files)
    then = path.stat()

    written(tmp_path, most=9)
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))

    assert path.stat().st_size == then.st_size
    assert files.look()
    assert files.loaded.fleet.workloads[0].spec.replicas.max == 9


def test_a_file_written_twice_within_a_tick_of_the_file_systems_clock_is_read_twice(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "_stamp_of", lambda path: (1, 2, 3))
    path = written(tmp_path)
    files = watched.files(path)

    written(tmp_path, most=9)
    watched.now += TRUSTED_AFTER_SECONDS - 0.5

    assert watched.look(files) == (["chat"], ["chat"])
    assert files.loaded.fleet.workloads[0].spec.replicas.max == 9
    watched.now += 0.5
    assert watched.look(files) == (["chat"], [])
    assert watched.look(files) == ([], [])


def test_a_mounted_config_map_changes_by_its_link(tmp_path: Path, watched: Watched) -> None:
    for version, most in (("v1", 4), ("v2", 9)):
        (tmp_path / version).mkdir()
        written(tmp_path / version, most=most)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "..data").symlink_to(tmp_path / "v1")
    (mounted / "chat.yaml").symlink_to(Path("..data") / "chat.yaml")
    files = watched.files(mounted)
    watched.now += TRUSTED_AFTER_SECONDS
    watched.look(files)

    (mounted / "..new").symlink_to(tmp_path / "v2")
    (mounted / "..new").rename(mounted / "..data")

    assert files.look()
    assert files.loaded.fleet.workloads[0].spec.replicas.max == 9


def test_a_workload_that_comes_to_be_defined_twice_is_found_though_one_file_changed(
    tmp_path: Path, watched: Watched
) -> None:
    first, second = written(tmp_path), written(tmp_path, "code")
    files = watched.files(tmp_path)
    watched.now += TRUSTED_AFTER_SECONDS
    watched.look(files)

    second.write_text(first.read_text())

    assert not files.look()
    assert f"workload llm/chat is defined twice; first in {first}:3" in files.problem
    assert keys(files) == ["llm/chat", "llm/code"]
    written(tmp_path, "code")
    assert not files.look()  # as it was
    assert files.problem == ""


NAMES = ("chat", "code", "docs")
CHANGES = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(["removed", "broken", "wrong", "empty", "folder", *NAMES]),
    st.integers(1, 3),
    st.booleans(),
)


def changed(folder: Path, name: str, into: str, most: int) -> None:
    path = folder / f"{name}.yaml"
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    texts = {"broken": "kind: [", "wrong": "kind: ScaledWorkload\nspec: {}", "empty": ""}
    if into == "folder":
        path.mkdir()
    elif into != "removed":
        path.write_text(texts.get(into, GOOD.format(name=into, most=most)))


@given(st.lists(CHANGES, max_size=6))
def test_whatever_changes_it_is_as_if_everything_were_read_anew(
    steps: list[tuple[str, str, int, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder, now = Path(made), [0.0]
        for name in NAMES:
            written(folder, name)
        files = PolicyFiles([folder], monotonic=lambda: now[0])
        good = files.loaded.fleet
        for name, into, most, waits in steps:
            changed(folder, name, into, most)
            now[0] += TRUSTED_AFTER_SECONDS if waits else 0.1
            try:
                expected, problem = read_fleet([folder]).fleet, ""
            except ConfigError as error:
                expected, problem = good, str(error)

            was = files.loaded.fleet
            assert files.look() == (expected != was)
            assert (files.loaded.fleet, files.problem) == (expected, problem)
            good = expected


def test_a_link_that_leads_nowhere_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    written(tmp_path)
    files = PolicyFiles([tmp_path])

    (tmp_path / "loop.yaml").symlink_to("loop.yaml")

    assert not files.look()
    assert "loop.yaml: cannot be read: too many levels of symbolic links" in files.problem
    assert keys(files) == ["llm/chat"]
