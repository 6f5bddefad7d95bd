"""The recorder in C beside the one in Python, which defines it: the same bits, names, errors and
histories, and nothing kept that the other would free."""

import contextvars
import gc
import os
import re
import subprocess
import sys
import threading
import tracemalloc
import weakref
import zlib
from pathlib import Path

import all_specs  # noqa: F401  adds their records to the table
import numpy as np
import pytest
from op_laws import pull, run, some_cases, upstream
from op_specs import SPECS, Case

import tinygrad_lm as tg
from tinygrad_lm.engine import core, inplace
from tinygrad_lm.engine.core.op import OPS, primitive
from tinygrad_lm.engine.core.recording import mode
from tinygrad_lm.engine.core.tensor import Tensor
from tinygrad_lm.engine.kernels import c
from tinygrad_lm.engine.kernels.c.recorder import DEFINED, GIVEN, recorder
from tinygrad_lm.engine.ops import elementwise
from tinygrad_lm.engine.sparse import SparseGrad

if recorder is None and os.environ.get("TINYGRAD_LM_REQUIRE_COMPILED") == "1":
    raise RuntimeError("[compiled] a C compiler is promised here, and the recorder is missing")
pytestmark = pytest.mark.skipif(recorder is None, reason="installed without a C compiler")

NAMES = [name for name in OPS if name in SPECS]


WALKS = {} if recorder is None else {"in C": recorder.walk, "in Python": DEFINED["walk"]}


@pytest.fixture(params=["in C", "in Python"])
def either_walk(request, monkeypatch):
    monkeypatch.setattr(core.graph, "walk", WALKS[request.param])


def in_python(op):
    return op.call


def described(out, leaves):
    """Everything that a caller can see of a result and of its history."""
    array, node, base = out.array, out.node, out.base
    found = [array.tobytes(), array.shape, array.dtype, array.strides, out.needs_grad]
    found += [None if base is None else leaves.index(base) if base in set(leaves) else "else"]
    if node is not None:
        several = isinstance(node.pullbacks, tuple)
        kept = [p is not None for p in node.pullbacks] if several else "one for all"
        found += [node.name, node.shape, node.dtype, node.hooks, node.create_graph, kept]
        found += [[p if p is None else type(p) for p in node.parents]]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_both_record_the_same(name, monkeypatch):
    for case in some_cases(SPECS[name], 6):
        found = []
        for op, walk in zip((OPS[name], in_python(OPS[name])), WALKS.values()):
            monkeypatch.setattr(core.graph, "walk", walk)
            out, leaves = run(op, case)
            seen = described(out, leaves)
            if out.requires_grad:
                g = upstream(out)
                seen += [x.tobytes() for x in pull(out, leaves, g, retain=True)]
                out.backward(tg.tensor(g))
                seen += [None if x.grad is None else x.grad.array.tobytes() for x in leaves]
            found.append(seen)
        assert found[0] == found[1]


@pytest.mark.parametrize("name", NAMES)
def test_both_say_the_same_of_wrong_input(name):
    for wrong in SPECS[name].wrong:
        said = []
        for op in (OPS[name], in_python(OPS[name])):
            with pytest.raises(wrong.error) as caught:
                run(op, Case(wrong.inputs, wrong.settings))
            said.append((caught.type, str(caught.value), type(caught.value.__cause__)))
        assert said[0] == said[1]


def test_both_know_a_view_from_a_look_elsewhere():
    """A result remembers the input whose memory it looks into, through that input's owner too."""

    @primitive(view=True)
    def part(x):
        return x[1:], (lambda g: g,)

    @primitive(view=True)
    def part_of_a_copy(x):
        return x.copy()[1:], (lambda g: g,)

    owner = np.zeros((4, 3), "f4")
    whole, rows = tg.from_numpy(owner), tg.from_numpy(owner[1:])
    seen = rows.view(-1)
    for x, base in ((whole, whole), (rows, rows), (seen, rows)):
        for way in (lambda op: op, in_python):
            assert way(part)(x).base is base and way(part_of_a_copy)(x).base is None


