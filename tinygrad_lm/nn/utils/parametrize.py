"""A tensor of a module computed from others, each time it is read: the others are the parameters
that are trained and saved, as `parametrizations.NAME.original`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ...engine.core.tensor import Tensor
from ...engine.pytorch.grad_mode import no_grad
from ..containers import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter

# While `cached()` is on: what was computed, by its ParametrizationList. None while it is off.
_cache: dict[int, Tensor] | None = None


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Inside, a parametrized tensor is computed once and then kept."""
    global _cache
    before, _cache = _cache, {} if _cache is None else _cache
    try:
        yield
    finally:
        _cache = before


class ParametrizationList(ModuleList):
    """The functions of one tensor, in turn, and what the first of them takes: `original`, or
    `original0`, `original1`, ... where their `right_inverse` gives several."""

    def __init__(self, modules: Iterable[Module], original: Tensor, unsafe: bool = False):
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            found = self._inverted(original, strict=False)
        self.is_tensor = isinstance(found, Tensor)
        if isinstance(found, Tensor):
            if found.dtype != original.dtype:
                raise ValueError(
                    f"[right_inverse] one tensor must keep the dtype {original.dtype}, "
                    f"got {found.dtype}"
                )
            original.data = found
            register(self, "original", original)
        else:
            for i, x in enumerate(found):
                register(self, f"original{i}", x, like=original)
        self.ntensors = len(self._originals())
        if not unsafe:
            check(self(), original)

    def _originals(self) -> list[Tensor]:
        return [*self._parameters.values(), *self._buffers.values()]  # type: ignore[list-item]

    def _inverted(self, value: Any, strict: bool = True) -> Any:
        """What the functions would have to take to give this value."""
        for module in reversed(list(self)):
            if hasattr(module, "right_inverse"):
                try:
                    value = module.right_inverse(value)
                except NotImplementedError:
                    if strict:
                        raise
            elif strict:
                raise RuntimeError(
                    f"[parametrize] {type(module).__name__} must have right_inverse, for its "
                    "tensor to be set"
                )
        if not isinstance(value, (Tensor, Sequence)):
            raise ValueError(
                f"[right_inverse] must give a Tensor or several, got {type(value).__name__}"
            )
        return value

    @no_grad()
    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the tensor has this value."""
        found = self._inverted(value)
        several = [found] if isinstance(found, Tensor) else list(found)
        if len(several) != self.ntensors:
            raise ValueError(
                f"[right_inverse] must give {self.ntensors} tensors, got {len(several)}"
            )
        for mine, x in zip(self._originals(), several):
            if mine.dtype != x.dtype:
                raise ValueError(f"[right_inverse] must keep {mine.dtype}, got {x.dtype}")
            mine.data = x.clone()

    def forward(self) -> Tensor:
        x = self[0](*self._originals())
        for module in list(self)[1:]:
            x = module(x)
        return x


def register(module: Module, name: str, x: Tensor, like: Tensor | None = None) -> None:
    """x as a parameter or a buffer, whichever `like` is."""
    like = x if like is None else like
    if not isinstance(like, Parameter):
        module.register_buffer(name, x)
    else:
        made = x if isinstance(x, Parameter) else Parameter(x.detach())
        module.register_parameter(name, made.requires_grad_(like.requires_grad))  # type: ignore


def check(found: Any, wanted: Tensor) -> None:
    """A function must keep what a tensor looks like, unless it is registered as unsafe."""
    if not isinstance(found, Tensor):
        raise ValueError(f"[parametrize] a function must give a Tensor, got {type(found).__name__}")
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        raise ValueError(
            f"[parametrize] a function must keep {wanted.dtype} and {tuple(wanted.shape)}, got "
            f"{found.dtype} and {tuple(found.shape)}; unsafe=True allows it"
        )


def register_parametrization(
    module: Any, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Any:
    """From now on, module.NAME is parametrization(original), or of what an earlier one gives.

    right_inverse(value), if it has one, is how the original is set from a value. ValueError: there
    is no such tensor, or the function changes dtype or shape and is not `unsafe`."""
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            now = getattr(module, tensor_name)
            check(parametrization(now), now)
        module.parametrizations[tensor_name].append(parametrization)
        module.parametrizations[tensor_name].unsafe |= unsafe
        return module
    if tensor_name not in (*module._parameters, *module._buffers):
        raise ValueError(
            f"[register_parametrization] {type(module).__name__} must have a parameter or a "
            f"buffer {tensor_name!r}"
        )
    made = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):  # a class of its own, for the properties
        kind = type(module)
        object.__setattr__(module, "__class__", type(f"Parametrized{kind.__name__}", (kind,), {}))
        module.parametrizations = ModuleDict()
    setattr(type(module), tensor_name, parametrized(tensor_name))
    module.parametrizations[tensor_name] = made
    return module


def parametrized(name: str) -> property:
    """How a module reads and sets its tensor `name`."""

    def read(module: Any) -> Tensor:
        functions = module.parametrizations[name]
        if _cache is None:
            return functions()
        if id(functions) not in _cache:
            _cache[id(functions)] = functions()
        return _cache[id(functions)]

    def write(module: Any, value: Tensor) -> None:
        module.parametrizations[name].right_inverse(value)

    return property(read, write)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    several = module._modules.get("parametrizations")
    if not isinstance(several, ModuleDict):
        return False
    return bool(len(several)) if tensor_name is None else tensor_name in several


def remove_parametrizations(module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """module.NAME is a plain parameter or buffer again, with the value it has now, or with that of
    the original."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(
            f"[remove_parametrizations] {type(module).__name__}.{tensor_name} must be parametrized"
        )
    several = module.parametrizations
    functions, kind = several[tensor_name], type(module)
    if not functions.is_tensor and not leave_parametrized:
        raise ValueError(
            "[remove_parametrizations] leave_parametrized must be True for a tensor that is made "
            "of several"
        )
    original = functions._originals()[0]
    if leave_parametrized:
        with no_grad():
            value = functions()
        if functions.is_tensor:
            original.data = value
        else:
            original = Parameter(value) if isinstance(original, Parameter) else value
    delattr(kind, tensor_name)
    del several[tensor_name]
    register(module, tensor_name, original)
    if not len(several):
        del module.parametrizations
        object.__setattr__(module, "__class__", kind.__bases__[0])
    return module


def type_before_parametrizations(module: Module) -> type:
    return type(module).__bases__[0] if is_parametrized(module) else type(module)
