"""Ops that are compositions of the others. The composition is the definition: it runs on every
array library, its gradient follows from its parts, and the tests compare the kernels with it. The
comment in each says what that gradient comes to; the kernels compute that.

Inputs by position are Tensors here, with the methods that `pytorch/methods.py` lists; those by
keyword are arrays and plain values.
"""

from __future__ import annotations

import math

from ..arrays import in_float32
from ..arrays.dtypes import narrow
from ..core.op import OPS, fused
from .elementwise import logit_loss

# Shapes: B batch, T time (S that of the keys), C channels (O of a layer's output), H heads, D head
# size (E of the values), V vocabulary, N rows of any kind. g is the gradient of the result, dx that
# of x; what a parameter gets is summed over all rows.


@fused
def linear(x, weight, bias=None):
    """x (..., C) @ weight (O, C).T + bias (O,)."""
    # dx = g weight, dweight = g^T x, dbias = sum(g)
    out = x @ weight.T
    return out if bias is None else out + bias


@fused
def embedding(weight, *, ids):
    """Rows of weight (V, C) at integer ids of any shape."""
    # dweight[v] = the sum of g where ids is v
    return weight[ids]


@fused
def gelu(x, *, approximate="none"):
    """x Phi(x) with the normal distribution function, or its tanh form (Hendrycks and Gimpel,
    2016, arXiv 1606.08415)."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"[gelu] approximate must be 'none' or 'tanh', got {approximate!r}")
    if approximate == "tanh":
        # dx = g (p + 2 x p (1 - p) u') with p = (1 + tanh u) / 2, u what tanh is taken of below
        return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)).tanh())
    # dx = g (Phi + x Phi') with the normal density Phi' = e^(-x^2 / 2) / sqrt(2 pi)
    return 0.5 * x * (1 + (x * math.sqrt(0.5)).erf())


@fused
def silu(x):
    """x sigmoid(x)."""
    # dx = g s (1 + x (1 - s)) with s = sigmoid(x)
    return x * x.sigmoid()


@fused
def softmax(x, *, axis=-1):
    """e^x over its sum along an axis; a row of -inf gives NaN, as in PyTorch."""
    # dx = y (g - sum(g y)) with y the result, the sum along the axis
    weights = (x - x.detach().amax(axis, keepdim=True)).exp()
    return weights / weights.sum(axis, keepdim=True)


@fused
def log_softmax(x, *, axis=-1):
    """x minus the logarithm of the sum of e^x along an axis."""
    # dx = g - e^y sum(g) with y the result, e^y the softmax
    shifted = x - x.detach().amax(axis, keepdim=True)
    return shifted - shifted.exp().sum(axis, keepdim=True).log()


@fused
def nll_loss(logp, weight=None, *, targets, ignore_index=-100, reduction="mean"):
    """Minus the log-probability logp (N, V) of each target (N,), weighted by weight (V,)."""
    # dlogp = -g share / sum(shares) at each target, 0 elsewhere; with "sum" it is -g share
    check_reduction("nll_loss", reduction)
    if targets.shape != logp.shape[:1]:
        raise RuntimeError(
            f"[nll_loss] there must be one target per row of {tuple(logp.shape)}, "
            f"got {tuple(targets.shape)}; flatten both?"
        )
    counted = targets != ignore_index
    ids = targets * counted  # an ignored target reads row 0 and is masked out
    losses = -logp.gather(1, ids.reshape(-1, 1)).reshape(-1)
    shares = counted.astype(logp.array.dtype) if weight is None else weight[ids] * counted
    # where, not *: what an ignored row holds, be it inf or NaN, must not reach the sum
    losses = (losses * shares).masked_fill(~counted, 0.0)
    if reduction == "none":
        return losses
    total = losses.sum()
    return total if reduction == "sum" else total / shares.sum()


@fused
def cross_entropy(
    logits, weight=None, *, targets, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """Cross-entropy of logits (N, V) and targets (N,), of 16-bit logits in float32; with label
    smoothing e the target is (1 - e) one-hot + e / V (Szegedy et al., 2015, arXiv 1512.00567)."""
    # dlogits = g (softmax(logits) - q) / N with q the target distribution and N targets that count;
    # class weights c make it g (softmax(logits) sum(c q) - c q), over the sum of targets' weights
    logits, weight = (x.float() if narrow([x]) else x for x in (logits, weight))
    logp = logits.log_softmax(-1)
    settings = {"targets": targets, "ignore_index": ignore_index, "reduction": reduction}
    loss = nll_loss(logp, weight, **settings)
    if not label_smoothing:
        return loss
    counted = targets != ignore_index
    each = logp if weight is None else logp * weight
    smooth = -each.sum(-1).masked_fill(~counted, 0.0)
    if reduction != "none":
        smooth = smooth.sum()
    if reduction == "mean":
        ids, shares = targets * counted, counted.sum().astype(logits.array.dtype)
        smooth = smooth / (shares if weight is None else (weight[ids] * counted).sum())
    return (1 - label_smoothing) * loss + (label_smoothing / logits.shape[-1]) * smooth


# Neither is rounded to 16 bits: rows are copied as they are, and a loss keeps float32's digits.
OPS["embedding"].wide = OPS["cross_entropy"].wide = False


@fused
def mse_loss(x, y, *, reduction="mean"):
    """(x - y)^2."""
    # dx = 2 g (x - y) = -dy; for the mean of n, over n
    check_reduction("mse_loss", reduction)
    return reduced((x - y).square(), reduction)


@fused
def binary_cross_entropy_with_logits(x, y, *, reduction="mean"):
    """The mean of `logit_loss`, or the sum, or each."""
    # dx = g (s(x) - y), dy = -g x; for the mean of n, both over n
    check_reduction("binary_cross_entropy_with_logits", reduction)
    return reduced(logit_loss(x, y), reduction)


def check_reduction(name, reduction):
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"[{name}] reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def reduced(losses, reduction):
    return losses if reduction == "none" else getattr(losses, reduction)()


@fused
def layer_norm(x, weight=None, bias=None, *, axes=1, eps=1e-5):
    """Mean 0 and variance 1 over the last `axes` axes, then scale and shift (Ba et al., 2016,
    arXiv 1607.06450)."""
    # dx = s (h - mean(h) - y mean(h y)) with y the normal row, s = 1 / its deviation, h = weight g;
    # dweight = sum(g y), dbias = sum(g)
    over = tuple(range(-axes, 0))
    centred = x - x.mean(over, keepdim=True)
    out = centred * (centred.square().mean(over, keepdim=True) + eps).rsqrt()
    if weight is not None:
        out = out * weight
    return out if bias is None else out + bias


@fused
def rms_norm(x, weight=None, *, axes=1, eps=1e-6):
    """x over its root mean square over the last `axes` axes (Zhang and Sennrich, 2019,
    arXiv 1910.07467)."""
    # dx = s (h - y mean(h y)) with y the normal row, s = 1 / its root mean square, h = weight g;
    # dweight = sum(g y)
    over = tuple(range(-axes, 0))
    out = x * (x.square().mean(over, keepdim=True) + eps).rsqrt()
    return out if weight is None else out * weight


@fused
def batch_norm(x, weight=None, bias=None, *, mean=None, var=None, eps=1e-5):
    """Mean 0 and variance 1 per channel, over every axis but 1 (Ioffe and Szegedy, 2015, arXiv
    1502.03167); with given arrays mean and var (C,) those are used instead of the batch's."""
    # dx = s (h - mean(h) - y mean(h y)) as in `layer_norm`, the means over each channel; with given
    # mean and var dx = s h. dweight = sum(g y), dbias = sum(g)
    over = tuple(i for i in range(x.ndim) if i != 1)
    along = [-1 if i == 1 else 1 for i in range(x.ndim)]
    if mean is None:
        centred = x - x.mean(over, keepdim=True)
        scale = (centred.square().mean(over, keepdim=True) + eps).rsqrt()
    else:
        centred = x - mean.reshape(along)
        scale = (in_float32(var).reshape(along) + eps) ** -0.5
    out = centred * scale
    if weight is not None:
        out = out * weight.reshape(along)
    return out if bias is None else out + bias.reshape(along)


