"""Functions and methods that the course does not use and other people's scripts do, against PyTorch
at run time: values, dtype, shape, strides, the printed form, and gradients."""

import warnings

import pytest

pytest.importorskip("torch")

from parity import assert_same, assert_same_error, each
from test_parity_ops import lines_of

ELEMENTS = """
x.tan() | torch.tan(x) | torch.arcsin(x / 4) | (x / 4).asin() | (x / 4).acos() | x.atan()
torch.arctan(x) | x.sinh() | torch.cosh(x) | x.asinh() | torch.arcsinh(x) | (p + 1).acosh()
torch.arccosh(p + 1) | (x / 4).atanh() | torch.arctanh(x / 4) | torch.atan2(x, y) | x.arctan2(y)
torch.atan2(x, v) | n.tan() | mask.atan() | torch.atan2(n, k) | torch.hypot(x, y) | x.hypot(v)
x.erfc() | (x * 4).erfc() | torch.erfc(n) | torch.logaddexp(x, y) | x.logaddexp(v * 100)
torch.logaddexp2(x, y) | torch.xlogy(x, p) | x.logit(eps=0.3) | (p / 3).logit()
torch.logit(x, 0.1) | x.sinc() | torch.sinc(x * 0) | torch.sinc(n) | torch.deg2rad(x) | x.rad2deg()
torch.rad2deg(n) | x.positive() is x | torch.positive(n) | torch.sgn(x) | x.sgn() | torch.signbit(x)
n.signbit() | torch.signbit(torch.tensor([-0.0, 0.0, -inf])) | torch.copysign(x, y.detach())
torch.copysign(n, -2.0) | torch.copysign(k, n) | torch.copysign(x, torch.tensor(-0.0))
torch.heaviside(x.detach(), y.detach()) | torch.heaviside(n, k) | x.isreal() | torch.isreal(n)
(x / 0).isposinf() | torch.isneginf(x / 0) | n.isposinf() | x.nan_to_num() is x
torch.nan_to_num(x / (x > 0)) | torch.nan_to_num(torch.tensor([nan, inf, -inf, 1.0]), 1, 2, 3)
torch.tensor([nan, inf, -inf]).double().nan_to_num() | torch.nan_to_num(n, nan=2)
torch.tensor([nan, inf, -inf]).half().nan_to_num(posinf=1.0)
torch.tensor([-inf, 1.0], dtype=torch.bfloat16).nan_to_num() | torch.fmax(x, y) | x.fmin(y)
torch.fmax(x, v) | torch.fmin(n, k) | torch.fmax(x, x) | torch.fmax(x.sqrt(), y)
torch.fmin(y, x.sqrt()) | torch.fix(x) | x.fix() | torch.frexp(x)
torch.frexp(torch.tensor([0.0, -3.0, 1e-40, 3e38])) | torch.frexp(x.double()).exponent
torch.ldexp(x, k) | torch.ldexp(n, k) | x.ldexp(torch.tensor(2)) | torch.float_power(x, 2)
torch.float_power(n, 2) | torch.float_power(2, x.detach()) | p.float_power(x).detach()
torch.nextafter(x.detach(), y.detach()) | n << 1 | n >> 1 | k << k | 1 << k | 64 >> k | n << k
torch.bitwise_left_shift(n, 70) | torch.bitwise_right_shift(n, k) | n.bitwise_right_shift(70)
n.int() << 3 | mask << 1 | n.to(torch.uint8) >> 1 | torch.gcd(n, k) | n.gcd(torch.tensor(6))
torch.lcm(n, k) | n.lcm(k * 0) | torch.rsub(x, 2, alpha=3) | torch.rsub(n, 2) | x.sum_to_size(3)
b.sum_to_size((3, 1)) | x.sum_to_size(2, 3) | b.sum_to_size(1) | x.clamp(y, p) | x.clamp(y)
x.clamp(max=v) | torch.clamp(x, x, x + 1) | torch.clamp(x, min=x) | x.clamp_min(y) | x.clamp_max(v)
torch.clamp(x, torch.tensor(nan)) | torch.clamp(n, k) | n.clamp(max=k) | torch.clamp(x, s)
torch.maximum(x, x) | torch.minimum(x, x * 1) | torch.tensor([]).tan() | torch.tensor([]).sinc()
torch.hypot(torch.zeros(0, 3), v)
"""

