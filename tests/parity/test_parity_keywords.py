"""Arguments by PyTorch's names, against PyTorch: the same result as PyTorch gives, and an error
where it has one."""

import pytest

pytest.importorskip("torch")

from parity import BOTH, assert_same, each
from test_parity_ops import lines_of

LINES = """
torch.eq(x, other=y) | torch.mul(input=x, other=y) | x.atan2(other=y) | torch.vdot(v, other=w)
v.dot(tensor=w) | v.vdot(other=w) | torch.swapaxes(b, axis0=0, axis1=2)
b.swapaxes(axis0=-1, axis1=0)
torch.swapdims(b, dim0=0, dim1=1) | z = n.clone(); z.swapaxes_(axis0=0, axis1=1)
torch.split(tensor=x, split_size_or_sections=2, dim=1)[0].detach()
x.split(split_size=2, dim=1)[1]
torch.unsafe_split(x, split_size=1)[0].detach() | torch.tile(x, dims=(2, 1)) | x.tile(dims=(2,))
torch.norm(x, dtype=torch.float64) | x.norm(2, dtype=torch.float64)
x.norm(p=1, dim=1, dtype=torch.double)
torch.result_type(tensor=n, other=1.5) | torch.promote_types(type1=torch.int32, type2=torch.float16)
torch.gather(x, 1, ids, sparse_grad=False) | z = x * 1; z.copy_(other=y); z
x.float(memory_format=torch.contiguous_format) | x.T.double(memory_format=torch.contiguous_format)
x.T.half(memory_format=torch.preserve_format) | n.cpu(memory_format=torch.preserve_format)
torch.ones(1, 2, 3, 4).long(memory_format=torch.channels_last).stride()
torch.randint_like(n, 5, dtype=torch.float32, requires_grad=True).dtype
torch.randint_like(x, 2, 9, dtype=torch.int32, pin_memory=False).dtype
torch.randperm(4, requires_grad=False, pin_memory=False).shape | torch.zeros(2, pin_memory=False)
torch.tensor([1.0], pin_memory=False) | torch.full_like(x, 2, pin_memory=False)
torch.unique(torch.tensor([[2, 1], [1, 3], [2, 1]]), dim=0)
torch.unique(torch.tensor([[2, 1, 2], [1, 3, 1]]), dim=1, return_inverse=True, return_counts=True)
torch.tensor([[2, 1], [1, 3], [2, 1]]).unique(dim=-2, return_inverse=True)
torch.from_dlpack(ext_tensor=n, copy=True) is n | torch.lgamma(p, out=None)
torch.nn.BatchNorm1d(3, bias=False)(x) | torch.nn.BatchNorm2d(3, bias=False)
torch.nn.BatchNorm3d(3, bias=False).bias | torch.nn.GroupNorm(1, 3, bias=False)(x)
torch.nn.GroupNorm(1, 3, bias=False) | torch.nn.InstanceNorm1d(3, affine=True, bias=False)
torch.nn.SyncBatchNorm(3, process_group=None, bias=False)
len(list(torch.nn.Sequential(*[torch.nn.ReLU()] * 2).modules(remove_duplicate=False)))
torch.compile(len, name="f", recompile_limit=8, disable=True)([1])
torch.compiler.disable(len, reason="none")([1])
[torch.profiler.schedule(wait=2, warmup=1, active=1, skip_first_wait=1)(i).name for i in range(6)]
[torch.profiler.schedule(wait=1, warmup=1, active=2, skip_first=2)(i).name for i in range(9)]
""".strip()


@each(lines_of(LINES))
def test_keywords_as_pytorch(line):
    assert_same(line)


def test_modes_by_name():
    for library in BOTH:
        x = library.ones(1, requires_grad=True)
        with library.no_grad():
            with library.inference_mode(mode=False):
                assert (x * 2).requires_grad
            with library.inference_mode(mode=True):
                assert not (x * 2).requires_grad

            @library.inference_mode(False)
            def recorded(x):
                return (x * 2).requires_grad

            assert recorded(x) and not library.is_grad_enabled()
        with library.set_grad_enabled(mode=False):
            assert not library.is_grad_enabled()
        assert library.enable_grad(orig_func=library.is_grad_enabled)()


def test_a_norm_is_of_floats_whatever_the_dtype_asked_for():
    for library in BOTH:
        with pytest.raises(RuntimeError, match="norm"):
            library.norm(library.tensor([1, 2]), dtype=library.float32)


def test_a_sparse_gradient_of_gather_is_refused_with_what_must_hold():
    library = BOTH[1]
    with pytest.raises(NotImplementedError, match="sparse_grad must be False"):
        library.gather(library.ones(1, 1), 1, library.zeros(1, 1).long(), sparse_grad=True)


def test_a_function_of_ones_own_has_the_names_of_its_context():
    for library in BOTH:

        class Double(library.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return 2 * x

            @staticmethod
            def backward(ctx, g):
                return 2 * g

        assert hasattr(Double, "mark_dirty") and hasattr(Double, "save_for_backward")
        assert Double.apply(library.ones(1)).item() == 2
    assert Double().apply(library.ones(1)).item() == 2  # PyTorch warns of an object
