"""Every function and method a learner calls, against PyTorch at run time: values, dtype, shape,
strides, the printed form with its grad_fn, and gradients under a random upstream."""

import pytest

pytest.importorskip("torch")

from parity import assert_same, assert_same_error, each

ARITHMETIC = """
x + y | x - y | x * y | x / q | x @ m | -x | +x | abs(x) | x + v | v + x | x * s | s * x | x + 1
1 + x | x - 1 | 1 - x | x * 2 | 2 * x | x * 0.5 | x / 2 | 1 / p | p ** 2 | p ** 0.5 | 2 ** x
p ** x | x ** 3 | x ** 1 | x ** 0 | x ** -1 | p ** -0.5 | x % 0.7 | x % q | one + x | x + one
s + s | x + one * v | x.add(y, alpha=2) | x.sub(y, alpha=0.5) | torch.sub(x, y, alpha=3)
torch.add(x, y) | torch.mul(x, 2) | torch.div(x, q) | torch.true_divide(x, q)
torch.div(x, q, rounding_mode="trunc") | torch.pow(p, 2) | torch.pow(p, x) | torch.pow(2, x)
x.pow(2) | torch.subtract(x, y) | x.neg() | torch.neg(x) | torch.abs(x) | x.square()
torch.square(x) | x.reciprocal() | p.sqrt() | p.rsqrt() | torch.sqrt(p) | x.exp() | torch.exp(x)
p.log() | p.log2() | p.log10() | p.log1p() | x.expm1() | torch.log(p) | x.exp2() | torch.exp2(x)
x.sin() | x.cos() | x.tanh() | torch.tanh(x) | x.sigmoid() | torch.sigmoid(x) | x.relu()
torch.relu(x) | x.erf() | x.floor() | x.ceil() | x.round() | x.trunc() | x.frac()
torch.round(x, decimals=2) | x.sign() | torch.sign(x) | torch.fmod(x, 0.7) | torch.fmod(x, q)
torch.remainder(x, 0.7) | torch.clamp(x, 0) | x.clamp(min=-0.5, max=0.5) | x.clamp(max=0.1)
x.clip(-0.5, 0.5) | x.clamp(y, p) | x.clamp_min(0.0) | x.clamp_max(0.0) | torch.maximum(x, y)
torch.minimum(x, y) | torch.max(x, y) | torch.min(x, y) | torch.lerp(x, y, 0.25) | x.lerp(y, 0.5)
torch.where(mask, x, y) | torch.where(mask, x, 0.0) | torch.where(x > 0, x, 0) | x.where(mask, y)
torch.where(mask, 1.0, y) | x.masked_fill(mask, 0) | x.masked_fill(mask, -inf)
x.masked_fill(mask == 0, float('-inf')) | torch.masked_fill(x, mask, 1.5) | x.masked_fill(mask, s)
torch.addcmul(x, y, p, value=0.5) | torch.addcdiv(x, y, p, value=0.5) | x.detach() + y
(x * y).detach() | x.data * 2 | x.clone() | torch.clone(x) | x.T + 1 | x.T * x.T | (x.T).exp()
x + m.T[:2] | torch.softmax(x, -1) | x.softmax(dim=1) | x.softmax(0) | x.log_softmax(-1)
torch.log_softmax(x, dim=0) | b.softmax(1) | x.softmax(-1, dtype=torch.float64)
torch.nn.functional.softmax(x, dim=1) | x.double() * 2 | x.double() | x.half().float()
x.to(torch.float64) | x.float() is x | x.to(y) is x | x.type(torch.float64) | x.type()
x.double().type() | n.type() | mask.type() | x.type_as(n)
"""

