"""Layer norm and RMS norm: a row is read once and held in registers. What is kept for backward is
the input, and two float32 numbers of each row."""

import math

import cupy

from ...arrays import kernel
from ...core.graph import Sparse
from ...ops import fused
from .columns import add_parts
from .source import FLOATS, Source, blocks, c_name, is_packed, like, packed, takes

SOURCE = Source("layer_norm", T=FLOATS, ROW=(32, 256), K=(1, 2, 3, 4), EVEN=("false", "true"))
BLOCKS = 264  # of the backward kernel: two for each processor of the largest GPUs


@kernel(fused.layer_norm, cupy.ndarray)
def layer_norm(x, weight=None, bias=None, *, axes=1, eps=1e-5):
    """x (..., C), weight and bias (C,), where C stands for the last `axes` axes."""
    return _norm(x, weight, bias, axes, eps, 0)


@kernel(fused.rms_norm, cupy.ndarray)
def rms_norm(x, weight=None, *, axes=1, eps=1e-6):
    """x (..., C) and weight (C,), where C stands for the last `axes` axes."""
    found = _norm(x, weight, None, axes, eps, 1)
    return found if found is NotImplemented else (found[0], lambda g: found[1](g)[:2])


def _norm(x, weight, bias, axes, eps, rms):
    if not takes(x, weight, bias) or not x.size or not 0 < axes <= x.ndim:
        return NotImplemented
    if any(p is not None and p.shape != x.shape[-axes:] for p in (weight, bias)):
        return NotImplemented
    width = math.prod(x.shape[-axes:])
    threads = 32 if width <= 1024 else 256  # that share a row
    tiles = blocks(width, 8 * threads)
    if tiles > 4:
        return NotImplemented
    x, rows = packed(x), x.size // width
    weighting, shift = (0 if p is None else packed(p) for p in (weight, bias))
    chosen = {"T": c_name(x), "ROW": threads, "K": tiles}
    chosen["EVEN"] = "false" if width % 8 else "true"
    each = 256 // threads
    y, stats = like(x), cupy.empty((rows, 2), "float32")
    arguments = (x, weighting, shift, y, stats, rows, width, float(eps), rms)
    SOURCE.kernel("forward", **chosen)((blocks(rows, each),), (256,), arguments)

    def pullback(g):
        def launch(total):
            """dx, added to total if there is one, dweight and dbias."""
            count = min(BLOCKS, blocks(rows, each))
            sums_wanted = weight is not None or bias is not None
            dx = like(x) if total is None else total
            parts = cupy.empty((count, 2 * width), "float32") if sums_wanted else 0
            arguments = (x, packed(g), weighting, stats, dx, parts, rows, width, rms)
            way = SOURCE.kernel("backward", **chosen)
            way((count,), (256,), (*arguments, int(total is not None)))
            dweight, dbias = (cupy.empty(x.shape[-axes:], x.dtype) for _ in range(2))
            if sums_wanted:
                add_parts(parts, dweight, dbias)
            return [dx, dweight, dbias]

        slopes = Slopes(launch)
        shapes = [None if p is None else p.shape for p in (x, weight, bias)]
        return [
            None if shape is None else Slope(slopes, i, shape) for i, shape in enumerate(shapes)
        ]

    return y, pullback


class Slopes:
    """What one launch makes, when the first of it is wanted; it keeps no more than it must."""

    def __init__(self, launch):
        self.launch, self.made = launch, {}

    def run(self, total=None):
        launch, self.launch = self.launch, None
        self.made = dict(enumerate(launch(total)))

    def take(self, i):
        if self.launch is not None:
            self.run()
        return self.made.pop(i)


class Slope(Sparse):
    """A gradient of the input or of a parameter. That of the input is added, by the launch that
    makes it, to what has arrived there by other ways: the residual stream's."""

    __slots__ = ("i", "shape", "slopes")

    def __init__(self, slopes, i, shape):
        self.slopes, self.i, self.shape = slopes, i, shape

    def add_to(self, total):
        if self.i == 0 and self.slopes.launch is not None and is_packed(total):
            self.slopes.run(total)
            self.slopes.made.pop(0)  # it is the caller's
        else:
            total += self.slopes.take(self.i)

    def span(self):
        """It is no slice: what `SparseGrad` asks of its neighbours."""

    @staticmethod
    def total_of(parts):
        total = parts[0].slopes.take(parts[0].i)
        for part in parts[1:]:
            part.add_to(total)
        return total
