"""Errors in a replay are those of the step, and leave everything as it was; and what may not be
done with a captured step."""

import copy
import pickle
import threading

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import nn
from tinygrad_lm.engine.capture.tape import Taped
from tinygrad_lm.engine.kernels.numpy import blocks
from tinygrad_lm.nn import functional as F

TABLE, LOGITS = tg.randn(4, 3), tg.randn(2, 4)
column = tg.ones(2, 1)
READING = {  # op -> a step that works at two ids, of which there are 4
    "embedding": lambda ids: F.embedding(ids, TABLE),
    "getitem": lambda ids: TABLE[ids],
    "index": lambda ids: TABLE[ids, 0],
    "index_select": lambda ids: TABLE.index_select(0, ids),
    "gather": lambda ids: LOGITS.gather(1, ids.reshape(2, 1)),
    "take_along_dim": lambda ids: tg.take_along_dim(LOGITS, ids.reshape(2, 1), 1),
    "scatter": lambda ids: tg.zeros(2, 4).scatter(1, ids.reshape(2, 1), column),
    "scatter_add": lambda ids: tg.zeros(2, 4).scatter_add(1, ids.reshape(2, 1), column),
    "index_add": lambda ids: tg.zeros(4, 3).index_add(0, ids, tg.ones(2, 3)),
    "one_hot": lambda ids: F.one_hot(ids, 4),
    "cross_entropy": lambda ids: F.cross_entropy(LOGITS, ids),
    "nll_loss": lambda ids: F.nll_loss(LOGITS, ids),
    "multi_margin_loss": lambda ids: F.multi_margin_loss(LOGITS, ids),
}
FROM_THE_END = ("getitem", "index", "take_along_dim")


@pytest.mark.parametrize("wrong", [9, -9])
@pytest.mark.parametrize("op", READING)
def test_an_id_that_is_wrong_in_a_replay_is_so_in_the_name_of_its_op(op, wrong):
    fast = Taped(READING[op], 0)
    fast(tg.tensor([0, 1])), fast(tg.tensor([2, 3]))
    with pytest.raises((IndexError, RuntimeError), match=rf"^\[{op}\].*must be in .*got {wrong}"):
        fast(tg.tensor([1, wrong]))
    good = tg.tensor([3, 0])
    assert fast(good).tolist() == READING[op](good).tolist()


@pytest.mark.parametrize("op", FROM_THE_END)
def test_ids_below_0_count_from_the_end_in_a_replay_as_well(op):
    fast = Taped(READING[op], 0)
    for ids in ([0, 1], [-1, 2], [-4, -2]):
        ids = tg.tensor(ids)
        assert fast(ids).tolist() == READING[op](ids).tolist()


def test_a_replay_that_raises_gives_blas_its_threads_back():
    def step(ids):
        blocks.blas_in_one_thread(True)
        found = TABLE[ids]
        blocks.blas_in_one_thread(False)
        return found

    def threads():
        return [blas.get_num_threads() for blas in blocks._state["blas"]]

    before, kept = tg.get_num_threads(), blocks.blocks_begun()
    tg.set_num_threads(2)
    try:
        fast = Taped(step, 0)
        fast(tg.tensor([0, 1]))
        want = threads()
        with pytest.raises(IndexError):
            fast(tg.tensor([0, 9]))
        assert threads() == want and blocks.blocks_begun() == kept
    finally:
        tg.set_num_threads(before)


@pytest.mark.parametrize("what", ["computes", "trains", "captures"])
def test_another_thread_must_not_compute_while_a_step_is_recorded(what):
    """It would see the recorder's arrays, and the recorder what it does."""
    x, w = tg.ones(3), tg.ones(3, requires_grad=True)
    optimizer = tg.optim.SGD([w], lr=0.1)
    (w * 2).sum().backward()
    others = {"computes": lambda: x * 2, "trains": optimizer.step}
    others["captures"] = lambda: tg.capture(others["computes"], 1)() + 1
    work = others[what]
    errors = []

    def other():
        try:
            work()
        except RuntimeError as error:  # also there in a sentence, or not at all
            errors.append(str(error))

    def step(y):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return y + x

    fast = tg.capture(step, 1)
    assert fast(x).tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="must not be recorded while another thread computes"):
        fast(x)
    assert all(text.startswith("[") for text in errors)
    others["computes"] = work = lambda: None
    assert fast(x).tolist() == fast(x).tolist() == [2, 2, 2]  # alone it is recorded


def test_two_threads_at_once_are_refused():
    inside, go_on, found = threading.Event(), threading.Event(), []

    def step(x):
        inside.set()
        go_on.wait(30)
        return x + 1

    fast = tg.capture(step, 1)

    def call():
        found.append(fast(tg.ones(2)).tolist())

    for _ in range(2):  # warming up and recording
        inside.clear(), go_on.clear()
        thread = threading.Thread(target=call)
        thread.start()
        inside.wait(30)
        with pytest.raises(RuntimeError, match=r"^\[capture\].*must not be called while it runs"):
            fast(tg.ones(2))
        go_on.set()
        thread.join()
    assert found == [[2.0, 2.0]] * 2 and fast(tg.zeros(2)).tolist() == [1.0, 1.0]


def test_a_step_that_calls_itself_is_refused_and_can_be_called_afterwards():
    calls = {"itself": True}

    def step(x):
        return fast(x) if calls["itself"] else x * 2

    fast = tg.capture(step, 1)
    with pytest.raises(RuntimeError, match="must not be called while it runs"):
        fast(tg.ones(2))
    calls["itself"] = False
    assert [fast(tg.ones(2)).tolist() for _ in range(3)] == [[2.0, 2.0]] * 3


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_captured_step_is_not_copied(copied):
    fast = tg.capture(np.negative)
    with pytest.raises(TypeError, match=r"^\[capture\].*must not be copied or pickled"):
        copied(fast)


def test_an_argument_that_only_equals_the_recorded_one_is_another_one():
    fast = tg.capture(lambda x, by: x / by, 1)
    for _ in range(3):
        fast(tg.ones(1), 0.0)
    for other in (-0.0, 0, False):
        with pytest.raises(RuntimeError, match="must stay as recorded, 0.0, got"):
            fast(tg.ones(1), other)
    same = tg.capture(lambda x, by: x * by, 1)
    assert all(same(tg.ones(1), float("nan")).isnan().item() for _ in range(4))


@pytest.mark.parametrize("change", ["another tensor", "requires_grad"])
def test_a_tensor_that_the_step_reads_must_stay(change):
    model = nn.Linear(2, 2)
    fast = tg.capture(lambda x: model(x), 1)
    for _ in range(3):
        fast(tg.ones(1, 2))
    if change == "requires_grad":
        model.weight.requires_grad_(False)
    else:
        model.weight = nn.Parameter(tg.zeros(2, 2))
    with pytest.raises(RuntimeError, match=r"must stay, .*capture it again"):
        fast(tg.ones(1, 2))


def test_what_was_returned_may_go_away():
    kept = tg.ones(2)
    fast = tg.capture(lambda x: (kept, kept[0], x + kept), 1)
    for _ in range(4):
        found = fast(tg.ones(2))
        kept.mul_(2)
    assert found[2].tolist() == [9.0, 9.0]
