"""autoscaler version."""

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from autoscaler.cli.words import emit

DISTRIBUTION = "inference-autoscaler"


def installed_version() -> str:
    """Return our version; "not installed" where the code runs without being installed."""
    try:
        return version_of(DISTRIBUTION)
    except PackageNotFoundError:
        return "not installed"


def version() -> None:
    """Print the version."""
    emit(f"autoscaler {installed_version()} (Python {platform.python_version()})")
