"""Ops that move elements without changing them: reshape, reorder, join, repeat, cut off.
Those that can return a view of their input's memory do. `copy_to` moves them to another device."""

from __future__ import annotations

import itertools

from ..arrays import (
    LIBRARIES,
    address,
    device_of,
    in_eights,
    joined,
    library,
    rounded,
    row_major,
    summed,
    to_device,
)
from ..core.op import primitive


@primitive(view=True)
def reshape(x, *, shape):
    """A view where strides allow it, else a copy."""
    before = x.shape
    return x.reshape(shape), (lambda g: g.reshape(before),)


@primitive(view=True)
def view(x, *, shape):
    """A view, or an error where strides do not allow it."""
    before = x.shape
    return _viewed(x, shape), (lambda g: g.reshape(before),)


def _viewed(x, shape):
    if type(x) not in LIBRARIES:
        return view(x, shape=shape)
    return x.reshape(shape) if x.flags.c_contiguous else _strided_view(x, shape)


def _strided_view(x, shape):
    """Give x a new shape by setting it on an alias, which refuses where a copy would be needed."""
    out = x[...]
    try:
        reshaped = out.reshape(shape)
        if address(reshaped) == address(x) or not x.size:  # a copy has memory of its own
            return reshaped
    except ValueError:
        pass
    raise RuntimeError(
        f"[view] a view must be possible without copying, got shape {tuple(x.shape)} with strides "
        f"that do not allow {tuple(shape)}; use reshape(...) or contiguous().view(...)"
    )


@primitive(view=True)
def transpose(x, *, axes):
    """Axes in a new order."""
    back = [0] * len(axes)
    for i, a in enumerate(axes):
        back[a] = i
    lib = library(x)
    return lib.transpose(x, axes), (lambda g: lib.transpose(g, back),)


@primitive(view=True)
def swapaxes(x, *, first, second):
    return x.swapaxes(first, second), (lambda g: g.swapaxes(first, second),)


@primitive(view=True)
def broadcast_to(x, *, shape):
    """Axes of size 1, and new ones in front, stretched; the walk sums them back."""
    return library(x).broadcast_to(x, shape), (lambda g: g,)


@primitive
def contiguous(x):
    """A copy in row-major order."""
    return library(x).copy(x, order="C"), (lambda g: g,)


@primitive
def concatenate(*xs, axis):
    ends = list(itertools.accumulate(x.shape[axis] for x in xs))
    lead = (slice(None),) * (axis % xs[0].ndim)

    def piece(end, size):
        return lambda g: g[(*lead, slice(end - size, end))]

    pullbacks = [piece(end, x.shape[axis]) for end, x in zip(ends, xs, strict=True)]
    return row_major(joined(xs, axis)), tuple(pullbacks)


@primitive
def stack(*xs, axis):
    lead = (slice(None),) * (axis % (xs[0].ndim + 1))
    return stacked(xs, axis), lambda g: [g[(*lead, i, ...)] for i in range(len(xs))]


def stacked(xs, axis):
    """Joined along a new axis."""
    lib = library(xs[0])
    if in_eights(xs):
        return joined([lib.expand_dims(x, axis) for x in xs], axis)
    if xs[0].ndim or type(xs[0]) not in LIBRARIES:
        return row_major(lib.stack(xs, axis))
    return lib.array(xs, xs[0].dtype)  # eight times as fast


@primitive
def flip(x, *, axis):
    lib = library(x)
    return lib.copy(lib.flip(x, axis), order="C"), (lambda g: lib.flip(g, axis),)


@primitive
def roll(x, *, shift, axis):
    lib = library(x)
    back = -shift if isinstance(shift, int) else tuple(-s for s in shift)
    return row_major(lib.roll(x, shift, axis)), (lambda g: lib.roll(g, back, axis),)


