"""The page and its server: what is asked is what is computed, whoever else asks; what is wrong is
refused before anything is computed. The page is driven in a real Chromium, through WebDriver, where
`chromium` and `chromedriver` are installed; TINYGRAD_LM_REQUIRE_BROWSER=1 promises that they are.
"""

import http.client
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import tinygrad_lm as tl
from tinygrad_lm import serving
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.serving.desk import Turns
from tinygrad_lm.text.chat import chat_ids
from tinygrad_lm.text.generation import generate_text, stream_text
from tinygrad_lm.text.tokenizers import ByteTokenizer, CharTokenizer

CHARACTERS = "abcdefghijklmnop \n"
LOCAL = {"base_url": "http://localhost"}


SPECIAL = ("<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>")


def tiny(vocab_size=18):
    """The same GPT in every process, with strong opinions."""
    tl.manual_seed(4)
    model = GPT(GPTConfig(block_size=32, vocab_size=vocab_size, n_layer=1, n_head=1, n_embd=8))
    for p in model.parameters():
        p.data = p.data * 8
    return model


def client(model=None, tokenizer=None, **options):
    tokenizer = tokenizer or CharTokenizer(CHARACTERS)
    app = serving.application(model or tiny(), tokenizer, **options)
    return app.test_client()


def ask(client, prompt="abc", **fields):
    return client.post("/generate", json={"prompt": prompt, **fields}, buffered=False, **LOCAL)


def lines(response):
    assert response.status_code == 200, response.json
    with response:
        return [json.loads(line) for line in response.text.splitlines()]


def complaint(response, status=400):
    assert response.status_code == status and response.is_json
    assert response.json.keys() == {"error"}
    return response.json["error"]


SETTINGS = {"temperature": 0.9, "top_k": 12, "top_p": 0.95, "min_p": 0.01}
SETTINGS |= {"repetition_penalty": 1.1, "max_new_tokens": 40}


def test_a_line_for_each_token_and_the_end():
    *found, end = lines(ask(client(), seed=5, alternatives=3, **SETTINGS))
    model, tokenizer = tiny(), CharTokenizer(CHARACTERS)
    seeded = {"generator": tl.Generator().manual_seed(5), "alternatives": 3}
    pieces = [*stream_text(model, tokenizer, "abc", **seeded, **SETTINGS)]
    top = [[[tokenizer.decode([i]), x] for i, x in piece.top] for piece in pieces]
    assert found == [{**p._asdict(), "top": t} for p, t in zip(pieces, top)]
    assert end.pop("seconds") >= 0
    assert end == {"done": True, "reason": "length", "tokens": 40, "seed": 5}


def test_tokens_come_while_the_next_are_not_yet_computed():
    model = tiny()
    counted = count_calls(model)
    answer = iter(ask(client(model), max_new_tokens=9).response)
    for number in range(1, 10):
        assert b'"id"' in next(answer) and counted() == number


def count_calls(model):
    calls = []
    forward = model.forward
    model.forward = lambda *args, **how: (calls.append(1), forward(*args, **how))[1]
    return lambda: len(calls)


def test_without_a_seed_one_is_drawn_and_said():
    found = [lines(ask(client(), max_new_tokens=30)) for _ in range(2)]
    seeds = [each[-1]["seed"] for each in found]
    assert seeds[0] != seeds[1]
    assert lines(ask(client(), max_new_tokens=30, seed=seeds[0]))[:-1] == found[0][:-1]


def test_why_a_text_ends():
    """Also where the last token allowed is the one that ends it."""
    model, tokenizer = tiny(), CharTokenizer(CHARACTERS)
    text = generate_text(model, tokenizer, "abc", 20, generator=tl.Generator().manual_seed(5))[3:]
    stop = text[7:9]
    first = text.find(stop) + 2
    stopped, cut = ("stop", first), ("length", first - 1)
    for most, ends in (20, stopped), (first, stopped), (first - 1, cut):
        asked = {"stop": [stop, "not there"], "max_new_tokens": most, "seed": 5}
        *_, end = lines(ask(client(), **asked))
        assert (end["reason"], end["tokens"]) == ends
    model = tiny(256 + len(SPECIAL))
    model.lm_head.weight.data[259] = 0
    model.lm_head.weight.data[:259] *= 0.01
    most = 1000
    for _ in range(2):
        *_, last, end = lines(
            ask(client(model, ByteTokenizer(SPECIAL)), max_new_tokens=most, seed=1)
        )
        assert (last["id"], last["text"], end["reason"]) == (259, "", "stop")
        most = end["tokens"]


