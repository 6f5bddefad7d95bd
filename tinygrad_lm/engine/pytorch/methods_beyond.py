"""The table of a Tensor's methods that the course does not use, and other people's scripts do. It
goes on from `methods.py`, which binds both."""

from __future__ import annotations

from . import conversions, dtype_info, grad_fn, layouts, legacy, memory, special, windows
from .operators import attribute, writer


class MethodsBeyond:
    """What is listed here is a method of Tensor."""

    # element by element
    lgamma = special.lgamma
    digamma = special.digamma
    erfinv = special.erfinv
    logit = special.logit
    logaddexp = special.logaddexp
    xlogy = special.xlogy

    # along axes, in order

    # by position

    # other shapes
    unfold = windows.unfold
    as_strided = windows.as_strided

    # linear algebra

    # of the graph
    retains_grad = attribute(grad_fn.retains_grad)
    output_nr = attribute(grad_fn.output_nr)
    _version = attribute(grad_fn.version)
    register_post_accumulate_grad_hook = grad_fn.register_post_accumulate_grad_hook

    # in place
    lgamma_ = writer(lgamma)
    digamma_ = writer(digamma)
    erfinv_ = writer(erfinv)
    logit_ = writer(logit)
    xlogy_ = writer(xlogy)

    # memory
    clone = layouts.clone
    contiguous = layouts.contiguous
    is_contiguous = layouts.is_contiguous
    resize_ = memory.resize_
    resize_as_ = memory.resize_as_
    set_ = memory.set_
    is_set_to = memory.is_set_to
    apply_ = memory.apply_
    map_ = memory.map_

    # what it is
    short = conversions.to_int16
    char = conversions.to_int8
    get_device = memory.get_device
    nbytes = attribute(memory.nbytes)
    itemsize = attribute(memory.itemsize)
    layout = attribute(memory.layout)
    is_sparse = attribute(memory.never)
    is_quantized = attribute(memory.never)
    is_meta = attribute(memory.never)
    is_complex = memory.never
    is_inference = memory.never
    is_nonzero = dtype_info.is_nonzero

    # of former versions of PyTorch
    new = legacy.new
