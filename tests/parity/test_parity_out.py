"""`out=` against PyTorch: what the tensor that is given holds afterwards, and what is returned."""

import numpy as np
import pytest

pytest.importorskip("torch")

from parity import BOTH, leaves_of, numbers, run
from test_parity_ops import lines_of

WRITTEN = """
torch.add(x, y, out=z) | torch.exp(n, out=z) | torch.matmul(x, m, out=z) | torch.sum(b, 1, out=z)
torch.cat([x, y], out=z) | torch.cumsum(x, 0, out=z) | torch.clamp(x, 0, out=z)
torch.eq(n, k, out=z) | torch.add(n, k, alpha=2, out=z) | torch.zeros(2, 3, out=z)
torch.arange(4, out=z) | torch.full((2,), 7.0, out=z) | torch.linspace(0, 1, 3, out=z)
torch.eye(2, out=z) | torch.tan(x, out=z) | torch.scatter_reduce(x, 1, ids, y, "amax", out=z)
torch.inner(v, v, out=z) | torch.add(x, y, out=x) | torch.mul(x, x, out=x[:, [0, 1, 2]])
torch.sub(x, 1, out=None) | torch.sort(x, out=(z, i)) | torch.max(x, 1, out=(z, i))
torch.topk(x, 2, out=(z, i)) | torch.cummin(x, 1, out=(z, i)) | torch.median(x, 0, out=(z, i))
torch.argmax(x, out=i) | torch.add(x, y, out=z3.T) | torch.add(x, y, out=d)
torch.mean(x, 0, out=z) | torch.ones(2, out=i)
torch.rand(3, generator=torch.Generator().manual_seed(3), out=z)
torch.randperm(5, generator=torch.Generator().manual_seed(3), out=i)
"""


@pytest.mark.parametrize("line", lines_of(WRITTEN))
def test_out_takes_the_result(line):
    found = []
    for library in BOTH:
        given = leaves_of(library, grad=False)
        given["z"], given["z3"] = library.zeros(0), library.zeros(3, 2)
        given["d"] = library.zeros(2, 3, dtype=library.float64)
        given["i"] = library.zeros(0, dtype=library.int64)
        got = run(library, line, given)
        assert ("out=z)" in line) == (got is given["z"])
        found.append((got, *(given[name] for name in ("x", "z", "z3", "d", "i"))))
    assert repr(found[0][0]) == repr(found[1][0])
    for want, got in zip(found[0][1:], found[1][1:]):
        assert want.shape == got.shape and str(want.dtype) == str(got.dtype)
        np.testing.assert_allclose(numbers(got), numbers(want), 2e-6, 1e-7)


def test_out_of_another_shape_is_resized_with_a_warning():
    for library in BOTH:
        z = library.ones(5)
        with pytest.warns(UserWarning, match="resized"):
            library.add(library.ones(2, 3), 1, out=z)
        assert z.tolist() == [[2, 2, 2], [2, 2, 2]]