def test_neither_uses_a_kernel_where_pullbacks_are_recorded(monkeypatch):
    """Also without a history: what C leaves to Python must not depend on it."""

    def kernel(*inputs, **settings):
        raise AssertionError("a kernel ran")

    for name in ("tanh", "gelu"):
        monkeypatch.setitem(OPS[name].kernels, np.ndarray, [kernel])
        with tg.autograd.higher_order():
            for op in (OPS[name], in_python(OPS[name])):
                assert op(tg.ones(3)).array.shape == (3,)
        with pytest.raises(AssertionError, match="a kernel ran"):
            OPS[name](tg.ones(3))


def graph(x, w):
    """Sums, a diamond, a parent twice, a view, a part of a table, a hook, a second root."""
    h = (x @ w + 1.0).tanh()
    h.register_hook(lambda g: g * 2)
    y = h * h + h.view(-1)[: x.shape[0]].sum() + w[[0, 0, 1]].sum() - w.T.sum() * x.mean()
    return y.sum(), (w * w).sum()


def test_both_walk_a_graph_the_same(monkeypatch):
    tg.manual_seed(3)
    x, w = tg.randn(4, 3, requires_grad=True), tg.randn(3, 3, requires_grad=True)
    found = []
    for walk in WALKS.values():
        monkeypatch.setattr(core.graph, "walk", walk)
        x.grad = w.grad = None
        tg.autograd.backward(list(graph(x, w)), retain_graph=True)
        a, b = graph(x, w)
        a.backward()
        with pytest.raises(RuntimeError, match="freed") as caught:
            a.backward()
        found.append([x.grad.array.tobytes(), w.grad.array.tobytes(), str(caught.value)])
        with tg.autograd.higher_order():
            (slope,) = tg.autograd.grad((x**3).tanh().sum(), x, create_graph=True)
            found[-1].append(tg.autograd.grad(slope.sum(), x)[0].array.tobytes())
    assert found[0] == found[1]


def test_a_wide_graph_against_the_order_of_its_birth():
    x = tg.ones(1, dtype=tg.float64, requires_grad=True)
    parts = [x * float(i) for i in range(20000)]
    tg.stack(parts[::-1]).sum().backward()
    assert x.grad.item() == sum(range(20000))


def test_nodes_that_are_reached_in_any_order_are_left_newest_first():
    x = tg.ones(1, dtype=tg.float64, requires_grad=True)
    parts = [x * 1.0]
    for _ in range(50):
        parts.append(parts[-1] + 1.0)
    order = np.split(np.random.default_rng(0).permutation(len(parts)), 3)
    tg.cat([tg.stack([parts[i] for i in some]) for some in order]).sum().backward()
    assert x.grad.item() == 51


def test_a_pullback_may_replace_the_parents_it_is_called_for(either_walk):
    x = tg.ones(2, requires_grad=True)
    y = x + x * 1.0
    node = y.node

    def replace(g):
        node.parents = ()
        return g

    node.pullbacks = (replace, replace)
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_a_leaf_may_get_a_gradient_while_its_parts_are_added_up(either_walk):
    """As by another thread's walk: neither is lost."""
    x = tg.ones(2, requires_grad=True)
    other = (x * 2.0).sum()

    def add_to(total):
        total += 1
        other.backward()

    @primitive
    def apart(x):
        return x.copy(), (lambda g: SparseGrad(g, g.shape, add_to),)

    apart(x).sum().backward()
    assert x.grad.tolist() == [3, 3]


@pytest.mark.parametrize("when", ["before", "by a hook"])
@pytest.mark.parametrize(
    "slot", ["parents", "pullbacks", "birth", "shape", "dtype", "create_graph"]
)
def test_a_node_that_lost_a_part_is_an_error(slot, when):
    """Of the walk in C, which reads the parts in place: no crash."""
    x = tg.ones(2, requires_grad=True)
    y = x * 2.0
    if when == "before":
        delattr(y.node, slot)
    else:
        y.register_hook(lambda g: delattr(y.node, slot))
    z = tg.ones(2) + y if when == "by a hook" else y  # a node above it, which the walk meets first
    with pytest.raises((AttributeError, TypeError)):
        z.sum().backward()


