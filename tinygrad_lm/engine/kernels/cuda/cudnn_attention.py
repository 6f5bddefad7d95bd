"""Attention by NVIDIA's cuDNN, for those who have it (the extra `cudnn`) and ask for it with
TINYGRAD_LM_CUDNN=1 in the environment. It gets addresses and strides of our arrays, and is told to
be deterministic. What it does not take goes on to the kernel in CUDA C++.
"""

from __future__ import annotations

import math
import os
from functools import cache
from importlib.util import find_spec
from typing import Any

import cupy
import numpy

from ...arrays import kernel
from ...ops import fused
from .attention import fits, gradients, rows


def attention(q, k, v, mask=None, *, causal=False, scale=None, keep=None, p=0.0):
    """As the kernel in CUDA C++, but of 16 bits alone, and without dropout."""
    if keep is not None or q.itemsize != 2 or not fits(q, k, v, mask):
        return NotImplemented
    (B, H, T, D), scale = q.shape, 1 / math.sqrt(q.shape[3]) if scale is None else float(scale)
    q, k, v = rows(q), rows(k), rows(v)
    out = cupy.empty((B, T, H, D), q.dtype).swapaxes(1, 2)
    stats = cupy.empty((B, H, T, 1), numpy.float32)
    how = (q.dtype.name, bool(causal), scale)
    run = _plan("sdpa", _forms(q, k, v), _forms(out, stats), *how)
    if run is None:
        return NotImplemented
    run(q, k, v, out, stats)

    def pullback(g):
        g = rows(g)
        found = gradients(q, k, v)
        run = _plan("sdpa_backward", _forms(q, k, v, out, g, stats), _forms(*found), *how)
        if run is None:
            raise RuntimeError(
                "[attention] cuDNN must know the gradient of what it computed, and does not at "
                f"{q.shape}; leave TINYGRAD_LM_CUDNN=1 out of the environment"
            )
        run(q, k, v, out, g, stats, *found)
        return (*found, None)

    return out, pullback


def _forms(*arrays: cupy.ndarray) -> tuple:
    """What a plan depends on, of each array: its dtype, shape, strides in elements."""
    return tuple((x.dtype.name, x.shape, tuple(s // x.itemsize for s in x.strides)) for x in arrays)


@cache
def _handle() -> Any:
    import cudnn

    return cudnn.create_handle()


@cache
def _plan(op: str, inputs: tuple, outputs: tuple, kind: str, causal: bool, scale: float) -> Any:
    """Arrays of these forms, inputs then outputs -> a launch; None if cuDNN has none."""
    import cudnn

    kinds = {"bfloat16": cudnn.data_type.BFLOAT16, "float16": cudnn.data_type.HALF}
    kinds["float32"] = wide = cudnn.data_type.FLOAT
    handle = _handle()
    graph = cudnn.pygraph(kind, kinds[kind], wide, wide, handle)
    tensors = [
        graph.tensor(dim=list(shape), stride=list(strides), data_type=kinds[name])
        for name, shape, strides in inputs
    ]
    how: dict[str, Any] = {"attn_scale": scale, "use_causal_mask": causal}
    how[{"sdpa": "generate_stats"}.get(op, "use_deterministic_algorithm")] = True
    found = getattr(graph, op)(*tensors, **how)
    for tensor, (name, shape, strides) in zip(found, outputs):
        tensor.set_output(True).set_dim(list(shape)).set_stride(list(strides))
        tensor.set_data_type(kinds[name])
    try:
        graph.build([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    except cudnn.cudnnGraphNotSupportedError:
        return None
    tensors += found
    room = graph.get_workspace_size()

    def run(*arrays: cupy.ndarray) -> None:
        cudnn.set_stream(handle, cupy.cuda.get_current_stream().ptr)
        work = cupy.empty(room, numpy.uint8)
        places = {tensor: x.data.ptr for tensor, x in zip(tensors, arrays)}
        graph.execute(places, work.data.ptr, handle)

    return run


if os.environ.get("TINYGRAD_LM_CUDNN") == "1" and find_spec("cudnn"):
    kernel(fused.scaled_dot_product_attention, cupy.ndarray)(attention)
