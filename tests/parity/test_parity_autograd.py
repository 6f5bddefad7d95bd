"""The surface of `torch.autograd` and `torch.func` against PyTorch: second derivatives as scripts
use them, `grad` and `backward` with every keyword, functions of one's own, hooks, the graph that is
shown, functional derivatives, `vmap` and modules as functions."""

import copy
import warnings

import pytest

torch = pytest.importorskip("torch")

from parity import BOTH  # noqa: E402
from test_parity_graph import assert_agree, leaves, own, plain  # noqa: E402

import tinygrad_lm as tg  # noqa: E402


@pytest.fixture(autouse=True)
def recorded_for_second_derivatives():
    """As in a script that says create_graph, under the alias."""
    with tg.autograd.higher_order():
        yield


def leaf(L, *values, dtype="float32"):
    return L.tensor(values, dtype=getattr(L, dtype), requires_grad=True)


def close(case, rtol=2e-5):
    """Both libraries give the same numbers, but for rounding."""
    want, got = (flat(case(L)) for L in BOTH)
    assert len(want) == len(got) and got == pytest.approx(want, rel=rtol, abs=1e-7)


def flat(found):
    if isinstance(found, dict):
        return [v for k in found for v in flat(found[k])]
    if isinstance(found, (list, tuple)):
        return [v for x in found for v in flat(x)]
    if isinstance(found, (torch.Tensor, tg.Tensor)):
        return found.detach().reshape(-1).tolist()
    return [found]


# ---------------------------------------------------------------- as scripts use it


def network(L, *sizes, act="Tanh"):
    L.manual_seed(3)
    layers = [L.nn.Linear(sizes[0], sizes[1]), getattr(L.nn, act)(), L.nn.Linear(*sizes[1:])]
    return L.nn.Sequential(*layers).double()


