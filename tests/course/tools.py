"""Functions that scripts reach for once: linear algebra, order, positions, other shapes, other
optimisers and schedules, hooks, and an op of one's own with two results."""

import torch
import torch.nn as nn

torch.manual_seed(2)
A = torch.randn(4, 4)
S = A @ A.T + 4 * torch.eye(4)
S.requires_grad_(True)
value = torch.linalg.slogdet(S)[1] + torch.linalg.inv(S).trace() + torch.linalg.norm(S)
value.backward()
print(value, S.grad[0])
U, s, Vh = torch.linalg.svd(A)
print(s, torch.dist(U @ torch.diag(s) @ Vh, A) < 1e-4)
print(
    torch.linalg.solve(S.detach(), torch.ones(4)), torch.det(A), torch.linalg.eigvalsh(S.detach())
)
x = torch.tensor([3.0, 1.0, 2.0, 5.0, 4.0])
print(torch.cummax(x, 0), x.cumprod(0), torch.searchsorted(x.sort().values, 2.5))
print(torch.quantile(x, 0.3), x.kthvalue(2), torch.histc(x, 4, 1, 5), torch.bucketize(x, x[[1, 3]]))
z = torch.zeros(3, 4)
z.index_put_((torch.tensor([0, 2]), torch.tensor([1, 3])), torch.tensor([1.0, 2.0]))
z.index_fill_(1, torch.tensor([0]), -1)
z.fill_diagonal_(9)
print(z, torch.nan_to_num(torch.tensor([float("nan"), float("inf")])), torch.argwhere(z > 5))
print(torch.scatter_reduce(torch.zeros(3), 0, torch.tensor([0, 1, 0]), x[:3], "amax"))
print(
    torch.tensor_split(x, 3), torch.kron(x[:2], x[:2]), torch.tensordot(z, z, dims=([0, 1], [0, 1]))
)
print(torch.atan2(x, -x), torch.logspace(0, 2, 3), torch.tril_indices(3, 3), 8 >> torch.tensor(1))
print(torch.cdist(z, z)[0], torch.logaddexp(x, -x), torch.isin(x, torch.tensor([1.0, 5.0])))


class Both(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b, a + b

    @staticmethod
    def backward(ctx, g, h):
        a, b = ctx.saved_tensors
        return g * b + h, g * a + h


a, b = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([3.0, 4.0], requires_grad=True)
p, q = Both.apply(a, b)
(p.sum() + (q**2).sum()).backward()
print(a.grad, b.grad)

seen = []
net = nn.Sequential(nn.Linear(3, 4), nn.Hardswish(), nn.Linear(4, 2), nn.Mish())
handle = net[0].register_full_backward_hook(lambda m, gi, go: seen.append(go[0].norm().item()))
data, goal = torch.randn(16, 3), torch.randn(16, 2)
for name in ["Adagrad", "Adadelta", "NAdam", "RAdam", "Adamax", "Rprop", "ASGD"]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.05)
    for _ in range(10):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(data), goal)
        loss.backward()
        optimizer.step()
    print(f"{name} {loss.item():.5f}")
optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, line_search_fn="strong_wolfe")


def closure():
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(net(data), goal)
    loss.backward()
    return loss


print("LBFGS", optimizer.step(closure), optimizer.step(closure), len(seen) > 2)
handle.remove()
sgd = torch.optim.SGD(net.parameters(), lr=0.1)
for scheduler in (
    torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(sgd, T_0=3, T_mult=2),
    torch.optim.lr_scheduler.PolynomialLR(sgd, total_iters=4, power=2),
    torch.optim.lr_scheduler.MultiplicativeLR(sgd, lambda e: 0.9),
):
    rates = []
    for _ in range(5):
        sgd.step()
        scheduler.step()
        rates.append(round(sgd.param_groups[0]["lr"], 5))
    print(type(scheduler).__name__, rates)
