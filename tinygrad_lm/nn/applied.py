"""Layers that are a function of `functional` and its settings: a class is one line that names the
function, and its arguments are those that the function takes after its inputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import Signature, signature
from typing import Any

from ..engine.core.tensor import Tensor
from .module import Module


@cache
def settings_of(function: Callable) -> tuple[tuple[str, ...], Signature]:
    """(what a function takes after its inputs, which is what has a default; those of them that its
    layer is made with). `training` is every module's own."""
    given = [p for p in signature(function).parameters.values() if p.default is not p.empty]
    return tuple(p.name for p in given), Signature([p for p in given if p.name != "training"])


class Applied(Module):
    """Settings become attributes, which each call reads; tensors among them become buffers."""

    function: Callable[..., Any]

    def __init_subclass__(cls, of: Callable | None = None, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if of is not None:
            cls.function, cls.__doc__ = staticmethod(of), of.__doc__

    def __init__(self, *args: Any, **settings: Any):
        super().__init__()
        bound = settings_of(self.function)[1].bind(*args, **settings)
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            if name in ("weight", "pos_weight"):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *inputs: Tensor) -> Tensor:
        state = self.__dict__
        settings = {name: state[name] for name in settings_of(self.function)[0]}
        return self.function(*inputs, **settings)
