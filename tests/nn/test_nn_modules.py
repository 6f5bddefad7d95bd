"""Laws of modules: what registers, what is found under which name, what saving, loading, moving and
copying keep. They need no PyTorch; that every layer agrees with PyTorch's is tested elsewhere."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_lm as tg
from tinygrad_lm import nn


class Tied(nn.Module):
    """An embedding and a head that share one weight, a list, a buffer, and a name kept at None."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 3)
        self.blocks = nn.ModuleList([nn.Linear(3, 3) for _ in range(2)])
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.table.weight
        self.register_buffer("steps", tg.tensor([0]))
        self.register_buffer("cache", tg.zeros(2), persistent=False)
        self.register_parameter("nothing", None)

    def forward(self, ids):
        x = self.table(ids)
        for block in self.blocks:
            x = x + block(x).tanh()
        return self.head(x)


NAMES = ["table.weight", "blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias"]


def test_names_and_sharing():
    model = Tied()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert [n for n, _ in model.named_parameters(remove_duplicate=False)] == [*NAMES, "head.weight"]
    assert [n for n, _ in model.named_parameters("m", recurse=False)] == []
    assert [n for n, _ in model.head.named_parameters(prefix="h")] == ["h.weight"]
    assert [n for n, _ in model.named_buffers()] == ["steps", "cache"]
    assert list(model.state_dict()) == ["steps", *NAMES, "head.weight"]
    modules = ["", "table", "blocks", "blocks.0", "blocks.1", "head"]
    assert [n for n, _ in model.named_modules()] == modules
    assert [n for n, _ in model.named_children()] == ["table", "blocks", "head"]
    assert model.get_submodule("blocks.1") is model.blocks[1]
    assert model.get_parameter("blocks.1.bias") is model.blocks[1].bias
    with pytest.raises(AttributeError, match=r"\[get_submodule\] ModuleList has no '7'"):
        model.get_submodule("blocks.7")
    with pytest.raises(AttributeError, match=r"\[get_parameter\] Linear has no 'bias'"):
        model.get_parameter("head.bias")
    again = nn.ModuleList([model.head] * 3)
    assert len(list(again.modules())) == 2 and len(list(again.children())) == 1


def test_assignment_registers_and_replaces():
    m = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"\[Linear\] 'weight' is one of parameters"):
        m.weight = tg.zeros(2, 2)
    m.bias = None
    assert m.bias is None and [n for n, _ in m.named_parameters()] == ["weight"]
    assert m(tg.ones(1, 2)).shape == (1, 2)
    m.bias = nn.Parameter(tg.ones(2))
    assert [n for n, _ in m.named_parameters()] == ["weight", "bias"]
    del m.weight
    assert list(m.state_dict()) == ["bias"] and not hasattr(m, "weight")
    m.weight = nn.Linear(1, 1)  # a name may change what it holds
    m.weight = nn.Parameter(tg.ones(2, 2))
    assert [n for n, _ in m.named_parameters()] == ["bias", "weight"] and not list(m.children())
    m.plain = tg.ones(3)
    assert "plain" not in m.state_dict()

    b = nn.BatchNorm1d(2)
    b.running_mean = tg.ones(2)
    assert b.state_dict()["running_mean"].tolist() == [1, 1]
    with pytest.raises(TypeError, match="one of buffers"):
        b.running_mean = [1, 1]


def test_registration_errors():
    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"\[Early\] super\(\).__init__\(\) must run before"):
        Early()
    m = nn.Module()
    for name in ("", "a.b", 3):
        with pytest.raises(KeyError, match="not empty and without dots"):
            m.register_buffer(name, tg.zeros(1))
    with pytest.raises(KeyError, match="already exists"):
        m.register_buffer("train", tg.zeros(1))
    for register in (m.register_parameter, m.register_buffer, m.add_module):
        with pytest.raises(TypeError, match="must be a (Parameter|Tensor|Module) or None, got int"):
            register("x", 3)


