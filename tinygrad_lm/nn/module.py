"""Module: a function with parameters, buffers and modules inside. It is a `Tree` that can be called
(`hooks`), saved and loaded (`state`), and here moved, converted and printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from ..engine import arrays
from ..engine.core.tensor import Tensor
from ..engine.pytorch.common import Device
from ..engine.pytorch.conversions import TO_OPTIONS
from ..engine.pytorch.creation import empty_like
from ..engine.pytorch.grad_mode import no_grad
from .hooks import (  # noqa: F401  # under PyTorch's path, nn.modules.module
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
)
from .state import Stateful

M = TypeVar("M", bound="Module")


class Module(Stateful):
    """Subclass it, call `super().__init__()`, assign parameters and modules as attributes, and
    write `forward`. Calling the module runs `forward` and its hooks."""

    training: bool

    def __init__(self) -> None:
        super().__init__()
        self.training = True

    # ------------------------------------------------------------ changing everything below

    def apply(self: M, fn: Callable[[Module], object]) -> M:
        """Call fn on every module below, children first, and on this one last."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self: M, mode: bool = True) -> M:
        if not isinstance(mode, bool):
            raise ValueError(f"[train] mode must be True or False, got {mode!r}")
        for module in self.modules():
            object.__setattr__(module, "training", mode)
        return self

    def eval(self: M) -> M:
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        for p in self.parameters():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad = p.grad.detach().zero_()

    def _apply(self: M, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> M:
        """fn of every parameter, gradient and buffer in its place; the parameters stay who they
        are."""
        for module in self.children() if recurse else ():
            module._apply(fn)
        with no_grad():
            for p in self._parameters.values():
                if p is not None:
                    p.data = fn(p)
                    if p.grad is not None:
                        p.grad = fn(p.grad)
            for name, x in self._buffers.items():
                if x is not None:
                    setattr(self, name, fn(x))
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """to("cuda"), to(torch.float64), to(other_tensor), to(device, dtype): moves everything and
        casts what is floating, in place."""
        if kwargs.keys() - TO_OPTIONS:
            raise TypeError(f"[to] options must be among {sorted(TO_OPTIONS)}, got {[*kwargs]}")
        device, dtype = kwargs.get("device"), kwargs.get("dtype")
        for arg in args:
            if isinstance(arg, Tensor):
                device, dtype = arg.device, arg.dtype
            elif isinstance(arg, (str, int, arrays.device)) and not isinstance(arg, bool):
                device = f"cuda:{arg}" if isinstance(arg, int) else arg
            elif isinstance(arg, arrays.dtype):
                dtype = arg
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"[to] a module's dtype must be floating-point, got {dtype}")

        def convert(x: Tensor) -> Tensor:
            return x.to(device=device, dtype=dtype if x.is_floating_point() else None)

        return self._apply(convert)

    def float(self: M) -> M:
        return self.to(arrays.float32)

    def double(self: M) -> M:
        return self.to(arrays.float64)

    def half(self: M) -> M:
        return self.to(arrays.float16)

    def bfloat16(self: M) -> M:
        return self.to(arrays.as_dtype("bfloat16"))

    def type(self: M, dst_type: arrays.dtype | str) -> M:
        """Every parameter and buffer in that type."""
        return self._apply(lambda x: x.type(dst_type))

    def to_empty(self: M, *, device: Device, recurse: bool = True) -> M:
        """Everything as new memory on a device, without values."""
        return self._apply(lambda x: empty_like(x, device=device), recurse)

    def share_memory(self: M) -> M:
        raise NotImplementedError(
            "[share_memory] the memory of a module must stay in its process; start the others by "
            "fork, or send them its state_dict()"
        )

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """PyTorch's request to compile the call; there is nothing to compile here."""

    def cpu(self: M) -> M:
        return self.to("cpu")

    def cuda(self: M, device: Device = None) -> M:
        return self.to("cuda" if device is None else device)

    # ------------------------------------------------------------ printing

    def extra_repr(self) -> str:
        """What a layer shows of itself between the brackets."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [(name, repr(module)) for name, module in self._modules.items()]
        return bracketed(self._get_name(), extra.split("\n") if extra else [], children)


def bracketed(name: str, extra: list[str], children: Iterable[tuple[str, str]]) -> str:
    """Name(extra) on one line, or one line for each part where there are several."""
    lines = extra + [f"({key}): {text}".replace("\n", "\n  ") for key, text in children]
    if lines == extra and len(lines) < 2:
        return f"{name}({''.join(lines)})"
    return "\n  ".join([f"{name}(", *lines]) + "\n)"
