"""Inverses, determinants and factorisations of matrices (..., n, m), each over all leading axes. An
op has one result: factors that belong together are stacked, one below the other.

LAPACK computes them, through NumPy. Arrays of a GPU are sent to the CPU and back for that (a wait):
what cuSOLVER gives is neither CuPy's for batches nor captured, and such matrices are small."""

from __future__ import annotations

from ..arrays import device_of, library, to_device, to_numpy
from ..arrays.replay import one_call
from ..core.op import OPS, primitive
from ..core.tensor import Tensor


class LinAlgError(RuntimeError):
    """A matrix that has no inverse or factors, or an iteration that does not converge."""


MUST_BE = {"inv": "invertible", "solve": "invertible", "cholesky": "positive-definite"}


@one_call
def _lapack(name, *xs):
    """What numpy.linalg answers for arrays of any library, its parts stacked."""
    if isinstance(xs[0], Tensor):  # for a second derivative: recorded
        return OPS[name](*xs)
    here = [to_numpy(x) for x in xs]
    lib, where = library(here[0]), device_of(xs[0])
    settings = {"full_matrices": False} if name == "svd" else {}
    try:
        found = getattr(lib.linalg, name)(*here, **settings)
    except lib.linalg.LinAlgError as error:
        must = f"be {MUST_BE[name]}" if name in MUST_BE else "have finite numbers"
        raise LinAlgError(f"[{name}] matrices must {must}, got one for which: {error}") from error
    if name == "slogdet":
        found = lib.stack(found)
    elif name == "qr":
        found = lib.concatenate(found, axis=-2)
    elif name == "eigh":
        found = lib.concatenate([found[0][..., None, :], found[1]], axis=-2)
    elif name == "svd":
        u, s, vt = found
        found = lib.concatenate([u, s[..., None, :], _t(vt)], axis=-2)
    return to_device(lib.asarray(found), where)


def _t(x):
    return x.swapaxes(-1, -2)


def _skew_ratio(x, apart):
    """(x - x^T) / apart, and 0 where x - x^T is: a loss that does not look at vectors of equal
    values has a gradient, any other has none (inf)."""
    skew = x - _t(x)
    return _ratio(skew, apart)


def _ratio(x, y):
    lib = library(x)
    return x / lib.where(x == 0, lib.ones_like(x), y)


@primitive(cast="wide")
def inv(x):
    """The inverses of (..., n, n). LinAlgError: one is singular."""
    # d(x^-1) = -x^-1 dx x^-1, so dx = -y^T g y^T (Giles 2008, Collected matrix derivative results)
    y = _lapack("inv", x)
    return y, (lambda g: -(_t(y) @ g @ _t(y)),)


@primitive(cast="wide")
def solve(x, b):
    """y with x y = b: x (..., n, n), b (..., n, k). LinAlgError: one x is singular."""
    # db = x^-T g, dx = -db y^T (Giles 2008)
    y = _lapack("solve", x, b)

    def both(g):
        db = _lapack("solve", _t(x), g)
        return -(db @ _t(y)), db

    return y, both


@primitive(cast="wide")
def det(x):
    """The determinants of (..., n, n)."""
    # dx = g times the cofactors (Giles 2008)
    y = _lapack("det", x)
    return y, (lambda g: g[..., None, None] * _cofactors(x, y),)


def _cofactors(x, y):
    """y x^-T where y is the determinant of x. By x = u s v^T it is det(u v) u c v^T, c the products
    of all singular values but one, for a singular x too."""
    if isinstance(x, Tensor):
        return y[..., None, None] * _t(_lapack("inv", x))
    lib, n, found = library(x), x.shape[-1], _lapack("svd", x)
    if n == 0:
        return x
    u, s, v = found[..., :n, :], found[..., n, :], found[..., n + 1 :, :]
    others = [lib.prod(s[..., [j for j in range(n) if j != i]], axis=-1) for i in range(n)]
    c = lib.stack(others, axis=-1)[..., None, :]
    return _lapack("det", u @ _t(v))[..., None, None] * ((u * c) @ _t(v))


@primitive(cast="wide")
def slogdet(x):
    """(2, ...): the sign of the determinant, and the logarithm of its size, of (..., n, n)."""
    # dx = g x^-T (Giles 2008); the sign is a step
    return _lapack("slogdet", x), (lambda g: g[1][..., None, None] * _t(_lapack("inv", x)),)


