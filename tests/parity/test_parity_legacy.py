"""What stops a public script in its first lines, against PyTorch at run time: the old tensor types,
Variable, small integers, limits of dtypes, memory formats, a tensor's memory, `normal`."""

import warnings

import pytest

torch = pytest.importorskip("torch")

from parity import BOTH, assert_same, assert_same_error, each  # noqa: E402

OLD_TYPES = """
torch.LongTensor([1, 2]) | torch.LongTensor([1.7, -2.7]) | torch.LongTensor()
torch.LongTensor(0) | torch.LongTensor(2, 3).shape | torch.FloatTensor((2, 3))
torch.FloatTensor(torch.Size([2, 3])).shape | torch.FloatTensor(size=(2, 3)).shape
torch.FloatTensor(2, 3, device="cpu").shape | torch.FloatTensor(np.arange(3))
torch.FloatTensor([]) | torch.FloatTensor(np.int64(3)).shape | torch.LongTensor([[1, 2], [3, 4]])
torch.LongTensor([[]]).shape | torch.FloatTensor(range(3)) | torch.DoubleTensor([1, 2])
torch.HalfTensor([1.0, 2.5]) | torch.BFloat16Tensor([1.0, 2.5]) | torch.IntTensor([1])
torch.ShortTensor([1, -300]) | torch.CharTensor([1, -2, 127]) | torch.ByteTensor([1, 255])
torch.ByteTensor([-1]) | torch.BoolTensor([1, 0, 2]) | torch.FloatTensor([torch.tensor(1.0), 2])
torch.LongTensor(n) | torch.FloatTensor(x) | torch.LongTensor(torch.Size([])).shape
torch.FloatTensor(data=[1.0]) | torch.Tensor(2, 0)
a = torch.ones(2); b = torch.FloatTensor(a); b[0] = 5; a | torch.Tensor(torch.arange(3))
a = torch.ones(2); b = torch.Tensor(a); b[0] = 5; a | torch.Tensor(range(3))
torch.Tensor([True]) | isinstance(x, torch.FloatTensor) | isinstance(n, torch.LongTensor)
isinstance(n, torch.FloatTensor) | isinstance(x, torch.cuda.FloatTensor)
isinstance(3, torch.LongTensor) | isinstance(torch.nn.Parameter(x.detach()), torch.FloatTensor)
[isinstance(x, torch.DoubleTensor), isinstance(x.double(), torch.DoubleTensor)]
issubclass(torch.FloatTensor, torch.Tensor) | str(torch.LongTensor) | str(torch.cuda.HalfTensor)
torch.LongTensor.dtype | torch.FloatTensor.__name__ | torch.FloatTensor.__module__
x.type(torch.LongTensor) | x.type("torch.IntTensor") | x.type(torch.Tensor) | n.type(torch.Tensor)
n.type("torch.FloatTensor") | x.type(dtype=torch.int16) | x.type(torch.half).type()
[torch.ones(2, dtype=k).type() for k in (torch.int8, torch.int16, torch.uint8, torch.bfloat16)]
x.new(2, 3).shape | x.new([1, 2]) | n.new([1.5, 2]) | x.new() | n.new(n) | x.double().new(3).dtype
n.new(torch.Size([3])).shape | x.new(2, 3, device="cpu").shape | torch.typename(x)
torch.typename(3) | torch.set_default_tensor_type(torch.DoubleTensor); torch.ones(2) / 3
torch.set_default_tensor_type("torch.DoubleTensor"); torch.tensor([1.5])
"""

NO_OLD_TYPE = """
torch.LongTensor(3.5) | torch.LongTensor("a") | torch.LongTensor(None) | torch.FloatTensor(True)
torch.LongTensor(x) | torch.FloatTensor(-1) | torch.LongTensor(2, "a") | torch.ByteTensor([256])
torch.CharTensor([200]) | torch.LongTensor([float("nan")]) | torch.LongTensor([1e30])
torch.FloatTensor([[1], [2, 3]]) | torch.LongTensor(["a"]) | torch.LongTensor([2, 3], [1])
torch.FloatTensor(2, 3, requires_grad=True) | torch.FloatTensor([1], device="cuda")
x.type("torch.FooTensor") | x.new(n) | x.new(3.5) | torch.Tensor(3.0) | torch.Tensor(True)
torch.Tensor({1, 2}) | torch.set_default_tensor_type(3)
torch.set_default_tensor_type("torch.LongTensor")
"""

