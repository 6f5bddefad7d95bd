"""Writing in place: what is legal and must give the right gradient, what would falsify one and must
be refused, and what a write through a view does to its base and the other way round."""

import numpy as np
import pytest

import tinygrad_lm as tg


def leaf(*values):
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


# ---------------------------------------------------------------- legal, and right


def test_a_bias_added_in_place_to_a_product():
    x, w, b = tg.randn(3, 4), tg.randn(4, 2, requires_grad=True), tg.zeros(2, requires_grad=True)
    out = x @ w
    out += b
    (out * out).sum().backward()
    want = (2 * (x @ w.detach())).tolist()
    np.testing.assert_allclose(b.grad.tolist(), np.sum(want, axis=0), rtol=1e-5)
    np.testing.assert_allclose(w.grad.tolist(), x.numpy().T @ np.array(want), rtol=1e-4, atol=1e-5)


def test_add_to_one_element():
    x = leaf(1.0, 2.0)
    y = x * x
    y[0] += 1
    (y * tg.tensor([10.0, 1.0], dtype=tg.float64)).sum().backward()
    assert y.tolist() == [2.0, 4.0] and x.grad.tolist() == [20.0, 4.0]


def test_a_written_region_passes_its_gradient_to_what_was_written():
    x, v = leaf(1.0, 2.0, 3.0), leaf(10.0)
    y = x * 2
    y[1:] = v * v
    (y * tg.tensor([1.0, 2.0, 3.0], dtype=tg.float64)).sum().backward()
    assert y.tolist() == [2.0, 100.0, 100.0]
    assert x.grad.tolist() == [2.0, 0.0, 0.0] and v.grad.tolist() == [(2 + 3) * 20.0]


@pytest.mark.parametrize(
    ("write", "values", "slopes"),
    [
        (lambda y: y.add_(1), [2.0, 3.0], [2.0, 2.0]),
        (lambda y: y.mul_(3), [3.0, 6.0], [6.0, 6.0]),
        (lambda y: y.sub_(1, alpha=2), [-1.0, 0.0], [2.0, 2.0]),
        (lambda y: y.div_(2), [0.5, 1.0], [1.0, 1.0]),
        (lambda y: y.pow_(2), [1.0, 4.0], [4.0, 8.0]),
        (lambda y: y.exp_(), [np.e, np.e**2], [2 * np.e, 2 * np.e**2]),
        (lambda y: y.zero_(), [0.0, 0.0], [0.0, 0.0]),
        (lambda y: y.fill_(4.0), [4.0, 4.0], [0.0, 0.0]),
        (lambda y: y.copy_(tg.tensor([7.0, 8.0])), [7.0, 8.0], [0.0, 0.0]),
        (lambda y: y.clamp_(max=1.5), [1.0, 1.5], [2.0, 0.0]),
        (lambda y: y.masked_fill_(tg.tensor([True, False]), 9.0), [9.0, 2.0], [0.0, 2.0]),
        (lambda y: y.__setitem__(tg.tensor([False, True]), 5.0), [1.0, 5.0], [2.0, 0.0]),
        (lambda y: y.__setitem__([1, 1], 5.0), [1.0, 5.0], [2.0, 0.0]),
        (lambda y: y.mul_(y), [1.0, 4.0], [4.0, 8.0]),
    ],
)  # fmt: skip
def test_in_place_forms(write, values, slopes):
    """Upstream 2 for every element; y is [1, 2] before."""
    x = leaf(1.0, 2.0)
    y = x * 1
    memory = y.data_ptr()
    write(y)
    assert y.data_ptr() == memory
    np.testing.assert_allclose(y.tolist(), values)
    (y * 2).sum().backward()
    np.testing.assert_allclose(x.grad.tolist(), slopes)


def test_what_no_pullback_keeps_may_be_overwritten():
    """A sum keeps no array."""
    x = leaf(1.0, 2.0)
    y = x * 1
    total = y.sum()
    y.zero_()
    total.backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_only_what_a_wanted_gradient_needs_is_kept():
    """The factor's pullback would need y; nobody asks for it, so y may change."""
    x, factor = leaf(1.0, 2.0), tg.tensor([5.0, 6.0], dtype=tg.float64)
    y = x * 1
    product = y * factor
    y.zero_()
    product.sum().backward()
    assert x.grad.tolist() == [5.0, 6.0]


def test_unrecorded_tensors_are_plain_memory():
    d = tg.zeros(4)
    v = d.view(2, 2)
    v[0] = 1
    d[3] = 5
    assert d.tolist() == [1.0, 1.0, 0.0, 5.0] and v.tolist() == [[1.0, 1.0], [0.0, 5.0]]
    row = d[0]
    row += 9
    assert d[0].item() == 10.0 and not d.requires_grad


