"""What the functions in PyTorch's spelling share: reading `dim` and sizes as PyTorch does, and
converting arguments to Tensors and arrays."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import cache, reduce, wraps
from itertools import chain
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

import numpy

from .. import arrays
from ..arrays import LIBRARIES, Array
from ..arrays.replay import check_not_taping
from ..core.tensor import Tensor, wrap

# What users may write for a size, a dtype, a device, dims, and an operand.
Sizes: TypeAlias = "int | Sequence[int] | None"
Dtype: TypeAlias = "arrays.dtype | numpy.dtype | type | str | None"
Device: TypeAlias = "arrays.device | str | None"
Dims: TypeAlias = "int | Sequence[int] | None"
Operand: TypeAlias = "Tensor | Array | float"

P = ParamSpec("P")
Result = TypeVar("Result")


def raw(x: Any) -> Any:
    """The array of a Tensor; anything else unchanged."""
    return x.array if isinstance(x, Tensor) else x


def check_tensors(name: str, **given: Any) -> None:
    """A TypeError that names the argument that is no Tensor."""
    for what, value in given.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"[{name}] {what} must be a Tensor, got {type(value).__name__}; make one with "
                "torch.tensor(...) or torch.from_numpy(...)"
            )


def _check_from_outside(x: Any) -> None:
    if isinstance(x, numpy.ndarray):
        check_not_taping("make a tensor of a NumPy array", "pass a Tensor in")


def to_tensor(x: Any, like: Tensor | None = None) -> Tensor:
    """A Tensor of a Tensor, an array, a number or nested lists of them."""
    if isinstance(x, Tensor):
        return x
    if type(x) in LIBRARIES:
        _check_from_outside(x)
        arrays.dtype_of(x)
        return wrap(x)
    where = None if like is None else like.device
    return wrap(arrays.to_device(to_array(x), where))


def _plain_data(data: Any, kinds: set) -> Any:
    """Nested lists in which tensors of one element have become numbers; their dtypes, and the types
    of all else, are collected in `kinds`."""
    leaves = [data]
    for _ in range(64):  # level after level, which is fast; NumPy has no more axes than that
        found = {*map(type, leaves)}
        if found <= {list, tuple}:
            leaves = [*chain.from_iterable(leaves)]
        elif found <= {float, int, bool}:
            kinds |= found
            return data
        else:
            break
    if isinstance(data, Tensor):
        if data.numel() != 1:
            raise ValueError(
                f"[tensor] lists may hold tensors of one element, got shape {tuple(data.shape)}; "
                "join larger ones with stack(...)"
            )
        kinds.add(data.dtype)
        return data.item()
    if not isinstance(data, (list, tuple)):
        kinds.add(data.dtype if isinstance(data, numpy.ndarray) else type(data))
        return data
    found = set(map(type, data))
    if not any(issubclass(kind, (list, tuple, Tensor, numpy.ndarray)) for kind in found):
        kinds |= found
        return data
    return [_plain_data(x, kinds) for x in data]


def _kind_of(kinds: set, found: numpy.dtype) -> numpy.dtype:
    """The dtype of nested lists by the dtypes and types in them, each of which counts alike;
    `found` is what NumPy made of them."""
    own = {float: arrays.get_default_dtype(), int: arrays.int64, bool: arrays.bool_}
    try:
        known = [own.get(kind) or arrays.as_dtype(kind) for kind in kinds]
    except TypeError:  # something else with numbers in it
        known = [] if found.kind == "f" else [arrays.as_dtype(found)]
    return reduce(arrays.promote_types, known or [own[float]]).np


def to_array(data: Any, dtype: arrays.dtype | None = None) -> numpy.ndarray:
    """Python data as NumPy: floats become the default dtype, integers int64, as in PyTorch."""
    if isinstance(data, Tensor):
        found = arrays.to_numpy(data.array)
    elif isinstance(data, numpy.ndarray) or type(data) in LIBRARIES:
        _check_from_outside(data)
        found = arrays.to_numpy(data)
    else:
        leaves: set = set()
        data = _plain_data(data, leaves)
        try:
            found = numpy.array(data)
        except ValueError as error:
            raise ValueError(f"[tensor] nested lists must be regular: {error}") from error
        if dtype is None and found.dtype.kind not in "uUSO":
            found = found.astype(_kind_of(leaves, found.dtype), copy=False)
        if found.dtype.kind in "USO":
            wrong = (
                RuntimeError if found.dtype == object else ValueError if found.ndim else TypeError
            )
            raise wrong(f"[tensor] data must be numbers, got {type(data).__name__}: {data!r:.60}")
    if dtype is not None:
        made = found.astype(dtype.np)
        written = not isinstance(data, (Tensor, *LIBRARIES))
        if written and found.dtype.kind in "if" and dtype.np.kind in "iu" and found.size:
            limit = numpy.iinfo(dtype.np).max  # negative numbers wrap around, as in PyTorch
            for worst in (found.max(), -1 - found.min()):
                if not worst <= limit:  # NaN is not, either
                    raise RuntimeError(
                        f"[tensor] {dtype} must hold every number, got one beyond {limit}"
                    )
        return made
    arrays.dtype_of(found)
    return found


def axis_of(x: Tensor, dim: int, name: str, extra: int = 0) -> int:
    """One dim as a non-negative axis. extra: how many axes more than x has are allowed."""
    n = x.ndim + extra
    n = max(n, 1)
    if type(dim) is not int:
        try:
            dim = operator.index(dim)
        except TypeError as error:
            raise TypeError(f"[{name}] dim must be an integer, got {dim!r:.60}") from error
    if not -n <= dim < n:
        raise IndexError(f"[{name}] dim must be in -{n} ... {n - 1}, got {dim}")
    return dim % n


def axes_of(x: Tensor, dim: Dims, name: str) -> Any:
    """dim as NumPy's axis: None, an int, or a tuple without repeats."""
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        return None
    if isinstance(dim, (tuple, list)):
        axes = tuple(axis_of(x, d, name) for d in dim)
        if len(set(axes)) != len(axes):
            raise RuntimeError(f"[{name}] each dim must appear once, got {tuple(dim)}")
        return axes if x.ndim else None
    axis = axis_of(x, cast(int, dim), name)
    return axis if x.ndim else None


