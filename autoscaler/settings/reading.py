"""Gathering the settings, knowing where each one stands."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from pydantic_settings import EnvSettingsSource

from autoscaler.config.nodes import Mapping as YamlMapping
from autoscaler.config.nodes import find, plain
from autoscaler.config.problems import Problem
from autoscaler.config.yaml_source import UnreadableError, read_yaml
from autoscaler.core.errors import ConfigError
from autoscaler.settings.model import PREFIX, Settings, plain_message

_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_MAY_HOLD_SECRETS: Final = frozenset({"prometheus", "url", "headers"})


def read_settings(file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings; see `gather`.

    Raises:
        ConfigError: A value is wrong, or a name is unknown; every problem is told.
    """
    return gather(file, flags)[0]


def gather(
    file: Path | None = None, flags: Mapping[str, Any] | None = None
) -> tuple[Settings, Mapping[str, str]]:
    """Gather the settings: flags over environment over file over defaults.

    Args:
        file: YAML mapping of settings in camelCase; none if absent.
        flags: Settings by name, as the command line gave them; None means not given.

    Returns:
        The settings, and where each that is not the default stands, by its name.

    Raises:
        ConfigError: A value is wrong, or a name is unknown; every problem is told, with where it
            stands.
    """
    from_file, places = _of_file(file) if file is not None else ({}, {})
    from_env = EnvSettingsSource(Settings)()
    from_flags = {name: value for name, value in (flags or {}).items() if value is not None}
    pod = _own_namespace()
    if pod is not None:
        places = {"namespace": str(_POD_NAMESPACE), **places}
    places |= {name: f"{PREFIX}{name.upper()}" for name in from_env}
    places |= {name: f"--{name.replace('_', '-')}" for name in from_flags}
    gathered = {"namespace": pod, **from_file, **from_env, **from_flags}
    given = {name: value for name, value in gathered.items() if value is not None}
    try:
        return Settings(**given), {to_camel(name): place for name, place in places.items()}
    except ValidationError as error:
        raise ConfigError(*(_said(one, places) for one in error.errors())) from None


def snake(name: str) -> str:
    """Return a setting's name as Python writes it, from either form."""
    return next((known for known in Settings.model_fields if to_camel(known) == name), name)


def _of_file(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    problems: list[Problem] = []
    try:
        text = file.read_text(encoding="utf-8")
        documents = list(read_yaml(str(file), text, problems))
    except OSError as error:
        raise ConfigError(f"{file}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: should be UTF-8 text") from error
    except UnreadableError as error:
        raise ConfigError(str(Problem(str(file), error.text, error.mark, exact=True))) from error
    if problems:
        raise ConfigError(*map(str, problems))
    if not documents:
        return {}, {}
    root = documents[0]
    if len(documents) > 1 or not isinstance(root, YamlMapping):
        raise ConfigError(f"{file}: should be one mapping of settings")
    known = {to_camel(name): name for name in Settings.model_fields}
    unknown = [name for name in root.entries if name not in known]
    if unknown:
        raise ConfigError(
            *(f"{file}:{find(root, [n])[1].line}: {n}: no setting has this name" for n in unknown)
        )
    values: Any = plain(root)
    places = {
        known[name]: f"{file}:{entry.mark.line}: {name}" for name, entry in root.entries.items()
    }
    return {known[name]: value for name, value in values.items()}, places


def _own_namespace() -> str | None:
    try:
        return _POD_NAMESPACE.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _said(error: Any, places: Mapping[str, str]) -> str:
    loc, text = error["loc"], plain_message(error["msg"])
    if not loc:
        return f"settings: {text}"
    where = places.get(str(loc[0]), str(loc[0]))
    rest = ".".join(str(part) for part in loc[1:])
    found = error.get("input")
    secret = not _MAY_HOLD_SECRETS.isdisjoint(map(str, loc))
    shown = isinstance(found, bool | int | float | str) and not secret and ", not " not in text
    return f"{where}{'.' + rest if rest else ''}: {text}{f', not {found!r}' if shown else ''}"
