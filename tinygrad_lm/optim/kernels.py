"""Update rules in C, for float32 on the CPU, which give the bits of the rule that they replace; and
in CUDA C++, for all tensors at once. Like the kernels of ops they are registered from outside."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy

from ..engine.arrays import ON_CUDA, Array, get_num_threads, kernel
from ..engine.kernels.c import fast
from ..engine.several_gpus import DOORS, gpu_of
from .adam import Adam
from .flat import Age, AtOnce, Flat, Number, Update
from .optimizer import Optimizer
from .per_tensor import PerTensor
from .sgd import SGD


@kernel(Adam.update, numpy.ndarray)
def adam(optimizer: Adam, group: dict[str, Any], step: int, number: Number) -> Update:
    if fast is None or number(0).dtype != numpy.float32:
        return NotImplemented
    constants = optimizer.constants(group, step)

    def one_pass(lib: Any, p: Array, g: Array, kept: list[Array], scratch: Array) -> None:
        m, v, most = kept if len(kept) == 3 else (*kept, None)
        g = numpy.ascontiguousarray(g)
        fast.adam(p.size, get_num_threads(), p, g, m, v, most, *constants)

    return one_pass


def _on_cuda() -> None:
    import cupy

    from ..engine.kernels.cuda.tensors import Step

    def at_once(rule: str) -> Any:
        def way(optimizer: Any, group: dict[str, Any], step: int, number: Number) -> Any:
            if number(0).dtype != numpy.float32:
                return NotImplemented
            return AtOnce(partial(Step, rule), optimizer.constants(group, step))

        return way

    kernel(Adam.update, cupy.ndarray)(at_once("adam"))
    kernel(SGD.update, cupy.ndarray)(at_once("sgd"))


def _gpu(args: tuple) -> int | None:
    """Where the tensors are that a part of an optimizer is about."""
    about = args[1] if isinstance(args[1], (list, Flat)) else args[0].flat
    return gpu_of(about.params if isinstance(about, Flat) else about)


DOORS.append((Optimizer, "_placed", lambda args: gpu_of(args[3:])))
DOORS.append((PerTensor, "_one", lambda args: gpu_of(args[1:2])))
DOORS.extend([(Flat, "__init__", _gpu), (Age, "__init__", _gpu), (Age, "step", _gpu)])
ON_CUDA.append(_on_cuda)
