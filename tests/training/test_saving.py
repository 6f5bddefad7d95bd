"""Checkpoints: exact round trips, and whatever the moment of a crash, a good one is there."""

import collections
import contextlib
import enum
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lm.saving import (
    check_writable,
    checkpoint,
    files,
    load_checkpoint,
    load_safetensors,
    replacing,
    save_checkpoint,
    save_safetensors,
)
from tinygrad_lm.saving.tree import Decoder

ARRAYS = {
    "matrix": np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32),
    "transposed": np.arange(12, dtype=np.float64).reshape(3, 4).T,
    "strided": np.arange(20, dtype=np.int64)[::-3],
    "scalar": np.array(0.1, np.float32),
    "step": np.int64(3),  # 0-d arithmetic gives these; they come back as 0-d arrays
    "empty": np.zeros((0, 7), np.int32),
    "mask": np.array([True, False, True]),
    "bytes": np.arange(256, dtype=np.uint8),
    "half": np.array([np.inf, -0.0, np.nan, 6e-8], np.float16),
    "state": np.array([2**32 - 1, 0], np.uint32),
    "swapped": np.arange(3, dtype=">f8"),
}


def same(left, right):
    """Names, dtypes, shapes and every bit."""
    assert left.keys() == right.keys()
    for name, array in left.items():
        kept = np.asarray(array, array.dtype.newbyteorder("="), order="C")
        assert right[name].dtype == kept.dtype and right[name].shape == kept.shape, name
        assert right[name].tobytes() == kept.tobytes(), name
    return True


def names(folder):
    return sorted(path.name.split(".")[0] for path in folder.iterdir())


def test_arrays_come_back_bit_for_bit_and_writable(tmp_path):
    before = {name: array.tobytes() for name, array in ARRAYS.items()}
    save_checkpoint(tmp_path, ARRAYS, {})
    arrays, _ = load_checkpoint(tmp_path)
    assert same(ARRAYS, arrays)
    assert before == {name: array.tobytes() for name, array in ARRAYS.items()}
    arrays["matrix"] += 1
    assert same(ARRAYS, load_checkpoint(tmp_path)[0])


def test_bfloat16(tmp_path):
    arrays = {"w": np.arange(6).astype(ml_dtypes.bfloat16).reshape(2, 3).T}
    save_safetensors(tmp_path / "w.safetensors", arrays)
    assert same(arrays, load_safetensors(tmp_path / "w.safetensors")[0])


def test_other_programs_read_the_file_and_the_arrays_outlive_it(tmp_path):
    path = tmp_path / "w.safetensors"
    save_safetensors(path, {"w": ARRAYS["transposed"]}, {"made by": "a test"})
    assert np.array_equal(safetensors.numpy.load_file(path)["w"], ARRAYS["transposed"])
    arrays, metadata = load_safetensors(path)
    assert metadata == {"made by": "a test"}
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert np.array_equal(arrays["w"], ARRAYS["transposed"])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_files_have_the_rights_of_ordinary_files(tmp_path):
    (tmp_path / "ordinary").touch()
    save_safetensors(tmp_path / "w", {"w": np.ones(2)})
    assert (tmp_path / "w").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text().filter(lambda key: key[:1] != "$"), inner)
    ),
)


@given(st.dictionaries(st.text().filter(lambda key: key[:1] != "$"), PLAIN))
def test_meta_round_trip_through_strict_json(meta):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    text = json.dumps(checkpoint.MetaEncoder().encode(meta, "meta"), allow_nan=False)
    again = Decoder().decode(json.loads(text, parse_constant=refuse))
    assert repr(again) == repr(meta)  # repr tells 1 from True and 1.0, -0.0 from 0.0; shows NaN


# What version 0.1.0 wrote; the name of the sub-folder is the pointer's.
OLD_META = r"""{
 "format": "tinygrad_lm checkpoint",
 "format_version": 1,
 "meta": {
  "best": {
   "$float": "inf"
  },
  "betas": {
   "$tuple": [
    0.9,
    {
     "$tuple": [
      0.95,
      {
       "$float": "-inf"
      }
     ]
    }
   ]
  },
  "seed": 1180591620717411303424,
  "none": null,
  "text": "\u00e9\ud800",
  "list": [
   1,
   [
    true,
    2.5
   ]
  ],
  "loss": 0.5
 },
 "arrays": {
  "size": 72,
  "sha256": "750861a29a826e00dff53bbe36d5843b72761e94f79104b2f67eea65826342c1"
 }
}
"""
OLD_ARRAYS = b'8\0\0\0\0\0\0\0{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  '
OLD_ARRAYS += np.array([1.5, -2.0], "<f4").tobytes()
OLD_POINTER = """{
 "format": "tinygrad_lm checkpoint",
 "format_version": 1,
 "folder": "last.3d17cad5f97e4322"
}
"""


