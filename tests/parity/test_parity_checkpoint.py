"""Gradient checkpointing beside PyTorch's form that is not reentrant, which ours agrees with: what
wants a gradient, the gradients, how often the function is called, and what is refused."""

import pytest
from parity import BOTH, assert_same, assert_same_error, each

pytest.importorskip("torch.utils.checkpoint")

START = (
    "again = lambda *a, **k: torch.utils.checkpoint.checkpoint(*a, use_reentrant=False, **k); "
    "in_turn = lambda *a, **k: "
    "torch.utils.checkpoint.checkpoint_sequential(*a, use_reentrant=False, **k); "
)
LINES = """
again(lambda a: (a @ m).tanh(), x)
again(lambda a, b: (a * b, a - b, 3), x, y)[1]
again(lambda: m * v[:, None])
again(lambda a: a * w, x.detach())
again(lambda a: a * 2, x.detach())
again(lambda a: again(lambda c: (c @ m).exp(), a).softmax(1), x * y)
again(lambda a, scale: a.sin() * scale, x, scale=3.0)
again(lambda a: {"out": [a.sum(0), a.detach()]}, x)["out"][0]
again(lambda a: a[:, ::2].sigmoid(), x.detach().requires_grad_())
in_turn([torch.sin, torch.exp, torch.tanh], 2, x)
torch.autograd.grad(again(lambda a: a * w, x).sum(), [x, w])
"""


@each(LINES.strip().split("\n"))
def test_same_as_pytorch(line):
    assert_same(START + line, printed=False)


REFUSED = """
h = x * 1; z = again(lambda a: a.exp().exp(), h); h.mul_(2); z.sum().backward()
z = again(torch.exp, x).sum(); z.backward(); z.backward()
in_turn([torch.sin], 1, x, what=1)
"""


@each(REFUSED.strip().split("\n"))
def test_refused_as_by_pytorch(line):
    assert_same_error(START + line)


def test_dropout_and_calls():
    """In each library the second call draws what the first did, and the stream stays put."""
    for library in BOTH:
        calls, F = [], library.nn.functional

        def function(x, calls=calls, F=F):
            calls.append(F.dropout(x, 0.5))
            return calls[-1] * x

        library.manual_seed(4)
        x = library.ones(64, requires_grad=True)
        out = library.utils.checkpoint.checkpoint(function, x, use_reentrant=False)
        drawn = library.rand(1).item()
        out.sum().backward()
        library.manual_seed(4)
        kept = F.dropout(library.ones(64), 0.5)
        assert len(calls) == 2 and calls[0].tolist() == calls[1].tolist() == kept.tolist()
        assert x.grad.tolist() == (2 * kept).tolist() and drawn == library.rand(1).item()
