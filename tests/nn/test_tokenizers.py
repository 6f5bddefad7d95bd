"""Tokenizers of characters, bytes and byte-level BPE: text to ids and back, in one go and one id at
a time; special tokens, exact errors, files that are checked."""

import json
import sys
from itertools import product

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lm.text.tokenizers import (
    KINDS,
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    SentencePieceTokenizer,
    StreamDecoder,
    TiktokenTokenizer,
    load_tokenizer,
)

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


HALVES = ["\ud83d\ude00", "a\udbff\udc00b", "\ude00\ud83d", "\ud800\ud801\udc00\U00010000"]


@pytest.mark.parametrize("characters", HALVES)
def test_half_surrogates_stay_apart_in_a_file(characters, tmp_path):
    for tokenizer in (CharTokenizer(characters), CharTokenizer.from_text(characters)):
        tokenizer.save(tmp_path / "it.json")
        again = load_tokenizer(tmp_path / "it.json")
        assert again == tokenizer and again.encode(characters) == tokenizer.encode(characters)
        assert CharTokenizer.load(tmp_path / "it.json") == tokenizer
        assert load_tokenizer(tokenizer.to_json()) == tokenizer


def test_characters_are_one_text_in_a_file_where_they_can_be():
    """As in files of before."""
    for text in ("ab", "\ud800", "\ude00\ud83d", "😀"):
        assert CharTokenizer(text).to_json()["characters"] == text


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
        (json.dumps({**GOOD, "characters": [97, 99]}).encode(), "of its checksum, got 'ac'"),
        (json.dumps({**GOOD, "characters": [97, "b"]}).encode(), "or their code points"),
        (json.dumps({**GOOD, "characters": [97, -1]}).encode(), "or their code points"),
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


# ---------------------------------------------------------------- bytes and BPE

END = "<|endoftext|>"
BYTES = ByteTokenizer([END, "<|end"])
BPE = BPETokenizer.train("the quick brown fox jumps over the lazy dog é中\n" * 8, 300)
UTF8 = [BYTES, BPE]


