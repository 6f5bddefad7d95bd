"""torch.linalg and torch's own names for it: values, gradients, shapes, errors. Vectors of a factor
have a sign of LAPACK's choice, so lines use what does not depend on it."""

import numpy as np
import pytest
from parity import BOTH, assert_same_error, each, leaves_of, run, tensors_in

torch = pytest.importorskip("torch")

import tinygrad_lm as tg  # noqa: E402

RNG = np.random.default_rng(0)
INPUTS = {
    "a": RNG.standard_normal((3, 3)) + 2 * np.eye(3),
    "b": RNG.standard_normal((2, 4, 4)) + 3 * np.eye(4),
    "tall": RNG.standard_normal((2, 5, 3)),
    "wide": RNG.standard_normal((3, 5)),
    "y": RNG.standard_normal((3, 2)),
    "v": RNG.standard_normal(3),
    "w": RNG.standard_normal((2, 4)),
    "x": RNG.standard_normal((4, 3)),
    "one": RNG.standard_normal((1, 3)),
    "singular": np.array([[1.0, 2.0], [2.0, 4.0]]),
    "eye": np.eye(3),
    "empty": np.zeros((2, 0, 0)),
    "low": np.tril(RNG.standard_normal((3, 3))) + 2 * np.eye(3),
}
SPD = "s = a @ a.mT + torch.eye(3, dtype=a.dtype)"
LINES = [
    "torch.linalg.inv(a)",
    "torch.inverse(b)",
    "b.inverse()",
    "torch.linalg.inv(empty)",
    "torch.linalg.solve(a, y)",
    "torch.linalg.solve(a, v)",
    "torch.linalg.solve(b, w)",
    "torch.linalg.solve(b[0], b)",
    "torch.linalg.solve(a, wide.mT[:2], left=False)",
    "torch.linalg.solve_triangular(low, y, upper=False)",
    "torch.linalg.solve_triangular(a, y, upper=True, unitriangular=True)",
    "torch.linalg.solve_triangular(low, one, upper=False, left=False)",
    "torch.triangular_solve(y, a)",
    "torch.triangular_solve(y, low, upper=False, transpose=True)",
    "y.triangular_solve(a, True, False, True).solution",
    "torch.det(a)",
    "torch.linalg.det(b)",
    "a.det()",
    "torch.det(empty)",
    "torch.det(singular.detach())",
    "torch.linalg.slogdet(b)",
    "torch.slogdet(-a)",
    "a.slogdet()",
    "torch.slogdet(singular.detach())",
    "torch.logdet(a @ a.mT)",
    "torch.logdet(-a.detach() @ a.detach().mT)",
    "(a @ a.mT).logdet()",
    "torch.linalg.matrix_power(a, 5)",
    "torch.matrix_power(b, -2)",
    "a.matrix_power(0)",
    "a.matrix_power(1)",
    "torch.linalg.matrix_exp(a)",
    "torch.matrix_exp(3 * b)",
    "(a * 0).matrix_exp()",
    "torch.linalg.multi_dot([x, a, y])",
    "torch.linalg.multi_dot([v, a, wide, wide.mT, v])",
    "torch.linalg.multi_dot([x, y])",
    f"{SPD}; torch.linalg.cholesky(s)",
    f"{SPD}; torch.linalg.cholesky(s, upper=True)",
    f"{SPD}; torch.cholesky(s)",
    f"{SPD}; s.cholesky(True)",
    f"{SPD}; torch.linalg.cholesky(s.tril())",
    f"{SPD}; torch.linalg.cholesky(s.triu(), upper=True)",
    "torch.cholesky_solve(y, low.tril())",
    "y.cholesky_solve(a.triu(), upper=True)",
    "torch.cholesky_inverse(low.tril())",
    "low.mT.triu().cholesky_inverse(upper=True)",
    f"{SPD}; torch.linalg.eigvalsh(s)",
    f"{SPD}; torch.linalg.eigvalsh(s.triu(), UPLO='U')",
    "torch.linalg.eigvalsh(eye)",
    f"{SPD}; w, q = torch.linalg.eigh(s); q.abs()",
    f"{SPD}; w, q = torch.linalg.eigh(s); q @ (w.exp().unsqueeze(-1) * q.mT)",
    f"{SPD}; torch.linalg.eigh(s).eigenvalues",
    "q, r = torch.linalg.qr(tall); q.abs(), r.abs()",
    "q, r = torch.linalg.qr(wide); q.abs(), r.abs()",
    "q, r = torch.qr(a); (q @ r).abs(), r.square()",
    "q, r = torch.linalg.qr(a, mode='complete'); q.abs(), r.abs()",
    "q, r = torch.linalg.qr(tall.detach(), mode='complete'); q @ r, q @ q.mT, r.abs()",
    "q, r = tall.detach().qr(some=False); q.mT @ q",
    "q, r = torch.linalg.qr(tall.detach(), mode='r'); q, r.abs()",
    "torch.linalg.svdvals(tall)",
    "torch.linalg.svdvals(eye)",
    "torch.linalg.svd(a).S",
    "u, s, vh = torch.linalg.svd(tall, full_matrices=False); u @ (s.log().unsqueeze(-1) * vh)",
    "u, s, vh = torch.linalg.svd(wide, full_matrices=False); u.abs(), vh.abs()",
    "u, s, vh = torch.linalg.svd(tall); u[..., :3].abs(), vh.abs()",
    "u, s, vh = torch.linalg.svd(wide.detach()); u.mT @ u, vh @ vh.mT, s",
    "u, s, v = torch.svd(tall); u @ (s.unsqueeze(-1) ** 2 * v.mT)",
    "u, s, v = a.svd(); u @ torch.diag(s) @ v.mT",
    "torch.svd(a.detach(), compute_uv=False)",
    "torch.linalg.pinv(tall)",
    "torch.linalg.pinv(wide)",
    "torch.pinverse(wide.detach())",
    "torch.linalg.pinv(singular.detach())",
    "a.pinverse()",
    "torch.linalg.pinv(singular.detach(), hermitian=True)",
    "torch.linalg.pinv(a, atol=0.1, rtol=0.01)",
    "torch.linalg.pinv(tall.detach(), rtol=0.7)",
    "torch.linalg.matrix_rank(tall)",
    "torch.linalg.matrix_rank(singular)",
    "torch.linalg.matrix_rank(tall, rtol=0.7)",
    "torch.linalg.matrix_rank(tall, atol=2.0)",
    "torch.linalg.matrix_rank(tall, 2.0)",
    "torch.linalg.matrix_rank(torch.zeros(2, 2))",
    "torch.linalg.lstsq(tall, tall[..., :2] ** 2).solution",
    "torch.linalg.lstsq(wide, y).solution",
    "torch.linalg.lstsq(tall.detach(), tall.detach()[..., :1] ** 2)",
    "torch.linalg.lstsq(tall.detach(), tall.detach()[..., :1] ** 2, driver='gelsd')",
    "torch.linalg.lstsq(wide.detach(), y.detach(), driver='gels')",
    *[f"torch.linalg.vector_norm(x, {p}{d})" for p in (2, 1, 3.5, "inf", "-inf")
      for d in ("", ", dim=1", ", dim=(0, 1), keepdim=True")],
    *[f"torch.linalg.matrix_norm(tall, {p})" for p in
      ("'fro'", "'nuc'", 1, -1, 2, -2, "inf", "-inf")],
    "torch.linalg.matrix_norm(b, 'nuc', dim=(2, 0), keepdim=True)",
    "torch.linalg.matrix_norm(b, 1, dim=(0, 1))",
    "torch.linalg.matrix_norm(b, keepdim=True)",
    "torch.linalg.vector_norm(x.detach(), 0, dim=1)",
    "torch.linalg.norm(b)",
    "torch.linalg.norm(b, dim=1)",
    "torch.linalg.norm(a, 2)",
    "torch.linalg.norm(v, 1)",
    "torch.linalg.norm(b, 'fro', dim=(0, 2))",
    "torch.linalg.norm(b, inf, dim=1, keepdim=True)",
    "torch.linalg.norm(x, dtype=torch.float64)",
    "torch.linalg.cond(a)",
    "torch.linalg.cond(b, -2)",
    "torch.linalg.cond(a.detach(), 1)",
    "torch.linalg.cond(b.detach(), 'fro')",
    "torch.linalg.cond(singular.detach(), 1)",
    "torch.linalg.cond(torch.stack([singular, singular + eye[:2, :2]]).detach(), inf)",
    "torch.linalg.cross(x, x.flip(0))",
    "torch.linalg.cross(y, y.exp(), dim=0)",
    "torch.linalg.cross(one, x)",
    "torch.linalg.vecdot(x, one)",
    "torch.linalg.vecdot(y, y.sin(), dim=0)",
    "torch.linalg.vander(v)",
    "torch.linalg.vander(y, N=4)",
    "torch.linalg.diagonal(b)",
    "torch.linalg.diagonal(b, offset=1, dim1=0, dim2=1)",
    "torch.linalg.matmul(a, y)",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:torch..* is deprecated", "ignore:.*deprecated in favor")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("line", LINES)
def test_a_line(line, dtype):
    """Strides are not compared: LAPACK's are by columns in PyTorch."""
    rtol = 1e-9 if dtype == "float64" else 2e-3
    given, found = [], []
    for library in BOTH:
        leaves = {k: library.tensor(v.astype(dtype)).requires_grad_() for k, v in INPUTS.items()}
        given.append(leaves)
        found.append(tensors_in(run(library, line, leaves)))
    upstream = np.random.default_rng(1)
    assert len(found[0]) == len(found[1]) > 0
    for want, got in zip(*found):
        assert str(want.dtype) == str(got.dtype) and tuple(want.shape) == tuple(got.shape)
        assert want.requires_grad == got.requires_grad
        np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol, rtol)
        if want.requires_grad:
            g = upstream.standard_normal(tuple(want.shape))
            for library, out in zip(BOTH, (want, got)):
                out.backward(library.tensor(g, dtype=out.dtype), retain_graph=True)
    for name in INPUTS:
        want, got = (leaves[name].grad for leaves in given)
        assert (want is None) == (got is None), name
        if want is not None:
            scale = 1 + abs(want.numpy()).max(initial=0)
            np.testing.assert_allclose(got.numpy() / scale, want.numpy() / scale, rtol, rtol)


