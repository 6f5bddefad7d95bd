"""Making tensors from data, rules and chance, against PyTorch at run time: dtype, shape, strides,
printed form, whether memory is shared, random draws and the errors."""

import pytest

torch = pytest.importorskip("torch")

from parity import BOTH, assert_same, assert_same_error, assert_same_tensor, each  # noqa: E402

DATA = """
torch.tensor(3) | torch.tensor(2.5) | torch.tensor(True) | torch.tensor([1, 2, 3])
torch.tensor([1.0, 2]) | torch.tensor([]) | torch.tensor([[]]) | torch.tensor([[1, 2], [3, 4]])
torch.tensor([True, False]) | torch.tensor([1, True]) | torch.tensor([1, 2.5, True])
torch.tensor((1, 2)) | torch.tensor(((1, 2), [3, 4])) | torch.tensor(range(3))
torch.tensor([range(3), range(3)]) | torch.tensor(np.float64(2)) | torch.tensor(np.float32(2))
torch.tensor(np.int32(2)) | torch.tensor(np.bool_(True)) | torch.tensor(np.array(2.5))
torch.tensor([np.float64(2), np.float64(3)]) | torch.tensor([np.float32(2), 3.0])
torch.tensor([np.int64(2), 3]) | torch.tensor(np.arange(3)) | torch.tensor(np.arange(3.0))
torch.tensor(np.arange(3, dtype=np.int32)) | torch.tensor(np.ones((2, 3), np.float16))
torch.tensor(np.ones((2, 3)).T)
torch.tensor(np.arange(6)[::2]) | torch.tensor(np.arange(6)[::-1].copy())
torch.tensor([torch.tensor(1), torch.tensor(2)]) | torch.tensor([torch.tensor(1.5), 2])
torch.tensor([[torch.tensor(1.0), 2.0], [3, 4]]) | torch.tensor([torch.tensor([1.0])])
torch.tensor(torch.tensor([1, 2]).tolist()) | torch.tensor([1, 2], dtype=torch.float32)
torch.tensor([1.7, -1.7], dtype=torch.int64) | torch.tensor([0, 2], dtype=torch.bool)
torch.tensor([1.5], dtype=torch.float64) | torch.tensor([1, 2], dtype=torch.uint8)
torch.tensor([1.0], dtype=torch.float16) | torch.tensor([1.0], dtype=torch.bfloat16)
torch.tensor([1, 2], dtype=float) | torch.tensor([1.5], dtype=int) | torch.tensor([1], dtype=bool)
torch.tensor([1.0], requires_grad=True) | torch.tensor([1.0], device="cpu")
torch.tensor([1.0], device=torch.device("cpu")) | torch.tensor(1.0, requires_grad=True) * 2
torch.tensor([float("inf"), float("nan")]) | torch.tensor(1e-8) | torch.tensor(10**10)
torch.tensor([2**40, 1]) | torch.tensor("a".encode()[0]) | torch.tensor(-0.0)
torch.tensor([1, 2.0]).dtype | torch.Tensor([2.0]) | torch.Tensor([1, 2]) | torch.Tensor(2, 3).shape
torch.Tensor() | torch.Tensor(3).shape | torch.Tensor(np.arange(3))
torch.Tensor(np.ones((2, 2), np.float32)) | torch.Tensor([[1, 2], [3, 4]])
torch.Tensor(torch.Size([2, 1])).shape | torch.Tensor((1, 2)) | torch.Tensor(np.array(2.5))
torch.Tensor([]) | torch.Tensor([2.0]).double() | torch.Tensor(torch.ones(2)) | torch.Tensor([True])
torch.as_tensor([1, 2]) | torch.as_tensor(np.arange(3.0))
torch.as_tensor(np.arange(3), dtype=torch.float32) | torch.as_tensor(2.5)
torch.as_tensor(torch.ones(2)) | torch.from_numpy(np.arange(3))
torch.from_numpy(np.ones((2, 3)).T) | torch.from_numpy(np.array(1.5))
a = np.zeros(2); t = torch.from_numpy(a); a[0] = 5; t
a = np.zeros(2); t = torch.from_numpy(a); t[0] = 5; list(a)
a = np.zeros(2); t = torch.tensor(a); a[0] = 5; t
a = np.zeros(2); t = torch.as_tensor(a); a[0] = 5; t
a = torch.zeros(2); t = torch.as_tensor(a); t is a
a = torch.zeros(2); b = a.numpy(); a += 1; list(b)
a = torch.zeros(2); b = np.asarray(a); a.add_(1); b.tolist() | np.asarray(torch.ones(2)).dtype.name
np.sum(torch.ones(3).numpy()).item() | torch.ones(2).numpy().tolist()
np.array([torch.tensor(1.0), torch.tensor(2.0)]).tolist() | torch.from_dlpack(np.arange(3.0))
torch.from_dlpack(torch.ones(2)) | np.from_dlpack(torch.ones(2)).tolist()
"""

