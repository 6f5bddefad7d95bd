"""Module: a function with parameters, buffers and modules inside; a `Tree` that can be called.
It can call, save, load, move and print what it holds."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from ..engine import arrays
from ..engine.core.tensor import Tensor
from ..engine.pytorch.common import Device, Operand, to_tensor
from ..engine.pytorch.conversions import TO_OPTIONS
from ..engine.pytorch.grad_mode import no_grad
from .tree import Tree

M = TypeVar("M", bound="Module")


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` found no value for, and which values found no place."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"_IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


class RemovableHandle:
    """Takes a hook off again: `handle.remove()`."""

    numbers = itertools.count()

    def __init__(self, hooks: dict):
        self.hooks, self.id = hooks, next(self.numbers)

    def remove(self) -> None:
        self.hooks.pop(self.id, None)


class Module(Tree):
    """Subclass it, call `super().__init__()`, assign parameters and modules as attributes, and
    write `forward`. Calling the module runs `forward` and its hooks."""

    training: bool
    forward: Callable[..., Any]

    def __init__(self) -> None:
        super().__init__()
        self.training = True
        self._pre_hooks: dict[int, tuple[Callable, bool]] = {}
        self._hooks: dict[int, tuple[Callable, bool]] = {}

    # ------------------------------------------------------------ calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooks or self._pre_hooks:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_with_hooks(self, args: tuple, kwargs: dict) -> Any:
        for hook, with_kwargs in list(self._pre_hooks.values()):
            changed = hook(self, args, kwargs) if with_kwargs else hook(self, args)
            if changed is None:
                continue
            if with_kwargs:
                args, kwargs = changed
            else:
                args = changed if isinstance(changed, tuple) else (changed,)
        out = self.forward(*args, **kwargs)
        for hook, with_kwargs in list(self._hooks.values()):
            changed = hook(self, args, kwargs, out) if with_kwargs else hook(self, args, out)
            out = out if changed is None else changed
        return out

    def register_forward_pre_hook(
        self, hook: Callable, *, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Run hook(module, args) before forward; what it returns replaces the arguments."""
        handle = RemovableHandle(self._pre_hooks)
        self._pre_hooks[handle.id] = (hook, with_kwargs)
        return handle

    def register_forward_hook(
        self, hook: Callable, *, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Run hook(module, args, output) after forward; what it returns replaces the output."""
        handle = RemovableHandle(self._hooks)
        self._hooks[handle.id] = (hook, with_kwargs)
        return handle

    # ------------------------------------------------------------ saving and loading

    def _saved(self, prefix: str) -> Iterator[tuple[str, Tensor]]:
        for name, x in itertools.chain(self._parameters.items(), self._buffers.items()):
            if x is not None and name not in self._not_saved:
                yield prefix + name, x
        for name, module in self._modules.items():
            if module is not None:
                yield from module._saved(f"{prefix}{name}.")

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Tensor]:
        """All parameters and persistent buffers by name, sharing memory, outside the graph."""
        saved = self._saved(prefix)
        return OrderedDict((name, x if keep_vars else x.detach()) for name, x in saved)

    def load_state_dict(
        self, state_dict: Mapping[str, Operand], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy values into the existing tensors by name; nothing is copied unless all of it fits.

        Raises one RuntimeError that lists every missing and unexpected name (unless not `strict`)
        and every shape that differs.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"[load_state_dict] needs a mapping from names, got {type(state_dict).__name__}"
            )
        mine = dict(self._saved(""))
        given = {name: to_tensor(x) for name, x in state_dict.items()}
        missing = [name for name in mine if name not in given]
        unexpected = [name for name in given if name not in mine]
        problems = []
        for what, names in (("Missing", missing), ("Unexpected", unexpected)):
            if strict and names:
                listed = ", ".join(f'"{name}"' for name in names)
                problems.append(f"{what} key(s) in state_dict: {listed}.")
        problems += [
            f"size mismatch for {name}: {tuple(given[name].shape)} is given, the module has "
            f"{tuple(x.shape)}."
            for name, x in mine.items()
            if name in given and given[name].shape != x.shape
        ]
        if problems:
            raise RuntimeError(
                f"[load_state_dict] names and shapes must be those of {type(self).__name__}:\n\t"
                + "\n\t".join(problems)
            )
        with no_grad():
            for name, x in mine.items():
                if name in given:
                    x.copy_(given[name].to(x.device))
        return IncompatibleKeys(missing, unexpected)

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

    def _convert(self: M, convert: Callable[[Tensor], Tensor]) -> M:
        with no_grad():
            for p in self.parameters():
                p.data = convert(p)
                if p.grad is not None:
                    p.grad = convert(p.grad)
            for module in self.modules():
                for name, x in module._buffers.items():
                    if x is not None:
                        setattr(module, name, convert(x))
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

        return self._convert(convert)

    def float(self: M) -> M:
        return self.to(arrays.float32)

    def double(self: M) -> M:
        return self.to(arrays.float64)

    def half(self: M) -> M:
        return self.to(arrays.float16)

    def bfloat16(self: M) -> M:
        return self.to(arrays.as_dtype("bfloat16"))

    def cpu(self: M) -> M:
        return self.to("cpu")

    def cuda(self: M, device: Device = None) -> M:
        return self.to("cuda" if device is None else device)

    # ------------------------------------------------------------ printing

    def extra_repr(self) -> str:
        """What a layer shows of itself between the brackets."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [(name, repr(module)) for name, module in self._modules.items()]
        return bracketed(type(self).__name__, extra.split("\n") if extra else [], children)


def bracketed(name: str, extra: list[str], children: Iterable[tuple[str, str]]) -> str:
    """Name(extra) on one line, or one line for each part where there are several."""
    lines = extra + [f"({key}): {text}".replace("\n", "\n  ") for key, text in children]
    if lines == extra and len(lines) < 2:
        return f"{name}({''.join(lines)})"
    return "\n  ".join([f"{name}(", *lines]) + "\n)"
