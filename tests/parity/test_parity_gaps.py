"""Names that few scripts use, against PyTorch: functions of `torch` that are methods or are named
in `nn.functional` too, special functions, trees, and questions with one answer."""

import importlib

import numpy as np
import pytest

pytest.importorskip("torch")

from parity import BOTH, assert_same, assert_same_error, each
from test_parity_ops import lines_of

LINES = """
z = n.double(); torch.abs_(z) | z = p * 1; torch.log_(z) | z = x * 1; torch.relu_(z); z
z = x * 1; torch.clamp_(z, 0, 1); z | z = x * 1; torch.fill_(z, 2.0); z | torch.detach(x)
z = n.clone(); torch.zero_(z) is z | torch.fill(n, 3) | torch.fill(x.detach(), 1)
torch.real(x) is x | torch.conj(x) is x | x.real is x | torch.conj_physical(n) is n
torch.resolve_conj(x) is x | x.resolve_neg() is x | torch.is_conj(x) | x.is_neg() | x.is_conj()
torch.is_signed(x) | n.byte().is_signed() | mask.is_signed() | x.is_cpu | x.is_mps | x.ndimension()
x.is_pinned() | x.to_dense() is x | n.to_dense(torch.float64) | torch.get_device(x)
z = n.clone(); z.as_strided_((2, 2), (1, 1)) | x[:, torch.newaxis].shape | torch.is_inference(x)
torch.asarray([1, 2]) | torch.asarray(n) is n | torch.asarray(n, copy=True) is n
torch.asarray(1.5, dtype=torch.float64, requires_grad=True).requires_grad
torch.frombuffer(bytearray(range(16)), dtype=torch.int32)
torch.frombuffer(bytearray(range(16)), dtype=torch.int16, count=3, offset=2)
torch.layer_norm(x, (3,), v, w, 1e-5, False) | torch.rms_norm(x, (3,), v)
torch.group_norm(b, 3, v, w, 1e-5, cudnn_enabled=False) | torch.dropout(x, 0.0, True)
torch.batch_norm(x, v, w, None, None, True, 0.1, 1e-5, False)
torch.batch_norm(x, None, None, w.detach(), p[0].detach(), False, 0.1, 1e-5, True)
torch.instance_norm(b, None, None, None, None, True, 0.1, 1e-5, False)
torch.manual_seed(0); torch.dropout(x.detach(), 0.5, train=True)
torch.manual_seed(0); torch.alpha_dropout(x.detach(), 0.5, True)
torch.embedding(m, rows) | torch.embedding(m, rows, 1)
torch.bilinear(x, x, b[:, :, :3], None).detach()
z = n.float(); torch.selu_(z) | z = n.float(); torch.celu_(z)
z = n.float(); torch.threshold_(z, 0.1, 2.0) | z = n.float(); torch.rrelu_(z).shape
torch.adaptive_max_pool1d(b, 2) | torch.special.entr(p) | torch.special.entr(x.detach())
torch.special.ndtr(x) | torch.special.ndtr(x.double() * 20) | torch.special.sinc(x)
torch.special.ndtr(n) | torch.functional.unravel_index(torch.tensor(5), (2, 3))[1]
torch.cpu.is_available() | torch.cpu.device_count()
torch.cpu.current_device() | torch.compiler.is_exporting() | torch.compiler.reset()
torch.amp.is_autocast_available("cpu") | torch.multiprocessing.get_sharing_strategy()
torch.cuda.is_initialized() | torch.cuda._initialized | torch.utils.checkpoint.get_device_states(x)
torch.linalg.norm(torch.nn.init.dirac_(torch.empty(2, 2, 3)))
""".strip()

ERRORS = """
torch.frombuffer(bytearray(3), dtype=torch.int32) | torch.asarray([1], copy=False)
torch.asarray(n, dtype=torch.float64, copy=False)
"""


@each(lines_of(LINES))
def test_same_as_pytorch(line):
    assert_same(line)


@each(lines_of(ERRORS))
def test_same_errors(line):
    assert_same_error(line)


