"""What all optimisers share: parameter groups, state, and saving both. An update rule says what it
keeps and how a block changes; `flat.py` applies it.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from ..engine.arrays import Array, mark_written, to_device
from ..engine.arrays.replay import ONE_CALL, check_not_taping
from ..engine.core.tensor import Tensor, wrap
from ..engine.pytorch.grad_mode import enable_grad, no_grad
from ..nn.hooks import RemovableHandle
from .flat import Number, Plan, Update

NOT_NEGATIVE = (
    "lr weight_decay momentum eps alpha lr_decay initial_accumulator_value momentum_decay".split()
)


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()  # the default of a setting that must be given, in classes of others


def settings(given: dict[str, Any]) -> dict[str, Any]:
    """The `defaults` of an optimiser whose arguments, `locals()`, are its settings and params."""
    return {k: v for k, v in given.items() if k not in ("self", "params", "__class__")}


def registers(kind: str) -> Any:
    def register(self: Optimizer, hook: Callable, prepend: bool = False) -> RemovableHandle:
        hooks = self._hooks.setdefault(kind, {})
        handle = RemovableHandle(hooks)
        others = list(hooks.items()) if prepend else []
        for number, _ in others:
            del hooks[number]
        hooks.update([(handle.id, hook), *others])
        return handle

    register.__doc__ = f"Call a hook at {kind}; what it returns, if anything, is used instead."
    return register


def with_hooks(step: Callable) -> Callable:
    """A `step`, also one of a class of one's own, with the hooks registered for it."""

    @wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if not self._hooks:
            return step(self, *args, **kwargs)
        args = (self, *args)
        for hook in list(self._hooks.get("step_pre", {}).values()):
            changed = hook(self, args, kwargs)
            if changed is not None and not (isinstance(changed, tuple) and len(changed) == 2):
                raise RuntimeError(
                    f"[step] a hook must return None or (args, kwargs), got {changed!r}"
                )
            args, kwargs = changed or (args, kwargs)
        out = step(*args, **kwargs)
        for hook in list(self._hooks.get("step_post", {}).values()):
            hook(self, args, kwargs)
        return out

    return hooked