def test_loading_copies_into_place_or_not_at_all():
    model, other = Tied(), Tied()
    memory = model.table.weight.data_ptr()
    assert repr(model.load_state_dict(other.state_dict())) == "<All keys matched successfully>"
    assert model.table.weight.data_ptr() == memory and model.head.weight is model.table.weight
    for mine, given in zip(model.state_dict().values(), other.state_dict().values()):
        assert mine.tolist() == given.tolist()

    wrong = {k: v + 1 for k, v in other.state_dict().items()}
    del wrong["steps"], wrong["blocks.0.bias"]
    wrong |= {"extra": tg.zeros(1), "blocks.1.weight": tg.zeros(3, 4), "blocks.1.bias": tg.ones(2)}
    with pytest.raises(RuntimeError) as error:
        model.load_state_dict(wrong)
    said = str(error.value)
    assert said.startswith("[load_state_dict] names and shapes must be those of Tied:")
    assert 'Missing key(s) in state_dict: "steps", "blocks.0.bias".' in said
    assert 'Unexpected key(s) in state_dict: "extra".' in said
    assert "size mismatch for blocks.1.weight: (3, 4) is given, the module has (3, 3)." in said
    assert "size mismatch for blocks.1.bias: (2,)" in said
    assert model.table.weight.tolist() == other.table.weight.tolist()  # nothing was copied

    del wrong["blocks.1.weight"], wrong["blocks.1.bias"]
    found = model.load_state_dict(wrong, strict=False)
    assert found.missing_keys == ["steps", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias"]
    assert found.unexpected_keys == ["extra"]
    assert model.blocks[0].weight.tolist() == (other.blocks[0].weight + 1).tolist()
    with pytest.raises(RuntimeError, match="size mismatch for steps"):
        model.load_state_dict({"steps": tg.zeros(2)}, strict=False)


def test_state_dict_shares_memory_outside_the_graph():
    m = nn.Linear(2, 2)
    saved = m.state_dict()["weight"]
    assert type(saved) is tg.Tensor and not saved.requires_grad
    with tg.no_grad():
        m.weight.zero_()
    assert saved.tolist() == [[0, 0], [0, 0]]
    assert m.state_dict(prefix="a.", keep_vars=True)["a.weight"] is m.weight


def test_modes_and_walks():
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
    assert model.eval() is model and not model[1][0].training
    assert model.train()[1][0].training
    with pytest.raises(ValueError, match=r"\[train\]"):
        model.train("yes")
    seen = []
    assert model.apply(lambda m: seen.append(type(m).__name__)) is model
    assert seen == ["Dropout", "Dropout", "Sequential", "Sequential"]


def test_gradients_on_and_off():
    m = nn.Linear(2, 2)
    m(tg.ones(1, 2)).sum().backward()
    grad = m.weight.grad
    m.zero_grad(set_to_none=False)
    assert m.weight.grad.tolist() == [[0, 0], [0, 0]] and grad.tolist() == [[0, 0], [0, 0]]
    m.zero_grad()
    assert m.weight.grad is None
    m.requires_grad_(False)
    assert not m(tg.ones(1, 2)).requires_grad


def test_moving_keeps_the_parameters_themselves():
    m = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = list(m.parameters())
    m(tg.randn(3, 2)).sum().backward()
    assert m.double() is m and all(a is b for a, b in zip(m.parameters(), before))
    assert {str(p.dtype) for p in m.parameters()} == {"torch.float64"}
    assert m[0].weight.grad.dtype == tg.float64 and m[1].running_var.dtype == tg.float64
    assert m[1].num_batches_tracked.dtype == tg.int64 and m[1].num_batches_tracked.item() == 1
    assert m.state_dict()["1.running_var"].dtype == tg.float64
    assert m.half()[0].weight.dtype == tg.float16
    assert m.float().to("cpu", tg.float64)[0].weight.dtype == tg.float64
    assert m.to(tg.zeros(1))[0].weight.dtype == tg.float32
    with pytest.raises(TypeError, match=r"\[to\] a module's dtype must be floating-point"):
        m.to(tg.int64)


def test_hooks():
    m, seen = nn.Linear(2, 2), []
    x = tg.ones(1, 2)
    plain = m(x)
    first = m.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    second = m.register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
    third = m.register_forward_hook(lambda module, args, out: out - module.bias)
    out = m(x)
    assert seen[0][0].tolist() == [[2, 2]]
    assert np.allclose(out.tolist(), (2 * (plain - m.bias)).tolist(), atol=1e-6)
    for handle in (first, second, third, third):
        handle.remove()
    assert m(x).tolist() == plain.tolist() and len(seen) == 1

    def without_input(module, args, kw):
        return args, {"input": kw["input"] * 0}

    m.register_forward_pre_hook(without_input, with_kwargs=True)
    m.register_forward_hook(lambda module, args, kw, out: (out, kw["input"]), with_kwargs=True)
    out, given = m(input=x)
    assert out[0].tolist() == m.bias.tolist() and given.tolist() == [[0, 0]]
    m._forward_pre_hooks.clear()
    m._forward_hooks.clear()
    m.register_forward_pre_hook(lambda module, args: args[0] * 0)  # one value need not be a tuple
    assert m(x)[0].tolist() == m.bias.tolist()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent_and_keep_ties(copied):
    model = Tied().eval()
    twin = copied(model)
    assert repr(twin) == repr(model) and not twin.training
    assert twin.head.weight is twin.table.weight is twin._modules["head"]._parameters["weight"]
    ids = tg.tensor([[1, 2]])
    assert twin(ids).tolist() == model(ids).tolist()
    with tg.no_grad():
        twin.table.weight.zero_()
    assert np.abs(model.table.weight.detach().numpy()).max() > 0
    assert isinstance(twin.table.weight, nn.Parameter) and twin.table.weight.requires_grad


def test_pictures():
    class Two(nn.Module):
        def extra_repr(self):
            return "first\nsecond"

    m = Two()
    assert repr(m) == "Two(\n  first\n  second\n)"
    m.inner = nn.Sequential(nn.ReLU())
    assert repr(m) == "Two(\n  first\n  second\n  (inner): Sequential(\n    (0): ReLU()\n  )\n)"
    several = nn.ModuleList([nn.Tanh(), nn.Tanh(), nn.ReLU()])
    assert repr(several) == "ModuleList(\n  (0-1): 2 x Tanh()\n  (2): ReLU()\n)"
    assert repr(nn.ModuleDict()) == "ModuleDict()"


def test_parameter_is_a_leaf_on_the_same_memory():
    data = tg.ones(2)
    p = nn.Parameter(data)
    assert p.requires_grad and p.is_leaf and p.data_ptr() == data.data_ptr()
    assert repr(p) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    for made in (p * 2, p.detach(), p.data, p[0], p.clone(), p.view(2, 1)):
        assert type(made) is tg.Tensor
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    with pytest.raises(TypeError, match=r"\[Parameter\] data must be a Tensor, got list"):
        nn.Parameter([1.0])
    with pytest.raises(RuntimeError, match="floating-point"):
        nn.Parameter(tg.tensor([1]))


def test_rows_of_modules():
    a, b, c, d = (nn.Linear(1, 1) for _ in range(4))
    row = nn.ModuleList([a, b])
    row += [c]
    assert row.append(d) is row and len(row) == 4 and d in row
    assert (
        list(row[1:3]) == [b, c] and row[-1] is d and list(row[1:3].state_dict())[0] == "0.weight"
    )
    row.insert(1, d)
    assert list(row) == [a, d, b, c, d] and row.pop() is d
    del row[0]
    row[0] = a
    assert list(row) == [a, b, c] and list(row.state_dict())[-1] == "2.bias"
    assert list(row + [d]) == [a, b, c, d]
    with pytest.raises(IndexError, match=r"\[ModuleList\] index must be in 0 ... 2, got 3"):
        row[3]

    run = nn.Sequential({"first": a, "second": b})
    assert run.first is a and list(run[1:].state_dict())[0] == "second.weight"
    assert run.append(c)[2] is c
    x = tg.ones(1, 1)
    assert run(x).tolist() == c(b(a(x))).tolist()


def test_modules_and_parameters_under_names():
    held = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Tanh()})
    held["c"] = nn.Sigmoid()
    assert list(held) == ["a", "b", "c"] == list(held.keys()) and "b" in held and len(held) == 3
    tanh = held["b"]
    assert held.pop("b") is tanh and "b" not in held and held.a is held["a"]
    held.clear()
    held.update([("a", tanh)])
    assert list(held.items()) == [("a", tanh)] and list(held.values()) == [tanh]
    with pytest.raises(KeyError):
        held["z"]
    several = nn.ParameterList([tg.ones(2), nn.Parameter(tg.zeros(1))]).append(tg.ones(1))
    assert len(several) == 3 and [p.numel() for p in several] == [2, 1, 1]
    assert list(several.state_dict()) == ["0", "1", "2"] and several[-1].requires_grad


def test_public_names_exist_and_are_all():
    for module in (nn, nn.functional):
        assert all(hasattr(module, name) for name in module.__all__)
    classes = {k for k, v in vars(nn).items() if isinstance(v, type)}
    assert classes <= set(nn.__all__)
