"""The table of a Tensor's methods that the course does not use, and other people's scripts do. It
goes on from `methods.py`, which binds both."""

from __future__ import annotations

from . import special
from .operators import writer


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

    # linear algebra

    # in place
    lgamma_ = writer(lgamma)
    digamma_ = writer(digamma)
    erfinv_ = writer(erfinv)
    logit_ = writer(logit)
    xlogy_ = writer(xlogy)

    # of former versions of PyTorch