def penalty(L):
    """WGAN-GP: the slope of the critic at points between real and made ones has length 1."""
    critic, maker = network(L, 3, 8, 1, act="LeakyReLU"), network(L, 2, 8, 3, act="Softplus")
    optimizer = L.optim.Adam(critic.parameters(), 0.1, betas=(0.5, 0.9))
    losses = []
    for _ in range(4):
        real, made = L.randn(6, 3).double(), maker(L.randn(6, 2).double())
        share = L.rand(6, 1).double()
        between = (share * real + (1 - share) * made).requires_grad_(True)
        out = critic(between)
        (slope,) = L.autograd.grad(
            out, between, grad_outputs=L.ones_like(out), create_graph=True, retain_graph=True
        )
        length = slope.view(6, -1).norm(2, dim=1)
        loss = critic(made).mean() - critic(real).mean() + 10 * ((length - 1) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, [p.grad for p in [*critic.parameters(), *maker.parameters()]]


def inner_loop(L):
    """MAML: the loss after three steps of descent, differentiated through the steps."""
    model = network(L, 2, 5, 1)
    x, y = L.randn(7, 2).double(), L.randn(7, 1).double()
    weights = list(model.parameters())

    def loss(w1, b1, w2, b2):
        hidden = L.nn.functional.linear(x, w1, b1).sigmoid()
        return L.nn.functional.mse_loss(L.nn.functional.linear(hidden, w2, b2), y)

    fast = weights
    for _ in range(3):
        slopes = L.autograd.grad(loss(*fast), fast, create_graph=True)
        fast = [w - 0.5 * g for w, g in zip(fast, slopes)]
    after = loss(*fast)
    after.backward()
    return after, [w.grad for w in weights]


def along_a_vector(L):
    """A Hessian times a vector, for a loss with the usual layers."""
    model = L.nn.Sequential(
        L.nn.Linear(4, 6), L.nn.LayerNorm(6), L.nn.GELU(), L.nn.Linear(6, 3)
    ).double()
    L.manual_seed(5)
    for p in model.parameters():
        p.data = L.randn(*p.shape).double()
    x, y = L.randn(5, 4).double(), L.tensor([0, 1, 2, 1, 0])
    weights = [*model.parameters()]
    slopes = L.autograd.grad(L.nn.functional.cross_entropy(model(x), y), weights, create_graph=True)
    v = [L.randn(*w.shape).double() for w in weights]
    return L.autograd.grad(sum((s * u).sum() for s, u in zip(slopes, v)), weights)


def added_to_grad(L):
    x = leaf(L, 1.0, 2.0)
    (x**3).sum().backward(create_graph=True)
    (x.grad**2).sum().backward(inputs=[x])
    return x.grad


def twice_detached(L):
    x, y = leaf(L, 1.0, 2.0), leaf(L, 3.0, 4.0)
    (slope,) = L.autograd.grad((x**2 * y).sum(), x, create_graph=True)
    slope.detach().add_(1)
    return L.autograd.grad(slope.sum(), [x, y]), slope.requires_grad


@pytest.mark.filterwarnings("ignore:Using backward")
@pytest.mark.parametrize(
    "case", [penalty, inner_loop, along_a_vector, added_to_grad, twice_detached]
)
def test_second_derivatives_of_scripts(case):
    close(case)


# ---------------------------------------------------------------- grad and backward

# `x` and `y` are leaves of two elements, `z` is x * y.
WALKS = """
G((x * 2).sum(), [x, y], allow_unused=True)
G((x * 2).sum(), [x, y], allow_unused=True, materialize_grads=True)
G((x * 2).sum(), [x, y], materialize_grads=True)
G((x * 2).sum(), [x, y], allow_unused=False, materialize_grads=True)
G((x * 2).sum(), [x, y])
G((x * 2).sum(), {"a": x, "b": x})
G([x * 2, z.sum()], [x, y], grad_outputs=[L.ones(2), None])
G(x * 2, x, L.tensor([1.0, 3.0]), None, False, True, True)
G((x * 2).sum(), x, only_inputs=True)
G(x * 2, x)
G(x * 2, x, L.ones(3))
G([x * 2, x], x, [L.ones(2)])
G((x * 2).sum().detach(), x)
G((x * 2).sum(), x.detach())
G((z * z).sum(), [z, x, z])
G(x.sum(), x)
G(x, x, L.ones(2))
B((x * 2).sum(), grad_variables=L.tensor(2.0)); x.grad
B((x * 2).sum(), L.tensor(1.0), grad_variables=L.tensor(2.0))
B((x * 2).sum(), None, True, False, None, [x]); x.grad
B((x * 2).sum(), inputs={"x": x}); x.grad
B([x.sum(), z], [None, L.ones(2)], inputs=[z, y]); [x.grad, y.grad, z.grad]
x.sum().backward(None, True, False, [x]); x.grad
z.backward(gradient=L.ones(2), retain_graph=True); z.backward(L.ones(2)); x.grad
z.sum().backward(); z.sum().backward()
"""


@pytest.mark.filterwarnings("ignore:.*grad_variables")
@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize("line", WALKS.strip().split("\n"))
def test_grad_and_backward(line):
    def case(L):
        x, y = leaves(L)
        space = {"L": L, "x": x, "y": y, "z": x * y, "G": L.autograd.grad, "B": L.autograd.backward}
        *statements, last = line.split("; ")
        for statement in statements:
            exec(statement, space)
        found = eval(last, space)
        return list(found.items()) if isinstance(found, dict) else found

    assert_agree(case)


def test_a_batch_of_upstream_gradients_is_refused():
    x = tg.ones(2, requires_grad=True)
    with pytest.raises(NotImplementedError, match="is_grads_batched must be False"):
        tg.autograd.grad(x * 2, x, tg.ones(2, 2), is_grads_batched=True)


# ---------------------------------------------------------------- functions of one's own


def applied(forward, backward, use):
    """What `use(L, Own, x, y)` finds with a Function of these two."""

    def case(L):
        Own = own(forward, backward)(L)
        return [use(L, Own, *leaves(L)), Own.seen]

    return case


def doubled(L, ctx, x, k=2):
    ctx.mark_dirty(x)
    ctx.k = k
    return x.mul_(k)


def doubled_back(L, ctx, g):
    return g * ctx.k, None


def not_returned(L, ctx, x):
    ctx.mark_dirty(x)
    x.mul_(2)
    return x * 1


def dirty_and_kept(L, Own, x, y):
    return Own.apply(x * 1)


def scaled(L, ctx, x, w):
    ctx.mark_dirty(x)
    ctx.save_for_backward(w, x)
    return x.mul_(w), x * 3


def scaled_back(L, ctx, g, h):
    w, x = ctx.saved_tensors
    return (g + 3 * h) * w, (g * x / w).sum()


def of_a_result(L, Own, x, y):
    h = x * 1
    out = Own.apply(h, 3)
    (out * y).sum().backward()
    return x.grad, out is h, h.grad_fn.name(), y.grad


def of_a_view(L, Own, x, y):
    h = x * 1
    out = Own.apply(h[0:1])
    h.sum().backward()
    return x.grad, h, out


def of_a_constant(L, Own, x, y):
    h, w = L.ones(2), L.tensor(2.0, requires_grad=True)
    out, other = Own.apply(h, w)
    (out + other).sum().backward()
    return w.grad, out is h, h.requires_grad, h.is_leaf


def needed_before(L, Own, x, y):
    h = x * 1
    square = h * h
    Own.apply(h)
    square.sum().backward()


def square(L, ctx, x):
    ctx.save_for_backward(x, None)
    return x * x


def square_back(L, ctx, g):
    return 2 * g * ctx.saved_tensors[0]


def twice(L, Own, x, y):
    (slope,) = L.autograd.grad((Own.apply(x) * y).sum(), x, create_graph=True)
    return slope, L.autograd.grad((slope * slope).sum(), [x, y])


def facts(L, ctx, x, y, n):
    ctx.facts = [ctx.needs_input_grad, ctx.name(), n]
    return x * y


def facts_back(L, ctx, g):
    return g, g * 2, None


def facts_seen(L, Own, x, y):
    out = Own.apply(x, y.detach(), "text")
    out.sum().backward()
    return x.grad, out.grad_fn.name(), type(out.grad_fn).__name__


FUNCTIONS = {
    "dirty": applied(doubled, doubled_back, of_a_result),
    "a dirty view": applied(doubled, doubled_back, of_a_view),
    "a dirty leaf": applied(doubled, doubled_back, lambda L, Own, x, y: Own.apply(x)),
    "dirty without gradient": applied(
        doubled, doubled_back, lambda L, Own, x, y: Own.apply(L.ones(2)).requires_grad
    ),
    "dirty and not returned": applied(not_returned, square_back, dirty_and_kept),
    "a dirty constant": applied(scaled, scaled_back, of_a_constant),
    "dirty after use": applied(doubled, doubled_back, needed_before),
    "no tensor": applied(lambda L, ctx, x: 3, square_back, lambda L, Own, x, y: Own.apply(x)),
    "saves a number": applied(
        lambda L, ctx, x: ctx.save_for_backward(3), square_back, lambda L, Own, x, y: Own.apply(x)
    ),
    "twice": applied(square, square_back, twice),
    "what ctx knows": applied(facts, facts_back, facts_seen),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_ones_own(name):
    assert_agree(FUNCTIONS[name])


def test_setup_context_knows_defaults_and_names():
    def case(L):
        class Own(L.autograd.Function):
            @staticmethod
            def forward(x, k=2):
                return x * k

            @staticmethod
            def setup_context(ctx, inputs, output):
                ctx.k = inputs[1]

            @staticmethod
            def backward(ctx, g):
                return g * ctx.k, None

        x = leaf(L, 1.0, 2.0)
        outs = [Own.apply(x), Own.apply(x, k=5), Own.apply(x, 7)]
        return outs, L.autograd.grad(sum(outs).sum(), x)

    assert_agree(case)


def once(L, use):
    class Own(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        @L.autograd.function.once_differentiable
        def backward(ctx, g):
            assert not L.is_grad_enabled()
            return 2 * g * ctx.saved_tensors[0]

    x = leaf(L, 1.0, 2.0)
    (slope,) = L.autograd.grad(use(Own.apply(x)).sum(), x, create_graph=True)
    return slope, x


def test_once_differentiable():
    assert_agree(lambda L: once(L, lambda y: y)[0])
    assert_agree(lambda L: once(L, lambda y: y**2)[0])
    for L in BOTH:
        slope, _ = once(L, lambda y: y**2)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            slope.sum().backward()


def test_what_a_function_cannot_do_here_is_refused():
    class Own(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_forward(x)

    with pytest.raises(NotImplementedError, match=r"^\[save_for_forward\] gradients go backward"):
        Own.apply(tg.ones(2))


# ---------------------------------------------------------------- hooks and the graph


def hooks_in_order(L):
    seen = []
    x = leaf(L, 1.0, 2.0)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 3)
    y.register_hook(lambda g: seen.append(plain(g)))
    handle = x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: seen.append(plain(g)))
    y.sum().backward(retain_graph=True)
    handle.remove()
    y.sum().backward()
    return seen, x.grad, y.grad


def after_accumulation(L):
    seen = []
    x = leaf(L, 1.0, 2.0)
    x.register_hook(lambda g: seen.append("before"))
    first = x.register_post_accumulate_grad_hook(lambda p: seen.append([p is x, plain(p.grad)]))
    x.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", None))
    (x * 2).sum().backward()
    seen.append(x.grad)
    first.remove()
    (x * 2).sum().backward()
    twin = copy.deepcopy(x)
    (twin * 2).sum().backward()
    return seen, x.grad, twin.grad, L.autograd.grad((x * 2).sum(), x)


GRAPH = {
    "hooks in order": hooks_in_order,
    "after accumulation": after_accumulation,
    "after accumulation in the middle": lambda L: (leaf(L, 1.0) * 2)
    .register_post_accumulate_grad_hook(print),
    "after accumulation of a constant": lambda L: L.ones(1)
    .register_post_accumulate_grad_hook(print),
    "another shape": lambda L: [
        (x := leaf(L, 1.0, 2.0)).register_hook(lambda g: L.ones(3)) and None,
        (x * 2).sum().backward(),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPH)
def test_hooks(name):
    assert_agree(GRAPH[name])


def names_in(fn):
    return fn and [fn.name(), [(names_in(f), i) for f, i in fn.next_functions]]


# Of x = leaf, c = a constant, y = (x * c).exp().
SHOWN = """
names_in(y.grad_fn) | names_in((y + x).sum().grad_fn) | names_in((x * 2).grad_fn) | x.grad_fn
type(y.grad_fn).__name__ | y.grad_fn == y.grad_fn | y.grad_fn == (x * c).grad_fn
{y.grad_fn: 1}[y.grad_fn] | y.grad_fn.next_functions[0][0].next_functions[0][0].variable is x
y.retain_grad(); y.retains_grad | y.retains_grad | x.retains_grad | x.retain_grad(); x.retains_grad
x.output_nr | y.output_nr | x.is_leaf | y.is_leaf | c.is_leaf | c._version | x._version
c.add_(1); c[0:1]._version > 0 | v = c[0:1]; v.add_(1); c._version > 0 | y.detach().is_leaf
isinstance(y.grad_fn, L.autograd.graph.Node) | c.grad_fn
"""


@pytest.mark.parametrize("line", [p for r in SHOWN.strip().split("\n") for p in r.split(" | ")])
def test_the_graph_that_is_shown(line):
    def case(L):
        x, c = leaf(L, 1.0, 2.0), L.ones(2)
        space = {"L": L, "x": x, "c": c, "y": (x * c).exp(), "names_in": names_in}
        *statements, last = line.split("; ")
        for statement in statements:
            exec(statement, space)
        return eval(last, space)

    assert_agree(case)


def test_what_a_node_keeps_is_not_moved():
    for refused in (tg.autograd.graph.saved_tensors_hooks, tg.autograd.graph.save_on_cpu):
        with pytest.raises(NotImplementedError, match="must stay where it is"):
            refused(print, print)


# ---------------------------------------------------------------- anomalies


def anomaly(L, *settings):
    x = leaf(L, 0.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with L.autograd.detect_anomaly(*settings):
            y = (x.sqrt() * 0).sum()
            inside = L.is_anomaly_enabled(), L.is_anomaly_check_nan_enabled()
            assert not L.is_autocast_enabled()
            try:
                y.backward(retain_graph=True)
                said = ""
            except RuntimeError as error:
                said = str(error)
    y.backward()
    named = "Function 'SqrtBackward0' returned nan values in its 0th output" in said
    return named, inside, L.is_anomaly_enabled(), plain(x.grad)[1][1]


@pytest.mark.parametrize("settings", [(), (False,)])
def test_an_anomaly_is_named(settings):
    assert_agree(lambda L: anomaly(L, *settings))


def test_an_anomaly_is_switched_on_and_off():
    def case(L):
        found = [L.autograd.set_detect_anomaly(True) and L.is_anomaly_enabled()]
        with L.autograd.set_detect_anomaly(False):
            found.append(L.is_anomaly_enabled())
        found.append(L.is_anomaly_enabled())
        L.autograd.set_detect_anomaly(False)
        with pytest.warns(UserWarning):
            L.autograd.detect_anomaly()
        with L.autograd.set_multithreading_enabled(False):
            return [*found, L.is_anomaly_enabled()]

    assert_agree(case)


def test_an_anomaly_says_where_it_was_called():
    def the_root(x):
        return x.sqrt()

    x = leaf(tg, 0.0, 1.0)
    with tg.autograd.set_detect_anomaly(True):
        y = the_root(x) * x.exp()
        with pytest.raises(RuntimeError, match="in the_root\n    return x.sqrt()"):
            (y * 0).sum().backward()
        (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


# ---------------------------------------------------------------- functional derivatives

# x and y are constants of two elements, r is a leaf, v a vector, f, g functions; A is the page.
PAGE = """
A.jacobian(f, x) | A.jacobian(f, r) | A.jacobian(f, r, create_graph=True) | A.jacobian(f, (x,))
A.jacobian(pair, (x, y)) | A.jacobian(f, [x]) | A.jacobian(lambda x: 3, x) | A.jacobian(f, 3.0)
A.jacobian(cut, x) | A.jacobian(cut, x, strict=True) | A.jacobian(lambda x, y: x * 2, (x, y))
A.jacobian(lambda x, y: x * 2, (x, y), strict=True) | A.jacobian(f, x, strategy="other")
A.jacobian(f, x, vectorize=True, strategy="forward-mode")
A.hessian(g, x) | A.hessian(g2, (x, y)) | A.hessian(f, x) | A.hessian(L.sum, x)
A.hessian(L.sum, x, strict=True) | A.hessian(g, r) | A.hessian(g, r, create_graph=True)
A.hessian(lambda x: g(x).reshape(1), x) | A.hessian(lambda x: (g(x),), x)
A.vjp(f, x) | A.vjp(f, x, v) | A.vjp(f, x, L.ones(3)) | A.vjp(f, x, (v,)) | A.vjp(g, x)
A.vjp(f, r, v, create_graph=True) | A.vjp(pair, (x, y), (v, L.tensor(2.0)))
A.vjp(lambda x, y: x * 2, (x, y), v) | A.vjp(lambda x, y: x * 2, (x, y), v, strict=True)
A.jvp(f, x) | A.jvp(f, x, v) | A.jvp(pair, (x, y), (v, v)) | A.jvp(f, r, v, create_graph=True)
A.jvp(cut, x, v) | A.jvp(cut, x, v, strict=True) | A.jvp(lambda x: x * 2, x, v, strict=True)
A.jvp(f, L.ones(1)) | A.hvp(g, x, v) | A.vhp(g, x, v) | A.hvp(g, x) | A.hvp(g2, (x, y), (v, v))
A.vhp(L.sum, x, v) | A.vhp(L.sum, x, v, strict=True) | A.vhp(f, x, v)
F.grad(g)(x) | F.grad(g)(r) | F.grad(f)(x) | F.grad(lambda x: 3)(x) | F.grad(g)(3.0)
F.grad(lambda x: (x * r).sum())(x) | F.grad(g2, argnums=1)(x, y) | F.grad(g2, (0, 1))(x, y)
F.grad(lambda p: (p["a"] * p["b"] ** 2).sum())({"a": x, "b": y}) | F.grad(g, argnums=3)(x)
F.grad(lambda x: (g(x), x + 1), has_aux=True)(x) | F.grad(g, argnums=-1)(x)
F.grad_and_value(g)(x) | F.grad(lambda x: (x * x).sum().reshape(1))(x)
F.grad_and_value(lambda x: (g(x), x + 1), has_aux=True)(x)
F.grad(lambda x, k: (x * k).sum())(x, k=2)
F.grad(F.grad(lambda x: x**3))(L.tensor(2.0)) | F.grad(lambda x: cut(x).sum())(x)
F.vjp(f, x)[1](v) | F.vjp(pair, x, y)[1]((v, L.tensor(2.0))) | F.vjp(pair, x, y)[1](v)
F.vjp(lambda x: {"s": x * 2}, x)[1]({"s": v}) | F.vjp(lambda x: (x, x * 2), x, has_aux=True)[::2]
F.jvp(f, (x,), (v,)) | F.jvp(f, x, v) | F.jvp(pair, (x, y), (v, v)) | F.linearize(f, x)[1](v)
F.jvp(lambda x: (x**2, x), (x,), (v,), has_aux=True) | F.jacrev(f)(x) | F.jacrev(f)(r)
F.jacrev(lambda x, y: {"s": x * y}, argnums=(0, 1))(x, y) | F.jacfwd(f)(x) | F.hessian(g)(x)
F.jacrev(lambda p: (p["a"] * 2, p["a"].sum()))({"a": x}) | F.hessian(g2, argnums=(0, 1))(x, y)
F.jacrev(lambda x: (x**2, x), has_aux=True)(x) | F.hessian(f)(x)
F.vmap(lambda x: x * 2)(m) | F.vmap(L.dot)(m, m)
F.vmap(lambda a, b: a * b, in_dims=(1, None))(m, x)
F.vmap(lambda x: x * 2, in_dims=1, out_dims=1)(m)
F.vmap(lambda x: (x, x.sum()), out_dims=(1, 0))(m)
F.vmap(lambda x: 3)(m) | F.vmap(lambda a, b: a + b)(m, L.ones(3, 3)) | F.vmap(f, in_dims=None)(m)
F.vmap(lambda x: x + L.rand(1))(m) | F.vmap(f, in_dims=2)(m) | F.vmap(f, in_dims=-1)(m)
F.vmap(lambda x: x * 0 + L.rand(1), randomness="same")(m) | F.vmap(f, in_dims=(0, 0))(m)
F.vmap(lambda p, x: p["w"] * x, in_dims=({"w": 0}, 0))({"w": m}, m) | F.vmap(f)(3)
F.vmap(lambda p, x: p["w"] * x, in_dims=(0, None))({"w": m}, m[0]) | F.vmap(f, in_dims=[0])(m)
F.vmap(lambda x: {"a": x})(m) | F.vmap(lambda x: L.ones(2))(m) | F.vmap(f, randomness="other")(m)
F.vmap(lambda x, k: x * k)(m, k=2) | F.vmap(lambda x: (x, None))(m) | F.vmap(F.grad(g))(m)
F.vmap(f)(L.tensor(3.0)) | F.vmap(f, in_dims=(None,))(m) | F.vmap(F.jacrev(f))(m) | L.vmap(f)(m)
F.jacrev(F.vmap(lambda x: (x**2).sum()))(m) | F.vmap(lambda x: x[0] * 2)([m, m])
F.vmap(lambda x: x * L.rand(1), randomness="different")(m).shape
"""


def space_of(L):
    return {
        "L": L,
        "A": L.autograd.functional,
        "F": L.func,
        "x": L.tensor([1.0, 2.0]),
        "y": L.tensor([3.0, -1.0]),
        "v": L.tensor([0.5, 2.0]),
        "r": leaf(L, 1.0, 2.0),
        "m": L.arange(6.0).view(2, 3),
        "f": lambda x: x**2,
        "g": lambda x: (x**3).sum(),
        "g2": lambda x, y: (x**3 * y).sum(),
        "pair": lambda x, y: (x * y, x.sum()),
        "cut": lambda x: x.detach(),
    }


def seen(found):
    """Numbers, dtypes and whether a gradient is wanted, in the same nest."""
    if isinstance(found, dict):
        return {k: seen(x) for k, x in found.items()}
    if isinstance(found, (list, tuple)):
        return type(found)(seen(x) for x in found)
    if isinstance(found, (torch.Tensor, tg.Tensor)):
        return str(found.dtype), tuple(found.shape), found.requires_grad, found.tolist()
    return found


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.filterwarnings("ignore:Attempted to insert")
@pytest.mark.parametrize("line", [p for r in PAGE.strip().split("\n") for p in r.split(" | ")])
def test_functional_derivatives(line):
    def case(L):
        L.manual_seed(1)
        return seen(eval(line, space_of(L)))

    assert_agree(case)


def test_a_jacobian_of_nothing_is_empty():
    assert tg.autograd.functional.jacobian(tg.exp, tg.ones(0, 2)).shape == (0, 2, 0, 2)


# ---------------------------------------------------------------- modules as functions


def tied(L):
    class Tied(L.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = L.nn.Linear(2, 2), L.nn.Linear(2, 2)
            self.b.weight = self.a.weight
            self.norm = L.nn.BatchNorm1d(2)

        def forward(self, x, scale=1.0):
            return self.norm(self.b(self.a(x))) * scale

    L.manual_seed(0)
    return Tied()


# C calls functional_call; d is a Linear(2, 1), t the module above, its input m of (3, 2).
CALLS = """
C(d, {"weight": one}, x) | C(d, {"weight": one, "bias": zero}, (x,)) | C(d, {"other": x}, x)
C(d, {"other": x}, x, strict=True) | C(d, {"weight": one}, x, strict=True)
C(d, [{"weight": one}, {"bias": zero}], x) | C(d, [{"weight": one}, {"weight": one}], x)
C(d, {"weight": one}, kwargs={"input": x}) | C(d, {"weight": 3}, x) | C(d, {"weight": one})
C(t, {"a.weight": eye}, m) | C(t, {"a.weight": eye}, m, tie_weights=False)
C(t, {"norm.running_mean": x}, m, {"scale": 2.0}); [x, t.norm.running_mean]
C(t, {"a.weight": eye}, m); [t.a.weight is t.b.weight, t.a.weight is [*t.parameters()][0]]
L.func.stack_module_state([]) | L.func.stack_module_state([d, t])
L.func.stack_module_state([t, t])
L.func.stack_module_state([d, copy.deepcopy(d).eval()])
"""


@pytest.mark.parametrize("line", [p for r in CALLS.strip().split("\n") for p in r.split(" | ")])
def test_modules_as_functions(line):
    def case(L):
        L.manual_seed(0)
        space = {
            "C": L.func.functional_call, "L": L, "copy": copy, "d": L.nn.Linear(2, 1), "t": tied(L),
            "one": L.ones(1, 2), "zero": L.zeros(1), "eye": L.eye(2), "x": L.tensor([1.0, 2.0]),
            "m": L.tensor([[1.0, 2.0], [0.0, -3.0], [2.0, 5.0]]),
        }  # fmt: skip
        *statements, last = line.split("; ")
        for statement in statements:
            exec(statement, space)
        return eval(last, space)

    want, got = (outcome_of(case, L) for L in BOTH)
    if isinstance(want, type):
        assert issubclass(got, want)
    else:
        assert got == pytest.approx(want, rel=1e-5, abs=1e-6)


def outcome_of(case, L):
    try:
        return flat(case(L))
    except Exception as error:
        return type(error)


def test_a_gradient_per_example_and_several_models_at_once():
    def case(L):
        L.manual_seed(0)
        models = [L.nn.Linear(2, 1).double() for _ in range(3)]
        x, y = L.randn(4, 2).double(), L.randn(4).double()

        def loss(parameters, x, y):
            return ((L.func.functional_call(models[0], parameters, (x,)) - y) ** 2).sum()

        parameters = {k: p.detach() for k, p in models[0].named_parameters()}
        each = L.func.vmap(L.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
        stacked, buffers = L.func.stack_module_state(models)
        all_at_once = L.vmap(
            lambda p, b, x: L.func.functional_call(models[0], (p, b), (x,)), in_dims=(0, 0, None)
        )(stacked, buffers, x)
        all_at_once.sum().backward()
        return each, all_at_once, stacked["weight"].grad

    close(case)
