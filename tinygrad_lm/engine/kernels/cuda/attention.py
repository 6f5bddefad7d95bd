"""Attention in tiles on tensor cores: the scores never reach memory. Products of float32 keep its
digits, in three products of TF32 (mma.cuh), or are TF32's own where `allow_tf32` says so. An
infinity among float32 makes NaN of every score and sum that it is in: what is left of it is none.

q, k, v and the gradient of the result may be views, such as the heads of a projection that was
split: rows may lie anywhere, as long as each is whole. The result lies in memory as (B, T, H, D).
"""

from __future__ import annotations

import math
from functools import cache
from itertools import product
from typing import Any

import cupy
import numpy

from ...arrays import allow_tf32, kernel
from ...ops import fused
from .source import Source

SIZES = (32, 64, 96, 128)  # of a head, D
KINDS = {"bfloat16": "__nv_bfloat16", "float16": "__half", "float32": "float"}
FULL = ("float", "Tf32")  # of 32 bits
HEADERS = ("mma.cuh", "attention.cuh")
# What each kernel is compiled with: 16 M rows a warp, in registers; BN rows at a time from memory,
# in backward SLICE of them at once; BLOCKS share the registers of a multiprocessor. HOLD: whether
# the left side of the scores (1), and that of the weights' slopes (2), is in registers all along.
FEW = {"M": 1, "WARPS": 4, "BN": 64, "SLICE": 16, "HOLD": 3, "BLOCKS": 2}
MANY = {**FEW, "M": 2}
TILES: dict[str, dict[int, dict[str, int]]] = {  # kernel -> D -> tiles
    "attention": {32: MANY, 64: MANY, 96: FEW, 128: FEW},
    "attention_dq": {
        32: MANY,
        64: {**FEW, "SLICE": 32, "BLOCKS": 3},
        96: FEW,
        128: {**FEW, "BN": 32},
    },
    "attention_dkv": {
        32: MANY,
        64: {**MANY, "BN": 128, "SLICE": 32, "HOLD": 0},
        96: FEW,
        128: {**FEW, "HOLD": 1},
    },
}
# Of float32, in all three kernels: its rows are twice as long.
WIDE = {**FEW, "BN": 32, "HOLD": 0}
WIDER = {**WIDE, "WARPS": 8, "BN": 16, "BLOCKS": 1}
WIDE_TILES = {32: WIDE, 64: WIDE, 96: WIDER, 128: WIDER}


def tiles(name: str, kind: str, D: int, DROP: int) -> dict[str, int]:
    if kind in FULL:
        return WIDE_TILES[D]
    return FEW if DROP and D <= 64 else TILES[name][D]  # the choices of dropout take registers


def _source(name: str, kind: str, D: int, DROP: int) -> Source:
    chosen = {"T": kind, "D": D, "DROP": DROP, **tiles(name, kind, D, DROP)}
    return Source(name, HEADERS, **{key: (value,) for key, value in chosen.items()})


ALL = product(TILES, (*KINDS.values(), "Tf32"), SIZES, (0, 1))
SOURCES = {form: _source(*form) for form in ALL}


@kernel(fused.scaled_dot_product_attention, cupy.ndarray)
def attention(q, k, v, mask=None, *, causal=False, scale=None, keep=None, p=0.0):
    """q (B, H, T, D), k and v (B, H, S, D) -> (B, H, T, D), which lies as (B, T, H, D)."""
    if not fits(q, k, v, mask):
        return NotImplemented
    (B, H, T, D), S = q.shape, k.shape[2]
    scale = 1 / math.sqrt(D) if scale is None else float(scale)
    if not 0 < scale < math.inf:
        return NotImplemented
    q, k, v = rows(q), rows(k), rows(v)
    if keep is not None:
        keep = cupy.ascontiguousarray(
            cupy.broadcast_to(keep, (B, H, T, S)).astype(bool, copy=False)
        )
    share = 1.0 if keep is None else 1 / (1 - p) if p < 1 else 0.0
    kind = "Tf32" if q.itemsize == 4 and allow_tf32() else KINDS[q.dtype.name]
    form = (q.data.device_id, kind, D, int(keep is not None))
    if not _has_room(*form):
        return NotImplemented
    kept = 0 if keep is None else keep
    sizes = (*map(numpy.int32, (T, S, causal)), numpy.float32(scale * math.log2(math.e)))
    scale, share = numpy.float32(scale), numpy.float32(share)
    out = cupy.empty((B, T, H, D), q.dtype).swapaxes(1, 2)
    sums = cupy.empty((B, H, T), numpy.float32)  # the logarithm of each row's sum of e^score
    run = _launcher("attention", *form)
    run(B, H, T, (q, k, v, kept, out, sums, _layout(q, k, v, out, q, q, q, q), *sizes, share))

    def pullback(g):
        g = rows(g)
        dq, dk, dv = gradients(q, k, v)
        known = cupy.empty((B, H, T, 2), numpy.float32)  # sums, and the sum of g out over each row
        how = (_layout(q, k, v, out, g, dq, dk, dv), *sizes, scale, share)
        run = _launcher("attention_dq", *form)  # which also makes `known`
        run(B, H, T, (q, k, v, out, g, kept, sums, known, dq, *how))
        run = _launcher("attention_dkv", *form)
        run(B, H, S, (q, k, v, g, kept, known, dk, dv, *how))
        return dq, dk, dv, None

    return out, pullback


