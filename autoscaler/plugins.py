"""Policies and combiners by entry point: ours and other people's alike, loaded only when named."""

from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final, cast

from autoscaler.core.errors import ConfigError

if TYPE_CHECKING:  # naming what is installed needs neither numpy nor pydantic
    from autoscaler.core.policy import Combiner, Policy

POLICIES: Final = "autoscaler.policies"
COMBINERS: Final = "autoscaler.combiners"


def policy_types() -> tuple[str, ...]:
    """Return the names of all installed policies, sorted; loads none of them."""
    return tuple(sorted(_installed(POLICIES)))


def combiners() -> tuple[str, ...]:
    """Return the names of all installed combiners, sorted; loads none of them."""
    return tuple(sorted(_installed(COMBINERS)))


def load_policy_type(name: str) -> "type[Policy]":
    """Return the class of the policy that is installed under a name.

    Raises:
        ConfigError: No policy has this name, two packages claim it, it cannot be imported, or
            it is not a subclass of Policy.
    """
    from autoscaler.core.policy import Policy

    entry = _only(POLICIES, "policy", name)
    loaded = _load(entry, "policy")
    if not (isinstance(loaded, type) and issubclass(loaded, Policy)):
        raise ConfigError(
            f"policy '{name}' of {origin(entry)}: {entry.value} should be a subclass of "
            f"autoscaler.core.policy.Policy, not {_kind(loaded)}"
        )
    return loaded


def load_combiner(name: str) -> "Combiner":
    """Return the combiner that is installed under a name.

    Raises:
        ConfigError: No combiner has this name, two packages claim it, it cannot be imported, or
            it is not a function.
    """
    entry = _only(COMBINERS, "combiner", name)
    loaded = _load(entry, "combiner")
    if not callable(loaded) or isinstance(loaded, type):
        raise ConfigError(
            f"combiner '{name}' of {origin(entry)}: {entry.value} should be a function of "
            f"votes and the present size, not {_kind(loaded)}"
        )
    return cast("Callable[..., object]", loaded)  # type: ignore[return-value]


def policy_origin(name: str) -> str:
    """Return the distribution, with its version, that installs a policy.

    Raises:
        ConfigError: No policy has this name, or two packages claim it.
    """
    return origin(_only(POLICIES, "policy", name))


def combiner_origin(name: str) -> str:
    """Return the distribution, with its version, that installs a combiner.

    Raises:
        ConfigError: No combiner has this name, or two packages claim it.
    """
    return origin(_only(COMBINERS, "combiner", name))


def origin(entry: EntryPoint) -> str:
    """Return the distribution of an entry point, with its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed distribution"


@cache
def _installed(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    """What is installed cannot change while we run, and looking it up reads many files."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=group):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def _only(group: str, noun: str, name: str) -> EntryPoint:
    installed = _installed(group)
    entries = installed.get(name, ())
    if not entries:
        close = get_close_matches(name[:64], installed, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        names = ", ".join(sorted(installed)) or "none"
        shown = name[:64].encode("unicode_escape").decode("ascii")
        raise ConfigError(f"no {noun} is called '{shown}'{hint}; installed are: {names}")
    if len(entries) > 1:
        places = " and ".join(sorted(origin(entry) for entry in entries))
        raise ConfigError(
            f"two packages install a {noun} called '{name}': {places}; uninstall one of them"
        )
    return entries[0]


def _load(entry: EntryPoint, noun: str) -> object:
    try:
        return entry.load()
    except (Exception, SystemExit) as error:  # a stranger's module may do anything on import
        first_line = str(error).partition("\n")[0]
        raise ConfigError(
            f"{noun} '{entry.name}' of {origin(entry)}: {entry.value} cannot be imported: "
            f"{type(error).__name__}: {first_line}"
        ) from error


def _kind(found: object) -> str:
    return f"the class {found.__name__}" if isinstance(found, type) else type(found).__name__
