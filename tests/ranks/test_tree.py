"""The order of sums over micro-batches, and the walk that tells when a gradient is complete, in one
process."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lm as torch
from tinygrad_lm import nn
from tinygrad_lm.engine.core import graph
from tinygrad_lm.ranks import backward
from tinygrad_lm.ranks.gradients import Gradients
from tinygrad_lm.ranks.group import Group
from tinygrad_lm.ranks.tree import Stack, Subtree, share, subtrees


def joined(a, b):
    return f"({a}+{b})"


def expression(parts):
    stack = Stack(joined)
    for place, value in parts:
        stack.push(place, value)
    return stack.total()


def by_halves(names):
    """The definition: the left part is the largest power of two below the whole."""
    if len(names) == 1:
        return names[0]
    left = 1 << ((len(names) - 1).bit_length() - 1)
    return joined(by_halves(names[:left]), by_halves(names[left:]))


@given(st.integers(1, 70), st.integers(1, 40))
def test_any_number_of_ranks_adds_in_one_order(count, size):
    names = [str(k) for k in range(count)]
    there = []
    for rank in range(size):
        stack = Stack(joined)
        for k in share(count, rank, size):
            stack.push(Subtree(0, k), names[k])
        assert [place for place, _ in stack.parts] == subtrees(share(count, rank, size))
        there += stack.parts
    assert expression(there) == by_halves(names)


@given(st.integers(0, 70), st.integers(1, 40))
def test_shares_are_neighbours_and_even(count, size):
    shares = [share(count, rank, size) for rank in range(size)]
    assert [k for each in shares for k in each] == [*range(count)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_order_is_that_of_a_binary_tree():
    assert by_halves([*"abcdefg"]) == "(((a+b)+(c+d))+((e+f)+g))"
    assert Stack(joined).total() is None


# ---------------------------------------------------------------- the walk back


class Heard(backward.Listener):
    """Notes what it is told, and which nodes had been visited by then."""

    def __init__(self, leaves):
        self.leaves, self.told, self.turns, self.ended = set(leaves), {}, 0, 0

    def arrived(self, leaf):
        assert leaf not in self.told
        self.told[leaf] = self.turns

    def turn(self):
        self.turns += 1

    def finished(self):
        self.ended += 1


@pytest.fixture
def tied():
    """Three layers, the last with the weight of the first, and one that is not used."""
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)])
    model[2].weight = model[0].weight
    return model


def loss_of(model, x):
    return model[2](model[1](model[0](x).tanh()).tanh()).square().mean()


def test_gradients_are_told_of_when_they_are_complete_and_are_those_of_the_plain_walk(tied):
    x = torch.randn(5, 4)
    loss_of(tied, x).backward()
    wanted = {p: p.grad.numpy().copy() for p in tied.parameters() if p.grad is not None}
    tied.zero_grad()
    heard = Heard(tied.parameters())
    backward.listen(heard)
    loss_of(tied, x).backward()
    assert {p for p in tied.parameters() if p.grad is not None} == set(wanted) == set(heard.told)
    for p, g in wanted.items():
        assert p.grad.numpy().tobytes() == g.tobytes()
    # The last layer's bias is complete long before the first layer's; its weight is used there too.
    last, first = heard.told[tied[2].bias], heard.told[tied[0].bias]
    assert last < heard.told[tied[1].weight] < first
    assert heard.told[tied[2].weight] >= first - 1 > last
    assert heard.ended == 1
    tied.zero_grad()
    loss_of(tied, x).backward()  # it listened to one walk
    assert heard.ended == 1 and tied[0].weight.grad is not None


def test_who_need_not_know_early_is_told_at_the_end(tied):
    heard = Heard(tied.parameters())
    heard.early = False
    backward.listen(heard)
    loss_of(tied, torch.ones(2, 4)).backward()
    assert heard.ended == 1 and not heard.turns and len(heard.told) == 5
    assert all((p.grad is not None) == (p in heard.told) for p in tied.parameters())


def test_anomaly_mode_and_a_listener_hear_the_same_walk(tied):
    heard = Heard(tied.parameters())
    loss = loss_of(tied, torch.ones(2, 4))
    backward.listen(heard)
    for number in (1, 2):  # switched on before the listener comes, and after
        with torch.autograd.set_detect_anomaly(True):
            backward.listen(heard)
            loss.backward(retain_graph=True)
            heard.told.clear()
            assert heard.ended == 2 * number - 1
            (torch.ones(1, requires_grad=True) * 2).backward()  # with nobody to tell
            backward.listen(heard)
            bad = tied[0].weight.sum() * float("nan")
            with pytest.raises(RuntimeError, match="nan"):
                bad.backward()
            heard.told.clear()
        loss.backward(retain_graph=True)
        heard.told.clear()
        assert heard.ended == 2 * number
        backward.listen(heard)


def test_a_walk_that_reaches_nothing_of_it_leaves_a_listener_waiting(tied):
    heard = Heard(tied.parameters())
    backward.listen(heard)
    other = torch.ones(3, requires_grad=True)
    (other * 2).sum().backward()
    assert other.grad.tolist() == [2, 2, 2] and not heard.ended
    (g,) = torch.autograd.grad(loss_of(tied, torch.ones(2, 4)), [tied[0].weight])
    assert not heard.ended and tied[0].weight.grad is None and g.shape == (4, 4)
    loss_of(tied, torch.ones(2, 4)).backward()
    assert heard.ended == 1


def test_hooks_and_leaves_without_a_gradient(tied):
    leaf = torch.ones(3, requires_grad=True)
    unused = torch.ones(3, requires_grad=True)
    leaf.register_hook(lambda g: g * 10)
    seen = []
    leaf.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.tolist()))
    heard = Heard([leaf, unused])
    backward.listen(heard)
    y = leaf * unused.detach()
    y.register_hook(lambda g: g + 1)
    y.sum().backward()
    assert seen == [[20, 20, 20]] and set(heard.told) == {leaf} and heard.ended == 1
    backward.listen(heard)
    heard.told.clear()
    leaf.grad = None
    leaf.backward(torch.ones(3))  # a root
    assert leaf.grad.tolist() == [10, 10, 10] and heard.ended == 2


def test_a_leaf_that_gets_no_gradient_from_its_last_user():
    class Nothing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return None

    leaf, other = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    heard = Heard([leaf, other])
    backward.listen(heard)
    (Nothing.apply(leaf) + other).sum().backward()
    assert set(heard.told) == {other} and leaf.grad is None and heard.ended == 1


def test_memory_of_a_walk_that_tells_is_freed_on_the_way(tied):
    heard = Heard(tied.parameters())
    backward.listen(heard)
    loss = loss_of(tied, torch.ones(2, 4))
    node = loss.node
    loss.backward()
    assert node.pullbacks is graph.spent
    with pytest.raises(RuntimeError, match="already walked"):
        loss.backward()


# ---------------------------------------------------------------- sums in one process


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_sums_in_one_process_are_added_in_the_order_of_the_tree(tied, count):
    xs = [torch.randn(5, 4) for _ in range(count)]
    each = []
    for x in xs:
        loss_of(tied, x).backward()
        each.append([None if p.grad is None else p.grad.numpy() for p in tied.parameters()])
        tied.zero_grad()
    sums = Gradients(tied.parameters(), Group())
    for scale in (1, 1 / count):
        sums.begin(count, scale)
        for k in sums.mine:
            sums.backward(loss_of(tied, xs[k]), k)
        sums.finish()
        for p, parts in zip(tied.parameters(), zip(*each)):
            if parts[0] is None:
                assert p.grad is None
                continue
            stack = Stack(np.add)
            for k, part in enumerate(parts):
                stack.push(Subtree(0, k), part)
            wanted = stack.total() * np.float32(scale)
            assert p.grad.numpy().tobytes() == wanted.tobytes()
        tied.zero_grad()