VARIABLE = """
V = torch.autograd.Variable; V(x.detach())
V = torch.autograd.Variable; V(x.detach(), requires_grad=True) | V = torch.autograd.Variable; V()
V = torch.autograd.Variable; V(data=n) | V = torch.autograd.Variable; V(x * 2)
V = torch.autograd.Variable; V(x, volatile=True) | isinstance(x, torch.autograd.Variable)
isinstance(3, torch.autograd.Variable)
isinstance(torch.nn.Parameter(x), torch.autograd.Variable)
a = torch.ones(2); torch.autograd.Variable(a)[0] = 5; a
"""

NO_VARIABLE = """
torch.autograd.Variable(3.0) | torch.autograd.Variable([1.0])
torch.autograd.Variable(n, requires_grad=True)
"""

SMALL = """
torch.tensor([1, -2], dtype=torch.int8) | x.char() | n.short() | n.char() + n.short()
n.char() * 100 | n.byte() + n.char() | n.char().sum() | n.char().sum(0) | n.short().prod(1)
n.char().cumsum(1) | n.char().max(1) | n.short().argmin() | -n.char() | ~n.char() | abs(n.short())
n.char() / 2 | n.char() // 2 | n.char() % 3 | n.char() ** 2 | n.char() == n.short() | n.char() > 0
n.char() & 3 | n.char().float().mean() | n.short().sort(1).values | n.char().unique()
n.char().clamp(-1, 1) | n.char().matmul(n.char().T) | (n.short() * 1000) @ (n.short() * 3).T
n.char().sqrt().dtype | torch.zeros(2, dtype=torch.int16) | torch.arange(3, dtype=torch.int8)
torch.full((2,), 3, dtype=torch.int16) | torch.cat([n.char(), n.short()])
torch.where(mask, n.char(), n.short()) | n.char().tolist()
torch.stack([n.char(), n.char()]).numpy().dtype | torch.from_numpy(np.arange(3, dtype=np.int16))
torch.manual_seed(0); torch.randint(-100, 100, (5,), dtype=torch.int8)
torch.manual_seed(0); torch.empty(5, dtype=torch.int16).random_()
torch.manual_seed(0); torch.empty(5, dtype=torch.int8).random_() | n.char().bool()
torch.bincount(k.view(-1).char()) | n.char().element_size()
torch.tensor(3, dtype=torch.int8).item() | torch.int8 | torch.short is torch.int16
torch.promote_types(torch.uint8, torch.int8)
[torch.promote_types(torch.int8, k) for k in (torch.int16, torch.bool, torch.float16, torch.uint8)]
torch.result_type(n.char(), 300) | torch.result_type(n.char(), n.byte())
"""

NOT_SMALL = """
x[torch.tensor([1], dtype=torch.int8)] | x[torch.tensor([1], dtype=torch.int16)]
x.gather(0, torch.tensor([[1]], dtype=torch.int8)) | torch.tensor([200], dtype=torch.int8)
torch.tensor([1e9], dtype=torch.int16) | n.char().mean() | x.index_select(0, rows.short())
torch.ones(2, dtype=torch.int8).requires_grad_() | n.char().to(torch.int8).add_(1.5)
torch.randint(0, 300, (2,), dtype=torch.int8)
"""

