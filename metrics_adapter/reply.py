"""What another adapter replied: one object in JSON with one list in it, read item by item."""

from collections.abc import Callable, Generator
from typing import Any, Final

import orjson

from autoscaler.core.errors import ObservationError
from metrics_adapter.json_text import JsonText, TooLongError

LONGEST_PART: Final = 64 * 1024
"""Characters of one item, or of anything else that is read at once."""


def read(
    status: int, body: bytes, name: str, use: Callable[[Any], None]
) -> Generator[None, None, tuple[str, bool]]:
    """Read a reply in small steps, and use each item of the list called `name`.

    Null counts as a list of nothing, as Kubernetes writes one.

    Returns:
        Its kind, and whether the list is there.

    Raises:
        ObservationError: It is no such object, or an item of it is none that can be used.
    """
    kind, found = "", False
    try:
        text = JsonText(body, LONGEST_PART)
        for one in text.names():
            if one != name:
                value = text.value()
                kind = str(value) if one == "kind" else kind
            elif found:
                raise ObservationError(f"its answer ({status}) has {name} twice")
            elif text.takes("["):
                found = True
                for item in text.items():
                    use(item)
                    yield
            elif text.value() is None:
                found = True
            else:
                raise ObservationError(f"its answer ({status}) has no list of {name}")
            yield
    except TooLongError as error:
        raise ObservationError(f"its answer ({status}) has {error}") from error
    except (ValueError, RecursionError, orjson.JSONEncodeError) as error:
        raise ObservationError(f"its answer ({status}) is no object in JSON") from error
    return kind, found
