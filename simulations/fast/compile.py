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
from simulations.fast import engine
from simulations.fast.state import World
from simulations.trace import IntArray

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
    source, or in the user's cache folder where that is read-only, or not at all.

    Raises:
        ImportError: It should be compiled, and numba is not installed.
    """
    functions = _compiled() if compiled else vars(engine)
    return Engine(compiled, functions["run"], functions["look"], functions["seed_trees"])


def _compiled() -> dict[str, Any]:
    """Compile copies of the functions, which see one another in a namespace of their own."""
    import numba

    namespace = dict(vars(engine))
    mark = _mark(namespace)
    for name, value in vars(engine).items():
        if not isinstance(value, FunctionType) or value.__module__ != engine.__name__:
            continue
        copy = FunctionType(value.__code__, namespace, name)
        if name not in engine.CALLED_FROM_OUTSIDE:
            namespace[name] = numba.njit(**_OPTIONS, **_INNER)(copy)
            continue
        copy.__qualname__ = f"{name}-{mark}"
        try:
            namespace[name] = numba.njit(cache=True, **_OPTIONS)(copy)
        except RuntimeError:  # there is no folder that it could be kept in
            namespace[name] = numba.njit(**_OPTIONS)(copy)
    return namespace


def _mark(namespace: Mapping[str, object]) -> str:
    """Return a mark of all that is compiled in: numba looks at the age of one file only."""
    constants = sorted((name, value) for name, value in namespace.items() if name.isupper())
    compiled_in = (getsource(engine), repr(constants), repr(_OPTIONS), repr(_INNER))
    return sha256("\n".join(compiled_in).encode()).hexdigest()[:12]