def as_utf8(text):
    """What UTF-8 can hold of a text: halves of a pair joined, other half surrogates replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@pytest.mark.parametrize("tokenizer", UTF8)
@given(st.text(st.characters()))
def test_any_text_round_trips_as_utf8(tokenizer, text):
    ids = tokenizer.encode_array(text)
    assert ids.dtype == np.int64 and ids.tolist() == tokenizer.encode(text)
    assert tokenizer.decode(ids) == as_utf8(text)
    assert tokenizer.decode_bytes(ids) == as_utf8(text).encode()


def test_bytes_are_the_bytes_and_special_tokens_follow():
    assert BYTES.encode("é\ud83d\ude00\ud800") == [*"é😀\ufffd".encode()]
    assert BYTES.vocab_size == 258 and BYTES.special == {END: 256, "<|end": 257}
    assert ByteTokenizer().special == {} == CharTokenizer("ab").special


@pytest.mark.parametrize("tokenizer", UTF8)
def test_special_tokens_are_never_read_from_a_text_unless_allowed(tokenizer):
    text = f"a{END} \n{END}{END}"
    plain, end = tokenizer.encode(text), tokenizer.special[END]
    assert end not in plain and tokenizer.decode(plain) == text
    ids = tokenizer.encode(text, [END])
    assert ids == [*tokenizer.encode("a"), end, *tokenizer.encode(" \n"), end, end]
    assert tokenizer.decode(ids) == text and tokenizer.decode_bytes([end]) == END.encode()
    assert tokenizer.encode(END, {END}) == [end] and tokenizer.encode("", {END}) == []


def test_of_two_special_tokens_at_one_place_the_longer_is_meant():
    assert BYTES.encode(f"<|end{END}", BYTES.special) == [257, 256]
    assert BYTES.encode(END, ["<|end"]) == [257, *b"oftext|>"]


@pytest.mark.parametrize("tokenizer", [*UTF8, CharTokenizer("ab")])
def test_an_unknown_special_token_is_an_error(tokenizer):
    for asked in (["<|x|>"], {"a"}, END[:-1]):
        with pytest.raises(ValueError, match=r"^\[encode\] allowed_special must be among"):
            tokenizer.encode("a", asked)


@pytest.mark.parametrize("special", [["a", "a"], [""], [5], [None]])
def test_special_tokens_are_texts_each_once(special):
    with pytest.raises(ValueError, match=r"^\[ByteTokenizer\] special tokens must be texts"):
        ByteTokenizer(special)


@pytest.mark.parametrize("tokenizer", [*UTF8, CharTokenizer("ab")])
def test_ids_that_are_not_there_and_texts_that_are_none(tokenizer):
    with pytest.raises(ValueError, match=f"got {tokenizer.vocab_size} at position 1"):
        tokenizer.decode([0, tokenizer.vocab_size])  # as a model whose vocabulary is padded has
    for ids in ([0.0], [[0]], 0, [True]):
        with pytest.raises(TypeError, match="flat sequence of integers"):
            tokenizer.decode_bytes(ids)
    with pytest.raises(TypeError, match="must be a str, got bytes"):
        tokenizer.encode(b"ab")


# ---------------------------------------------------------------- one id at a time


def streamed(tokenizer, ids):
    stream = StreamDecoder(tokenizer)
    return "".join(map(stream.push, ids)) + stream.flush()


EDGES = b"A\x80\x8f\x90\x9f\xa0\xbf\xc0\xc2\xe0\xe1\xed\xf0\xf4\xf5"  # of what UTF-8 allows where


def test_a_stream_of_any_bytes_gives_what_decode_gives():
    for ids in product(EDGES, repeat=4):
        assert streamed(BYTES, ids) == bytes(ids).decode("utf-8", "replace"), ids


@given(st.lists(st.integers(0, BPE.vocab_size - 1)))
def test_a_stream_of_any_tokens_gives_what_decode_gives(ids):
    assert streamed(BPE, ids) == BPE.decode(ids)


@given(ANY_TEXT)
def test_a_stream_of_characters_gives_half_surrogates_too(text):
    tokenizer = CharTokenizer.from_text(text)
    stream = StreamDecoder(tokenizer)
    assert [stream.push(i) for i in tokenizer.encode(text)] == [*text] and stream.flush() == ""


def test_half_surrogates_are_characters_and_stay_apart():
    tokenizer = CharTokenizer("\ud83d\ude00\ud800a")
    text = "\ud83d\ude00a\ud800"
    ids = tokenizer.encode(text)
    assert len(ids) == 4 and tokenizer.decode(ids) == text == streamed(tokenizer, ids)
    assert tokenizer.decode_bytes(ids) == text.encode("utf-8", "surrogatepass")


def test_a_stream_looks_at_few_ids_at_a_time():
    class Watched(ByteTokenizer):
        def decode_bytes(self, ids):
            assert len(ids) <= 2
            return super().decode_bytes(ids)

    assert streamed(Watched(), b"a long text") == "a long text"


def test_a_stream_holds_back_half_a_character_and_no_more():
    stream = StreamDecoder(BYTES)
    pushed = [stream.push(i) for i in "é😀".encode() + b"\xf0\x9fa\xe4\xb8"]
    assert pushed == ["", "é", "", "", "", "😀", "", "", "\ufffda", "", ""]
    assert stream.flush() == "\ufffd" and stream.flush() == ""
    assert stream.push(97) == "a"  # another text
    with pytest.raises(ValueError, match="got 999 at"):
        stream.push(999)
    assert stream.push(97) == "a"


class Spaced(ByteTokenizer):
    """As SentencePiece: no space at the start of a text, and a control token without a text."""

    def decode_bytes(self, ids):
        return bytes(i for i in ids if i < 256).removeprefix(b" ")


def test_a_stream_after_other_ids_goes_on_with_their_text():
    spaced, text = Spaced([END]), [*b" a b"]
    assert streamed(spaced, text) == "a b"
    for at in range(2, 5):
        stream = StreamDecoder(spaced, text[:at])
        assert spaced.decode(text[:at]) + "".join(map(stream.push, text[at:])) == "a b"
    assert StreamDecoder(spaced, [97, 256]).push(32) == ""  # another text
    assert StreamDecoder(spaced, [97, 256, 98]).push(32) == " "
    assert StreamDecoder(BYTES, [0xC3]).push(0xA9) == "é"
    with pytest.raises(ValueError, match="got 999 at position 1"):
        StreamDecoder(BYTES, [97, 999])


# ---------------------------------------------------------------- byte-level BPE

# The seen form of some bytes, from GPT-2's vocabulary: a space, a newline, 0xA0, 0xAD, é in UTF-8.
SEEN = {" ": "Ġ", "\n": "Ċ", "é": "Ã©"}
A_BYTE_EACH = {c: i for i, c in enumerate(tokenizers.pre_tokenizers.ByteLevel.alphabet())}


def written(folder, vocabulary, merges, start="#version: 0.2\n"):
    """A folder as GPT-2 comes in."""
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    (folder / "merges.txt").write_text(start + "\n".join(merges) + "\n", "utf-8")
    return folder


def test_bytes_are_seen_as_in_gpt2(tmp_path):
    assert len(A_BYTE_EACH) == 256
    tokenizer = load_tokenizer(written(tmp_path, A_BYTE_EACH, []))
    for text, seen in SEEN.items():
        assert tokenizer.encode(text) == [A_BYTE_EACH[c] for c in seen]
    assert sorted(tokenizer.decode_bytes([i]) for i in range(256)) == [
        bytes([b]) for b in range(256)
    ]


def test_merges_by_hand_and_what_no_merge_gives_is_special(tmp_path):
    vocabulary = {
        **A_BYTE_EACH,
        "lo": 256,
        "low": 257,
        "er": 258,
        "Ġlow": 259,
        END: 260,
        "<é x>": 262,
    }
    folder = written(tmp_path, vocabulary, ["l o", "lo w", "e r", "Ġ low"])
    tokenizer = load_tokenizer(folder)
    assert tokenizer.encode("low lower") == [257, 259, 258]
    assert tokenizer.special == {END: 260, "<é x>": 262} and tokenizer.vocab_size == 263
    assert tokenizer.decode([256, 262]) == "lo<é x>"
    with pytest.raises(ValueError, match="got 261 at position 1"):
        tokenizer.decode([256, 261])
    crlf = written(tmp_path / "crlf", vocabulary, ["l o", "lo w", "e r", "Ġ low"], "")
    text = (crlf / "merges.txt").read_bytes()
    (crlf / "merges.txt").write_bytes(text.replace(b"\n", b"\r\n"))
    assert load_tokenizer(crlf) == tokenizer


def test_training_merges_the_most_frequent_pair_first_and_the_same_each_time():
    texts = [*["ab"] * 9, "ab cd", *["cd"] * 6, *["efg"] * 5, "ef"]
    tokenizer = BPETokenizer.train("\n".join(texts), 262, ["<s>", "</s>"])
    assert tokenizer.vocab_size == 262 and tokenizer.special == {"<s>": 0, "</s>": 1}
    learned = [tokenizer.decode_bytes([i]) for i in range(258, 262)]  # 10, 7, 6 and 5 times
    assert learned == [b"ab", b"cd", b"ef", b"efg"]
    assert BPETokenizer.train(iter(texts), 262) == BPETokenizer.train(texts, 262)
    assert BPETokenizer.train("", 300).vocab_size == 257  # at most 300
    with pytest.raises(ValueError, match="vocab_size must be >= 257"):
        BPETokenizer.train("ab", 256)


def test_what_is_saved_is_a_tokenizer_json_of_the_library(tmp_path):
    BPE.save(tmp_path / "tokenizer.json")
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert library.encode("the fox é\n").ids == BPE.encode("the fox é\n")
    assert library.encode(f"a{END}").ids == BPE.encode(f"a{END}", [END])
    for load in (BPETokenizer.load, load_tokenizer):
        assert load(tmp_path / "tokenizer.json") == BPE
    assert BPETokenizer.from_folder(tmp_path) == BPE == load_tokenizer(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


def changed(**parts):
    """BPE's tokenizer.json with other parts; those of the model by their own names."""
    content = json.loads(BPE.tokenizer)
    for name, part in parts.items():
        (content["model"] if name in content["model"] else content)[name] = part
    return json.dumps(content)


