"""The checker is checked: every op, changed in one place of its syntax tree, must break a law.

The laws are run in a fast form: values and gradients on a few prepared cases against the record's
own definition and its differences, the known answers, the wrong inputs, float32. A mutant that
survives is listed with the reason why it is the same function, and only such a one may survive.
"""

import ast
import copy
import inspect
import textwrap

import all_specs  # noqa: F401  adds their records to the table
import numpy as np
import pytest
from op_laws import pull, reference, run, some_cases
from op_specs import SPECS, Case

from tinygrad_lm.engine.arrays import reference_only
from tinygrad_lm.engine.core.op import OPS, Op

CASES = 14

# op -> {mutant: why it is equivalent}
TIE = "where the two are equal the share of a tie decides"
HIDDEN = "a placeholder: the mask that put it there hides it again"
FLAT = "minus zero is zero"
ZEROS = (
    "lambda g: lib.zeros_like(g) -> lambda g: -lib.zeros_like(g) in (lambda g: lib.zeros_like(g),)"
)
ROWS = "rows of logits have two axes, the last of which is axis 1"
SURVIVORS: dict[str, dict[str, str]] = {
    "pow": {"1.0 -> 2.0 in lib.where(nothing, 1.0, x)": HIDDEN},
    "softplus": {
        "20.0 -> 21.0 in x, *, beta=1.0, threshold=20.0": "from 20 on the two sides differ by 2e-9"
    },
    "maximum": {
        "x < y -> x <= y in ~(x < y)": TIE,
        "y < x -> y <= x in ~(y < x)": TIE,
    },
    "minimum": {
        "x > y -> x >= y in ~(x > y)": TIE,
        "y > x -> y >= x in ~(y > x)": TIE,
    },
    "clamp": {"x.dtype.kind == 'V' -> x.dtype.kind != 'V'": "two ways to clip the same floats"},
    "sign": {ZEROS: FLAT},
    "floor": {ZEROS: FLAT},
    "ceil": {ZEROS: FLAT},
    "round": {ZEROS: FLAT},
    "cross_entropy": {
        "-1 -> 1 in each.sum(-1)": ROWS,
        "-1 -> 1 in logits.log_softmax(-1)": ROWS,
        "-1 -> 1 in logits.shape[-1]": ROWS,
    },
    "scaled_dot_product_attention": {
        "0.0 -> 1.0 in q, k, v, mask=None, *, causal=False, scale=None, keep=None, p=0.0": (
            "p counts only together with keep"
        ),
        "0.0 -> 1.0 in scores.masked_fill(blind, 0.0)": HIDDEN,
    },
    "matmul": {
        "-1 -> 1 in y.shape[-1]": "y has two axes there, the last of which is axis 1",
        "2 -> 3 in x.ndim > 2": "flattening is faster, not different",
        "x.ndim > 2 -> x.ndim >= 2 in y.ndim == 2 and x.ndim > 2": "two axes flatten to themselves",
    },
    "std": {"1.0 -> 2.0 in lib.where(flat, 1.0, full)": HIDDEN},
    "prod": {"1.0 -> 2.0 in lib.where(zero, 1.0, x)": HIDDEN},
    "logsumexp": {
        "0 -> 1 in lib.where(lib.isfinite(top), top, 0)": "any finite shift gives the same sum"
    },
    "norm": {
        "1.0 -> 2.0 in lib.where(x == 0, 1.0, lib.abs(x) / full)": "multiplied by sign(0) = 0"
    },
    "atan2": {
        "1.0 -> 2.0 in lib.where(square == 0, 1.0, square)": "divides 0, the origin's x or y"
    },
    "cumprod": {"1.0 -> 2.0 in lib.where(before, x, 1.0)": HIDDEN},
    "argcummax": {"step < n -> step <= n": "a step of the whole length leaves nothing to compare"},
    "transpose": {"0 -> 1 in [0]": "every entry of the list is overwritten"},
}

# ---------------------------------------------------------------- making mutants

BITS = ast.BitAnd, ast.BitOr, ast.BitXor
SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
NEIGHBOUR = {
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}  # fmt: skip


def changes(node):
    """Every node that could stand in this one's place."""
    if isinstance(node, ast.BinOp):
        yield node.left  # a term dropped
        yield node.right
        if type(node.op) in SWAPPED:
            yield ast.BinOp(node.left, SWAPPED[type(node.op)](), node.right)
        if not isinstance(node.op, (ast.Add, ast.Mult, *BITS)):
            yield ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert)):
        yield node.operand
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in NEIGHBOUR:
        yield ast.Compare(node.left, [NEIGHBOUR[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Lambda) and node.args.args:
        yield ast.Lambda(node.args, ast.UnaryOp(ast.USub(), node.body))  # a sign flipped
    elif isinstance(node, ast.keyword) and node.arg == "axis" and not is_number(node.value):
        yield ast.keyword("axis", ast.Constant(0))


def is_number(node):
    return isinstance(node, (ast.Constant, ast.UnaryOp))


def sites(tree):
    """Nodes that may be changed: all but the signature's annotations and what an error says."""
    hidden = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Raise, ast.JoinedStr)) or getattr(node, "arg", "") == "strict":
            hidden |= {id(inside) for inside in ast.walk(node)}
        elif isinstance(node, ast.UnaryOp):  # -1 is one constant
            hidden.add(id(node.operand) if isinstance(node.operand, ast.Constant) else 0)
    return [node for node in ast.walk(tree) if id(node) not in hidden]


