"""The laws that every op obeys, over every entry of the op table. What an op is called with comes
from its record; an op without a record is a failure."""

import inspect
import re

import all_specs  # noqa: F401  adds their records to the table
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_laws import (
    assert_close,
    cases,
    moved,
    numpy_of,
    pull,
    reference,
    run,
    upstream,
)
from op_specs import SPECS, Case

import tinygrad_lm as tg
from tinygrad_lm.autograd import grad, gradcheck, higher_order
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.arrays import reference_only
from tinygrad_lm.engine.core.op import OPS
from tinygrad_lm.engine.core.tensor import wrap

DIFFERENTIABLE = [name for name in OPS if name in SPECS and SPECS[name].differentiable]
NAMES = [name for name in OPS if name in SPECS]
WITH_KERNELS = [
    pytest.param(name, kind, kernel, id=f"{name}-{kernel.__module__.rpartition('kernels.')[2]}")
    for name in OPS
    for kind, kernels in OPS[name].kernels.items()
    for kernel in kernels
]


EXAMPLES = 8  # cases of each law for each op: the laws are many, and an op obeys most of them


def law(names, examples=EXAMPLES, **strategies):
    """Run a law(name, case) over ops, each with cases drawn from its record."""

    def decorate(function):
        @pytest.mark.parametrize("name", names)
        def test(name):
            @settings(max_examples=examples)
            @given(case=cases(SPECS[name], **strategies))
            def check(case):
                function(name, case)

            check()

        test.__name__, test.__doc__ = function.__name__, function.__doc__
        return test

    return decorate


def test_every_op_has_a_record():
    assert set(OPS) == set(SPECS)


@pytest.mark.parametrize("name", [name for name in OPS if OPS[name].fused])
def test_a_composition_says_what_its_gradient_comes_to(name):
    assert re.search(r"# .*\bd[a-z]+(\[v\])? = ", inspect.getsource(OPS[name].function))


@law(NAMES)
def test_the_value_is_the_definition(name, case):
    """Also for numbers of another kind: what is counted or compared is no float."""
    out, _ = run(OPS[name], case)
    want = reference(SPECS[name], case)
    assert out.array.dtype == want.dtype or want.dtype.kind != "f"
    assert_close(out.array, want)


@law(DIFFERENTIABLE, examples=12)
def test_pullbacks_agree_with_differences(name, case):
    tensors = [wrap(x) if isinstance(x, np.ndarray) else x for x in case.inputs]
    for i in case.floats():
        tensors[i].requires_grad_()
    assert gradcheck(lambda *xs: OPS[name](*xs, **case.settings), tensors, eps=SPECS[name].eps)


@law(DIFFERENTIABLE)
def test_pullbacks_are_linear_and_repeatable(name, case):
    """Zero in, exact zero out; sums map to sums; two runs and two walks give the same bits; inputs
    and upstream gradient are read-only all the while."""

    def frozen(array):
        array = np.array(array)
        array.flags.writeable = False
        return array

    out, leaves = run(OPS[name], case, frozen)
    again, others = run(OPS[name], case, frozen)
    assert np.array_equal(out.array, again.array, equal_nan=True)
    g, h = (frozen(upstream(out, seed)) for seed in (1, 2))
    first = pull(out, leaves, g, retain=True)
    for got, want in zip(pull(out, leaves, g, retain=True), first):
        assert np.array_equal(got, want, equal_nan=True)
    for got, want in zip(pull(again, others, g), first):
        assert np.array_equal(got, want, equal_nan=True)
    for nothing in pull(out, leaves, frozen(g * 0), retain=True):
        assert not nothing.any()
    second = pull(out, leaves, h, retain=True)
    for total, a, b in zip(pull(out, leaves, frozen(g + h)), first, second):
        np.testing.assert_allclose(total, a + b, 1e-11, 1e-11 * (1 + abs(a).max(initial=0)))


def fortran(array):
    return np.asfortranarray(array)


def reversed_memory(array):
    return array[(slice(None, None, -1),) * array.ndim].copy()[
        (slice(None, None, -1),) * array.ndim
    ]


def every_other(array):
    wide = np.zeros((*array.shape, 2), array.dtype)
    wide[..., 0] = array
    return wide[..., 0]


@law([name for name in NAMES if name != "view"])
def test_strides_do_not_matter(name, case):
    want, leaves = run(OPS[name], case)
    g = upstream(want)
    gradients = pull(want, leaves, g) if SPECS[name].differentiable else []
    for layout in (fortran, reversed_memory, every_other):
        out, leaves = run(OPS[name], case, lambda a, f=layout: f(a) if a.ndim else a)
        assert_close(out.array, want.array, what=layout.__name__)
        if gradients:
            for got, known in zip(pull(out, leaves, layout(g) if g.ndim else g), gradients):
                assert_close(got, known, what=f"gradient, {layout.__name__}")


