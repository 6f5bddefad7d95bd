"""Attention in tiles on tensor cores, for bfloat16 and float16: the scores never reach memory.

q, k, v and the gradient of the result may be views, such as the heads of a projection that was
split: rows may lie anywhere, as long as each is whole. The result lies in memory as (B, T, H, D).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import cupy
import numpy

from ...arrays import kernel
from ...ops import fused
from .source import Source

SIZES = (32, 64, 96, 128)  # of a head, D
HALVES = ("__nv_bfloat16", "__half")
CHOICES: dict[str, Any] = {"T": HALVES, "D": SIZES, "DROP": (0, 1)}
NAMES = ("attention", "attention_dq", "attention_dkv")
SOURCES = {name: Source(name, ("mma.cuh",), **CHOICES) for name in NAMES}
# What each kernel is compiled with: 16 M rows a warp, in registers; BN rows at a time from memory, in
# backward SLICE of them at once; BLOCKS share the registers of a multiprocessor.
WIDE = {"M": 1, "WARPS": 4, "BN": 64, "SLICE": 16, "BLOCKS": 2}
TILES: dict[tuple[str, int], dict[str, int]] = {
    ("attention", 32): {"M": 2, "WARPS": 4, "BN": 64, "BLOCKS": 2},
    ("attention", 64): {"M": 2, "WARPS": 4, "BN": 64, "BLOCKS": 2},
    ("attention_dq", 32): {"M": 2, "WARPS": 4, "BN": 64, "SLICE": 16, "BLOCKS": 2},
    ("attention_dq", 64): {"M": 2, "WARPS": 4, "BN": 64, "SLICE": 16, "BLOCKS": 2},
    ("attention_dkv", 32): {"M": 2, "WARPS": 4, "BN": 64, "SLICE": 16, "BLOCKS": 2},
    ("attention_dkv", 64): {"M": 2, "WARPS": 4, "BN": 64, "SLICE": 16, "BLOCKS": 2},
}


@kernel(fused.scaled_dot_product_attention, cupy.ndarray)
def attention(q, k, v, mask=None, *, causal=False, scale=None, keep=None, p=0.0):
    """q (B, H, T, D), k and v (B, H, S, D) -> (B, H, T, D), which lies as (B, T, H, D)."""
    if mask is not None or not q.ndim == k.ndim == v.ndim == 4 or not q.size * k.size:
        return NotImplemented
    (B, H, T, D), S = q.shape, k.shape[2]
    scale = 1 / math.sqrt(D) if scale is None else float(scale)
    name = {"bfloat16": HALVES[0], "float16": HALVES[1]}.get(q.dtype.name)
    if D not in SIZES or name is None or not 0 < scale < math.inf:
        return NotImplemented
    if k.shape != v.shape or k.shape != (B, H, S, D) or not q.dtype == k.dtype == v.dtype:
        return NotImplemented
    q, k, v = _rows(q), _rows(k), _rows(v)
    if keep is not None:
        keep = cupy.ascontiguousarray(cupy.broadcast_to(keep, (B, H, T, S)).astype(bool, copy=False))
    share = 1.0 if keep is None else 1 / (1 - p) if p < 1 else 0.0
    chosen = {"T": name, "D": D, "DROP": int(keep is not None)}
    kept = 0 if keep is None else keep
    sizes = (H, T, S, int(causal), scale * math.log2(math.e))
    out = cupy.empty((B, T, H, D), q.dtype).swapaxes(1, 2)
    sums = cupy.empty((B, H, T), numpy.float32)  # the logarithm of each row's sum of e^score
    run = _launcher("attention", **chosen)
    run(B * H, T, (q, k, v, kept, out, sums, _layout(q, k, v, out), *sizes, share))

    def pullback(g):
        g = _rows(g)
        dq, dk, dv = _gradients(q, k, v)
        along = cupy.empty((B, H, T), numpy.float32)  # the sum of g out over each row
        how = (_layout(q, k, v, out, g, dq, dk, dv), *sizes, scale, share)
        run = _launcher("attention_dq", **chosen)  # which also finds `along`
        run(B * H, T, (q, k, v, out, g, kept, sums, along, dq, *how))
        run = _launcher("attention_dkv", **chosen)
        run(B * H, S, (q, k, v, g, kept, sums, along, dk, dv, *how))
        return dq, dk, dv, None

    return out, pullback


def _rows(x: cupy.ndarray) -> cupy.ndarray:
    """x if its rows can be read 16 bytes at a time, else a copy."""
    whole = x.strides[3] == x.itemsize and not any(s % 16 for s in x.strides[:3])
    return x if whole and x.data.ptr % 16 == 0 else cupy.ascontiguousarray(x)


def _layout(*arrays: cupy.ndarray) -> numpy.ndarray:
    """The strides of batch, head and row of each, in elements; a kernel takes it by value."""
    found = numpy.array([s // x.itemsize for x in arrays for s in x.strides[:3]], numpy.int64)
    return found.view(f"V{found.nbytes}")


def _gradients(q: cupy.ndarray, k: cupy.ndarray, v: cupy.ndarray) -> list:
    """Arrays for dq, dk, dv, which lie as (B, T, H, D); or as (B, T, 3, H, D) if q, k and v do, so
    that the three are the gradient of what was split into them."""
    B, H, T, D = q.shape
    step = H * D * q.itemsize
    if (
        q.base is not None
        and q.base is k.base is v.base
        and q.base.size == 3 * q.size
        and q.strides == k.strides == v.strides == (3 * T * step, D * q.itemsize, 3 * step, q.itemsize)
        and k.data.ptr - q.data.ptr == v.data.ptr - k.data.ptr == step
    ):
        packed = cupy.empty((B, T, 3, H, D), q.dtype)
        return [packed[:, :, i].swapaxes(1, 2) for i in range(3)]
    return [cupy.empty((B, x.shape[2], H, D), x.dtype).swapaxes(1, 2) for x in (q, k, v)]


@cache
def _launcher(name: str, **chosen: Any) -> Any:
    """(heads in all, rows, arguments) -> a launch with a block for every 16 M WARPS rows of a head,
    and shared memory for the tiles that it has."""
    tiles = TILES.get((name, chosen["D"])) or WIDE
    found = SOURCES[name].kernel(name, **chosen, **tiles)
    threads, rows = 32 * tiles["WARPS"], 16 * tiles["M"] * tiles["WARPS"]
    held = {"attention": 1, "attention_dq": 3, "attention_dkv": 2}[name]
    memory = 2 * chosen["D"] * (held * rows + 4 * tiles["BN"])
    if name == "attention_dkv":
        memory += 4 * 4 * tiles["BN"]
    if memory > 48 << 10:
        found.max_dynamic_shared_size_bytes = memory

    def run(heads: int, count: int, arguments: tuple) -> None:
        found((heads * -(-count // rows),), (threads,), arguments, shared_mem=memory)

    return run