RULES = """
torch.zeros(3) | torch.zeros(2, 3) | torch.zeros((2, 3)) | torch.zeros([2, 3])
torch.zeros(torch.Size([2])) | torch.zeros(()) | torch.zeros(0) | torch.zeros(2, 0)
torch.zeros(2, dtype=torch.int64) | torch.zeros(2, requires_grad=True)
torch.zeros(2, 3, dtype=torch.bool) | torch.zeros(size=(2, 3)) | torch.zeros(*(2, 3))
torch.ones(2, device="cpu") | torch.ones(2, 2, dtype=torch.int32)
torch.ones(3, dtype=torch.float16) | torch.ones(torch.tensor(2)) | torch.ones((1,))
torch.ones(np.int64(2)) | torch.empty(2, 3).shape | torch.empty((2,), dtype=torch.int64).dtype
torch.empty(0) | torch.full((2,), 3) | torch.full((2, 2), 1.5) | torch.full((2,), True)
torch.full([2], 1, dtype=torch.float32) | torch.full((), 2.0) | torch.full((2,), float("-inf"))
torch.full((2,), 1, requires_grad=False) | torch.full((2,), 1.0, requires_grad=True)
torch.full(size=(2,), fill_value=7) | torch.zeros_like(x) | torch.ones_like(n)
torch.empty_like(x).shape | torch.full_like(x, 2) | torch.full_like(n, 2.7)
torch.zeros_like(x, dtype=torch.int64) | torch.ones_like(x, requires_grad=True)
torch.zeros_like(x.T) | torch.ones_like(x, device="cpu")
torch.full_like(x, 1.0, dtype=torch.float64) | torch.ones_like(x.T[:2])
torch.empty_like(x.T).stride() | x.new_zeros(2) | x.new_ones(2, 3) | x.new_ones((2, 3))
x.new_full((2,), 3) | n.new_full((2,), 3) | x.new_empty(2, 2).shape | n.new_tensor([1, 2])
x.new_tensor([1, 2]) | x.new_zeros(2, dtype=torch.int64) | n.new_zeros(1) | x.new_tensor(2)
n.new_tensor([1.5]) | torch.eye(3) | torch.eye(2, 3) | torch.eye(3, dtype=torch.int64)
torch.eye(2, requires_grad=True) | torch.eye(0) | torch.eye(2, device="cpu") | torch.eye(3)[1]
torch.eye(3, 2) | torch.arange(5) | torch.arange(2, 5) | torch.arange(0, 10, 3) | torch.arange(5.0)
torch.arange(0, 1, 0.25) | torch.arange(0, 1, 0.1) | torch.arange(5, 0, -2)
torch.arange(5, dtype=torch.float32) | torch.arange(1.5, 4) | torch.arange(0) | torch.arange(3, 3)
torch.arange(1, 2.5, 0.3) | torch.arange(0, 5, dtype=torch.int32) | torch.arange(end=3)
torch.arange(start=1, end=4) | torch.arange(-5, 5, 0.25) | torch.arange(torch.tensor(3))
torch.arange(3, requires_grad=False) | torch.arange(3.0, requires_grad=True) | torch.arange(2.5)
torch.arange(0, 2, 0.3, dtype=torch.float64) | torch.arange(np.int64(3)) | torch.arange(0, -1, -0.3)
torch.arange(4, device="cpu") | torch.arange(0, 3, step=2) | torch.linspace(0, 1, 5)
torch.linspace(-3, 3, 7) | torch.linspace(0, 1, 1) | torch.linspace(0, 1, 0)
torch.linspace(-1, 1, 50) | torch.linspace(-3, 0, 1000) | torch.linspace(1, 0, 4)
torch.linspace(0, 1, 5, dtype=torch.float64) | torch.linspace(0, 10, steps=4)
torch.linspace(0, 1, 3, requires_grad=True) | torch.linspace(start=0, end=1, steps=3)
torch.linspace(0, 9, 4, dtype=torch.int64) | (10 ** torch.linspace(-3, 0, 1000))[::100]
"""

