"""Dropout's mask, drawn on the GPU, and dropout in one pass that keeps the mask's bytes."""

import cupy

from ...arrays import kernel
from ...ops import fused
from ...random.philox import fill_words, keep_words_below
from .source import FLOATS, Source, blocks, c_name, like, packed, takes

SOURCE = Source("philox", T=FLOATS)


@kernel(keep_words_below, cupy.ndarray)
def keep(out, bound, generator):
    """Whether the generator's next words are below the bound, one launch."""
    if not out.size or not out.flags.c_contiguous or out.data.ptr % 16:
        return NotImplemented
    state = generator.on_device(blocks(out.size, 4))
    run = SOURCE.kernel("keep", T="float")
    run((blocks(out.size, 16 * 256),), (256,), (out, state, out.size, bound))
    return out


@kernel(fill_words, cupy.ndarray)
def words(out, generator):
    """The generator's next words, one launch."""
    if not out.size:
        return NotImplemented
    state = generator.on_device(blocks(out.size, 4))
    run = SOURCE.kernel("words", T="float")
    run((blocks(out.size, 4 * 256),), (256,), (out, state, out.size))
    return out


@kernel(fused.dropout, cupy.ndarray)
def dropout(x, *, keep, p):
    """x / (1 - p) where keep holds, 0 elsewhere."""
    if not takes(x) or not x.size or keep.shape != x.shape or keep.dtype != bool:
        return NotImplemented
    keep, scale = packed(keep), 1 / (1 - p) if p < 1 else 0.0

    def apply(x):
        x = packed(x)
        y = like(x)
        run = SOURCE.kernel("apply", T=c_name(x))
        run((blocks(x.nbytes, 16 * 256),), (256,), (x, keep, y, x.size, scale))
        return y

    return apply(x), (apply,)
