"""Norms, softmax, cross-entropy, dropout, sums of rows and the gradient of a table, by the loops
of `rows.h`. Other dtypes than float32, and rarer forms, are left to the NumPy kernels.
"""

import math

import numpy

from ... import arrays
from ...arrays import get_num_threads, kernel
from ...ops import fused, index
from ...sparse import SparseGrad
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


@kernel(fused.batch_norm, numpy.ndarray)
def batch_norm(x, weight=None, bias=None, *, mean=None, var=None, eps=1e-5):
    """x (N, C) or (N, C, ...), by the batch's own statistics."""
    arrays = dense(x, weight, bias)
    if arrays is None or mean is not None or x.ndim < 2 or not x.size:
        return NotImplemented
    if any(p is not None and p.shape != x.shape[1:2] for p in (weight, bias)):
        return NotImplemented
    (x, weight, bias), (N, C), threads = arrays, x.shape[:2], get_num_threads()
    sizes, out = (N, C, x.size // (N * C), threads), numpy.empty(x.shape, x.dtype)
    mean, scale = numpy.empty(C, x.dtype), numpy.empty(C, x.dtype)
    fast.batch_norm(*sizes, x, weight, bias, mean, scale, out, None, None, eps)

    def pullback(g):
        # dx = scale weight (g - mean(g) - normal mean(g normal))
        (g,) = dense(g)
        dx, dweight, dbias = (numpy.empty(a.shape, a.dtype) for a in (x, mean, mean))
        fast.batch_norm(*sizes, x, weight, g, mean, scale, dx, dweight, dbias, eps)
        return dx, dweight, dbias

    return out, pullback


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


@kernel(index.add_rows, numpy.ndarray)
def add_rows(total, ids, g):
    """total[ids[i]] += g[i], row after row: total (R, ...), g (N, ...), ids (N,)."""
    if total.dtype.char != "f" or g.dtype.char != "f" or ids.dtype != numpy.int64 or not g.size:
        return NotImplemented
    rows, g, ids = len(total), numpy.ascontiguousarray(g), numpy.ascontiguousarray(ids)
    fast.add_rows(len(ids), total.size // rows, rows, get_num_threads(), g, ids, total)
    return None


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
    if weight is not None or label_smoothing or reduction not in ("mean", "sum"):
        return NotImplemented
    if logits.ndim != 2 or targets.shape != logits.shape[:1] or not logits.size:
        return NotImplemented
    arrays = dense(logits)
    if arrays is None or targets.dtype != numpy.int64 or not targets.flags.c_contiguous:
        return NotImplemented
    (x,), threads, (rows, n) = arrays, get_num_threads(), logits.shape
    ignored = int(ignore_index)
    shift, value = numpy.empty((rows, 2), x.dtype), numpy.empty((), x.dtype)
    count = numpy.empty((), numpy.float64)
    try:
        mean = reduction == "mean"
        fast.cross_entropy(rows, n, threads, x, targets, ignored, mean, shift, value, count)
    except IndexError:
        return NotImplemented  # the composition says which target is no class

    def pullback(g):
        # dlogits = g (softmax(logits) - one-hot) / count
        dx = numpy.empty(x.shape, x.dtype)
        fast.cross_entropy_slopes(rows, n, threads, x, targets, ignored, shift, g, count, dx)
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
    scale, threads = 1 / (1 - p) if p < 1 else 0.0, get_num_threads()

    def apply(x):
        out = numpy.empty(x.shape, x.dtype)
        fast.dropout(x.size, threads, x, keep, scale, out)
        return out

    return apply(arrays[0]), (lambda g: apply(dense(g)[0]),)


@kernel(fused.embedding, numpy.ndarray)
def embedding(weight, *, ids):
    """weight (V, C) at integer ids of any shape, which below 0 count from the end. The gradient is
    added row by row, in order, to what has already arrived for the table."""
    if weight.ndim != 2 or weight.dtype.char != "f" or ids.dtype != numpy.int64:
        return NotImplemented
    if not ids.size or not weight.size:
        return NotImplemented
    (rows, n), flat = weight.shape, numpy.ascontiguousarray(ids.reshape(-1))
    try:
        out = weight.take(flat, axis=0)
    except IndexError:
        return NotImplemented  # the composition says what is wrong
    like, threads = numpy.empty(0, weight.dtype), get_num_threads()

    def dweight(g):
        # dweight[v] = the sum of g where ids is v
        (g,) = dense(g)

        def add_to(total):
            if total.flags.c_contiguous:
                fast.add_rows(len(flat), n, rows, threads, g, flat, total)
            else:
                numpy.add.at(total, flat, g.reshape(-1, n))

        return SparseGrad(like, (rows, n), add_to)

    return out.reshape(*ids.shape, n), (dweight,)
