"""torch.linalg: powers, norms and vectors here, inverses and factors in `factors.py`. Loaded on
first use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from .. import arrays
from ..core.tensor import Tensor, wrap
from ..ops.linalg import LinAlgError
from . import reductions, shapes
from .common import Dims, Dtype, axes_of, axis_of
from .conversions import cast
from .creation import eye, full
from .factors import (
    cholesky,
    det,
    eigh,
    eigvalsh,
    inv,
    lstsq,
    matrices,
    matrix_rank,
    pinv,
    qr,
    slogdet,
    solve,
    solve_triangular,
    svd,
    svdvals,
)
from .joining import stack
from .names import named
from .products import matmul

__all__ = [
    "LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals",
    "eigvalsh", "inv", "lstsq", "lu", "lu_factor", "matmul", "matrix_exp", "matrix_norm",
    "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve",
    "solve_triangular", "svd", "svdvals", "vander", "vecdot", "vector_norm",
]  # fmt: skip


def matrix_power(A: Tensor, n: int) -> Tensor:
    """A @ A @ ... n times; of the inverse if n < 0."""
    if type(n) is not int:
        raise TypeError(f"[matrix_power] n must be an integer, got {n!r}")
    matrices("matrix_power", A)
    if n < 0:
        A, n = inv(A), -n
    if n == 0:
        return A.clone().copy_(eye(A.shape[-1], dtype=A.dtype, device=A.device))
    half = matrix_power(A, n // 2) if n > 1 else None
    square = A if half is None else half @ half
    return square if half is None or n % 2 == 0 else square @ A


def matrix_exp(A: Tensor) -> Tensor:
    """1 + A + A A / 2 + ...: the series of A / 2^s, squared s times (Moler and Van Loan 2003)."""
    matrices("matrix_exp", A)
    one = eye(A.shape[-1], dtype=A.dtype, device=A.device)
    size = float(A.detach().abs().sum(-1).max()) if A.numel() else 0.0
    doublings = max(0, math.frexp(size)[1] + 1) if math.isfinite(size) else 0
    x, total = A / 2**doublings, one + A * 0
    for n in range(18, 0, -1):  # Horner's scheme; what is left out is below 2^-70
        total = one + x @ total / n
    for _ in range(doublings):
        total = total @ total
    return named(total, "LinalgMatrixExpBackward0")


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of two matrices and more, in the order with the fewest multiplications; the first
    and the last may be vectors."""
    if len(tensors) < 2:
        raise RuntimeError(f"[multi_dot] needs at least 2 tensors, got {len(tensors)}")
    first, *middle, last = tensors
    row, column = first.ndim == 1, last.ndim == 1
    first, last = first.unsqueeze(0) if row else first, last.unsqueeze(1) if column else last
    given = [first, *middle, last]
    sizes = [given[0].shape[0], *[x.shape[-1] for x in given]]
    if any(x.ndim != 2 or x.shape[0] != n for x, n in zip(given, sizes)):
        shapes_ = [tuple(x.shape) for x in tensors]
        raise RuntimeError(f"[multi_dot] must be matrices that follow each other, got {shapes_}")

    @lru_cache(None)
    def best(i: int, j: int) -> tuple[int, int]:
        """The fewest multiplications for given[i:j], and where its last product splits it."""
        ways = [
            (best(i, k)[0] + best(k, j)[0] + sizes[i] * sizes[k] * sizes[j], k)
            for k in range(i + 1, j)
        ]
        return min(ways, default=(0, i))

    def product(i: int, j: int) -> Tensor:
        k = best(i, j)[1]
        return given[i] if j == i + 1 else product(i, k) @ product(k, j)

    out = product(0, len(given))
    out = out.squeeze(0) if row else out
    return out.squeeze(-1) if column else out


# ---------------------------------------------------------------- norms


def vector_norm(
    x: Tensor,
    ord: float = 2,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: Dtype = None,
) -> Tensor:
    """(sum of |x|^ord)^(1/ord) along dim, or of all elements; ord may be 0, inf and -inf."""
    x = x if dtype is None else cast(x, dtype)
    if not isinstance(ord, (int, float)):
        raise TypeError(f"[vector_norm] ord must be a number, got {ord!r}")
    if not x.is_floating_point():
        raise RuntimeError(f"[vector_norm] needs floats, got {x.dtype}; use float()")
    return reductions.norm(x, ord, dim, keepdim)


