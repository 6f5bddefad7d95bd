"""Ids and texts are those of tokenizers, tiktoken, transformers and sentencepiece on odd texts of
every kind, from one vocabulary written in each of their formats."""

import base64
import io
import json
import random
import re

import pytest

from tinygrad_lm.text.tokenizers import (
    BPETokenizer,
    SentencePieceTokenizer,
    StreamDecoder,
    TiktokenTokenizer,
    load_tokenizer,
)

tokenizers = pytest.importorskip("tokenizers")
tiktoken = pytest.importorskip("tiktoken")
sentencepiece = pytest.importorskip("sentencepiece")
transformers = pytest.importorskip("transformers")

END = "<|endoftext|>"
# The expression of GPT-2's release; ours is another one for the same cuts.
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ALPHABETS = [
    "ab c'sdtmrvel",
    "\r\n\t ",
    " \n\u00a0\u2003\u2028\u3000\u200b\u0085x",  # blanks, and one that is none
    "0123456789٣²½Ⅷ x",
    "👨\u200d👩\u200d👧👍🏽🏳\ufe0f\u200d🌈é\u0301\u0308n\u0303",
    "\ud800\udc00\ud83d\ude00\udfffa",
    "中文字かなカナ한글 ",
    "\0\x01\x7f\x1b\ufeff\uffff\U0010ffff",
    "'S'LL'Ve'İßŉǰſ",
    END,
]


def odd_text(rng):
    def part():
        kind = rng.random()
        if kind < 0.1:
            return END
        if kind < 0.2:
            return rng.choice(" \n\t\r") * rng.randrange(1, 200)
        if kind < 0.3:
            return "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(20)))
        return "".join(rng.choices(rng.choice(ALPHABETS), k=rng.randrange(30)))

    return "".join(part() for _ in range(rng.randrange(1, 8)))


def as_utf8(text):
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def streamed(tokenizer, ids):
    stream = StreamDecoder(tokenizer)
    return "".join(map(stream.push, ids)) + stream.flush()


