"""What a Tensor is beside its mathematics, against PyTorch at run time: leaves, `.data`, `.grad`,
hooks, recording switched off, copies, pickles, and what Python and NumPy may do with it."""

import copy
import pickle
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from parity import BOTH, assert_same, assert_same_error, each, leaves_of, run  # noqa: E402

LINES = """
x.grad is None | x.sum().backward(); x.grad | x.sum().backward(); x.sum().backward(); x.grad
(x * y).sum().backward(); x.grad = None; x.grad is None | x.sum().backward(); x.grad.zero_(); x.grad
(x * y).backward(torch.ones(2, 3)); x.grad | (x * y).backward(gradient=torch.ones_like(x)); y.grad
x.requires_grad = False; x * 2 | x.requires_grad_(False); x | n.requires_grad | x.data.requires_grad
z = x * 2; z.is_leaf, z.requires_grad | z = x.detach(); z.is_leaf, z.requires_grad
x.grad_fn is None | z = x * 2; z.retain_grad(); z.sum().backward(); z.grad
str((x * y).grad_fn).split(" ")[0].strip("<>") | z = x.data; z.zero_(); x * 1
x.data = y.data; x * 2 | p.data -= 0.1 * q.data; p * 1 | x.data += 1; x * 1 | x.data[0] = 0; x * 1
x.data.copy_(y.data); x * y | x.data.shape
h = x.register_hook(lambda g: g * 2); x.sum().backward(); x.grad
h = x.register_hook(lambda g: g * 2); h.remove(); x.sum().backward(); x.grad
z = x * 3; h = z.register_hook(lambda g: g * 2); z.sum().backward(); x.grad
z = torch.autograd.grad((x * y).sum(), x); z | torch.autograd.grad((x * y).sum(), [x, y])
torch.autograd.grad(x * y, x, grad_outputs=torch.ones(2, 3))
z = x * 1; z.detach_(); z.requires_grad | torch.is_grad_enabled() | (x + x).sum().backward(); x.grad
(x - x).sum().backward(); x.grad | (x * x * x).sum().backward(); x.grad
(x @ x.T).sum().backward(); x.grad | z = x.tanh(); (z * z + z).sum().backward(); x.grad
x.mean().backward(); x.grad | x.size(), x.size(1), x.dim(), x.numel()
x.is_contiguous(), x.T.is_contiguous() | x.storage_offset() | x[1].storage_offset()
x.T.storage_offset() | x[:, 1:].storage_offset() | x.shape[0] | list(x.shape) | x.size() == (2, 3)
tuple(x.shape) | x.shape + (1,) | x.shape[-1:] | repr(x.shape) | x.shape.numel() | len(x)
[len(r) for r in x.detach().tolist()] | [v.item() for v in x.detach()[0]] | sum(x.unbind()) | sum(v)
max(v.tolist()) | sorted(v.tolist()) | [round(i, 3) for i in v.tolist()] | all(mask[0])
x.detach().numpy().sum().item() | x.detach().cpu().numpy().shape | np.asarray(x.detach()).dtype.name
s.item() | f"{s.item():.4f}" | f"{s:.4f}" | f"{n[0, 0]}" | f"{n[0, 0]:d}" | f"{x.shape}" | str(s)
x == x.clone() | (x == x).all().item() | x is x | x.equal(x.clone()) | v[0] in v.tolist() | 5 in n
{x: 1}[x] | x in [x] | not s | bool(torch.tensor(0)) | int(torch.tensor(2.7))
float(torch.tensor(3)) | torch.tensor(3).__index__() | [10, 20, 30][torch.tensor(1)]
range(5)[torch.tensor(2)] | 2 ** torch.tensor(3) | np.float32(2) * p.detach()
p.detach() * np.float64(2) | np.int64(3) + n | x.to("cpu") is x | x.to(torch.float32) is x
x.to("cpu", torch.float64) | x.to(dtype=torch.float64) | x.to(x) is x
x.to(torch.float64, copy=True) | x.to(torch.float32, copy=True) | n.to(torch.float32) | n.float()
x.long() | mask.float() | mask.int() | x.half().dtype | x.bfloat16().dtype | x.bool() | n.double()
x.cpu() is x | x.contiguous() is x | x.type(torch.int64) | x.detach().type_as(n)
x.double().float().sum()
"""

ERRORS = """
(x * y).sum().backward(torch.ones(2)) | (x * y).backward() | n.sum().backward()
x.detach().backward() | torch.autograd.grad(x.sum(), y) | torch.autograd.grad(x.sum(), n)
z = x * y; z.sum().backward(); z.sum().backward() | z = x.exp(); z.add_(1); z.sum().backward()
z = x * 1; a = z * z; z.add_(1); a.sum().backward() | z = x.tanh(); z.mul_(2); z.sum().backward()
a = y * 1; z = x * a; a.zero_(); z.sum().backward()
a = m * 1; z = x @ a; a[0] = 0; z.sum().backward() | x.data = 3 | x.grad = torch.ones(5) | x.numpy()
n.requires_grad = True | z = x * 1; z.requires_grad = False | x[0].zero_() | x.T.add_(1)
x.view(6).mul_(2)
"""