REDUCTIONS = """
x.sum() | x.sum(0) | x.sum(1) | x.sum(-1) | x.sum(1, keepdim=True) | x.sum(1, keepdims=True)
x.sum((0, 1)) | x.sum(dim=(0, 1), keepdim=True) | b.sum((0, 2)) | torch.sum(x) | torch.sum(x, 1)
torch.sum(x, dim=0, keepdim=True) | x.sum(axis=0) | x.sum(dtype=torch.float64) | s.sum()
x.T.sum(0) | x.mean() | x.mean(0) | x.mean(0, keepdim=True) | x.mean(-1, keepdim=True)
x.mean((0, 1)) | b.mean((0, 1)) | torch.mean(x, 1) | n.float().mean()
b.mean(axis=(0, 2), keepdims=True) | x.var() | x.var(0) | x.var(1, keepdim=True)
x.var(0, unbiased=False) | x.var(0, correction=0) | x.var(unbiased=False) | b.var((0, 1))
torch.var(x, 1) | x.var(1, unbiased=True) | b.var((0, 2), keepdim=True, unbiased=False) | x.std()
x.std(0) | x.std(1, keepdim=True) | x.std(0, unbiased=False) | torch.std(x)
torch.std(x, 1, keepdim=True) | x.std(dim=0, correction=0) | x.var(False) | x.std(False)
torch.var_mean(x, 0) | torch.std_mean(x) | x.prod() | x.prod(0) | x.prod(1, keepdim=True)
torch.prod(x) | x.norm() | x.norm(dim=1) | x.norm(2, 1) | x.norm(p=1)
x.norm(1, dim=0, keepdim=True) | x.norm(inf) | x.norm(3, dim=1) | torch.norm(x)
x.norm(p=2, dim=-1, keepdim=True) | x.max() | x.min() | x.max(0) | x.max(1) | x.max(1, keepdim=True)
x.max(dim=-1) | x.min(0) | x.min(1, keepdim=True) | torch.max(x) | torch.max(x, 1)
torch.min(x, dim=0) | x.max(1).values | x.max(1).indices | x.max(1)[0] | torch.max(x, 1)[1]
x.amax() | x.amax(1) | x.amax((0, 1)) | x.amin(0, keepdim=True) | torch.amax(x, dim=1)
x.max(1, keepdims=True) | x.argmax() | x.argmax(1) | x.argmin(0, keepdim=True)
torch.argmax(x, dim=-1) | x.argmax(dim=1, keepdim=True) | x.logsumexp(1) | x.logsumexp((0, 1))
torch.logsumexp(x, dim=0, keepdim=True) | x.cumsum(0) | x.cumsum(-1) | torch.cumsum(x, dim=1)
x.sort() | x.sort(0) | x.sort(descending=True) | torch.sort(x, dim=1, descending=True) | x.argsort()
x.argsort(0, descending=True) | v.sort().values | x.topk(2) | torch.topk(x, 2) | x.topk(1, dim=0)
torch.topk(x, 2, largest=False) | torch.topk(v, 2).values | x.topk(3, dim=-1) | x.any() | mask.any()
mask.any(1) | mask.all() | mask.all(0) | (x > 0).all() | (x > 0).any(dim=0) | torch.any(mask)
torch.all(mask, dim=1, keepdim=True) | n.any() | mask.sum() | mask.sum(1) | mask.float().mean()
n.nonzero() | torch.nonzero(mask) | mask.nonzero(as_tuple=True) | torch.where(mask)
torch.count_nonzero(n) | n.count_nonzero(dim=1) | x.median() | x.median(1) | v.median()
b.median(dim=0) | torch.bincount(k.view(-1)) | torch.bincount(rows, minlength=5) | torch.unique(n)
n.unique(return_counts=True) | torch.unique(n, return_inverse=True)
torch.histogram(x.detach(), bins=4) | torch.histogram(x.detach(), bins=3, range=(-1., 1.))
torch.histogram(x.detach(), 3, range=(-1., 1.), weight=x.detach().abs(), density=True)
torch.histogram(long.detach(), density=True, bins=5) | n.sum() | n.sum(0) | n.prod() | n.cumsum(1)
n.max() | n.max(1) | n.argmax() | n.float().std() | (n == 0).sum().item() | n.min(0)
torch.tensor([]).sum() | torch.zeros(0, 3).sum(0) | torch.zeros(0).mean()
torch.zeros(3, 0).prod(1)
"""

