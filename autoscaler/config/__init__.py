"""Policy files: read, checked, and turned into a fleet."""

from autoscaler.config.load import LoadedFleet, Source, load_fleet, read_fleet

__all__ = ["LoadedFleet", "Source", "load_fleet", "read_fleet"]
