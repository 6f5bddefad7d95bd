"""Products beyond those of the course, in PyTorch's spelling: sums of products added to a tensor,
Kronecker's and the cross product, contractions, distances, and all pairs of a list."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy

from .. import arrays
from ..core.tensor import Tensor, wrap
from ..ops.elementwise import mul
from .common import axis_of, numpy_names
from .joining import stack
from .names import one_op
from .products import added, bmm, dot, matmul, mv, outer
from .reductions import norm
from .reductions import sum as sum_of
from .shapes import meshgrid, permute, reshape, unsqueeze

ger = outer


@one_op
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """`dot`, for numbers are real."""
    return dot(input, other)


# ---------------------------------------------------------------- beta input + alpha product


def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta input + alpha batch1 @ batch2, for each of a batch."""
    return added("baddbmm", input, bmm(batch1, batch2), beta, alpha)


def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta input + alpha times the sum of batch1 @ batch2 over the batch."""
    return added("addbmm", input, sum_of(bmm(batch1, batch2), 0), beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha mat @ vec."""
    return added("addmv", input, mv(mat, vec), beta, alpha)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta input + alpha times the outer product of two vectors."""
    return added("addr", input, outer(vec1, vec2), beta, alpha)


# ---------------------------------------------------------------- products of all axes


def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sums of products along the last dims: (..., n), (*, n) -> (..., *)."""
    if not input.ndim or not other.ndim:
        return mul(input, other)
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            f"[inner] the last dims must be equal, got {tuple(input.shape)} and "
            f"{tuple(other.shape)}"
        )
    return tensordot(input, other, ([-1], [-1]))


def tensordot(a: Tensor, b: Tensor, dims: int | Sequence = 2) -> Tensor:
    """Sums of products over the last `dims` dims of a and the first of b; or over pairs of dims,
    given as two lists."""
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise RuntimeError(
                f"[tensordot] dims must be in 0 ... {min(a.ndim, b.ndim)}, got {dims}"
            )
        dims = ([*range(a.ndim - dims, a.ndim)], [*range(dims)])
    left, right = (
        [axis_of(x, d, "tensordot") for d in ([given] if isinstance(given, int) else given)]
        for x, given in zip((a, b), dims, strict=True)
    )
    sizes = [a.shape[i] for i in left], [b.shape[i] for i in right]
    if sizes[0] != sizes[1]:
        raise RuntimeError(f"[tensordot] dims must have equal sizes, got {sizes[0]}, {sizes[1]}")
    kept = [i for i in range(a.ndim) if i not in left], [i for i in range(b.ndim) if i not in right]
    n = int(numpy.prod(sizes[0], dtype=int))
    rows = reshape(permute(a, [*kept[0], *left]), -1, n)
    columns = reshape(permute(b, [*right, *kept[1]]), n, -1)
    shape = [*(a.shape[i] for i in kept[0]), *(b.shape[i] for i in kept[1])]
    return reshape(matmul(rows, columns), shape)


def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker's product: other times each element of input, in blocks."""
    n = max(input.ndim, other.ndim)
    a, b = ((1,) * (n - x.ndim) + tuple(x.shape) for x in (input, other))
    left = reshape(input, [k for size in a for k in (size, 1)])
    right = reshape(other, [k for size in b for k in (1, size)])
    return reshape(mul(left, right), [i * j for i, j in zip(a, b)])


def chain_matmul(*matrices: Any) -> Tensor:
    """The product of several matrices."""
    if len(matrices) == 1 and isinstance(matrices[0], (list, tuple)):
        matrices = tuple(matrices[0])
    out = matrices[0]
    for matrix in matrices[1:]:
        out = matmul(out, matrix)
    return out


@numpy_names
@one_op
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The vector product along a dim of size 3 (the first one, if none is given)."""
    if input.ndim != other.ndim:
        raise RuntimeError(
            f"[cross] both must have as many dims, got {tuple(input.shape)} and "
            f"{tuple(other.shape)}"
        )
    if dim is None:
        shape = numpy.broadcast_shapes(input.shape, other.shape)
        if 3 not in shape:
            raise RuntimeError(f"[cross] one dim must have size 3, got shape {tuple(shape)}")
        dim = shape.index(3)
    axis = axis_of(input, dim, "cross")
    if input.shape[axis] != 3 or other.shape[axis] != 3:
        raise RuntimeError(
            f"[cross] dim {dim} must have size 3, got {tuple(input.shape)} and {tuple(other.shape)}"
        )
    a, b = input.unbind(axis), other.unbind(axis)
    parts = [a[i - 2] * b[i - 1] - a[i - 1] * b[i - 2] for i in range(3)]
    return stack(parts, axis)


@one_op
def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """p-norms of the differences of all pairs of rows: (..., P, M), (..., R, M) -> (..., P, R).
    compute_mode is PyTorch's choice between two ways to the same."""
    for x in (x1, x2):
        if not x.is_floating_point() or x.ndim < 2:
            raise RuntimeError(
                f"[cdist] needs floating-point tensors of at least 2 dims, got {x.dtype} of shape "
                f"{tuple(x.shape)}"
            )
    if x1.shape[-1] != x2.shape[-1] or p < 0:
        raise RuntimeError(
            f"[cdist] rows must be of one size and p not negative, got {tuple(x1.shape)}, "
            f"{tuple(x2.shape)} and {p}"
        )
    return norm(unsqueeze(x1, -2) - unsqueeze(x2, -3), p, -1)


# ---------------------------------------------------------------- all choices


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All choices of one element from each vector, a row each."""
    if wrong := [tuple(x.shape) for x in tensors if x.ndim != 1]:
        raise RuntimeError(f"[cartesian_prod] needs vectors, got shape {wrong[0]}; use flatten()")
    if len(tensors) == 1:
        return tensors[0]
    return stack([x.reshape(-1) for x in meshgrid(*tensors, indexing="ij")], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector, a row each, in the order of `itertools`."""
    if input.ndim != 1 or r < 0:
        raise RuntimeError(
            f"[combinations] needs a vector and r of at least 0, got {tuple(input.shape)} and {r}"
        )
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    chosen = numpy.array(list(choose(range(len(input)), r)), "int64").reshape(-1, r)
    return input[wrap(arrays.to_device(chosen, input.device))] if r else input.new_empty(0)


def vander(x: Tensor, N: int | None = None, *, increasing: bool = False) -> Tensor:
    """Powers of a vector (n,) -> (n, N), the highest first unless increasing."""
    if x.ndim != 1:
        raise RuntimeError(f"[vander] needs a vector, got shape {tuple(x.shape)}")
    columns = [x**k for k in range(len(x) if N is None else N)]
    if not columns:
        return x.new_empty(len(x), 0)
    return stack(columns if increasing else columns[::-1], 1)