@law([name for name in NAMES if SPECS[name].empty], sizes=(0, 1, 2))
def test_sizes_may_be_zero(name, case):
    out, leaves = run(OPS[name], case)
    assert_close(out.array, reference(SPECS[name], case))
    if SPECS[name].differentiable:
        for g, x in zip(pull(out, leaves, upstream(out)), leaves):
            assert g.shape == x.shape and g.dtype == np.float64


@law([name for name in DIFFERENTIABLE if name != "astype"])
def test_float32_stays_float32(name, case):
    want, leaves = run(OPS[name], case)
    g = upstream(want)
    gradients = pull(want, leaves, g)

    def single(array):
        return array.astype("float32") if array.dtype == np.float64 else array

    out, leaves = run(OPS[name], case, single)
    assert out.dtype is tg.float32
    assert_close(out.array, want.array, "float32")
    for got, known, leaf in zip(pull(out, leaves, single(g)), gradients, leaves):
        assert got.dtype == np.float32 or not got.any()
        size = 1 + abs(known).max(initial=0)
        assert_close(got / leaf.array.dtype.type(size), known / size, "float32", "gradient")


def repeated(array):
    """The first of the floats along an axis as often as there were some, in the memory of one."""
    return np.broadcast_to(array[:1], array.shape) if array.dtype == np.float64 else array


@law([name for name in NAMES if name != "view"])
def test_expanded_inputs_are_as_good_as_copies(name, case):
    def of(layout):
        out, leaves = run(OPS[name], case, lambda a: layout(a) if a.ndim and a.size else a)
        return out, pull(out, leaves, upstream(out)) if SPECS[name].differentiable else []

    out, gradients = of(lambda a: repeated(a).copy())
    got, found = of(repeated)
    assert_close(got.array, out.array)
    for one, known in zip(found, gradients):
        assert_close(one, known, what="gradient")


@law([name for name in NAMES if name not in ("view", "astype")])
def test_16_bit_floats_are_computed_in_float32(name, case):
    """Value and gradients are those of float32, rounded: once, but for what an op keeps."""
    for kind in (tg.float16, tg.bfloat16):
        check_rounding(name, case, kind)


def check_rounding(name, case, kind):
    def narrow(array):
        return array.astype(kind.np) if array.dtype == np.float64 else array

    def wide(array):
        return narrow(array).astype("f4") if array.dtype == np.float64 else array

    want, leaves = run(OPS[name], case, wide)
    out, narrow_leaves = run(OPS[name], case, narrow)
    rounded = want.array.dtype == np.float32 and name != "cross_entropy"  # a loss keeps its digits
    assert out.array.dtype == (kind.np if rounded else want.array.dtype)
    pairs = [(out.array, want.array)]
    if SPECS[name].differentiable:
        g = narrow(upstream(want).astype("f8"))
        pairs += zip(pull(out, narrow_leaves, g), pull(want, leaves, g.astype("f4")))
    step = {tg.float16: 2.0**-10, tg.bfloat16: 2.0**-7}[kind]
    # A gradient that is the sum of products, over an axis that was stretched, sums rounded ones.
    atol = 4 * step if name in ("mul", "matmul") else 1e-6
    for got, known in pairs:
        known = known.astype(got.dtype).astype("f8")
        np.testing.assert_allclose(got.astype("f8"), known, step, atol)


SPECIAL = {
    "constant": [2.5],
    "ties": [2.0, 1.0],
    "zeros": [0.0],
    "NaN": [1.0, np.nan, 2.0],
    "inf": [1.0, np.inf, -np.inf],
    "-inf": [-np.inf],
}
# Where the record's definition, and not the op, lets a NaN disappear or one appear.
DEFINED_WITHOUT_NAN = """maximum minimum eq ne le ge tril triu on_diagonal nll_loss dropout
scaled_dot_product_attention argsort""".split()


def special(case, kind, seed=0):
    """The case with other numbers: these."""
    rng = np.random.default_rng(seed)

    def change(array):
        return rng.choice(SPECIAL[kind], array.shape) if array.dtype == np.float64 else array

    return Case(tuple(moved(x, change) for x in case.inputs), case.settings)


@law([name for name in NAMES if SPECS[name].special], examples=6)
def test_special_values_are_those_of_the_definition(name, case):
    for kind in ("constant", "ties", "zeros", "NaN"):
        if kind != "NaN" or name not in DEFINED_WITHOUT_NAN:
            changed = special(case, kind)
            out, _ = run(OPS[name], changed)
            assert_close(out.array, reference(SPECS[name], changed), what=kind)


KNOWN = [(name, i) for name in SPECS for i in range(len(SPECS[name].known))]


@pytest.mark.parametrize(("name", "i"), KNOWN)
def test_known_answers_at_kinks_ties_and_limits(name, i):
    known = SPECS[name].known[i]
    out, leaves = run(OPS[name], known.case)
    assert_close(out.array, known.value)
    if known.gradients:
        gradients = pull(out, leaves, np.ones(out.shape))
        for got, want in zip(gradients, known.gradients, strict=True):
            assert_close(got, np.broadcast_to(want, got.shape), what="gradient")


