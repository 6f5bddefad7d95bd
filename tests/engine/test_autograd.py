"""The walk back through the graph: sums over every path, order, release, errors, hooks, modes, and
a Tensor's own protocols. No op is tested here for its mathematics."""

import contextlib
import copy
import gc
import math
import pickle
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import autograd
from tinygrad_lm.autograd import Function, grad, gradcheck, gradgradcheck, higher_order
from tinygrad_lm.engine.core.op import primitive
from tinygrad_lm.engine.core.tensor import Tensor


def leaf(*values, dtype=tg.float64):
    return tg.tensor(values if len(values) != 1 else values[0], dtype=dtype, requires_grad=True)


def gradient(f, *values):
    x = leaf(*values)
    f(x).sum().backward()
    return x.grad.tolist()


# ---------------------------------------------------------------- sums over paths


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (lambda x: x - x, 0.0),
        (lambda x: x + x, 2.0),
        (lambda x: x * x, 6.0),
        (lambda x: x / x, 0.0),
        (lambda x: (x * 2) * (x * 2) + x, 25.0),  # a diamond
        (lambda x: (y := x * x) * y + y, 114.0),  # a diamond below a diamond
        (lambda x: sum((x * k for k in range(1, 5)), x), 11.0),
    ],
)
def test_every_path_counts_once(f, slope):
    assert gradient(f, 3.0) == slope


def test_a_late_path_waits_for_the_early_one():
    """The short way to x must not be walked on before the long one has arrived."""
    x = leaf(2.0)
    y = x * 3
    long = y
    for _ in range(5):
        long = long * 1.5
    (y * long).backward()
    assert x.grad.item() == pytest.approx(2 * 9 * 2 * 1.5**5)


def test_tied_weights_get_the_sum():
    w = leaf(1.0, 2.0)
    ids = tg.tensor([0, 1, 1])
    (w[ids] * w.sum()).sum().backward()
    total, picked = 3.0, np.array([1.0, 2.0])
    assert w.grad.tolist() == (total * picked + (1 + 2 + 2)).tolist()


def test_repeated_indices_add_up_the_same_way_every_time():
    rng = np.random.default_rng(0)
    ids, g = (
        tg.tensor(rng.integers(0, 7, 500)),
        tg.tensor(rng.normal(size=(500, 3)), dtype=tg.float32),
    )
    found = []
    for _ in range(3):
        w = tg.zeros(7, 3, requires_grad=True)
        w[ids].backward(g)
        found.append(w.grad.numpy())
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    want = np.zeros((7, 3))
    for i, row in zip(ids.tolist(), g.tolist()):
        want[i] += row
    np.testing.assert_allclose(found[0], want, rtol=1e-4, atol=1e-4)


def test_leaf_gradients_never_share_memory():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    g = tg.ones(2, dtype=tg.float64)
    (x + y).backward(g)
    x.grad[0] = 100
    assert y.grad.tolist() == [1.0, 1.0] and g.tolist() == [1.0, 1.0]
    z = leaf(1.0, 2.0)
    z.reshape(2, 1).backward(g := tg.ones(2, 1, dtype=tg.float64))
    z.grad[0] = 100
    assert g.tolist() == [[1.0], [1.0]]


def test_gradients_accumulate_and_keep_their_memory():
    x = leaf(1.0, 2.0)
    (x * 2).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad is first and x.grad.tolist() == [5.0, 5.0]


def test_the_upstream_gradient_is_left_alone():
    x, g = leaf(1.0, 2.0), tg.ones(2, dtype=tg.float64)
    y = x * 1
    (y + y + y).backward(g)
    assert g.tolist() == [1.0, 1.0] and x.grad.tolist() == [3.0, 3.0]


def test_an_upstream_gradient_may_want_one_itself():
    """Without create_graph that means nothing."""
    x, start = tg.randn(4, 5, requires_grad=True), tg.ones(4, 6, requires_grad=True)
    w = tg.randn(6, 5)
    for y in (x @ w.T, tg.nn.functional.linear(x, w), x[:, :1] + tg.zeros(4, 6)):
        slopes = []
        for g in (start, start.detach()):
            x.grad = None
            y.backward(g, retain_graph=True)
            slopes.append(x.grad)
        assert not slopes[0].requires_grad
        assert (slopes[0] == slopes[1]).all()


# ---------------------------------------------------------------- long chains and memory


