"""Norms, extremes, softmax, cross-entropy, masks and sums of rows, by the loops of `rows.h`. Other
dtypes than float32, and rarer forms, are left to the NumPy kernels."""

import math

import numpy

from ... import arrays
from ...arrays import get_num_threads, kernel
from ...ops import elementwise, fused, reduce
from ..numpy.extremes import extreme
from . import fast


def dense(*arrays):
    """The arrays without gaps in memory, or None where one is not float32."""
    found = []
    for x in arrays:
        if x is not None:
            if x.dtype.char != "f":
                return None
            if not x.flags.c_contiguous:
                x = numpy.ascontiguousarray(x)
        found.append(x)
    return found


@kernel(fused.layer_norm, numpy.ndarray)
def layer_norm(x, weight=None, bias=None, *, axes=1, eps=1e-5):
    """x (..., C), weight and bias (C,), where C stands for the last `axes` axes."""
    return _norm(x, weight, bias, axes, eps, centred=True)


@kernel(fused.rms_norm, numpy.ndarray)
def rms_norm(x, weight=None, *, axes=1, eps=1e-6):
    """x (..., C) and weight (C,), where C stands for the last `axes` axes."""
    found = _norm(x, weight, None, axes, eps, centred=False)
    if found is NotImplemented:
        return found
    out, pullback = found
    return out, lambda g: pullback(g)[:2]


def _norm(x, weight, bias, axes, eps, centred):
    arrays = dense(x, weight, bias)
    if arrays is None or not x.size or not 0 < axes <= x.ndim:
        return NotImplemented
    if any(p is not None and p.shape != x.shape[-axes:] for p in (weight, bias)):
        return NotImplemented
    x, weight, bias = arrays
    n = math.prod(x.shape[-axes:])
    rows, threads = x.size // n, get_num_threads()
    out, scale = numpy.empty(x.shape, x.dtype), numpy.empty(rows, x.dtype)
    mean = numpy.empty(rows, x.dtype) if centred else None
    fast.norm(rows, n, threads, x, weight, bias, out, mean, scale, eps)

    def pullback(g):
        # dx = scale (h - mean(h) - normal mean(h normal)) with h = weight g; RMS: without mean(h)
        (g,) = dense(g)
        dx = numpy.empty(x.shape, x.dtype)
        dweight, dbias = (
            None if p is None else numpy.empty(p.shape, p.dtype) for p in (weight, bias)
        )
        fast.norm_slopes(rows, n, threads, x, g, weight, mean, scale, dx, dweight, dbias)
        return dx, dweight, dbias

    return out, pullback


@kernel(reduce.amax, numpy.ndarray)
def amax(x, *, axis=None, keepdims=False):
    return _extreme(x, axis, keepdims, False)


@kernel(reduce.amin, numpy.ndarray)
def amin(x, *, axis=None, keepdims=False):
    return _extreme(x, axis, keepdims, True)


def _extreme(x, axis, keepdims, least):
    """Found here; the way back is NumPy's."""

    def tops(rows, last):
        out, threads = numpy.empty(len(rows), rows.dtype), get_num_threads()
        fast.tops(*rows.shape, threads, rows, out, least)
        if not last:
            fast.tops(1, len(rows), 1, out, out[:1], least)
        return out if last else out[0]

    return extreme(tops, x, axis, keepdims) if x.dtype.char == "f" else NotImplemented


@kernel(fused.softmax, numpy.ndarray)
def softmax(x, *, axis=-1):
    """e^x over its sum along the last axis."""
    # dx = y (g - sum(g y)) with y the result
    return _softmax(x, axis, log=False)


@kernel(fused.log_softmax, numpy.ndarray)
def log_softmax(x, *, axis=-1):
    """x minus the logarithm of the sum of e^x along the last axis."""
    # dx = g - e^y sum(g) with y the result
    return _softmax(x, axis, log=True)


