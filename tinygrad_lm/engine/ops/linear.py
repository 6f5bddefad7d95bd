"""Products of matrices. Operands with leading axes are flattened to two dimensions wherever that is
the same thing: both NumPy and CuPy take a slow path for (B, T, C) @ (C, D)."""

from __future__ import annotations

import math

from ..arrays import in_float32, library, rounded, widened
from ..core.op import primitive


def _product(x, y):
    if x.dtype.itemsize > 2:
        return x @ y
    wide = widened if x.ndim == y.ndim == 2 else in_float32  # CuPy has no batches of bfloat16
    return rounded(wide(x) @ wide(y), x.dtype)


@primitive
def matmul(x, y):
    """x (..., n, k) @ y (..., k, m), leading axes broadcast."""
    # dx = g y^T, dy = x^T g
    if x.dtype != y.dtype:
        raise RuntimeError(
            f"[matmul] both dtypes must be equal, got {x.dtype} and {y.dtype}; cast?"
        )
    if x.ndim < 2 or y.ndim < 2:
        raise RuntimeError(
            f"[matmul] both must have at least two axes, got {tuple(x.shape)} @ {tuple(y.shape)}; "
            "add one of size 1?"
        )
    if x.shape[-1] != y.shape[-2]:
        raise RuntimeError(
            f"[matmul] inner sizes must agree, got {tuple(x.shape)} @ {tuple(y.shape)}; "
            "transpose one of them?"
        )
    if y.ndim == 2 and x.ndim > 2:
        n = math.prod(x.shape[:-1])
        rows = x.reshape(n, x.shape[-1])

        def dx(g):
            return _product(g.reshape(n, g.shape[-1]), y.T).reshape(x.shape)

        def dy(g):
            return _product(rows.T, g.reshape(n, g.shape[-1]))

        return _product(rows, y).reshape(*x.shape[:-1], y.shape[-1]), (dx, dy)
    return _product(x, y), (
        lambda g: _product(g, y.swapaxes(-1, -2)),
        lambda g: _product(x.swapaxes(-1, -2), g),
    )


@primitive(cast="wide")
def einsum(*xs, equation):
    """Einstein summation with explicit output, e.g. "bij,bjk->bik"."""
    # An operand's gradient is an einsum too, the operand swapped for the output: in the example
    # dx = einsum("bik,bjk->bij", g, y), dy = einsum("bik,bij->bjk", g, x).
    lib = library(xs[0])
    inputs, output = equation.split("->")
    terms = inputs.split(",")
    if len(terms) != len(xs):
        raise RuntimeError(f"[einsum] {equation!r} names {len(terms)} operands, got {len(xs)}")

    def pullback(i):
        others = [x for j, x in enumerate(xs) if j != i]
        letters = [t for j, t in enumerate(terms) if j != i]
        shape = xs[i].shape

        def dx(g):
            known = set(output).union(*letters)
            kept = "".join(c for c in terms[i] if c in known)
            found = lib.einsum(f"{','.join([output, *letters])}->{kept}", g, *others)
            sizes = dict(zip(kept, found.shape))
            found = found.reshape([sizes.get(c, 1) for c in terms[i]])
            # A letter that was summed away on its own, or has size 1 elsewhere, is stretched here;
            # one that has size 1 in this operand is summed by the walk.
            full = [n if m == 1 else m for m, n in zip(found.shape, shape)]
            return lib.broadcast_to(found, full)

        return dx

    for term in terms:
        if len(set(term)) != len(term):
            raise RuntimeError(f"[einsum] a letter must be used once per operand, got {term!r}")
    return lib.einsum(equation, *xs), tuple(pullback(i) for i in range(len(xs)))
