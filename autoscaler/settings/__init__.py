"""Settings of the live process: flags over environment over file over defaults."""

from autoscaler.settings.model import PREFIX, Settings
from autoscaler.settings.page import document
from autoscaler.settings.reading import gather, read_settings, snake, unknown_variables

__all__ = [
    "PREFIX",
    "Settings",
    "document",
    "gather",
    "read_settings",
    "snake",
    "unknown_variables",
]
