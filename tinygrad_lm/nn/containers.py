"""Modules that hold modules: called one after the other, in a list, or under names; and lists and
dictionaries of parameters."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import chain
from typing import Any, TypeVar

from ..engine.core.tensor import Tensor
from .module import Module, bracketed
from .parameter import Parameter

R = TypeVar("R", bound="_Row")


class _Row(Module):
    """Modules under the names "0", "1", ...; indexing, slicing, growing and shrinking."""

    def _put(self, modules: Iterable[Module]) -> None:
        for name in list(self._modules):
            delattr(self, name)
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def _name(self, index: int) -> str:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(
                f"[{type(self).__name__}] index must be in 0 ... {len(self) - 1}, got {index}"
            )
        return list(self._modules)[index]

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            picked = list(self._modules.items())[index]
            made = type(self)()
            for i, (name, module) in enumerate(picked):
                made.add_module(name if isinstance(self, Sequential) else str(i), module)
            return made
        return self._modules[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        kept = list(self)
        del kept[index]
        self._put(kept)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def append(self: R, module: Module) -> R:
        self.add_module(str(len(self)), module)
        return self

    def extend(self: R, modules: Iterable[Module]) -> R:
        for module in list(modules):  # which may be those of this one
            self.append(module)
        return self

    def insert(self: R, index: int, module: Module) -> R:
        modules = list(self)
        if isinstance(self, Sequential) and not -len(self) <= index <= len(self):
            n = len(self)
            raise IndexError(f"[Sequential] index must be in -{n} ... {n}, got {index}")
        modules.insert(index, module)
        self._put(modules)
        return self

    def pop(self, index: int = -1) -> Module:
        module = self[index]
        del self[index]
        return module


class Sequential(_Row):
    """Calls its modules one after the other. Takes modules, or one dict of named ones."""

    def __init__(self, *modules: Any):
        super().__init__()
        named = modules[0] if len(modules) == 1 and isinstance(modules[0], dict) else None
        for name, module in (named or {str(i): m for i, m in enumerate(modules)}).items():
            self.add_module(name, module)

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)
        return input

    def __add__(self, other: Any) -> Sequential:
        return Sequential(*self).__iadd__(other)

    def __iadd__(self, other: Any) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(f"[Sequential] can only add a Sequential, got {type(other).__name__}")
        return self.extend(other)

    def __mul__(self, times: int) -> Sequential:
        """The same modules, `times` times in a row."""
        self._check_times(times)
        return Sequential(*list(self) * times)

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Sequential:
        self._check_times(times)
        return self.extend(list(self) * (times - 1))

    def _check_times(self, times: int) -> None:
        if not isinstance(times, int):
            raise TypeError(f"[Sequential] times must be an int, got {type(times).__name__}")
        if times <= 0:
            raise ValueError(f"[Sequential] times must be at least 1, got {times}")


class ModuleList(_Row):
    """A list of modules whose parameters are found."""

    def __init__(self, modules: Iterable[Module] | None = None):
        super().__init__()
        self.extend(modules or ())

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList(chain(self, other))

    def __repr__(self) -> str:
        """Equal neighbours are counted, not repeated."""
        runs: list[list] = []  # [first, last, text]
        for i, module in enumerate(self):
            if runs and runs[-1][2] == repr(module):
                runs[-1][1] = i
            else:
                runs.append([i, i, repr(module)])
        children = [
            (str(a), text) if a == b else (f"{a}-{b}", f"{b - a + 1} x {text}")
            for a, b, text in runs
        ]
        return bracketed(type(self).__name__, [], children)


class ModuleDict(Module):
    """A dictionary of modules whose parameters are found."""

    def __init__(self, modules: Mapping[str, Module] | None = None):
        super().__init__()
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        for name, module in dict(modules).items():
            self.add_module(name, module)

    def __getitem__(self, name: str) -> Any:
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        del self._modules[name]
        self.__dict__.pop(name)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    def keys(self) -> KeysView[str]:
        return self._modules.keys()

    def values(self) -> ValuesView[Any]:
        return self._modules.values()

    def items(self) -> ItemsView[str, Any]:
        return self._modules.items()

    def pop(self, name: str) -> Module:
        module = self[name]
        del self[name]
        return module

    def clear(self) -> None:
        for name in list(self._modules):
            del self[name]


class _Parameters(Module):
    """Values under names: a Tensor becomes a Parameter, other objects stay as they are."""

    def _set(self, name: str, value: Any) -> None:
        plain = isinstance(value, Tensor) and not isinstance(value, Parameter)
        setattr(self, name, Parameter(value) if plain else value)

    def _lines(self, values: Iterable[tuple[str, Any]], kind: Callable) -> str:
        lines = []
        for name, x in values:
            what = f"Object of type: {type(x).__name__}"
            if isinstance(x, Tensor):
                where = f" ({x.device})" if x.is_cuda else ""
                size = "x".join(map(str, x.shape))
                what = f"Parameter containing: [{kind(x)} of size {size}{where}]"
            lines.append(f"  ({name}): {what}")
        return "\n".join(lines)

    def forward(self, *args: Any) -> Any:
        raise RuntimeError(f"[{type(self).__name__}] it only holds parameters; do not call it")


class ParameterList(_Parameters):
    """A list of parameters; a plain Tensor becomes one."""

    def __init__(self, values: Iterable[Any] | None = None):
        super().__init__()
        self._size = 0
        self.extend(() if values is None else values)

    def append(self, value: Any) -> ParameterList:
        self._set(str(self._size), value)
        self._size += 1
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        if isinstance(values, Tensor) or not isinstance(values, Iterable):
            raise TypeError(
                f"[ParameterList] needs values one after another, got {type(values).__name__}"
            )
        for value in list(values):  # which may be those of this one
            self.append(value)
        return self

    __iadd__ = extend

    def _name(self, index: int) -> str:
        index = operator.index(index)
        if not -self._size <= index < self._size:
            raise IndexError(
                f"[ParameterList] index must be in 0 ... {self._size - 1}, got {index}"
            )
        return str(index % self._size)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return getattr(self, self._name(index))

    def __setitem__(self, index: int, value: Any) -> None:
        self._set(self._name(index), value)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(self._size))

    def extra_repr(self) -> str:
        return self._lines(((str(i), x) for i, x in enumerate(self)), lambda x: x.dtype)


class ParameterDict(_Parameters):
    """A dictionary of parameters; a plain Tensor becomes one."""

    def __init__(self, parameters: Any = None):
        super().__init__()
        self._keys: dict[str, None] = {}
        self.update(() if parameters is None else parameters)

    def update(self, parameters: Any) -> None:
        """From a mapping (a plain one in the order of its sorted names) or from pairs."""
        pairs = parameters
        if isinstance(parameters, (OrderedDict, ParameterDict)):
            pairs = parameters.items()
        elif isinstance(parameters, Mapping):
            pairs = sorted(parameters.items())
        for name, value in pairs:
            self[name] = value

    def __getitem__(self, name: str) -> Any:
        if name not in self._keys:
            raise KeyError(f"[ParameterDict] there is no {name!r}; there are {list(self._keys)}")
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"[ParameterDict] a name must be a string, got {name!r}")
        self._set(name, value)
        self._keys[name] = None

    def __delitem__(self, name: str) -> None:
        del self._keys[name]
        delattr(self, name)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._keys)

    def __contains__(self, name: object) -> bool:
        return name in self._keys

    def keys(self) -> KeysView[str]:
        return self._keys.keys()

    def values(self) -> Iterator[Any]:
        return (self[name] for name in self._keys)

    def items(self) -> Iterator[tuple[str, Any]]:
        return ((name, self[name]) for name in self._keys)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name: str) -> Any:
        value = self[name]
        del self[name]
        return value

    def popitem(self) -> tuple[str, Any]:
        name = next(reversed(self._keys))
        return name, self.pop(name)

    def clear(self) -> None:
        for name in list(self._keys):
            del self[name]

    def copy(self) -> ParameterDict:
        return ParameterDict(OrderedDict(self.items()))

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        return ParameterDict((name, default) for name in keys)

    def __or__(self, other: ParameterDict) -> ParameterDict:
        both = self.copy()
        both.update(other)
        return both

    def __ior__(self, other: ParameterDict) -> ParameterDict:
        self.update(other)
        return self

    def extra_repr(self) -> str:
        return self._lines(self.items(), lambda x: x.type())
