"""Every function and method a learner calls, against PyTorch at run time: values, dtype, shape,
strides, the printed form with its grad_fn, and gradients under a random upstream."""

import pytest

pytest.importorskip("torch")

from parity import assert_same, assert_same_error  # noqa: E402

ARITHMETIC = """
x + y | x - y | x * y | x / q | x @ m | -x | +x | abs(x) | x + v | v + x | x * s | s * x | x + 1 | 1 + x
x - 1 | 1 - x | x * 2 | 2 * x | x * 0.5 | x / 2 | 1 / p | p ** 2 | p ** 0.5 | 2 ** x | p ** x | x ** 3 | x ** 1 | x ** 0
x ** -1 | p ** -0.5 | x % 0.7 | x % q
one + x | x + one | s + s | x + one * v | x.add(y, alpha=2) | x.sub(y, alpha=0.5) | torch.sub(x, y, alpha=3)
torch.add(x, y) | torch.mul(x, 2) | torch.div(x, q) | torch.true_divide(x, q)
torch.div(x, q, rounding_mode="trunc") | torch.pow(p, 2) | torch.pow(p, x) | torch.pow(2, x) | x.pow(2) | torch.subtract(x, y)
x.neg() | torch.neg(x) | torch.abs(x) | x.square() | torch.square(x) | x.reciprocal() | p.sqrt() | p.rsqrt() | torch.sqrt(p)
x.exp() | torch.exp(x) | p.log() | p.log2() | p.log10() | p.log1p() | x.expm1() | torch.log(p) | x.exp2() | torch.exp2(x)
x.sin() | x.cos() | x.tanh() | torch.tanh(x) | x.sigmoid() | torch.sigmoid(x) | x.relu() | torch.relu(x) | x.erf()
x.floor() | x.ceil() | x.round() | x.trunc() | x.frac()
torch.round(x, decimals=2) | x.sign() | torch.sign(x) | torch.fmod(x, 0.7) | torch.fmod(x, q) | torch.remainder(x, 0.7)
torch.clamp(x, 0) | x.clamp(min=-0.5, max=0.5) | x.clamp(max=0.1) | x.clip(-0.5, 0.5) | x.clamp(y, p) | x.clamp_min(0.0) | x.clamp_max(0.0)
torch.maximum(x, y) | torch.minimum(x, y) | torch.max(x, y) | torch.min(x, y) | torch.lerp(x, y, 0.25) | x.lerp(y, 0.5)
torch.where(mask, x, y) | torch.where(mask, x, 0.0) | torch.where(x > 0, x, 0) | x.where(mask, y) | torch.where(mask, 1.0, y)
x.masked_fill(mask, 0) | x.masked_fill(mask, -inf) | x.masked_fill(mask == 0, float('-inf')) | torch.masked_fill(x, mask, 1.5) | x.masked_fill(mask, s)
torch.addcmul(x, y, p, value=0.5) | torch.addcdiv(x, y, p, value=0.5)
x.detach() + y | (x * y).detach() | x.data * 2 | x.clone() | torch.clone(x) | x.T + 1 | x.T * x.T | (x.T).exp() | x + m.T[:2]
torch.softmax(x, -1) | x.softmax(dim=1) | x.softmax(0) | x.log_softmax(-1) | torch.log_softmax(x, dim=0) | b.softmax(1)
x.softmax(-1, dtype=torch.float64) | torch.nn.functional.softmax(x, dim=1) | x.double() * 2 | x.double() | x.half().float() | x.to(torch.float64)
x.float() is x | x.to(y) is x | x.type(torch.float64) | x.type() | x.double().type() | n.type() | mask.type() | x.type_as(n)
"""

