"""What a module saves and loads: its parameters, buffers and extra state by name, with hooks before
and after."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..engine.core.tensor import Tensor
from ..engine.pytorch.common import Operand, to_tensor
from ..engine.pytorch.grad_mode import no_grad
from .hooks import Hooked, RemovableHandle, put
from .parameter import Parameter

EXTRA = "_extra_state"


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


class Stateful(Hooked):
    """A Hooked whose state can be saved and loaded."""

    def get_extra_state(self) -> Any:
        """Define it, and set_extra_state(state), to save more than parameters and buffers."""
        raise RuntimeError(
            f"[get_extra_state] {type(self).__name__} must define get_extra_state and "
            "set_extra_state to have a state of its own"
        )

    def set_extra_state(self, state: Any) -> None:
        raise RuntimeError(
            f"[set_extra_state] {type(self).__name__} must define it to load extra state"
        )

    # ------------------------------------------------------------ saving

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        for name, x in _saved(self):
            destination[prefix + name] = x if keep_vars else x.detach()
        if _has_own(self, "get_extra_state"):
            destination[prefix + EXTRA] = self.get_extra_state()

    def state_dict(
        self, destination: dict | None = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """All parameters and persistent buffers by name, sharing memory, outside the graph; in a
        new OrderedDict, or put into `destination`."""
        saved: Any = OrderedDict() if destination is None else destination
        for hook in self.__dict__["_state_dict_pre_hooks"].values():
            hook.function(self, prefix, keep_vars)
        self._save_to_state_dict(saved, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                deeper = f"{prefix}{name}."
                module.state_dict(destination=saved, prefix=deeper, keep_vars=keep_vars)
        for hook in self.__dict__["_state_dict_hooks"].values():
            if hook.function(self, saved, prefix, {}) is not None:
                raise RuntimeError("[state_dict] a post hook must return None, not another state")
        return saved

    # ------------------------------------------------------------ loading

    def load_state_dict(
        self, state_dict: Mapping[str, Operand], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy values into the existing tensors by name, or with `assign` put them in their place;
        nothing is copied unless all of it fits (or a post hook may still forgive it).

        Raises one RuntimeError that lists every missing and unexpected name (unless not `strict`)
        and every shape that differs.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"[load_state_dict] needs a mapping from names, got {type(state_dict).__name__}"
            )
        keys = IncompatibleKeys([], [])
        problems: list[str] = []
        copies: list[Callable] = []
        metadata = {"copies": copies, "assign_to_params_buffers": assign}
        _look(self, dict(state_dict), "", metadata, *keys, problems)
        after = [m for m in _children_first(self) if m.__dict__["_load_state_dict_post_hooks"]]
        _check(self, keys, problems, strict and not after)
        with no_grad():
            for copy in copies:
                copy()
        for module in after:
            for hook in module.__dict__["_load_state_dict_post_hooks"].values():
                if hook.function(module, keys) is not None:
                    raise AssertionError(
                        "[load_state_dict] a post hook must return None; change the lists of keys "
                        "it is given in place"
                    )
        _check(self, keys, problems, strict)
        return keys

    def _load_from_state_dict(
        self,
        state_dict: dict,
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """PyTorch's method to override, for this module without those below. What is to be copied
        is noted in local_metadata["copies"]."""
        report = (local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        for hook in self.__dict__["_load_state_dict_pre_hooks"].values():
            owner = (self,) if hook.with_kwargs else ()
            hook.function(*owner, state_dict, prefix, *report)
        mine, copies = dict(_saved(self)), local_metadata["copies"]
        wanted = [*mine]
        for name, x in mine.items():
            if prefix + name not in state_dict:
                continue
            value = to_tensor(state_dict[prefix + name])
            if x.ndim == 0 and tuple(value.shape) == (1,):
                value = value[0]
            if value.shape != x.shape:
                error_msgs.append(
                    f"size mismatch for {prefix}{name}: {tuple(value.shape)} is given, the module "
                    f"has {tuple(x.shape)}."
                )
            elif local_metadata["assign_to_params_buffers"]:
                copies.append(partial(_assign, self, name, value))
            else:
                copies.append(partial(_copy, x, value))
        if _has_own(self, "set_extra_state"):
            wanted.append(EXTRA)
            if prefix + EXTRA in state_dict:
                copies.append(partial(self.set_extra_state, state_dict[prefix + EXTRA]))
        if not strict:
            return
        missing_keys += [prefix + name for name in wanted if prefix + name not in state_dict]
        for key in state_dict:
            name, _, below = key.removeprefix(prefix).partition(".")
            if key.startswith(prefix) and name not in (self._modules if below else wanted):
                unexpected_keys.append(key)

    # ------------------------------------------------------------ hooks

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Run hook(module, prefix, keep_vars) before this module is saved."""
        return put(self.__dict__["_state_dict_pre_hooks"], hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Run hook(module, state_dict, prefix, local_metadata) after it was; it changes state_dict
        in place."""
        return put(self.__dict__["_state_dict_hooks"], hook)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Run hook(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs) before loading; it may change state_dict, which is a copy."""
        return put(self.__dict__["_load_state_dict_pre_hooks"], hook, True)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable, with_module: bool = False
    ) -> RemovableHandle:
        return put(self.__dict__["_load_state_dict_pre_hooks"], hook, with_module)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Run hook(module, incompatible_keys) after loading, before missing and unexpected names
        raise: it may take names off those lists."""
        return put(self.__dict__["_load_state_dict_post_hooks"], hook)


def _saved(module: Stateful) -> Iterator[tuple[str, Tensor]]:
    """The parameters and persistent buffers of this module itself."""
    for name, x in itertools.chain(module._parameters.items(), module._buffers.items()):
        if x is not None and name not in module._not_saved:
            yield name, x


def _has_own(module: Stateful, method: str) -> bool:
    return getattr(type(module), method) is not getattr(Stateful, method)


def _look(module: Stateful, given: dict, prefix: str, *report: Any) -> None:
    """Compare what is given with what is here and below; nothing is copied yet."""
    metadata, missing, unexpected, problems = report
    module._load_from_state_dict(given, prefix, metadata, True, missing, unexpected, problems)
    for name, below in module._modules.items():
        if below is not None:
            deeper = f"{prefix}{name}."
            inside = {key: x for key, x in given.items() if key.startswith(deeper)}
            _look(below, inside, deeper, *report)


def _assign(module: Stateful, name: str, value: Tensor) -> None:
    mine = module._parameters.get(name)
    if mine is not None:
        value = value if isinstance(value, Parameter) else Parameter(value)
        value.requires_grad_(mine.requires_grad)
    setattr(module, name, value)


def _check(module: Stateful, keys: IncompatibleKeys, problems: list[str], strict: bool) -> None:
    several = zip(("Missing", "Unexpected"), keys) if strict else ()
    lines = [
        f"{what} key(s) in state_dict: " + ", ".join(f'"{name}"' for name in names) + "."
        for what, names in several
        if names
    ]
    if lines or problems:
        raise RuntimeError(
            f"[load_state_dict] names and shapes must be those of {type(module).__name__}:\n\t"
            + "\n\t".join(lines + problems)
        )


def _children_first(module: Stateful) -> Iterator[Stateful]:
    for below in module._modules.values():
        if below is not None:
            yield from _children_first(below)
    yield module


def _copy(x: Tensor, value: Tensor) -> None:
    x.copy_(value.to(x.device))