VOCABULARY = json.loads(BPE.tokenizer)["model"]["vocab"]
ADDED = json.loads(BPE.tokenizer)["added_tokens"][0]
CUT = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
PAD = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_id": 0, "pad_type_id": 0}


def test_options_that_would_cut_pad_add_or_roll_dice_are_off():
    text, between = (
        "the quick brown fox",
        tokenizers.processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, 0)]),
    )
    odd = changed(
        post_processor=json.loads(between.__getstate__()),
        truncation=CUT,
        padding={**PAD, "pad_to_multiple_of": None, "pad_token": END},
    )
    for content in (odd, changed(dropout=0.9)):
        assert BPETokenizer(content).encode(text) == BPE.encode(text)


def test_an_added_token_that_is_not_special_is_ordinary():
    extra = {**ADDED, "id": BPE.vocab_size, "content": "Ġé\n", "special": False}
    tokenizer = BPETokenizer(changed(added_tokens=[ADDED, extra]))
    assert tokenizer.special == BPE.special
    assert tokenizer.encode("aĠé\n") == [*BPE.encode("a"), BPE.vocab_size]
    assert tokenizer.decode([BPE.vocab_size]) == "Ġé\n"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (BPE.tokenizer[:-9], "must be JSON"),
        (changed(vocab={**VOCABULARY, "zz": 7}), "one id for two tokens"),
        (changed(vocab={**VOCABULARY, "zz": -7}), "expected u32"),
        (changed(vocab={**VOCABULARY, "zz": "7"}), "expected u32"),
        (changed(vocab={**VOCABULARY, "z z": 999}), "' ' stands for no byte"),
        (changed(vocab={k: i for k, i in VOCABULARY.items() if k != "Ā"}), "of the 256 bytes"),
        (changed(vocab=[]), "invalid type"),
        (changed(merges=[["t", "zz"]]), "out of vocabulary"),
        (changed(merges=[5]), "got: "),
        (changed(type="WordPiece"), "the model WordPiece with the decoder ByteLevel after"),
        (changed(end_of_word_suffix="</w>"), "tokens with a prefix or a suffix"),
        (changed(decoder={"type": "Metaspace"}), "the decoder Metaspace"),
        (changed(pre_tokenizer=None), r"after \[None\]"),
        (changed(added_tokens=[{**ADDED, "id": 5}]), "two ids for one"),
        (changed(added_tokens=[ADDED, {**ADDED, "id": 999, "content": "<y>"}]), "two ids for one"),
        (changed(added_tokens=[{**ADDED, "content": "<s>"}]), "one id for two tokens, or"),
        (changed(added_tokens=5), "expected a sequence"),
        ('{"model": 5}', "got: "),
        ('{"model": {}}', "got: "),
    ],
)
def test_a_tokenizer_json_that_is_damaged_or_of_another_kind(content, named, tmp_path):
    (tmp_path / "tokenizer.json").write_text(content)
    for source in (tmp_path / "tokenizer.json", tmp_path):
        with pytest.raises(ValueError, match=named) as refused:
            load_tokenizer(source)
        assert str(refused.value).startswith("[load_tokenizer] '")
        assert "tokenizer.json" in str(refused.value)
    if "JSON" not in named:
        with pytest.raises(ValueError, match=named):
            BPETokenizer(content)