def test_a_checkpoint_of_the_first_version_is_read_and_would_be_written_alike(tmp_path):
    old = tmp_path / "last.3d17cad5f97e4322"
    old.mkdir()
    (old / "meta.json").write_text(OLD_META)
    (old / "arrays.safetensors").write_bytes(OLD_ARRAYS)
    (tmp_path / "last.json").write_text(OLD_POINTER)
    arrays, meta = load_checkpoint(tmp_path)
    assert same(arrays, {"w": np.array([1.5, -2.0], np.float32)})
    assert repr(meta) == repr(
        {
            "best": math.inf, "betas": (0.9, (0.95, -math.inf)), "seed": 2**70, "none": None,
            "text": "é\ud800", "list": [1, [True, 2.5]], "loss": 0.5,
        }
    )  # fmt: skip
    save_checkpoint(tmp_path / "new", arrays, {**meta, "loss": np.float32(0.5)})
    (now,) = (tmp_path / "new").glob("last.*/meta.json")
    assert now.read_text() == OLD_META.replace('version": 1', 'version": 2')


def test_meta_of_subclasses_is_what_they_derive_from(tmp_path):
    class Key(str):
        pass

    class Kind(int, enum.Enum):
        one = 1

    class Word(str, enum.Enum):
        yes = "y"

    point = collections.namedtuple("point", "x y")(1, [2])
    meta = {"p": point, "d": collections.OrderedDict({Key("k"): Kind.one}), "w": Word.yes}
    save_checkpoint(tmp_path, {}, {**meta, "f": np.float64(0.1), "s": np.str_("z")})
    _, found = load_checkpoint(tmp_path)
    assert repr(found) == repr({"p": (1, [2]), "d": {"k": 1}, "w": "y", "f": 0.1, "s": "z"})
    circle = {}
    circle["self"] = [circle]
    with pytest.raises(ValueError, match=r"meta\['self'\]\[0\] does"):
        save_checkpoint(tmp_path, {}, circle)


def test_meta_that_is_no_tree_is_damage(tmp_path):
    save_checkpoint(tmp_path, {}, {"best": math.inf})
    (path,) = tmp_path.glob("last.*/meta.json")
    for word in ('"$float": "much"', '"$what": 1', '"$tuple": 3', '"$float": null'):
        path.write_text(path.read_text().replace('"$float": "inf"', word))
        sign(tmp_path)
        with pytest.raises(ValueError, match="is it damaged"):
            load_checkpoint(tmp_path)
        path.write_text(path.read_text().replace(word, '"$float": "inf"'))


def test_meta_in_a_checkpoint(tmp_path):
    meta = {"best": math.inf, "rate": 0.1 + 0.2, "betas": (0.9, 0.95), "seed": 2**127, "x": None}
    save_checkpoint(tmp_path, {}, {**meta, "loss": np.float32(0.1), "step": np.int64(7)})
    assert load_checkpoint(tmp_path) == ({}, {**meta, "loss": float(np.float32(0.1)), "step": 7})


@pytest.mark.parametrize(
    ("meta", "where"),
    [
        ({"a": [1, {"b": np.ones(2)}]}, r"meta\['a'\]\[1\]\['b'\] must be .*, got ndarray"),
        ({"state": {0: 1.0}}, r"meta\['state'\] must be .*, got the keys \[0\]"),
        ({"$float": "1"}, r"meta must be .*, got the keys"),
        ({"path": pathlib.Path("x")}, r"meta\['path'\] must be"),
    ],
)
def test_meta_that_cannot_be_kept_is_refused_by_place(meta, where, tmp_path):
    with pytest.raises(TypeError, match=where):
        save_checkpoint(tmp_path / "new", {}, meta)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "array", [[1.0], 1.0, np.ones(2, complex), np.array(["a"]), np.array([None])]
)
def test_what_is_no_storable_array_is_refused(array, tmp_path):
    save_checkpoint(tmp_path, ARRAYS, {})
    with pytest.raises(TypeError, match="'w' must be a NumPy array of one of bool"):
        save_checkpoint(tmp_path, {"w": array}, {})
    assert same(ARRAYS, load_checkpoint(tmp_path)[0]) and names(tmp_path) == ["last", "last"]


