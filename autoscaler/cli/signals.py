"""autoscaler signals."""

from importlib.resources import files
from typing import Annotated, Any

import typer

from autoscaler.cli.words import bold, columns, emit, emit_json, say

_INDENT = "    "


def signals(
    name: Annotated[
        str | None, typer.Argument(help="Print this set, ready to stand under spec.signals.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the ready-made signal sets: what each engine, gateway or exporter can be asked.

    Copy the signals that your policies use, and no more: each one is asked in every cycle.
    """
    known = signal_sets()
    if name is None:
        _list(known, as_json=as_json)
        return
    text = _text(known, name)
    if as_json:
        emit_json(_parsed(text))
        return
    emit("\n".join(f"{_INDENT}{line}" if line else "" for line in text.rstrip("\n").split("\n")))
    say("Next: paste what you need under spec.signals, set spec.match, then run: autoscaler check")


def signal_sets() -> dict[str, str]:
    """Return the text of every signal set by name, sorted."""
    folder = files("policies") / "signals"
    found = {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    }
    return {name: found[name] for name in sorted(found)}


def _text(known: dict[str, str], name: str) -> str:
    """Return a signal set.

    Raises:
        ConfigError: None is called so.
    """
    from autoscaler.config.problems import did_you_mean, listed
    from autoscaler.core.errors import ConfigError

    if name not in known:
        raise ConfigError(
            f"no signal set is called {name!r}{did_you_mean(name, known)}; "
            f"signal sets are: {listed(known)}"
        )
    return known[name]


def _parsed(text: str) -> dict[str, Any]:
    import yaml

    document: dict[str, Any] = yaml.safe_load(text)
    return document


def _list(known: dict[str, str], *, as_json: bool) -> None:
    names = {name: list(_parsed(text)) for name, text in known.items()}
    if as_json:
        emit_json(names)
        return
    rows = [(bold(name), " ".join(signals)) for name, signals in names.items()]
    emit("\n".join(columns(rows)))
    say("autoscaler signals NAME prints one set.")