SHAPES = """
x.view(6) | x.view(-1) | x.view(3, 2) | x.view(3, -1) | x.view((3, 2)) | x.view(-1, 1)
b.view(2, 12) | b.view(6, 4) | x.view(1, 2, 3) | x.view_as(q) | x.view(torch.Size([6]))
x.view(*x.shape) | b.view(-1, b.shape[-1]) | x.reshape(6) | x.reshape(-1) | x.reshape(3, 2)
x.T.reshape(6) | torch.reshape(x, (3, 2)) | x.T.reshape(-1) | x.reshape((-1,)) | x.reshape(2, 3)
x.reshape_as(m[:2, :3]) | x.T | x.t() | v.t() | torch.t(x) | b.mT | x.transpose(0, 1)
b.transpose(1, 2) | b.transpose(-2, -1) | torch.transpose(x, 0, 1) | b.permute(2, 0, 1)
torch.permute(b, (1, 0, 2)) | b.permute((2, 1, 0)) | x.swapaxes(0, 1) | b.movedim(0, 2)
b.swapdims(0, 1) | one.squeeze() | one.squeeze(0) | x.squeeze(0) | x.unsqueeze(0) | x.unsqueeze(1)
x.unsqueeze(-1) | torch.unsqueeze(x, 1) | torch.squeeze(one) | x.unsqueeze(-1).squeeze(-1)
x[:, None].squeeze(1) | s.unsqueeze(0) | s.squeeze() | b[:1, :, :1].squeeze((0, 2))
one.expand(4, 3) | one.expand(-1, 3) | v.expand(2, 3) | one.expand_as(x)
torch.broadcast_to(v, (2, 3)) | s.expand(3) | one.expand(2, 4, 3) | v.repeat(2) | x.repeat(2, 1)
x.repeat(2, 2, 1) | v.repeat(2, 1) | torch.tile(v, (2,)) | x.tile(2) | x.repeat_interleave(2, dim=1)
torch.repeat_interleave(x, 2, dim=0) | x.repeat_interleave(2)
x.repeat_interleave(torch.tensor([1, 3, 0]), 1) | x.repeat_interleave(rows, -1)
m.repeat_interleave(rows, dim=0)
x.repeat_interleave(torch.tensor([1, 2, 0, 1, 1, 3])) | x.repeat_interleave(torch.tensor(2))
x.repeat_interleave(torch.tensor([2]), 0, output_size=4) | x.repeat_interleave(2, 0, output_size=4)
torch.repeat_interleave(k[0]) | torch.repeat_interleave(k[0].int()) | s.repeat_interleave(rows[:1])
torch.repeat_interleave(b, repeats=rows.int(), dim=1) | x[:, :0].repeat_interleave(rows[:2], 0)
x.flatten() | b.flatten(1)
b.flatten(0, 1) | b.flatten(start_dim=1, end_dim=2) | torch.flatten(b, 1) | s.flatten()
v.flatten() | x.ravel() | x.T.flatten() | x.unflatten(1, (3, 1)) | b.unflatten(-1, (2, 2))
x.contiguous() | x.T.contiguous() | x.contiguous() is x | x.T.is_contiguous()
b.transpose(1, 2).contiguous().view(2, 12) | x.stride() | x.T.stride() | one.stride()
x.unsqueeze(0).stride() | x[:, :1].stride() | x.T[:1].stride() | b[:, 0].stride() | one.T.stride()
one.expand(4, 3).stride() | torch.cat([x, y]) | torch.cat((x, y), dim=1) | torch.cat([x, y, x], -1)
torch.cat([v, w]) | torch.concat([x, one]) | torch.cat([x, torch.zeros(0)])
torch.cat([x, n.float()], 0) | torch.cat([n, x]) | torch.concatenate([x, y], axis=1)
torch.stack([x, y]) | torch.stack((x, y), dim=1) | torch.stack([x, y], -1) | torch.stack([s, s])
torch.stack([v, w], dim=1) | torch.stack([x[0], y[1]]) | torch.vstack([x, one])
torch.hstack([x, y]) | torch.hstack([v, w]) | torch.vstack((v, w)) | x.split(1) | x.split(2, dim=1)
torch.split(b, 2, dim=2) | x.split([1, 2], dim=1) | x.chunk(2) | torch.chunk(b, 3, dim=1)
x.chunk(2, dim=-1) | x.unbind() | x.unbind(1) | torch.unbind(b, 2) | torch.unbind(x, 1)
torch.cat(x.unbind(0)) | torch.cat(torch.unbind(b, 1), 1) | list(x) | x.flip(0) | x.flip(0, 1)
torch.flip(x, (1,)) | x.flip([0]) | x.roll(1) | x.roll(1, 0) | torch.roll(x, (1, 2), (0, 1))
torch.roll(x, shifts=-1, dims=1) | torch.tril(sq) | sq.tril() | sq.tril(-1) | sq.triu(1)
torch.triu(x, diagonal=1) | torch.tril(torch.ones(3, 3)) | b.tril() | sq.diagonal() | sq.diag()
v.diag() | torch.diag(v, 1) | sq.diagonal(1) | b.diagonal(0, 1, 2) | sq.trace() | torch.trace(sq)
torch.diagonal(sq, -1) | torch.nn.functional.pad(x, (1, 2))
torch.nn.functional.pad(x, (1, 1, 0, 2), value=3.0) | torch.nn.functional.pad(x, (-1, 1))
x.narrow(1, 0, 2) | torch.narrow(x, 1, 1, 2) | x.select(0, 1) | torch.select(b, 1, -1)
torch.meshgrid(v, w, indexing="ij") | torch.meshgrid(v, torch.arange(2.), indexing="xy")
torch.broadcast_tensors(x, v)
"""