@pytest.mark.parametrize(
    ("vocabulary", "merges", "named"),
    [
        (A_BYTE_EACH, None, "must hold merges.txt beside vocab.json"),
        (A_BYTE_EACH, ["a b"], "out of vocabulary"),
        (A_BYTE_EACH, ["a b c"], "a merge of 3 tokens"),
        (A_BYTE_EACH, ["ab"], "a merge of 1 tokens"),
        ({**A_BYTE_EACH, END: 9}, [], "one id for two tokens"),
        ({**A_BYTE_EACH, END: True}, [], "expected u32"),
        ({**A_BYTE_EACH, END: 2**70}, [], "expected u32"),
        ({"a": 0}, [], "no token for 255 of the 256 bytes"),
        ([1], [], "has no attribute"),
    ],
)
def test_a_vocabulary_and_merges_that_do_not_fit(vocabulary, merges, named, tmp_path):
    folder = written(tmp_path, vocabulary, merges or [])
    if merges is None:
        (folder / "merges.txt").unlink()
    with pytest.raises(ValueError, match=named) as refused:
        load_tokenizer(folder)
    assert str(refused.value).startswith(f"[load_tokenizer] {str(tmp_path)!r}")


def test_a_name_twice_in_the_vocabulary(tmp_path):
    written(tmp_path, {}, [])
    (tmp_path / "vocab.json").write_text('{"a": 0, "a": 1}')
    with pytest.raises(ValueError, match="the name 'a' twice"):
        load_tokenizer(tmp_path)


