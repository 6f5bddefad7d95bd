"""Cross-entropy in blocks of rows: no one-hot matrix, no row of log-probabilities is kept. Of
float32 and float64 the gradient is made in the forward pass, where the exponentials are at hand. Of
16 bits it is made in the backward pass: each is rounded once, and at no time are all in float32."""

import numpy

from ...arrays import exist, kernel
from ...arrays.libraries import is_half
from ...core.recording import mode
from ...ops import fused
from .blocks import floating, in_blocks
from .softmax import row_sums, shifted


@kernel(fused.cross_entropy, numpy.ndarray)
def cross_entropy(
    logits, weight=None, *, targets, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """logits (N, V) and targets (N,), a mean or sum, without class weights and smoothing."""
    if weight is not None or label_smoothing or reduction not in ("mean", "sum"):
        return NotImplemented
    if logits.ndim != 2 or targets.shape != logits.shape[:1] or not logits.size:
        return NotImplemented
    counted = targets != ignore_index
    ids = targets * counted
    if not (floating(logits) or is_half(logits.dtype)) or not exist(ids, logits.shape[1]):
        return NotImplemented
    losses, slopes = (of_halves if is_half(logits.dtype) else of_floats)(logits, ids, counted)
    share = losses.dtype.type(1)
    if reduction == "mean":  # of no rows: 0 / 0
        share = (1 / counted.sum()).astype(losses.dtype)

    def pullback(g):
        # dlogits = g (softmax - one-hot) / N with N rows that count
        return slopes(g * numpy.minimum(share, 1))  # where no row counts, it is 0

    return losses.sum() * share, (pullback, None)


def of_floats(logits, ids, counted):
    """The losses (N,), and a function: number -> (softmax - one-hot) times it."""
    losses = numpy.empty(len(ids), logits.dtype)
    slope = numpy.empty_like(logits, order="C") if mode.recording else logits

    def forward(logits, ids, counted, losses, slope):
        exponents = shifted(logits, slope if slope_wanted else numpy.empty_like(logits))
        at = numpy.arange(len(ids)), ids
        chosen = exponents[at]
        numpy.exp(exponents, out=exponents)
        sums = row_sums(exponents)
        numpy.subtract(numpy.log(sums[:, 0]), chosen, out=losses)
        losses[~counted] = 0
        if slope_wanted:  # softmax minus one-hot, 0 where the row does not count
            exponents *= counted[:, None] / sums
            exponents[at] -= counted

    slope_wanted = mode.recording
    in_blocks(forward, logits, ids, counted, losses, slope)
    return losses, lambda scale: slope * scale


def of_halves(logits, ids, counted):
    """The same in float32, of 16-bit logits. Kept are those, and a logarithm for each row."""
    losses, logs = numpy.empty(len(ids), "float32"), numpy.empty((len(ids), 1), "float32")

    def forward(logits, ids, counted, losses, logs):
        x = logits.astype("float32")
        top, chosen = x.max(axis=1, keepdims=True), x[numpy.arange(len(ids)), ids]
        x -= top
        logs[...] = top + numpy.log(row_sums(numpy.exp(x, out=x)))
        numpy.subtract(logs[:, 0], chosen, out=losses)
        losses[~counted] = 0

    def slopes(scale):
        def backward(logits, ids, counted, logs, dx):
            x = logits.astype("float32")
            x -= logs
            numpy.exp(x, out=x)
            x[numpy.arange(len(ids)), ids] -= 1
            x *= scale
            x[~counted] = 0  # also what is inf or NaN
            dx[...] = x

        dx = numpy.empty_like(logits, order="C")
        in_blocks(backward, logits, ids, counted, logs, dx)
        return dx

    in_blocks(forward, logits, ids, counted, losses, logs)
    return losses, slopes
