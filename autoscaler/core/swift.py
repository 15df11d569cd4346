"""Frozen dataclasses that are made as fast as open ones.

A frozen dataclass sets each field through `object.__setattr__`: a call, where an open one stores a
value. A cycle makes some fifty such objects for every workload; that alone was an eighth of a
decision. A swift one is made as an object of an open twin class, and closed when it is complete.
"""

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

T = TypeVar("T")

_TWIN, _CLOSED, _DEFAULT, _ABSENT = "_twin", "_closed", "_default_of_{}", "_absent"


def swift(cls: type[T]) -> type[T]:
    """Give a `@dataclass(frozen=True, slots=True)` a faster `__init__` that makes the same object.

    Args:
        cls: Frozen and slotted, derived from nothing, every field set by position; not to be
            derived from.

    Returns:
        The class itself.

    Raises:
        TypeError: It is another kind of class.
    """
    of: Any = cls
    known: tuple[Field[Any], ...] = fields(of)
    sound = all(one.init and not one.kw_only for one in known) and cls.__bases__ == (object,)
    slots = tuple(one.name for one in known)
    if not sound or not of.__dataclass_params__.frozen or of.__dict__.get("__slots__") != slots:
        raise TypeError(f"{cls.__name__} should be a plain dataclass, frozen and with slots")
    # Two classes of the same slots and parents have one layout: an object may change between them.
    twin = type(cls.__name__, (), {"__slots__": slots})
    scope = {_TWIN: twin, _CLOSED: cls, _ABSENT: MISSING, "_set": object.__setattr__}
    scope |= {_DEFAULT.format(one.name): _default(one) for one in known}
    source = "\n    ".join(_source(known, checked=hasattr(cls, "__post_init__")))
    exec(source, scope)  # noqa: S102 - of names of fields alone, as dataclasses makes its own
    made: Any = scope["__init__"]
    made.__annotations__ = of.__init__.__annotations__
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    of.__init__ = made
    return cls


def _default(one: Field[Any]) -> object:
    return one.default if one.default_factory is MISSING else one.default_factory


def _source(known: tuple[Field[Any], ...], *, checked: bool) -> Iterator[str]:
    arguments = ["self"]
    for one in known:
        if one.default_factory is not MISSING:
            arguments.append(f"{one.name}={_ABSENT}")
        elif one.default is not MISSING:
            arguments.append(f"{one.name}={_DEFAULT.format(one.name)}")
        else:
            arguments.append(one.name)
    yield f"def __init__({', '.join(arguments)}):"
    yield f"_set(self, '__class__', {_TWIN})"
    for one in known:
        if one.default_factory is not MISSING:
            yield f"if {one.name} is {_ABSENT}: {one.name} = {_DEFAULT.format(one.name)}()"
        yield f"self.{one.name} = {one.name}"
    yield f"self.__class__ = {_CLOSED}"
    if checked:
        yield "self.__post_init__()"