# In the names of parity.py's inputs: sq is (4, 4), m (3, 4), n are integers.
BAD = [
    *[f"torch.linalg.{f}(m)" for f in "inv det slogdet cholesky eigh eigvalsh matrix_exp".split()],
    *[f"torch.linalg.{f}(v)" for f in "inv det qr svd pinv eigh matrix_norm matrix_rank".split()],
    *[f"torch.linalg.{f}(n)" for f in "qr svd pinv matrix_norm vector_norm".split()],
    "torch.linalg.inv(sq.half())",
    "torch.linalg.solve(sq, v)",
    "torch.linalg.solve(sq, sq.double())",
    "torch.linalg.eigh(sq, UPLO='X')",
    "torch.linalg.qr(sq, mode='full')",
    "torch.linalg.qr(m.T, mode='complete')[0].sum().backward()",
    "torch.linalg.qr(sq, mode='r')[1].sum().backward()",
    "torch.linalg.matrix_power(sq, 1.5)",
    "torch.linalg.matrix_power(m, 2)",
    "torch.linalg.multi_dot([sq])",
    "torch.linalg.multi_dot([sq, m])",
    "torch.linalg.lstsq(sq, m)",
    "torch.linalg.lstsq(sq, sq, driver='fast')",
    "torch.linalg.matrix_norm(sq, 3)",
    "torch.linalg.matrix_norm(sq, 'two')",
    "torch.linalg.matrix_norm(b, dim=(1, 1))",
    "torch.linalg.norm(b, 2)",
    "torch.linalg.cross(sq, sq)",
    "torch.linalg.cross(x, v)",
    "torch.logdet(m)",
]