def test_what_breaks_later_is_said_in_the_last_line(capsys):
    model = tiny()
    model.lm_head.weight.data[:] = math.nan
    *found, end = lines(ask(client(model)))
    assert found == [] and end["reason"] == "error"
    assert end["error"].startswith("[") and "NaN" in end["error"]
    assert capsys.readouterr().err == ""
    model.forward = lambda *args, **how: {}["a bug"]
    *_, end = lines(ask(client(model)))
    assert end["reason"] == "error" and "a bug" in end["error"]
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"prompt": ""}, "the prompt must hold at least one character"),
        ({"prompt": "abc?"}, "every character must be one of"),
        ({"prompt": 3}, "prompt must be a text, got 3"),
        ({"prompt": None}, "prompt must be a text, got None"),
        ({"prompt": "a" * 33}, "at most 32 tokens, the model's block_size, got 33"),
        ({"prompt": "\ud800"}, "every character must be one of"),
        ({"top": 1}, "the fields must be prompt, max_new_tokens"),
        ({"max_new_tokens": 1025}, "max_new_tokens must be at most 1024, got 1025"),
        ({"max_new_tokens": -1}, "max_new_tokens must be >= 0, got -1"),
        ({"max_new_tokens": None}, "max_new_tokens must be a whole number, got None"),
        ({"max_new_tokens": 2.0}, "max_new_tokens must be a whole number, got 2.0"),
        ({"max_new_tokens": True}, "max_new_tokens must be a whole number, got True"),
        ({"temperature": 0}, "temperature must be in"),
        ({"temperature": math.nan}, "temperature must be a number, got nan"),
        ({"temperature": "1"}, "temperature must be a number, got '1'"),
        ({"temperature": 10**400}, "temperature must be a number, got 1000"),
        ({"top_k": 0}, "top_k must be >= 1"),
        ({"top_p": 1.5}, r"top_p must be in (0, 1]"),
        ({"min_p": -1}, "min_p must be in [0, 1]"),
        ({"repetition_penalty": 0}, "repetition_penalty must be in"),
        ({"greedy": 1}, "greedy must be true or false, got 1"),
        ({"stop": ""}, "stop must be a text, or several"),
        ({"stop": ["a", 3]}, "stop must be a text or a list of texts"),
        ({"seed": 2**64}, "seed must be in"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"alternatives": 101}, "alternatives must be at most 100"),
        ({"alternatives": -1}, "alternatives must be >= 0"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_computed(fields, words):
    model = tiny()
    counted = count_calls(model)
    message = complaint(ask(client(model), **fields))
    assert message.startswith("[") and words in message and len(message) < 400
    assert counted() == 0


@pytest.mark.parametrize(
    "body", ["", "{", "[" * 9999, "[]", "3", "{}", '{"prompt":"a","prompt":""}']
)
def test_what_is_no_request_is_refused(body):
    response = client().post("/generate", data=body, content_type="application/json", **LOCAL)
    assert "the request must be" in complaint(response)


def test_limits():
    one = client(max_new_tokens=100, max_requests=1)
    assert complaint(ask(one, "a" * 2**16), 413)
    assert "at most 100, got 101" in complaint(ask(one, max_new_tokens=101))
    assert lines(ask(one))[-1]["tokens"] == 100  # the default gives way
    first = ask(one)
    assert "try again" in complaint(ask(one), 503)
    first.close()  # nothing of it was read
    second = ask(one)
    next(iter(second.response))
    assert "try again" in complaint(ask(one), 503)
    second.close()
    complaint(ask(one, ""))  # takes no place
    assert lines(ask(one)) and lines(ask(one))
    assert complaint(one.get("/nothing", **LOCAL), 404)
    assert complaint(one.get("/generate", **LOCAL), 405)


def test_who_leaves_ends_the_work():
    model = tiny()
    counted = count_calls(model)
    response = ask(client(model), max_new_tokens=50)
    answer = iter(response.response)
    next(answer), next(answer)
    response.close()
    assert counted() == 2


def test_several_at_once_get_what_each_gets_alone():
    asked = [{"prompt": "abcd"[i:], "seed": i, "alternatives": 2} for i in range(4)]
    alone = [lines(ask(client(), max_new_tokens=50, **each))[:-1] for each in asked]
    model, together, inside = tiny().train(), [None] * 4, []
    app, forward = client(model).application, model.forward

    def slowly(*args, **how):
        inside.append(1)
        time.sleep(0.0005)  # others would come in
        assert len(inside) == 1
        inside.pop()
        return forward(*args, **how)

    model.forward = slowly

    def work(i):
        together[i] = lines(ask(app.test_client(), max_new_tokens=50, **asked[i]))[:-1]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
    answers = [iter(ask(app.test_client(), max_new_tokens=50, **each).response) for each in asked]
    woven = [[json.loads(next(answer)) for answer in answers] for _ in range(50)]
    assert [[*each] for each in zip(*woven)] == alone


def test_turns_are_taken_in_order():
    turns, order = Turns(), []

    def work(i):
        for _ in range(9):
            with turns:
                order.append(i)
                end = time.monotonic() + 0.2
                while turns._given - turns._called < 3 and time.monotonic() < end:
                    time.sleep(0)  # until the two others wait, but for the last

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all({*order[i : i + 3]} == {0, 1, 2} for i in range(24))
    with pytest.raises(KeyError), turns:
        raise KeyError
    with turns:  # it was given back
        pass


@pytest.mark.parametrize(
    "host, origin, status",
    [
        ("localhost", None, 200),
        ("LOCALHOST:8000", "http://localhost:8000", 200),
        ("127.0.0.1:1", "http://127.0.0.1:1", 200),
        ("[::1]:8000", None, 200),
        ("learn.example:8000", None, 200),  # the host given
        ("evil.example", None, 403),
        ("localhost.evil.example:8000", None, 403),
        ("127.0.0.1.evil.example", None, 403),
        ("", None, 403),
        ("localhost:8000", "http://localhost:8001", 403),
        ("localhost:8000", "https://evil.example", 403),
        ("localhost:8000", "null", 403),
    ],
)
def test_only_this_page_may_ask(host, origin, status):
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    here = client(host="learn.example")
    for response in (
        here.get("/info", headers=headers),
        here.post("/generate", json={"prompt": "a"}, headers=headers),
    ):
        assert response.status_code == status or not host and response.status_code == 400
        assert "Access-Control-Allow-Origin" not in response.headers
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    as_form = here.post("/generate", data='{"prompt": "a"}', content_type="text/plain", **LOCAL)
    assert "Content-Type must be application/json" in complaint(as_form)


def test_the_page_is_all_its_own():
    here = client(name="<b>tiny</b>")
    for address, kind in ("/", "html"), ("/page.css", "css"), ("/page.js", "javascript"):
        response = here.get(address, **LOCAL)
        assert response.content_type == f"text/{kind}; charset=utf-8"
        assert not re.search(r"https?:|//\w+\.|innerHTML|\bon\w+=|style=|eval\(", response.text)
    assert here.get("/info", **LOCAL).json == {
        "name": "<b>tiny</b>",
        "block_size": 32,
        "vocabulary_size": 18,
        "parameters": sum(p.numel() for p in tiny().parameters()),
        "max_new_tokens": 1024,
        "chat": False,
    }
    assert complaint(here.post("/chat", json={"messages": []}, **LOCAL), 404)


def message(role, content):
    return {"role": role, "content": content}


CHAT = [message("user", "a<|end|>"), message("assistant", "bc"), message("user", "d")]


def test_a_chat_is_ids_that_no_text_makes():
    first, second = [256, *b"a<|end|>", 258], [257, *b"bc", 258]
    whole = [*first, *second, 256, *b"d", 258, 257]
    assert chat_ids(CHAT, ByteTokenizer(SPECIAL), None) == whole
    assert chat_ids(CHAT, ByteTokenizer(SPECIAL), len(whole)) == whole
    assert chat_ids(CHAT, ByteTokenizer(SPECIAL), len(whole) - 1) == [256, *b"d", 258, 257]
    assert chat_ids(CHAT, ByteTokenizer(SPECIAL), 4) == [256, *b"d", 258, 257]
    with pytest.raises(ValueError, match=r"\[chat\] the last message must have at most 0 tokens"):
        chat_ids(CHAT, ByteTokenizer(SPECIAL), 3)


def test_a_chat_is_answered():
    model = tiny(256 + len(SPECIAL))
    here = client(model, ByteTokenizer(SPECIAL))
    assert here.get("/info", **LOCAL).json["chat"] is True
    asked = {"messages": CHAT, "seed": 3, "max_new_tokens": 20}
    *found, end = lines(here.post("/chat", json=asked, **LOCAL))
    options = {"stop_ids": [258, 259], "generator": tl.Generator().manual_seed(3)}
    pieces = stream_text(model, ByteTokenizer(SPECIAL), [256, *b"d", 258, 257], 20, **options)
    assert [each["id"] for each in found] == [piece.id for piece in pieces]
    for wrong, words in (
        ([], "messages must be a list that ends with what the user says"),
        (CHAT[:2], "messages must be a list that ends"),
        ([message("user", "")], "messages must be a list that ends"),
        (CHAT[1:], "message 0 must hold role 'user'"),
        ([{**CHAT[0], "more": 1}], "message 0 must hold"),
        ([message("system", "a")], "message 0 must hold"),
        ([message("user", 3)], "message 0 must hold"),
        ("hello", "messages must be a list"),
    ):
        response = here.post("/chat", json={"messages": wrong}, **LOCAL)
        assert words in complaint(response)
    too_long = here.post("/chat", json={"messages": CHAT, "max_new_tokens": 30}, **LOCAL)
    assert "at most 0 tokens, to leave room for the answer, got 1" in complaint(too_long)


def test_without_flask_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "flask", None)
    with pytest.raises(ImportError, match=r"\[serve\].* pip install 'tinygrad_lm\[serve\]'"):
        serving.serve(tiny(), CharTokenizer(CHARACTERS))


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
def test_every_address_at_once_is_refused(host):
    with pytest.raises(ValueError, match=r"\[serve\] host must be one address"):
        serving.serve(tiny(), CharTokenizer(CHARACTERS), host=host)