def context(tree, node):
    """The source around a node, to tell one 1 from another."""
    around = [p for p in ast.walk(tree) if any(child is node for child in ast.iter_child_nodes(p))]
    text = ast.unparse(around[0]) if around else ""
    return f" in {text}" if 0 < len(text) < 70 else ""


class Replace(ast.NodeTransformer):
    def __init__(self, target, substitute):
        self.target, self.substitute = target, substitute

    def visit(self, node):
        return self.substitute if node is self.target else self.generic_visit(node)


def mutants(op):
    """(what was changed, op) for every change in the op's function."""
    function = op.function
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    tree.body[0].decorator_list = []
    inner = inspect.getclosurevars(function).nonlocals
    for i, site in enumerate(sites(tree)):
        for j, _ in enumerate(changes(site)):
            changed = copy.deepcopy(tree)
            place = sites(changed)[i]
            substitute = list(changes(place))[j]
            label = f"{ast.unparse(place)} -> {ast.unparse(substitute)}{context(changed, place)}"
            made = ast.fix_missing_locations(Replace(place, substitute).visit(changed))
            names = {**function.__globals__, **inner}
            exec(compile(made, f"<mutant of {op.name}>", "exec"), names)
            yield label, another(op, names[tree.body[0].name])


def another(op, function):
    """The op with another function, and no kernels."""
    made = Op(function, op.cast, op.view, op.fused)
    made.name, made.wide = op.name, op.wide
    return made


# ---------------------------------------------------------------- the fast form of the laws


def differences(spec, case, g):
    """Gradients of the record's definition, element by element."""
    found = []
    for i in case.floats():
        x, slope = case.inputs[i], np.zeros(case.inputs[i].shape)
        for at in np.ndindex(*x.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = x.copy()
                moved[at] += step
                inputs = (*case.inputs[:i], moved, *case.inputs[i + 1 :])
                ends.append(reference(spec, Case(inputs, case.settings)))
            rise = np.subtract(*ends, out=np.zeros(ends[0].shape), where=ends[0] != ends[1])
            slope[at] = (g * rise).sum() / 2e-5
        found.append(slope)
    return found


def prepared(spec):
    """(case, value, upstream, gradients) for each case; without gradients where there are none."""
    table = []
    for case in some_cases(spec, CASES) + (some_cases(spec, 6, (0, 1, 2)) if spec.empty else []):
        value = reference(spec, case)
        g = np.asarray(np.random.default_rng(7).standard_normal(value.shape))
        table.append((case, value, g, differences(spec, case, g) if spec.differentiable else []))
    for known in spec.known:
        gradients = [np.asarray(x) for x in known.gradients]
        table.append((known.case, known.value, np.ones(known.value.shape), gradients))
    return table


def same(got, want, tolerance=2e-6):
    got, want = np.asarray(got), np.asarray(want)
    size = 1 + np.max(np.abs(want), initial=0, where=np.isfinite(want)) if want.size else 1
    return got.shape == want.shape and np.allclose(
        got.astype(float), want.astype(float), tolerance, tolerance * size, equal_nan=True
    )


def survives(op, spec, table):
    """Whether no law notices that this is not the op."""
    for case, value, g, gradients in table:
        try:
            out, leaves = run(op, case)
            if not same(out.array, value, 1e-9):
                return False
            for got, want in zip(pull(out, leaves, g) if gradients else (), gradients):
                if not same(got, np.broadcast_to(want, got.shape)):
                    return False
        except Exception:
            return False
    return float32_stays(op, table[0][0]) and errors_stay(op, spec)


def float32_stays(op, case):
    single = Case(
        tuple(x.astype("float32") if i in case.floats() else x for i, x in enumerate(case.inputs)),
        case.settings,
    )
    try:
        kinds = [which(*single.inputs, **single.settings).dtype for which in (op, OPS[op.name])]
    except Exception:
        return False
    return kinds[0] is kinds[1]


def errors_stay(op, spec):
    for wrong in spec.wrong:
        try:
            run(op, Case(wrong.inputs, wrong.settings))
        except wrong.error as error:
            if wrong.says not in str(error):
                return False
        except Exception:
            return False
        else:
            return False
    return True


@pytest.mark.parametrize("name", list(OPS))
def test_every_change_breaks_a_law(name):
    spec, listed = SPECS[name], SURVIVORS.get(name, {})
    with reference_only():
        table = prepared(spec)
        original = another(OPS[name], OPS[name].function)
        assert survives(original, spec, table), "the op itself must obey the laws"
        alive = {label for label, mutant in mutants(OPS[name]) if survives(mutant, spec, table)}
    assert alive - set(listed) == set(), (
        "a wrong op would pass: draw better cases, or say why it is the same"
    )
    assert set(listed) - alive == set(), "these are noticed now: take them off the list"


def test_every_listed_survivor_has_a_reason():
    assert all(len(why) > 10 for listed in SURVIVORS.values() for why in listed.values())