TRAINED_ON = ["The quick brown fox's 123 jumps, they'll say: \n\n  it isn't  é 中文 👍🏽 <|end"] * 4
TRAINED_ON += [odd_text(random.Random(i)) for i in range(400)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """1000 tokens in GPT-2's layout (bytes, merges in order, the special token last), as vocab.json
    with merges.txt and as ranks."""
    folder = tmp_path_factory.mktemp("gpt2")
    trained = BPETokenizer.train(TRAINED_ON, 1000)
    model = json.loads(trained.tokenizer)["model"]
    vocabulary = {token: i - 1 for token, i in model["vocab"].items() if token != END}
    (folder / "vocab.json").write_text(json.dumps({**vocabulary, END: 999}))
    merges = "\n".join(map(" ".join, model["merges"]))
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", "utf-8")
    ranks = [(trained.decode_bytes([i + 1]), i) for i in vocabulary.values()]
    text = "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks)
    (folder / "ranks.tiktoken").write_text(text)
    return folder


@pytest.fixture(scope="module")
def ours(folder):
    """The vocabulary through `tokenizers` and through tiktoken."""
    ranks = TiktokenTokenizer.from_file(folder / "ranks.tiktoken", special={END: 999})
    return load_tokenizer(folder), ranks


@pytest.fixture(scope="module")
def theirs(folder, ours):
    """tiktoken's Encoding, and the tokenizer of transformers."""
    lines = (line.split() for line in (folder / "ranks.tiktoken").read_text().splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    encoding = tiktoken.Encoding(
        "ours", pat_str=GPT2, mergeable_ranks=ranks, special_tokens={END: 999}
    )
    return encoding, transformers.GPT2TokenizerFast.from_pretrained(folder)


def test_one_vocabulary_is_the_same_in_four_libraries_on_10000_texts(ours, theirs):
    (bpe, ranks), (encoding, fast), rng = ours, theirs, random.Random(0)
    assert bpe.vocab_size == ranks.vocab_size == 1000 and bpe.special == ranks.special == {END: 999}
    for _ in range(10_000):
        text = odd_text(rng)
        utf8 = as_utf8(text)
        ids = bpe.encode(text)
        assert ids == ranks.encode(text) == encoding.encode(text, disallowed_special=()), ascii(
            text
        )
        assert bpe.decode(ids) == ranks.decode(ids) == utf8
        ids = bpe.encode(text, [END])
        assert ids == ranks.encode(text, [END]), ascii(text)
        assert ids == encoding.encode(text, allowed_special="all") == fast(utf8)["input_ids"]
        assert bpe.decode(ids) == ranks.decode(ids) == utf8


def test_special_tokens_as_text_in_transformers_too(ours, theirs):
    rng = random.Random(1)
    for _ in range(500):
        text = as_utf8(odd_text(rng))
        assert ours[0].encode(text) == theirs[1](text, split_special_tokens=True)["input_ids"]


def test_any_ids_are_the_same_text_in_each_and_in_a_stream(ours, theirs):
    (bpe, ranks), (encoding, fast), rng = ours, theirs, random.Random(2)
    for _ in range(2000):
        ids = [rng.choice([rng.randrange(256), rng.randrange(1000)]) for _ in range(9)]
        text = encoding.decode(ids)
        assert bpe.decode(ids) == ranks.decode(ids) == fast.decode(ids) == text
        assert streamed(bpe, ids) == streamed(ranks, ids) == text
        assert bpe.decode_bytes(ids) == ranks.decode_bytes(ids) == encoding.decode_bytes(ids)


@pytest.mark.parametrize("unit", ["a", " ", "\n", "0", "!", "é", "😀", "'s", "\r\n"])
def test_a_megabyte_of_one_character(unit, ours, theirs):
    text = unit * (10**6 // len(unit.encode()))
    ids = ours[0].encode(text)
    assert ids == ours[1].encode(text) and ours[0].decode(ids) == text


def test_more_blanks_than_tiktoken_takes_is_an_error_and_no_panic(ours):
    text = " " * 10**6 + "x"
    assert ours[0].decode(ours[0].encode(text)) == text
    with pytest.raises(ValueError, match=r"^\[encode\] runs of blanks must be below a million"):
        ours[1].encode(text)


def test_what_we_save_transformers_and_tokenizers_load(ours, tmp_path):
    ours[0].save(tmp_path / "tokenizer.json")
    text = f"It's 1 {END}"
    ids = ours[0].encode(text, [END])
    for kind in (transformers.PreTrainedTokenizerFast, transformers.GPT2TokenizerFast):
        assert kind.from_pretrained(tmp_path)(text)["input_ids"] == ids
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert library.encode(text).ids == ids
    transformers.GPT2TokenizerFast.from_pretrained(tmp_path).save_pretrained(tmp_path / "theirs")
    again = load_tokenizer(tmp_path / "theirs")
    assert again.encode(text, [END]) == ids and again.special == ours[0].special


# ---------------------------------------------------------------- ranks


def test_ranks_are_all_in_their_json(ours, folder, tmp_path):
    ranks = ours[1]
    assert load_tokenizer(json.loads(json.dumps(ranks.to_json()))) == ranks
    ranks.save(tmp_path / "any.tiktoken")  # ours, whatever the name
    assert load_tokenizer(tmp_path / "any.tiktoken") == TiktokenTokenizer.load(
        tmp_path / "any.tiktoken"
    )
    plain = load_tokenizer(folder / "ranks.tiktoken")
    assert plain.special == {} and plain.vocab_size == 999 and plain != ranks
    text = "It's 12345!"
    assert plain.encode(text) == ranks.encode(text)


def test_another_pattern(folder, tmp_path):
    (tmp_path / "cl100k_base.tiktoken").write_bytes((folder / "ranks.tiktoken").read_bytes())
    named, text = load_tokenizer(tmp_path), "it's IT'S 12345678\r\n\r\n  x !!\n\n "
    written = TiktokenTokenizer.from_file(folder / "ranks.tiktoken", "cl100k_base")
    assert named == written != load_tokenizer(folder / "ranks.tiktoken")
    from tiktoken_ext import openai_public

    source = openai_public.cl100k_base.__code__.co_consts
    assert (
        named.pattern in source
        and openai_public.r50k_pat_str == load_tokenizer(folder / "ranks.tiktoken").pattern
    )
    assert named.decode(named.encode(text)) == text
    own = TiktokenTokenizer.from_file(folder / "ranks.tiktoken", r"[\s\S]", {"<s>": 5000})
    assert own.encode("It's") == own.encode("I") + own.encode("t") + own.encode("'") + own.encode(
        "s"
    )
    with pytest.raises(ValueError, match="got 4999 at position 1"):
        own.decode([0, 4999])


BYTE_RANKS = "".join(f"{base64.b64encode(bytes([b])).decode()} {b}\n" for b in range(256))


@pytest.mark.parametrize(
    ("ranks", "options", "named"),
    [
        ("", {}, "no token for 256 of the 256 bytes"),
        (BYTE_RANKS + "YWI= 256\nYWI= 257\n", {}, "a token or a rank twice"),
        (BYTE_RANKS + "YWI= 9\n", {}, "a token or a rank twice"),
        (BYTE_RANKS + "YWI= -9\n", {}, "a rank below 0"),
        (BYTE_RANKS + "YWI= 99999999999\n", {}, "out of range"),
        (BYTE_RANKS + "YWI= x\n", {}, "invalid literal"),
        (BYTE_RANKS + "YW!I= 256\n", {}, "base64"),
        (BYTE_RANKS + "YWI=\n", {}, "not enough values"),
        (BYTE_RANKS + "é= 256\n", {}, "must be a text"),
        (BYTE_RANKS, {"pattern": "(("}, "Parsing error"),
        (BYTE_RANKS, {"pattern": "[a-z]"}, "a pattern that leaves out parts"),
        (BYTE_RANKS, {"special": {"<s>": 5}}, "an id of their own"),
        (BYTE_RANKS, {"special": {"<s>": 300, "<t>": 300}}, "an id of their own"),
        (BYTE_RANKS, {"special": {"<s>": -1}}, "an id of their own"),
        (BYTE_RANKS, {"special": {"": 300}}, "must be texts"),
        (BYTE_RANKS, {"special": {"<s>": 2**40}}, "out of range"),
    ],
)
def test_ranks_that_are_damaged(ranks, options, named, tmp_path):
    (tmp_path / "x.tiktoken").write_text(ranks, "utf-8")
    with pytest.raises(ValueError, match=named) as refused:
        TiktokenTokenizer.from_file(tmp_path / "x.tiktoken", **options)
    assert str(refused.value).startswith("[load_tokenizer] '") and "x.tiktoken" in str(
        refused.value
    )


# ---------------------------------------------------------------- SentencePiece

BARE = {"add_dummy_prefix": False}
MODELS = {
    "bpe": {"model_type": "bpe", "byte_fallback": True},
    "unigram": {"model_type": "unigram"},
    "unigram of bytes": {"model_type": "unigram", "byte_fallback": True, "vocab_size": 400},
    "no space in front": {"model_type": "bpe", "byte_fallback": True, **BARE},
    "every space": {
        "model_type": "bpe",
        "byte_fallback": True,
        "remove_extra_whitespaces": False,
        "split_by_whitespace": False,
    },
    "as it is": {
        "model_type": "bpe",
        "byte_fallback": True,
        "remove_extra_whitespaces": False,
        "normalization_rule_name": "identity",
        "control_symbols": ["<|im|>"],
        "user_defined_symbols": ["<sep>"],
        **BARE,
    },
    "spaces behind": {"model_type": "bpe", "treat_whitespace_as_suffix": True},
}


@pytest.fixture(scope="module", params=MODELS)
def pieces(request, tmp_path_factory):
    """Our tokenizer and the library's, of a small model."""
    model, folder = io.BytesIO(), tmp_path_factory.mktemp("pieces")
    texts = ["the quick brown  fox's 123", "der Hund läuft", "日本語 テスト 👍"] * 30
    options = {"vocab_size": 340, "hard_vocab_limit": False, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, **{**options, **MODELS[request.param]}
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return load_tokenizer(folder), theirs, folder


def test_pieces_are_those_of_sentencepiece(pieces):
    ours, theirs, _ = pieces
    rng = random.Random(3)
    assert ours.vocab_size == theirs.vocab_size()
    for _ in range(1000):
        text = odd_text(rng)
        ids = ours.encode(text)
        assert ids == theirs.encode(as_utf8(text)), ascii(text)
        assert ours.decode(ids) == theirs.decode(ids)
        # A model says anything: spaces first, bytes alone, control tokens anywhere.
        first = rng.choices(
            [*ours.special.values(), theirs.piece_to_id("\u2581")], k=rng.randrange(4)
        )
        ids = [*first, *(rng.randrange(ours.vocab_size) for _ in range(rng.randrange(9)))]
        decoded = ours.decode(ids)
        assert streamed(ours, ids) == decoded, ids
        if "\ufffd" not in decoded + theirs.decode(ids):  # else it counts the bytes otherwise
            assert decoded == theirs.decode(ids), ids


def test_control_tokens_are_special(pieces):
    ours, theirs, _ = pieces
    assert {"<unk>": 0, "<s>": 1, "</s>": 2}.items() <= ours.special.items()
    assert ours.special.keys() - {"<unk>", "<s>", "</s>"} <= {"<|im|>"}
    assert not {1, 2} & {*ours.encode("<s>fox</s>")}
    fox = theirs.encode("fox")
    assert ours.encode("<s>fox</s>", ["<s>", "</s>"]) == [1, *fox, 2]
    assert ours.decode([1, *fox, 2]).strip() == "fox" and ours.decode_bytes([1]) == b""
    with pytest.raises(ValueError, match=f"got {ours.vocab_size} at position 0"):
        ours.decode([ours.vocab_size])


def test_after_a_flush_another_text_begins(pieces):
    ours, theirs, _ = pieces
    stream, ids = StreamDecoder(ours), theirs.encode("fox")
    texts = ["".join(map(stream.push, ids)) + stream.flush() for _ in range(2)]
    assert texts == [theirs.decode(ids)] * 2


def test_a_stream_after_a_prompt_is_the_rest_of_what_the_library_gives(pieces):
    ours, theirs, _ = pieces
    ids = theirs.encode("the quick brown  fox's 123 der Hund")
    for at in range(len(ids)):
        stream = StreamDecoder(ours, ids[:at])
        rest = "".join(map(stream.push, ids[at:])) + stream.flush()
        assert theirs.decode(ids[:at]) + rest == theirs.decode(ids)
    stream = StreamDecoder(ours, [*ids, 2])
    assert "".join(map(stream.push, ids)) == theirs.decode(ids)


def test_a_model_is_all_in_its_json(pieces, tmp_path):
    ours, _, folder = pieces
    again = load_tokenizer(json.loads(json.dumps(ours.to_json())))
    ours.save(tmp_path / "tokenizer.json")
    other = SentencePieceTokenizer.from_file(folder / "tokenizer.model")
    for one in (again, other, load_tokenizer(tmp_path), load_tokenizer(folder / "tokenizer.model")):
        assert one == ours and hash(one) == hash(ours) and one.encode("fox") == ours.encode("fox")
    damaged = {**ours.to_json(), "model": ours.model[:-8]}
    with pytest.raises(ValueError, match="must hold the model of its checksum"):
        load_tokenizer(damaged)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x0a\x05ab", b"\x00" * 99])
def test_a_model_that_is_damaged(content, tmp_path):
    (tmp_path / "x.model").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"^\[load_tokenizer\] '.*x.model' must be a SentencePiece"
    ):
        load_tokenizer(tmp_path)


def test_a_megabyte_for_sentencepiece(pieces):
    ours, theirs, _ = pieces
    for text in ("a" * 10**6, " " * 10**6 + "x"):
        ids = ours.encode(text)
        assert streamed(ours, ids[:1000]) == ours.decode(ids[:1000])
        assert ours.decode(ids) == theirs.decode(ids)
        assert re.sub(" |\u2047", "", ours.decode(ids)) in (re.sub(" ", "", text), "")
