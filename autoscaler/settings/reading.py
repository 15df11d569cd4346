"""Gathering the settings, knowing where each one stands."""

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from pydantic_settings import EnvSettingsSource

from autoscaler.config.nodes import Mapping as YamlMapping
from autoscaler.config.nodes import clean, find, plain
from autoscaler.config.problems import Problem, did_you_mean
from autoscaler.config.yaml_source import UnreadableError, read_yaml
from autoscaler.core.errors import ConfigError
from autoscaler.settings.model import PREFIX, Settings, plain_message

_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_MAY_HOLD_SECRETS: Final = frozenset({"prometheus", "url", "headers"})
_OF_OTHERS: Final = frozenset({"DEBUG"})
_SERVICE_LINK: Final = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT_[0-9]+_(TCP|UDP|SCTP)(_|$)")
_ADDRESS_OF_ONE: Final = re.compile(r"(tcp|udp|sctp)://")


def read_settings(
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    pairs: Iterable[str] = (),
) -> Settings:
    """Return the settings; see `gather`.

    Raises:
        ConfigError: A value is wrong, or a name is unknown; every problem is told.
    """
    return gather(file, flags, pairs)[0]


def gather(
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    pairs: Iterable[str] = (),
) -> tuple[Settings, Mapping[str, str]]:
    """Gather the settings: flags over environment over file over defaults.

    Args:
        file: YAML mapping of settings in camelCase; none if absent.
        flags: Settings by name, as the command line gave them; None means not given.
        pairs: NAME=VALUE each, as `--set` gave them; a flag of its own wins over these.

    Returns:
        The settings, and where each that is not the default stands, by its name.

    Raises:
        ConfigError: A value is wrong, or a name is unknown; every problem is told, with where it
            stands.
    """
    problems: list[str] = []
    from_file, places = _of_file(file, problems) if file is not None else ({}, {})
    from_env = EnvSettingsSource(Settings)()
    from_pairs = _of_pairs(pairs, problems)
    from_flags = {name: value for name, value in (flags or {}).items() if value is not None}
    pod = _own_namespace()
    if pod is not None:
        places = {"namespace": str(_POD_NAMESPACE), **places}
    places |= {name: f"{PREFIX}{name.upper()}" for name in from_env}
    places |= {name: f"--set {to_camel(name)}" for name in from_pairs}
    places |= {name: f"--{name.replace('_', '-')}" for name in from_flags}
    gathered = {"namespace": pod, **from_file, **from_env, **from_pairs, **from_flags}
    given = {name: value for name, value in gathered.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems += [_said(one, places) for one in error.errors()]
        raise ConfigError(*problems) from None
    if problems:
        raise ConfigError(*problems)
    return settings, {to_camel(name): place for name, place in places.items()}


def snake(name: str) -> str:
    """Return a setting's name as Python writes it, from either form."""
    return next((known for known in Settings.model_fields if to_camel(known) == name), name)


def unknown_variables(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return a warning for each variable that looks like a setting and is none.

    No error: in a pod also the variables that Kubernetes makes of a Service called `autoscaler`
    begin so. Those that are clearly such, by their form, are passed over.
    """
    known = [name.upper() for name in Settings.model_fields]
    told = []
    for variable in sorted(environment):
        name = variable.upper().removeprefix(PREFIX)
        link = _SERVICE_LINK.search(variable) or _ADDRESS_OF_ONE.match(environment[variable])
        if not variable.upper().startswith(PREFIX) or name in {*known, *_OF_OTHERS} or link:
            continue
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean '{PREFIX}{near[0]}'?" if near else ""
        told.append(f"{variable}: no setting has this name, so it is passed over{hint}")
    return tuple(told)


def _of_pairs(pairs: Iterable[str], problems: list[str]) -> dict[str, str]:
    """Read NAME=VALUE; values are not told, for they may be secret."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            problems.append(f"--set: should be NAME=VALUE, not {clean(name, 64)!r}")
        elif snake(name) not in Settings.model_fields:
            problems.append(f"--set {clean(name, 64)}: {_unknown(name)}")
        else:
            found[snake(name)] = value
    return found


def _unknown(name: str) -> str:
    return f"no setting has this name{did_you_mean(name, map(to_camel, Settings.model_fields))}"


def _of_file(file: Path, problems: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    faults: list[Problem] = []
    try:
        text = file.read_text(encoding="utf-8")
        documents = list(read_yaml(str(file), text, faults))
    except OSError as error:
        raise ConfigError(f"{file}: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: should be UTF-8 text") from error
    except UnreadableError as error:
        raise ConfigError(str(Problem(str(file), error.text, error.mark, exact=True))) from error
    problems += map(str, faults)
    if not documents:
        return {}, {}
    root = documents[0]
    if len(documents) > 1 or not isinstance(root, YamlMapping):
        raise ConfigError(f"{file}: should be one mapping of settings")
    known = {to_camel(name): name for name in Settings.model_fields}
    problems += [
        f"{file}:{find(root, [name])[1].line}: {clean(name, 64)}: {_unknown(name)}"
        for name in root.entries
        if name not in known
    ]
    values: Any = plain(root)
    places = {
        known[name]: f"{file}:{entry.mark.line}: {name}"
        for name, entry in root.entries.items()
        if name in known
    }
    return {known[name]: value for name, value in values.items() if name in known}, places


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
    secret = loc == ("sources",) or not _MAY_HOLD_SECRETS.isdisjoint(map(str, loc))
    shown = isinstance(found, bool | int | float | str) and not secret and ", not " not in text
    return f"{where}{'.' + rest if rest else ''}: {text}{f', not {found!r}' if shown else ''}"