REDUCTIONS = """
x.sum() | x.sum(0) | x.sum(1) | x.sum(-1) | x.sum(1, keepdim=True) | x.sum(1, keepdims=True) | x.sum((0, 1)) | x.sum(dim=(0, 1), keepdim=True) | b.sum((0, 2))
torch.sum(x) | torch.sum(x, 1) | torch.sum(x, dim=0, keepdim=True) | x.sum(axis=0) | x.sum(dtype=torch.float64) | s.sum() | x.T.sum(0)
x.mean() | x.mean(0) | x.mean(0, keepdim=True) | x.mean(-1, keepdim=True) | x.mean((0, 1)) | b.mean((0, 1)) | torch.mean(x, 1) | n.float().mean() | b.mean(axis=(0, 2), keepdims=True)
x.var() | x.var(0) | x.var(1, keepdim=True) | x.var(0, unbiased=False) | x.var(0, correction=0) | x.var(unbiased=False) | b.var((0, 1)) | torch.var(x, 1) | x.var(1, unbiased=True) | b.var((0, 2), keepdim=True, unbiased=False)
x.std() | x.std(0) | x.std(1, keepdim=True) | x.std(0, unbiased=False) | torch.std(x) | torch.std(x, 1, keepdim=True) | x.std(dim=0, correction=0) | x.var(False) | x.std(False)
torch.var_mean(x, 0) | torch.std_mean(x)
x.prod() | x.prod(0) | x.prod(1, keepdim=True) | torch.prod(x) | x.norm() | x.norm(dim=1) | x.norm(2, 1) | x.norm(p=1) | x.norm(1, dim=0, keepdim=True) | x.norm(inf) | x.norm(3, dim=1) | torch.norm(x)
x.norm(p=2, dim=-1, keepdim=True)
x.max() | x.min() | x.max(0) | x.max(1) | x.max(1, keepdim=True) | x.max(dim=-1) | x.min(0) | x.min(1, keepdim=True) | torch.max(x) | torch.max(x, 1) | torch.min(x, dim=0)
x.max(1).values | x.max(1).indices | x.max(1)[0] | torch.max(x, 1)[1] | x.amax() | x.amax(1) | x.amax((0, 1)) | x.amin(0, keepdim=True) | torch.amax(x, dim=1) | x.max(1, keepdims=True)
x.argmax() | x.argmax(1) | x.argmin(0, keepdim=True) | torch.argmax(x, dim=-1) | x.argmax(dim=1, keepdim=True) | x.logsumexp(1) | x.logsumexp((0, 1)) | torch.logsumexp(x, dim=0, keepdim=True)
x.cumsum(0) | x.cumsum(-1) | torch.cumsum(x, dim=1) | x.sort() | x.sort(0) | x.sort(descending=True) | torch.sort(x, dim=1, descending=True) | x.argsort() | x.argsort(0, descending=True) | v.sort().values
x.topk(2) | torch.topk(x, 2) | x.topk(1, dim=0) | torch.topk(x, 2, largest=False) | torch.topk(v, 2).values | x.topk(3, dim=-1)
x.any() | mask.any() | mask.any(1) | mask.all() | mask.all(0) | (x > 0).all() | (x > 0).any(dim=0) | torch.any(mask) | torch.all(mask, dim=1, keepdim=True) | n.any() | mask.sum() | mask.sum(1) | mask.float().mean()
n.nonzero() | torch.nonzero(mask) | mask.nonzero(as_tuple=True) | torch.where(mask) | torch.count_nonzero(n) | n.count_nonzero(dim=1) | x.median() | x.median(1) | v.median() | b.median(dim=0)
torch.bincount(k.view(-1)) | torch.bincount(rows, minlength=5) | torch.unique(n) | n.unique(return_counts=True) | torch.unique(n, return_inverse=True)
torch.histogram(x.detach(), bins=4) | torch.histogram(x.detach(), bins=3, range=(-1., 1.)) | torch.histogram(long.detach(), density=True, bins=5)
n.sum() | n.sum(0) | n.prod() | n.cumsum(1) | n.max() | n.max(1) | n.argmax() | n.float().std() | (n == 0).sum().item() | n.min(0) | torch.tensor([]).sum() | torch.zeros(0, 3).sum(0) | torch.zeros(0).mean() | torch.zeros(3, 0).prod(1)

"""

