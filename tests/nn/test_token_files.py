"""Token files: what is written is what is mapped, and nothing else passes for a token file."""

import json
import os

import numpy as np
import pytest

from tinygrad_lm.data import open_tokens, token_files, write_tokens
from tinygrad_lm.data.token_files import HEADER_BYTES, read_header


@pytest.mark.parametrize(
    ("vocab_size", "dtype"), [(2, "<u2"), (65_536, "<u2"), (65_537, "<u4"), (2**32, "<u4")]
)
def test_the_highest_id_survives(vocab_size, dtype, tmp_path):
    ids = np.array([0, 1, vocab_size - 1], np.int64)
    assert write_tokens(tmp_path / "t.bin", ids, vocab_size) == 3
    tokens = open_tokens(tmp_path / "t.bin")
    assert tokens.dtype == np.dtype(dtype) and tokens.tolist() == ids.tolist()
    assert read_header(tmp_path / "t.bin")["vocab_size"] == vocab_size
    assert os.path.getsize(tmp_path / "t.bin") == HEADER_BYTES + 3 * tokens.itemsize


def test_array_and_pieces_make_the_same_file(tmp_path):
    ids = np.random.default_rng(0).integers(0, 50_257, 10_000)
    pieces = (ids[:10], [], ids[10:9_000:1].tolist(), ids[9_000:].astype(np.uint16).reshape(2, -1))
    write_tokens(tmp_path / "a.bin", ids, 50_257)
    assert write_tokens(tmp_path / "b.bin", (piece for piece in pieces), 50_257) == 10_000
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    assert np.array_equal(open_tokens(tmp_path / "b.bin"), ids)


def test_strided_input(tmp_path):
    ids = np.arange(12).reshape(3, 4).T[:, ::2]
    write_tokens(tmp_path / "t.bin", ids, 12)
    assert open_tokens(tmp_path / "t.bin").tolist() == ids.ravel().tolist()


def test_mapped_and_read_only(tmp_path):
    write_tokens(tmp_path / "t.bin", np.arange(9), 9)
    tokens = open_tokens(tmp_path / "t.bin")
    assert isinstance(tokens, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 1


@pytest.mark.parametrize(
    ("tokens", "error", "named"),
    [
        ([np.arange(5), np.array([3, 7, 8])], ValueError, r"0\.\.6, got 7 at token 6"),
        (np.array([0, -1]), ValueError, "got -1 at token 1"),
        (np.array([], np.int64), ValueError, "got none"),
        (iter([]), ValueError, "got none"),
        (np.array([0.5]), TypeError, "got float64"),
        (np.array([True]), TypeError, "got bool"),
        ([1, 2, 3], TypeError, "got single numbers"),
    ],
)
def test_wrong_tokens_leave_the_former_file(tokens, error, named, tmp_path):
    write_tokens(tmp_path / "t.bin", np.arange(3), 7)
    with pytest.raises(error, match=named):
        write_tokens(tmp_path / "t.bin", tokens, 7)
    assert open_tokens(tmp_path / "t.bin").tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["t.bin"]


@pytest.mark.parametrize("vocab_size", [0, -3, 2**32 + 1])
def test_impossible_vocabulary(vocab_size, tmp_path):
    with pytest.raises(ValueError, match="vocab_size must be"):
        write_tokens(tmp_path / "t.bin", np.arange(3), vocab_size)


@pytest.mark.parametrize("change", [-2, -1, 1])
def test_truncated_or_extended_file(change, tmp_path):
    path = tmp_path / "t.bin"
    write_tokens(path, np.arange(100), 100)
    whole = path.read_bytes()
    path.write_bytes(whole[:change] if change < 0 else whole + b"x")
    with pytest.raises(ValueError, match=f"must have 456 bytes, got {456 + change}"):
        open_tokens(path)


@pytest.mark.parametrize("content", [b"", b"\1\0\2\0" * 200, b"{}" + b" " * 300, b"[1]"])
def test_foreign_file(content, tmp_path):
    (tmp_path / "t.bin").write_bytes(content)
    with pytest.raises(ValueError, match="must begin with a tinygrad_lm tokens header"):
        open_tokens(tmp_path / "t.bin")


def test_file_of_a_later_format(tmp_path):
    header = {"format": "tinygrad_lm tokens", "format_version": 3}
    (tmp_path / "t.bin").write_bytes(json.dumps(header).encode().ljust(HEADER_BYTES))
    with pytest.raises(ValueError, match="must be of format 2, got 3"):
        open_tokens(tmp_path / "t.bin")


OLD = {"format": "tinygrad_lm tokens", "format_version": 1, "dtype": "uint16"}
OLD |= {"count": 3, "vocab_size": 50}


def write_old(path, ids, **changes):
    """What version 0.1.0 wrote, and what someone may write who makes the header by hand."""
    header = {name: value for name, value in {**OLD, **changes}.items() if value is not None}
    path.write_bytes(
        json.dumps(header).encode().ljust(255) + b"\n" + np.array(ids, "<u2").tobytes()
    )
    return path


def test_a_file_of_the_first_version_is_read(tmp_path):
    assert open_tokens(write_old(tmp_path / "t.bin", [0, 49, 7])).tolist() == [0, 49, 7]


@pytest.mark.parametrize(
    "changes",
    [
        {"count": None}, {"count": "3"}, {"count": 3.0}, {"count": True}, {"count": -3},
        {"dtype": None}, {"dtype": "float16"}, {"dtype": "int16"}, {"dtype": []}, {"dtype": "no"},
        {"vocab_size": None}, {"vocab_size": {}}, {"vocab_size": 0}, {"vocab_size": 2**40},
        {"vocab_size": 2**16 + 1}, {"format_version": 2}, {"format_version": 2, "header_crc32": 5},
    ],
    ids=str,
)  # fmt: skip
def test_a_header_that_no_writer_makes(changes, tmp_path):
    with pytest.raises(ValueError, match="t.bin' must begin with the header of its ids, got {"):
        open_tokens(write_old(tmp_path / "t.bin", [0, 1, 2], **changes))


@pytest.mark.parametrize("at", [0, 2, 299_999])
def test_an_id_that_the_vocabulary_lacks_is_named_with_its_place(at, tmp_path, monkeypatch):
    monkeypatch.setattr(token_files, "CHUNK_BYTES", 1000)
    ids = np.full(300_000, 49)
    ids[at] = 150
    path = write_old(tmp_path / "t.bin", ids, count=300_000)
    with pytest.raises(ValueError, match=rf"t.bin' must be in 0..49, got 150 at token {at};"):
        open_tokens(path)


def test_a_changed_bit_in_every_byte_is_noticed(tmp_path):
    path = tmp_path / "t.bin"
    write_tokens(path, np.arange(40), 65_536)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ValueError, match="t.bin' must"):
            open_tokens(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="must exist at"):
        open_tokens(tmp_path / "t.bin")
