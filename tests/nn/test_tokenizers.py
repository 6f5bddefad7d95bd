"""The character tokenizer: text to ids and back, exact errors, a file that is checked."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lm.text.tokenizers import CharTokenizer, load_tokenizer

ANY_TEXT = st.text(st.characters(), min_size=1)  # half surrogates and astral characters too


@given(ANY_TEXT)
def test_decode_undoes_encode(text):
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.vocab_size == len(set(text))
    ids = tokenizer.encode_array(text)
    assert ids.dtype == np.int64 and ids.tolist() == tokenizer.encode(text)


@given(ANY_TEXT)
def test_json_text_round_trip(text):
    tokenizer = CharTokenizer.from_text(text)
    again = load_tokenizer(json.loads(json.dumps(tokenizer.to_json())))
    assert again == tokenizer and hash(again) == hash(tokenizer)


def test_ids_follow_the_sorted_characters_of_the_lectures():
    text = "First Citizen:\n"
    stoi = {character: i for i, character in enumerate(sorted(set(text)))}
    assert CharTokenizer.from_text(text).encode(text) == [stoi[c] for c in text]


def test_different_characters_are_different_tokenizers():
    assert CharTokenizer("ab") != CharTokenizer("ba")
    assert CharTokenizer("ab") != "ab"


def test_empty_text_has_no_ids_and_no_vocabulary():
    tokenizer = CharTokenizer("ab")
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""
    with pytest.raises(ValueError, match="at least one"):
        CharTokenizer.from_text("")


def test_repeated_character_is_refused():
    with pytest.raises(ValueError, match="each once, got 'aba'"):
        CharTokenizer("aba")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ab€", r"'€' \(U\+20AC\) at position 2"),
        ("bza", r"'z' \(U\+007A\) at position 1"),
        ("\0", r"'\\x00' \(U\+0000\) at position 0"),
        ("a😀", r"'😀' \(U\+1F600\) at position 1"),
        ("ac", r"'c' \(U\+0063\) at position 1"),
    ],
)
def test_unknown_character_is_named_with_its_place(text, named):
    with pytest.raises(ValueError, match=named):
        CharTokenizer("ab").encode(text)


@pytest.mark.parametrize(("ids", "named"), [([0, 2], "got 2 at position 1"), ([-1], "got -1")])
def test_unknown_id_is_an_error_and_never_wraps(ids, named):
    with pytest.raises(ValueError, match=named):
        CharTokenizer("ab").decode(ids)


@pytest.mark.parametrize("ids", [[0.0, 1.0], [[0, 1]], 1, [True]])
def test_decode_wants_a_flat_sequence_of_integers(ids):
    with pytest.raises(TypeError, match="flat sequence of integers"):
        CharTokenizer("ab").decode(ids)


@pytest.mark.parametrize("load", [CharTokenizer.load, load_tokenizer])
def test_saved_and_loaded(load, tmp_path):
    tokenizer = CharTokenizer.from_text('\n "\\é\ud800😀')
    tokenizer.save(tmp_path / "tokenizer.json")
    assert load(tmp_path / "tokenizer.json") == tokenizer
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


GOOD = CharTokenizer("ab").to_json()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "must be JSON"),
        (json.dumps(GOOD)[:-5].encode(), "must be JSON"),
        (b"\xff\xfe", "must be JSON"),
        (b"[1]", "must be a tinygrad_lm tokenizer"),
        (b'{"characters": "ab"}', "must be a tinygrad_lm tokenizer"),
        (json.dumps({**GOOD, "format_version": 3}).encode(), "got 3 and 'char'"),
        (json.dumps({**GOOD, "kind": "morse"}).encode(), "got 2 and 'morse'"),
        (json.dumps({**GOOD, "kind": {}}).encode(), "got 2 and {}"),
        (json.dumps({**GOOD, "characters": 5}).encode(), "characters, a text"),
        (json.dumps({**GOOD, "characters": "ac"}).encode(), "of its checksum, got 'ac'"),
        (json.dumps({**GOOD, "sha256": None}).encode(), "of its checksum, got 'ab'"),
        (json.dumps({**GOOD, "format_version": 1, "characters": "aa"}).encode(), "each once"),
        (b"[" * 100_000, "must be JSON"),
        (b'{"kind": "char",' + json.dumps(GOOD).encode()[1:], "the name 'kind' twice"),
    ],
)
def test_damaged_or_foreign_file_is_refused(content, named, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    for load in (CharTokenizer.load, load_tokenizer):
        with pytest.raises(ValueError, match=named) as refused:
            load(path)
        assert "tokenizer.json" in str(refused.value) or named == "each once"


def test_a_tokenizer_of_the_first_version_is_read():
    old = {name: value for name, value in GOOD.items() if name != "sha256"}
    assert load_tokenizer({**old, "format_version": 1}) == CharTokenizer("ab")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="must exist at .*nowhere.json"):
        load_tokenizer(tmp_path / "nowhere.json")