WRONG = [(name, i) for name in SPECS for i in range(len(SPECS[name].wrong))]


@pytest.mark.parametrize("name", NAMES)
def test_every_op_has_examples_of_wrong_input(name):
    assert SPECS[name].wrong


@pytest.mark.parametrize(("name", "i"), WRONG)
def test_wrong_input_says_what_must_hold_and_what_came(name, i):
    wrong = SPECS[name].wrong[i]
    case = Case(wrong.inputs, wrong.settings)
    with pytest.raises(wrong.error) as raised:
        run(OPS[name], case)
    assert wrong.says in str(raised.value)
    assert str(raised.value).startswith("[")


@law(DIFFERENTIABLE, examples=4)
def test_second_derivatives(name, case):
    """The gradient for a fixed random upstream is itself a function, and it is checked as one."""
    tensors = [wrap(x) if isinstance(x, np.ndarray) else x for x in case.inputs]
    wanted = case.floats()
    for i in wanted:
        tensors[i].requires_grad_()
    probes = np.random.default_rng(0)
    weights = [wrap(np.asarray(probes.standard_normal(tensors[i].shape))) for i in wanted]

    def slope(*xs):
        with higher_order():
            out = OPS[name](*xs, **case.settings)
            start = wrap(upstream(out))
            found = grad(
                [out], [xs[i] for i in wanted], [start], create_graph=True, allow_unused=True
            )
            total = wrap(np.zeros(()))
            for g, w in zip(found, weights):
                if g is not None:
                    total = total + (g * w).sum()
        return total

    assert gradcheck(slope, tensors, rtol=1e-5)


@pytest.mark.parametrize("order", [3, 4])
@pytest.mark.parametrize(
    ("function", "derivatives"),
    [
        ("exp", lambda x: [np.exp(x)] * 5),
        ("sin", lambda x: [np.sin(x), np.cos(x), -np.sin(x), -np.cos(x), np.sin(x)]),
        ("log", lambda x: [np.log(x), 1 / x, -(x**-2), 2 * x**-3, -6 * x**-4]),
        ("square", lambda x: [x * x, 2 * x, 2 + 0 * x, 0 * x, 0 * x]),
        ("reciprocal", lambda x: [1 / x, -(x**-2), 2 * x**-3, -6 * x**-4, 24 * x**-5]),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_derivatives_of_any_order(function, derivatives, order):
    values = np.array([0.5, 1.25, 2.0])
    x = wrap(values).requires_grad_()
    with higher_order():
        y = OPS[function](x)
        for _ in range(order):
            (y,) = grad(y.sum() + 0 * x.sum(), x, create_graph=True)
    assert_close(y.array, derivatives(values)[order])


def test_an_op_that_works_on_arrays_alone_has_no_second_derivative_and_says_so():
    @tg.primitive
    def cube(x):
        return np.power(x, 3), (lambda g: g * 3 * x**2,)

    x = tg.ones(2).requires_grad_()
    assert grad(cube(x).sum(), x)[0].tolist() == [3, 3]
    with higher_order():
        out = cube(x).sum()
        assert grad(out, x, retain_graph=True)[0].tolist() == [3, 3]
        with pytest.raises(NotImplementedError, match=r"\[cube\] has no second"):
            grad(out, x, create_graph=True)


QUESTIONS = """eq ne lt le gt ge isfinite isnan isinf logical_not logical_and logical_or
logical_xor""".split()


@law(QUESTIONS, examples=4)
def test_questions_are_answered_where_second_derivatives_are_recorded(name, case):
    want, _ = run(OPS[name], case)
    with higher_order():
        out, _ = run(OPS[name], case)
    assert_close(out.array, want.array)
    assert not out.requires_grad


@pytest.mark.parametrize(("name", "kind", "kernel"), WITH_KERNELS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_kernels_agree_with_the_composition(name, kind, kernel, dtype, monkeypatch):
    if kind not in arrays.LIBRARIES:
        pytest.skip("no such array library here")
    monkeypatch.setitem(OPS[name].kernels, kind, [kernel])

    @settings(max_examples=20)
    @given(case=cases(SPECS[name]), values=st.sampled_from([None, None, None, *SPECIAL]))
    def check(case, values):
        case = case if values is None else special(case, values)
        with reference_only():
            want, leaves = run(OPS[name], case)
            g = upstream(want)
            gradients = pull(want, leaves, g) if SPECS[name].differentiable else []
        library = arrays.LIBRARIES[kind]

        def there(array):
            return library.asarray(array.astype(dtype) if array.dtype == np.float64 else array)

        out, leaves = run(OPS[name], case, there)
        wide = want.array.dtype
        assert numpy_of(out.array).dtype == (dtype if wide == np.float64 else wide)
        assert type(out.array) is kind
        assert_close(out.array, want.array, dtype)
        found = pull(out, leaves, there(g)) if gradients else []
        for got, known in zip(found, gradients):
            assert_close(got, known, dtype, "gradient")

    check()
