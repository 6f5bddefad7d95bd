"""The list of PyTorch's names is PyTorch's, and a version compares as PyTorch's does."""

import operator
from itertools import product
from pathlib import Path

import pytest
from names_of_pytorch import names_file

from tinygrad_lm.as_torch import VERSION
from tinygrad_lm.pages.version import TorchVersion

torch = pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]


def test_the_list_is_pytorchs():
    kept = (ROOT / "tinygrad_lm" / "as_torch" / "names.txt").read_text(encoding="utf-8")
    if torch.__version__.partition("+")[0] != VERSION:
        pytest.skip("another PyTorch than the one of the list")
    assert kept.splitlines() == names_file().splitlines()


VERSIONS = "2.13.0+cpu 2.13 2.13.0 2.9.1 1.13.1 2.13.0a0 2.13.1.dev2 2.13+cu130 10.0 2".split()


def outcome(compare, a, b):
    try:
        return compare(a, b)
    except TypeError:
        return TypeError


@pytest.mark.parametrize("compare", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_versions_compare_as_pytorchs(compare):
    others = [*VERSIONS, "abc", (2, 13), (2, 13, 0), (3,), ("2", "14"), 2, None]
    function = getattr(operator, compare)
    for a, b in product(VERSIONS, others):
        want = outcome(function, torch.torch_version.TorchVersion(a), b)
        assert outcome(function, TorchVersion(a), b) is want, (a, compare, b)
    assert hash(TorchVersion("2.0")) == hash("2.0") and TorchVersion("2.13").split(".") == [
        "2",
        "13",
    ]
