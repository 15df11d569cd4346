"""The engine twice: as plain Python, and compiled by numba where that is installed."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from inspect import getsource
from types import FunctionType
from typing import Any, Final

from autoscaler.core.observation import FloatArray
from simulations.fast import batch, counting, engine, order
from simulations.fast.state import World
from simulations.trace import IntArray

_MODULES: Final = (order, counting, batch, engine)
_NAMES: Final = frozenset(module.__name__ for module in _MODULES)
# Without the second, the reference counts of the arrays take nine tenths of the time: nothing in
# the engine makes an array or gives one back.
_OPTIONS: Final[dict[str, Any]] = {"boundscheck": False, "_nrt": False}
# Called for every step of every replica, and from compiled code only.
_INNER: Final[dict[str, Any]] = {
    "forceinline": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


@dataclass(frozen=True, slots=True)
class Engine:
    """The functions that a pool calls; see the module `engine`."""

    compiled: bool
    run: Callable[[World, float], bool]
    look: Callable[[World, IntArray, float, FloatArray, FloatArray], None]
    seed_trees: Callable[[World], None]


def can_compile() -> bool:
    """Whether numba is installed and not switched off (NUMBA_DISABLE_JIT=1)."""
    return find_spec("numba") is not None and os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


@cache
def engine_of(*, compiled: bool) -> Engine:
    """Return the engine.

    Compiling takes some seconds at the first use on a machine. The outcome is kept beside the
    source, or in the user's cache folder where that cannot be written to, or not at all.

    Raises:
        ImportError: It should be compiled, and numba is not installed.
    """
    functions = _compiled() if compiled else vars(engine)
    return Engine(compiled, functions["run"], functions["look"], functions["seed_trees"])


def _compiled() -> dict[str, Any]:
    """Compile copies of the functions, which see one another in a namespace of their own."""
    import numba

    namespace = {name: value for module in _MODULES for name, value in vars(module).items()}
    mark = _mark(namespace)
    for name, value in list(namespace.items()):
        if not isinstance(value, FunctionType) or value.__module__ not in _NAMES:
            continue
        copy = FunctionType(value.__code__, namespace, name)
        if name not in engine.CALLED_FROM_OUTSIDE:
            namespace[name] = numba.njit(**_OPTIONS, **_INNER)(copy)
            continue
        copy.__qualname__ = f"{name}-{mark}"
        fresh = numba.njit(**_OPTIONS)(copy)
        try:
            kept = numba.njit(cache=True, **_OPTIONS)(copy)
        except RuntimeError:  # there is no folder to keep it in
            namespace[name] = fresh
        else:
            namespace[name] = _kept_or_fresh(kept, fresh)
    return namespace


def _kept_or_fresh(kept: Callable[..., Any], fresh: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that minds neither a full disk nor another user's files."""

    def call(*arguments: object) -> Any:
        try:
            return kept(*arguments)
        except OSError:  # Only keeping it reads or writes a file, before it does anything.
            return fresh(*arguments)

    return call


def _mark(namespace: Mapping[str, object]) -> str:
    """Return a mark of all that is compiled in: numba looks at the age of one file only."""
    constants = sorted((name, value) for name, value in namespace.items() if name.isupper())
    sources = [getsource(module) for module in _MODULES]
    compiled_in = (*sources, repr(constants), repr(_OPTIONS), repr(_INNER))
    return sha256("\n".join(compiled_in).encode()).hexdigest()[:12]
