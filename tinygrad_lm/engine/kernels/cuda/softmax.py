"""Softmax, its logarithm and cross-entropy over rows. Of a row of logits one number is kept, the
logarithm of its sum of exponentials; the gradient is made from the logits in the backward pass, in
their own memory where nobody else will look at it, and the mean never waits for the host."""

from sys import getrefcount

import cupy

from ...arrays import kernel
from ...core.graph import spent
from ...core.recording import mode
from ...ops import fused
from .source import FLOATS, Source, blocks, c_name, like, packed, takes

LONG = 256  # threads that share a row of more than 1,024 values
SOURCE = Source("softmax", T=FLOATS, ROW=(32, LONG))


def _launch(function, x, rows, width, arguments):
    """A warp to a row of up to 1,024 values, a block to a longer one."""
    threads = 32 if width <= 1024 else LONG
    block = max(threads, 256)
    way = SOURCE.kernel(function, T=c_name(x), ROW=threads)
    way((blocks(rows, block // threads),), (block,), arguments)


@kernel(fused.softmax, cupy.ndarray)
def softmax(x, *, axis=-1):
    """e^x over its sum along the last axis."""
    return _by_rows("softmax", x, axis)


@kernel(fused.log_softmax, cupy.ndarray)
def log_softmax(x, *, axis=-1):
    """x minus the logarithm of the sum of e^x along the last axis."""
    return _by_rows("log_softmax", x, axis)


def _by_rows(name, x, axis):
    if not (takes(x) and x.ndim and x.size and axis in (-1, x.ndim - 1)):
        return NotImplemented
    x, width = packed(x), x.shape[-1]
    y, rows = like(x), x.size // width
    _launch(name, x, rows, width, (x, y, rows, width))

    def pullback(g):
        dx = like(y)
        _launch(f"{name}_backward", y, rows, width, (y, packed(g), dx, rows, width))
        return dx

    return y, (pullback,)


@kernel(fused.cross_entropy, cupy.ndarray)
def cross_entropy(
    logits, weight=None, *, targets, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """logits (N, V) and targets (N,), without class weights and smoothing -> float32."""
    if weight is not None or label_smoothing or reduction not in ("mean", "sum", "none"):
        return NotImplemented
    if not takes(logits) or logits.ndim != 2 or targets.shape != logits.shape[:1]:
        return NotImplemented
    if not logits.size or targets.dtype.kind not in "iu":
        return NotImplemented
    logits, (rows, width) = packed(logits), logits.shape
    targets = cupy.ascontiguousarray(targets, "int64")
    out, logs = cupy.empty(rows, "float32"), cupy.empty(rows, "float32")
    _launch("losses", logits, rows, width, (logits, targets, out, logs, rows, width, ignore_index))
    none, share = reduction == "none", 0  # an address: none
    if not none:
        losses, out, share = out, cupy.empty((), "float32"), cupy.empty(1, "float32")
        total = SOURCE.kernel("loss_total", T=c_name(logits), ROW=32)
        mean = int(reduction == "mean")
        total((1,), (1024,), (losses, targets, out, share, rows, ignore_index, mean))

    def pullback(g):
        if not kept:
            spent(g)
        once = not mode.retaining and seen_here_alone(kept)
        x = kept.pop() if once else kept[0]
        dx, g = x if once else like(x), packed(g)
        rest = (share, dx, rows, width, ignore_index, int(none))
        _launch("loss_backward", x, rows, width, (x, targets, logs, g, *rest))
        return dx

    kept = [logits]  # under no name of the pullback's, which would count
    return out, (pullback, None)


def seen_here_alone(kept):
    """Whether nothing but this list, of one array, can reach the memory of it: no tensor, no view,
    nothing that another op keeps. As in `core/graph.py`, 2 are where it is held and the call; an
    array that is a view keeps the one it looks into, and has its pointer in common with it."""
    viewing = kept[0].base is not None
    return (
        getrefcount(kept[0]) == 2
        and (not viewing or getrefcount(kept[0].base) == 2)
        and getrefcount(kept[0].data) == 2 + viewing
        and getrefcount(kept[0].data.mem) == 2
    )