def test_an_operator_without_operands_is_an_error():
    for call in (tg.Tensor.__add__, tg.Tensor.__radd__, tg.Tensor.__iadd__):
        with pytest.raises(TypeError):
            call()
        with pytest.raises(TypeError):
            call(tg.ones(1))


def test_an_op_is_quiet_and_leaves_the_caller_as_loud_as_before():
    with np.errstate(all="raise"):
        assert (tg.zeros(1) / 0.0).isnan().all()
        with pytest.raises(RuntimeError, match="shapes"):
            tg.ones(2) + tg.ones(3)
        with pytest.raises(FloatingPointError):
            np.zeros(1) / np.zeros(1)


def test_the_operand_on_the_left_comes_first():
    x = tg.ones(2, requires_grad=True)
    assert (2.0 * x).node.parents == (None, x) and (x + 2).node.parents == (x, None)
    assert x.__add__("text") is x.__radd__([1]) is NotImplemented


OTHERS = {
    "number": lambda: 0.5,
    "integer": lambda: 3,
    "truth": lambda: True,
    "scalar": lambda: np.float64(2),
    "same": lambda: tg.arange(6.0).reshape(2, 3).clone(),
    "broadcast": lambda: tg.arange(3.0),
    "wider": lambda: tg.arange(3.0, dtype=tg.float64),
    "integers": lambda: tg.arange(3),
    "view": lambda: tg.arange(12.0).view(4, 3)[1:3],
    "recorded": lambda: tg.ones(3, requires_grad=True) * 2,
    "too large": lambda: tg.ones(4, 2, 3),
    "misfit": lambda: tg.ones(4),
    "array": lambda: np.ones(3, "float32"),
    "list": lambda: [1.0],
}
TARGETS = {
    "plain": lambda: tg.ones(2, 3),
    "integers": lambda: tg.ones(2, 3, dtype=tg.int64),
    "view": lambda: tg.ones(3, 2).T,
    "leaf": lambda: tg.ones(2, 3, requires_grad=True),
    "recorded": lambda: tg.ones(2, 3, requires_grad=True) * 1.0,
    "expanded": lambda: tg.ones(3).expand(2, 3),
}


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("target", TARGETS)
def test_both_write_the_same(name, target, other):
    method = {"div": "__itruediv__"}.get(name, f"__i{name}__")
    found = []
    for write in (getattr(Tensor, method), lambda x, y: inplace.in_place(x, OPS[name], y)):
        x = TARGETS[target]()
        try:
            out = write(x, OTHERS[other]())
            told = [out is x, x.node and x.node.name]
        except Exception as error:
            told = [type(error), str(error)]
        found.append([*told, x.array.tobytes(), x.array.dtype, x.needs_grad])
    assert found[0] == found[1]


def test_a_write_is_marked_whoever_makes_it():
    for write in (lambda x: x.__iadd__(1.0), lambda x: inplace.in_place(x, OPS["add"], 1.0)):
        w, x = tg.ones(3, requires_grad=True), tg.ones(3)
        for _ in range(2):  # the first write of a storage and the next
            y = (w * x).sum()
            write(x)
            with pytest.raises(RuntimeError, match="inplace"):
                y.backward()


@primitive
def strange(x, *, what):
    what.append(1)
    if len(what) == 1:
        raise ValueError("once")
    return x


def test_a_failing_op_runs_once_and_an_answer_of_another_form_is_refused():
    calls = []
    with pytest.raises(RuntimeError, match=r"\[strange\] shapes must fit together.*once"):
        strange(tg.ones(2), what=calls)
    assert calls == [1]
    with pytest.raises(TypeError, match=r"\[strange\] must return \(value, pullbacks\), got"):
        strange(tg.ones(2), what=calls)
    assert calls == [1, 1]