SHAPES = """
x.view(6) | x.view(-1) | x.view(3, 2) | x.view(3, -1) | x.view((3, 2)) | x.view(-1, 1) | b.view(2, 12) | b.view(6, 4) | x.view(1, 2, 3) | x.view_as(q) | x.view(torch.Size([6])) | x.view(*x.shape) | b.view(-1, b.shape[-1])
x.reshape(6) | x.reshape(-1) | x.reshape(3, 2) | x.T.reshape(6) | torch.reshape(x, (3, 2)) | x.T.reshape(-1) | x.reshape((-1,)) | x.reshape(2, 3) | x.reshape_as(m[:2, :3])
x.T | x.t() | v.t() | torch.t(x) | b.mT | x.transpose(0, 1) | b.transpose(1, 2) | b.transpose(-2, -1) | torch.transpose(x, 0, 1) | b.permute(2, 0, 1) | torch.permute(b, (1, 0, 2)) | b.permute((2, 1, 0)) | x.swapaxes(0, 1) | b.movedim(0, 2) | b.swapdims(0, 1)
one.squeeze() | one.squeeze(0) | x.squeeze(0) | x.unsqueeze(0) | x.unsqueeze(1) | x.unsqueeze(-1) | torch.unsqueeze(x, 1) | torch.squeeze(one) | x.unsqueeze(-1).squeeze(-1) | x[:, None].squeeze(1) | s.unsqueeze(0) | s.squeeze() | b[:1, :, :1].squeeze((0, 2))
one.expand(4, 3) | one.expand(-1, 3) | v.expand(2, 3) | one.expand_as(x) | torch.broadcast_to(v, (2, 3)) | s.expand(3) | one.expand(2, 4, 3) | v.repeat(2) | x.repeat(2, 1) | x.repeat(2, 2, 1) | v.repeat(2, 1) | torch.tile(v, (2,)) | x.tile(2) | x.repeat_interleave(2, dim=1) | torch.repeat_interleave(x, 2, dim=0) | x.repeat_interleave(2)
x.flatten() | b.flatten(1) | b.flatten(0, 1) | b.flatten(start_dim=1, end_dim=2) | torch.flatten(b, 1) | s.flatten() | v.flatten() | x.ravel() | x.T.flatten() | x.unflatten(1, (3, 1)) | b.unflatten(-1, (2, 2))
x.contiguous() | x.T.contiguous() | x.contiguous() is x | x.T.is_contiguous() | b.transpose(1, 2).contiguous().view(2, 12) | x.stride() | x.T.stride() | one.stride() | x.unsqueeze(0).stride() | x[:, :1].stride() | x.T[:1].stride() | b[:, 0].stride() | one.T.stride() | one.expand(4, 3).stride()
torch.cat([x, y]) | torch.cat((x, y), dim=1) | torch.cat([x, y, x], -1) | torch.cat([v, w]) | torch.concat([x, one]) | torch.cat([x, torch.zeros(0)]) | torch.cat([x, n.float()], 0) | torch.cat([n, x]) | torch.concatenate([x, y], axis=1)
torch.stack([x, y]) | torch.stack((x, y), dim=1) | torch.stack([x, y], -1) | torch.stack([s, s]) | torch.stack([v, w], dim=1) | torch.stack([x[0], y[1]]) | torch.vstack([x, one]) | torch.hstack([x, y]) | torch.hstack([v, w]) | torch.vstack((v, w))
x.split(1) | x.split(2, dim=1) | torch.split(b, 2, dim=2) | x.split([1, 2], dim=1) | x.chunk(2) | torch.chunk(b, 3, dim=1) | x.chunk(2, dim=-1) | x.unbind() | x.unbind(1) | torch.unbind(b, 2) | torch.unbind(x, 1)
torch.cat(x.unbind(0)) | torch.cat(torch.unbind(b, 1), 1) | list(x) | x.flip(0) | x.flip(0, 1) | torch.flip(x, (1,)) | x.flip([0]) | x.roll(1) | x.roll(1, 0) | torch.roll(x, (1, 2), (0, 1)) | torch.roll(x, shifts=-1, dims=1)
torch.tril(sq) | sq.tril() | sq.tril(-1) | sq.triu(1) | torch.triu(x, diagonal=1) | torch.tril(torch.ones(3, 3)) | b.tril() | sq.diagonal() | sq.diag() | v.diag() | torch.diag(v, 1) | sq.diagonal(1) | b.diagonal(0, 1, 2) | sq.trace() | torch.trace(sq) | torch.diagonal(sq, -1)
torch.nn.functional.pad(x, (1, 2)) | torch.nn.functional.pad(x, (1, 1, 0, 2), value=3.0) | torch.nn.functional.pad(x, (-1, 1)) | x.narrow(1, 0, 2) | torch.narrow(x, 1, 1, 2) | x.select(0, 1) | torch.select(b, 1, -1)
torch.meshgrid(v, w, indexing="ij") | torch.meshgrid(v, torch.arange(2.), indexing="xy") | torch.broadcast_tensors(x, v)
"""

