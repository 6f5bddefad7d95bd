"""Mistakes that everyone makes once: the error is of PyTorch's type, alone in its traceback, and
says what to change."""

import traceback

import numpy
import pytest

import tinygrad_lm

pytest.importorskip("torch")

from parity import BOTH

MISTAKES = {
    "x.view(3, 11)": "must hold 12 elements, got [3, 11] for a tensor of shape (3, 4)",
    "x.reshape(5, -1)": "must hold 12 elements",
    "x.sum()[0]": "item() gives the number",
    "x[0, 0, 0]": "too many indices: 3 for shape (3, 4)",
    "nn.Linear(4, 2)(a)": "input must be a Tensor, got ndarray; make one with torch.tensor",
    "nn.Embedding(3, 2)([1])": "input must be a Tensor, got list",
    "F.cross_entropy(x, [0, 1, 2])": "target must be a Tensor, got list",
    "F.cross_entropy(a, i)": "input must be a Tensor, got ndarray",
    "F.cross_entropy(x, i.float())": "ids must be integers, got torch.float32; use long()",
    "F.conv2d(a, w)": "input must be a Tensor, got ndarray",
    "F.max_pool2d(a, 2)": "input must be a Tensor, got ndarray",
    "F.conv2d(x[None], w)": "the kernel must fit into the padded input, got [5, 5] over [3, 4]",
    "F.conv2d(x[None], w[..., :3, :3], dilation=2)": "got [5, 5] over [3, 4]",
    "F.conv2d(x[None], w, padding=(1, 0))": "got [5, 5] over [5, 4]",
    "F.binary_cross_entropy(p, i)": "the same dtype, got torch.float32 and torch.int64",
    "F.binary_cross_entropy(p, p.double())": "the same dtype",
    "F.binary_cross_entropy_with_logits(p, i)": "must be floating, got torch.int64; use float()",
    "F.binary_cross_entropy_with_logits(p, i > 0)": "must be floating, got torch.bool",
}  # fmt: skip


@pytest.mark.parametrize("line", MISTAKES)
def test_a_first_mistake_is_told_as_one_error_of_pytorchs_type(line):
    raised = []
    for library in BOTH:
        space = {"nn": library.nn, "F": library.nn.functional, "a": numpy.ones((3, 4))}
        space |= {"x": library.ones(3, 4), "w": library.ones(1, 1, 5, 5)}
        space |= {"i": library.tensor([0, 1, 2]), "p": library.tensor([0.2, 0.5, 0.7])}
        with pytest.raises(Exception) as caught:
            eval(line, space)
        raised.append(caught.value)
    assert type(raised[0]) is type(raised[1])
    assert MISTAKES[line] in str(raised[1])


@pytest.mark.parametrize("line", ["x.view(3, 11)", "x.reshape(5, -1)", "x.view(-1, -1)"])
def test_a_shape_that_does_not_fit_is_one_error_and_no_chain(line):
    with pytest.raises(RuntimeError) as caught:
        eval(line, {"x": tinygrad_lm.ones(3, 4)})
    assert "".join(traceback.format_exception(caught.value)).count("Traceback") == 1


def test_a_kernel_as_large_as_the_padded_input_fits():
    x = tinygrad_lm.ones(1, 1, 3, 4)
    w = tinygrad_lm.ones(1, 1, 5, 6)
    assert tinygrad_lm.nn.functional.conv2d(x, w, padding=1).tolist() == [[[[12.0]]]]