def exercise(x, w):
    """One round through every way out of the C functions, most of them errors."""
    loss, other = graph(x, w)
    loss.backward()
    for wrong in (
        loss.backward,
        lambda: x + tg.ones(7),
        lambda: strange(x, what=[]),
        lambda: strange(x, what=[1]),
        lambda: elementwise.add(x),
        lambda: x + "text",
        lambda: tg.ones(3).__iadd__(tg.ones(4)),
        lambda: tg.autograd.backward([w.sum(), w.log().sum()], [None, tg.ones(2)]),
    ):
        with pytest.raises((RuntimeError, TypeError)):
            wrong()
    y = w * 2
    y.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        y.sum().backward()
    tg.autograd.grad(other, w)
    with tg.autograd.higher_order():
        tg.autograd.grad((w * x.mean()).sum(), w, create_graph=True)
    z = tg.nn.functional.cross_entropy(x @ w, tg.tensor([0, 1, 2, 0])) + tg.nn.functional.linear(
        x, w
    )
    z.sum().backward(retain_graph=True)
    with tg.no_grad():
        x.data += 0.0 * x
        w -= 0.0 * w.grad
    x.grad = w.grad = None


def test_nothing_leaks_and_nothing_is_freed_twice():
    """References of what all ops share stay as they are, and so does memory, without collecting."""
    tg.manual_seed(0)
    x, w = tg.randn(4, 3, requires_grad=True), tg.randn(3, 3, requires_grad=True)
    shared = [
        x,
        w,
        x.array,
        OPS["add"],
        OPS["add"].function,
        x.array.dtype,
        core.graph.Node,
        Tensor,
    ]
    shared += [
        core.graph.Node,
        core.graph.spent,
        GIVEN["clock"],
        GIVEN["writes"],
        "add",
        mode.__dict__,
    ]

    def counted():
        return np.array([sys.getrefcount(thing) for thing in shared])

    for _ in range(20):
        exercise(x, w)
    gc.collect()
    gc.disable()
    try:
        before, alive = counted(), len(gc.get_objects())
        tracemalloc.start()
        exercise(x, w)
        memory = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            exercise(x, w)
        grown = tracemalloc.get_traced_memory()[0] - memory
    finally:
        tracemalloc.stop()
        gc.enable()
    gc.collect()  # tracebacks that `raises` caught are cycles
    assert np.abs(counted() - before).max() <= 5, dict(zip(map(repr, shared), counted() - before))
    assert abs(len(gc.get_objects()) - alive) < 100
    assert grown < 5e6


def test_what_an_op_kept_goes_with_the_walk():
    gc.disable()
    try:
        x = tg.randn(5, requires_grad=True)
        y = x.exp()
        kept, loss = weakref.ref(y.array), y.sum()
        del y
        assert kept() is not None
        loss.backward()
        assert kept() is None
        dropped = weakref.ref((x * 2).node.pullbacks[0])
        assert dropped() is None
    finally:
        gc.enable()


def test_each_thread_records_by_its_own_switches():
    x, wrong = tg.ones(3, requires_grad=True), []

    def work(recording):
        with tg.set_grad_enabled(recording):
            for _ in range(300):
                y = x * 2.0 + 1.0
                if y.requires_grad is not recording:
                    wrong.append(recording)
                elif recording:
                    (g,) = tg.autograd.grad(y.sum(), x)
                    wrong.extend([] if g.tolist() == [2, 2, 2] else [g])

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []


def test_a_module_of_other_sources_is_left_alone(monkeypatch):
    assert c.load("_recorder") is recorder and c.load("_nowhere") is None
    monkeypatch.setattr(c, "source_version", lambda folder: "other")
    assert c.load("_recorder") is None
    monkeypatch.undo()
    monkeypatch.setenv("TINYGRAD_LM_COMPILED", "0")
    assert c.load("_recorder") is None


def test_the_sources_have_one_name_wherever_it_is_made(tmp_path):
    """`setup.py` and the loader; and it changes with every byte of them."""
    folder = Path(c.__file__).parent
    setup = (Path(__file__).parents[2] / "setup.py").read_text()
    rule = re.search(r"^version = (.+)$", setup, re.M).group(1)
    names = {"zlib": zlib, "sources": sorted(folder.glob("*.[ch]"))}
    assert eval(rule, names) == c.source_version(folder) == recorder.VERSION
    (tmp_path / "a.c").write_text("int x;")
    before = c.source_version(tmp_path)
    (tmp_path / "a.c").write_text("int y;")
    assert before != c.source_version(tmp_path)


