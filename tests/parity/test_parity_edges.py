"""Where values end: infinities, whole numbers that no float holds, no dim and no element, borders
that cut, indices too few. Each line was once answered otherwise than PyTorch answers it."""

import warnings

import pytest

pytest.importorskip("torch")

from parity import assert_same, assert_same_error, each
from test_parity_ops import lines_of

VALUES = """
torch.fmod(torch.tensor([123456789, -123456789, 2**53 + 1]), 10) | torch.fmod(x * 1e9, y)
torch.fmod(x, torch.tensor([inf, -inf, 1.0]))
torch.div(torch.tensor([123456789, -(2**53) - 1]), 1, rounding_mode="trunc")
torch.logaddexp(x, torch.tensor([inf, -inf, nan])) | torch.logaddexp(torch.tensor(inf), y)
torch.logaddexp2(x, torch.tensor([inf, -inf, 0.5])) | torch.lerp(x * 1e9, y, 1)
torch.lerp(x * 1e9, y, torch.tensor(1.0))
torch.xlogy(torch.zeros(3), torch.tensor([inf, 0.0, nan]))
torch.special.xlog1py(torch.zeros(3), torch.tensor([inf, -1.0, nan]))
k.to(torch.uint8).logit() | x.flip(()) | n.flip(()) | torch.bincount(rows, weights=w.detach())
torch.zeros(0).chunk(3) | torch.zeros(2, 0).chunk(2, 1) | (x - x.detach()).nanmedian()
z = b.detach().transpose(1, 2); z.resize_(2, 4, 3) | z = m.detach()[:, ::2]; z.resize_(3, 2)
torch.nn.functional.pad(b, (-1, 3), mode="circular")
torch.nn.functional.pad(b, (2, -1, -1, 1), mode="circular")
torch.logaddexp2(x, y.half()) | k.byte().any() | k.byte().all(1) | s.gather(0, rows * 0)
torch.nn.functional.huber_loss(x * torch.tensor([inf, 1.0, -inf]), y, reduction="none")
torch.nn.functional.smooth_l1_loss(torch.tensor([[inf], [0.3]]), y, reduction="none", beta=0.5)
"""

ERRORS = """
x.index_add(0, rows[:1], y) | x.index_add(1, rows, y[:, :1]) | torch.fmod(n, 0)
x.detach().index_reduce(0, rows[:1], y, "prod") | torch.div(n, 0, rounding_mode="trunc")
torch.cartesian_prod(x, y) | torch.meshgrid(x, v, indexing="ij") | s.scatter(0, ids, 1.0)
x.scatter(0, rows, 1.0) | torch.nn.functional.binary_cross_entropy(p / 3, p)
torch.nn.functional.avg_pool2d(b.int(), 2)
"""


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@each(lines_of(VALUES))
def test_a_line_at_an_edge_gives_what_pytorch_gives(line):
    assert_same(line, printed=False)


@each(lines_of(ERRORS))
def test_a_line_that_pytorch_refuses_is_refused(line):
    assert_same_error(line)
