"""PyTorch's pages `torch.version` and `torch.torch_version`: which PyTorch this speaks for, in a
text that compares as a version does."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from ..engine import arrays


class TorchVersion(str):
    """A version: it compares with a text ("2.0") or with numbers ((2, 0))."""

    __hash__ = str.__hash__


def _comparison(compare: Callable) -> Callable[[TorchVersion, Any], bool]:
    def method(self: TorchVersion, other: Any) -> bool:
        if not isinstance(other, (str, tuple, list)):
            return NotImplemented
        text = other if isinstance(other, str) else ".".join(map(str, other))
        mine, theirs = _parts(self), _parts(text)
        return compare(mine, theirs) if mine and theirs else compare(str(self), text)

    return method


for _name in ("__eq__", "__lt__", "__le__", "__gt__", "__ge__"):
    setattr(TorchVersion, _name, _comparison(getattr(operator, _name)))


def _parts(version: str) -> tuple[list[int], bool, str] | None:
    """Numbers without zeros at the end, whether it is a release, what is behind the +: the order of
    PEP 440, but among pre-releases. None for what is no version."""
    public, _, local = version.strip().partition("+")
    found = re.match(r"v?(\d+(?:\.\d+)*)", public)
    if not found:
        return None
    numbers = [int(number) for number in found[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers, not re.match(r"[.-]?(?:a|b|c|rc|dev)", public[found.end() :]), local


def __getattr__(name: str) -> Any:
    """`cuda`: "13.0", or None where there is no GPU. CuPy is loaded when somebody asks."""
    if name != "cuda":
        raise AttributeError(f"module 'torch.version' has no attribute {name!r}")
    if not arrays.cuda_is_available():
        return None
    number = arrays.cupy().cuda.runtime.runtimeGetVersion()
    return f"{number // 1000}.{number % 1000 // 10}"


__version__ = TorchVersion("2.13.0+tinygrad_lm")
git_version, hip, xpu, debug = "", None, None, False
