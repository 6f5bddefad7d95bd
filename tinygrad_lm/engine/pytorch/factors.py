"""Inverses, determinants and factors of matrices, as torch.linalg has them: arguments are read
here, the ops are in `ops/linalg.py`. Loaded on first use."""

from __future__ import annotations

from typing import Any

from .. import arrays
from ..core.recording import mode as recording_mode
from ..core.tensor import Tensor
from ..ops import linalg as ops
from .common import ReturnType
from .creation import empty, eye, zeros
from .joining import cat
from .names import named


def matrices(name: str, A: Tensor, square: bool = True) -> Tensor:
    """A, if it is one or a batch of matrices of 32 or 64-bit floats."""
    if not A.is_floating_point() or A.dtype.itemsize == 2:
        raise RuntimeError(f"[{name}] needs float32 or float64, got {A.dtype}; use float()")
    if A.ndim < 2:
        raise RuntimeError(f"[{name}] needs at least two dims, got shape {tuple(A.shape)}")
    if square and A.shape[-1] != A.shape[-2]:
        raise RuntimeError(f"[{name}] matrices must be square, got shape {tuple(A.shape)}")
    return A


def _triangle(A: Tensor, upper: bool = False) -> Tensor:
    """A with the values of the symmetric matrix that one triangle tells, and A's gradient."""
    value = A.detach()
    low = value.triu().mT if upper else value.tril()
    return A + (low + low.tril(-1).mT - value)


def _no_gradient(name: str, A: Tensor) -> None:
    if A.requires_grad and recording_mode.recording:
        raise RuntimeError(f"[{name}] has no gradient, got a tensor that requires one; detach()?")


# ---------------------------------------------------------------- inverses and determinants


def inv(A: Tensor) -> Tensor:
    """The inverse of each matrix (..., n, n). LinAlgError: one is singular."""
    return named(ops.inv(matrices("inv", A)), "LinalgInvExBackward0")


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (X A = B if not left): A (..., n, n), B (..., n, k) or (..., n). LinAlgError:
    one A is singular."""
    matrices("solve", A)
    vector = B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])
    b = B.unsqueeze(-1) if vector else B
    a, b = (A, b) if left or vector else (A.mT, b.mT)
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(
            f"[solve] A and B must have as many rows, got {tuple(A.shape)} and {tuple(B.shape)}"
        )
    if A.dtype != B.dtype:
        raise RuntimeError(f"[solve] both dtypes must be equal, got {A.dtype} and {B.dtype}; cast?")
    x = named(ops.solve(a, b), "LinalgSolveExBackward0")
    return x.squeeze(-1) if vector else x if left else x.mT


def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with A X = B (X A = B if not left), of A only one triangle read."""
    matrices("solve_triangular", A)
    strict = int(unitriangular)
    part = A.triu(strict) if upper else A.tril(-strict)
    if unitriangular:
        part = part + eye(A.shape[-1], dtype=A.dtype, device=A.device)
    return solve(part, B, left=left)


def det(A: Tensor) -> Tensor:
    """The determinant of each matrix."""
    return named(ops.det(matrices("det", A)), "LinalgDetBackward0")


def slogdet(A: Tensor) -> ReturnType:
    """(sign, logabsdet) of each determinant: sign 0 and -inf where a matrix is singular."""
    both = ops.slogdet(matrices("slogdet", A)).unbind(0)
    sign, logabsdet = (named(x, "LinalgSlogdetBackward0") for x in both)
    return ReturnType.of("linalg_slogdet", sign=sign, logabsdet=logabsdet)


def logdet(input: Tensor) -> Tensor:
    """The logarithm of each determinant: NaN where it is negative, -inf where it is 0."""
    sign, logabsdet = slogdet(matrices("logdet", input))
    return named(logabsdet + sign.log(), "LogdetBackward0")


# ---------------------------------------------------------------- factors


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """Lower triangular L with L L^T = A (upper: its transpose), of A one triangle read.
    LinAlgError: one is not positive-definite."""
    out = named(
        ops.cholesky(_triangle(matrices("cholesky", A), upper)), "LinalgCholeskyExBackward0"
    )
    return out.mT if upper else out