class Optimizer:
    """Base class. A subclass gives `defaults`, `kept` and `update`.

    params: tensors, (name, tensor) pairs, or dicts with "params" and settings of their own. The
    settings of `param_groups` may be changed between steps. `state[p]` holds what is kept for p, as
    views into flat buffers. Parameters change in their own memory, so every alias sees the change.
    """

    numbers: tuple[str, ...] = ("step",)  # what is kept as a float32 on the CPU for every p
    counts = True  # whether state[p]["step"] counts the steps p took part in
    # PyTorch's name: a 0-d float32 tensor; a step at which it is not 0 changes nothing. On a GPU
    # nobody waits to know, so that the steps are counted: see `take_back`.
    found_inf: Tensor | None = None

    def __init_subclass__(cls) -> None:
        if "step" in cls.__dict__:
            cls.step = with_hooks(cls.step)  # type: ignore[method-assign]
        if "run" in cls.__dict__:
            ONE_CALL.append((cls, "run", True))

    def __init__(self, params: Iterable, defaults: dict[str, Any]):
        check_not_taping("make an optimizer", "make it outside")
        if isinstance(params, Tensor):
            raise TypeError(
                f"[{self._name}] params must be an iterable of Tensors, got a Tensor; [p]?"
            )
        if defaults.get("fused") and defaults.get("foreach"):
            raise RuntimeError(f"[{self._name}] fused and foreach must not both be True")
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._plans: dict[int, Plan] = {}
        self._hooks: dict[str, dict[int, Callable]] = {}
        groups = list(params)
        if not groups:
            raise ValueError(
                f"[{self._name}] there must be a parameter, got an empty parameter list"
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def kept(self, group: dict[str, Any]) -> tuple[str, ...]:
        """Names of the arrays, of p's shape, that the rule keeps for each parameter p."""
        return ()

    def update(self, group: dict[str, Any], step: int, number: Number) -> Update:
        """The rule for one block, for the step-th step (from 1); `number` makes its constants.

        Under `flat.rule` it may have kernels: `@kernel(Adam.update, numpy.ndarray)`. Such a kernel
        returns the rule as one pass over a whole tensor, or NotImplemented.
        """
        raise NotImplementedError

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add `{"params": ..., setting: value, ...}`; settings left out are the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(
                f"[{self._name}] a group must be a dict, got {type(param_group).__name__}"
            )
        group = dict(param_group)
        params = group["params"]
        if isinstance(params, set):
            raise TypeError(f"[{self._name}] params must be ordered, got a set; use a list")
        params = [params] if isinstance(params, Tensor) else list(params)
        named = [p for p in params if isinstance(p, tuple)]
        if named:
            if len(named) != len(params):
                raise ValueError(
                    f"[{self._name}] either all or no parameters must have names, got "
                    f"{len(named)} of {len(params)}"
                )
            group["param_names"], params = [name for name, _ in named], [p for _, p in named]
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"[{self._name}] a parameter must be a Tensor, got {type(p).__name__}"
                )
            if not p.is_leaf:
                raise ValueError(
                    f"[{self._name}] can't optimize a non-leaf Tensor, parameter {i} is the result "
                    f"of {p.grad_fn!r}; detach() it?"
                )
            if id(p) in known:
                raise ValueError(
                    f"[{self._name}] a parameter must appear in one place, number {i} "
                    f"of shape {tuple(p.shape)} appears twice; list tied parameters once"
                )
            known.add(id(p))
        group["params"] = params
        group = {**group, **{k: group.get(k, default) for k, default in self.defaults.items()}}
        for name in (name for name, value in group.items() if value is required):
            raise ValueError(f"[{self._name}] a group must have a value of {name}; pass {name}=")
        self.check(group)
        self.param_groups.append(group)

    def check(self, group: dict[str, Any]) -> None:
        """Raise ValueError for a setting out of its range."""
        for name in NOT_NEGATIVE:
            if isinstance(group.get(name), (int, float, Tensor)) and not group[name] >= 0:
                raise ValueError(f"[{self._name}] {name} must not be negative, got {group[name]}")
        for i, beta in enumerate(group.get("betas", ())):
            if not 0 <= beta < 1:
                raise ValueError(f"[{self._name}] betas[{i}] must be in [0, 1), got {beta}")
        if group.get("differentiable"):
            raise RuntimeError(
                f"[{self._name}] differentiable must be False: updates are not recorded; "
                "write the update as ops on tensors if you need its gradient"
            )

    @with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient. closure: computes the loss again first."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for number, group in enumerate(self.param_groups):
                self.run(number, group)
        return loss

    def run(self, number: int, group: dict[str, Any]) -> None:
        """One step of a group."""
        self._plans.setdefault(number, Plan()).run(self, group)

    def take_back(self) -> None:
        """Correct the counts of steps after one that `found_inf` made do nothing."""
        for plan in self._plans.values():
            for age in plan.ages:
                age.take_back()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad.array[...] = 0
                    mark_written(p.grad.array)

    register_step_pre_hook, register_step_post_hook = registers("step_pre"), registers("step_post")
    register_state_dict_pre_hook = registers("state_dict_pre")
    register_state_dict_post_hook = registers("state_dict_post")
    register_load_state_dict_pre_hook = registers("load_state_dict_pre")
    register_load_state_dict_post_hook = registers("load_state_dict_post")

    def _call(self, kind: str, *given: Any) -> Any:
        """Call the hooks with the optimiser and what is given, which they may replace."""
        for hook in list(self._hooks.get(kind, {}).values()):
            changed = hook(self, *given)
            given = given if changed is None else (changed,)
        return given[0] if given else None

    def state_dict(self) -> dict[str, Any]:
        """`{"state": {index: ...}, "param_groups": [...]}`, parameters replaced by their index."""
        self._call("state_dict_pre")
        index: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                index.setdefault(id(p), len(index))
            numbers = [index[id(p)] for p in group["params"]]
            groups.append({**{k: v for k, v in group.items() if k != "params"}, "params": numbers})
        state = {index[id(p)]: dict(kept) for p, kept in self.state.items() if id(p) in index}
        return self._call("state_dict_post", {"state": state, "param_groups": groups})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict()` was taken. Arrays take their parameter's device and dtype,
        or float32 where that has 16 bits."""
        state_dict = self._call("load_state_dict_pre", dict(state_dict))
        saved = copy.deepcopy(state_dict["param_groups"])
        mine, theirs = ([len(g["params"]) for g in groups] for groups in (self.param_groups, saved))
        if mine != theirs:
            raise ValueError(
                f"[load_state_dict] groups must have these many parameters: {mine}, got {theirs}"
            )
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for group, loaded in zip(self.param_groups, saved, strict=True):
            for p, number in zip(group["params"], loaded["params"], strict=True):
                if number in state_dict["state"]:
                    entry = state_dict["state"][number]
                    state[p] = {name: self._placed(name, v, p) for name, v in entry.items()}
                    for name in (*self.kept(group), "master"):
                        self._fits(name, state[p].get(name, p), p)
            group.update({k: v for k, v in loaded.items() if k != "params"})
        self.state = state
        self._call("load_state_dict_post")

    def _placed(self, name: str, value: Any, p: Tensor) -> Any:
        if isinstance(value, list):
            return [self._placed(name, v, p) for v in value]
        if name in self.numbers or not isinstance(value, Tensor):
            return copy.deepcopy(value)
        kind = "float32" if p.array.dtype.itemsize == 2 else p.array.dtype
        return wrap(to_device(value.array, p.device).astype(kind))

    def _fits(self, name: str, value: Any, p: Tensor) -> None:
        if value.shape != p.shape:
            raise ValueError(
                f"[load_state_dict] {name} must have its parameter's shape {tuple(p.shape)}, "
                f"got {tuple(value.shape)}"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_plans", "_hooks")}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept)
        self._plans, self._hooks = {}, {}

    def __repr__(self) -> str:
        lines = [f"{self._name} ("]
        for number, group in enumerate(self.param_groups):
            lines += [""] * (number > 0) + [f"Parameter Group {number}"]
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])


def regularised(lib: Any, p: Array, g: Array, decay: Any, maximize: bool, scratch: Array) -> Array:
    """The gradient a rule works with, +-g + decay p: g itself or the last scratch."""
    t, s = scratch
    if maximize:
        g = lib.negative(g, s)
    if decay is not None:
        g = lib.add(g, lib.multiply(p, decay, t), s)
    return g


ONE_CALL.append((Optimizer, "run", True))
