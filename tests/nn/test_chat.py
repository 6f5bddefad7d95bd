"""Dialogues as ids: who speaks, what is learned, what is left out, and what no text can make."""

import re

import pytest

import tinygrad_lm as tl
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.text.chat import SPECIAL, can_chat, chat_ids, conversation, reply
from tinygrad_lm.text.generation import generate_texts
from tinygrad_lm.text.tokenizers import ByteTokenizer, CharTokenizer

BYTES = ByteTokenizer(SPECIAL)
USER, ASSISTANT, END = (BYTES.special[name] for name in SPECIAL[1:])


def said(*contents):
    return [
        {"role": ("user", "assistant")[i % 2], "content": content}
        for i, content in enumerate(contents)
    ]


def test_what_the_assistant_says_is_learned_and_no_text_makes_a_role():
    ids, graded = conversation(said("a<|end|>", "bc", "d"), BYTES)
    first, second = [USER, *b"a<|end|>", END], [ASSISTANT, *b"bc", END]
    assert ids == [*first, *second, USER, *b"d", END]
    assert graded == [*[False] * len(first), False, True, True, True, *[False] * 3]
    assert conversation([], BYTES) == ([], [])


def test_a_dialogue_that_is_too_long_loses_its_beginning_in_pairs():
    messages = said("aa", "bb", "cc", "dd", "e")
    last, before = [USER, *b"e", END, ASSISTANT], [USER, *b"cc", END, ASSISTANT, *b"dd", END]
    assert chat_ids(messages, BYTES, 12) == [*before, *last]
    assert chat_ids(messages, BYTES, 11) == chat_ids(messages, BYTES, 4) == last
    assert chat_ids(messages, BYTES)[0] == USER and len(chat_ids(messages, BYTES)) == 20


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "a list that ends with what the user says, got []"),
        (said("a", "b"), "a list that ends with what the user says"),
        (said(""), "a list that ends with what the user says"),
        ("hello", "a list that ends with what the user says, got 'hello'"),
        (said("a", "b", "c")[1:], "message 0 must hold role 'user' and content"),
        ([{"role": "user", "content": 3}], "message 0 must hold role 'user'"),
        ([{"role": "system", "content": "a"}], "message 0 must hold role 'user'"),
        ([{"role": "user", "content": "a", "name": "b"}], "message 0 must hold role 'user'"),
        (["a"], "message 0 must hold role 'user'"),
        (said("aaaaa"), "at most 4 tokens, to leave room for the answer, got 5"),
    ],
)
def test_dialogues_that_are_none(messages, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        chat_ids(messages, BYTES, 7)


def test_a_tokenizer_without_roles():
    assert can_chat(BYTES) and not can_chat(ByteTokenizer()) and not can_chat(CharTokenizer("ab"))
    with pytest.raises(ValueError, match=r"special tokens <\|user\|>, <\|assistant\|>, <\|end\|>"):
        conversation([], CharTokenizer("ab"))


def test_the_answer_ends_with_its_end():
    tl.manual_seed(0)
    model = GPT(GPTConfig(24, 260, 1, 1, 16)).eval()
    for p in model.parameters():
        p.data = p.data * 9
    messages, options = said("hi", "a", "b"), {"greedy": True}
    ids = chat_ids(messages, BYTES, 24 - 10)
    (free,) = generate_texts(model, BYTES, [ids], 10, stop_ids=[END, 256], **options)
    assert "".join(p.text for p in reply(model, BYTES, messages, 10, **options)) == free
    with tl.no_grad():  # a model that says nothing else
        model.lm_head.weight.zero_()
    pieces = [*reply(model, BYTES, messages, 10, greedy=True)]
    assert len(pieces) == 10  # id 0, the first of equals
    stream = reply(model, BYTES, messages, 10, generator=tl.Generator().manual_seed(1))
    assert all(p.id not in (END, 256) for p in [*stream][:-1])