def matrix_norm(
    A: Tensor,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Dtype = None,
) -> Tensor:
    """A norm of each matrix: "fro", "nuc" (the sum of the singular values), 2 and -2 (the largest,
    the smallest), 1 and -1 (of the sums of columns' sizes), inf and -inf (of rows')."""
    A = A if dtype is None else cast(A, dtype)
    if ord not in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf):
        raise RuntimeError(
            f"[matrix_norm] ord must be 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got {ord!r}"
        )
    matrices("matrix_norm", A, square=False)
    axes = axes_of(A, tuple(dim), "matrix_norm")
    if len(axes) != 2:
        raise RuntimeError(f"[matrix_norm] dim must be two, got {dim!r}")
    if ord == "fro":
        return vector_norm(A, 2, axes, keepdim)
    A = A.permute(*[i for i in range(A.ndim) if i not in axes], *axes)
    sizes = svdvals(A) if ord in ("nuc", 2, -2) else A.abs().sum(-2 if ord in (1, -1) else -1)
    if ord == "nuc":
        out = sizes.sum(-1)
    else:
        out = (reductions.amax if ord in (1, 2, math.inf) else reductions.amin)(sizes, -1)
    for axis in sorted(axes) if keepdim else ():
        out = out.unsqueeze(axis)
    return out


def norm(
    A: Tensor,
    ord: float | str | None = None,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: Dtype = None,
) -> Tensor:
    """`vector_norm`, or `matrix_norm` where ord is given for two dims or a matrix."""
    count = len(dim) if isinstance(dim, Sequence) else None if dim is None else 1
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if count is None and A.ndim not in (1, 2):
        raise RuntimeError(f"[norm] dim must be given with ord beyond two dims, got {A.ndim}")
    if (A.ndim if count is None else count) == 2:
        axes = (-2, -1) if dim is None else dim
        return matrix_norm(A, ord, axes, keepdim, dtype=dtype)  # type: ignore[arg-type]
    if isinstance(ord, str):
        raise RuntimeError(f"[norm] ord must be a number for vectors, got {ord!r}")
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


def cond(A: Tensor, p: float | str | None = None) -> Tensor:
    """norm(A) norm(A^-1), by singular values if p is None, 2 or -2; inf for a singular matrix."""
    if p is None or p in (2, -2):
        s = svdvals(matrices("cond", A, square=False))
        first, last = s.select(-1, 0), s.select(-1, -1)
        return last / first if p == -2 else first / last
    size = matrix_norm(matrices("cond", A), p)
    try:
        return size * matrix_norm(inv(A), p)
    except LinAlgError:
        if A.ndim > 2:
            return stack([cond(a, p) for a in A], 0)
        return full(size.shape, math.inf, dtype=A.dtype, device=A.device)


# ---------------------------------------------------------------- vectors


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The product of vectors of three numbers along dim that is orthogonal to both."""
    if input.ndim != other.ndim or any(
        x.shape[axis_of(x, dim, "cross")] != 3 for x in (input, other)
    ):
        raise RuntimeError(
            f"[cross] both must have size 3 along dim {dim}, got {tuple(input.shape)} and "
            f"{tuple(other.shape)}"
        )
    (a1, a2, a3), (b1, b2, b3) = input.unbind(dim), other.unbind(dim)
    out = stack([a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, a1 * b2 - a2 * b1], dim)
    return named(out, "LinalgCrossBackward0")


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The sum of products along dim."""
    return cast((x * y).sum(dim), arrays.promote_types(x.dtype, y.dtype))


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """(..., n, N): the powers 0 ... N - 1 of each element."""
    powers = wrap(arrays.library(x.array).arange(x.shape[-1] if N is None else N))
    return x.unsqueeze(-1) ** powers


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonal of each matrix, a view."""
    return shapes.diagonal(A, offset, dim1, dim2)


# ---------------------------------------------------------------- what there is not


def _refused(name: str, why: str) -> Any:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"[{name}] {why}")

    refuse.__name__ = name
    return refuse


COMPLEX = "would need complex numbers, which this engine does not have; eigh is for symmetric A"
PIVOTS = "is not there: solve, inv and det do without factors that are kept; or use qr"
eig, eigvals = _refused("eig", COMPLEX), _refused("eigvals", COMPLEX)
lu, lu_factor = _refused("lu", PIVOTS), _refused("lu_factor", PIVOTS)