ABOUT = """
torch.finfo(torch.float32) | torch.finfo(torch.float16) | torch.finfo(torch.bfloat16)
torch.finfo(torch.float64) | torch.finfo() | torch.iinfo(torch.int8) | torch.iinfo(torch.uint8)
torch.iinfo(torch.int64) | torch.iinfo(torch.int16).max | torch.finfo(torch.float16).min
f = torch.finfo(torch.bfloat16); [f.bits, f.eps, f.max, f.min, f.tiny, f.resolution, f.dtype]
f = torch.finfo(torch.float64); [f.bits, f.eps, f.max, f.min, f.smallest_normal, f.resolution]
[getattr(torch.iinfo(torch.int32), a) for a in "bits max min dtype".split()]
torch.finfo(torch.float32) == torch.finfo()
torch.finfo(torch.float32) == torch.finfo(torch.float64)
K = [torch.bool, torch.int8, torch.half]; [[torch.can_cast(a, b) for a in K] for b in K]
torch.is_nonzero(torch.tensor([2])) | torch.is_nonzero(torch.tensor(0.0)) | torch.is_complex(x)
torch.is_storage(3) | torch.get_default_dtype() | str(torch.complex64) | str(torch.float8_e4m3fn)
str(torch.cfloat) | {torch.complex64: 1}[torch.complex64] | x.dtype == torch.complex128
torch.uint16.itemsize | torch.complex64.is_complex | torch.float16.is_complex
torch.int8.is_signed | torch.uint8.is_signed | torch.uint32.is_signed
torch.float8_e5m2.is_floating_point | torch.complex128.is_floating_point | torch.bool.is_signed
torch.Size([2, 3]).numel()
"""

NOT_ABOUT = """
torch.iinfo(torch.float32) | torch.finfo(torch.int8) | torch.is_complex(3)
torch.iinfo(torch.bool) | torch.is_nonzero(torch.tensor([1.0, 2]))
torch.is_nonzero(torch.tensor([]))
"""

MEMORY = """
x.layout | torch.strided | torch.preserve_format | torch.channels_last | x.is_contiguous()
x.T.is_contiguous() | x.is_contiguous(memory_format=torch.channels_last)
b[None].contiguous(memory_format=torch.channels_last)
b[None].clone(memory_format=torch.channels_last)
b[None].contiguous(memory_format=torch.channels_last).is_contiguous(memory_format=torch.channels_last)
b[None].contiguous(memory_format=torch.channels_last).is_contiguous()
b[None, None].contiguous(memory_format=torch.channels_last_3d)
b[None].to(memory_format=torch.channels_last) | x.T.contiguous() | x.T.clone()
x.T.clone(memory_format=torch.contiguous_format) | torch.clone(x.T)
x.T.clone(memory_format=torch.preserve_format)
torch.zeros_like(x.T, memory_format=torch.contiguous_format)
torch.ones_like(b[None], memory_format=torch.channels_last)
torch.full_like(x.T, 2.0, memory_format=torch.contiguous_format)
torch.empty(1, 2, 3, 4, memory_format=torch.channels_last).stride()
x.T.to(torch.float64, memory_format=torch.contiguous_format)
torch.manual_seed(0); torch.rand_like(x.T, memory_format=torch.contiguous_format)
torch.manual_seed(0); torch.randn_like(b[None], memory_format=torch.channels_last)
torch.empty_like(x.T, memory_format=torch.contiguous_format).stride() | x.nbytes | n.char().nbytes
x.itemsize | n.short().itemsize | x.get_device() | x.is_complex() | x.is_sparse | x.is_quantized
x.is_meta | x[0, :1].is_nonzero() | x.is_inference() | torch.arange(6).resize_(2, 2)
torch.arange(6)[2:].resize_(4) | torch.arange(6).resize_((2,))
torch.arange(6).view(2, 3).T.resize_(6) | torch.arange(6).resize_(0)
torch.arange(2).resize_(2, 1) | torch.arange(6).resize_as_(torch.ones(2, 2))
torch.arange(6.0).resize_(8)[:6] | a = torch.arange(6); c = a.resize_(3); c is a
a = torch.arange(6); a.resize_(2)[0] = 9; a
a = torch.arange(6); c = a.view(2, 3); c.resize_(2)[1] = 9; a | torch.ones(2).set_(torch.ones(3))
torch.ones(2).set_() | a = torch.ones(2); torch.ones(1).set_(a)[0] = 3; a | n.is_set_to(n)
n.is_set_to(n.view(2, 3)) | n.is_set_to(n.view(3, 2)) | n.is_set_to(n[:1])
torch.arange(3).apply_(lambda v: v + 1) | x.detach().T.clone().apply_(lambda v: v * 2)
torch.ones(2, 2).map_(torch.arange(2.0), lambda a, b: a + b)
torch.ones(2).apply_(lambda v: 1 / 3)
"""

