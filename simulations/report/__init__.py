"""The report of a comparison: one HTML file with tables, charts and reasons."""

from pathlib import Path

from autoscaler.core.errors import ConfigError
from simulations.report.page import page
from simulations.runs import Comparison

__all__ = ["page", "write_report"]


def write_report(comparison: Comparison, path: Path) -> None:
    """Write the page under its name once it is whole.

    Raises:
        ConfigError: The folder is absent or cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(page(comparison), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        why = (error.strerror or str(error)).lower()
        raise ConfigError(f"{path}: cannot be written: {why}") from error