CHANCE = """
torch.rand(3) | torch.rand(2, 3) | torch.rand((2, 3)) | torch.rand(4, 5, dtype=torch.float64)
torch.rand(2, requires_grad=True) | torch.rand(()) | torch.rand(0)
torch.rand(20, dtype=torch.float16) | torch.rand(20, dtype=torch.bfloat16) | torch.rand([3])
torch.rand(2, generator=g) | torch.rand(2, device="cpu") | torch.rand(3); torch.rand(3)
torch.randn(3) | torch.randn(2, 3) | torch.randn((27, 27), generator=g) | torch.randn(17)
torch.randn(16) | torch.randn(5, dtype=torch.float64) | torch.randn(30, dtype=torch.float64)
torch.randn(2, 3, requires_grad=True) | torch.randn(()) | torch.randn(3); torch.randn(3)
torch.randn(200).std() | torch.bernoulli((p / 3).detach()) | (p / 3).detach().bernoulli()
torch.randn(100, 3).sum(0) | torch.tensor([np.int64(2), 2.5])
torch.randn(20, dtype=torch.bfloat16) | torch.randn(size=(2,)) | torch.randint(10, (5,))
torch.randint(0, 10, (5,)) | torch.randint(3, 9, (2, 3))
torch.randint(0, 2, (3,), dtype=torch.float32) | torch.randint(-5, 5, (4,))
torch.randint(0, 27, (32,), generator=g) | torch.randint(0, 10, size=(3,))
torch.randint(high=5, size=(3,)) | torch.randint(2**31, (3,)) | torch.randint(10, [2])
torch.randint(0, 10, (5,), dtype=torch.int32) | torch.randint(0, 10, ())
torch.randint(low=1, high=5, size=(3,)) | torch.randint(5, (2,), dtype=torch.uint8)
torch.randperm(10) | torch.randperm(0) | torch.randperm(1) | torch.randperm(5, generator=g)
torch.randperm(4, dtype=torch.int32) | torch.rand_like(x) | torch.randn_like(x)
torch.randint_like(n, 5) | torch.randint_like(x, 2, 9) | torch.rand_like(x, dtype=torch.float64)
torch.randn_like(x.T) | torch.rand_like(x.T) | torch.randn_like(x, requires_grad=True)
torch.normal(0.0, 1.0, (3,)) | torch.normal(1.0, 2.0, size=(20,))
torch.normal(torch.zeros(3), torch.ones(3)) | torch.normal(torch.arange(3.0), 0.1)
torch.normal(2.0, torch.ones(20)) | torch.normal(0, 1, (2,), generator=g)
torch.bernoulli(torch.full((3,), 0.5)) | torch.bernoulli(torch.full((3,), 0.5, dtype=torch.float64))
torch.multinomial(torch.tensor([0.2, 0.3, 0.5]), 1)
torch.multinomial(torch.tensor([0.2, 0.3, 0.5]), 20, replacement=True)
torch.multinomial(torch.tensor([0.2, 0.3, 0.5]), 2) | torch.multinomial(p.detach(), 1)
torch.multinomial(p.detach(), 5, replacement=True, generator=g)
torch.multinomial(torch.rand(4, 65).softmax(-1), num_samples=1) | p.detach().multinomial(2)
torch.multinomial(p.double(), 1)
torch.multinomial(p.detach()[0], num_samples=1, replacement=True, generator=g).item()
torch.empty(3).uniform_() | torch.empty(2, 3).uniform_(-1, 1) | torch.empty(20).normal_()
torch.empty(3).normal_(1.0, 2.0) | torch.empty(20).normal_(mean=0.0, std=0.02)
torch.empty(5).bernoulli_(0.3) | torch.empty(5).bernoulli_() | torch.empty(4).exponential_()
torch.empty(4).exponential_(2.0) | torch.empty(5).random_(10)
torch.empty(5, dtype=torch.int64).random_(2, 9) | torch.empty(5, dtype=torch.int64).random_(0, 7)
torch.empty(3).uniform_(generator=g) | torch.zeros(5).bernoulli_(torch.full((5,), 0.5))
torch.empty(5).uniform_(0, 2) | torch.empty(3, dtype=torch.float64).normal_()
torch.empty(18, dtype=torch.float64).uniform_(-1, 1)
torch.zeros(4, dtype=torch.bool).bernoulli_(0.5) | torch.empty(5, 4).T.normal_()
torch.empty(4, 5).t().uniform_() | torch.zeros(6, 8)[:, ::2].normal_()
torch.zeros(6, 8)[:, ::2].uniform_() | torch.zeros(6, 8)[::2].normal_()
torch.zeros(5, 4).T[1:].normal_() | torch.zeros(3, 40)[:, :20].normal_(); torch.rand(1)
torch.zeros(2, 3, 4).permute(2, 0, 1).uniform_() | torch.zeros(4, 4).T.bernoulli_(0.5)
torch.zeros(4, 3).T.exponential_() | torch.zeros(4, 3).T.random_(9)
torch.zeros(20, 2)[:, 0].normal_(); torch.randn(3) | torch.zeros(4, 5).T[0].normal_()
torch.zeros(8, 4).T[::2].uniform_() | z = x * 1; z.normal_(); z
z = x * 1; z.uniform_(); z.requires_grad | a = torch.manual_seed(5); torch.rand(2)
torch.initial_seed() | g.initial_seed() | g.manual_seed(7).initial_seed()
torch.Generator().initial_seed()
g2 = torch.Generator().manual_seed(3); torch.rand(2, generator=g2)
s = torch.get_rng_state(); a = torch.rand(3); torch.set_rng_state(s); (torch.rand(3) == a).all()
torch.get_rng_state().dtype | torch.get_rng_state().dim()
s = g.get_state(); a = torch.rand(3, generator=g); g.set_state(s); torch.rand(3, generator=g) == a
torch.Generator(device="cpu").manual_seed(1).initial_seed()
torch.default_generator.manual_seed(9); torch.rand(2)
"""

