"""PyTorch's functions over the ops, and the one table that binds them to Tensor as methods.
Nothing is computed here."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy

from . import backprop, chance, creation
from .compiled import recorder
from .dtypes import result_type
from .functions import arithmetic, indexing, joining, ordering, products, reductions, shapes
from .ops import elementwise as e
from .storage import typed_storage
from .tensor import Tensor
from .writes import IN_PLACE_UFUNCS, in_place, regain_history

# Functions that are called both as f(x, ...) and as x.f(...): everything here has both spellings.
UNARY = (
    "neg abs exp expm1 log log2 log10 log1p sqrt rsqrt reciprocal sin cos tanh sigmoid relu "
    "erf sign floor ceil isfinite isnan isinf logical_not"
)
BINARY = (
    "mul maximum minimum eq ne lt le gt ge logical_and logical_or logical_xor "
    "bitwise_and bitwise_or bitwise_xor bitwise_not"
)
ARITHMETIC = (
    "add sub div floor_divide pow remainder fmod square exp2 where masked_fill clamp clamp_min "
    "clamp_max round trunc frac lerp addcmul addcdiv allclose isclose equal"
)
REDUCTIONS = (
    "sum mean prod var std norm logsumexp amax amin max min argmax argmin cumsum any all "
    "count_nonzero softmax log_softmax"
)
ORDERING = "argsort sort topk median nonzero unique bincount histogram"
SHAPES = (
    "reshape flatten unflatten transpose permute t movedim squeeze unsqueeze broadcast_to tril "
    "triu diagonal diag trace"
)
JOINING = "repeat_interleave tile narrow select split chunk unbind flip roll"
INDEXING = "gather take_along_dim scatter scatter_add index_add index_select masked_select"
PRODUCTS = "matmul dot mm mv bmm outer addmm"

BOTH: dict[str, Any] = {
    name: getattr(module, name)
    for module, names in (
        (e, UNARY + " " + BINARY),
        (arithmetic, ARITHMETIC),
        (reductions, REDUCTIONS),
        (ordering, ORDERING),
        (shapes, SHAPES),
        (joining, JOINING),
        (indexing, INDEXING),
        (products, PRODUCTS),
    )
    for name in names.split()
}
ALIASES = {
    "multiply": "mul", "divide": "div", "true_divide": "div", "subtract": "sub", "negative": "neg",
    "absolute": "abs", "clip": "clamp", "greater": "gt", "less": "lt", "greater_equal": "ge",
    "less_equal": "le", "not_equal": "ne", "swapaxes": "transpose", "swapdims": "transpose",
    "ravel": "flatten",
}  # fmt: skip
BOTH.update({alias: BOTH[name] for alias, name in ALIASES.items()})

FUNCTIONS: dict[str, Any] = {
    **BOTH,
    "cat": joining.cat,
    "concat": joining.cat,
    "concatenate": joining.cat,
    "stack": joining.stack,
    "vstack": joining.vstack,
    "hstack": joining.hstack,
    "var_mean": reductions.var_mean,
    "std_mean": reductions.std_mean,
    "broadcast_tensors": shapes.broadcast_tensors,
    "meshgrid": shapes.meshgrid,
    "is_tensor": lambda x: isinstance(x, Tensor),
    "is_floating_point": Tensor.is_floating_point,
    "numel": Tensor.numel,
    "result_type": lambda *inputs: result_type(
        *(x.array if isinstance(x, Tensor) else x for x in inputs)
    ),
    "einsum": products.einsum,
    "clone": indexing.copy,
    "from_dlpack": indexing.from_dlpack,
}

METHODS: dict[str, Any] = {
    **BOTH,
    "backward": backprop.backward_from,
    "refresh": regain_history,
    "view": shapes.view,
    "view_as": lambda self, other: shapes.view(self, other.shape),
    "reshape_as": lambda self, other: shapes.reshape(self, other.shape),
    "expand": shapes.expand,
    "expand_as": lambda self, other: shapes.expand(self, other.shape),
    "repeat": joining.repeat,
    "where": lambda self, condition, other: arithmetic.where(condition, self, other),
    "contiguous": shapes.contiguous,
    "clone": indexing.copy,
    "to": arithmetic.to,
    "type_as": lambda self, other: arithmetic.cast(self, other.dtype),
    "float": lambda self: arithmetic.cast(self, "float32"),
    "double": lambda self: arithmetic.cast(self, "float64"),
    "half": lambda self: arithmetic.cast(self, "float16"),
    "bfloat16": lambda self: arithmetic.cast(self, "bfloat16"),
    "astype": arithmetic.cast,  # NumPy's name: an op's own function may run on Tensors
    "long": lambda self: arithmetic.cast(self, "int64"),
    "int": lambda self: arithmetic.cast(self, "int32"),
    "byte": lambda self: arithmetic.cast(self, "uint8"),
    "bool": lambda self: arithmetic.cast(self, "bool"),
    "cpu": lambda self: arithmetic.to(self, "cpu"),
    "cuda": lambda self, device=None: arithmetic.to(self, "cuda" if device is None else device),
    "pin_memory": lambda self: self,
    "storage": typed_storage,
    "new_zeros": lambda self, *size, **how: creation.zeros(*size, **_like(self, how)),
    "new_ones": lambda self, *size, **how: creation.ones(*size, **_like(self, how)),
    "new_full": lambda self, size, value, **how: creation.full(size, value, **_like(self, how)),
    "new_empty": lambda self, *size, **how: creation.empty(*size, **_like(self, how)),
    "new_tensor": lambda self, data, **how: creation.tensor(data, **_like(self, how)),
    "multinomial": chance.multinomial,
    "uniform_": chance.uniform_,
    "normal_": chance.normal_,
    "bernoulli": chance.bernoulli,
    "bernoulli_": chance.bernoulli_,
    "exponential_": chance.exponential_,
    "random_": chance.random_,
    "__getitem__": indexing.getitem,
    "__setitem__": indexing.setitem,
    "__neg__": e.neg,
    "__pos__": lambda self: self,
    "__abs__": e.abs,
    "__invert__": e.bitwise_not,
}

OPERATORS = {
    "add": e.add, "sub": e.sub, "mul": e.mul, "truediv": e.div, "pow": arithmetic.pow,
    "mod": arithmetic.remainder, "floordiv": arithmetic.floor_divide,
    "matmul": products.matmul, "and": e.bitwise_and, "or": e.bitwise_or, "xor": e.bitwise_xor,
}  # fmt: skip
REFLECTED = {"sub": arithmetic.rsub, "truediv": arithmetic.rdiv, "pow": arithmetic.rpow}
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")

# x.exp_() is x = exp(x) in x's own memory, and likewise for the rest.
IN_PLACE = {
    name: BOTH[name]
    for name in (
        "neg abs exp log sqrt rsqrt square reciprocal sin cos tanh sigmoid relu floor ceil pow "
        "remainder masked_fill clamp clip clamp_min clamp_max round trunc tril triu lerp addcmul "
        "addcdiv scatter scatter_add index_add logical_not"
    ).split()
}  # fmt: skip
IN_PLACE |= {"add": e.add, "sub": e.sub, "mul": e.mul, "div": e.div, "fill": arithmetic.fill}


def _like(tensor: Tensor, how: dict) -> dict:
    return {"dtype": tensor.dtype, "device": tensor.device, **how}


def _operator(op: Any) -> tuple[Any, Any]:
    call = op if isinstance(op, FunctionType) else op.__call__  # bound here, once

    def forward(self: Tensor, other: Any) -> Any:
        return call(self, other) if isinstance(other, USUAL) or _fits(other) else NotImplemented

    def reflected(self: Tensor, other: Any) -> Any:
        return call(other, self) if isinstance(other, USUAL) or _fits(other) else NotImplemented

    if recorder is not None:
        made = recorder.operator
        return made(op, forward, False), made(op, reflected, True)
    return forward, reflected


USUAL = (Tensor, float, int)


def _fits(other: Any) -> bool:
    return not isinstance(other, (str, list, tuple, dict, type(None), type))


def _written(op: Any) -> Any:
    ufunc = IN_PLACE_UFUNCS.get(op.__name__)

    def method(self: Tensor, other: Any) -> Tensor:
        return in_place(self, op, other)

    if recorder is not None and ufunc:
        return recorder.operator(getattr(numpy, ufunc), method, False)
    return method


def _writer(op: Any) -> Any:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return in_place(self, op, *args, **kwargs)

    return method


def _scaled(op: Any) -> Any:
    def method(self: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
        return in_place(self, op, other if alpha == 1 else other * alpha)

    return method


def _copy_(self: Tensor, source: Any, non_blocking: bool = False) -> Tensor:
    """Overwrite with the values of source (broadcast, cast)."""
    self[...] = source
    return self


def _zero_(self: Tensor) -> Tensor:
    return in_place(self, arithmetic.zero)


def _type(self: Tensor, dtype: Any = None) -> Any:
    """The old name of the type, or a cast."""
    if dtype is None:
        old = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16"}
        old |= {"int64": "Long", "int32": "Int", "uint8": "Byte", "bool": "Bool"}
        return f"torch.{'cuda.' if self.is_cuda else ''}{old[self.dtype.name]}Tensor"
    return arithmetic.cast(self, dtype)


def _bind() -> None:
    for name, method in METHODS.items():
        setattr(Tensor, name, method)
    for name, op in OPERATORS.items():
        forward, reflected = _operator(op)
        if name in REFLECTED:
            reflected, _ = _operator(REFLECTED[name])
        setattr(Tensor, f"__{name}__", forward)
        setattr(Tensor, f"__r{name}__", reflected)
        if name != "matmul":  # x @= y makes a new tensor, as in PyTorch
            setattr(Tensor, f"__i{name}__", _written(op))
    for name in COMPARISONS:
        setattr(Tensor, f"__{name}__", _operator(getattr(e, name))[0])
    for name, op in IN_PLACE.items():
        setattr(Tensor, f"{name}_", _writer(op))
    for name in ("add", "sub"):
        setattr(Tensor, f"{name}_", _scaled(IN_PLACE[name]))
    for name, method in {"copy_": _copy_, "zero_": _zero_, "type": _type}.items():
        setattr(Tensor, name, method)
    for name in ("T", "mT"):
        setattr(Tensor, name, property(getattr(shapes, name)))


_bind()