def _softmax(x, axis, log):
    arrays = dense(x)
    if arrays is None or not x.ndim or not x.size or axis not in (-1, x.ndim - 1):
        return NotImplemented
    (x,), n, threads = arrays, x.shape[-1], get_num_threads()
    out = numpy.empty(x.shape, x.dtype)
    fast.softmax(x.size // n, n, threads, x, out, None, log)

    def pullback(g):
        (g,) = dense(g)
        dx = numpy.empty(out.shape, out.dtype)
        fast.softmax(out.size // n, n, threads, out, dx, g, log)
        return dx

    return out, (pullback,)


CACHED = 1 << 23  # numbers: more than the caches hold are summed as fast by NumPy
WIDE = 128  # columns from which on the loop is fast; narrower rows are put side by side


@kernel(arrays.sum_rows, numpy.ndarray)
def sum_rows(g, lead):
    """The sum of g over its first `lead` axes. One column is left to NumPy, which sums it in
    pairs."""
    shape = g.shape[lead:]
    if g.dtype.char != "f" or not g.flags.c_contiguous or not 0 < g.size <= CACHED:
        return NotImplemented
    columns = math.prod(shape)
    rows = g.size // columns
    if columns == 1:
        return NotImplemented
    side = max(1, min(WIDE // columns, rows // WIDE))
    if rows % side:
        return NotImplemented
    out = numpy.empty(shape if side == 1 else (side, *shape), g.dtype)
    fast.sum_rows(rows // side, out.size, get_num_threads(), g, out)
    return out if side == 1 else out.sum(axis=0)


@kernel(arrays.sum_runs, numpy.ndarray)
def sum_runs(x):
    """x (1, R, B) -> (1, B)."""
    return NotImplemented if len(x) > 1 else sum_rows(x, 2)


@kernel(fused.cross_entropy, numpy.ndarray)
def cross_entropy(
    logits, weight=None, *, targets, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """logits (N, V) and targets (N,), a mean or sum, without class weights and smoothing. Kept are
    the logits and two numbers per row; no row of probabilities is."""
    # dlogits = g (softmax(logits) - one-hot) / count
    if label_smoothing:
        return NotImplemented
    return _of_targets(logits, weight, targets, ignore_index, reduction, log=False)


@kernel(fused.nll_loss, numpy.ndarray)
def nll_loss(logp, weight=None, *, targets, ignore_index=-100, reduction="mean"):
    """logp (N, V) and targets (N,), a mean or sum, without class weights."""
    # dlogp = -g one-hot / count
    return _of_targets(logp, weight, targets, ignore_index, reduction, log=True)


def _of_targets(x, weight, targets, ignore_index, reduction, log):
    """x are log-probabilities if `log`, else logits."""
    if weight is not None or reduction not in ("mean", "sum"):
        return NotImplemented
    if x.ndim != 2 or targets.shape != x.shape[:1] or not x.size:
        return NotImplemented
    arrays = dense(x)
    if arrays is None or targets.dtype != numpy.int64 or not targets.flags.c_contiguous:
        return NotImplemented
    (x,), given = arrays, (*x.shape, get_num_threads(), arrays[0], targets, int(ignore_index))
    shift = None if log else numpy.empty((len(x), 2), x.dtype)
    value, count = numpy.empty((), x.dtype), numpy.empty((), numpy.float64)
    try:
        fast.cross_entropy(*given, reduction == "mean", shift, value, count)
    except IndexError:
        return NotImplemented  # the composition says which target is no class

    def pullback(g):
        dx = numpy.zeros(x.shape, x.dtype) if log else numpy.empty(x.shape, x.dtype)
        fast.cross_entropy_slopes(*given, shift, g, count, dx)
        return dx

    return value, (pullback, None)


@kernel(fused.dropout, numpy.ndarray)
def dropout(x, *, keep, p):
    """x / (1 - p) where keep holds, 0 elsewhere; kept is the mask, one byte per element."""
    arrays = dense(x)
    if arrays is None or keep.shape != x.shape or keep.dtype != bool:
        return NotImplemented
    if not keep.flags.c_contiguous:
        return NotImplemented
    scale = 1 / (1 - p) if p < 1 else 0.0
    return masked(*arrays, keep, scale, False), (lambda g: masked(*dense(g), keep, scale, False),)


@kernel(elementwise.masked_fill, numpy.ndarray)
def masked_fill(x, *, mask, value):
    """x with one number where the mask, of its shape, holds."""
    arrays = dense(x)
    if arrays is None or mask.shape != x.shape or mask.dtype != bool:
        return NotImplemented
    mask, value = numpy.ascontiguousarray(mask), float(value)
    return masked(*arrays, mask, value, True), (lambda g: masked(*dense(g), mask, 0.0, True),)


def masked(x, mask, number, fill):
    """number where the mask holds and x elsewhere, or x times number and x times 0."""
    out = numpy.empty(x.shape, x.dtype)
    fast.masked(x.size, get_num_threads(), fill, x, mask, number, out)
    return out