ALONG = """
x.cumprod(0) | torch.cumprod(x, 1) | torch.cumprod(x.floor(), dim=1) | n.cumprod(1)
mask.cumprod(0) | b.cumprod(-2) | x.cumprod(1, dtype=torch.float64) | s.cumprod(0)
torch.zeros(0).cumprod(0) | (b > 0).float().cumprod(1) | x.cummax(1) | torch.cummax(x, 0)
b.cummin(-1) | s.cummin(0) | n.cummax(dim=1) | mask.cummin(1) | torch.cummax(x.sqrt(), 1)
long.cummax(0) | long.round().cummin(0) | torch.zeros(2, 0).cummax(1) | x.T.cummax(0)
x.logcumsumexp(1) | torch.logcumsumexp(b * 3, dim=1) | s.logcumsumexp(0) | long.logcumsumexp(-1)
torch.zeros(0).logcumsumexp(0) | torch.diff(x) | x.diff(dim=0) | x.diff(n=2) | torch.diff(x, 5)
torch.diff(n) | torch.diff(mask) | torch.diff(x, prepend=one[:, :1].expand(2, 1), append=y)
torch.trapezoid(n) | torch.trapz(k, k * 2) | torch.cumulative_trapezoid(x)
torch.cumulative_trapezoid(n, dx=0.5) | torch.nansum(x.sqrt()) | x.sqrt().nansum(1, keepdim=True)
torch.nansum(n) | mask.nansum() | torch.tensor([nan]).nanmean() | x.nansum(dim=(0, 1))
x.nansum(dtype=torch.float64) | torch.nanmedian(x.sqrt()) | x.sqrt().nanmedian(1)
torch.nanmedian(b, 2, keepdim=True) | torch.tensor([[nan, 1.0, 3.0], [nan, nan, nan]]).nanmedian(1)
n.nanmedian(0) | s.nanmedian(0) | x.aminmax() | torch.aminmax(x, dim=1)
x.aminmax(dim=0, keepdim=True) | n.aminmax(dim=1) | torch.aminmax(x.detach().sqrt(), dim=1)
torch.dist(x, y) | x.dist(y, 1) | torch.dist(x, v, p=inf) | torch.dist(x, x) | x.renorm(2, 0, 1.0)
torch.renorm(b, 1, 1, 2.5) | x.renorm(2, 1, 100.0) | torch.cov(n) | torch.corrcoef(m) | v.corrcoef()
torch.corrcoef(n) | x.var() | x.std(1, correction=2) | torch.std(x, dim=(0, 1), keepdim=True)
x.var(dim=0, correction=0.5) | torch.var_mean(b, dim=(0, 2), correction=0)
torch.std_mean(x, 1, True)
"""

ORDERED = """
torch.msort(x) | n.msort() | x.kthvalue(2) | torch.kthvalue(x, 1, 0) | x.kthvalue(3, keepdim=True)
n.kthvalue(1).values | s.kthvalue(1) | torch.kthvalue(x.sqrt(), 3) | torch.mode(n) | n.mode(0)
x.mode() | n.mode(1, keepdim=True) | torch.mode(b.round(), 1) | s.mode() | mask.mode(0)
(long * 2).round().mode().values
torch.nanquantile(torch.tensor([[1.0, nan, 3.0], [nan, nan, nan]]), 0.5, dim=1) | torch.argwhere(n)
mask.argwhere() | torch.argwhere(torch.zeros(0)).shape | s.argwhere() | torch.isin(n, k)
torch.isin(n, 2) | torch.isin(n, rows, invert=True) | torch.isin(2, n) | torch.isin(x, x[0])
torch.isin(torch.zeros(0), x) | torch.searchsorted(v.sort()[0], x)
torch.searchsorted(torch.tensor([1, 3, 3, 5]), n) | torch.searchsorted(torch.tensor([1, 3]), 3)
torch.searchsorted(torch.tensor([1, 3, 3]), 3, right=True) | torch.searchsorted(x.sort()[0], y)
torch.searchsorted(x.sort()[0], y, side="right", out_int32=True)
torch.searchsorted(v, v, sorter=v.argsort()) | torch.searchsorted(v.sort()[0], torch.tensor(nan))
torch.bucketize(x, v.sort()[0]) | torch.bucketize(k, torch.arange(1, 4))
torch.bucketize(2, k[0].sort()[0]) | torch.bucketize(k, torch.arange(1, 4), right=True)
torch.histc(x.detach(), 4) | x.detach().histc(bins=5, min=-1, max=1) | torch.histc(torch.ones(3), 3)
torch.histc(torch.zeros(0), 2) | torch.histc(torch.tensor([1.0, nan, 3.0]), 2, 0, 3)
torch.unique_consecutive(rows)
torch.unique_consecutive(n > 0, return_inverse=True, return_counts=True)
torch.unique_consecutive(torch.tensor([[1, 1], [1, 1], [2, 1]]), dim=0, return_counts=True)
torch.tensor([[1, 1, 2], [0, 0, 2]]).unique_consecutive(dim=1)[0].contiguous()
torch.unique_consecutive(torch.zeros(0)) | torch.tril_indices(3, 3) | torch.tril_indices(3, 4, -1)
torch.triu_indices(3, 3, 1) | torch.triu_indices(2, 5, offset=-1, dtype=torch.int32)
torch.triu_indices(0, 3) | torch.cartesian_prod(v, w) | torch.cartesian_prod(v)
torch.cartesian_prod(rows, rows, rows) | torch.combinations(rows, r=1)
torch.vander(rows, N=4, increasing=True) | torch.vander(v, 0) | x.topk(0)
x.topk(3, sorted=False)[0].shape | x.nonzero(as_tuple=True) | s.nonzero()
torch.stack(torch.unravel_index(torch.tensor([3, 5]), (2, 3)))
"""

