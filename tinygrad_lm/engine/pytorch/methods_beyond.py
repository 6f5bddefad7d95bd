"""The table of a Tensor's methods that the course does not use, and other people's scripts do. It
goes on from `methods.py`, which binds both."""

from __future__ import annotations

from . import later


class MethodsBeyond:
    """What is listed here is a method of Tensor."""

    # element by element

    # along axes, in order

    # by position

    # other shapes

    # linear algebra
    cholesky = later.cholesky
    cholesky_inverse = later.cholesky_inverse
    cholesky_solve = later.cholesky_solve
    det = later.det
    inverse = later.inverse
    logdet = later.logdet
    lu = later.lu
    matrix_exp = later.matrix_exp
    matrix_power = later.matrix_power
    pinverse = later.pinverse
    qr = later.qr
    slogdet = later.slogdet
    svd = later.svd
    triangular_solve = later.triangular_solve

    # in place

    # of former versions of PyTorch
