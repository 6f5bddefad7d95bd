"""Gradients of gradients against PyTorch: of what orders, places and repeats elements, of angles
and of hyperbolas."""

import warnings

import numpy as np
import pytest

pytest.importorskip("torch")

from parity import BOTH, leaves_of, numbers, run
from test_parity_ops import lines_of

from tinygrad_lm.autograd import higher_order

TWICE = """
sq.sort(descending=True)[0] | sq.topk(2)[0] | sq.median(1)[0] | sq.median() | sq.diagonal(1)
sq.trace() | torch.nn.functional.pad(sq, (1, -1))
sq.scatter_add(1, rows[None].expand(4, 3), sq[:, :3] ** 2) | sq.index_add(0, rows, sq[:3] ** 2)
(sq / 4).tan() | (sq / 4).asin() | (sq / 4).acos() | sq.atan() | sq.sinh() | sq.cosh() | sq.asinh()
(sq.abs() + 2).acosh() | (sq / 4).atanh() | torch.atan2(sq, sq.T) | torch.hypot(sq, sq.T)
torch.logaddexp(sq, sq.T) | sq.logcumsumexp(1) | sq.erfc() | sq.cumprod(1)
(sq * (sq > 0)).cumprod(1) | sq.cummax(1)[0] | sq.quantile(0.4, 1) | sq.kthvalue(2)[0]
sq.scatter_reduce(1, rows[None].expand(4, 3), sq[:, :3] ** 2, "prod")
sq.scatter_reduce(1, rows[None].expand(4, 3), sq[:, :3] ** 2, "amax") | sq.diag_embed()
sq.renorm(2, 0, 1.0) | sq.index_put((rows, rows), sq[0, :3] ** 2, accumulate=True)
torch.kron(sq, sq) | sq.take(rows) | sq.index_copy(0, rows[:2], sq[:2] ** 2)
sq.masked_scatter(sq > 0, sq ** 2) | torch.cov(sq) | sq.sinc() | torch.xlogy(sq, sq.abs() + 1)
sq.diff() | torch.cross(sq[:3], sq[1:], dim=0)
"""


@pytest.mark.parametrize("line", lines_of(TWICE))
def test_second_derivatives_are_those_of_pytorch(line):
    found = []
    for library in BOTH:
        given = leaves_of(library)
        with higher_order() if library is BOTH[1] else warnings.catch_warnings():
            weight = library.arange(1.0, 17).reshape(4, 4)
            out = run(library, line, given)
            (g,) = library.autograd.grad((out.sin()).sum(), given["sq"], create_graph=True)
            (h,) = library.autograd.grad((g * weight).sum(), given["sq"])
        found.append(numbers(h))
    np.testing.assert_allclose(found[1], found[0], 1e-4, 1e-4)