REDUCED = " | ".join(
    f"torch.scatter_reduce({a}, 1, {i}, {s}, '{how}', include_self={own})"
    for how in ("sum", "prod", "mean", "amax", "amin")
    for own in (True, False)
    for a, i, s in (
        ("x", "ids", "y[:, :2]"),
        ("b", "ids[:, :1, None].expand(2, 3, 4) % 2", "b * 2"),
    )
)
PLACED = f"""
{REDUCED}
x.floor().scatter_reduce(0, ids % 2, y[:, :2].floor(), "amax") | n.scatter_reduce(1, ids, k, "mean")
n.scatter_reduce(1, ids, k, "prod") | n.scatter_reduce(1, ids, k, reduce="amin", include_self=False)
(x * 0).scatter_reduce(1, ids, y[:, :2] * 0, "prod") | mask.scatter_reduce(1, ids, ~mask, "amax")
torch.zeros(2, 3).scatter_reduce_(1, ids, q.detach(), "amax")
x.scatter_reduce(1, ids[:, :0], y[:, :0], "amax") | n.scatter(1, ids, k, reduce="add")
n.scatter(1, ids, 3, reduce="multiply") | torch.ones(2, 3).scatter_(1, ids, 2.0, reduce="add")
x.index_reduce(1, rows, y, "amax") | m.index_reduce(0, rows, m, "prod", include_self=False)
n.index_reduce(1, rows, k, "mean") | torch.ones(3).index_reduce_(0, rows, w.detach(), "amin")
x.index_put((rows % 2,), v) | torch.index_put(x, (rows % 2, rows), s, accumulate=True)
x.index_put((mask,), s) | x.index_put((rows % 2, rows), v, True)
x.index_put((rows % 2,), y[:1], accumulate=True) | z = x * 1; z.index_put_((rows % 2, rows), v); z
z = x * 1; z.index_put_([rows % 2], s); z
z = x * 1; z.index_put_((rows % 2, rows), v, accumulate=True); z
n.index_put((rows % 2, rows), rows, True) | x.index_copy(1, rows[:2], y[:, :2])
torch.index_copy(m, 0, torch.tensor([2, 0]), m[:2]) | n.index_copy(0, rows[:1], k[:1])
z = x * 1; z.index_copy_(1, rows[:1], y[:, :1]); z | x.index_fill(1, rows, 2.0)
x.index_fill(-1, torch.tensor(-1), 3) | n.index_fill(1, rows, 7)
z = x * 1; z.index_fill_(1, rows, 0); z | x.masked_scatter(mask, y) | x.masked_scatter(mask[0], m)
torch.masked_scatter(n, mask, k) | z = x * 1; z.masked_scatter_(mask, w); z | x.take(ids)
torch.take(x, torch.tensor([[0, -1], [2, 2]])) | n.take(rows)
b.T.take(ids) if False else x.T.take(ids) | x.put(ids, y[:, :2])
x.put(torch.tensor([0, 0, -1]), v, accumulate=True) | z = x * 1; z.put_(rows[:2], w[:2]); z
z = n.clone(); z.put_(rows, rows, accumulate=True); z
z = m.detach().clone(); z.fill_diagonal_(1); z | torch.zeros(7, 3).fill_diagonal_(5, wrap=True)
torch.zeros(3, 7).fill_diagonal_(5, True) | torch.zeros(3, 3, 3).fill_diagonal_(1)
torch.diag_embed(x) | x.diag_embed(1) | x.diag_embed(-1, 0, 2) | b.diag_embed(dim1=0, dim2=-2)
n.diag_embed() | torch.diagflat(x) | v.diagflat(-1) | s.diagflat() | x.diagonal_scatter(v[:2])
torch.diagonal_scatter(sq, v, 1) | b.diagonal_scatter(m[:, :3].T[:, :2].T, 0, 1, 2)
torch.select_scatter(x, v, 0, 1) | x.select_scatter(v[:2], 1, -1) | x.slice_scatter(y[:, :2], 1, 1)
torch.slice_scatter(m, m[:2], 0, 0, 3, 2) | x.slice_scatter(y, 0, None, None)
x.masked_fill(mask, s) | n.masked_fill(mask, 2) | x.where(mask, 0.0) | torch.where(mask, n, x)
"""