def test_a_long_chain_works_and_is_released():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1.0
    del y


def test_a_long_chain_can_be_dropped_without_a_walk():
    y = leaf(1.0)
    for _ in range(20_000):
        y = y * 1.0
    alive = y.detach()
    del y
    assert alive.item() == 1.0


def step(w, x):
    loss = ((x @ w).tanh().square().mean() + w[0].sum() * 0.1).log()
    loss.backward()
    with tg.no_grad():
        w -= 0.01 * w.grad
    w.grad = None


def test_memory_is_flat_without_the_garbage_collector():
    """No reference cycle: what a step made is gone when it ends, counted in objects and bytes."""
    w, x = tg.randn(8, 8, requires_grad=True), tg.randn(16, 8)
    gc.collect()
    gc.disable()
    try:
        tracemalloc.start()
        for _ in range(120):  # an interpreter without a lock frees some of its own memory late
            step(w, x)
        size = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            step(w, x)
        size = tracemalloc.get_traced_memory()[0] - size
        tracemalloc.stop()
        objects = len(gc.get_objects())
        for _ in range(900):
            step(w, x)
        objects = len(gc.get_objects()) - objects
    finally:
        tracemalloc.stop()
        gc.enable()
    assert size < 10_000 and objects < 50, f"{size} bytes, {objects} objects more"


def test_the_walk_frees_as_it_goes():
    """An intermediate array lives no longer than the pullback that needs it."""
    import weakref

    x = tg.ones(10, requires_grad=True)
    y = x.exp()
    kept = weakref.ref(y.array)
    loss = (y * 2).sum()
    del y
    assert kept() is not None
    loss.backward()
    assert kept() is None


# ---------------------------------------------------------------- errors


def test_a_second_backward_is_refused_with_what_to_do():
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_retain_graph_walks_again():
    x = leaf(2.0)
    y = x * x * x
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 36.0


def test_a_shared_part_is_freed_for_both():
    x = leaf(2.0)
    y = x.exp()
    (y * 2).backward()
    with pytest.raises(RuntimeError, match="must not have been freed"):
        (y * 3).backward()


