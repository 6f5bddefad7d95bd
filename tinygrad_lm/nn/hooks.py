"""Hooks: functions that a module calls before and after its forward and its backward. A module
without any pays for the question alone."""

from __future__ import annotations

import itertools
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from ..engine.core.recording import mode
from ..engine.core.tensor import Tensor
from ..engine.pytorch.custom_function import Function
from .tree import Tree

AROUND_CALLS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
AROUND_STATE = (
    "_state_dict_pre_hooks", "_state_dict_hooks",
    "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip


class Hook(NamedTuple):
    """A function, whether it takes keyword arguments too, and whether it runs after an error."""

    function: Callable
    with_kwargs: bool = False
    always: bool = False


Hooks = OrderedDict[int, Hook]
EVERYWHERE: dict[str, Hooks] = {kind: OrderedDict() for kind in AROUND_CALLS}


class RemovableHandle:
    """Takes a hook off again: `handle.remove()`, or the end of `with handle:`."""

    numbers = itertools.count()

    def __init__(self, hooks: dict):
        self.hooks, self.id = hooks, next(self.numbers)

    def remove(self) -> None:
        self.hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: Any) -> None:
        self.remove()


def put(hooks: Hooks, function: Callable, *settings: bool, prepend: bool = False) -> Any:
    """Add a hook, last or first; returns its handle."""
    handle = RemovableHandle(hooks)
    hooks[handle.id] = Hook(function, *settings)
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


