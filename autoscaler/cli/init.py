"""autoscaler init."""

import os
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from autoscaler.cli.words import columns, emit, say

FIRST = "vllm-queue-latency"
EVERY = "all"
_MODE_LINE = re.compile(r"\A# yaml-language-server:.*\n#?\n?")


def init(
    folder: Annotated[
        Path, typer.Argument(help="Where to put them; made if it is not there.")
    ] = Path("policy-files"),
    preset: Annotated[
        list[str] | None,
        typer.Option(help=f"Which preset; may be given several times. '{EVERY}' is every one."),
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="List the presets and stop.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> None:
    """Copy presets and the JSON schema of policy files out.

    The schema lets editors complete and check the files.

    A preset is a complete policy file to copy and edit; nothing is inherited from it.
    """
    known = presets()
    if only_list:
        emit("\n".join(columns([(name, summary(text)) for name, text in known.items()])))
        return
    written = write(folder, contents(known, preset or [FIRST]), force=force)
    for path in written:
        emit(str(path))
    say(
        "Next: edit metadata, target, replicas, replica, slo and match, then run: "
        f"autoscaler check {folder}"
    )


def presets() -> dict[str, str]:
    """Return the text of every preset by name, sorted."""
    folder = files("policies") / "presets"
    found = {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    }
    return {name: found[name] for name in sorted(found)}


def summary(text: str) -> str:
    """Return the first sentence of a preset's comment."""
    lines = []
    for line in _MODE_LINE.sub("", text).splitlines():
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("# ").strip())
    return re.split(r"(?<=\.)\s", " ".join(lines), maxsplit=1)[0]


def preset_text(known: Mapping[str, str], name: str) -> str:
    """Return a preset.

    Raises:
        ConfigError: None is called so.
    """
    from autoscaler.config.problems import did_you_mean, listed
    from autoscaler.core.errors import ConfigError

    if name not in known:
        raise ConfigError(
            f"no preset is called {name!r}{did_you_mean(name, known)}; presets are: {listed(known)}"
        )
    return known[name]


def contents(known: Mapping[str, str], chosen: list[str]) -> dict[str, str]:
    """Return the files to write, by name: the chosen presets and the schema that they point to.

    Raises:
        ConfigError: No preset is called so.
    """
    import json

    from autoscaler.config.schema import FILE_NAME, policy_file_schema

    names = list(known) if EVERY in chosen else list(dict.fromkeys(chosen))
    found = {f"{name}.yaml": preset_text(known, name) for name in names}
    found[FILE_NAME] = json.dumps(policy_file_schema(), indent=2, ensure_ascii=False) + "\n"
    return found


def write(folder: Path, documents: Mapping[str, str], *, force: bool) -> list[Path]:
    """Write files, each whole or not at all; none where one would overwrite another's text.

    Raises:
        ConfigError: A file is there already with other text and `force` was not given, or the
            folder cannot be written.
    """
    from autoscaler.core.errors import ConfigError

    try:
        different = [
            folder / name
            for name, text in documents.items()
            if (folder / name).exists() and not _says(folder / name, text)
        ]
        if different and not force:
            raise ConfigError(
                *(f"{path}: is there already; --force overwrites it" for path in different)
            )
        folder.mkdir(parents=True, exist_ok=True)
        partial = {folder / name: folder / f".{name}.{os.getpid()}.partial" for name in documents}
        try:
            for temporary, text in zip(partial.values(), documents.values(), strict=True):
                temporary.write_text(text, encoding="utf-8")
            for path, temporary in partial.items():
                temporary.replace(path)
        finally:
            for temporary in partial.values():
                temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{error.filename or folder}: cannot be written: {reason}") from error
    return [folder / name for name in documents]


def _says(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode("utf-8")