SHAPED = """
x.tensor_split(2) | torch.tensor_split(long, 7) | x.tensor_split(5, dim=1)[:3]
x.tensor_split((1, 2), 1) | long.tensor_split([-3, 50, 2]) | long.tensor_split(torch.tensor([1, 4]))
x.tensor_split(sections=2) | x.tensor_split(indices=(1,), dim=1) | torch.hsplit(x, 3)
x.hsplit((1,)) | v.hsplit(3) | x.vsplit(2) | torch.vsplit(x, [1]) | b.dsplit(2)
torch.dsplit(b, (1, 3)) | x.split_with_sizes([1, 2], 1) | torch.split_with_sizes(x, (1, 1))
x.unsafe_split(2, 1)[0].detach() | x.unsafe_chunk(2)[0].detach() | x.narrow_copy(1, 0, 2).detach()
torch.dstack([x, y]) | torch.dstack((v, w)) | torch.column_stack([v, w])
torch.column_stack((v[:2], x)) | torch.column_stack([s, s]) | torch.row_stack([v, w])
torch.atleast_1d(s) | torch.atleast_1d(x, s) | torch.atleast_2d(v) | torch.atleast_3d(x)
torch.atleast_3d(v) | torch.atleast_3d(b) | torch.atleast_2d([v, x]) | torch.block_diag(x, v, s)
torch.block_diag(n, x) | torch.block_diag() | torch.rot90(x) | x.rot90(2) | x.rot90(-1) | x.rot90(4)
b.rot90(1, (1, 2)) | b.rot90(3, (0, -1)) | torch.fliplr(x) | x.flipud() | v.flipud() | b.fliplr()
b.movedim((0, 1), (2, 0)) | torch.moveaxis(b, 0, -1) | b.moveaxis((-1, 0), (0, 1)) | x.adjoint()
x.H | b.mH | b.adjoint() | torch.broadcast_shapes((2, 1), (3,)) | torch.broadcast_shapes()
torch.broadcast_shapes((2, 1), (1, 3), (1,)) | x.detach().view(torch.int32) | n.view(torch.float64)
n.view(torch.int32) | x.detach().view(torch.uint8) | m.detach().view(torch.float64)
s.detach().view(torch.int32) | x.T.detach().view(torch.int32) | z = one * 1; z.squeeze_(0); z * 2
z = x * 1; z.t_(); z.sum(0) | z = x * 1; z.unsqueeze_(-1); z.mul_(2); z
z = x * 1; a = z[0]; z.unsqueeze_(0); a.mul_(3); z | z = x.detach(); z.t_(); z.add_(1); z
b[:1, :, :1].squeeze((0, 2)) | x.unflatten(-1, (-1, 1)) | x.unflatten(0, (2,)) | v.expand(-1)
"""

