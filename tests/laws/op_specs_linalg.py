"""Records of the ops on whole matrices. The inputs are well-conditioned; a batch comes first, so
that no matrix is singular when its rows are expanded."""

from dataclasses import replace

import numpy as np
from op_specs import SPECS, X23, Case, Known, Spec, Wrong, text

import tinygrad_lm.engine.ops.linalg  # noqa: F401  loaded on first use elsewhere
from tinygrad_lm.engine.ops.linalg import LinAlgError

SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
UPPER = np.array([[2.0, 1.0], [0.0, 4.0]])
DIAGONAL = np.array([[3.0, 0.0], [0.0, 2.0]])


def t(x):
    return np.swapaxes(x, -1, -2)


def turned(pick, batch, m, n):
    """Orthonormal columns or rows."""
    x = np.asarray(pick.rng.standard_normal((batch, max(m, n), min(m, n))))
    q = np.linalg.qr(x)[0]
    return q if m >= n else t(q)


def spread(pick, batch, m, n):
    """Singular values apart from each other and from 0."""
    k = min(m, n)
    s = np.arange(1, k + 1) + pick.rng.uniform(-0.2, 0.2, (batch, k))
    return (turned(pick, batch, m, k) * s[:, None, :]) @ turned(pick, batch, k, n)


def square(pick, batch=None):
    n = pick.of(*pick.sizes)
    return spread(pick, batch or pick.of(*pick.sizes), n, n)


def positive(pick):
    x = square(pick)
    return x @ t(x) + 0.3 * pick.real(*x.shape) * (np.abs(np.eye(x.shape[-1]) - 1) * 0.1)


def symmetric(pick):
    x = square(pick)
    n = x.shape[-1]
    q = turned(pick, len(x), n, n)
    w = np.arange(n) * 1.5 - 1 + pick.rng.uniform(-0.2, 0.2, (len(x), n))
    return (q * w[:, None, :]) @ t(q) + 0.1 * (x - t(x))


def tall(pick):
    m, n = sorted((pick.of(*pick.sizes), pick.of(*pick.sizes)), reverse=True)
    return spread(pick, pick.of(*pick.sizes), m, n)


def any_shape(pick):
    return spread(pick, *(pick.of(*pick.sizes) for _ in range(3)))


def cofactor_det(x):
    """Laplace's expansion along the first row."""
    n = x.shape[-1]
    if n == 0:
        return np.ones(x.shape[:-2])
    rest = [np.delete(x[..., 1:, :], j, axis=-1) for j in range(n)]
    return sum((-1) ** j * x[..., 0, j] * cofactor_det(r) for j, r in enumerate(rest))


def adjugate(x):
    """Cramer's rule: the inverse by cofactors."""
    n = x.shape[-1]
    out = np.zeros(x.shape)
    for i in range(n):
        for j in range(n):
            minor = np.delete(np.delete(x, i, axis=-2), j, axis=-1)
            out[..., j, i] = (-1) ** (i + j) * cofactor_det(minor)
    return out / cofactor_det(x)[..., None, None]


def columns_of_cholesky(x):
    """Cholesky and Banachiewicz, entry by entry."""
    x = (x + t(x)) / 2
    y = np.zeros(x.shape)
    for j in range(x.shape[-1]):
        y[..., j, j] = np.sqrt(x[..., j, j] - (y[..., j, :j] ** 2).sum(-1))
        for i in range(j + 1, x.shape[-1]):
            rest = x[..., i, j] - (y[..., i, :j] * y[..., j, :j]).sum(-1)
            y[..., i, j] = rest / y[..., j, j]
    return y


def gram_schmidt(x):
    """With LAPACK's signs: the diagonal of r has the sign opposite to the rest's first entry, but
    for a single entry; so they are read off the answer and only the rest is computed."""
    signs = np.sign(np.diagonal(np.linalg.qr(x)[1], axis1=-2, axis2=-1))
    q = np.zeros(x.shape)
    for j in range(x.shape[-1]):
        v = x[..., :, j]
        for i in range(j):
            v = v - (q[..., :, i] * v).sum(-1, keepdims=True) * q[..., :, i]
        q[..., :, j] = v / np.sqrt((v * v).sum(-1, keepdims=True)) * signs[..., None, j]
    return np.concatenate([q, t(q) @ x], axis=-2)


def by_signs(vectors, like):
    """Columns with the signs of LAPACK's."""
    return vectors * np.sign((vectors * like).sum(-2, keepdims=True))


def spectrum(x):
    """Of the symmetric part, by the general algorithm; LAPACK's signs."""
    x = (x + t(x)) / 2
    w, v = np.linalg.eig(x)
    order = np.argsort(w, axis=-1)
    w = np.take_along_axis(w, order, -1)
    v = np.take_along_axis(v, order[..., None, :], -1)
    return np.concatenate([w[..., None, :], by_signs(v, np.linalg.eigh(x)[1])], axis=-2)