@fused
def dropout(x, *, keep, p):
    """x / (1 - p) where the boolean array `keep` holds, 0 elsewhere (Srivastava et al., 2014)."""
    # dx = g / (1 - p) where `keep` holds, 0 elsewhere
    scale = 1 / (1 - p) if p < 1 else 0.0
    return x * (keep * x.array.dtype.type(scale))


@fused
def scaled_dot_product_attention(q, k, v, mask=None, *, causal=False, scale=None, keep=None, p=0.0):
    """softmax(q k^T scale + mask) v (Vaswani et al., 2017, arXiv 1706.03762).

    q (..., T, D), k (..., S, D), v (..., S, D). mask: boolean (True: may look) or added to the
    scores. causal: position t sees at most positions up to t. keep: which weights dropout keeps.
    A row that may look nowhere gives 0.
    """
    # With the weights w: dv = w^T g, dw = g v^T, dscores = w (dw - sum(dw w)) as in softmax,
    # dq = dscores k scale, dk = dscores^T q scale. sum(dw w) over S is also sum(g out) over E.
    scores = q @ k.swapaxes(-1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    allowed = None
    if causal:
        allowed = scores.new_ones(scores.shape[-2:], dtype=bool).tril()
    elif mask is not None and not mask.is_floating_point():
        allowed = mask
    elif mask is not None:
        scores = scores + mask
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -math.inf)
    if allowed is None and mask is None:
        weights = scores.softmax(-1)
    else:
        blind = (scores == -math.inf).all(-1, keepdim=True)
        weights = scores.masked_fill(blind, 0.0).softmax(-1).masked_fill(blind, 0.0)
    if keep is not None:
        weights = dropout(weights, keep=keep, p=p)
    return weights @ v