def test_memory_is_shared_where_it_can_be():
    for library in BOTH:
        data, memory = np.zeros(2), bytearray(8)
        library.asarray(data)[0] = 1.0
        library.frombuffer(memory, dtype=library.float32)[1] = 1.0
        assert data[0] == 1 and memory[7] == 63


def test_trees():
    for package in ("torch", "tinygrad_lm"):
        pytree = importlib.import_module(f"{package}.utils._pytree")
        tree = {"a": [1, (2, None)], "b": 3}
        found, spec = pytree.tree_flatten(tree)
        assert found == [1, 2, None, 3] == pytree.tree_leaves(tree)
        assert spec.num_leaves == 4 and pytree.tree_unflatten("wxyz", spec) == {
            "a": ["w", ("x", "y")],
            "b": "z",
        }
        assert spec == pytree.tree_flatten({"a": [0, (0, 0)], "b": 0})[1]
        assert spec != pytree.tree_flatten({"a": [0, [0, 0]], "b": 0})[1]
        assert pytree.tree_map(lambda x: x * 2, [1, (2,)]) == [2, (4,)]
        assert pytree.tree_map(lambda x, y: x + y, [1, (2,)], [3, (4,)]) == [4, (6,)]
        assert pytree.tree_map_only(int, str, [1, "x"]) == ["1", "x"]
        with pytest.raises(ValueError):
            pytree.tree_unflatten([1], spec)
        with pytest.raises(ValueError):
            pytree.tree_map(lambda x, y: x, [1, 2], [1])


def test_a_setting_that_must_be_given():
    for package, library in zip(("torch", "tinygrad_lm"), BOTH):
        required = importlib.import_module(f"{package}.optim.optimizer").required
        assert repr(required) == "<required parameter>"

        class Plain(library.optim.Optimizer):
            def __init__(self, params, lr=required):
                super().__init__(params, {"lr": lr})

        assert Plain([library.ones(1)], 0.5).param_groups[0]["lr"] == 0.5
        with pytest.raises(ValueError, match="lr"):
            Plain([library.ones(1)])


def test_a_function_in_autocast_goes_back_as_it_came():
    for package, library in zip(("torch", "tinygrad_lm"), BOTH):
        amp, seen = importlib.import_module(f"{package}.amp"), []

        def of(cast_inputs, amp=amp, library=library, seen=seen):
            class Double(library.autograd.Function):
                @staticmethod
                @amp.custom_fwd(device_type="cpu", cast_inputs=cast_inputs)
                def forward(ctx, a):
                    seen.append((str(a.dtype), library.is_autocast_enabled("cpu")))
                    return a * 2

                @staticmethod
                @amp.custom_bwd(device_type="cpu")
                def backward(ctx, g):
                    seen.append((str(g.dtype), library.is_autocast_enabled("cpu")))
                    return g * 2

            return Double.apply

        x = library.ones(2, requires_grad=True)
        for kind in (None, library.float64, library.bfloat16):
            with amp.autocast("cpu"):
                out = of(kind)(x)
            out.sum().backward()
            of(kind)(x).sum().backward()
        assert seen == [
            ("torch.float32", True), ("torch.float32", True),
            ("torch.float32", False), ("torch.float32", False),
            ("torch.float64", False), ("torch.float64", False),
            ("torch.float32", False), ("torch.float32", False),
            ("torch.bfloat16", False), ("torch.bfloat16", False),
            ("torch.float32", False), ("torch.float32", False),
        ]  # fmt: skip


def test_a_group_of_one_process():
    dist = importlib.import_module("tinygrad_lm.distributed")
    x, place = BOTH[1].tensor([1.0, 2.0]), BOTH[1].zeros(2)
    dist.init_process_group(rank=0, world_size=1)
    try:
        for collective in (
            lambda: dist.all_gather_into_tensor(place, x),
            lambda: dist.reduce_scatter_tensor(place, x),
            lambda: dist.gather(x, [place]),
            lambda: dist.scatter(place, [x]),
            lambda: dist.reduce_scatter(place, [x]),
        ):
            place.zero_()
            collective()
            assert place.tolist() == [1, 2]
    finally:
        dist.destroy_process_group()
    assert dist.is_mpi_available() == dist.is_backend_available("gloo")
    assert not dist.is_torchelastic_launched()