MADE = """
torch.logspace(0, 2, 5) | torch.logspace(-1, 1, 4, base=2)
torch.logspace(0, 3, 4, dtype=torch.int64) | torch.logspace(0, 1, 0) | torch.logspace(1, 2, steps=1)
torch.logspace(0, 1, 3, dtype=torch.float64) | torch.scalar_tensor(3) | torch.scalar_tensor(True)
torch.scalar_tensor(2.5, dtype=torch.int64) | torch.empty_strided((2, 3), (1, 2)).stride()
torch.empty_strided((2, 2), (5, 1)).shape | torch.hann_window(5)
torch.hann_window(5, periodic=False) | torch.hann_window(1) | torch.hann_window(0)
torch.hamming_window(6) | torch.hamming_window(6, False) | torch.hamming_window(5, False, 0.5, 0.5)
torch.hamming_window(4, dtype=torch.float64) | torch.hann_window(4, dtype=torch.float64)
"""

MULTIPLIED = """
torch.kron(n, k) | torch.tensordot(x, x) | torch.tensordot(x, m, 1)
torch.tensordot(b, c, dims=([2, 0], [1, 0])) | torch.tensordot(x, y, 0)
torch.tensordot(b, x, ([0, 1], [0, 1])) | torch.tensordot(n, k, ([0], [0])) | torch.inner(x, y)
v.inner(w) | torch.inner(s, x) | torch.inner(b, m) | n[0].vdot(k[0]) | torch.baddbmm(m[:, :1], b, c)
b.baddbmm(b @ b.mT, b) | torch.baddbmm(x[:, :, None], b, c, beta=0.5, alpha=2)
torch.addbmm(m[:, :1], b, c) | torch.addbmm(sq[:3, :3], b, b.mT, alpha=0.5) | x[:, 0].addmv(x, v)
torch.addmv(s, x, v, beta=2, alpha=3) | torch.addr(x[:, :2], v[:2], w[:2])
s.addr(v, w, beta=0.5, alpha=-1) | torch.ger(v, w) | torch.addmm(torch.tensor(nan), x, m, beta=0)
torch.addmv(torch.tensor(nan), x, v, beta=0) | torch.addmm(rows[:1], n, k.T, beta=2)
z = x[:, :2] * 1; z.addmm_(x, y.T, beta=0.5); z | z = v * 1; z.addmv_(sq[:3, :3], w); z
z = sq * 1; z.addr_(m[0], m[1], alpha=2); z | torch.cdist(x, y) | torch.cdist(x, y, p=1)
torch.cdist(x, x, p=inf) | torch.cdist(b, b[:1], 3.0) | torch.cdist(x, x)
torch.cdist(x.detach(), x.detach(), 0) | torch.cross(x, y, dim=1) | x.cross(y, 1)
torch.cross(b, b * b, dim=1) | torch.cross(n, k, -1) | torch.cross(x, one, dim=1)
torch.einsum(x, [0, 1], m, [1, 2], [0, 2]) | torch.einsum(sq, [0, 0])
torch.einsum(x, [0, 1], [1, 0]) | torch.einsum(b, [..., 0], m, [1, 0], [..., 1])
torch.einsum("ii->", sq) | torch.einsum("iij->j", b[:, :2]) | torch.einsum("...ij,...ij->...", b, b)
torch.einsum("i...->...i", b) | torch.einsum("ij,kj,lj->ikl", x, y, one)
"""