@pytest.mark.parametrize(
    ("attempt", "error", "says"),
    [
        (lambda x: (x * 2).backward(), RuntimeError, "scalar outputs"),
        (lambda x: (x * 2).backward(tg.ones(3)), RuntimeError, "got (3,)"),
        (lambda x: (x * 2).backward([1.0, 1.0]), TypeError, "must be a Tensor, got list"),
        (lambda x: tg.ones(1).backward(), RuntimeError, "requires_grad=True"),
        (lambda x: x.detach().sum().backward(), RuntimeError, "requires_grad=True"),
        (lambda x: grad((x * 2).sum(), tg.ones(2)), RuntimeError, "must require a gradient"),
        (lambda x: grad((x * 2).sum(), leaf(1.0)), RuntimeError, "allow_unused=True"),
        (lambda x: tg.tensor([1, 2], requires_grad=True), RuntimeError, "floating-point"),
        (lambda x: (x * 2).requires_grad_(False), RuntimeError, "detach()"),
        (lambda x: x.numpy(), RuntimeError, "detach().numpy()"),
        (lambda x: setattr(x, "grad", tg.ones(3)), RuntimeError, "got (3,)"),
        (lambda x: setattr(x, "grad", 1.0), TypeError, "Tensor or None"),
        (lambda x: setattr(x, "data", 1.0), TypeError, "must be a Tensor"),
        (lambda x: copy.deepcopy(x * 2), RuntimeError, "detach().clone()"),
        (lambda x: pickle.dumps(x * 2), RuntimeError, "detach()"),
        (lambda x: x.item(), RuntimeError, "tolist()"),
        (lambda x: bool(x), RuntimeError, "any() or all()"),
        (lambda x: len(x.sum()), TypeError, "0-d"),
        (lambda x: list(x.sum()), TypeError, "0-d"),
        (lambda x: tg.ones(2).retain_grad(), RuntimeError, "require a gradient"),
        (lambda x: tg.ones(2).register_hook(print), RuntimeError, "require a gradient"),
        (lambda x: [1, 2, 3][tg.tensor(1.0)], TypeError, "index"),
        (lambda x: (x * 2).sum().backward(create_graph=True), RuntimeError, "higher_order"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(attempt, error, says):
    with pytest.raises(error) as raised:
        attempt(leaf(1.0, 2.0))
    assert says in str(raised.value) and str(raised.value).startswith("[")


def test_a_pullback_of_the_wrong_count_is_named():
    @primitive
    def broken(x, y):
        return x + y, lambda g: (g,)

    with pytest.raises(RuntimeError, match="one gradient per input: 2 inputs, 1 gradients"):
        broken(leaf(1.0), leaf(1.0)).backward()


# ---------------------------------------------------------------- grad, hooks, retain_grad


def test_grad_returns_instead_of_adding():
    x, w = leaf(2.0), leaf(3.0)
    dx, dw = grad(x * w, [x, w])
    assert (dx.item(), dw.item()) == (3.0, 2.0) and x.grad is None and w.grad is None


def test_grad_of_intermediates_and_with_upstream():
    x = leaf(1.0, 2.0)
    y = x * 3
    z = y * y
    dy, dx = grad(z, [y, x], grad_outputs=tg.tensor([1.0, 10.0], dtype=tg.float64))
    assert dy.tolist() == [6.0, 120.0] and dx.tolist() == [18.0, 360.0]


def test_grad_of_several_outputs_is_their_sum():
    x = leaf(2.0)
    (dx,) = grad([x * 2, x * x], [x])
    assert dx.item() == 6.0


def test_unused_inputs_give_none_when_allowed():
    x, other = leaf(2.0), leaf(1.0)
    assert grad(x * 2, [x, other], allow_unused=True)[1] is None


def test_hooks_see_and_replace_gradients():
    x = leaf(2.0)
    y = x * 3
    seen = []
    handle = y.register_hook(lambda g: seen.append(g.item()))
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    (y * 5).backward(retain_graph=True)
    assert seen == [5.0] and x.grad.item() == 151.0
    handle.remove()
    (y * 5).backward()
    assert seen == [5.0] and x.grad.item() == 302.0


def test_a_hook_on_a_leaf_runs_once_on_the_sum():
    x, seen = leaf(1.0), []
    x.register_hook(lambda g: seen.append(g.item()))
    (x + x * 2 + x * 3).backward()
    assert seen == [6.0]


@pytest.mark.parametrize(
    ("write", "kept", "slope"),
    [
        (lambda y: y.mul_(3), [1, 2], [6, 12]),
        (lambda y: y.__setitem__(0, 5.0), [1, 2], [0, 4]),
        (lambda y: y.add_(1).mul_(3), [1, 2], [6, 12]),
        (lambda y: y[1:].mul_(3), [1, 2], [2, 12]),
        (lambda y: y.view(2, 1).mul_(3), [1, 2], [6, 12]),
        (lambda y: y.zero_(), [1, 2], [0, 0]),
    ],
)
def test_retain_grad_keeps_what_arrives_at_the_written_value(write, kept, slope):
    """`.grad` is about the value that a tensor has now, a hook about the one it had."""
    x = tg.ones(2, requires_grad=True)
    y, before = x * 2, []
    y.retain_grad()
    y.register_hook(lambda g: before.append(g.tolist()))
    write(y)
    (y * tg.tensor([1.0, 2.0])).sum().backward()
    assert y.grad.tolist() == kept and x.grad.tolist() == slope
    assert before == [[g / 2 for g in slope]]


def test_threads_that_share_a_leaf_lose_no_gradient():
    """Arrays so large that NumPy lets go of the lock while it adds; from None and from zeros."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for start in (None, tg.zeros(50_000), None, tg.zeros(50_000)):
            w = tg.ones(50_000, requires_grad=True)
            w.grad = start

            def passes(w=w):
                for _ in range(20):
                    (w * 1.0).sum().backward()

            threads = [threading.Thread(target=passes) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert w.grad.min() == w.grad.max() == 160
    finally:
        sys.setswitchinterval(before)


def test_retain_grad_keeps_the_gradient_of_an_intermediate():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    (y * y).backward()
    assert y.grad.item() == 12.0 and x.grad.item() == 36.0


# ---------------------------------------------------------------- modes


def test_no_grad_in_all_its_forms():
    x = leaf(1.0)

    @tg.no_grad()
    def called(x):
        return x * 2

    @tg.no_grad
    def bare(x):
        return x * 2

    with tg.no_grad():
        inside = x * 2
        with tg.enable_grad():
            again = x * 2
        after = x * 2
    with tg.inference_mode():
        inferred = x * 2
    with tg.set_grad_enabled(False):
        off = x * 2
    for y in (called(x), bare(x), inside, after, inferred, off):
        assert not y.requires_grad and y.grad_fn is None and y.is_leaf
    assert again.requires_grad and (x * 2).requires_grad and tg.is_grad_enabled()


def test_modes_are_restored_after_an_error():
    with pytest.raises(ValueError), tg.no_grad():
        raise ValueError
    assert tg.is_grad_enabled()


def test_a_decorated_generator_leaves_its_caller_alone():
    @tg.no_grad()
    def steps():
        yield tg.is_grad_enabled()
        yield tg.is_grad_enabled()
        return "end"

    def both():
        for inside in (walk := steps()):
            yield inside, tg.is_grad_enabled()
            with pytest.raises(StopIteration, match="end"):
                while True:
                    next(walk)

    assert list(both()) == [(False, True)]


def test_a_generator_of_modes_can_be_nested_in_itself():
    switch = tg.no_grad()
    with switch, switch:
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()


def test_a_walk_works_inside_no_grad():
    x = leaf(2.0)
    y = x * x
    with tg.no_grad():
        y.backward()
    assert x.grad.item() == 4.0


# ---------------------------------------------------------------- second derivatives


def test_second_and_mixed_derivatives():
    x, y = leaf(2.0), leaf(3.0)
    with higher_order():
        f = x * x * x * y
        (dx,) = grad(f, [x], create_graph=True)
    dxx, dxy = grad(dx, [x, y])
    assert dx.item() == 36.0 and dxx.item() == 36.0 and dxy.item() == 12.0


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])  # there may be kernels for the first
def test_a_gradient_penalty_trains_its_weights(dtype):
    w, x = (tg.tensor(v, dtype=dtype, requires_grad=True) for v in (0.5, 2.0))
    with higher_order():
        (slope,) = grad((w * x).tanh(), [x], create_graph=True)
    (slope * slope).backward()
    t = np.tanh(1.0)
    s = 1 - t * t  # slope = w s, and its derivative by w is s - 2 w x t s
    assert w.grad.item() == pytest.approx(2 * 0.5 * s * (s - 2 * 0.5 * 2.0 * t * s))


# ---------------------------------------------------------------- Function, @primitive, gradcheck


class Exp(Function):
    @staticmethod
    def forward(ctx, x, scale):
        out = (x * scale).exp()
        ctx.save_for_backward(out)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx, g):
        (out,) = ctx.saved_tensors
        return g * out * ctx.scale, None


def test_function_in_pytorchs_form():
    x = leaf(0.5, 1.0)
    y = Exp.apply(x, 2.0)
    assert "ExpBackward" in repr(y.grad_fn)
    assert gradcheck(lambda x: Exp.apply(x, 2.0), x)
    with tg.no_grad():
        assert not Exp.apply(x, 2.0).requires_grad


def test_a_function_is_differentiated_again_through_what_it_saved():
    """Its inputs and its own result, to any order: the derivatives of e^(2 x)."""
    x = leaf(0.5, 1.0)
    with higher_order():
        y = Exp.apply(x, 2.0)
        for order in range(1, 5):
            (y,) = grad(y.sum(), x, create_graph=True)
            assert y.tolist() == pytest.approx([2**order * math.exp(2 * v) for v in (0.5, 1.0)])


def test_a_function_of_several_results_is_differentiated_again():
    class Both(Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x * x * y, x + y

        @staticmethod
        def backward(ctx, a, b):
            x, y = ctx.saved_tensors
            return a * 2 * x * y + b, a * x * x + b

    def second(function):
        x, y = leaf(0.5, 1.0), leaf(2.0, 3.0)
        with higher_order():
            first, other = function(x, y)
            dx, dy = grad((first * other).sum(), [x, y], create_graph=True)
            return [g.tolist() for g in grad((dx * dy).sum(), [x, y])]

    assert second(Both.apply) == second(lambda x, y: (x * x * y, x + y))


def test_what_a_function_saved_must_not_be_written():
    """Its own output too, which only the context holds."""
    y = Exp.apply(leaf(0.5, 1.0), 2.0)
    y += 1.0
    with pytest.raises(RuntimeError, match="was written in place"):
        y.sum().backward()


def test_function_with_setup_context():
    class Mul(Function):
        @staticmethod
        def forward(x, y):
            return x * y

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            assert output.shape == inputs[0].shape

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return (g * y if ctx.needs_input_grad[0] else None), g * x

    assert gradcheck(Mul.apply, (leaf(0.5, 1.0), leaf(2.0, 3.0)))
    x = leaf(0.5, 1.0).detach()
    y = leaf(2.0, 3.0)
    Mul.apply(x, y).sum().backward()
    assert x.grad is None and y.grad.tolist() == [0.5, 1.0]


def test_what_a_pullback_keeps_as_a_default_must_not_be_written():
    square = primitive(lambda x: (x**2, (lambda g, x=x: g * 2 * x,)))
    x = leaf(1.0, 2.0)
    y = x * 1.0
    z = square(y)
    y += 5.0
    with pytest.raises(RuntimeError, match="was written in place"):
        z.sum().backward()


def test_function_that_returns_its_input_or_too_few_gradients():
    class Same(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g, g

    x = leaf(1.0)
    y = Same.apply(x)
    assert y is not x and y.data_ptr() != x.data_ptr()
    with pytest.raises(RuntimeError, match="one gradient per argument"):
        y.backward()


@pytest.mark.parametrize(
    "declared, error",
    [
        (lambda x, y: x * y, r"must return \(value, pullbacks\), got"),
        (lambda x, y: (x * y, (lambda g: g * y,)), "a pullback or None, got 1 for 2"),
        (lambda x, y: (x * y, (lambda g: g[:1], None)), r"keep its input's shape \(2,\), got \(1,"),
    ],
)
def test_a_wrong_op_of_a_users_own_is_told_what_is_wrong(declared, error):
    with pytest.raises((TypeError, RuntimeError), match=error):
        primitive(declared)(leaf(1.0, 2.0), leaf(3.0, 4.0)).sum().backward()


def test_a_functions_gradient_may_be_broadcast_but_not_of_another_shape():
    class Sum(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g, g

    class Wrong(Sum):
        @staticmethod
        def backward(ctx, g):
            return g, g[:2]

    x, y = leaf(1.0, 2.0, 3.0), leaf(1.0)
    Sum.apply(x, y).sum().backward()
    assert y.grad.item() == 3.0
    with pytest.raises(RuntimeError, match=r"must have the shape of its argument, \(3,\), got"):
        Wrong.apply(x, leaf(1.0, 2.0, 3.0)).sum().backward()


@primitive
def cube(x):
    return x**3, (lambda g: g * 3 * x**2,)


@primitive
def wrong_cube(x):
    return x**3, (lambda g: g * 2 * x**2,)


def test_gradcheck_of_a_users_op():
    assert gradcheck(cube, [leaf(1.0, -2.0, 0.5)])
    assert gradcheck(cube, tg.randn(6, 7, dtype=tg.float64, requires_grad=True))  # by directions
    with pytest.raises(RuntimeError) as raised:
        gradcheck(wrong_cube, [leaf(1.0, -2.0)])
    message = str(raised.value)
    assert "wrong_cube" in message and "input 0 of shape (2,), element (0,)" in message
    with pytest.raises(RuntimeError, match="random direction 0"):
        gradcheck(wrong_cube, tg.randn(6, 7, dtype=tg.float64, requires_grad=True))


def test_gradcheck_sees_an_error_that_a_sum_would_hide():
    @primitive
    def half_softmax(x):  # the gradients of a softmax add up to 0, and so do zeros
        e = np.exp(x)
        return e / e.sum(), (lambda g: g * 0,)

    with pytest.raises(RuntimeError, match="half_softmax"):
        gradcheck(half_softmax, leaf(1.0, 2.0))


@pytest.mark.parametrize(
    ("inputs", "error", "says"),
    [
        ([tg.ones(2)], ValueError, "got none"),
        ([1.0], ValueError, "got none"),
        ([tg.ones(2, requires_grad=True)], TypeError, "must be float64, input 0 of cube is torch"),
    ],
)
def test_gradcheck_refuses_what_it_cannot_check(inputs, error, says):
    with pytest.raises(error) as raised:
        gradcheck(cube, inputs)
    assert says in str(raised.value)


def test_gradcheck_wants_float64_tensors_back():
    with pytest.raises(TypeError, match="float64 Tensors, got torch.float32"):
        gradcheck(lambda x: x.float(), leaf(1.0))
    with pytest.raises(TypeError, match="got list"):
        gradcheck(lambda x: (x, [x]), leaf(1.0))


def test_gradcheck_looks_at_every_result():
    assert gradcheck(lambda x: (x * 2, x.argmax(), cube(x)), leaf(1.0, 2.0))
    with pytest.raises(RuntimeError, match="the gradient of .*lambda.* must agree"):
        gradcheck(lambda x: (x * 2, wrong_cube(x)), leaf(1.0, 2.0))
    assert not gradcheck(wrong_cube, leaf(1.0, -2.0), raise_exception=False)


def test_gradgradcheck_looks_at_the_gradient_of_the_gradient():
    """Which is wrong where a part of the gradient is detached."""
    x, y = leaf(1.0, 2.0), leaf(3.0)
    up = leaf(0.5, -1.0)
    assert gradgradcheck(lambda x, y: x.exp() * y, [x, y])
    assert gradgradcheck(lambda x: x**3, x, up)

    class Half(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x * x.detach()

    assert gradcheck(Half.apply, x)
    with pytest.raises(RuntimeError, match="for input 0 of shape"):
        gradgradcheck(Half.apply, x)
    assert not gradgradcheck(Half.apply, x, raise_exception=False, nondet_tol=1e-3)


@pytest.mark.parametrize(
    ("setting", "error"), [("check_forward_ad", NotImplementedError), ("tolerance", TypeError)]
)
def test_gradcheck_refuses_what_it_would_not_do(setting, error):
    with pytest.raises(error, match=rf"^\[gradcheck\] .*{setting}"):
        gradcheck(cube, leaf(1.0), **{setting: True})


def test_gradcheck_leaves_its_inputs_alone():
    x = leaf(1.0, 2.0)
    before = x.detach().clone()
    gradcheck(cube, x)
    assert x.grad is None and tg.equal(x.detach(), before)


# ---------------------------------------------------------------- a Tensor's protocols


def test_data_or_sizes():
    assert Tensor([2.0]).tolist() == [2.0] and Tensor([2.0]).dtype is tg.float32
    assert tuple(Tensor(2, 3).shape) == (2, 3) and tuple(Tensor().shape) == (0,)
    assert tuple(Tensor(5).shape) == (5,) and tuple(Tensor(Tensor(2, 3).shape).shape) == (2, 3)


def test_data_is_an_alias_and_assigning_swaps():
    x = leaf(1.0, 2.0)
    x.data[0] = 5.0
    assert x.tolist() == [5.0, 2.0] and not x.data.requires_grad
    old = x.data
    x.data = tg.tensor([7.0, 8.0], dtype=tg.float64)
    assert x.tolist() == [7.0, 8.0] and old.tolist() == [5.0, 2.0] and x.requires_grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [14.0, 16.0]


def test_deepcopy_is_independent_and_keeps_identity_of_shared_parts():
    x = leaf(1.0, 2.0)
    (x * 2).sum().backward()
    a, b = copy.deepcopy([x, x])
    assert a is b and a is not x and a.requires_grad and a.grad.tolist() == [2.0, 2.0]
    a.data[0] = 9.0
    assert x.tolist() == [1.0, 2.0]


def test_pickle_keeps_values_and_the_flag():
    x = pickle.loads(pickle.dumps(leaf(1.0, 2.0)))
    assert x.tolist() == [1.0, 2.0] and x.requires_grad and x.dtype is tg.float64


def test_dlpack_both_ways_shares_memory():
    x = tg.arange(4.0)
    there = np.from_dlpack(x)
    there[0] = 7.0
    assert x[0].item() == 7.0
    source = np.arange(3.0)
    back = tg.from_dlpack(source)
    source[1] = 5.0
    assert back.tolist() == [0.0, 5.0, 2.0]
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(leaf(1.0))


def test_numpy_arrays_leave_arithmetic_to_the_tensor():
    x = leaf(1.0, 2.0)
    for y in (np.ones(2) * x, np.float64(2) * x, np.ones(2) + x, np.ones(2) / x, np.ones(2) - x):
        assert isinstance(y, Tensor) and y.requires_grad
    assert np.asarray(x.detach()).tolist() == [1.0, 2.0]
    for function in (np.exp, np.asarray):
        with pytest.raises(RuntimeError, match="detach"):
            function(x)


def test_autograd_page_holds_what_it_promises():
    for name in autograd.__all__:
        assert callable(getattr(autograd, name))


PIECES = {
    "all, in order": [(0, 2), (2, 4), (4, 6)],
    "all, out of order": [(4, 6), (0, 2), (2, 4)],
    "one is missing": [(0, 2), (4, 6)],
    "the last is missing": [(0, 2), (2, 4)],
    "two overlap": [(0, 3), (2, 6)],
    "one twice": [(0, 3), (0, 3), (3, 6)],
    "a whole and a part": [(0, 6), (1, 2)],
}


@pytest.mark.parametrize("split_before", [False, True], ids=["apart", "one buffer"])
@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_gradients_of_pieces_meet_where_they_belong(pieces, split_before):
    """Each element gets the sum of what its pieces got, whether those lie in one array or not."""
    x = tg.randn(3, 6, requires_grad=True)
    factors = np.random.default_rng(0).standard_normal((3, 6)).astype("f4")
    wanted = np.zeros((3, 6), "f4")
    loss = 0
    for number, (start, stop) in enumerate(pieces):
        g = (number + 1) * factors
        wanted[:, start:stop] += g[:, start:stop]
        g = g if split_before else g.copy()

        @tg.primitive
        def weighed(piece, g=g[:, start:stop]):
            return (piece * g).sum(), (lambda h: g * h if h != 1 else g,)

        loss = loss + weighed(x[:, start:stop])
    loss.backward()
    np.testing.assert_allclose(x.grad.array, wanted, rtol=1e-6)


def test_pieces_in_one_buffer_are_taken_as_they_are_only_if_they_cover_it():
    """Attention's pullback writes its three gradients side by side; one that is cut off is 0."""
    whole = tg.randn(2, 5, 12, requires_grad=True)
    for cut in (None, 0, 1, 2):
        made = whole * 1  # no leaf, so that its total is handed on
        parts = [z.view(2, 5, 2, 2).transpose(1, 2) for z in made.split(4, dim=2)]
        if cut is not None:
            parts[cut] = parts[cut].detach()
        grads = []
        for reference in (False, True):
            with tg.reference_only() if reference else contextlib.nullcontext():
                out = tg.nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
            grads.append(tg.autograd.grad(out.square().sum(), whole, retain_graph=True)[0].array)
        np.testing.assert_allclose(*grads, rtol=1e-4, atol=1e-6)
        if cut is not None:
            assert (grads[0][:, :, 4 * cut : 4 * cut + 4] == 0).all()


def test_a_piece_that_lies_in_foreign_memory():
    """The array a piece is a view of need not be one like the sum: a dummy of NumPy's, bytes."""
    a = tg.randn(4, 3, requires_grad=True)
    p, q = (a * 1.0).split(2)
    buffer = tg.zeros(2, 3)
    buffer.view(2, 3).add_(q)
    (buffer.sum() + p.sum()).backward()
    assert (a.grad == 1).all()

    @primitive
    def from_bytes(x):
        raw = np.full(x.shape, 2, x.dtype).tobytes()
        return x.sum(), (lambda g: np.frombuffer(raw, x.dtype).reshape(x.shape),)

    @primitive
    def from_bytes_of_both(x):
        raw = np.zeros(48, np.uint8)
        raw.view("f4")[...] = 3
        return x.sum(), (lambda g: raw.view("f4")[:6].reshape(x.shape),)

    for op, value in ((from_bytes, 2), (from_bytes_of_both, 3)):
        a.grad = None
        p, q = (a * 1.0).split(2)
        (op(p) + op(q)).backward()
        assert (a.grad == value).all()


def test_a_leaf_takes_a_fresh_gradient_without_a_copy():
    x, made, kept = tg.randn(3, 4, requires_grad=True), [], []

    @primitive
    def fresh(x):
        def dx(g):
            slope = g * 2
            made.append(weakref.ref(slope))
            return slope

        return x * 2, (dx,)

    @primitive
    def holding(x):
        return x * 2, (lambda g: kept.append(g * 2) or kept[-1],)

    fresh(x).sum().backward()
    assert x.grad.array is made[0]()
    for op in (holding, tg.clone):  # which hands on the caller's own array
        x.grad, start = None, tg.ones(3, 4)
        op(x).backward(start)
        held = kept[0] if op is holding else start.array
        assert x.grad.array is not held and (x.grad.array == held).all()
