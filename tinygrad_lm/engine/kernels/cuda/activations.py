"""GELU in both forms, and SiLU: one launch forward, one backward, which keeps nothing but x."""

import cupy

from ...arrays import kernel
from ...ops import fused
from .source import FLOATS, Source, blocks, c_name, like, packed, takes

SOURCE = Source("activations", T=FLOATS, FORM=("GELU", "GELU_TANH", "SILU"))


@kernel(fused.gelu, cupy.ndarray)
def gelu(x, *, approximate="none"):
    """x Phi(x), elementwise; approximate="tanh" for the tanh form."""
    if approximate not in ("none", "tanh"):
        return NotImplemented
    return _activation(x, "GELU" if approximate == "none" else "GELU_TANH")


@kernel(fused.silu, cupy.ndarray)
def silu(x):
    """x sigmoid(x)."""
    return _activation(x, "SILU")


def _activation(x, form):
    if not takes(x) or not x.size:
        return NotImplemented
    x = packed(x)
    chosen = {"T": c_name(x), "FORM": form}
    grid = (blocks(x.nbytes, 16 * 256),)
    y = like(x)
    SOURCE.kernel("forward", **chosen)(grid, (256,), (x, y, x.size))

    def dx(g):
        found = like(x)
        SOURCE.kernel("backward", **chosen)(grid, (256,), (x, packed(g), found, x.size))
        return found

    return y, (dx,)
