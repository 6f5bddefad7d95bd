"""Products of matrices and linear layers by cublasLt. Where it is missing, or has no way to a
product, CuPy's own is left to do it."""

import math

import cupy

from ...arrays import joint, kernel
from ...ops import fused
from ...ops import linear as ops
from .cublaslt import REAL, product


def multiplied(x, y):
    """x @ y, one way or the other."""
    found = product(x, y)
    return ops.matmul.function(x, y)[0] if found is None else found


def usable(*given):
    """Whether these are arrays of one float type with something in them."""
    char = given[0].dtype.char
    return char in REAL and all(
        isinstance(z, cupy.ndarray) and z.dtype.char == char and z.size for z in given
    )


@kernel(ops.matmul, cupy.ndarray)
def matmul(x, y):
    """x (..., n, k) @ y (..., k, m), leading axes broadcast."""
    if not usable(x, y) or x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-2]:
        return NotImplemented
    if y.ndim == 2 and x.ndim > 2:
        return flattened(x, y)
    out = product(x, y)
    if out is None:
        return NotImplemented
    # dx = g y^T, dy = x^T g
    return out, (
        lambda g: multiplied(g, y.swapaxes(-1, -2)),
        lambda g: multiplied(x.swapaxes(-1, -2), g),
    )


def flattened(x, y):
    """The same for x (..., k) @ y (k, m): one product of matrices."""
    shape, rows = x.shape, x.reshape(-1, len(y))
    out = product(rows, y)
    if out is None:
        return NotImplemented
    outputs = out.shape
    return out.reshape(*shape[:-1], -1), (
        lambda g: multiplied(g.reshape(outputs), y.T).reshape(shape),
        lambda g: multiplied(rows.T, g.reshape(outputs)),
    )


@kernel(fused.linear, cupy.ndarray)
def linear(x, weight, bias=None):
    """x (..., C) @ weight (O, C).T + bias (O,)."""
    given = (x, weight) if bias is None else (x, weight, bias)
    if not usable(*given) or weight.ndim != 2 or x.shape[-1:] != weight.shape[1:]:
        return NotImplemented
    if bias is not None and bias.shape != weight.shape[:1]:
        return NotImplemented
    shape, rows = x.shape, x.reshape(-1, x.shape[-1])
    out = added(rows, weight.T, bias)
    if out is None:
        return NotImplemented
    outputs = out.shape

    def make(wanted):
        kept_rows = rows if wanted[1] else None
        kept_weight = weight if wanted[0] else None

        def pullback(g):
            # dx = g weight, dweight = g^T x, dbias = sum(g). The walk sums g up: cublasLt's product
            # that does it on its way takes longer and is less exact.
            dx = dweight = None
            if kept_weight is not None:
                dx = multiplied(g.reshape(outputs), kept_weight).reshape(shape)
            if kept_rows is not None:
                dweight = multiplied(g.reshape(outputs).T, kept_rows)
            return dx, dweight, g

        return pullback

    return out.reshape(*shape[:-1], len(weight)), joint(make)


def added(rows, y, bias):
    """rows @ y + bias in one product, or in two steps where there is no such; None: in no way."""
    if bias is not None:
        out = product(rows, y, cupy.ascontiguousarray(bias), "bias")
        if out is not None:
            return out
    out = product(rows, y)
    if bias is not None and out is not None:
        out += bias
    return out


@kernel(ops.einsum, cupy.ndarray)
def einsum(*xs, equation):
    """Of two operands, where it is a product of matrices with its axes in another order."""
    inputs, output = equation.split("->")
    terms = inputs.split(",")
    if len(xs) != 2 or len(terms) != 2 or not usable(*xs):
        return NotImplemented
    (x, y), (left, right) = xs, terms
    out = contracted(x, left, y, right, output)
    if out is None:
        return NotImplemented
    # dx = einsum("out,y->x"), dy = einsum("out,x->y")
    return out, (
        lambda g: contracted(g, output, y, right, left),
        lambda g: contracted(g, output, x, left, right),
    )


def contracted(x, left, y, right, output):
    """einsum("left,right->output") by one product; None where a letter is only summed up, appears
    twice in a term, or sizes differ."""
    sizes = {**dict(zip(left, x.shape)), **dict(zip(right, y.shape))}
    both = [c for c in left if c in right]
    batch, inner = ([c for c in both if (c in output) is kept] for kept in (True, False))
    rows, columns = ([c for c in t if c not in both] for t in (left, right))
    if sorted(output) != sorted(batch + rows + columns) or any(
        len(set(t)) != len(t) or tuple(sizes[c] for c in t) != z.shape
        for t, z in ((left, x), (right, y))
    ):
        return None

    def matrices(z, letters, first, second):
        z = z.transpose([letters.index(c) for c in (*batch, *first, *second)])
        shape = [math.prod(sizes[c] for c in some) for some in (first, second)]
        return z.reshape(*(sizes[c] for c in batch), *shape)

    out = multiplied(matrices(x, left, rows, inner), matrices(y, right, inner, columns))
    found = [*batch, *rows, *columns]
    out = out.reshape([sizes[c] for c in found])
    return out.transpose([found.index(c) for c in output])
