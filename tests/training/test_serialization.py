"""What `save` writes, `load` gives back, equal and of the same type; shared tensors stay shared;
what cannot be kept is refused with a sentence. Nothing of a file is ever executed."""

import argparse
import enum
import io
import json
import math
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lm as tl
from tinygrad_lm import nn
from tinygrad_lm.saving import torch_save
from tinygrad_lm.saving.files import load_safetensors, save_safetensors


def round_trip(value):
    file = io.BytesIO()
    tl.save(value, file)
    file.seek(0)
    return tl.load(file)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
    | st.binary(max_size=9)
    | st.complex_numbers(allow_nan=False)
)
keys = st.integers() | st.text("ab$é", max_size=4) | st.booleans() | st.tuples(st.integers())
nested = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=4)
        | st.builds(lambda pairs: OrderedDict(pairs), st.lists(st.tuples(keys, inner), max_size=3))
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=12,
)


def same(a, b):
    """Equal, and of one type all the way down (True == 1 and OrderedDict() == {} hide that)."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        pairs = zip(a.items(), b.items())
        return len(a) == len(b) and all(same(k, q) and same(v, w) for (k, v), (q, w) in pairs)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b and repr(a) == repr(b)  # repr tells -0.0 from 0.0


@given(nested)
def test_plain_data_returns_equal(value):
    assert same(round_trip(value), value)


@pytest.mark.parametrize("shape", [(), (3,), (0, 2), (2, 3, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "bool", "uint8"])
def test_tensors_of_every_kind(shape, dtype):
    x = tl.tensor(np.arange(math.prod(shape)).reshape(shape) % 2, dtype=getattr(tl, dtype))
    back = round_trip({"x": [x, (x.T,)]})
    assert back["x"][0].dtype is x.dtype and back["x"][0].shape == x.shape
    assert back["x"][0].tolist() == x.tolist() and back["x"][1][0].tolist() == x.T.tolist()


def test_other_leaves():
    found = round_trip(
        [tl.float32, tl.device("cpu"), np.float32(0.1), np.arange(3), tl.Size((2, 3)), math.nan]
    )
    assert found[0] is tl.float32 and found[1] == tl.device("cpu")
    assert type(found[2]) is np.float32 and found[2] == np.float32(0.1)
    assert found[3].tolist() == [0, 1, 2] and type(found[4]) is tl.Size and math.isnan(found[5])
    args = round_trip(argparse.Namespace(lr=0.1, layers=(1, 2)))
    assert args == argparse.Namespace(lr=0.1, layers=(1, 2))


# What version 0.1.0 wrote for `everything()`: the tree, and the whole file around it.
OLD_TREE = (
    '{"$dict":[["w",{"$Parameter":["0","cpu",true]}],["again",[{"$Tensor":["0","cpu",false]}]'
    '],["plain",{"$tuple":[null,true,3,0.1,{"$float":"-inf"},{"$complex":"(1+2j)"},{"$bytes":'
    '"AHg="},"$float"]}],["sets",[{"$set":[1]},{"$frozenset":[2]},{"$Size":[2,3]}]],[0,{"$dic'
    't":[["$key",{"$OrderedDict":[[{"$tuple":[1]},2]]}]]}],["args",{"$Namespace":{"lr":0.5}}]'
    ',["kinds",[{"$dtype":"float32"},{"$device":"cpu"},{"$number":"1"},{"$array":"2"}]]]}'
)
OLD_HEADER = """{"__metadata__":{"format":"tinygrad_lm saved data","format_version":"1","tree":%s},\
"2":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},\
"0":{"dtype":"F32","shape":[2],"data_offsets":[16,24]},\
"1":{"dtype":"F32","shape":[],"data_offsets":[24,28]}}  """
OLD_ARRAYS = np.array([0, 1], "<i8").tobytes() + np.array([1.5, -2.0, 0.25], "<f4").tobytes()


def old_file():
    header = (OLD_HEADER % json.dumps(OLD_TREE)).encode()
    return len(header).to_bytes(8, "little") + header + OLD_ARRAYS


def everything():
    w = nn.Parameter(tl.tensor([1.5, -2.0]))
    return {
        "w": w,
        "again": [w.detach()],
        "plain": (None, True, 3, 0.1, -math.inf, 1 + 2j, b"\0x", "$float"),
        "sets": [{1}, frozenset({2}), tl.Size((2, 3))],
        0: {"$key": OrderedDict([((1,), 2)])},
        "args": argparse.Namespace(lr=0.5),
        "kinds": [tl.float32, tl.device("cpu"), np.float32(0.25), np.arange(2)],
    }


def test_a_file_of_the_first_version_is_read_and_would_be_written_alike():
    found, made = tl.load(io.BytesIO(old_file())), everything()
    assert list(found) == list(made)
    for key in ("plain", "sets", 0, "args"):
        assert same(found[key], made[key])
    assert type(found["w"]) is nn.Parameter and found["w"].tolist() == [1.5, -2.0]
    assert found["again"][0].data_ptr() == found["w"].data_ptr() and found["w"].requires_grad
    assert found["kinds"][:2] == made["kinds"][:2] and type(found["kinds"][2]) is np.float32
    assert found["kinds"][3].tolist() == [0, 1]
    for value in (made, found):
        file = io.BytesIO()
        tl.save(value, file)
        size = int.from_bytes(file.getvalue()[:8], "little")
        assert json.loads(file.getvalue()[8 : 8 + size])["__metadata__"]["tree"] == OLD_TREE


def test_members_of_enumerations_become_their_value():
    class Kind(str, enum.Enum):
        one = "first"

    class Number(float):
        pass

    assert same(round_trip([Kind.one, Number(0.5), {Kind.one: 2}]), ["first", 0.5, {"first": 2}])


def test_shared_tensors_are_stored_once_and_shared_again(tmp_path):
    w = nn.Parameter(tl.randn(40, 50))
    tl.save({"a": w, "b": [w], "c": w.detach(), "d": w.data.clone()}, tmp_path / "f")
    arrays, _ = load_safetensors(tmp_path / "f")
    assert len(arrays) == 2
    back = tl.load(tmp_path / "f")
    assert back["a"] is back["b"][0] and isinstance(back["a"], nn.Parameter)
    assert back["a"].requires_grad and not back["c"].requires_grad
    with tl.no_grad():
        back["a"][0, 0] = 7.0
    assert back["c"][0, 0].item() == 7.0 and back["d"][0, 0].item() != 7.0


def test_a_training_run_continues_from_its_file(tmp_path):
    def build():
        tl.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        return model, tl.optim.AdamW(model.parameters(), lr=0.1)

    def step(model, optimizer, i):
        generator = tl.Generator().manual_seed(i)
        model(tl.randn(8, 3, generator=generator)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    model, optimizer = build()
    for i in range(3):
        step(model, optimizer, i)
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "iter": 3}
    tl.save(checkpoint, tmp_path / "ckpt.pt")
    for i in range(3, 6):
        step(model, optimizer, i)
    again, second = build()
    loaded = tl.load(tmp_path / "ckpt.pt", map_location="cpu", weights_only=False)
    again.load_state_dict(loaded["model"])
    second.load_state_dict(loaded["optimizer"])
    for i in range(loaded["iter"], 6):
        step(again, second, i)
    for name, value in model.state_dict().items():
        assert (again.state_dict()[name] == value).all(), name


def test_a_failed_save_leaves_the_former_file(tmp_path):
    tl.save([1], tmp_path / "f")
    with pytest.raises(TypeError, match=r"obj\['x'\]\[1\] must be plain data or a Tensor"):
        tl.save({"x": [0, object()]}, tmp_path / "f")
    assert tl.load(tmp_path / "f") == [1] and [p.name for p in tmp_path.iterdir()] == ["f"]


def test_what_is_refused():
    with pytest.raises(TypeError, match=r"obj\[0\] .*SGD; .* optimiser into its state_dict"):
        tl.save([tl.optim.SGD([tl.ones(2, requires_grad=True)], lr=1)], io.BytesIO())
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="contain itself"):
        tl.save(loop, io.BytesIO())
    twice = [1]
    assert round_trip([twice, twice]) == [[1], [1]]  # shared is not circular


def test_pickles_are_not_read(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    (tmp_path / "old.pt").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "new.pt").write_bytes(b"PK\x03\x04rest of a zip archive")
    for name in ("old.pt", "new.pt"):
        with pytest.raises(ValueError, match="got one of PyTorch"):
            tl.load(tmp_path / name)
    assert not (tmp_path / "executed").exists()


def test_files_that_are_not_ours_or_not_whole(tmp_path):
    with pytest.raises(FileNotFoundError, match="a typo"):
        tl.load(tmp_path / "none")
    save_safetensors(tmp_path / "plain", {"x": np.ones(2)})
    with pytest.raises(ValueError, match="another kind of safetensors"):
        tl.load(tmp_path / "plain")
    tl.save([tl.ones(100)], tmp_path / "f")
    (tmp_path / "cut").write_bytes((tmp_path / "f").read_bytes()[:-9])
    with pytest.raises(ValueError, match="cut"):
        tl.load(tmp_path / "cut")
    _, metadata = load_safetensors(tmp_path / "f")
    newer = {**metadata, "format_version": "3"}
    save_safetensors(tmp_path / "newer", {}, newer)
    with pytest.raises(ValueError, match="format 2, got '3'"):
        tl.load(tmp_path / "newer")
    tl.save([1, [2.0, tl.ones(3)]], tmp_path / "f")
    whole = (tmp_path / "f").read_bytes()
    for old, new in ((b"[1,[2.0", b"[1,[3.0"), (b"\x80?", b"\x81?"), (b'"F32"', b'"I32"')):
        assert old in whole
        (tmp_path / "f").write_bytes(whole.replace(old, new))
        with pytest.raises(ValueError, match="f' must be whole, got: data .* its checksum"):
            tl.load(tmp_path / "f")


DEEP = '{"$tuple":[' * 50_000 + "]}" * 50_000


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        ({"$array": "9"}, "KeyError"),
        ({"$array": []}, "TypeError"),
        ({"$dtype": "x"}, "KeyError"),
        ({"$Tensor": ["0"]}, "TypeError"),
        ({"$dict": 3}, "TypeError"),
        ({"$set": [[]]}, "TypeError"),
        ({"$tuple": [1], "more": 2}, "beside other names"),
        (DEEP, "brackets within brackets|RecursionError"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_tree_that_no_save_writes(tree, named, tmp_path):
    """With the right checksum, as someone would write it who made the file by hand."""
    tree = tree if isinstance(tree, str) else json.dumps(tree)
    metadata = {"format": torch_save.FORMAT, "format_version": "2", "tree": tree}
    arrays = {"0": np.ones(2, np.float32)}
    metadata["sha256"] = torch_save._sha256(arrays, tree)
    save_safetensors(tmp_path / "f", arrays, metadata)
    with pytest.raises(ValueError, match=f"f' must be whole, got: .*({named}).*copy it again"):
        tl.load(tmp_path / "f")


def test_data_nested_too_deeply_is_refused_before_it_is_written(tmp_path):
    chain = []
    for _ in range(5000):
        chain = [chain]
    with pytest.raises(ValueError, match="obj must be nested less deeply"):
        tl.save(chain, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_devices_are_mapped(tmp_path):
    tl.save({"x": tl.ones(2)}, tmp_path / "f")
    arrays, metadata = load_safetensors(tmp_path / "f")
    metadata["tree"] = metadata["tree"].replace('"cpu"', '"cuda:0"')
    metadata["sha256"] = torch_save._sha256(arrays, metadata["tree"])
    save_safetensors(tmp_path / "gpu", arrays, metadata)
    for where in ("cpu", tl.device("cpu"), {"cuda:0": "cpu"}, lambda storage, place: storage):
        assert tl.load(tmp_path / "gpu", map_location=where)["x"].device.type == "cpu"
    if not tl.cuda.is_available():
        with pytest.raises(RuntimeError, match="map_location='cpu'"):
            tl.load(tmp_path / "gpu")


def test_a_header_length_may_look_like_a_pickle(tmp_path):
    """A header of 128 bytes begins with 0x80, as a pickle does, and that was taken for one."""
    starts = set()
    for n in range(0, 256, 4):
        tl.save("x" * n, tmp_path / "f")
        assert tl.load(tmp_path / "f") == "x" * n
        starts.add((tmp_path / "f").read_bytes()[0])
    assert 0x80 in starts