@primitive(cast="wide")
def cholesky(x):
    """The lower triangular y with y y^T = (x + x^T) / 2. LinAlgError: not positive-definite."""
    # dx = s + s^T with s = y^-T p y^-1 / 2, p the lower triangle of y^T g with half its diagonal
    # (Murray 2016, arXiv 1602.07527)
    lib, y = library(x), _lapack("cholesky", (x + _t(x)) / 2)

    def dx(g):
        inner, root = _t(y) @ g, _lapack("inv", y)
        p = (lib.tril(inner, 0) + lib.tril(inner, -1)) / 2
        s = _t(root) @ p @ root / 2
        return s + _t(s)

    return y, (dx,)


@primitive(cast="wide")
def eigh(x):
    """(..., n + 1, n): the eigenvalues of (x + x^T) / 2 in ascending order, below them the
    eigenvectors as columns."""
    # dx = v (diag(dw) + skew(v^T dv) / (2 (w_j - w_i))) v^T (Giles 2008)
    y = _lapack("eigh", (x + _t(x)) / 2)

    def dx(g):
        w, v, dw, dv = y[..., 0, :], y[..., 1:, :], g[..., :1, :], g[..., 1:, :]
        turned = _skew_ratio(_t(v) @ dv, 2 * (w[..., None, :] - w[..., :, None]))
        return (v @ turned + v * dw) @ _t(v)

    return y, (dx,)


@primitive(cast="wide")
def qr(x):
    """(..., m + n, n): the orthonormal columns q of x (..., m, n), m >= n, below them the upper
    triangular r, q r = x."""
    # dx = (dq + q (l + l_^T)) r^-T, l the lower triangle of r dr^T - dq^T q, l_ that without the
    # diagonal (Seeger et al. 2017, arXiv 1710.08717)
    m, n = x.shape[-2:]
    if m < n:
        raise RuntimeError(f"[qr] there must be as many rows as columns, got {tuple(x.shape)}")
    lib, y = library(x), _lapack("qr", x)

    def dx(g):
        q, r, dq, dr = y[..., :m, :], y[..., m:, :], g[..., :m, :], g[..., m:, :]
        inner = r @ _t(dr) - _t(dq) @ q
        b = dq + q @ (lib.tril(inner, 0) + _t(lib.tril(inner, -1)))
        return _t(_lapack("solve", r, _t(b)))

    return y, (dx,)


@primitive(cast="wide")
def svd(x):
    """(..., m + 1 + n, k), k the smaller of m and n: of x = u s v^T the columns u, below them s in
    descending order, below it the columns v."""
    # dx = (u a + du_ / s) v^T + u (dv_ / s)^T with du_, dv_ the parts of du, dv outside of u, v and
    # a = skew(u^T du) / e s + s skew(v^T dv) / e + diag(ds), e = s_j^2 - s_i^2 (Giles 2008;
    # Townsend 2016, Differentiating the singular value decomposition)
    m, y = x.shape[-2], _lapack("svd", x)

    def dx(g):
        u, s, v = y[..., :m, :], y[..., m : m + 1, :], y[..., m + 1 :, :]
        du, ds, dv = g[..., :m, :], g[..., m : m + 1, :], g[..., m + 1 :, :]
        apart = s * s - _t(s * s)
        inner = _skew_ratio(_t(u) @ du, apart) * s + _t(s) * _skew_ratio(_t(v) @ dv, apart)
        left, right = (_ratio(d - w @ (_t(w) @ d), s) for w, d in ((u, du), (v, dv)))
        return (u @ inner + u * ds + left) @ _t(v) + u @ _t(right)

    return y, (dx,)


@primitive(cast="wide")
def pinv(x, *, atol=0.0, rtol=0.0):
    """The pseudoinverses of (..., m, n); singular values up to atol, or rtol times the largest,
    count as 0."""
    # dx = -y^T g y^T + (1 - x y) g^T y y^T + y^T y g^T (1 - y x) (Golub and Pereyra 1973)
    lib, m, found = library(x), x.shape[-2], _lapack("svd", x)
    u, s, v = found[..., :m, :], found[..., m : m + 1, :], found[..., m + 1 :, :]
    kept = s > lib.maximum(rtol * s[..., :1], atol)
    y = (v * lib.where(kept, 1 / s, 0.0)) @ _t(u)

    def dx(g):
        yt, gt = _t(y), _t(g)
        outside = gt @ y @ yt
        across = yt @ y @ gt
        return outside - x @ (y @ outside) + across - (across @ y) @ x - yt @ g @ yt

    return y, (dx,)