def start_without_and_with(missing, **more):
    """In a process of its own: `start` of a module that nobody has started."""
    program = f"""
import tinygrad_lm.engine.kernels.c.recorder as door
import tinygrad_lm.engine.kernels.c._recorder as fresh
for use in (lambda: fresh.walk([]), lambda: fresh.operator(max, max, False)):
    try:
        use()
    except RuntimeError as error:
        print(error)
given = {{name: thing for name, thing in door.GIVEN.items() if name != {missing!r}}}
try:
    fresh.start(**given, **{more!r})
except TypeError as error:
    print(str(error)[:70])
"""
    apart = {**os.environ, "TINYGRAD_LM_COMPILED": "0"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=apart, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "missing, more, said",
    [
        ("Tensor", {}, "start needs Tensor, which is missing"),
        ("spent", {"spend": 1}, "start needs spent, which is missing"),
        ("", {"tpyo": 1}, "start takes 23 names, got 24"),
        ("Writes", {"Writes": 3}, "3 must have a slot last"),
    ],
)
def test_every_name_of_the_start_is_checked(missing, more, said):
    """A name too few, misspelt, too many, or a class without the slots: no crash later."""
    told = start_without_and_with(missing, **more)
    assert told.count("[recorder] start() must come first") == 2 and said in told


SEEN = contextvars.ContextVar("SEEN", default="unset")


@primitive
def looks_round(x):
    seen = [SEEN.get()]
    SEEN.set("set inside")

    def pullback(g):
        seen.append(SEEN.get())
        return g

    looks_round.seen = seen
    return x * 1, (pullback,)


@pytest.mark.parametrize("op", [looks_round, in_python(looks_round)], ids=["in C", "in Python"])
def test_user_code_runs_in_the_context_of_its_caller(op, either_walk):
    """An op's own function, its pullbacks, hooks and `Function`: what the caller has put in a
    context variable is seen there, and what they put there is seen by the caller."""

    class Through(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            seen.append(SEEN.get())
            return x * 1

        @staticmethod
        def backward(ctx, g):
            seen.append(SEEN.get())
            return g

    def request():
        SEEN.set("request 7")
        x = tg.ones(2, requires_grad=True)
        y = op(x)
        assert SEEN.get() == "set inside"
        SEEN.set("request 8")
        z = Through.apply(y)
        z.register_hook(lambda g: seen.append(SEEN.get()))
        x.register_hook(lambda g: seen.append(SEEN.get()))
        z.sum().backward()
        return looks_round.seen + seen

    seen = []
    found = contextvars.copy_context().run(request)
    assert found == ["request 7"] + ["request 8"] * 5


def test_user_code_leaves_warnings_as_they_were(either_walk):
    """In C and in Python, also after an error inside."""

    @primitive
    def fails(x):
        raise KeyError("inside")

    before = np.geterr()
    for way in (fails, fails.call):
        with pytest.raises(KeyError):
            way(tg.ones(1))
        assert np.geterr() == before
    with pytest.raises(FloatingPointError), np.errstate(all="raise"):
        (tg.zeros(1, requires_grad=True) / 0.0).sum().backward()
        np.zeros(1) / np.zeros(1)


@pytest.mark.parametrize("way", [lambda op: op, in_python], ids=["in C", "in Python"])
def test_what_interrupts_an_op_may_call_ops(way):
    """A signal handler, a finalizer or the collector's callback, where it turns warnings on: the
    context that our own ops run in can be entered once only."""
    x, found, div = tg.ones(2), [], way(OPS["div"])

    def call(frame, event, arg):
        with np.errstate(all="raise"):
            found.append(div(x, 0.0).tolist())

    before = sys.getprofile()
    sys.setprofile(call)
    try:
        div(x, 2.0)
    finally:
        sys.setprofile(before)
    assert found and all(y == [np.inf, np.inf] for y in found)


def test_a_gradient_is_nobody_elses_also_where_pullbacks_give_tensors(either_walk):
    kept = tg.ones(2, requires_grad=True)

    @primitive
    def f(x):
        return x * 1, (lambda g: kept,)

    x, z, g = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True), tg.ones(2)
    f(x).sum().backward()
    assert x.grad is not kept and not np.shares_memory(x.grad.array, kept.array)
    for create_graph in (False, True):
        x.grad = z.grad = None
        with tg.autograd.higher_order():
            y = x + z
        y.backward(g, create_graph=create_graph)
        arrays = [x.grad.array, z.grad.array, g.array]
        assert not any(np.shares_memory(a, b) for a in arrays for b in arrays if a is not b)
    with tg.autograd.higher_order():
        y = x + z
    arrays = [g.array, *(found.array for found in tg.autograd.grad(y, [x, z], g))]
    assert not any(np.shares_memory(a, b) for a in arrays for b in arrays if a is not b)


