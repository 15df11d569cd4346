"""The report of a comparison: one HTML file with tables, charts and reasons."""

import os
import stat
import uuid
from pathlib import Path

from autoscaler.core.errors import ConfigError
from simulations.report.page import page
from simulations.runs import Comparison

__all__ = ["page", "refuse_irregular", "write_report"]


def write_report(comparison: Comparison, path: Path) -> None:
    """Write the page under its name once it is whole; a link is followed, and stays.

    Raises:
        ConfigError: The folder is absent or cannot be written, or what has that name now is no
            regular file.
    """
    refuse_irregular(path)
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{uuid.uuid4().hex[:12]}.partial")
    try:
        with partial.open("x", encoding="utf-8") as file:
            file.write(page(comparison))
        partial.replace(target)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {_why(error)}") from error
    finally:
        partial.unlink(missing_ok=True)


def refuse_irregular(path: Path) -> None:
    """Refuse to put a report in the place of anything but a regular file.

    Raises:
        ConfigError: That name, or what it is a link to, is a folder, a device, a FIFO or a
            socket, or cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {_why(error)}") from error
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{path}: cannot be written: is a directory")
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{path}: cannot be written: is not a regular file")


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