# ---------------------------------------------------------------- a real server, a real browser


@pytest.fixture(scope="module")
def port():
    """That of a server in a process of its own, which Ctrl-C ends at last, amid a text."""
    here = Path(__file__)
    program = (
        "import test_serve as t; t.signal.signal(2, t.signal.default_int_handler); "  # as shells do
        "t.serving.serve(t.tiny(), t.CharTokenizer(t.CHARACTERS), port=0, name='tiny', "
        "max_requests=1)"
    )
    path = os.pathsep.join([str(here.parent), str(here.parents[2])])
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first = process.stdout.readline()
    found = re.fullmatch(r"tiny is at http://127\.0\.0\.1:(\d+)/ until Ctrl-C\n", first)
    if not found:
        process.kill()
        pytest.fail(first + process.communicate()[1])
    yield int(found[1])
    connection, response = post(int(found[1]), "/generate", {"prompt": "a", "max_new_tokens": 1024})
    response.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == ("", "") and process.returncode == 0
    response.close()
    connection.close()


def post(port, path, fields):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body = None if fields is None else json.dumps(fields)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    return connection, connection.getresponse()


def wait_until(found, seconds=10):
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)
    return value


def test_who_hangs_up_makes_room(port):
    connection, response = post(port, "/generate", {"prompt": "a", "max_new_tokens": 1024})
    assert json.loads(response.readline())["id"] is not None
    response.close()
    connection.close()
    began = time.monotonic()

    def free():
        connection, response = post(port, "/generate", {"prompt": "a", "max_new_tokens": 1})
        response.read()
        connection.close()
        return response.status == 200

    wait_until(free)
    assert time.monotonic() - began < 1


