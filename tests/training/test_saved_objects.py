"""`save` and `load` of objects: dataclasses, members of enumerations, whole modules; by their names
and attributes, and by nothing else."""

import collections
import dataclasses
import enum
import io
import math
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_lm as tl
from tinygrad_lm import nn
from tinygrad_lm.saving.objects import SAFE
from tinygrad_lm.saving.torch_save import add_safe_globals, safe_globals


@dataclasses.dataclass
class Config:
    width: int = 2
    act: object = nn.functional.gelu
    layer: type = nn.Linear


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: tuple = ()


class Color(enum.Enum):
    red = 1


class Net(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.parent = config, None
        self.inner = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Dropout(0.5), nn.Linear(3, 2))
        self.head = nn.Linear(2, 2, bias=False)
        self.head.weight = self.inner[3].weight if config.width == 3 else self.head.weight
        self.register_buffer("mask", tl.ones(2, dtype=tl.int8))

    def forward(self, x):
        return self.head(self.config.act(self.inner(x)))


class Careful:
    """Says that one of its special methods ran."""

    ran = []

    def __init__(self):
        self.kept = 1

    def __setattr__(self, name, value):
        self.ran.append("set")
        self.__dict__[name] = value

    def __getstate__(self):
        self.ran.append("state")

    __setstate__ = __reduce__ = __del__ = lambda self, *args: self.ran.append("special")


def round_trip(value, **how):
    file = io.BytesIO()
    tl.save(value, file)
    file.seek(0)
    return tl.load(file, **{"weights_only": False} | how)


def test_dataclasses_enumerations_and_names():
    made = {"c": Config(5), "p": [Point(1, (2,))], "e": Color.red, "f": [math.sin, tl.exp, Config]}
    found = round_trip(made)
    assert found == made and found["c"] is not made["c"] and found["e"] is Color.red
    with pytest.raises(dataclasses.FrozenInstanceError):
        found["p"][0].x = 2


class OwnNames:
    """Answers a name that it does not know with a KeyError, as a dict does."""

    def __init__(self):
        self.held = {"width": 3}

    def __getattr__(self, name):
        return self.__dict__["held"][name]


def test_an_object_that_answers_for_its_names():
    assert round_trip(OwnNames()).width == 3


def test_plain_kinds_need_no_trust():
    made = [Path("a/b"), range(1, 9, 2), collections.Counter("abca"), tl.int16, tl.complex64]
    found = round_trip(made, weights_only=True)
    assert found == made and [type(x) for x in found] == [type(x) for x in made]


@pytest.mark.parametrize("width", [2, 3])
def test_a_whole_module(width):
    net = Net(Config(width)).eval()
    net.inner[0].weight.requires_grad_(False)
    found, x = round_trip(net), tl.randn(4, 2)
    assert type(found) is Net and not found.training and found.config == net.config
    assert (found.inner(x) == net.inner(x)).all() and found.mask.dtype is tl.int8
    assert list(found.state_dict()) == list(net.state_dict())
    assert [p.requires_grad for p in found.parameters()] == [
        p.requires_grad for p in net.parameters()
    ]
    assert (found.head.weight is found.inner[3].weight) is (width == 3)
    assert found.inner[0].weight is found.inner._modules["0"]._parameters["weight"]
    found.train()(x).sum().backward() if width == 2 else found.inner(x).sum().backward()
    assert found.inner[3].weight.grad is not None and net.inner[3].weight.grad is None


MODULES = {
    nn.LSTM: (2, 3), nn.GRU: (2, 3), nn.MultiheadAttention: (4, 2), nn.BatchNorm1d: (3,),
    nn.LayerNorm: (3,), nn.RMSNorm: (3,), nn.Embedding: (3, 4), nn.LSTMCell: (2, 3),
    nn.CrossEntropyLoss: (), nn.GELU: (), nn.ModuleList: (), nn.Flatten: (), nn.Softmax: (1,),
}  # fmt: skip


@pytest.mark.parametrize("kind", MODULES, ids=lambda kind: kind.__name__)
def test_modules_of_every_kind(kind):
    made = kind(*MODULES[kind])
    found = round_trip(made)
    assert repr(found) == repr(made) and found.__dict__.keys() == made.__dict__.keys()
    for (name, a), (_, b) in zip(made.state_dict().items(), found.state_dict().items()):
        assert (a == b).all(), name


def test_one_object_stays_one_and_may_contain_itself():
    net = Net(Config())
    net.config.owner = net
    found, again = round_trip([net, net.config])
    assert found.config is again and again.owner is found


def test_only_attributes_are_set():
    made = Careful()
    Careful.ran.clear()
    file = io.BytesIO()
    tl.save(made, file)
    file.seek(0)
    found = tl.load(file, weights_only=False)
    assert Careful.ran == [] and found.__dict__ == {"kept": 1}


@pytest.mark.parametrize("value", [Config(), Color.red, nn.Linear(1, 1), tl.exp, [{"a": Config}]])
def test_without_trust_they_are_refused(value):
    file = io.BytesIO()
    tl.save(value, file)
    for how in ({}, {"weights_only": True}, {"weights_only": None}):
        file.seek(0)
        with pytest.raises(pickle.UnpicklingError, match="add_safe_globals.*|weights_only=False"):
            tl.load(file, **how)


def test_classes_may_be_named_as_safe():
    assert not SAFE
    with safe_globals([Point]):
        assert round_trip(Point(1), weights_only=True) == Point(1)
        with pytest.raises(pickle.UnpicklingError, match="Config"):
            round_trip([Point(1), Config()], weights_only=True)
    with pytest.raises(pickle.UnpicklingError, match="Point"):
        round_trip(Point(1), weights_only=True)
    try:
        add_safe_globals([Point])
        assert round_trip(Point(1), weights_only=None) == Point(1)
    finally:
        SAFE.clear()


def test_what_is_not_made_of_attributes_is_refused():
    class Local:
        pass

    optimizer = tl.optim.SGD([tl.ones(1, requires_grad=True)], 0.1)
    refused = {
        "<locals>.Local; move that class": Local(), "builtins.generator": (i for i in "a"),
        "builtins.function": lambda: 0, "_io.BytesIO": io.BytesIO(), "builtins.object": object(),
        "collections.deque": collections.deque([1]), "builtins.ValueError": ValueError(1),
        "MT19937": Config(tl.Generator()), "SGD": optimizer,
    }  # fmt: skip
    for word, value in refused.items():
        with pytest.raises(TypeError, match=rf"\[save\] obj\[0\].* must be .* got \S*{word}"):
            tl.save([value], io.BytesIO())


def test_a_class_that_is_gone_is_named(monkeypatch):
    file = io.BytesIO()
    tl.save(Point(1), file)
    file.seek(0)
    monkeypatch.delattr(sys.modules[__name__], "Point")
    with pytest.raises(AttributeError, match=rf"\[load\] Point must be in the module {__name__}"):
        tl.load(file, weights_only=False)


SCRIPT = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(2, 1)
    def forward(self, x):
        return self.fc(x)
net = Net()
torch.save(net, "net.pt")
found = torch.load("net.pt", weights_only=False)
print(type(found) is Net, torch.equal(found(torch.ones(1, 2)), net(torch.ones(1, 2))))
"""


def test_a_class_of_the_script_itself(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "tinygrad_lm.as_torch", "train.py"]
    path = {"PYTHONPATH": str(Path(tl.__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True)
    assert done.stdout == "True True\n", done.stderr
