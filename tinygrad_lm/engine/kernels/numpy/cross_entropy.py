"""Cross-entropy in blocks of rows: no one-hot matrix, no row of log-probabilities is kept. The
gradient is made in the forward pass, where the exponentials are at hand."""

import numpy

from ...arrays import exist, kernel
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
    if not floating(logits) or not exist(ids, logits.shape[1]):
        return NotImplemented
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
    share = logits.dtype.type(1)
    if reduction == "mean":  # of no rows: 0 / 0
        share = (1 / counted.sum()).astype(logits.dtype)
    value = losses.sum() * share

    def pullback(g):
        # dlogits = g (softmax - one-hot) / N with N rows that count
        return slope * (g * numpy.minimum(share, 1))  # where no row counts, it is 0

    return value, (pullback, None)
