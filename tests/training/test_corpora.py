"""Corpora: the cache holds the right file or none, and every wrong text is refused by name."""

import hashlib
import http.server
import os
import subprocess
import sys
import threading

import pytest

from tinygrad_lm.data import corpora, load_text

TEXT = b"First Citizen:\nBefore we proceed\n"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server on the loopback for "shakespeare"; `server.answer` is (promised length, body)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            length, body = server.answer
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)
            server.requests += 1

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.answer, server.requests = (len(TEXT), TEXT), 0
    server.target = tmp_path / "cache" / "tinyshakespeare.txt"
    server.address = f"http://127.0.0.1:{server.server_port}/input.txt"
    corpus = corpora.Corpus(server.address, "tinyshakespeare.txt", hashlib.sha256(TEXT).hexdigest())
    monkeypatch.setitem(corpora.DOWNLOADS, "shakespeare", corpus)
    monkeypatch.setenv("TINYGRAD_LM_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_downloaded_once(server, capsys):
    assert load_text("shakespeare") == TEXT.decode() == load_text("shakespeare")
    assert server.requests == 1
    assert [path.name for path in server.target.parent.iterdir()] == ["tinyshakespeare.txt"]
    assert server.target.read_bytes() == TEXT
    captured = capsys.readouterr()
    assert captured.out == "" and server.address in captured.err


def test_interrupted_download_leaves_nothing(server):
    server.answer = (len(TEXT), TEXT[:10])
    with pytest.raises(OSError, match="IncompleteRead"):
        load_text("shakespeare")
    assert not server.target.parent.exists()


def test_download_of_another_file_leaves_nothing(server):
    server.answer = (6, b"<html>")
    sums = hashlib.sha256(TEXT).hexdigest(), hashlib.sha256(b"<html>").hexdigest()
    with pytest.raises(ValueError, match=f"must have the sha256 {sums[0]}, got {sums[1]}"):
        load_text("shakespeare")
    assert not server.target.parent.exists()


def test_crash_while_writing_leaves_nothing(server, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        load_text("shakespeare")
    assert list(server.target.parent.iterdir()) == []


@pytest.mark.parametrize("answer", [(0, b""), None])
def test_offline_error_names_address_and_target(server, answer, monkeypatch):
    if answer is None:  # nobody listens there
        offline = corpora.DOWNLOADS["shakespeare"]._replace(address="http://127.0.0.1:9/input.txt")
        monkeypatch.setitem(corpora.DOWNLOADS, "shakespeare", offline)
    server.answer = answer
    with pytest.raises(OSError, match="by hand") as caught:
        load_text("shakespeare")
    assert corpora.DOWNLOADS["shakespeare"].address in str(caught.value)
    assert str(server.target) in str(caught.value)


def test_file_placed_by_hand_needs_no_network(server):
    server.target.parent.mkdir()
    server.target.write_bytes(TEXT)
    assert load_text("shakespeare") == TEXT.decode() and server.requests == 0


def test_wrong_file_in_the_cache_is_an_error_and_stays(server):
    server.target.parent.mkdir()
    server.target.write_bytes(b"mine")
    sums = hashlib.sha256(TEXT).hexdigest(), hashlib.sha256(b"mine").hexdigest()
    with pytest.raises(ValueError, match=f"must have the sha256 {sums[0]}, got {sums[1]}"):
        load_text("shakespeare")
    assert server.target.read_bytes() == b"mine" and server.requests == 0


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYGRAD_LM_DATA", "~/corpora")
    monkeypatch.setenv("HOME", str(tmp_path))
    if sys.platform != "win32":
        assert corpora.cache_folder() == tmp_path / "corpora"
    monkeypatch.delenv("TINYGRAD_LM_DATA")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert corpora.cache_folder() == tmp_path / "xdg" / "tinygrad_lm"
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert corpora.cache_folder() == tmp_path / ".cache" / "tinygrad_lm"


@pytest.mark.parametrize(
    ("name", "length", "distinct"), [("shakespeare", 1_115_394, 65), ("names", 228_145, 27)]
)
def test_real_corpora(name, length, distinct):
    """Lengths as the lectures print them; only where TINYGRAD_LM_DATA has the files."""
    folder = os.environ.get("TINYGRAD_LM_DATA")
    if not folder or not os.path.isfile(os.path.join(folder, corpora.DOWNLOADS[name].file)):
        pytest.skip("set TINYGRAD_LM_DATA to a folder with the downloaded corpora")
    text = load_text(name)
    assert (len(text), len(set(text))) == (length, distinct)


def test_builtin_is_long_repeats_nothing_and_is_always_the_same():
    text = load_text("builtin")
    paragraphs = text[:-1].split("\n\n")
    assert len(text) > 300_000 and len(paragraphs) == len(set(paragraphs))
    code = "from tinygrad_lm.data import load_text as l; import hashlib as h; "
    code += "print(h.sha256(l('builtin').encode()).hexdigest())"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert run.stdout.decode().strip() == hashlib.sha256(text.encode()).hexdigest(), run.stderr


def test_builtin_without_the_manual_is_library_source(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    text = load_text("builtin")
    assert len(text) == corpora.BUILTIN_LENGTH and "\nimport " in text
    monkeypatch.setattr(os, "__file__", str(tmp_path / "os.py"))
    with pytest.raises(FileNotFoundError, match="got neither"):
        load_text("builtin")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("höhe\n".encode(), "höhe\n"),
        (b"\xef\xbb\xbfa\r\nb\rc\n\n", "a\nb\nc\n\n"),
        (b"a\0\x0b\x0c\x85".replace(b"\x85", "\x85\u2028".encode()), "a\0\x0b\x0c\x85\u2028"),
    ],
)
def test_file_by_path(content, text, tmp_path):
    (tmp_path / "my.txt").write_bytes(content)
    assert load_text(tmp_path / "my.txt") == load_text(str(tmp_path / "my.txt")) == text


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"caf\xe9 noir", "byte 0xe9 at offset 3"),
        (b"\xef\xbb\xbfcaf\xe9", "byte 0xe9 at offset 6"),
        ("ab".encode("utf-16"), "UTF-16; re-encode it: iconv -f UTF-16 -t utf-8 OLD > NEW"),
        (b"\xfe\xff" + "ab".encode("utf-16-be"), "UTF-16; re-encode"),
        ("ab".encode("utf-32"), "UTF-32; re-encode it: iconv -f UTF-32"),
        (b"\xff\xfa", "byte 0xff at offset 0; .* with its real encoding"),
        (b"", "got an empty file"),
        (b"\xef\xbb\xbf", "got an empty file"),
    ],
)
def test_file_that_is_no_text(content, named, tmp_path):
    (tmp_path / "my.txt").write_bytes(content)
    with pytest.raises(ValueError, match=named):
        load_text(tmp_path / "my.txt")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("shakespear", "did you mean shakespeare"), ("Names", "did you mean names"), ("x" * 5000, "")],
)
def test_unknown_name_lists_the_known_ones(name, hint):
    with pytest.raises(FileNotFoundError, match=f"shakespeare, names, builtin or .*{hint}"):
        load_text(name)


def test_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match="must be one file"):
        load_text(tmp_path)


def test_a_device_is_refused_because_it_may_never_end():
    with pytest.raises(ValueError, match="a file or a pipe, got the device /dev/zero"):
        load_text("/dev/zero")


def test_a_pipe_is_read():
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    os.close(writing)
    assert load_text(f"/dev/fd/{reading}") == "from a pipe"
    os.close(reading)