NOT_MEMORY = """
x.resize_(3) | n.resize_(-1) | x.set_(torch.ones(3)) | n.set_(torch.ones(3)) | x.apply_(abs)
torch.ones(2).map_(torch.ones(3), lambda a, b: a)
torch.ones(2).map_(torch.ones(2).long(), lambda a, b: a) | x.contiguous(memory_format=3)
x.contiguous(memory_format=torch.channels_last)
torch.empty(2, 3, memory_format=torch.channels_last)
torch.zeros_like(x, memory_format=torch.channels_last) | x.clone(memory_format="a")
"""

NORMAL = """
torch.normal(torch.zeros(2)) | torch.normal(torch.arange(3.0), 2.0)
torch.normal(2.0, torch.ones(3)) | torch.normal(torch.zeros(20), torch.ones(20))
torch.normal(torch.zeros(2), torch.ones(2, 1)) | torch.normal(0.0, 1.0, (2,))
torch.normal(0, 1, size=(2,), dtype=torch.float64)
torch.normal(0.0, 1.0, (3,), out=torch.empty(3))
torch.normal(torch.zeros(2), out=torch.empty(2))
torch.normal(0.0, 1.0, size=(2,), requires_grad=True) | torch.normal(x, 1.0)
torch.normal(0.0, p.abs()) | torch.normal(x, p.abs()) | torch.normal(x.detach(), p.abs())
torch.normal(mean=x, std=2.0) | torch.normal(torch.zeros(2).double(), torch.ones(2))
torch.normal(torch.zeros(2), torch.ones(2).double())
torch.normal(0.0, 1.0, (2, 2), device="cpu", generator=torch.Generator().manual_seed(3))
torch.normal(mean=0.0, std=1.0, size=()) | torch.normal(torch.tensor(0.0), torch.tensor(1.0))
"""

NOT_NORMAL = """
torch.normal(0.0, 1.0) | torch.normal(torch.zeros(2), -1.0)
torch.normal(torch.zeros(2), -torch.ones(2)) | torch.normal(torch.zeros(2), size=(2,))
torch.normal(torch.zeros(2), 1.0, dtype=torch.float64) | torch.normal(0.0, -1.0, (2,))
"""

INDEX = """
x[torch.arange(2), torch.arange(3)] | m[[0, 1], [0, 1, 2]]
b[torch.arange(2), :, torch.arange(3)] | m[torch.tensor([True, False, True]), torch.arange(3)]
m.detach()[torch.arange(3), torch.arange(2)] = 0
"""


def lines(table):
    return [part for row in table.split("\n") for part in row.split(" | ") if part]


@pytest.fixture(autouse=True)
def _leave_the_default_dtype():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    for library in BOTH:
        library.set_default_dtype(library.float32)


@each(lines(OLD_TYPES + VARIABLE + SMALL + ABOUT + MEMORY))
def test_it_is_pytorchs(line):
    assert_same(line)


@each(lines(NORMAL))
def test_normal_draws_pytorchs_numbers(line):
    assert_same(f"torch.manual_seed(5); {line}")


@pytest.mark.parametrize(
    "line",
    lines(NO_OLD_TYPE + NO_VARIABLE + NOT_SMALL + NOT_ABOUT + NOT_MEMORY + NOT_NORMAL + INDEX),
)
def test_what_pytorch_refuses_is_refused(line):
    assert_same_error(line)
