"""What policy files name of other packages: each policy and combiner loaded once."""

from collections.abc import Callable
from typing import TypeVar

from autoscaler.core.errors import ConfigError
from autoscaler.core.policy import Combiner, Policy
from autoscaler.plugins import load_combiner, load_policy_type

T = TypeVar("T")


class Installed:
    """Policies and combiners by name; what cannot be loaded fails once and is remembered."""

    def __init__(self) -> None:
        self._policies: dict[str, type[Policy] | ConfigError] = {}
        self._combiners: dict[str, Combiner | ConfigError] = {}

    def policy(self, name: str) -> type[Policy]:
        """Return the class of a policy.

        Raises:
            ConfigError: It is not installed or cannot be loaded.
        """
        return _once(self._policies, name, load_policy_type)

    def combiner(self, name: str) -> Combiner:
        """Return a combiner.

        Raises:
            ConfigError: It is not installed or cannot be loaded.
        """
        return _once(self._combiners, name, load_combiner)


def _once(known: dict[str, T | ConfigError], name: str, load: Callable[[str], T]) -> T:
    if name not in known:
        try:
            known[name] = load(name)
        except ConfigError as error:
            known[name] = error
    found = known[name]
    if isinstance(found, ConfigError):
        raise found
    return found