PRODUCTS = """
v @ w | v @ m | m.t() @ b | sq @ b.mT | v @ b | b @ sq | m @ b.mT | x @ v | x @ m | b @ c
b @ torch.ones(4) | b @ c[0] | torch.matmul(x, m) | x.matmul(m) | torch.mm(x, m) | x.mm(m)
torch.bmm(b, c) | b.bmm(c) | torch.dot(v, w) | v.dot(w) | torch.outer(v, w) | v.outer(w) | x.mv(v)
torch.mv(x, v) | x.T @ y | x @ y.T | x.T.matmul(x) | b.transpose(1, 2) @ b | q @ q.transpose(-2, -1)
b[:, None] @ c[None] | b.unsqueeze(1) @ c | x @ m + 1 | (x @ m).tanh()
torch.einsum("ij,jk->ik", x, m) | torch.einsum("i,i->", v, w) | torch.einsum("ij->ji", x)
torch.einsum("bij,bjk->bik", b, c) | torch.einsum("ij,ij", x, y)
torch.einsum("...j,jk->...k", x, m) | torch.einsum("i,j", v, w) | torch.einsum("bij->bi", b)
torch.einsum("ii->i", sq) | torch.einsum("ii", sq) | torch.addmm(x[0, :2], x, m[:, :2])
torch.addmm(one @ m, x, m, beta=0.5, alpha=2)
"""

QUESTIONS = """
x == y | x != y | x < y | x <= y | x > y | x >= y | x > 0 | 0 < x | n == 0 | n > 1.5 | x == x
mask == 0 | x.eq(y) | torch.gt(x, 0) | torch.lt(x, y) | x.ge(0.) | x.ne(x) | torch.equal(x, x)
torch.allclose(x, x + 1e-9) | x.allclose(y) | x.equal(y) | torch.isclose(x, x + 1e-9)
torch.isclose(x, y) | ~mask | mask & (x > 0) | mask | (x > 0) if False else mask ^ (x > 0) | ~n
n & 1 | n ^ 3 | mask.logical_not() | torch.logical_and(mask, x > 0) | torch.logical_or(mask, n)
x.isnan() | x.isfinite() | (x / 0).isinf() | torch.isnan(x) | x.isfinite().all()
x.isreal() if False else x.numel() | x.nelement() | x.dim() | x.ndim | x.shape | x.size()
x.size(0) | x.size(-1) | len(x) | x.element_size() | x.is_floating_point() | torch.is_tensor(x)
torch.is_tensor(3) | torch.numel(x) | torch.is_floating_point(x) | b.shape[1:] | b.size()[-1]
x.shape.numel() | x.dtype | n.dtype | mask.dtype | x.device | x.is_contiguous() | x.is_cuda
x.requires_grad | x.is_leaf | x.grad | (x * 2).is_leaf | x.shape == (2, 3)
x.layout if False else 0 | s.item() | n[0, 0].item() | mask[0, 0].item() | x.tolist() | n.tolist()
mask.tolist() | s.tolist() | int(n[0, 0]) | bool(mask[0, 0]) | f"{s:.3f}" | f"{s.item():.2f}"
"%d" % n[0, 0] | [1, 2, 3, 4, 5][rows[0]] | range(3)[rows[0]] | 1 in rows | str(x) | f"{x}" | f"{n}"
hash(x) == hash(x) | x is x
"""