def test_a_gradient_of_a_part_meets_a_tensor(either_walk):
    """The one of an op whose pullbacks are recorded, which others hold."""
    x, w = tg.ones(3, requires_grad=True), tg.ones(3, requires_grad=True)
    part = x[0:2]
    with tg.autograd.higher_order():
        y = x + w
    tg.autograd.backward([y, part], [tg.ones(3), tg.ones(2)])
    assert x.grad.tolist() == [2, 2, 1] and w.grad.tolist() == [1, 1, 1]


def test_a_setting_may_be_called_input():
    @primitive
    def times(x, *, input):
        return x * input, (lambda g: g * input,)

    for op in (times, in_python(times)):
        assert op(tg.ones(1), input=3).tolist() == [3]


@pytest.mark.parametrize("slot", ["array", "node", "base", "version", "seen", "needs_grad"])
@pytest.mark.parametrize("use", [lambda x: x * 2, lambda x: x.view(-1), lambda x: x.__iadd__(1.0)])
def test_a_tensor_that_lost_a_part_is_no_crash(slot, use):
    for owner in (lambda v: v, lambda v: v.base):
        view = (tg.ones(2, requires_grad=True) * 1.0).view(-1)
        base = view.base  # which outlives the slot
        delattr(owner(view), slot)
        for x in (view, base):
            try:
                use(x)
            except (AttributeError, RuntimeError):
                continue
    bare = object.__new__(Tensor)
    bare.array = np.ones(2, "f4")
    with pytest.raises(AttributeError):
        bare.view(-1)
    view.base = "no tensor"
    with pytest.raises(AttributeError):
        view * 2


def test_an_op_of_ones_own_that_declines_is_told():
    @tg.primitive
    def odd(x):
        return NotImplemented

    for op in (odd, in_python(odd)):
        with pytest.raises(TypeError, match=r"\[odd\] must return .*, got NotImplemented"):
            op(tg.ones(2))


@pytest.mark.parametrize("slot", ["name", "function", "kernels"])
def test_an_op_that_lost_a_part_is_an_error(slot):
    tanh = OPS["tanh"]
    op = core.op.Op(tanh.function, tanh.cast, tanh.view, tanh.fused)
    delattr(op, slot)
    for broken in (op, object.__new__(core.op.Op)):
        with pytest.raises(AttributeError):
            broken(tg.ones(2, requires_grad=True))
    op = core.op.Op(tanh.function, tanh.cast, tanh.view, tanh.fused)
    op.kernels = {np.ndarray: (lambda x: (x * 0, None),)}  # no list
    assert op(tg.ones(2)).tolist() == op.call(tg.ones(2)).tolist() == [0, 0]


def test_the_door_may_be_reloaded():
    program = """
import importlib, tinygrad_lm as tg
from tinygrad_lm.engine.kernels.c import recorder
importlib.reload(recorder)
x = tg.ones(2, requires_grad=True)
for _ in range(2):
    (x * 2).sum().backward()
assert x.grad.tolist() == [4, 4]
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_subclass_need_not_call_what_it_overrides():
    class Bare(Tensor):
        def __init__(self, values):
            self.array = np.array(values, "f4")

    x = Bare([1, 2]).requires_grad_()
    (x * 2).sum().backward()
    assert (
        x.grad.tolist() == [2, 2] and x.view(-1).base is x and Tensor.__new__(Tensor).grad is None
    )


def test_an_op_may_be_referred_to_weakly():
    assert weakref.ref(OPS["add"])() is OPS["add"]
