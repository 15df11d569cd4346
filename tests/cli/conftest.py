"""A folder of its own for every test, with a policy file and a short trace in it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from autoscaler.cli import main
from tests.config.texts import changed

WORKLOAD = changed(
    ("gpus: 4, coldStartSeconds: 240", "profile: llama-3.1-8b/h100/tp1/fp8, coldStartSeconds: 60"),
)
TRACE = "arrival_s,prompt_tokens,output_tokens\n" + "".join(
    f"{second},{100 + second},{10 + second % 7}\n" for second in range(0, 240, 3)
)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOSCALER_DEBUG", raising=False)
    Path("chat.yaml").write_text(WORKLOAD)
    Path("trace.csv").write_text(TRACE)


class Ran:
    """What a command left: its exit code, its data and its words."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def command(*arguments: str) -> Ran:
        code = main(arguments)
        seen = capsys.readouterr()
        return Ran(code, seen.out, seen.err)

    return command