INDEXED = """
x.gather(1, ids) | torch.gather(x, 1, ids) | x.gather(0, ids % 2) | x.gather(-1, ids)
torch.take_along_dim(x, ids, 1) | torch.take_along_dim(x, ids) | x.index_select(1, rows)
torch.index_select(x, 0, rows) | x.index_select(-1, rows) | torch.masked_select(x, mask)
x.masked_select(mask) | x.scatter_add(1, ids, y[:, :2])
x.scatter_add(1, torch.arange(3).expand(2, 3) % 2, y) | x.scatter(1, ids[:, :1], y[:, :1])
x.scatter(1, ids[:, :1], 2.0) | x.index_add(0, rows, m.T[:3])
torch.zeros(2, 3).scatter_(1, ids[:, :1], 1.0) | torch.zeros(2, 3).scatter_add_(1, ids, p.detach())
torch.nn.functional.one_hot(ids) | torch.nn.functional.one_hot(ids, 5)
torch.nn.functional.one_hot(ids, num_classes=3).float()
"""


IN_PLACE = """
z = x * 1; z.add_(y); z | z = x * 1; z.add_(y, alpha=2) | z = x * 1; z.sub_(y); z
z = x * 1; z.mul_(y); z | z = x * 1; z.div_(q); z | z = p * 1; z.pow_(2) | z = x * 1; z += y; z
z = x * 1; z -= 1; z | z = x * 1; z *= 2; z | z = x * 1; z /= q; z | z = p * 1; z **= 2; z
z = x * 1; z += v; z | z = x * 1; z *= s; z | z = x * 1; z @= m; z
z = x.detach().clone(); z //= 0.5; z | z = x.detach().clone(); z %= 0.5; z
z = mask.clone(); z &= (n > 0); z | z = mask.clone(); z |= (n > 0); z
z = mask.clone(); z ^= True; z | z = x * 1; z.exp_() | z = p * 1; z.log_() | z = p * 1; z.sqrt_()
z = p * 1; z.rsqrt_() | z = x * 1; z.neg_() | z = x * 1; z.abs_() | z = x * 1; z.tanh_()
z = x * 1; z.sigmoid_() | z = x * 1; z.relu_() | z = x * 1; z.square_() | z = p * 1; z.reciprocal_()
z = x * 1; z.sin_() | z = x * 1; z.cos_() | z = x * 1; z.floor_() | z = x * 1; z.ceil_()
z = x * 1; z.round_() | z = x * 1; z.trunc_() | z = x * 1; z.clamp_(-0.5, 0.5)
z = x * 1; z.clamp_(min=0) | z = x * 1; z.clamp_min_(0) | z = x * 1; z.clip_(max=0.1)
z = x * 1; z.zero_() | z = x * 1; z.zero_(); z + x | z = x * 1; z.fill_(2.0)
z = x * 1; z.fill_(3); z * x | z = x * 1; z.copy_(y) | z = x * 1; z.copy_(v); z
z = x * 1; z.copy_(n); z | z = x.detach().clone(); z.copy_(y.double())
z = n.clone(); z.copy_(x); z | z = x * 1; z.masked_fill_(mask, 0.); z
z = x * 1; z.masked_fill_(mask, -inf) | z = x * 1; z.lerp_(y, 0.5)
z = x * 1; z.addcmul_(y, p, value=0.5) | z = x * 1; z.addcdiv_(y, p, value=-0.5)
z = sq * 1; z.tril_() | z = sq * 1; z.triu_(1) | z = x * 1; z.scatter_add_(1, ids, y[:, :2])
z = x * 1; z.scatter_(1, ids[:, :1], 9.0) | z = x * 1; z.index_add_(0, rows[:2], y)
z = x * 1; w2 = z.view(6); w2.mul_(2); z | z = x * 1; w2 = z[0]; w2.zero_(); z
z = x * 1; z[0].fill_(1.0); z * y | z = x * 1; z[:, 1].add_(s); z | z = x * 1; z.T.mul_(m[:, :2]); z
z = torch.zeros(4); a = z.view(2, 2); a[0] = p[0, :2]; z | z = torch.zeros(2, 3); z[0] = x[1]; z
z = torch.zeros(2, 3); z[:, 0] = p[:, 0]; z * x | z = n.clone(); z += 1; z
z = n.clone(); z.mul_(2) | z = n.clone(); z.add_(rows); z | z = n.clone(); z.fill_(2.7); z
z = x.detach(); z.add_(1); x * 1 | x.data.mul_(2); x * y | x.data += y.data; x * 1
z = x * 1; z.detach_(); z | z = x * 1; z.requires_grad_(); z | z = x.detach(); z.requires_grad_(); z
z = x.detach().double(); z += y.detach(); z | z = x.detach().clone(); z += y.detach().double(); z
z = x.clone(); z.data = y.data; z.data | x.grad = torch.ones_like(x); x.grad.zero_(); x.grad
z = torch.zeros(3); z[1] = 5; z | z = x.detach().clone(); z[z < 0] = 0; z
z = x * 1; z[mask] = 0.0; z | z = x * 1; z[mask] = s; z | z = x * 1; z[0, 1] = s; z
z = x * 1; z[rows, 1] = 3.0; z | z = x * 1; z[:, [0, 2]] = y[:, [1, 0]]; z
z = x * 1; z[...] = y; z | z = x * 1; z[None] = y; z | z = x * 1; z[-1] += v; z
z = x * 1; z[:, 1] *= 2; z | z = x * 1; z[0] = z[1]; z
z = x.detach().clone(); z[z < z.topk(2)[0][:, [-1]]] = -inf; z
z = torch.zeros(27, 27, dtype=torch.int32); z[3, 5] += 1; z[3]
z = torch.zeros(3, 3); z[range(3), [2, 0, 1]] = 1; z
z = torch.zeros(2, 3); z[torch.arange(2), rows[:2]] = -1.0; z
"""