@primitive
def tile(x, *, counts):
    """The whole tensor repeated along each axis (PyTorch's `repeat`)."""
    if len(counts) < x.ndim:
        raise RuntimeError(f"[tile] needs one count per axis of {tuple(x.shape)}, got {counts}")
    shape = (1,) * (len(counts) - x.ndim) + tuple(x.shape)
    apart = [n for pair in zip(counts, shape, strict=True) for n in pair]

    def dx(g):
        return summed(g.reshape(apart), tuple(range(0, len(apart), 2))).reshape(shape)

    return library(x).tile(x, counts), (dx,)


@primitive
def repeat(x, *, count, axis):
    """Each element repeated in place along an axis (PyTorch's `repeat_interleave`)."""
    axis = axis + x.ndim if axis < 0 else axis
    apart = [*x.shape[: axis + 1], count, *x.shape[axis + 1 :]]
    return library(x).repeat(x, count, axis), (lambda g: summed(g.reshape(apart), axis + 1),)


@primitive
def pad(x, *, widths, value=0.0):
    """widths: one (before, after) per axis; negative ones cut off."""
    # dx = g with the same widths, negated
    if len(widths) != x.ndim:
        raise RuntimeError(f"[pad] needs one pair per axis of {tuple(x.shape)}, got {widths}")
    if any(n + a + b < 0 for n, (a, b) in zip(x.shape, widths)):
        raise RuntimeError(f"[pad] must not cut off more than {tuple(x.shape)} has, got {widths}")
    back = [(-a, -b) for a, b in widths]
    return padded(x, widths, value), (lambda g: padded(g, back),)


def padded(x, widths, value=0.0):
    """An array with borders added or cut off; of a Tensor the recorded op."""
    if type(x) not in LIBRARIES:
        return pad(x, widths=widths, value=value)
    grown = [(max(a, 0), max(b, 0)) for a, b in widths]
    out = library(x).pad(x, grown, constant_values=value)
    cut = [slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(out.shape, widths, strict=True)]
    return out[tuple(cut)].copy()


@primitive
def tril(x, *, diagonal=0):
    """The lower triangle, zeros elsewhere."""
    lib = library(x)
    return row_major(rounded(lib.tril(x, diagonal), x.dtype)), (lambda g: lib.tril(g, diagonal),)


@primitive
def triu(x, *, diagonal=0):
    """The upper triangle, zeros elsewhere."""
    lib = library(x)
    return row_major(rounded(lib.triu(x, diagonal), x.dtype)), (lambda g: lib.triu(g, diagonal),)


@primitive(view=True)
def diagonal(x, *, offset=0, axis1=0, axis2=1):
    """The diagonal of two axes as the last axis; unlike NumPy's it can be written."""
    shape, where = x.shape, (offset, axis1, axis2)
    return _diagonal(x, where), (lambda g: _on_diagonal(g, shape, where),)


@primitive
def on_diagonal(g, *, shape, where):
    """Zeros of a shape with g on the diagonal: the mirror of diagonal."""
    return _on_diagonal(g, shape, where), (lambda h: _diagonal(h, where),)


def _on_diagonal(g, shape, where):
    if type(g) not in LIBRARIES:
        return on_diagonal(g, shape=shape, where=where)
    whole = library(g).zeros(shape, g.dtype)
    _diagonal(whole, where)[...] = g
    return whole


def _diagonal(x, where):
    offset, axis1, axis2 = where
    if type(x) not in LIBRARIES:
        return diagonal(x, offset=offset, axis1=axis1, axis2=axis2)
    # not by as_strided: CuPy's forgets whose memory it looks at
    out = library(x).diagonal(x, offset, axis1, axis2)
    if hasattr(out.flags, "writeable"):
        out.flags.writeable = x.flags.writeable
    return out


@primitive
def copy_to(x, *, device):
    """The same values on another device; the gradient comes back to x's."""
    home = device_of(getattr(x, "array", x))
    return _moved(x, device), (lambda g: _moved(g, home),)


def _moved(x, device):
    return to_device(x, device) if type(x) in LIBRARIES else copy_to(x, device=device)
