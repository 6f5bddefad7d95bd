"""`torch.testing`: `assert_close`, for tensors, arrays and numbers, alone or in lists and dicts,
with PyTorch's tolerances and its words about what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..engine import arrays
from ..engine.core.tensor import Tensor
from ..engine.pytorch.arithmetic import isclose
from ..engine.pytorch.creation import as_tensor, tensor

# dtype -> (rtol, atol); others must be equal
TOLERANCES = {
    "float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7),
}  # fmt: skip


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """AssertionError unless |actual - expected| <= atol + rtol |expected| everywhere, and both are
    alike. Tolerances left out go by dtype. msg: another text, or a function of the text."""
    if (rtol is None) != (atol is None):
        raise ValueError(f"[assert_close] rtol and atol go together, got {rtol} and {atol}")
    checked = {"device": check_device, "dtype": check_dtype, "stride()": check_stride}
    options = ([name for name, on in checked.items() if on], rtol, atol, equal_nan)
    for path, left, right in _pairs(actual, expected, ""):
        wrong = (
            right if isinstance(right, Wrong) else _compared(left, right, allow_subclasses, options)
        )
        if wrong:
            text = wrong + (f"\n\nThe failure occurred for item {path}" if path else "")
            raise AssertionError(msg(text) if callable(msg) else msg or text)


class Wrong(str):
    """What is wrong with a pair, in words."""


def _pairs(actual: Any, expected: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """(where, actual, expected) for all that is compared; where the nests differ, a Wrong."""
    kinds = (str, bytes)
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            lack = sorted(expected.keys() - actual.keys(), key=str)
            more = sorted(actual.keys() - expected.keys(), key=str)
            text = "The keys of the mappings do not match:"
            text += f"\nMissing keys in the actual mapping: {lack}" if lack else ""
            text += f"\nAdditional keys in the actual mapping: {more}" if more else ""
            yield path, actual, Wrong(text)
            return
        parts: Any = [(key, actual[key], expected[key]) for key in sorted(actual, key=str)]
    elif all(isinstance(x, Sequence) and not isinstance(x, kinds) for x in (actual, expected)):
        if len(actual) != len(expected):
            text = f"The length of the sequences mismatch: {len(actual)} != {len(expected)}"
            yield path, actual, Wrong(text)
            return
        parts = [(i, *pair) for i, pair in enumerate(zip(actual, expected))]
    else:
        yield path, actual, expected
        return
    for key, left, right in parts:
        yield from _pairs(left, right, f"{path}[{key!r}]")


def _compared(a: Any, b: Any, subclasses: bool, options: tuple) -> str:
    """What is wrong between two leaves; nothing: ""."""
    if a is None or b is None:
        return "" if a is b else f"None mismatch: {a} is not {b}"
    if isinstance(a, (bool, np.bool_)) and isinstance(b, (bool, np.bool_)):
        return "" if a == b else f"Booleans mismatch: {a} is not {b}"
    names, rtol, atol, equal_nan = options
    if isinstance(a, (int, float, np.number)) and isinstance(b, (int, float, np.number)):
        a, b = (z.item() if isinstance(z, np.number) else z for z in (a, b))
        if "dtype" in names and type(a) is not type(b):
            return f"The (d)types do not match: {type(a)} != {type(b)}."
        x, y = (_of_number(z) for z in (a, b))
    else:
        for kind in (Tensor, np.ndarray):
            if isinstance(a, kind) and isinstance(b, kind) and (subclasses or type(a) is type(b)):
                x, y = as_tensor(a).detach(), as_tensor(b).detach()
                break
        else:
            raise TypeError(
                "[assert_close] pairs must be two tensors, two arrays or two numbers, got "
                f"{type(a)} and {type(b)}; make them alike"
            )
    for name in ("shape", *names):
        left, right = (z.stride() if name == "stride()" else getattr(z, name) for z in (x, y))
        if left != right:
            return f"The values for attribute {name!r} do not match: {left} != {right}."
    if rtol is None:
        usual = [TOLERANCES.get(z.dtype.name, (0.0, 0.0)) for z in (x, y)]
        rtol, atol = map(max, zip(*usual))
    x = x.to(y.device)
    both = arrays.promote_types(x.dtype, y.dtype)
    return _values(x.to(both), y.to(both), rtol, atol, equal_nan)


def _of_number(x: Any) -> Tensor:
    return tensor(x, dtype="float64" if isinstance(x, float) else "int64")


def _values(x: Tensor, y: Tensor, rtol: float, atol: float, equal_nan: bool) -> str:
    near = isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if bool(near.all()):
        return ""
    exact = rtol == atol == 0
    x, y = (z if z.is_floating_point() else z.long() for z in (x, y))
    gap = (x - y).abs()
    title = "equal" if exact else "close"
    lines = [f"{'Tensor-likes' if x.ndim else 'Scalars'} are not {title}!\n"]
    if not x.ndim:
        lines.append(f"Expected {y.item()} but got {x.item()}.")
    else:
        n, wrong = x.numel(), int((~near).sum())
        lines.append(f"Mismatched elements: {wrong} / {n} ({wrong / n:.1%})")
    for name, each, most in (("absolute", gap, atol), ("relative", gap / y.abs(), rtol)):
        each = each.masked_fill(near, 0)
        worst = int(each.argmax())
        value = each.reshape(-1)[worst].item()
        where = tuple(map(int, np.unravel_index(worst, x.shape)))
        text = f"Greatest {name} difference: {value} at index {where}"
        text = text if x.ndim else f"{name.title()} difference: {value}"
        lines.append(text if exact else f"{text} (up to {most} allowed)")
    return "\n".join(lines)


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """The former `assert_close`: anything that becomes a tensor, dtypes and devices aside."""
    actual = as_tensor(actual)
    if not isinstance(expected, Tensor):
        expected = tensor(expected, dtype=actual.dtype)
    if rtol is None and atol is None:
        loose = {"float16": (1e-3, 1e-3), "float32": (1e-4, 1e-5), "float64": (1e-5, 1e-8)}
        both = [loose.get(x.dtype.name, (0.0, 0.0)) for x in (actual, expected)]
        rtol, atol = map(max, zip(*both))
    assert_close(
        actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, msg=msg or None,
        check_device=True, check_dtype=False,
    )  # fmt: skip
