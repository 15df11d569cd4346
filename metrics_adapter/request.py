"""A request, read strictly: what it asks for, its parameters, and what it takes."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import HttpVersion10, hdrs, web

from metrics_adapter.statuses import RefusalError
from metrics_adapter.targets import Asked, read_path

MOST_PARAMETERS: Final = 16
_SHORT: Final = 300
"""Longer queries are not remembered: memory stays small whatever is asked."""
_TAKEN: Final = ("application/json", "application/*", "*/*")


def asked_of(request: web.BaseRequest) -> Asked:
    """Return what is asked for.

    Raises:
        RefusalError: Nothing that is ever answered.
    """
    if request.version < HttpVersion10:
        raise RefusalError(400, "the request is no HTTP that is understood here")
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        raise RefusalError(405, "only GET is answered")
    if request.body_exists:
        raise RefusalError(413, "a request should have no body")
    asked = read_path(request.raw_path.partition("?")[0])
    if asked is None:
        raise RefusalError(400, "the path is malformed")
    return asked


@lru_cache(maxsize=64)
def takes_json(accept: str) -> bool:
    """Whether somebody takes JSON: the HPA asks for protobuf or anything."""
    kinds = [one.partition(";")[0].strip().lower() for one in accept.split(",") if one.strip()]
    return not kinds or any(kind in _TAKEN for kind in kinds)


def parameters_of(query: str) -> Mapping[str, str]:
    """Return the parameters of a query; of one given twice the first counts, as in Kubernetes."""
    return _remembered(query) if len(query) <= _SHORT else _read_query(query)


def _read_query(query: str) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except ValueError as error:
        raise RefusalError(400, "the query is malformed") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    if found.get("watch", "false").lower() not in ("false", "0"):
        raise RefusalError(405, "values cannot be watched")
    return MappingProxyType(found)


_remembered = lru_cache(maxsize=16384)(_read_query)
"""The same queries are asked again and again."""
