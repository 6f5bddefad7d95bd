"""Modules whose first values nobody needs."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from ..init import without_values
from ..module import Module

M = TypeVar("M", bound=Module)


def skip_init(module_cls: type[M], *args: Any, **kwargs: Any) -> M:
    """module_cls(*args, **kwargs), in which no value is drawn: for one that is about to be loaded.
    RuntimeError: it is no Module, or takes no `device`, as PyTorch asks."""
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"[skip_init] needs a class of modules, got {module_cls.__name__}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError(f"[skip_init] {module_cls.__name__} must take device=")
    with without_values():
        return module_cls(*args, **kwargs)