ERRORS = """
torch.tensor([[1, 2], [3]]) | torch.tensor("a") | torch.tensor(["a"]) | torch.tensor(None)
torch.tensor([None]) | torch.tensor({}) | torch.tensor([1], requires_grad=True)
torch.tensor(np.array(["a"])) | torch.tensor(np.array([1], dtype=object)) | torch.tensor([object()])
torch.from_numpy([1]) | torch.from_numpy(np.array(["a"])) | torch.from_numpy(1.5) | torch.zeros(-1)
torch.zeros(1.5) | torch.zeros("a") | torch.zeros(2, 1.5)
torch.ones(2, dtype=torch.int64, requires_grad=True) | torch.full(2, 1) | torch.full((2,), "a")
torch.full((-2,), 1) | torch.eye(-1) | torch.arange(1, 2, 0) | torch.arange(3, 1)
torch.arange(0, 3, -1) | torch.arange() | torch.arange("a") | torch.arange(3, requires_grad=True)
torch.linspace(0, 1, -1) | torch.zeros(2, device="nowhere") | torch.Tensor("a") | torch.Tensor(None)
torch.Tensor(2.5) | torch.zeros_like([1]) | torch.empty(-3) | torch.Tensor(-1)
torch.randint(5, 5, (2,)) | torch.randint(5, 2, (2,)) | torch.randint(5)
torch.randint(0, 300, (2,), dtype=torch.uint8) | torch.rand(-1) | torch.randperm(-1)
torch.normal(0.0, -1.0, (2,)) | torch.empty(2).normal_(0, -1) | torch.empty(2).uniform_(2, 1)
torch.empty(2).bernoulli_(1.5) | torch.empty(2).exponential_(0) | torch.bernoulli(x * 9)
torch.multinomial(torch.tensor([0.0, 0.0]), 1) | torch.multinomial(torch.tensor([-1.0, 2.0]), 1)
torch.multinomial(torch.tensor([nan, 2.0]), 1) | torch.multinomial(torch.ones(3), 4)
torch.multinomial(torch.ones(3), 0) | torch.multinomial(torch.ones(2, 2, 2), 1)
torch.multinomial(n, 1) | torch.multinomial(torch.tensor(1.0), 1)
torch.empty(2, dtype=torch.int64).normal_() | torch.empty(2, dtype=torch.int64).uniform_()
x.normal_() | x.uniform_() | torch.Generator("nowhere") | torch.randn(2, dtype=torch.int64)
torch.rand(2, dtype=torch.int64) | torch.empty(2).random_(3, 3)
g.set_state(torch.zeros(3, dtype=torch.uint8)) | torch.set_rng_state(torch.zeros(3))
torch.randn_like(n) | torch.rand(2, generator=1) | torch.multinomial(torch.tensor([inf, 1.0]), 1)
"""