def check_some(x: Tensor, name: str, dim: int | None = None) -> None:
    """Extremes need elements to choose from: along dim, or somewhere if there is no dim."""
    if not (x.array.size if dim is None or not x.ndim else x.array.shape[dim]):
        kind = RuntimeError if dim is None and not name.startswith("arg") else IndexError
        raise kind(f"[{name}] needs at least one element, got shape {tuple(x.shape)}")


def numpy_names(function: Callable[P, Result]) -> Callable[P, Result]:
    """Accept NumPy's axis= and keepdims= beside PyTorch's dim= and keepdim=, which are the ones
    that type checkers see."""

    @wraps(function)
    def accepting(*args: P.args, **kwargs: P.kwargs) -> Result:
        if "axis" in kwargs:
            kwargs["dim"] = kwargs.pop("axis")
        if "keepdims" in kwargs:
            kwargs["keepdim"] = kwargs.pop("keepdims")
        return function(*args, **kwargs)

    return accepting


def sizes(given: tuple, by_name: Sizes = None) -> tuple[int, ...]:
    """view(2, 3), view((2, 3)), view(torch.Sizes) and view(size=(2, 3)) all mean the same."""
    given = given if by_name is None else (by_name,)
    if len(given) == 1 and isinstance(given[0], (tuple, list)):
        given = tuple(given[0])
    try:
        return tuple(map(operator.index, given))
    except TypeError as error:
        raise TypeError(f"[size] sizes must be integers, got {given!r:.60}") from error


class ReturnType(tuple[Tensor, ...]):
    """Several results with names, e.g. `.values` and `.indices`; prints as PyTorch's."""

    name: str
    fields: tuple[str, ...]

    def __getattr__(self, field: str) -> Any:
        if field in self.fields:
            return self[self.fields.index(field)]
        raise AttributeError(f"[{self.name}] has {', '.join(self.fields)}, not {field!r}")

    def __repr__(self) -> str:
        rows = ",\n".join(f"{f}={x!r}" for f, x in zip(self.fields, self, strict=True))
        return f"torch.return_types.{self.name}(\n{rows})"

    @staticmethod
    def of(name: str, **fields: Tensor) -> ReturnType:
        return _return_type(name, tuple(fields))(fields.values())


@cache
def _return_type(name: str, fields: tuple[str, ...]) -> type[ReturnType]:
    return type(name, (ReturnType,), {"name": name, "fields": fields})
