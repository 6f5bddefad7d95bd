"""Update rules in C, for float32 on the CPU. Like the kernels of ops they are registered from
outside, and give the bits of the rule that they replace."""

from __future__ import annotations

from typing import Any

import numpy

from ..engine.arrays import Array, get_num_threads, kernel
from ..engine.kernels.c import fast
from .adam import Adam
from .flat import Number, Update


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
