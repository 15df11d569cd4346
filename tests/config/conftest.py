from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are named as an operator names them: relative to where they stand."""
    monkeypatch.chdir(tmp_path)