class Hooked(Tree):
    """A Tree whose call runs `forward` with the hooks around it."""

    _hooked = False  # whether a hook around calls was ever put on this one, or on all
    _forward_pre_hooks: Hooks
    _forward_hooks: Hooks
    _backward_pre_hooks: Hooks
    _backward_hooks: Hooks

    def __init__(self) -> None:
        super().__init__()
        for kind in AROUND_CALLS + AROUND_STATE:
            self.__dict__[kind] = OrderedDict()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooked:
            return call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def _no_forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f"[{type(self).__name__}] a module must define forward to be called"
        )

    forward: Callable[..., Any] = _no_forward

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Run hook(module, args) before forward; what it returns replaces the arguments. With
        with_kwargs hook(module, args, kwargs), which returns None or both."""
        return _put_on(self, "_forward_pre_hooks", hook, with_kwargs, prepend=prepend)

    def register_forward_hook(
        self,
        hook: Callable,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Run hook(module, args, output), or hook(module, args, kwargs, output), after forward;
        what it returns replaces the output. always_call: also when forward raises."""
        return _put_on(self, "_forward_hooks", hook, with_kwargs, always_call, prepend=prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Run hook(module, grad_output) before the gradients of the module are computed; a returned
        tuple replaces grad_output."""
        return _put_on(self, "_backward_pre_hooks", hook, prepend=prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Run hook(module, grad_input, grad_output) when the gradients of the positional inputs are
        known; a returned tuple replaces grad_input. None stands for what is no Tensor."""
        return _put_on(self, "_backward_hooks", hook, prepend=prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """PyTorch's former hook, whose grad_input was of the last op alone; here a full one."""
        return self.register_full_backward_hook(hook)


def _put_on(module: Hooked, kind: str, hook: Callable, *settings: bool, prepend: bool) -> Any:
    object.__setattr__(module, "_hooked", True)
    return put(module.__dict__[kind], hook, *settings, prepend=prepend)


def _put_everywhere(kind: str, hook: Callable, *settings: bool) -> RemovableHandle:
    Hooked._hooked = True
    return put(EVERYWHERE[kind], hook, *settings)


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """`register_forward_pre_hook` on every module there is or will be, before its own hooks."""
    return _put_everywhere("_forward_pre_hooks", hook)


def register_module_forward_hook(
    hook: Callable, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    return _put_everywhere("_forward_hooks", hook, with_kwargs, always_call)


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    return _put_everywhere("_backward_pre_hooks", hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    return _put_everywhere("_backward_hooks", hook)


# ------------------------------------------------------------ calling


def _hooks_of(module: Hooked, kind: str) -> list[Hook]:
    return [*EVERYWHERE[kind].values(), *module.__dict__[kind].values()]


def call_with_hooks(module: Hooked, args: tuple, kwargs: dict) -> Any:
    out, after = None, _hooks_of(module, "_forward_hooks")
    pending = [hook for hook in after if hook.always]
    try:
        args, kwargs = _arguments(module, args, kwargs)
        backward = Backward(module)
        args = backward.at_input(args)
        out = module.forward(*args, **kwargs)
        for hook in _hooks_of(module, "_forward_hooks"):
            if hook in pending:
                pending.remove(hook)
            out = _shown(hook, module, args, kwargs, out)
        return backward.at_output(out)
    except Exception:
        for hook in pending:
            try:
                out = _shown(hook, module, args, kwargs, out)
            except Exception as error:
                warnings.warn(
                    f"[{type(module).__name__}] a hook with always_call=True raised {error!r} after"
                    " the error of forward, which goes on",
                    stacklevel=2,
                )
        raise


def _arguments(module: Hooked, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """What forward gets, after all hooks have seen it."""
    for hook in _hooks_of(module, "_forward_pre_hooks"):
        given = (args, kwargs) if hook.with_kwargs else (args,)
        changed = hook.function(module, *given)
        if changed is None:
            continue
        if not hook.with_kwargs:
            args = changed if isinstance(changed, tuple) else (changed,)
        elif isinstance(changed, tuple) and len(changed) == 2:
            args, kwargs = changed
        else:
            raise RuntimeError(
                "[forward_pre_hook] a hook with_kwargs must return None or (args, kwargs), "
                f"got {changed!r:.60}"
            )
    return args, kwargs


def _shown(hook: Hook, module: Hooked, args: tuple, kwargs: dict, out: Any) -> Any:
    given = (args, kwargs, out) if hook.with_kwargs else (args, out)
    changed = hook.function(module, *given)
    return out if changed is None else changed


class BackwardHookFunction(Function):
    """Its inputs; on the way back `see` is shown all their gradients, and may replace them."""

    @staticmethod
    def forward(ctx: Any, see: Callable, *xs: Tensor) -> tuple:
        ctx.see = see
        ctx.set_materialize_grads(False)
        return tuple(x.detach() for x in xs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple:
        return (None, *ctx.see(gradients))


class Backward:
    """The backward hooks of one call. The inputs and the outputs pass through a function each,
    where gradients are seen: first those of the outputs, later those of the inputs."""

    def __init__(self, module: Hooked):
        self.module = module
        self.before = _hooks_of(module, "_backward_pre_hooks")
        self.hooks = _hooks_of(module, "_backward_hooks")
        self.grad_output: tuple | None = None
        self.inputs = 0
        self.to_inputs = False  # whether gradients go to inputs

    def at_input(self, args: tuple) -> tuple:
        args, self.to_inputs = self._through(args, self._see_input)
        self.inputs = len(args)
        return args

    def at_output(self, out: Any) -> Any:
        outputs = out if isinstance(out, tuple) else (out,)
        outputs, _ = self._through(outputs, self._see_output)
        return outputs if isinstance(out, tuple) else outputs[0]

    def _through(self, values: tuple, see: Callable) -> tuple[tuple, bool]:
        """The same with the tensors passed through, if a hook wants their gradients."""
        tensors = {i: x for i, x in enumerate(values) if isinstance(x, Tensor)}
        recorded = mode.recording and any(x.requires_grad for x in tensors.values())
        if not recorded or not (self.hooks or self.before):
            return values, False

        def see_all(gradients: tuple) -> list:
            by_place = dict(zip(tensors, gradients))
            seen = see(tuple(by_place.get(i) for i in range(len(values))))
            return [seen[i] for i in tensors]

        passed = dict(zip(tensors, BackwardHookFunction.apply(see_all, *tensors.values())))
        made = [passed.get(i, x) for i, x in enumerate(values)]
        return (tuple(made) if type(values) is tuple else type(values)(*made)), True

    def _see_output(self, grad_output: tuple) -> tuple:
        for hook in self.before:
            grad_output = self._replaced(hook.function(self.module, grad_output), grad_output)
        self.grad_output = grad_output
        if not self.to_inputs and self.hooks:
            warnings.warn(
                f"[{type(self.module).__name__}] no input requires a gradient, so the backward "
                "hook is called with the gradients of the outputs alone",
                stacklevel=2,
            )
            self._see_input((None,) * self.inputs)
        return grad_output

    def _see_input(self, grad_input: tuple) -> tuple:
        if self.grad_output is not None:
            for hook in self.hooks:
                found = hook.function(self.module, grad_input, self.grad_output)
                grad_input = self._replaced(found, grad_input)
            self.grad_output = None
        return grad_input

    @staticmethod
    def _replaced(found: Any, given: tuple) -> tuple:
        if found is None:
            return given
        found = found if isinstance(found, (tuple, list)) else (found,)
        if len(found) != len(given):
            raise RuntimeError(
                f"[backward_hook] a hook must return None or one gradient for each of "
                f"{len(given)}, got {len(found)}"
            )
        return tuple(found)