IN_PLACE = """
z = x * 1; z.tan_(); z | z = x / 4; z.asin_() | z = x / 4; z.arccos_() | z = x * 1; z.atan_()
z = x * 1; z.atan2_(y); z | z = x * 1; z.sinh_() | z = x * 1; z.cosh_() | z = x * 1; z.hypot_(y)
z = x * 1; z.erf_() | z = x * 1; z.erfc_() | z = x * 1; z.expm1_() | z = x * 1; z.exp2_()
z = p * 1; z.log2_() | z = p * 1; z.log10_() | z = p * 1; z.log1p_() | z = x * 1; z.xlogy_(p)
z = x * 1; z.sinc_() | z = x * 1; z.logit_(0.2) | z = x * 1; z.deg2rad_() | z = x * 1; z.rad2deg_()
z = x * 1; z.sign_() | z = x * 1; z.sgn_() | z = x * 1; z.nan_to_num_(); z
z = x.detach(); z.heaviside_(y.detach()) | z = x * 1; z.fix_() | z = x * 1; z.frac_()
z = x * 1; z.fmod_(0.7) | z = x.detach().clone(); z.floor_divide_(0.5) | z = x * 1; z.ldexp_(k)
z = x.detach().double(); z.float_power_(2) | z = x.detach().clone(); z.nextafter_(y.detach())
z = n.clone(); z.gcd_(k) | z = n.clone(); z.lcm_(k) | z = n.clone(); z.bitwise_and_(k)
z = n.clone(); z.bitwise_or_(1) | z = n.clone(); z.bitwise_xor_(k) | z = n.clone(); z.bitwise_not_()
z = n.clone(); z <<= 2; z | z = n.clone(); z >>= k; z | z = n.clone(); z.bitwise_left_shift_(1)
z = n.clone(); z.bitwise_right_shift_(k) | z = mask.clone(); z.logical_and_(n > 0)
z = mask.clone(); z.logical_or_(n) | z = x.detach().clone(); z.logical_xor_(y.detach())
z = x.detach().clone(); z.eq_(y.detach()) | z = n.clone(); z.ne_(k) | z = n.clone(); z.lt_(k)
z = n.clone(); z.less_equal_(0) | z = n.clone(); z.greater_(k) | z = n.clone(); z.ge_(k)
z = x * 1; z.cumsum_(1); z | z = x * 1; z.cumprod_(0); z | z = x * 1; z.renorm_(2, 0, 1.0); z
z = x * 1; z.negative_() | z = x * 1; z.absolute_() | z = x * 1; z.multiply_(y); z
z = x * 1; z.subtract_(y, alpha=2) | z = x * 1; z.divide_(q); z | z = x * 1; z.true_divide_(2)
z = b * 1; z.baddbmm_(b @ b.mT, b); z | z = sq[:3, :3] * 1; z.addbmm_(b, b.mT); z
"""

# Made of others here, or there: the name of the last of them may be another one.
NAMED_OTHERWISE = """
torch.xlogy(n, p) | torch.xlogy(x * 0, p) | torch.xlogy(2, p) | torch.xlogy(x, 2.0) | x.copysign(-1)
torch.rsub(x, y) | x.sum_to_size(1, 3) | x.diff(0) | torch.trapezoid(x) | torch.trapz(x, v)
torch.trapezoid(x, y) | torch.trapezoid(b, dx=2, dim=1) | torch.trapezoid(x[:, :1])
torch.cumulative_trapezoid(b, v, dim=1) | torch.nanmean(x.sqrt()) | x.sqrt().nanmean(0)
torch.cov(x) | x[0].cov() | torch.cov(x, correction=0) | torch.cov(x, fweights=rows + 1)
torch.cov(x, aweights=p.detach()[0])
torch.cov(m, fweights=k[0, :1].expand(4), aweights=q.detach().view(-1)[:4], correction=0)
torch.quantile(x, 0.3) | x.quantile(0.5, dim=1) | long.quantile(0.77)
torch.quantile(x, torch.tensor([0.0, 0.25, 1.0]), dim=0) | x.quantile(0.4, dim=1, keepdim=True)
torch.quantile(b, torch.tensor([0.5, 0.1]), dim=1, keepdim=True) | x.quantile(0.4, keepdim=True)
x.quantile(0.4, interpolation="lower") | x.quantile(0.4, 1, interpolation="higher")
x.quantile(0.45, 0, interpolation="nearest") | x.quantile(0.4, interpolation="midpoint")
x.sqrt().quantile(0.5) | torch.nanquantile(x.sqrt(), 0.5) | x.sqrt().nanquantile(0.3, dim=1)
s.quantile(0.5) | torch.combinations(v) | torch.combinations(v, 3, True) | torch.combinations(v, 4)
torch.vander(v.detach()) | torch.vander(v.detach(), 2) | torch.index_fill(x, 0, rows[:1], s)
z = sq * 1; z.fill_diagonal_(2.0); z | torch.atleast_2d(s) | z = x * 1; z.unsqueeze_(0); z
z = x * 1; z.transpose_(0, 1); z | z = one * 1; z.squeeze_(); z | z = x * 1; z.swapaxes_(0, 1); z
z = (x * 1)[0]; z.unsqueeze_(1); z.mul_(2); z | torch.kron(x, m) | x.kron(v) | torch.kron(s, x)
torch.vdot(v, w) | torch.chain_matmul(x, m, m.T) | z = x.detach(); z.asinh_()
z = p.detach() + 1; z.acosh_() | z = x.detach() / 4; z.arctanh_() | z = x * 1; z.copysign_(-2.0)
"""

