"""What tensors print as: texts of PyTorch 2.13.0, word for word."""

import numpy as np
import pytest

from tinygrad_lm.engine.pytorch import printing


@pytest.fixture(autouse=True)
def default_options():
    yield
    printing.set_printoptions(profile="default")


def text(values, dtype="float32", **words):
    return printing.format_tensor(np.array(values).astype(dtype), dtype=dtype, **words)


nan, inf = float("nan"), float("inf")
KNOWN = {
    "whole numbers": (text([1.0, 2.0]), "tensor([1., 2.])"),
    "a scalar": (text(3.14159), "tensor(3.1416)"),
    "an integer": (text(7, "int64"), "tensor(7)"),
    "booleans": (text([True, False], "bool"), "tensor([ True, False])"),
    "another dtype": (text([1, 200], "uint8"), "tensor([  1, 200], dtype=torch.uint8)"),
    "float64": (text([0.5], "float64"), "tensor([0.5000], dtype=torch.float64)"),
    "half": (text(np.float16([0.1]), "float16"), "tensor([0.1000], dtype=torch.float16)"),
    "nan and inf": (text([1.0, nan, -inf]), "tensor([1., nan, -inf])"),
    "nothing finite": (text([nan, inf]), "tensor([nan, inf])"),
    "with a fraction": (text([1.5, nan, inf]), "tensor([1.5000,    nan,    inf])"),
    "zeros": (text([0.0, -0.0]), "tensor([0., -0.])"),
    "a ratio of 1000": (text([1.5, 1500.0]), "tensor([   1.5000, 1500.0000])"),
    "a ratio above 1000": (text([1.5, 1501.0]), "tensor([1.5000e+00, 1.5010e+03])"),
    "whole, ratio of 1000": (text([1.0, 1000.0]), "tensor([   1., 1000.])"),
    "whole, ratio above 1000": (text([1.0, 1001.0]), "tensor([1.0000e+00, 1.0010e+03])"),
    "1e8": (text([1e8]), "tensor([100000000.])"),
    "above 1e8": (text([2e8]), "tensor([2.0000e+08])"),
    "1e-4": (text([1e-4]), "tensor([1.0000e-04])"),
    "below 1e-4": (text([9e-5]), "tensor([9.0000e-05])"),
    "empty": (text(np.zeros(0)), "tensor([])"),
    "empty integers": (text(np.zeros(0, int), "int64"), "tensor([], dtype=torch.int64)"),
    "empty with a shape": (text(np.zeros((2, 0))), "tensor([], size=(2, 0))"),
    "a device": (text([1.0], device="cuda:0"), "tensor([1.], device='cuda:0')"),
    "a leaf": (text([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
    "everything": (
        text([1.0], "float64", device="cuda:0", grad_fn="MulBackward0", requires_grad=True),
        "tensor([1.], device='cuda:0', dtype=torch.float64, grad_fn=<MulBackward0>)",
    ),
    "a matrix": (
        text([[1.0, -2.0], [3.5, 4.0]]),
        "tensor([[ 1.0000, -2.0000],\n        [ 3.5000,  4.0000]])",
    ),
    "three axes": (
        text(np.arange(4).reshape(2, 1, 2), "int64"),
        "tensor([[[0, 1]],\n\n        [[2, 3]]])",
    ),
    "a summary": (
        text(np.arange(1001), "int64"),
        "tensor([   0,    1,    2,  ...,  998,  999, 1000])",
    ),
    "80 columns, and a suffix that stays": (
        text(np.arange(17.0), grad_fn="MulBackward0"),
        "tensor([ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12., 13.,\n"
        "        14., 15., 16.], grad_fn=<MulBackward0>)",
    ),
    "a suffix that moves down": (
        text(np.zeros(14), requires_grad=True),
        "tensor([0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.],\n"
        "       requires_grad=True)",
    ),
}


@pytest.mark.parametrize("case", KNOWN)
def test_known_texts(case):
    mine, known = KNOWN[case]
    assert mine == known


def test_a_default_dtype_is_not_shown_and_others_are():
    assert text([1.0], "float64", default_dtype="float64") == "tensor([1.])"
    assert text([1.0], "float32", default_dtype="float64") == "tensor([1.], dtype=torch.float32)"


def test_options_change_precision_width_and_notation():
    printing.set_printoptions(precision=2, linewidth=30, sci_mode=True)
    assert text(np.arange(4.0)) == "tensor([0.00e+00, 1.00e+00,\n        2.00e+00, 3.00e+00])"
    printing.set_printoptions(profile="short", threshold=5)
    assert text(np.arange(8) / 3) == "tensor([0.00, 0.33,  ..., 2.00, 2.33])"


def test_options_go_around():
    printing.set_printoptions(precision=1, edgeitems=2, sci_mode=False)
    saved = printing.get_printoptions()
    printing.set_printoptions(profile="full")
    assert printing.get_printoptions() == {
        "precision": 4,
        "threshold": inf,
        "edgeitems": 3,
        "linewidth": 80,
        "sci_mode": None,
    }
    printing.set_printoptions(**saved)
    assert printing.get_printoptions() == saved


def test_an_unknown_profile_changes_nothing():
    before = printing.get_printoptions()
    with pytest.raises(ValueError, match=r"\[set_printoptions\] .*default, short, full.*'tiny'"):
        printing.set_printoptions(profile="tiny", precision=9)
    assert printing.get_printoptions() == before
