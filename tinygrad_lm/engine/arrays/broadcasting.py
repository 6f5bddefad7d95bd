"""Undoing broadcasting: a gradient in the shape and dtype of what it is the gradient of. For
arrays, and for Tensors where gradients are recorded themselves.
"""

from __future__ import annotations

from typing import Any

from .devices import device_of, to_device
from .dispatch import with_kernels
from .libraries import LIBRARIES, Array, as_array
from .sums import summed


def fit(g: Any, like: Any) -> Any:
    """A gradient in its target's shape and dtype, whatever was broadcast or cast before."""
    if hasattr(g, "total_of"):  # sparse, and not of this shape
        g = g.total_of([g])
    if type(g) not in LIBRARIES and not hasattr(g, "array"):
        g = as_array(g)
    if g.shape != like.shape:
        g = sum_to(g, like.shape)
    if type(like) in LIBRARIES and type(g) in LIBRARIES and type(g) is not type(like):
        g = to_device(g, device_of(like))  # a CPU tensor of no axes met others on a GPU
    return g if getattr(g, "array", g).dtype == like.dtype else g.astype(like.dtype)


def sum_to(g: Any, shape: tuple) -> Any:
    """Undo broadcasting: sum g over every axis that was stretched from `shape`."""
    if tuple(g.shape) == tuple(shape):
        return g
    lead = g.ndim - len(shape)
    if lead and shape and tuple(g.shape[lead:]) == tuple(shape):
        return sum_rows(g, lead)
    stretched = [i + lead for i, n in enumerate(shape) if n == 1 and g.shape[i + lead] != 1]
    try:
        return summed(g, (*range(lead), *stretched), keepdims=True).reshape(shape)
    except (ValueError, RuntimeError) as error:
        shapes = f"{tuple(shape)}, got {tuple(g.shape)}"
        raise RuntimeError(f"[backward] a pullback must keep its input's shape {shapes}") from error


@with_kernels
def sum_rows(g: Array, lead: int) -> Array:
    """The sum of g over its first `lead` axes."""
    return summed(g, 0 if lead == 1 else tuple(range(lead)))
