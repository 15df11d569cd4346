"""The wall clock. Here, and nowhere else, it is read."""

import time


def wall() -> float:
    """Return the time, Unix seconds."""
    return time.time()  # noqa: TID251  # the one place