def test_names_are_independent_and_superseded_folders_go(tmp_path):
    for step in range(3):
        save_checkpoint(tmp_path, {"w": np.full(3, step)}, {"step": step})
        save_checkpoint(tmp_path, {"w": np.full(3, -step)}, {"step": -step}, name="last-best")
    assert load_checkpoint(tmp_path)[1] == {"step": 2}
    assert load_checkpoint(tmp_path, "last-best")[1] == {"step": -2}
    assert names(tmp_path) == ["last", "last", "last-best", "last-best"]


@pytest.mark.parametrize("name", ["", "a/b", "..", "a.b", "last\n"])
def test_bad_names(name, tmp_path):
    with pytest.raises(ValueError, match="a name must be letters"):
        save_checkpoint(tmp_path, {}, {}, name)


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    others = ["log.jsonl", "last.txt", "last.0123456789abcdef.txt", ".hidden.tmp", "best.0"]
    for other in others:
        (tmp_path / other).touch()
    save_checkpoint(tmp_path, {}, {})
    save_checkpoint(tmp_path, {}, {})
    assert all((tmp_path / other).exists() for other in others)


class Killed(BaseException):
    """Stands for the end of the process: no `except OSError` may survive it."""


STEPS = [
    (os, "open"),
    (os, "fsync"),
    (os, "replace"),
    (files, "save_file"),
    (pathlib.Path, "mkdir"),
    (pathlib.Path, "touch"),
    (pathlib.Path, "chmod"),
    (pathlib.Path, "write_text"),
    (pathlib.Path, "unlink"),
    (checkpoint.shutil, "rmtree"),
]


def dying_at(monkeypatch, deadline, error, after):
    """Every step of STEPS number `deadline` raises, before or after acting; so do all later ones.

    Returns the list of the steps that were tried.
    """
    tried = []

    def dying(name, act):
        def step(*args, **kwargs):
            tried.append(name)
            if len(tried) == deadline and after:
                act(*args, **kwargs)
            if len(tried) >= deadline:
                raise error
            return act(*args, **kwargs)

        return step

    for owner, name in STEPS:
        monkeypatch.setattr(owner, name, dying(name, getattr(owner, name)))
    return tried


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [Killed(), OSError(28, "No space left on device")])
def test_death_at_every_single_step_leaves_a_good_checkpoint(error, after, tmp_path, monkeypatch):
    old, new = {"w": np.arange(3.0)}, {"w": -np.arange(5.0)}
    save_checkpoint(tmp_path, old, {"step": 1})
    save_checkpoint(tmp_path, old, {}, "best")
    outcomes = []
    for deadline in range(1, 1000):
        died = False
        with monkeypatch.context() as patch:
            tried = dying_at(patch, deadline, error, after)
            try:
                save_checkpoint(tmp_path, new, {"step": 2})
            except (Killed, OSError):
                died = True
        arrays, meta = load_checkpoint(tmp_path)
        assert same(old if meta["step"] == 1 else new, arrays), tried
        outcomes.append(meta["step"])
        assert died or meta["step"] == 2, "a save that returns has saved"
        assert same(old, load_checkpoint(tmp_path, "best")[0])
        save_checkpoint(tmp_path, old, {"step": 1})
        assert names(tmp_path) == ["best", "best", "last", "last"], "leftovers of a killed save"
        if len(tried) < deadline:
            break
    assert outcomes == sorted(outcomes) and len(outcomes) > 30, "one moment divides old from new"
    assert {1, 2} == set(outcomes)


@pytest.mark.parametrize("after", [False, True])
def test_death_during_the_first_save_does_not_hinder_the_next(after, tmp_path, monkeypatch):
    for deadline in range(1, 1000):
        folder = tmp_path / str(deadline)
        with monkeypatch.context() as patch:
            tried = dying_at(patch, deadline, Killed(), after)
            with contextlib.suppress(Killed):
                save_checkpoint(folder, ARRAYS, {}, "best")
        save_checkpoint(folder, ARRAYS, {"step": 1})
        assert same(ARRAYS, load_checkpoint(folder)[0]), tried
        assert names(folder) in (["last", "last"], ["best", "best", "last", "last"])
        if len(tried) < deadline:
            break
    assert deadline > 30


def test_every_rename_is_of_bytes_on_the_disk_and_is_on_the_disk_before_the_next_step(
    tmp_path, monkeypatch
):
    """A loss of power, unlike a kill, also undoes what was not yet forced onto the disk."""
    save_checkpoint(tmp_path, ARRAYS, {})
    with monkeypatch.context() as patch:
        tried = dying_at(patch, math.inf, None, False)
        save_checkpoint(tmp_path, ARRAYS, {})
    durable = [step for step in tried if step in ("fsync", "replace", "rmtree")]
    one_file = ["fsync", "replace", "fsync"]  # its bytes, its name, the folder's list of names
    start, pointer = ["fsync"], ["fsync", *one_file]
    assert durable == [*start, *one_file, *one_file, *pointer, "fsync", "rmtree"]


