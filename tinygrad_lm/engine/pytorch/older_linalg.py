"""Matrices under the names that torch itself has: `torch.linalg`'s functions, or their older forms
with other arguments. Loaded when one of them is first called, see `later.py`."""

from __future__ import annotations

from typing import Any

from ..core.tensor import Tensor
from . import linalg
from .common import ReturnType
from .factors import det, logdet, slogdet
from .linalg import matrix_exp, matrix_power

__all__ = [
    "cholesky", "cholesky_inverse", "cholesky_solve", "det", "inverse", "logdet", "matrix_exp",
    "matrix_power", "pinverse", "qr", "slogdet", "svd", "triangular_solve",
]  # fmt: skip


def inverse(input: Tensor) -> Tensor:
    return linalg.inv(input)


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    return linalg.pinv(input, rcond)


def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    return linalg.cholesky(input, upper=upper)


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B, by the factor L of A = L L^T (upper: of A = L^T L)."""
    lower = L.mT if upper else L
    half = linalg.solve_triangular(lower, B, upper=False)
    return linalg.solve_triangular(lower.mT, half, upper=True)


def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A = L L^T (upper: of A = L^T L)."""
    root = linalg.inv(L.triu() if upper else L.tril())
    return root @ root.mT if upper else root.mT @ root


def qr(input: Tensor, some: bool = True) -> ReturnType:
    q, r = linalg.qr(input, "reduced" if some else "complete")
    return ReturnType.of("qr", Q=q, R=r)


def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> ReturnType:
    """(U, S, V): V, and not its transpose as `torch.linalg.svd` has it."""
    u, s, vh = linalg.svd(input, full_matrices=not some)
    if not compute_uv:
        u, vh = (x.detach() * 0 for x in (u, vh))
    return ReturnType.of("svd", U=u, S=s, V=vh.mT)


def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> ReturnType:
    """(X with A X = b, a copy of A), of A only one triangle read. transpose: A^T X = b."""
    form: dict[str, Any] = {"upper": upper != transpose, "unitriangular": unitriangular}
    x = linalg.solve_triangular(A.mT if transpose else A, b, **form)
    return ReturnType.of("triangular_solve", solution=x, cloned_coefficient=A.clone())