def fits(q: cupy.ndarray, k: cupy.ndarray, v: cupy.ndarray, mask: Any) -> bool:
    """Whether kernels take q (B, H, T, D), k and v (B, H, S, D): without a mask, and none empty."""
    return (
        mask is None
        and q.ndim == k.ndim == 4
        and q.size * k.size > 0
        and max(q.shape[:2]) < 1 << 16  # the most that a grid has
        and k.shape == v.shape == (*q.shape[:2], k.shape[-2], q.shape[3])
        and q.shape[3] in SIZES
        and q.dtype.name in KINDS
        and q.dtype == k.dtype == v.dtype
    )


def rows(x: cupy.ndarray) -> cupy.ndarray:
    """x if its rows can be read 16 bytes at a time, else a copy."""
    whole = x.strides[3] == x.itemsize and not any(s % 16 for s in x.strides[:3])
    whole = whole and abs(x.strides[2]) < 1 << 31
    return x if whole and x.data.ptr % 16 == 0 else cupy.ascontiguousarray(x)


def _layout(*arrays: cupy.ndarray) -> numpy.ndarray:
    """The strides of batch, head and row of each, in elements; a kernel takes it by value."""
    found = numpy.array([s // x.itemsize for x in arrays for s in x.strides[:3]], numpy.int64)
    return found.view(f"V{found.nbytes}")


def gradients(q: cupy.ndarray, k: cupy.ndarray, v: cupy.ndarray) -> list:
    """Arrays for dq, dk, dv, which lie as (B, T, H, D); or as (B, T, 3, H, D) if q, k and v do, so
    that the three are the gradient of what was split into them."""
    B, H, T, D = q.shape
    step = H * D * q.itemsize
    strides = (3 * T * step, D * q.itemsize, 3 * step, q.itemsize)
    if (
        q.base is not None
        and q.base is k.base is v.base
        and q.base.size == 3 * q.size
        and q.strides == k.strides == v.strides == strides
        and k.data.ptr - q.data.ptr == v.data.ptr - k.data.ptr == step
    ):
        packed = cupy.empty((B, T, 3, H, D), q.dtype)
        return [packed[:, :, i].swapaxes(1, 2) for i in range(3)]
    return [cupy.empty((B, x.shape[2], H, D), x.dtype).swapaxes(1, 2) for x in (q, k, v)]


def _memory(name: str, kind: str, D: int, DROP: int) -> int:
    """Bytes of shared memory for a block's tiles."""
    size = tiles(name, kind, D, DROP)
    held = {"attention": 1, "attention_dq": 3, "attention_dkv": 2}[name]
    rows = held * 16 * size["M"] * size["WARPS"] + 4 * size["BN"]
    return (4 if kind in FULL else 2) * D * rows + 16 * size["BN"]


@cache
def _has_room(device: int, kind: str, D: int, DROP: int) -> bool:
    """Whether a GPU has the shared memory for it, and the instructions."""
    gpu = cupy.cuda.Device(device)
    room = gpu.attributes["MaxSharedMemoryPerBlockOptin"]
    most = max(_memory(name, kind, D, DROP) for name in TILES)
    return int(gpu.compute_capability) >= 80 and most <= room


@cache
def _launcher(name: str, device: int, kind: str, D: int, DROP: int) -> Any:
    """(B, H, rows, arguments) -> a launch with a block for every 16 M WARPS rows of a head, and
    shared memory for the tiles that it has; more than usual is asked for on each GPU."""
    size, memory = tiles(name, kind, D, DROP), _memory(name, kind, D, DROP)
    found = SOURCES[name, kind, D, DROP].kernel(name, T=kind, D=D, DROP=DROP, **size)
    threads, rows = 32 * size["WARPS"], 16 * size["M"] * size["WARPS"]
    if memory > 48 << 10:
        found.max_dynamic_shared_size_bytes = memory

    def run(B: int, H: int, count: int, arguments: tuple) -> None:
        found((-(-count // rows), H, B), (threads,), arguments, shared_mem=memory)

    return run