ERRORS = """
x + m | x * b | x @ x | v @ b[0, 0] | x @ v[:2] | b @ torch.ones(3, 4, 5) | torch.mm(x, v)
torch.bmm(x, m) | torch.dot(v, m) | torch.matmul(x, s) | x.double() @ m | x @ n.T | torch.mv(x, m)
torch.add(x, None) | torch.sum([1, 2]) | torch.exp(None) | x.add([1]) | -mask | mask - mask
mask - True | ~x | x.view(4) | x.view(-1, -1) | x.view(4, -1) | x.T.view(6) | x.reshape(5)
x.view(-2, 3) | x.view(7, -1) | x.permute(0) | x.permute(0, 0) | x.permute(0, 2) | x.transpose(0, 2)
x.unsqueeze(3) | x.squeeze(2) | b.t() | x.expand(4, 3) | x.expand(3) | v.expand(-1, 3) | b.repeat(2)
x.flatten(1, 0) | x.flatten(2) | x.unflatten(1, (2, 2)) | x.flip(2) | x.flip(0, 0) | x.roll(1, 2)
x.movedim(0, 2) | x.sum(2) | x.sum(-3) | x.mean(2) | x.sum((0, 0)) | n.mean() | n.float().mean(5)
x.max(2) | x.argmax(2) | x.softmax(2) | x.log_softmax(-3) | x.cumsum(2) | x.var(3) | x.std(3)
x.norm(dim=4) | x.amax(2) | x.prod(2) | n.std() | n.var() | x.topk(4) | x.topk(2, dim=2)
x.topk(-1) | x.sort(2) | torch.zeros(0).max() | torch.zeros(0).argmax() | torch.zeros(3, 0).max(1)
torch.zeros(0).amax() | x.any(3) | x.median(2) | x.logsumexp(2) | n.softmax(0) | x.sum("a")
torch.cat([]) | torch.cat(x) | torch.cat([x, m]) | torch.cat([x, v]) | torch.cat([x, y], 2)
torch.cat([s, s]) | torch.cat([x, 1]) | torch.cat([x, v]) | torch.hstack([m, v])
torch.stack([]) | torch.stack([x, v])
torch.stack([x, y], 3) | x.split(0) | x.split(-1) | x.split([1, 1, 1]) | x.chunk(0) | x.split(1, 2)
x.unbind(2) | x.narrow(0, 1, 2) | x.narrow(2, 0, 1) | torch.vstack([]) | torch.tril(v) | v.triu()
v.diagonal() | b.diag() | v.trace() | torch.meshgrid(v, v, indexing="ab") | x[2] | x[0, 3] | x[-3]
x[0, 0, 0] | x[[2]] | x[torch.tensor([5])] | x[torch.tensor([-3])] | x[0.5] | x["a"]
x[torch.tensor([0.5])] | x[mask[0]] | x[mask.T] | x[::-1]
x[torch.tensor([0, 1]), torch.tensor([0, 1, 2])] | s[0] | x[2] + 1 | x[:, 5] | x[None, 2]
x[:, mask] | z = x * 1; z[0, 5] = 1 | z = x * 1; z[0] = torch.ones(4)
z = x * 1; z[mask] = torch.ones(5) | z = x * 1; z[0] = "a" | z = x * 1; z[[7]] = 1
z = x * 1; z["a"] = 1 | z = x * 1; z[0] = torch.ones(2, 3) | x[0] = 1 | x.add_(1) | x += 1
x.zero_() | x.data.add_(m) | z = x * 1; z.add_(b) | z = x * 1; z += m | z = n.clone(); z += 0.5
z = n.clone(); z.add_(x.detach()) | z = n.clone(); z /= 2 | z = mask.clone(); z += 1
z = n.clone(); z.div_(2) | z = v * 1; z += x | z = n.clone(); z.exp_() | x.detach().copy_(m)
z = n.clone(); z.mul_(2.5) | x.item() | x.view(6).item() | bool(x) | float(x) | int(x) | x.numpy()
(x * 1).numpy() | torch.zeros(0).item() | x.sum(0.5) | torch.ones(1).retain_grad() | range(3)[x]
[1, 2][s] | x[::-2] | z = (x * x).sum(); z.backward(); z.backward() | len(s) | list(s) | iter(s)
torch.zeros(2, 3).backward() | (x * y).backward() | n.requires_grad_()
(x * 1).requires_grad_(False) | torch.ones(2).backward() | x.sum().backward(torch.ones(2))
x.detach().register_hook(print) | x.grad = 1 | x.grad = m | x.grad = x.double()
torch.where(x, x, y) | torch.where(mask, x, m) | x.masked_fill(x, 0) | x.masked_fill(mask, y)
x.masked_fill(torch.ones(5) > 0, 1.0) | torch.clamp(x) | x.clamp("a") | x.gather(1, x)
x.gather(2, ids) | x.gather(1, rows) | x.index_select(0, ids) | x.index_select(0, rows + 5)
x.masked_select(x) | x.take_along_dim(x, 1) | torch.nn.functional.one_hot(x)
torch.nn.functional.one_hot(ids, 1) | torch.nn.functional.one_hot(ids - 5) | x.pow("a") | n ** -1
torch.einsum("ij,jk", x) | torch.einsum("ij,jk->ik", x, x) | torch.einsum("ijk->i", x)
torch.einsum("ij->ik", x) | x.repeat_interleave(-1) | torch.bincount(n - 9) | x.outer(v)
torch.div(x, y, rounding_mode="up") | x.to("nowhere") | x.lerp(m, 0.5) | torch.addmm(x, x, x)
torch.equal(x, 1) | torch.allclose(x, 1) | torch.isclose(x, m) | torch.allclose(x, x.double())
"""


def lines_of(*tables):
    rows = [row for table in tables for row in table.strip().split("\n")]
    return [line.strip() for row in rows for line in row.split(" | ")]


VALUES = lines_of(ARITHMETIC, REDUCTIONS, SHAPES, PRODUCTS, QUESTIONS, INDEXED, IN_PLACE)


@each(VALUES)
def test_a_line_gives_what_pytorch_gives(line):
    assert_same(line)


@each(lines_of(ERRORS))
def test_a_line_fails_as_pytorch_fails(line):
    assert_same_error(line)