def eigh(A: Tensor, UPLO: str = "L") -> ReturnType:
    """(eigenvalues ascending, eigenvectors as columns) of symmetric A, one triangle read. The sign
    of a vector is LAPACK's choice, and its gradient infinite where eigenvalues are equal."""
    if UPLO not in ("L", "U", "l", "u"):
        raise RuntimeError(f"[eigh] UPLO must be 'L' or 'U', got {UPLO!r}")
    both = ops.eigh(_triangle(matrices("eigh", A), UPLO in "Uu"))
    values, vectors = both.select(-2, 0), both.narrow(-2, 1, A.shape[-1])
    values, vectors = (named(x, "LinalgEighBackward0") for x in (values, vectors))
    return ReturnType.of("linalg_eigh", eigenvalues=values, eigenvectors=vectors)


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric A, ascending."""
    return eigh(A, UPLO)[0]


def qr(A: Tensor, mode: str = "reduced") -> ReturnType:
    """(Q, R): orthonormal columns and an upper triangle, Q R = A (..., m, n). mode: "reduced", k =
    min(m, n) columns; "complete", m columns; "r", Q is empty. A gradient only of "reduced" or a
    square Q."""
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"[qr] mode must be 'reduced', 'complete' or 'r', got {mode!r}")
    m, n = matrices("qr", A, square=False).shape[-2:]
    if mode == "r" or (mode == "complete" and m > n):
        _no_gradient(f"qr, mode={mode!r}", A)
    left = A.narrow(-1, 0, m) if m < n else A
    both = ops.qr(left)
    q, r = both.narrow(-2, 0, m), both.narrow(-2, m, min(m, n))
    if m < n:  # the other columns of r are those of A, turned like the first
        r = cat([r, q.mT @ A.narrow(-1, m, n - m)], -1)
    if mode == "complete" and m > n:
        q = cat([q, _complement(q)], -1)
        r = cat([r, zeros(*r.shape[:-2], m - n, n, dtype=r.dtype, device=r.device)], -2)
    if mode == "r":
        q = empty(0, dtype=A.dtype, device=A.device)
    q, r = named(q, "LinalgQrBackward0"), named(r, "LinalgQrBackward0")
    return ReturnType.of("linalg_qr", Q=q, R=r)


def _complement(q: Tensor) -> Tensor:
    """Orthonormal columns that make those of q (..., m, k) a basis: the vectors of 1 - q q^T whose
    eigenvalue is 1. No gradient."""
    q = q.detach()
    m, k = q.shape[-2:]
    outside = eye(m, dtype=q.dtype, device=q.device) - q @ q.mT
    return eigh(outside)[1].detach().narrow(-1, k, m - k)


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> ReturnType:
    """(U, S, Vh) with U diag(S) Vh = A (..., m, n), S descending. full_matrices: U and Vh square;
    columns beyond the smaller size have no gradient. A vector's sign is LAPACK's choice."""
    m, n = matrices("svd", A, square=False).shape[-2:]
    both, k = ops.svd(A), min(m, n)
    u, s, v = both.narrow(-2, 0, m), both.select(-2, m), both.narrow(-2, m + 1, n)
    if full_matrices:
        u, v = (cat([x, _complement(x)], -1) if x.shape[-2] > k else x for x in (u, v))
    u, s, v = (named(x, "LinalgSvdBackward0") for x in (u, s, v.mT))
    return ReturnType.of("linalg_svd", U=u, S=s, Vh=v)


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, descending."""
    return svd(A, full_matrices=False)[1]


def _tolerance(A: Tensor, atol: Any, rtol: Any) -> dict[str, float]:
    """PyTorch's: the largest size times eps of the largest singular value, if nothing is given."""
    least = max(A.shape[-2:]) * 2.0 ** (-52 if A.dtype.itemsize == 8 else -23)
    atol, rtol = (None if t is None else float(t) for t in (atol, rtol))
    return {"atol": atol or 0.0, "rtol": rtol if rtol is not None else 0.0 if atol else least}


def pinv(
    A: Tensor,
    rcond: Any = None,
    hermitian: bool = False,
    *,
    atol: float | None = None,
    rtol: float | None = None,
) -> Tensor:
    """The pseudoinverse (Moore and Penrose) of each matrix; singular values up to max(atol, rtol
    times the largest) count as 0. hermitian says that A is symmetric."""
    matrices("pinv", A, square=hermitian)
    limits = _tolerance(A, atol, rcond if rtol is None else rtol)
    return named(ops.pinv(A, **limits), "LinalgPinvBackward0")


def matrix_rank(
    A: Tensor,
    tol: Any = None,
    hermitian: bool = False,
    *,
    atol: float | None = None,
    rtol: float | None = None,
) -> Tensor:
    """How many singular values are above max(atol, rtol times the largest), int64."""
    s = svdvals(A.detach())
    limits = _tolerance(A, atol if tol is None else tol, 0.0 if tol is not None else rtol)
    if not s.shape[-1]:
        return s.sum(-1).long()
    limit = (limits["rtol"] * s.select(-1, 0)).clamp(min=limits["atol"])
    return (s > limit.unsqueeze(-1)).sum(-1)


def lstsq(
    A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None
) -> ReturnType:
    """(solution, residuals, rank, singular_values): X with the smallest |A X - B|, and of these the
    smallest, by the pseudoinverse. A (..., m, n), B (..., m, k); the squared residuals of each
    column if m > n, the rank is full and a driver but gelsy is asked for, else empty."""
    m, n = matrices("lstsq", A, square=False).shape[-2:]
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(f"[lstsq] driver must be gels, gelsy, gelsd or gelss, got {driver!r}")
    vector = B.ndim == A.ndim - 1
    b = B.unsqueeze(-1) if vector else B
    if b.shape[-2] != m:
        raise RuntimeError(
            f"[lstsq] A and B must have as many rows, got {tuple(A.shape)} and {tuple(B.shape)}"
        )
    limit = _tolerance(A, None, rcond)["rtol"]
    x = pinv(A, rtol=limit) @ b
    nothing = empty(0, dtype=A.dtype, device=A.device)
    rank = matrix_rank(A, rtol=limit)
    whole = m > n and driver not in (None, "gelsy") and bool((rank == n).all())
    residuals = (A @ x - b).square().sum(-2) if whole else nothing
    ranked = empty(0, dtype=arrays.int64) if driver == "gels" else rank
    s = svdvals(A.detach()) if driver in ("gelsd", "gelss") else nothing
    parts = {"residuals": residuals, "rank": ranked, "singular_values": s}
    return ReturnType.of("linalg_lstsq", solution=x.squeeze(-1) if vector else x, **parts)
