"""What a GPU could get wrong without a word, or refuse though the CPU does it: each test compares
with the CPU, or states what PyTorch answers."""

import op_specs_fused  # noqa: F401  adds its records to the table
import pytest
from op_laws import run, some_cases
from op_specs import SPECS

import tinygrad_lm as tg
from tinygrad_lm.engine import arrays
from tinygrad_lm.engine.core.op import OPS

pytestmark = pytest.mark.cuda


@pytest.fixture(autouse=True, scope="module")
def gpu():
    cupy = pytest.importorskip("cupy")
    if not cupy.is_available():
        pytest.skip("CuPy finds no GPU")
    return arrays.cupy()


def on_both(function):
    """What a function of a device's name gives on the CPU and on the GPU."""
    return function("cpu"), function("cuda")


# ---------------------------------------------------------------- views know their memory


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.view])
def test_a_result_in_its_input_s_memory_is_tied_to_it(name, gpu):
    for case in some_cases(SPECS[name], 8):
        out, leaves = run(OPS[name], case, gpu.asarray)
        if out.array.data.mem is leaves[0].array.data.mem and out.array.size:
            assert arrays.owner_of(out.array) is arrays.owner_of(leaves[0].array)


def test_a_write_through_a_diagonal_reaches_gradients():
    def slope(device):
        x = tg.ones(3, 3, device=device, requires_grad=True)
        y = x * 2
        y.diagonal(1).fill_(0)
        y.sum().backward()
        return x.grad.tolist()

    here, there = on_both(slope)
    assert here == there == [[2, 0, 2], [2, 2, 0], [2, 2, 2]]


def test_a_write_through_a_detached_diagonal_is_noticed():
    def attempt(device):
        x = tg.ones(3, 3, device=device, requires_grad=True)
        y = x * 2
        z = y * y
        y.detach().diagonal().fill_(7)
        with pytest.raises(RuntimeError, match="written in place"):
            z.sum().backward()

    on_both(attempt)


def test_a_diagonal_sees_a_write_to_its_base():
    def slope(device):
        x = tg.ones(2, 3, 3, device=device, requires_grad=True)
        y = x * 2
        d = y.diagonal(0, 1, 2)
        y[:, 0, 0] = 5
        d.sum().backward()
        return d.tolist(), x.grad.tolist()

    here, there = on_both(slope)
    assert here == there and there[0] == [[5, 2, 2]] * 2


@pytest.mark.parametrize("write", [
    lambda x: x.add_(1),
    lambda x: x.mul_(tg.ones(3, device=x.device)),
    lambda x: x.exp_(),
    lambda x: x.fill_(2),
    lambda x: x.zero_(),
    lambda x: x.copy_(tg.ones(3, device=x.device)),
    lambda x: x.__setitem__(0, 5),
    lambda x: x.__setitem__(tg.tensor([0, 1], device=x.device), 5.0),
    lambda x: x.masked_fill_(x > 0, 3.0),
    lambda x: x[1:].add_(1),
])  # fmt: skip
def test_expanded_tensors_are_not_written(write):
    def attempt(device):
        x = tg.ones(1, device=device)
        with pytest.raises(RuntimeError, match="memory of its own"):
            write(x.expand(3))
        return x.tolist()

    assert on_both(attempt) == ([1.0], [1.0])


def test_a_column_of_stride_0_with_one_element_may_be_written(gpu):
    array = gpu.ones((3, 1), "float32")
    x = tg.as_tensor(gpu.lib.stride_tricks.as_strided(array, (3, 1), (4, 0)))
    assert x.add_(1).tolist() == [[2.0]] * 3
    empty = tg.ones(1, device="cuda").expand(0, 1)
    assert empty.add_(1).shape == (0, 1)