def lines_of(*tables):
    rows = [row for table in tables for row in table.strip().split("\n")]
    return [line.strip() for row in rows for line in row.split(" | ")]


def seeded(line):
    """Before each line: the default generator at 1337 and another one, g, at 2147483647."""
    return f"torch.manual_seed(1337); g = torch.Generator().manual_seed(2147483647); {line}"


@each(lines_of(DATA, RULES))
def test_making_tensors_is_pytorchs(line):
    assert_same(line)


@each(lines_of(CHANCE))
def test_random_tensors_are_pytorchs(line):
    assert_same(seeded(line))


@each(lines_of(ERRORS))
def test_making_tensors_fails_as_in_pytorch(line):
    assert_same_error(seeded(line))


# Tensors of every layout, stretched ones among them, and what is made like them.
LAYOUTS = """
L.rand(1, 3).expand(2, 3) | L.rand(3).expand(2, 3) | L.rand(2, 1).expand(2, 3)
L.rand(()).expand(2, 3) | L.rand(2, 1, 4).expand(2, 3, 4) | L.rand(1, 3).expand(2, 3).t()
L.rand(2, 1, 3, 1).expand(2, 4, 3, 5) | L.rand(3, 1, 2).expand(3, 4, 2).permute(2, 0, 1)
L.rand(2, 3, 1).transpose(0, 1).expand(3, 2, 4) | L.rand(1, 2, 3).transpose(1, 2).expand(4, 3, 2)
L.rand(4, 6)[:, 1:2].expand(4, 3) | L.rand(2, 3).t() | L.rand(2, 3, 4).permute(2, 0, 1)
L.rand(2, 3, 4).permute(1, 0, 2) | L.rand(4, 6)[:, :3] | L.rand(4, 6)[::2]
L.rand(4, 6)[:, ::2].t() | L.rand(4, 6).flip(0) | L.rand(4, 4).diagonal() | L.rand(1, 3)
L.rand(3, 1).t() | L.rand(()) | L.rand(0, 3).t() | L.rand(2, 1, 3).permute(2, 1, 0)
L.rand(2, 3, 4)[:, 1] | L.rand(2, 3) | L.rand(2, 3, 4).transpose(1, 2)[:, 1]
L.rand(4, 6)[1:2, ::2] | L.rand(1, 3).expand(1, 3) | L.rand(2, 3).t()[None]
"""
LIKE = """
L.zeros_like(t) | L.ones_like(t) | L.full_like(t, 2.0) | L.rand_like(t) | L.randn_like(t)
t.clone() | L.randint_like(t, 9) | L.tensor(t) | t.double() | t.half() | t.bool()
t.to(L.float32, copy=True) | L.zeros_like(t, dtype=L.int64) | t.type(L.float64) | t.detach().clone()
L.cat([t[None], t[None]]) | L.stack([t, t]) | t.masked_fill(t > 0.5, 2.0) | L.bernoulli(t)
t[None].cumsum(-1) | t[None].roll(1, 0) | t[None, None].tril()
"""


@pytest.mark.filterwarnings("ignore:To copy construct")
@pytest.mark.parametrize("like", lines_of(LIKE))
def test_what_is_made_like_a_tensor_has_pytorchs_values_and_strides(like):
    for layout in lines_of(LAYOUTS):
        found = []
        for L in BOTH:
            L.manual_seed(1)
            found.append(eval(like, {"L": L, "t": eval(layout, {"L": L})}))
        want, got = found
        assert_same_tensor(want, got, f"{like} of {layout}", ones=False)
