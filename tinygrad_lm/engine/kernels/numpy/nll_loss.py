"""The negative log-likelihood of given log-probabilities: one number is read per row, and one
written into a gradient of zeros."""

import numpy

from ...arrays import kernel
from ...ops import fused
from .blocks import floating


@kernel(fused.nll_loss, numpy.ndarray)
def nll_loss(logp, weight=None, *, targets, ignore_index=-100, reduction="mean"):
    """logp (N, V) and targets (N,), without class weights."""
    if weight is not None or reduction not in ("mean", "sum", "none"):
        return NotImplemented
    if logp.ndim != 2 or targets.shape != logp.shape[:1] or not (logp.size and floating(logp)):
        return NotImplemented
    rows, ids = numpy.arange(len(targets)), targets
    ignored = targets == ignore_index
    if ignored.any():
        rows = numpy.flatnonzero(~ignored)
        ids = targets[rows]
    if len(ids) and (ids.min() < 0 or ids.max() >= logp.shape[1]):
        return NotImplemented  # the composition says which target is no class
    losses = -logp[rows, ids]
    if reduction == "none":
        value = numpy.zeros(len(logp), logp.dtype)
        value[rows] = losses
    else:
        value = losses.sum()
    count = logp.dtype.type(len(rows) if reduction == "mean" else 1)
    value = value / count  # of no row: 0 / 0

    def pullback(g):
        # dlogp = -g share / sum(shares) at each target, 0 elsewhere
        dlogp = numpy.zeros(logp.shape, logp.dtype)
        dlogp[rows, ids] = -(g[rows] if reduction == "none" else g) / count
        return dlogp

    return value, (pullback, None)