# ---------------------------------------------------------------- views and bases


def test_a_write_through_a_view_reaches_its_base():
    x = leaf(3.0, 4.0)
    d = tg.zeros(4, dtype=tg.float64)
    v = d.view(2, 2)
    v[0] = x * x
    assert d.requires_grad and d.tolist() == [9.0, 16.0, 0.0, 0.0]
    (d * tg.arange(4.0)).sum().backward()
    assert x.grad.tolist() == [0.0, 8.0]


def test_a_write_to_the_base_reaches_its_views():
    x, d = leaf(3.0), tg.zeros(4, dtype=tg.float64)
    v, t = d.view(2, 2), d.view(2, 2).t()
    d[2] = x[0] * 2
    assert v.requires_grad and t[0, 1].item() == 6.0
    (v[1, 0] * t[0, 1]).backward()
    assert x.grad.tolist() == [24.0]


def test_views_of_views_and_siblings():
    x = leaf(1.0, 2.0, 3.0, 4.0)
    y = x * 1
    a, b = y[:3], y[1:]
    a[1] = 10.0
    b *= 2
    assert y.tolist() == [1.0, 20.0, 6.0, 8.0] and a.tolist() == [1.0, 20.0, 6.0]
    (a.sum() + y.sum() + b[0]).backward()
    assert x.grad.tolist() == [2.0, 0.0, 4.0, 2.0]


def test_an_element_of_a_vector_is_a_view():
    x = tg.zeros(3)
    first = x[0]
    first += 5
    assert x.tolist() == [5.0, 0.0, 0.0]


def test_a_transposed_view_is_written_in_place():
    x = leaf(1.0)
    d = tg.zeros(2, 3, dtype=tg.float64)
    d.t()[2] = x * 5
    assert d.tolist() == [[0.0, 0.0, 5.0], [0.0, 0.0, 5.0]]
    d.sum().backward()
    assert x.grad.tolist() == [10.0]


def test_data_and_detach_write_without_history():
    x = leaf(1.0, 2.0)
    x.data += 1
    x.detach()[0] = 7.0
    assert x.tolist() == [7.0, 3.0] and x.is_leaf
    with tg.no_grad():
        x -= 1
        x.mul_(2)
    assert x.tolist() == [12.0, 4.0] and x.requires_grad and x.is_leaf


def test_a_clone_has_memory_of_its_own():
    x = leaf(1.0)
    y = (x * 2).clone()
    y[0] = 5.0
    assert x.tolist() == [1.0]


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize("write", [
    lambda y: y.add_(1), lambda y: y.__setitem__(0, 5.0), lambda y: y.data.mul_(2.0),
    lambda y: y.detach().zero_(), lambda y: y[:1].fill_(2.0), lambda y: y.view(1, 2).exp_(),
])  # fmt: skip
def test_a_write_that_would_falsify_a_gradient_is_refused(write):
    """exp keeps its value for backward."""
    x = leaf(1.0, 2.0)
    y = x.exp()
    z = y * 1
    write(y)
    with pytest.raises(RuntimeError, match=r"\[backward\].*inplace operation.*clone"):
        z.sum().backward()


def test_an_operand_written_later_is_refused_and_an_unused_one_is_not():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    other = tg.tensor([5.0, 6.0], dtype=tg.float64)
    product, total = x * other, x + other
    other += 1
    total.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="must keep its value"):
        product.sum().backward()
    assert w.grad is None


def test_a_weight_updated_between_forward_and_backward_is_refused():
    w, x = leaf(1.0, 2.0), tg.ones(2, dtype=tg.float64)
    loss = (w * w * x).sum()
    with tg.no_grad():
        w -= 0.1
    with pytest.raises(RuntimeError, match="written in place after it was used"):
        loss.backward()


@pytest.mark.parametrize("write", [
    lambda x: x.add_(1), lambda x: x.__setitem__(0, 5.0), lambda x: x[:1].zero_(),
    lambda x: x.__iadd__(1), lambda x: x.view(2, 1).mul_(2), lambda x: x.copy_(tg.ones(2)),
])  # fmt: skip
def test_a_leaf_is_not_written_while_recording(write):
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        write(x)
    assert x.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("write", "error", "says"),
    [
        (lambda y: y.add_(tg.ones(3, 2)), RuntimeError, "own shape (2,), got (3, 2)"),
        (lambda y: y.__setitem__(slice(None), tg.ones(3)), RuntimeError, "region (2,), got (3,)"),
        (lambda y: y.__setitem__(7, 1.0), IndexError, "7"),
        (lambda y: y.__setitem__(0.5, 1.0), IndexError, "must be integers"),
        (lambda y: y.long().add_(0.5), RuntimeError, "cannot be kept"),
    ],
)
def test_wrong_writes(write, error, says):
    for y in (tg.ones(2), leaf(1.0, 1.0) * 1):
        with pytest.raises(error) as raised:
            write(y)
        assert says in str(raised.value)


