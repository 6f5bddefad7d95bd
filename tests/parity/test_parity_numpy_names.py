"""NumPy's `axis=` and `keepdims=`, which PyTorch takes for `dim=` and `keepdim=` in functions and
methods alike."""

import pytest

pytest.importorskip("torch")

from parity import assert_same, each

LINES = """
torch.softmax(x, axis=1) | x.softmax(axis=0) | torch.log_softmax(x, axis=-1) | x.cumsum(axis=1)
torch.cumprod(x, axis=0) | x.cummax(axis=1)[0] | torch.cummin(x, axis=0)[0] | x.diff(axis=1)
torch.logcumsumexp(x, axis=1) | torch.nansum(x, axis=0, keepdims=True) | x.nanmean(axis=1)
torch.aminmax(x, axis=1, keepdims=True)[0] | x.argsort(axis=0) | torch.sort(x, axis=1)[0]
x.topk(2, axis=1)[0] | one.squeeze(axis=0) | torch.squeeze(one, axis=0) | x.unsqueeze(axis=1)
torch.unsqueeze(x, axis=0) | x.narrow(axis=1, start=1, length=2) | x.select(axis=0, index=1)
torch.chunk(x, 3, axis=1)[1] | x.unbind(axis=1)[2] | x.repeat_interleave(2, axis=0)
torch.gather(x, axis=1, index=ids) | torch.take_along_dim(x, ids, axis=1)
m.index_select(axis=0, index=rows) | m.index_add(axis=0, index=rows, source=m)
x.scatter_add(axis=1, index=ids, src=y[:, :2]) | x.scatter(axis=1, index=ids[:, :1], src=y[:, :1])
torch.quantile(x, 0.5, axis=1, keepdims=True) | x.nanquantile(0.5, axis=0)
torch.tensor_split(x, 2, axis=1)[0] | x.renorm(2, axis=0, maxnorm=0.5) | x.cross(y, axis=1)
torch.trapezoid(x, axis=0)
"""


@each([e.strip() for r in LINES.split("\n") for e in r.split("|") if e])
def test_axis_means_dim(line):
    assert_same(line, printed=False)