ERRORS = """
torch.gcd(x, x) | x << 1 | mask >> x | torch.positive(mask) | torch.heaviside(n, x) | torch.frexp(n)
x.detach().float_power_(2) | x.sum_to_size(2, 2) | x.sum_to_size(1, 2, 3) | n.nanmean()
x.cumprod(2) | x.cummax(2) | x.cummin(-3) | x.logcumsumexp(2) | s.diff() | x.diff(dim=2)
torch.trapezoid(x, y, dx=1) | torch.zeros(0).aminmax() | x.aminmax(dim=2) | torch.dist(n, k)
v.renorm(2, 0, 1.0) | b.cov() | x.kthvalue(0) | x.kthvalue(4) | x.kthvalue(1, 2) | x.mode(2)
x.quantile(1.5) | x.quantile(-0.1) | n.quantile(0.5) | torch.zeros(0).quantile(0.5)
x.quantile(0.5, interpolation="x") | x.quantile(0.5, dim=2) | x.quantile(x)
x.quantile(v.double() * 0) | torch.searchsorted(x, v) | torch.searchsorted(v, v, side="x")
torch.bucketize(v, x) | torch.searchsorted(v, v, right=True, side="left") | torch.histc(n)
torch.histc(x.detach(), 0) | torch.histc(x.detach(), 3, 2, 1) | torch.histc(torch.tensor([nan]), 3)
torch.tril_indices(-1, 2) | x.scatter_reduce(1, ids, n, "sum")
x.detach().scatter(1, ids, 2.0, reduce="sum") | x.index_reduce(1, rows, y, "sum")
x.index_put((rows % 2,), 1.0) | x.index_put((rows + 7,), s) | x.index_copy(1, rows[:2], y[:1, :2])
x.index_copy(1, rows + 5, y) | x.index_fill(1, rows + 5, 0) | x.index_fill(1, rows, v)
x.masked_scatter(mask, w[:1]) | x.take(rows + 9) | x.take(x) | torch.zeros(3).fill_diagonal_(1)
torch.zeros(2, 2, 3).fill_diagonal_(1) | x.fill_diagonal_(1) | x.diag_embed(0, 1, 1)
x.diag_embed(0, 3) | x.diagonal_scatter(v) | x.select_scatter(v, 1, 0) | x.slice_scatter(y, 1, 0, 2)
x.tensor_split(0) | s.tensor_split(2) | x.hsplit(2) | s.hsplit(1) | v.vsplit(1) | x.dsplit(1)
torch.dstack([]) | torch.column_stack([x, v]) | torch.block_diag(b) | torch.atleast_1d(1)
v.rot90() | x.rot90(1, (0, 0)) | v.fliplr() | s.flipud() | b.H | v.H | v.adjoint()
b.movedim((0, 1), (1,)) | b.movedim((0, 0), (1, 2)) | torch.broadcast_shapes((2,), (3,))
x.detach().view(torch.float64) | s.view(torch.float64) | x.T.view(torch.float64) | x.unsqueeze_(0)
x.t_() | torch.logspace(0, 1, -1) | torch.empty_strided((2,), (1, 2)) | torch.tensordot(x, x, 1)
torch.tensordot(x, x, 3) | torch.inner(x, v[:2]) | torch.addmv(v, v, v) | torch.addr(v, x, v)
torch.cdist(x, m) | torch.cdist(x, v) | torch.cdist(n, n) | torch.cdist(x, y, -1.0)
torch.cross(x, v, dim=1) | torch.cross(m, m, dim=1) | torch.vander(x) | torch.combinations(x)
torch.einsum(x, [0, 1], y) | torch.add(x, y, out=torch.zeros(2, 3))
torch.add(n, 1.5, out=torch.zeros(2, 3, dtype=torch.int64)) | torch.add(n, 1, out=[1])
torch.max(x.detach(), 1, out=torch.zeros(2)) | torch.exp(n, out=x)
"""


@pytest.fixture(autouse=True)
def no_warnings_of_pytorch():
    """What PyTorch has deprecated still has to give the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


VALUES = lines_of(ELEMENTS, ALONG, ORDERED, PLACED, SHAPED, MADE, MULTIPLIED, IN_PLACE)


@each(VALUES)
def test_a_line_gives_what_pytorch_gives(line):
    assert_same(line)


@each(lines_of(NAMED_OTHERWISE))
def test_a_line_gives_the_numbers_that_pytorch_gives(line):
    assert_same(line, printed=False)


@each(lines_of(ERRORS))
def test_a_line_fails_as_pytorch_fails(line):
    assert_same_error(line)
