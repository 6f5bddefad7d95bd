"""The table of a Tensor's methods that the course does not use, and other people's scripts do. It
goes on from `methods.py`, which binds both."""

from __future__ import annotations

from . import grad_fn
from .operators import attribute


class MethodsBeyond:
    """What is listed here is a method of Tensor."""

    # element by element

    # along axes, in order

    # by position

    # other shapes

    # linear algebra

    # of the graph
    retains_grad = attribute(grad_fn.retains_grad)
    output_nr = attribute(grad_fn.output_nr)
    _version = attribute(grad_fn.version)
    register_post_accumulate_grad_hook = grad_fn.register_post_accumulate_grad_hook

    # in place

    # of former versions of PyTorch