@each(BAD)
def test_the_same_errors(line):
    assert_same_error(line)


SINGULAR = [
    "torch.linalg.inv(torch.zeros(2, 2))",
    "torch.linalg.inv(torch.zeros(3, 2, 2))",
    "torch.linalg.solve(torch.zeros(2, 2), torch.ones(2))",
    "torch.linalg.cholesky(-torch.eye(3))",
    "torch.linalg.svd(torch.full((3, 2), nan))",
]


@pytest.mark.parametrize("line", SINGULAR)
def test_a_singular_matrix_has_pytorchs_error(line):
    for library in BOTH:
        with pytest.raises(library.linalg.LinAlgError):
            run(library, line, {})
        assert issubclass(library.linalg.LinAlgError, RuntimeError)


@pytest.mark.parametrize("name", ["eig", "eigvals", "lu", "lu_factor"])
def test_what_is_refused_says_why(name):
    with pytest.raises(NotImplementedError, match=rf"^\[{name}\] .*(symmetric|solve)"):
        getattr(tg.linalg, name)(tg.eye(2))


FUNCTIONS = [
    *[f"torch.linalg.{f}(sq)" for f in "inv det pinv svdvals matrix_exp".split()],
    "torch.linalg.solve(sq, sq)",
    "torch.linalg.slogdet(sq).logabsdet",
    "torch.linalg.qr(sq).R",
    "torch.linalg.svd(sq).U",
    "torch.linalg.eigh(sq).eigenvalues",
    "torch.linalg.cholesky(torch.eye(4) + 0 * sq)",
    "torch.linalg.cross(x, y)",
]


@pytest.mark.parametrize("line", FUNCTIONS)
def test_the_same_grad_fn(line):
    want, got = (run(library, line, leaves_of(library)) for library in BOTH)
    assert str(got.grad_fn).strip("<>") == type(want.grad_fn).__name__


def test_the_gradient_of_a_determinant_that_is_zero():
    """The cofactors; PyTorch's answer is 0, which no difference confirms."""
    x = tg.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=tg.float64, requires_grad=True)
    tg.det(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), [[4, -2], [-2, 1]], rtol=1e-12)


def test_factors_multiply_to_the_matrix():
    rng = np.random.default_rng(3)
    for shape in [(5, 3), (3, 5), (2, 4, 4), (6, 1)]:
        x = tg.from_numpy(rng.standard_normal(shape))
        u, s, vh = tg.linalg.svd(x)
        k = min(shape[-2:])
        product = (u[..., :k] * s.unsqueeze(-2)) @ vh[..., :k, :]
        np.testing.assert_allclose(product.numpy(), x.numpy(), atol=1e-12)
        for q in (u, vh, tg.linalg.qr(x, "complete").Q):
            eye = np.broadcast_to(np.eye(q.shape[-1]), q.shape)
            np.testing.assert_allclose((q.mT @ q).numpy(), eye, atol=1e-12)
        for mode in ("reduced", "complete"):
            q, r = tg.linalg.qr(x, mode)
            np.testing.assert_allclose((q @ r).numpy(), x.numpy(), atol=1e-12)