# Written before anything kept them, or kept by nobody: these must work, and do in PyTorch.
LEGAL_WRITES = """
z = x @ m; z += 1; z.sum().backward(); x.grad | z = x + y; z.mul_(2); z.sum().backward(); x.grad
d = torch.zeros(4); a = d.view(2, 2); a[0] = p[0, :2]; d
z = x * 2; z[0] = 0; z.sum().backward(); x.grad | z = x * 1; z.exp_(); z.sum().backward(); x.grad
z = x * 1; a = z.T; a.add_(1); (z * y).sum().backward(); x.grad | z = x * 1; a = z[0]; z.mul_(3); a
z = x * 1; a, c = z[0], z[1]; a.mul_(2); c.mul_(3); (z * y).sum().backward(); x.grad
z = torch.zeros(2, 3); z[0] = x[0]; z[1] = z[0] * 2; z.sum().backward(); x.grad
z = x * 1; z[:, 0] += y[:, 0]; (z * p).sum().backward(); y.grad
"""


def lines_of(*tables):
    rows = [row for table in tables for row in table.strip().split("\n")]
    return [line.strip() for row in rows for line in row.split(" | ")]


@each(lines_of(LINES, LEGAL_WRITES))
def test_a_tensor_behaves_as_pytorchs(line):
    assert_same(line)


@each(lines_of(ERRORS))
def test_a_tensor_refuses_what_pytorchs_refuses(line):
    assert_same_error(line)


def test_recording_is_switched_as_in_pytorch():
    def seen(library):
        x = library.ones(2, requires_grad=True)
        out = []

        @library.no_grad()
        def quiet():
            return x * 2

        @library.inference_mode()
        def frozen():
            return x * 2

        with library.no_grad():
            out += [(x * 2).requires_grad, library.is_grad_enabled()]
            with library.enable_grad():
                out += [(x * 2).requires_grad]
            x += 1  # a leaf may be written here
        with library.set_grad_enabled(False):
            out += [(x * 2).requires_grad]
        with library.inference_mode():
            out += [(x * 2).requires_grad]
        return [
            *out,
            quiet().requires_grad,
            frozen().requires_grad,
            library.is_grad_enabled(),
            x.tolist(),
        ]

    assert seen(torch) == seen(BOTH[1])


@pytest.mark.parametrize(
    "make", ["copy.deepcopy(x)", "pickle.loads(pickle.dumps(x))", "copy.copy(x)"]
)
def test_copies_and_pickles_are_pytorchs(make):
    def seen(library):
        given = leaves_of(library)
        x = given["x"]
        x.sum().backward()
        made = eval(make, {"copy": copy, "pickle": pickle, "x": x})
        same = make.startswith("copy.copy") or made.data_ptr() != x.data_ptr()
        return repr(made), made.requires_grad, made.is_leaf, type(made).__name__, same

    assert seen(torch) == seen(BOTH[1])


@pytest.mark.parametrize("make", ["copy.deepcopy(x * 2)"])
def test_only_leaves_are_copied(make):
    for library in BOTH:
        with pytest.raises(RuntimeError):
            run(library, f"import copy; {make}", leaves_of(library))


def test_dlpack_shares_memory_both_ways():
    ours = BOTH[1].arange(4.0)
    theirs = torch.from_dlpack(ours)
    theirs[0] = 9
    assert ours.tolist() == [9, 1, 2, 3]
    back = BOTH[1].from_dlpack(theirs)
    back[1] = 8
    assert theirs.tolist() == [9, 8, 2, 3] == np.from_dlpack(ours).tolist()


STORAGES = """
torch.arange(6).view(2, 3)[1].storage() | x.T.storage() | (x.T + 0).storage()
torch.ones(0).storage() | mask.storage() | torch.tensor(2.5).storage() | x.bfloat16().storage()
x.expand(4, 2, 3).storage() | len(x[0].storage()) | x[1].storage()[0] | x.storage()[-1]
list(n[0].storage()) | x.storage().size() | x.T.storage().tolist()
"""


@pytest.mark.parametrize("line", lines_of(STORAGES))
def test_the_memory_under_a_tensor_is_listed_as_by_pytorch(line):
    theirs, ours = BOTH
    with pytest.warns(UserWarning, match="deprecated"):
        found = run(ours, line, leaves_of(ours))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert repr(found) == repr(run(theirs, line, leaves_of(theirs)))


def test_a_storage_refuses_an_index_outside():
    with pytest.warns(UserWarning), pytest.raises(IndexError, match="out of range"):
        BOTH[1].arange(3).storage()[3]
