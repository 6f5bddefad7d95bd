"""Products of matrices. Operands with leading axes are flattened to two dimensions wherever that is
the same thing: both NumPy and CuPy take a slow path for (B, T, C) @ (C, D)."""

from __future__ import annotations

import math

from ..arrays import in_float32, library, rounded, summed, widened
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
    for term in terms:
        if len(set(term)) != len(term):
            raise RuntimeError(f"[einsum] a letter must be used once per operand, got {term!r}")

    def pullback(i):
        others = [x for j, x in enumerate(xs) if j != i]
        letters = [t for j, t in enumerate(terms) if j != i]
        shape = xs[i].shape

        def dx(g):
            known = set(output).union(*letters)
            kept = "".join(c for c in terms[i] if c in known)
            found = _contracted([output, *letters], [g, *others], kept)
            sizes = dict(zip(kept, found.shape))
            found = found.reshape([sizes.get(c, 1) for c in terms[i]])
            # A letter that was summed away on its own, or has size 1 elsewhere, is stretched here;
            # one that has size 1 in this operand is summed by the walk.
            full = [n if m == 1 else m for m, n in zip(found.shape, shape)]
            return lib.broadcast_to(found, full)

        return dx

    return _contracted(terms, xs, output), tuple(pullback(i) for i in range(len(xs)))


def _contracted(terms, xs, output):
    """The arrays multiplied pair by pair; a letter is summed as soon as no other has it."""
    term, x = terms[0], xs[0]
    for i in range(1, len(xs) + 1):
        needed = set(output).union(*terms[i:])
        alone = tuple(a for a, c in enumerate(term) if c not in needed)
        if alone:
            x, term = summed(x, alone), "".join(c for c in term if c in needed)
        if i < len(xs):
            needed = set(output).union(*terms[i + 1 :])
            term, x = _pair(term, x, terms[i], xs[i], needed)
    return library(x).transpose(x, [term.index(c) for c in output])


def _pair(left, x, right, y, needed):
    """(letters, array): the product of two arrays, summed over letters that are not needed, as one
    product of matrices per element of the letters that both have and the result keeps."""
    both = [c for c in left if c in right]
    batch = "".join(c for c in both if c in needed)
    inner = "".join(c for c in both if c not in needed)
    rows = "".join(c for c in left if c not in both)
    columns = "".join(c for c in right if c not in both)
    sizes = dict(zip(right, y.shape))
    sizes |= {c: n for c, n in zip(left, x.shape) if n != 1 or c not in sizes}
    a = _arranged(x, left, (batch, rows, inner), sizes)
    b = _arranged(y, right, (batch, inner, columns), sizes)
    out = _product(a, b).reshape([sizes[c] for c in batch + rows + columns])
    return batch + rows + columns, out


def _arranged(x, term, groups, sizes):
    """x with its letters in three groups, each one axis, stretched where it has size 1."""
    lib = library(x)
    x = lib.transpose(x, [term.index(c) for group in groups for c in group])
    x = lib.broadcast_to(x, [sizes[c] for group in groups for c in group])
    return x.reshape([math.prod(sizes[c] for c in group) for group in groups])