# ---------------------------------------------------------------- any kind


@pytest.mark.parametrize("tokenizer", [*UTF8, CharTokenizer("ab")])
def test_its_json_is_all_of_it_and_damage_is_found(tokenizer, tmp_path):
    content = json.loads(json.dumps(tokenizer.to_json()))
    again = load_tokenizer(content)
    assert again == tokenizer and hash(again) == hash(tokenizer) and type(again) is type(tokenizer)
    assert KINDS[tokenizer.kind] is type(tokenizer) and repr(again) == repr(tokenizer)
    (name,) = tokenizer.fields
    for value in (None, 5, {}, [5], "x"):
        with pytest.raises(ValueError, match=r"^\[load_tokenizer\] it must"):
            load_tokenizer({**content, name: value})
    (tmp_path / "any.json").write_text(json.dumps(content))
    assert load_tokenizer(tmp_path / "any.json") == tokenizer
    for other in KINDS.values():
        if other is not type(tokenizer):
            with pytest.raises(ValueError, match=f"of a kind of {other.kind}, got 2 and"):
                other.from_json(content)


def test_tokenizers_that_differ():
    others = [ByteTokenizer(), BYTES, ByteTokenizer(["<|end", END]), BPE, CharTokenizer("ab")]
    others.append(BPETokenizer.train("abab", 300))
    assert [[a == b for b in others] for a in others] == np.eye(6, dtype=bool).tolist()


def test_a_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"tokenizer\.json, vocab\.json and merges\.txt, \*\.model"
    ):
        load_tokenizer(tmp_path)
    CharTokenizer("ab").save(tmp_path / "tokenizer.json")
    assert load_tokenizer(tmp_path) == CharTokenizer("ab")
    (tmp_path / "tokenizer.json").unlink()
    for name in ("a.model", "b.tiktoken"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="a.model.*b.tiktoken.*; name the file"):
        load_tokenizer(tmp_path)


MISSING = {
    "tokenizers": lambda: BPETokenizer(BPE.tokenizer),
    "tiktoken": lambda: TiktokenTokenizer("", "gpt2"),
    "sentencepiece": lambda: SentencePieceTokenizer(""),
}


@pytest.mark.parametrize("library", MISSING)
def test_a_library_that_is_not_there_is_named_with_its_command(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        ImportError, match=rf"needs {library}, .*; pip install 'tinygrad_lm\[\w+\]'"
    ):
        MISSING[library]()


def test_a_megabyte_of_one_character_takes_no_minutes():
    for text in ("a" * 10**6, " " * 10**6 + "x"):
        assert BPE.decode(BPE.encode(text)) == text