def test_overlapping_memory_is_read_before_it_is_written():
    x = tg.arange(5.0)
    x[1:] = x[:-1]
    assert x.tolist() == [0.0, 0.0, 1.0, 2.0, 3.0]
    y = leaf(1.0, 2.0, 3.0) * 1
    y[1:] = y[:-1]
    assert y.tolist() == [1.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("make", "stride"),
    [
        (lambda: tg.zeros(3, 1), (1, 1)),
        (lambda: tg.zeros(1, 3), (3, 1)),
        (lambda: tg.zeros(2, 1, 3), (3, 3, 1)),
        (lambda: tg.zeros(2, 3).unsqueeze(0), (6, 3, 1)),
        (lambda: tg.zeros(2, 3).t(), (1, 3)),
        (lambda: tg.zeros(3, 1).expand(3, 4), (1, 0)),
    ],
)
def test_strides_where_a_size_is_one(make, stride):
    assert make().stride() == stride


# ---------------------------------------------------------------- memory that was replaced


def replaced(whose, size):
    """x, its copy `base` and a view of that, after the memory of one of them became another."""
    x = tg.ones(8, requires_grad=True)
    base = x * 1
    view = base[2:]
    tensor = {"base": base, "view": view}[whose]
    tensor.data = tg.zeros(size)
    return x, base, view


@pytest.mark.parametrize("size", [1, 2, 6, 8, 100_000])
@pytest.mark.parametrize("whose", ["base", "view"])
def test_a_view_whose_memory_or_base_was_replaced_is_a_tensor_of_its_own(whose, size):
    """A write to one is none to the other, and a gradient is either right or refused."""
    x, base, view = replaced(whose, size)
    kept = base.detach().clone()
    view.mul_(2)
    assert base.tolist() == kept.tolist()
    if whose == "view":
        base.sum().backward()
        assert x.grad.tolist() == [1] * 8
    elif size == 8:
        base.sum().backward()
        assert x.grad.tolist() == [1] * 8

    x, base, view = replaced(whose, size)
    kept = view.detach().clone()
    base.mul_(2)
    assert view.tolist() == kept.tolist()
    if whose == "base" or size == 6:
        (view * 1).sum().backward()
        assert x.grad.tolist() == [0, 0] + [1] * 6


@pytest.mark.parametrize("cut", [slice(4, None), slice(0, 3), slice(3, 5)])
def test_a_view_that_is_no_part_of_its_base_any_more_is_refused(cut):
    """The same memory, but the base has become a piece of it."""
    base = tg.ones(8, requires_grad=True) * 1
    view = base[2:]
    base.data = base.data[cut]
    view.mul_(2)
    with pytest.raises(RuntimeError, match="a view must lie within its base"):
        base.backward(tg.ones(base.shape))


def test_a_leaf_whose_memory_was_replaced_does_not_forbid_writes_to_its_former_views():
    w = tg.ones(4, requires_grad=True)
    view = w[1:]
    with pytest.raises(RuntimeError, match="a view of a leaf"):
        view.mul_(2)
    w.data = tg.zeros(4)
    view.mul_(2)
    assert view.tolist() == [2, 2, 2] and w.tolist() == [0] * 4


@pytest.mark.parametrize("rows", [2, 5, 20])
@pytest.mark.parametrize("read", [lambda w: w[[0, 1, 1]], lambda w: w[:2], lambda w: w[1]])
def test_a_gradient_of_another_size_than_its_leaf_has_now_is_refused(read, rows):
    w = tg.ones(10, 4, requires_grad=True)
    out = read(w)
    w.data = tg.ones(rows, 4)
    with pytest.raises(RuntimeError, match=r"input's shape \(\d+, 4\), got \(10, 4\)"):
        out.sum().backward()
    assert w.grad is None


@pytest.mark.parametrize("name", ["squeeze_", "unsqueeze_"])
def test_a_new_shape_without_recording_keeps_the_way_back(name):
    leaf = tg.tensor([[1.0, 2.0]], requires_grad=True)
    moved = leaf * 3
    with tg.no_grad():
        getattr(moved, name)(0)
    (moved * moved).sum().backward()
    assert moved.requires_grad and leaf.grad.tolist() == [[18.0, 36.0]]
