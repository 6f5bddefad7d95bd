"""Objects of a script's own classes, whole modules among them, in files of `save`: the name of the
class and the attributes. Nothing but attributes is set when they come back: no `__init__` runs."""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

PACKAGE = __name__.partition(".")[0]
HEAP_TYPE = 1 << 9  # in `__flags__`: made by a class statement, or by C in that way
SAFE: set[Any] = set()  # classes and functions that `load` takes with weights_only=True


def add_safe_globals(safe_globals: list[Any]) -> None:
    """From now on `load(weights_only=True)` takes objects of these classes."""
    SAFE.update(safe_globals)


@contextlib.contextmanager
def safe_globals(safe_globals: list[Any]) -> Iterator[None]:
    """Inside, `load(weights_only=True)` takes objects of these classes."""
    before = set(SAFE)
    SAFE.update(safe_globals)
    try:
        yield
    finally:
        SAFE.clear()
        SAFE.update(before)


def name_of(thing: Any) -> list[str] | None:
    """[module, name] under which a class or a function is found again; None if it is not."""
    try:
        plain = getattr(thing, "__wrapped__", thing)  # of an op, the function
        module = getattr(thing, "__module__", None)
        name = getattr(thing, "__qualname__", None) or getattr(plain, "__qualname__", None)
    except Exception:  # an object whose __getattr__ knows its own names only
        return None
    if not isinstance(name, str) or not isinstance(module, str):
        return None
    place: Any = sys.modules.get(module)
    for part in name.split("."):
        place = getattr(place, part, None)
    return [module, name] if place is thing else None


def named(module: str, name: str) -> Any:
    """What goes by this name; its module is imported where it is not yet. AttributeError."""
    try:
        place: Any = importlib.import_module(module)
        for part in name.split("."):
            place = getattr(place, part)
    except (ImportError, AttributeError) as error:
        raise AttributeError(
            f"[load] {name} must be in the module {module}, got none there; import or define it "
            "under that name before load"
        ) from error
    return place


def made_of_attributes(kind: type) -> bool:
    """Whether `object.__new__` and attributes make an instance: every base is a Python class."""
    return all(
        base.__flags__ & HEAP_TYPE
        and not isinstance(vars(base).get("__new__"), types.BuiltinFunctionType)
        for base in kind.__mro__[:-1]
    )


def slots_of(kind: type) -> list[str]:
    """The names in `__slots__` of a class and its bases that hold a value."""
    kinds = types.MemberDescriptorType
    return [n for base in kind.__mro__ for n, x in vars(base).items() if isinstance(x, kinds)]


def attributes_of(value: Any) -> dict[str, Any] | None:
    """The attributes of an object that is made of them; None for any other."""
    kind = type(value)
    slots = slots_of(kind)
    if not made_of_attributes(kind) or not (slots or hasattr(value, "__dict__")):
        return None
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return held | getattr(value, "__dict__", {})


def with_attributes(value: Any, held: dict[str, Any]) -> None:
    """Set them on an object without calling what its class does about it."""
    slots = slots_of(type(value))
    for name, item in held.items():
        if name in slots:
            object.__setattr__(value, name, item)
        else:
            value.__dict__[name] = item


def has_state_dict(value: Any) -> bool:
    """Whether it is of a class of ours that shares memory with others, as an optimiser does."""
    places = (f"{PACKAGE}.optim", f"{PACKAGE}.pages")
    return any(base.__module__.startswith(places) for base in type(value).__mro__)