def test_a_taken_port_is_said(port):
    message = r"\[serve\] host and port must be free to listen on, got '127.0.0.1' and"
    with pytest.raises(OSError, match=message):
        serving.serve(tiny(), CharTokenizer(CHARACTERS), port=port)
    with pytest.raises(ValueError, match=r"\[serve\] port must be in 0..65535, got 65536"):
        serving.serve(tiny(), CharTokenizer(CHARACTERS), port=65536)


class Browser:
    """Chromium, told what to do through the W3C's WebDriver: JSON over HTTP."""

    ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

    def __init__(self, chromium, driver, folder):
        own = {**os.environ, "HOME": str(folder)}  # nothing is left in the user's
        command = [driver, "--port=0"]
        self.driver = subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True)
        self.session = ""
        said = (re.search(r"on port ([1-9]\d+)", line) for line in self.driver.stdout)
        self.port = int(next(filter(None, said))[1])
        names = (
            "headless no-sandbox disable-gpu disable-quic no-first-run disable-sync "
            "disable-background-networking disable-component-update window-size=1200,800"
        )
        flags = [*(f"--{name}" for name in names.split()), f"--user-data-dir={folder}"]
        options = {"goog:chromeOptions": {"args": flags, "binary": chromium}}
        options["goog:loggingPrefs"] = {"browser": "ALL"}
        self.wanted = {"capabilities": {"alwaysMatch": options}}

    def open(self, address):
        if not self.session:
            self.session = "/" + self.ask("POST", "", self.wanted)["sessionId"]
        self.ask("POST", "/url", {"url": address})

    def ask(self, method, what, fields=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = None if fields is None else json.dumps(fields)
        connection.request(method, f"/session{self.session}{what}", body)
        response = connection.getresponse()
        value = json.load(response)["value"]
        connection.close()
        assert response.status == 200, value
        return value

    def run(self, script, *arguments):
        return self.ask("POST", "/execute/sync", {"script": script, "args": arguments})

    def find(self, selector):
        return self.ask("POST", "/element", {"using": "css selector", "value": selector})

    def click(self, selector):
        self.ask("POST", f"/element/{self.find(selector)[self.ELEMENT]}/click", {})

    def type(self, selector, text):
        where = f"/element/{self.find(selector)[self.ELEMENT]}"
        self.ask("POST", f"{where}/clear", {})
        self.ask("POST", f"{where}/value", {"text": text})

    def hover(self, selector):
        move = {"type": "pointerMove", "origin": self.find(selector), "x": 0, "y": 0}
        mouse = {"type": "pointer", "id": "mouse", "actions": [move]}
        self.ask("POST", "/actions", {"actions": [mouse]})

    def press(self, key):
        active = self.ask("GET", "/element/active")[self.ELEMENT]
        self.ask("POST", f"/element/{active}/value", {"text": key})

    def complaints(self):
        """What the browser itself found wrong; an answer of 400 is not."""
        said = [entry["message"] for entry in self.ask("POST", "/se/log", {"type": "browser"})]
        return [text for text in said if "responded with a status of 400" not in text]

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def close(self):
        try:
            if self.session:
                self.ask("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.communicate()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        assert os.environ.get("TINYGRAD_LM_REQUIRE_BROWSER") != "1", "a browser is promised here"
        pytest.skip("chromium and chromedriver are not both installed")
    browser = Browser(chromium, driver, tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


def test_the_page_writes_and_shows_what_was_expected(port, browser):
    browser.open(f"http://127.0.0.1:{port}/")
    wait_until(lambda: browser.text("#name") == "tiny")
    browser.click("#generate")
    assert wait_until(lambda: browser.text("#error")).startswith("The prompt is empty")
    browser.type("#prompt", "abc")
    browser.type("#seed", "5")
    browser.type("#max_new_tokens", "30")
    browser.type("#top_k", "2")
    browser.click("#generate")
    options = {"temperature": 0.8, "top_k": 2, "generator": tl.Generator().manual_seed(5)}
    model, tokenizer = tiny(), CharTokenizer(CHARACTERS)
    pieces = [*stream_text(model, tokenizer, "abc", 30, alternatives=10, **options)]
    wait_until(lambda: browser.text("#status") == "Length reached:")
    assert browser.text("#error") == ""
    assert browser.text("#output") == "abc" + "".join(piece.text for piece in pieces)
    for number in 7, 8:  # with the mouse, and on with the arrow key
        if number == 7:
            browser.hover(".token:nth-of-type(9)")  # the first of these is the prompt
        else:
            browser.run("document.querySelector('.token.shown').focus()")
            browser.press("\ue014")
        wait_until(lambda n=number: browser.text("#place") == named(text_before(pieces, n)[-24:]))
        found = browser.run(ALTERNATIVES)
        assert found[:10] == [named(tokenizer.decode([i])) for i, _ in pieces[number].top]
        assert browser.text("#alternatives .chosen .what") == named(pieces[number].text)
    held = pieces[3].text + "\n\n\n"  # never comes, but its first letter is held back
    browser.type("#stop_text", held.replace("\n", "\\n"))
    browser.click("#generate")
    options["generator"].manual_seed(5)
    pieces = [*stream_text(model, tokenizer, "abc", 30, stop=held, **options)]
    wait_until(lambda: browser.text("#status") == "Length reached:")
    assert browser.text("#output") == "abc" + "".join(piece.text for piece in pieces)
    empty = sum(piece.text == "" for piece in pieces)
    assert browser.run("return document.querySelectorAll('.token.empty').length") == empty > 0
    browser.type("#prompt", "ab?")
    browser.click("#generate")
    assert wait_until(lambda: browser.text("#error")).startswith("Every character must be one of")
    browser.type("#prompt", "ab")
    browser.type("#max_new_tokens", "1024")
    browser.click("#generate")
    wait_until(lambda: browser.run("return document.querySelectorAll('.token').length") > 3)
    browser.click("#stop")
    wait_until(lambda: browser.text("#status") == "Stopped:")
    assert browser.complaints() == []


ALTERNATIVES = (
    "return [...document.querySelectorAll('#alternatives .what')].map(e => e.textContent)"
)


def named(text):
    return "␣" if text == " " else text.replace("\n", "↵")


def text_before(pieces, number):
    return "abc" + "".join(piece.text for piece in pieces[:number])


def test_the_page_chats(browser):
    from werkzeug.serving import make_server

    model, messages = tiny(256 + len(SPECIAL)), []
    server = make_server(
        "127.0.0.1", 0, client(model, ByteTokenizer(SPECIAL)).application, threaded=True
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        browser.open(f"http://127.0.0.1:{server.port}/")
        browser.click("[value=messages]")
        assert browser.run("return document.getElementById('max_new_tokens').value") == "16"
        browser.type("#max_new_tokens", "3")
        browser.type("#seed", "2")
        for said in "<b>", "d":
            browser.type("#prompt", said)
            browser.click("#generate")
            messages.append(message("user", said))
            ids = chat_ids(messages, ByteTokenizer(SPECIAL), 32 - 3)
            options = {"temperature": 0.8, "generator": tl.Generator().manual_seed(2)}
            pieces = stream_text(
                model, ByteTokenizer(SPECIAL), ids, 3, stop_ids=[258, 259], **options
            )
            messages.append(message("assistant", "".join(piece.text for piece in pieces)))
            wait_until(lambda: browser.run(SAID)[-1:] == [messages[-1]["content"]])
            assert browser.run(SAID) == [each["content"] for each in messages]
        browser.click("#forget")
        assert browser.run(SAID) == [] and browser.complaints() == []
    finally:
        server.shutdown()
        server.server_close()


SAID = "return [...document.querySelectorAll('.message')].map(e => e.textContent)"
