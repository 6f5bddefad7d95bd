"""The negative log-likelihood of given log-probabilities: one number is read per row, and one
written into a gradient of zeros."""

import numpy

from ...arrays import exist, kernel
from ...ops import fused
from .blocks import floating


@kernel(fused.nll_loss, numpy.ndarray)
def nll_loss(logp, weight=None, *, targets, ignore_index=-100, reduction="mean"):
    """logp (N, V) and targets (N,), without class weights."""
    if weight is not None or reduction not in ("mean", "sum", "none"):
        return NotImplemented
    if logp.ndim != 2 or targets.shape != logp.shape[:1] or not (logp.size and floating(logp)):
        return NotImplemented
    counted = targets != ignore_index
    rows, ids = numpy.arange(len(targets)), targets * counted
    if not exist(ids, logp.shape[1]):
        return NotImplemented  # the composition says which target is no class
    value = numpy.where(counted, -logp[rows, ids], logp.dtype.type(0))
    count = counted.sum().astype(logp.dtype) if reduction == "mean" else logp.dtype.type(1)
    if reduction != "none":
        value = value.sum() / count  # of no row: 0 / 0

    def pullback(g):
        # dlogp = -g share / sum(shares) at each target, 0 elsewhere
        dlogp = numpy.zeros(logp.shape, logp.dtype)
        dlogp[rows, ids] = numpy.where(counted, -g / count, logp.dtype.type(0))
        return dlogp

    return value, (pullback, None)
