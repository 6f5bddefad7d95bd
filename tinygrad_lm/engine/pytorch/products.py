"""Products of vectors and matrices in PyTorch's spelling. Ranks are told apart here, the product
itself is in `ops/linear.py`."""

from __future__ import annotations

import string
from typing import Any

from .. import arrays
from ..core.tensor import Tensor
from ..ops import linear as ops
from ..ops.elementwise import mul
from ..ops.reduce import sum as sum_op
from .common import Operand, to_tensor
from .conversions import cast
from .names import named, one_op
from .shapes import diagonal, squeeze, unsqueeze


def matmul(input: Operand, other: Operand) -> Tensor:
    """input @ other in all ranks: dot, matrix-vector, matrix-matrix, broadcast batches of them."""
    if not isinstance(input, Tensor) or not isinstance(other, Tensor):
        input, other = to_tensor(input), to_tensor(other)
    n, m = input.array.ndim, other.array.ndim
    if n == 2 and m == 2:
        return ops.matmul(input, other)
    if n == 0 or m == 0:
        raise RuntimeError("[matmul] both operands must have at least one dim, got a 0-d tensor")
    if n == 1 and m == 1:
        return dot(input, other)
    if n == 1:
        product = squeeze(ops.matmul(unsqueeze(input, 0), other), -2)
        return named(product, "SqueezeBackward4" if m == 2 else "UnsafeViewBackward0")
    if m == 1:
        product = squeeze(ops.matmul(input, unsqueeze(other, 1)), -1)
        return named(product, "MvBackward0" if n == 2 else "UnsafeViewBackward0")
    return named(ops.matmul(input, other), f"{'Clone' if n == 2 else 'UnsafeView'}Backward0")


@one_op
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Sum of products of two vectors."""
    if input.ndim != 1 or tensor.ndim != 1 or input.shape != tensor.shape:
        raise RuntimeError(
            f"[dot] needs two vectors of one size, got {tuple(input.shape)} and "
            f"{tuple(tensor.shape)}"
        )
    if input.array.dtype != tensor.array.dtype:
        raise RuntimeError(
            f"[dot] both dtypes must be equal, got {input.dtype} and {tensor.dtype}; cast?"
        )
    return cast(sum_op(mul(input, tensor)), input.dtype)  # a sum of integers would be int64


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Matrix times matrix."""
    _check_ranks("mm", input, mat2, 2, 2)
    return ops.matmul(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Matrix times vector."""
    _check_ranks("mv", input, vec, 2, 1)
    return matmul(input, vec)


@one_op
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Matrix times matrix, for each of a batch."""
    _check_ranks("bmm", input, mat2, 3, 3)
    return ops.matmul(input, mat2)


def _check_ranks(name: str, input: Tensor, other: Tensor, first: int, second: int) -> None:
    if input.ndim != first or other.ndim != second:
        raise RuntimeError(
            f"[{name}] needs {first}-d and {second}-d tensors, got {tuple(input.shape)} and "
            f"{tuple(other.shape)}; matmul takes all ranks"
        )


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of an element of one vector with one of the other."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(
            f"[outer] needs two vectors, got {tuple(input.shape)} and {tuple(vec2.shape)}"
        )
    return mul(unsqueeze(input, 1), vec2)


def added(name: str, input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """beta input + alpha product; beta = 0 leaves input out, NaN and all."""
    if isinstance(beta, float) and not product.is_floating_point() and beta != int(beta):
        raise RuntimeError(f"[{name}] beta of integers must be an integer, got {beta}; float()?")
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return named(product, name)
    return named(product + (input if beta == 1 else input * beta), name)


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta input + alpha mat1 @ mat2."""
    return added("addmm", input, mm(mat1, mat2), beta, alpha)


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Einstein summation, e.g. einsum("bij,bjk->bik", x, y); without -> the output letters are
    those that appear once, in alphabetical order; "..." stands for leading axes. Lists of numbers
    behind each operand do for letters: einsum(x, [0, 1, 2], y, [0, 2, 3], [0, 1, 3])."""
    if isinstance(equation, Tensor):
        equation, *rest = _in_letters((equation, *operands))
        operands = tuple(rest)
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    equation = equation.replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(operands):
        raise RuntimeError(
            f"[einsum] {equation!r} names {len(terms)} operands, got {len(operands)}"
        )
    if "..." in equation:
        unused = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation]
        most = 0
        for i, (term, x) in enumerate(zip(terms, operands, strict=True)):
            if "..." in term:
                extra = x.ndim - len(term.replace("...", ""))
                most = max(most, extra)
                terms[i] = term.replace("...", "".join(unused[:16][16 - extra :]))
        spread = "".join(unused[:16][16 - most :])
        output = output.replace("...", spread)
        if not arrow:
            output = spread
    letters = "".join(terms)
    if not arrow:
        output += "".join(
            sorted(c for c in set(letters) if letters.count(c) == 1 and c not in output)
        )
    kind = arrays.result_type(*[x.array for x in operands])
    made = [_once(term, x.to(kind)) for term, x in zip(terms, operands, strict=True)]
    terms, operands = [term for term, _ in made], tuple(x for _, x in made)
    out = ops.einsum(*operands, equation=f"{','.join(terms)}->{output}")
    if len(operands) == 1:
        return named(out, "PermuteBackward0" if len(terms[0]) == len(output) else "SumBackward1")
    contracted = set("".join(terms)) - set(output)
    return named(out, "ViewBackward0" if contracted else "MulBackward0")


def _in_letters(given: tuple) -> list:
    """An equation, and the operands, for operands with lists of numbers behind them."""
    lists = (*given[1::2], *(given[-1:] if len(given) % 2 else ()))
    if not all(isinstance(numbers, (list, tuple)) for numbers in lists):
        raise RuntimeError("[einsum] each operand must have a list of numbers behind it")
    terms = [
        "".join("..." if i is Ellipsis else string.ascii_letters[i] for i in numbers)
        for numbers in lists
    ]
    pairs = len(given) // 2
    return [",".join(terms[:pairs]) + "".join("->" + t for t in terms[pairs:]), *given[::2][:pairs]]


def _once(term: str, x: Tensor) -> tuple[str, Tensor]:
    """A letter that an operand repeats, as in "ii", means its diagonal."""
    if x.ndim != len(term):
        raise RuntimeError(f"[einsum] {term!r} names {len(term)} dims, got shape {tuple(x.shape)}")
    for letter in term:
        while term.count(letter) > 1:
            first, second = term.index(letter), term.rindex(letter)
            x = diagonal(x, 0, first, second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + letter
    return term, x
