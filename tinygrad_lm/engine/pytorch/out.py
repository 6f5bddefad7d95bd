"""`out=`: a tensor that takes the result. One table names the public functions that PyTorch lets
write into tensors that are there; each computes as ever, and what it gives is copied. Another names
those that take `pin_memory=`, which means nothing here."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from ..arrays import as_array, mark_written
from ..core.recording import mode
from ..core.tensor import Tensor
from .common import ReturnType

TAKES_OUT = """
abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr all amax amin aminmax any arange
arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort asin asinh atan atan2
atanh baddbmm bernoulli bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift
bitwise_xor bmm bucketize cat ceil chain_matmul cholesky cholesky_inverse cholesky_solve clamp
clamp_max clamp_min clip column_stack concat concatenate copysign cos cosh cross cummax cummin
cumprod cumsum deg2rad diag diff digamma div divide dot dstack empty eq erf erfc erfinv exp exp2
expm1 eye fix float_power floor floor_divide fmax fmin fmod frac frexp full gather gcd ge ger
greater greater_equal gt hamming_window hann_window heaviside histc histogram hstack hypot index_add
index_copy index_reduce index_select inner inverse isin isneginf isposinf kron kthvalue lcm ldexp le
lerp less less_equal lgamma linspace log log10 log1p log2 logaddexp logaddexp2 logcumsumexp
logical_and logical_not logical_or logical_xor logit logspace logsumexp lt masked_select matmul
matrix_power max maximum mean median min minimum mm mode msort mul multinomial multiply mv
nan_to_num nanmean nanmedian nanquantile nansum narrow_copy ne neg negative nextafter nonzero norm
normal not_equal ones outer pow prod qr quantile rad2deg rand randint randn randperm range
reciprocal remainder renorm round row_stack rsqrt scatter scatter_add scatter_reduce searchsorted
sgn sigmoid sign signbit sin sinc sinh sort sqrt square stack std sub subtract sum svd take
take_along_dim tan tanh tensordot topk triangular_solve tril triu true_divide trunc var vdot vstack
where xlogy zeros
"""
# Without dtype= these make what out is.
MADE_LIKE_OUT = set("arange empty eye full linspace logspace ones rand randint randn range "
                    "hamming_window hann_window randperm zeros".split())  # fmt: skip
# New memory: pinned or not is the same here.
TAKES_PIN_MEMORY = (
    MADE_LIKE_OUT - {"range"}
    | set("empty_like empty_strided full_like ones_like rand_like randint_like randn_like "
          "scalar_tensor tensor tril_indices triu_indices zeros_like".split())
)  # fmt: skip


def accept_out(space: dict[str, Any]) -> None:
    """Let the functions of the tables, in a module's namespace, take `out=` and `pin_memory=`."""
    for name in TAKES_OUT.split():
        space[name] = with_out(name, space[name])
    for name in TAKES_PIN_MEMORY:
        space[name] = without_pinning(space[name])


def without_pinning(function: Callable) -> Callable:
    """The function, which also takes pin_memory=, and leaves memory as it is."""

    @functools.wraps(function)
    def public(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop("pin_memory", None)
        return function(*args, **kwargs)

    return public


def with_out(name: str, function: Callable) -> Callable:
    """The function, which also takes out=: a tensor, or several for several results."""

    def public(*args: Any, **kwargs: Any) -> Any:
        if "out" not in kwargs:
            return function(*args, **kwargs)
        out = kwargs.pop("out")
        if out is None:
            return function(*args, **kwargs)
        if name in MADE_LIKE_OUT and isinstance(out, Tensor):
            kwargs.setdefault("dtype", out.dtype)
        return written(name, out, function(*args, **kwargs))

    public.__name__ = public.__qualname__ = name
    public.__module__, public.__doc__ = __name__.split(".")[0], function.__doc__
    public.__wrapped__ = function  # type: ignore[attr-defined]
    return public


def written(name: str, out: Any, found: Any) -> Any:
    """`out`, which now holds what was found."""
    if isinstance(found, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(found):
            raise TypeError(f"[{name}] out must be {len(found)} tensors, got {type(out).__name__}")
        made = [written(name, x, y) for x, y in zip(out, found)]
        if isinstance(found, ReturnType):
            return ReturnType.of(f"{found.name}_out", **dict(zip(found.fields, made)))
        return tuple(made)
    if not isinstance(out, Tensor):
        raise TypeError(f"[{name}] out must be a Tensor, got {type(out).__name__}")
    if mode.recording and (out.requires_grad or found.requires_grad):
        raise RuntimeError(
            f"[{name}] with out= no input and no out may require a gradient, for it cannot be "
            "recorded; leave out= away, or use no_grad()"
        )
    if found.dtype.category > out.dtype.category:
        raise RuntimeError(f"[{name}] the result is {found.dtype}, and out cannot be {out.dtype}")
    if type(found.array) is not type(out.array):
        raise RuntimeError(f"[{name}] out must be on {found.device}, got one on {out.device}")
    if out.array.shape == found.array.shape:
        out.array[...] = found.array
    else:
        if out.array.size:
            warnings.warn(
                f"[{name}] out should have the result's shape {tuple(found.shape)} or no elements, "
                f"got {tuple(out.shape)}: it was resized; use resize_(0) first",
                stacklevel=3,
            )
        out.array = as_array(found.array.astype(out.array.dtype))
    mark_written(out.array)
    return out
