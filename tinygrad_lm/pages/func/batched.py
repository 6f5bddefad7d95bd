"""`vmap`: a function of one example as a function of a batch, one example after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from ...engine.arrays import filled, leaves
from ...engine.core.tensor import Tensor
from ...engine.pytorch.joining import stack
from ...engine.random.generator import default_generator


def vmap(
    func: Callable,
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable:
    """func for each slice of its arguments along in_dims (None: the same for all), the results
    stacked along out_dims. An honest loop: it saves no time, and func may look at numbers.

    randomness: whether func may draw random numbers, "different" or the "same" for each slice;
    the different ones are drawn one after the other, and so they are not PyTorch's. chunk_size is
    taken. ValueError for sizes that differ and results that are no Tensors."""
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            f"[vmap] randomness must be 'error', 'different' or 'same', got {randomness!r}"
        )

    @wraps(func)
    def batched(*args: Any, **kwargs: Any) -> Any:
        dims = _dims_of(in_dims, args)
        sizes = {x.shape[d] for x, d in zip(leaves(args), dims) if d is not None}
        if len(sizes) != 1 or sizes == {0}:
            raise ValueError(
                "[vmap] what is mapped must have one size along in_dims, and not 0, got "
                f"{sorted(sizes) or 'nothing to map'}"
            )
        start, results = default_generator.get_state(), []
        for i in range(sizes.pop()):
            if randomness == "same":
                default_generator.set_state(start)
            parts = [x if d is None else x.select(d, i) for x, d in zip(leaves(args), dims)]
            results.append(func(*filled(args, parts), **kwargs))
        if randomness == "error" and not bool((default_generator.get_state() == start).all()):
            raise RuntimeError(
                "[vmap] the function must draw no random numbers with randomness='error', it did; "
                "say randomness='different' or 'same'"
            )
        return _stacked(results, out_dims)

    return batched


def _dims_of(in_dims: Any, args: tuple) -> list[int | None]:
    """A dim, or None, for each leaf of the arguments."""
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(f"[vmap] in_dims must be an int or a tuple of them, got {in_dims!r}")
    return list(_dims_along(in_dims, args))


def _dims_along(dims: Any, tree: Any) -> Iterator[int | None]:
    if isinstance(dims, int) or dims is None:
        for x in leaves(tree):
            axes = x.ndim if isinstance(x, Tensor) else 0
            if dims is not None and not -axes <= dims < axes:
                raise ValueError(
                    f"[vmap] in_dims must be dims of Tensors, got {dims} for "
                    f"{tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__}; None for "
                    "what is the same for all"
                )
            yield dims
    elif type(dims) is type(tree) and len(dims) == len(tree):
        for key in tree if isinstance(dims, dict) else range(len(tree)):
            yield from _dims_along(dims[key], tree[key])
    else:
        raise ValueError(f"[vmap] in_dims must be like the arguments, got {dims!r}")


def _stacked(results: list, out_dims: Any) -> Any:
    """One tree of stacked Tensors out of several."""
    first, columns = results[0], list(zip(*map(leaves, results)))
    for x in leaves(first):
        if not isinstance(x, Tensor):
            raise ValueError(f"[vmap] the function must return Tensors, got {type(x).__name__}")
    dims = [out_dims] * len(columns) if isinstance(out_dims, int) else list(leaves(out_dims))
    if len(dims) != len(columns) or not all(isinstance(d, int) for d in dims):
        raise ValueError(
            f"[vmap] out_dims must be an int or one per result ({len(columns)}), got {out_dims!r}"
        )
    return filled(first, [stack(column, d) for column, d in zip(columns, dims)])