def singular(x):
    """By the eigenvectors of x^T x or x x^T."""
    u, _, vt = np.linalg.svd(x, full_matrices=False)
    k = min(x.shape[-2:])
    wide = x.shape[-2] < x.shape[-1]
    v = np.linalg.eigh(x @ t(x) if wide else t(x) @ x)[1][..., ::-1][..., :k]
    v = by_signs(v, u if wide else t(vt))
    other = (t(x) if wide else x) @ v
    s = np.sqrt((other * other).sum(-2, keepdims=True))
    return np.concatenate([v if wide else other / s, s, other / s if wide else v], axis=-2)


def least_norm(x, *, atol=0.0, rtol=0.0):
    wide = x.shape[-2] < x.shape[-1]
    return t(x) @ adjugate(x @ t(x)) if wide else adjugate(t(x) @ x) @ t(x)


def one(x):
    return Case((x,))


def solve_case(pick):
    x = square(pick)
    batch = pick.of(len(x), 1)
    return Case((x, pick.real(batch, x.shape[-1], pick.of(*pick.sizes))))


def known(x, value, *gradients, **settings):
    value, *gradients = (np.asarray(v, float) for v in (value, *gradients))
    return Known(Case((x,), settings), value, tuple(gradients))


SPECS |= {
    "inv": Spec(
        lambda pick: one(square(pick)),
        adjugate,
        (text(), Wrong((SINGULAR,), {}, LinAlgError, "[inv] matrices must be invertible")),
        (known(UPPER, [[0.5, -0.125], [0, 0.25]], [[-0.1875, -0.125], [-0.046875, -0.03125]]),),
    ),
    "solve": Spec(
        solve_case,
        lambda x, b: adjugate(x) @ b,
        (
            text(X23),
            Wrong((SINGULAR, UPPER), {}, LinAlgError, "[solve] matrices must be invertible"),
        ),
        (Known(Case((UPPER, np.array([[1.0], [2.0]]))), np.array([[0.25], [0.5]])),),
    ),
    "det": Spec(
        lambda pick: one(square(pick)),
        cofactor_det,
        (text(),),
        (
            known(UPPER, 8, [[4, 0], [-1, 2]]),
            known(SINGULAR, 0, [[4, -2], [-2, 1]]),  # PyTorch says 0
            known(np.zeros((2, 2)), 0, np.zeros((2, 2))),
        ),
    ),
    "slogdet": Spec(
        lambda pick: one(square(pick)),
        lambda x: np.stack([np.sign(cofactor_det(x)), np.log(np.abs(cofactor_det(x)))]),
        (text(),),
        (known(-UPPER[:1, :1], [-1, np.log(2)], [[-0.5]]),),
    ),
    "cholesky": Spec(
        lambda pick: one(positive(pick)),
        columns_of_cholesky,
        (text(), Wrong((SINGULAR - 1,), {}, LinAlgError, "[cholesky] matrices must be positive")),
        (known(np.array([[4.0, 2], [2, 5]]), [[2, 0], [1, 2]], [[0.1875, 0.125], [0.125, 0.25]]),),
    ),
    "eigh": Spec(
        lambda pick: one(symmetric(pick)),
        spectrum,
        (text(),),
    ),
    "qr": Spec(
        lambda pick: one(tall(pick)),
        gram_schmidt,
        (text(), Wrong((X23,), {}, RuntimeError, "as many rows as columns, got (2, 3)")),
    ),
    "svd": Spec(
        lambda pick: one(any_shape(pick)),
        singular,
        (text(), Wrong((X23 * np.nan,), {}, LinAlgError, "[svd] matrices must have finite")),
    ),
    "pinv": Spec(
        lambda pick: Case((any_shape(pick),), pick.of({}, {"atol": 0.1}, {"rtol": 0.01})),
        least_norm,
        (text(), Wrong((X23 * np.nan,), {}, LinAlgError, "[svd] matrices must have finite")),
        (
            known(DIAGONAL[:, :1], [[1 / 3, 0]]),
            known(DIAGONAL, [[1 / 3, 0], [0, 0]], rtol=0.7),
            known(DIAGONAL, [[1 / 3, 0], [0, 0]], atol=2.0),
            known(DIAGONAL, [[1 / 3, 0], [0, 1 / 2]], atol=1.9, rtol=0.6),
            known(np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2))),
            known(
                np.array([[3.0, 0], [0, 0], [0, 0]]),
                [[1 / 3, 0, 0], [0, 0, 0]],
                [[-1 / 9, 1 / 9], [1 / 9, 0], [1 / 9, 0]],
            ),
        ),
    ),
}
for name in "inv solve det slogdet cholesky eigh qr svd pinv".split():
    SPECS[name] = replace(SPECS[name], special=False)
