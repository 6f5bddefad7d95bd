"""The table of a Tensor's methods that the course does not use, and other people's scripts do. It
goes on from `methods.py`, which binds both."""

from __future__ import annotations

from . import windows


class MethodsBeyond:
    """What is listed here is a method of Tensor."""

    # element by element

    # along axes, in order

    # by position

    # other shapes
    unfold = windows.unfold
    as_strided = windows.as_strided

    # linear algebra

    # in place

    # of former versions of PyTorch