PRODUCTS = """
v @ w | v @ m | m.t() @ b | sq @ b.mT | v @ b | b @ sq | m @ b.mT | x @ v | x @ m | b @ c | b @ torch.ones(4) | b @ c[0]
torch.matmul(x, m) | x.matmul(m) | torch.mm(x, m) | x.mm(m) | torch.bmm(b, c) | b.bmm(c) | torch.dot(v, w) | v.dot(w) | torch.outer(v, w) | v.outer(w) | x.mv(v) | torch.mv(x, v)
x.T @ y | x @ y.T | x.T.matmul(x) | b.transpose(1, 2) @ b | q @ q.transpose(-2, -1) | b[:, None] @ c[None] | b.unsqueeze(1) @ c | x @ m + 1 | (x @ m).tanh() | torch.einsum("ij,jk->ik", x, m) | torch.einsum("i,i->", v, w) | torch.einsum("ij->ji", x) | torch.einsum("bij,bjk->bik", b, c)
torch.einsum("ij,ij", x, y) | torch.einsum("...j,jk->...k", x, m) | torch.einsum("i,j", v, w) | torch.einsum("bij->bi", b) | torch.einsum("ii->i", sq) | torch.einsum("ii", sq) | torch.addmm(x[0, :2], x, m[:, :2]) | torch.addmm(one @ m, x, m, beta=0.5, alpha=2)
"""

QUESTIONS = """
x == y | x != y | x < y | x <= y | x > y | x >= y | x > 0 | 0 < x | n == 0 | n > 1.5 | x == x | mask == 0 | x.eq(y) | torch.gt(x, 0) | torch.lt(x, y) | x.ge(0.) | x.ne(x) | torch.equal(x, x) | torch.allclose(x, x + 1e-9) | x.allclose(y) | x.equal(y) | torch.isclose(x, x + 1e-9) | torch.isclose(x, y)
~mask | mask & (x > 0) | mask | (x > 0) if False else mask ^ (x > 0) | ~n | n & 1 | n ^ 3 | mask.logical_not() | torch.logical_and(mask, x > 0) | torch.logical_or(mask, n) | x.isnan() | x.isfinite() | (x / 0).isinf() | torch.isnan(x) | x.isfinite().all()
x.isreal() if False else x.numel() | x.nelement() | x.dim() | x.ndim | x.shape | x.size() | x.size(0) | x.size(-1) | len(x) | x.element_size() | x.is_floating_point() | torch.is_tensor(x) | torch.is_tensor(3) | torch.numel(x) | torch.is_floating_point(x) | b.shape[1:] | b.size()[-1] | x.shape.numel() | x.dtype | n.dtype | mask.dtype | x.device | x.is_contiguous() | x.is_cuda | x.requires_grad | x.is_leaf | x.grad | (x * 2).is_leaf | x.shape == (2, 3) | x.layout if False else 0
s.item() | n[0, 0].item() | mask[0, 0].item() | x.tolist() | n.tolist() | mask.tolist() | s.tolist() | int(n[0, 0]) | bool(mask[0, 0]) | f"{s:.3f}" | f"{s.item():.2f}" | "%d" % n[0, 0] | [1, 2, 3, 4, 5][rows[0]] | range(3)[rows[0]] | 1 in rows | str(x) | f"{x}" | f"{n}" | hash(x) == hash(x) | x is x
"""

INDEXED = """
x.gather(1, ids) | torch.gather(x, 1, ids) | x.gather(0, ids % 2) | x.gather(-1, ids) | torch.take_along_dim(x, ids, 1) | torch.take_along_dim(x, ids) | x.index_select(1, rows) | torch.index_select(x, 0, rows) | x.index_select(-1, rows) | torch.masked_select(x, mask) | x.masked_select(mask)
x.scatter_add(1, ids, y[:, :2]) | x.scatter_add(1, torch.arange(3).expand(2, 3) % 2, y) | x.scatter(1, ids[:, :1], y[:, :1]) | x.scatter(1, ids[:, :1], 2.0) | x.index_add(0, rows, m.T[:3]) | torch.zeros(2, 3).scatter_(1, ids[:, :1], 1.0) | torch.zeros(2, 3).scatter_add_(1, ids, p.detach())
torch.nn.functional.one_hot(ids) | torch.nn.functional.one_hot(ids, 5) | torch.nn.functional.one_hot(ids, num_classes=3).float()
"""


def lines_of(*tables):
    return [line.strip() for table in tables for row in table.split("\n") for line in row.split(" | ") if line.strip()]  # fmt: skip


@pytest.mark.parametrize("line", lines_of(ARITHMETIC, REDUCTIONS, SHAPES, PRODUCTS, QUESTIONS, INDEXED))  # fmt: skip
def test_a_line_gives_what_pytorch_gives(line):
    assert_same(line)
