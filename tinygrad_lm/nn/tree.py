"""Tree: an object that holds parameters, buffers and other such objects, and finds them by name.

Everything registered is kept twice: in `_parameters`, `_buffers` or `_modules`, to go through, and
as a plain attribute, so that reading one costs no more than any attribute. `Module` adds calling
and saving.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..engine.core.tensor import Tensor
from .parameter import Buffer, Parameter


class Tree:
    """What is assigned as an attribute and is one of KINDS, below, becomes part of it."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Any]
    _not_saved: set[str]

    def __init__(self) -> None:
        for kind in KINDS:
            self.__dict__[kind] = {}
        self._not_saved = set()

    # ------------------------------------------------------------ registering

    def __setattr__(self, name: str, value: Any) -> None:
        state, mine = self.__dict__, None
        if isinstance(value, (Parameter, Tree, Buffer)):
            mine = next(kind for kind, held in KINDS.items() if isinstance(value, held))
            if mine not in state:
                raise AttributeError(
                    f"[{type(self).__name__}] super().__init__() must run before {name!r} is set"
                )
            state[mine][name] = value
            if isinstance(value, Buffer) and not value.persistent:
                self._not_saved.add(name)
        for kind in KINDS:
            if name not in state.get(kind, ()) or kind == mine:
                continue
            if mine is not None:
                del state[kind][name]
            elif value is None or (kind == "_buffers" and isinstance(value, Tensor)):
                state[kind][name] = value
            else:
                raise TypeError(
                    f"[{type(self).__name__}] {name!r} is one of {kind[1:]}, so it must stay one "
                    f"or become None, got {type(value).__name__}; del it first?"
                )
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for kind in KINDS:
            self.__dict__[kind].pop(name, None)
        self._not_saved.discard(name)
        object.__delattr__(self, name)

    def _register(self, kind: str, name: str, value: Any, wanted: type) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(
                f"[{kind}] a name must be a string, not empty and without dots, got {name!r}"
            )
        if hasattr(self, name) and name not in self.__dict__[kind]:
            raise KeyError(f"[{kind}] a name must be new, but attribute {name!r} already exists")
        if value is not None and not isinstance(value, wanted):
            what = "Module" if wanted is Tree else wanted.__name__
            raise TypeError(
                f"[{kind}] {name!r} must be a {what} or None, got {type(value).__name__}"
            )
        self.__dict__[kind][name] = value
        object.__setattr__(self, name, value)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        self._register("_parameters", name, param, Parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """A tensor that belongs to the module but is not trained; saved if `persistent`."""
        self._register("_buffers", name, tensor, Tensor)
        (self._not_saved.discard if persistent else self._not_saved.add)(name)

    def add_module(self, name: str, module: Tree | None) -> None:
        self._register("_modules", name, module, Tree)

    register_module = add_module

    # ------------------------------------------------------------ walking

    def named_modules(
        self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """(name, module) for this one, named `prefix`, and everything below it, parents first."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, _join(prefix, name), remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Any]:
        found = self.named_modules(remove_duplicate=remove_duplicate)
        return (module for _, module in found)

    def named_children(self) -> Iterator[tuple[str, Any]]:
        seen: set[Tree] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Any]:
        return (module for _, module in self.named_children())

    def _named(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        several = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        for path, module in several if recurse else [(prefix, self)]:
            for name, x in module.__dict__[kind].items():
                if x is not None and id(x) not in seen:
                    if remove_duplicate:
                        seen.add(id(x))
                    yield _join(path, name), x

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) with dotted names; a shared parameter comes once, under its first."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (x for _, x in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (x for _, x in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Any:
        """The module at a dotted name; "" is this one."""
        module: Tree = self
        for name in target.split(".") if target else ():
            found = module._modules.get(name)
            if found is None:
                raise AttributeError(
                    f"[get_submodule] {type(module).__name__} has no {name!r}, asked for {target!r}"
                )
            module = found
        return module

    def set_submodule(self, target: str, module: Tree, strict: bool = False) -> None:
        """Put a module at a dotted name; with `strict` one must be there already."""
        if not target or not isinstance(module, Tree):
            raise ValueError(
                f"[set_submodule] needs a name and a Module, got {target!r} and "
                f"{type(module).__name__}"
            )
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if strict or (hasattr(owner, name) and name not in owner._modules):
            owner.get_submodule(name)
        setattr(owner, name, module)

    def _get(self, kind: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if owner.__dict__[kind].get(name) is None:
            raise AttributeError(
                f"[get{kind[:-1]}] {type(owner).__name__} has no {name!r}, asked for {target!r}"
            )
        return owner.__dict__[kind][name]

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted name."""
        return self._get("_parameters", target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted name."""
        return self._get("_buffers", target)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


# Where what is assigned goes, by its class.
KINDS = {"_parameters": Parameter, "_modules": Tree, "_buffers": Buffer}
