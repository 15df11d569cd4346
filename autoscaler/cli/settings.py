"""autoscaler settings."""

from pathlib import Path
from typing import Annotated

import typer

from autoscaler.cli.words import bold, columns, emit, say


def settings(
    config: Annotated[Path | None, typer.Option(help="Settings, one YAML mapping.")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print what each setting means, as a document.")
    ] = False,
) -> None:
    """Print the settings of `autoscaler run` as they would be now, and where each comes from.

    What is wrong with them is told as `run` would tell it.
    """
    from autoscaler.settings import document, gather, unknown_variables

    if markdown:
        emit(document())
        return
    found, places = gather(config)
    for warning in unknown_variables():
        say(f"warning: {warning}")
    names = ("setting", "value", "from")
    rows = [(name, value, places.get(name, "default")) for name, value in found.shown().items()]
    head, *lines = columns([names, *rows])
    emit("\n".join([bold(head), *lines]))