@pytest.mark.parametrize("damage", ["", "{", "no pointer"])
def test_a_damaged_pointer_costs_no_arrays(damage, tmp_path):
    save_checkpoint(tmp_path, ARRAYS, {}, "best")
    (tmp_path / "best.json").write_text(damage)
    save_checkpoint(tmp_path, ARRAYS, {}, "last")
    assert names(tmp_path) == ["best", "best", "last", "last"]


SAVER = """
import sys, numpy as np
from tinygrad_lm.saving import save_checkpoint
print("ready", flush=True)
step = int(sys.argv[2])
while True:
    save_checkpoint(sys.argv[1], {"w": np.full(20_000, step)}, {"step": step})
    print(step, flush=True)
    step += 1
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_at_random_moments(tmp_path):
    """Each life saves until it is killed; what it reported saved is there, or what came next."""
    rng, reported = np.random.default_rng(0), 0
    for _ in range(12):
        command = [sys.executable, "-c", SAVER, str(tmp_path), str(reported + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            lines = [process.stdout.readline() for _ in range(rng.integers(0, 4))]
            time.sleep(rng.uniform(0.0, 0.02))
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.read().split()
        reported = max([reported, *map(int, lines)])
        if reported:
            arrays, meta = load_checkpoint(tmp_path)
            assert meta["step"] in (reported, reported + 1)
            assert same({"w": np.full(20_000, meta["step"])}, arrays)
            reported = meta["step"]
    assert reported > 12
    save_checkpoint(tmp_path, {}, {})
    assert names(tmp_path) == ["last", "last"]


def test_loading_while_another_process_saves(tmp_path):
    """Read until 20 of its saves were seen, however fast either side is; each is whole."""
    save_checkpoint(tmp_path, {"w": np.full(20_000, 0)}, {"step": 0})
    command = [sys.executable, "-c", SAVER, str(tmp_path), "1"]
    seen = {0}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            while len(seen) <= 20 and process.poll() is None:
                arrays, meta = load_checkpoint(tmp_path)
                assert (arrays["w"] == meta["step"]).all() and meta["step"] >= max(seen)
                seen.add(meta["step"])
        finally:
            process.kill()
    assert len(seen) > 20, "the other process ended by itself"


def test_a_checkpoint_replaced_between_pointer_and_arrays_is_looked_up_again(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, {}, {"step": 1})
    monkeypatch.setattr(checkpoint, "_read", read_after_a_save(checkpoint._read, tmp_path))
    assert load_checkpoint(tmp_path)[1] == {"step": 2}


def read_after_a_save(read, folder):
    waiting = [{"step": 2}]

    def late(*target):
        if waiting:
            save_checkpoint(folder, {}, waiting.pop())
        return read(*target)

    return late


def parts(folder):
    (sub_folder,) = (path for path in folder.iterdir() if path.is_dir())
    return folder / "last.json", sub_folder / "meta.json", sub_folder / "arrays.safetensors"


def sign(folder):
    """Make the checksum in the pointer that of meta.json, as someone would who made both."""
    pointer, meta, _ = parts(folder)
    content = {**json.loads(pointer.read_text()), "meta": checkpoint._size_and_sha256(meta)}
    pointer.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("part", "change", "named"),
    [
        (0, lambda content: b"{", "last.json' must be JSON"),
        (0, lambda content: b"[]", "last.json' must be a tinygrad_lm checkpoint"),
        (0, lambda content: content.replace(b"last.", b"../x."), "must name a sub-folder"),
        (0, lambda content: content.replace(b'sha256": "', b'sha256": "0'), "meta.json' must have"),
        (0, lambda content: content.replace(b'"meta"', b'"mete"'), "meta.json' must have {}"),
        (0, lambda content: b"[" * 100_000, "last.json' must be JSON, got: brackets"),
        (0, lambda content: content.replace(b"{", b'{"folder": 1,', 1), "name 'folder' twice"),
        (1, lambda content: content[:-9], "meta.json' must be JSON"),
        (1, lambda content: b"[" * 100_000, "meta.json' must be JSON, got: brackets"),
        (1, lambda content: content.replace(b'meta": {}', b'meta": null'), "must hold a dict"),
        (1, lambda content: content.replace(b'meta": {}', b'mete": {}'), "must hold a dict"),
        (1, lambda content: b'{"model_type": "gpt2"}', "must be a tinygrad_lm checkpoint"),
        (1, lambda content: content.replace(b'version": 2', b'version": 99'), "format 2, got 99"),
        (2, lambda content: content[:-1], "must have {'size': .*got {'size': .*cut short"),
        (2, lambda content: content[:-1] + b"\xff", "must have {'size': .*sha256"),
        (2, lambda content: b"", "got {'size': 0"),
    ],
)
def test_damage_is_named(part, change, named, tmp_path):
    save_checkpoint(tmp_path, ARRAYS, {})
    path = parts(tmp_path)[part]
    path.write_bytes(change(path.read_bytes()))
    if part == 1:
        with pytest.raises(ValueError, match="meta.json' must have {'size'.*changed"):
            load_checkpoint(tmp_path)
        sign(tmp_path)
    with pytest.raises(ValueError, match=named):
        load_checkpoint(tmp_path)


def test_a_damaged_checkpoint_names_one_that_is_whole(tmp_path):
    for name in ("best", "last"):
        save_checkpoint(tmp_path, ARRAYS, {"step": 1}, name)
    for path in tmp_path.glob("last.*/meta.json"):
        path.write_text(path.read_text().replace('"step": 1', '"step": 2'))
    with pytest.raises(ValueError, match=r"meta.json' must have .*'best' beside it is whole"):
        load_checkpoint(tmp_path)
    (tmp_path / "best.json").write_text("{")
    with pytest.raises(ValueError, match="copy it again.$"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("part", [1, 2])
def test_missing_part_is_named(part, tmp_path):
    save_checkpoint(tmp_path, ARRAYS, {})
    path = parts(tmp_path)[part]
    for damage in (path.unlink, path.mkdir):
        damage()
        with pytest.raises(ValueError, match=f"must be complete, got: .*{path.name}"):
            load_checkpoint(tmp_path)


def test_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="'last', got no such folder"):
        load_checkpoint(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="'last', got only none at all"):
        load_checkpoint(tmp_path)
    save_checkpoint(tmp_path, {}, {})
    with pytest.raises(FileNotFoundError, match="'best', got only last"):
        load_checkpoint(tmp_path, "best")


def entry(dtype="F32", shape=(1,), end=4):
    return '"a":' + json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [0, end]})


def write_safetensors(path, *entries, size):
    header = "{" + ",".join(entries) + "}"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    os.truncate(path, 8 + len(header) + size)


@pytest.mark.parametrize(
    ("entries", "size", "named"),
    [
        ([entry(), entry()], 4, "the name 'a' twice"),
        ([entry("F8_E4M3", end=1)], 1, "'a' of the dtype F8_E4M3, not one of bool"),
        ([entry("F4", [2], 1)], 1, "'a' of the dtype F4, not one of bool"),
        ([entry(shape=[0] * 70, end=0)], 0, "maximum supported dimension"),
        (['"a":' + "[" * 100_000], 0, "recursion limit"),
    ],
)
def test_safetensors_that_numpy_cannot_hold(entries, size, named, tmp_path):
    write_safetensors(tmp_path / "w", *entries, size=size)
    with pytest.raises(ValueError, match=rf"load_safetensors\] .*w' must be a whole .*{named}"):
        load_safetensors(tmp_path / "w")


def test_safetensors_larger_than_memory(tmp_path, monkeypatch):
    """A sparse file of a terabyte, at which the library's own reader panics."""
    write_safetensors(tmp_path / "w", entry(shape=[2**38], end=2**40), size=2**40)
    with monkeypatch.context() as patch:  # whether memory has that much is the system's affair
        patch.setattr(files.np, "empty", no_memory)
        with pytest.raises(MemoryError, match=r"w' must fit into memory, got 1099511\d+ bytes"):
            load_safetensors(tmp_path / "w")


def no_memory(*shape):
    raise MemoryError


@pytest.mark.parametrize("content", [b"", b"PK\3\4 a pickle in a zip", b"\0" * 100])
def test_foreign_safetensors(content, tmp_path):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        load_safetensors(tmp_path / "w")
    with pytest.raises(FileNotFoundError, match="must exist at"):
        load_safetensors(tmp_path / "x")


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for attempt in (check_writable, lambda folder: save_checkpoint(folder, {}, {})):
        with pytest.raises(OSError, match="must be writable, got"):
            attempt(tmp_path / "file" / "run")
    check_writable(tmp_path / "new" / "run")
    assert list((tmp_path / "new" / "run").iterdir()) == []


def test_replacing_keeps_the_former_file_when_the_block_fails(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("ne")
        1 / 0  # noqa: B018
    assert path.read_text() == "old" and names(tmp_path) == ["a"]
