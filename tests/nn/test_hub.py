"""A model by its name on the hub, from a server on the loopback that behaves as the hub does: what
is downloaded is whole, checked and of one revision, or is not there; what is cached needs no
network.
"""

import hashlib
import http.server
import json
import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from tinygrad_lm.models import download, hub
from tinygrad_lm.models.checkpoints import load_gpt
from tinygrad_lm.models.gpt import GPT, GPTConfig
from tinygrad_lm.models.hub import OPENAI, find_pretrained
from tinygrad_lm.saving.files import load_safetensors, save_safetensors
from tinygrad_lm.text.tokenizers import ByteTokenizer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = GPTConfig(block_size=8, vocab_size=11, n_layer=1, n_head=1, n_embd=4)


class Hub(http.server.ThreadingHTTPServer):
    """`files`: what the repositories have, by "repository/name". Large ones are sent from another
    address, where requests may be cut after so many bytes (`cuts`, one for each request)."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.files, self.asked, self.cuts, self.sums = {}, [], [], {}
        self.ranges, self.revision, self.answers = True, COMMIT, {}
        self.lengths = True

    def handle_error(self, request, client_address):
        pass  # the client went away


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        hub, kept = self.server, self.headers.get("Range")
        hub.asked.append((self.path, kept))
        if self.path in hub.answers:
            return self.answer(hub.answers[self.path], b"")
        if self.path.startswith("/cdn/"):
            return self.send_part(hub.files[self.path[5:]], kept)
        name = re.sub("/resolve/(main|[0-9a-f]{40})/", "/", self.path[1:])
        content = hub.files.get(name)
        if content is None:
            return self.answer(404, b"no such entry")
        said = {"X-Repo-Commit": hub.revision} if hub.revision else {}
        if name.endswith(".safetensors"):
            said["X-Linked-ETag"] = f'"{hub.sums.get(name, hashlib.sha256(content).hexdigest())}"'
            said["Location"] = f"{hub.address}/cdn/{name}"
            return self.answer(302, b"elsewhere", **said)
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        self.answer(200, content, ETag=f'W/"{hub.sums.get(name, git)}"', **said)

    def send_part(self, content, kept):
        start = int(kept[6:-1]) if kept and self.server.ranges else 0
        if start >= len(content):
            return self.answer(416, b"")
        cut = self.server.cuts.pop(0) if self.server.cuts else None
        headers = {"ETag": '"another"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.answer(206 if start else 200, content[start:], cut, **headers)

    def answer(self, status, content, cut=None, **headers):
        self.send_response(status)
        if self.server.lengths:
            self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content[:cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    GPT(MODEL).save_pretrained(tmp_path / "made")
    server = Hub()
    server.made = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    give(server, "openai-community/gpt2", {**server.made, "vocab.json": b"{}", "merges.txt": b""})
    give(server, "some/model", server.made)
    monkeypatch.setenv("HF_ENDPOINT", server.address + "/")
    monkeypatch.setenv("TINYGRAD_LM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "theirs"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def give(server, repository, files):
    server.files |= {f"{repository}/{name}": content for name, content in files.items()}


def place(tmp_path, repository="some--model"):
    return tmp_path / "cache" / "models" / repository


def weights(server):
    """The ranges in which weights were asked for."""
    return [
        kept for path, kept in server.asked if path.endswith("cdn/some/model/model.safetensors")
    ]


def assert_loads(name, like="made"):
    found, made = GPT.from_pretrained(name), GPT.from_pretrained(like)
    for p, q in zip(found.parameters(), made.parameters()):
        np.testing.assert_array_equal(p.detach(), q.detach())


@pytest.mark.parametrize("name", ["gpt2", "openai-community/gpt2"])
def test_downloaded_once_and_then_offline(name, server, tmp_path, capsys, monkeypatch):
    assert_loads(name)
    captured = capsys.readouterr()
    assert captured.out == "" and server.address in captured.err
    folder = place(tmp_path, "openai-community--gpt2")
    names = ["config.json", "download.json", "merges.txt", "model.safetensors", "vocab.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    kept = json.loads((folder / "download.json").read_text())
    assert kept["revision"] == COMMIT and kept["sha256"] == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in names
        if name != "download.json"
    }
    first = len(server.asked)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    for again in ("gpt2", "openai-community/gpt2"):
        assert_loads(again)
        assert find_pretrained(again) == folder
    assert len(server.asked) == first


def test_with_its_tokenizer(server, tmp_path):
    ByteTokenizer().save(tmp_path / "tokenizer.json")
    model = GPT(GPTConfig(block_size=8, vocab_size=256, n_layer=1, n_head=1, n_embd=4))
    model.save_pretrained(tmp_path / "bytes")
    files = [*(tmp_path / "bytes").iterdir(), tmp_path / "tokenizer.json"]
    give(server, "openai-community/gpt2-medium", {path.name: path.read_bytes() for path in files})
    model, tokenizer = load_gpt("gpt2-medium")
    assert model.config.vocab_size == 256 and tokenizer == ByteTokenizer()


@pytest.mark.parametrize(
    "name",
    ["gpt3", "a/b/c", "/etc/x", "../..x", "", "a/..", "../gpt2", "-/a", "a--b/c", "a/b--c", "a/--",
     "a/b*", "a/[b]", "a/b c", "a/b\n", "a/\u00e9", "\u0661/a", "\0", "a/\0", "a" * 300,
     "a/" + "b" * 300],
)  # fmt: skip
def test_names_that_are_none(name, server, tmp_path):
    with pytest.raises(
        FileNotFoundError, match="must be a folder, gpt2, .*distilgpt2 or owner/name"
    ):
        GPT.from_pretrained(name)
    assert not server.asked and not (tmp_path / "cache").exists()


def test_every_file_is_of_the_revision_that_main_was(server):
    GPT.from_pretrained("some/model")
    paths = [path for path, _ in server.asked if not path.startswith("/cdn/")]
    assert paths[0] == "/some/model/resolve/main/config.json"
    assert all(path.startswith(f"/some/model/resolve/{COMMIT}/") for path in paths[1:])


def test_a_mirror_that_says_no_revision_and_no_checksum(server, monkeypatch):
    server.revision, server.sums = "", dict.fromkeys(server.files, "none")
    assert_loads("some/model")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_what_such_a_mirror_cuts_off_does_not_stay(name, server, tmp_path):
    """... though neither a length nor a checksum tells."""
    server.lengths, server.sums = False, dict.fromkeys(server.files, "none")
    content = server.made[name]
    for cut in (1, 9, len(content) // 2, len(content) - 3):
        give(server, "some/model", {name: content[:cut]})
        with pytest.raises(
            ValueError, match=rf"\[from_pretrained\] {name} of some/model must come"
        ):
            GPT.from_pretrained("some/model")
        assert not place(tmp_path).exists() and not list(tmp_path.rglob(f"{name}.part"))
    give(server, "some/model", server.made)
    assert_loads("some/model")


def test_a_folder_here_comes_first(server, tmp_path):
    shutil.copytree(tmp_path / "made", tmp_path / "gpt2")
    assert find_pretrained("gpt2") == (tmp_path / "gpt2").relative_to(tmp_path)
    assert_loads("gpt2")
    assert server.asked == []


def shard(server):
    arrays, _ = load_safetensors("made/model.safetensors")
    names, placed = list(arrays), {}
    for i in range(2):
        save_safetensors(f"shard-{i}.safetensors", {n: arrays[n] for n in names[i::2]})
        placed |= dict.fromkeys(names[i::2], f"shard-{i}.safetensors")
    del server.files["some/model/model.safetensors"]
    files = {f"shard-{i}.safetensors": Path(f"shard-{i}.safetensors").read_bytes() for i in (0, 1)}
    index = json.dumps({"weight_map": placed}).encode()
    give(server, "some/model", {**files, "model.safetensors.index.json": index})


def test_shards(server):
    shard(server)
    assert_loads("some/model")


def test_an_index_that_leads_elsewhere_is_refused(server, tmp_path):
    shard(server)
    index = json.dumps({"weight_map": {"wte.weight": "../../evil.safetensors"}}).encode()
    give(server, "some/model", {"model.safetensors.index.json": index})
    with pytest.raises(ValueError, match="must give names of safetensors files"):
        GPT.from_pretrained("some/model")
    assert not any("evil" in path for path, _ in server.asked) and not place(tmp_path).exists()


# ---------------------------------------------------------------- what can go wrong


def test_a_connection_that_is_cut_is_taken_up_again(server):
    server.cuts = [100, 400, 1]
    assert_loads("some/model")
    assert weights(server) == [None, "bytes=100-", "bytes=500-", "bytes=501-"]


def test_a_download_that_fails_is_taken_up_by_the_next_call(server, tmp_path):
    server.cuts = [100, 0]
    hint = f"call it again to resume, or without a network, put config.json.* '{place(tmp_path)}'"
    with pytest.raises(OSError, match=f"100 of .* connection was cut.*; {hint}"):
        GPT.from_pretrained("some/model")
    assert not place(tmp_path).exists()
    assert_loads("some/model")
    assert weights(server) == [None, "bytes=100-", "bytes=100-"]
    assert [path.name for path in place(tmp_path).parent.iterdir()] == [place(tmp_path).name]


def test_what_has_arrived_of_another_revision_is_not_continued(server, tmp_path):
    server.cuts = [100, 0]
    with pytest.raises(OSError, match="cut"):
        GPT.from_pretrained("some/model")
    server.revision = COMMIT[::-1]
    assert_loads("some/model")
    assert weights(server) == [None, "bytes=100-", None]
    assert [path.name for path in place(tmp_path).parent.iterdir()] == [place(tmp_path).name]


def test_a_server_that_sends_only_whole_files(server):
    server.cuts, server.ranges = [100], False
    assert_loads("some/model")
    assert weights(server) == [None, "bytes=100-"]


def test_a_process_that_was_killed_between_the_last_byte_and_the_checksum(server, tmp_path):
    folder = place(tmp_path).with_name(f"some--model.{COMMIT[:12]}.part")
    folder.mkdir(parents=True)
    content = server.made["model.safetensors"]
    (folder / "model.safetensors.part").write_bytes(content)
    assert_loads("some/model")
    assert weights(server) == [f"bytes={len(content)}-", None]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_with_another_checksum_is_refused_and_gone(name, server, tmp_path):
    length = 64 if name == "model.safetensors" else 40
    server.sums[f"some/model/{name}"] = wrong = "f" * length
    with pytest.raises(ValueError, match=f"{name} of some/model must have the checksum {wrong}"):
        GPT.from_pretrained("some/model")
    assert not place(tmp_path).exists() and not list(tmp_path.rglob("*.safetensors.part"))
    server.sums.clear()
    assert_loads("some/model")


def test_bytes_that_were_changed_on_the_way_are_refused(server, tmp_path):
    folder = place(tmp_path).with_name(f"some--model.{COMMIT[:12]}.part")
    folder.mkdir(parents=True)
    (folder / "model.safetensors.part").write_bytes(b"another file's beginning")
    with pytest.raises(ValueError, match="must have the checksum .*try again"):
        GPT.from_pretrained("some/model")
    assert_loads("some/model")


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_name_that_the_hub_does_not_know(code, server, tmp_path):
    server.answers["/no/such/resolve/main/config.json"] = code
    message = f"'no/such' must be a folder here, or a public model .* \\(HTTP {code}\\); a typo"
    with pytest.raises(FileNotFoundError, match=message):
        GPT.from_pretrained("no/such")
    assert not (tmp_path / "cache").exists()


def test_a_download_of_which_nothing_came_leaves_no_folder(server, tmp_path):
    server.answers[f"/some/model/resolve/{COMMIT}/config.json"] = 503
    with pytest.raises(OSError, match="503"):
        GPT.from_pretrained("some/model")
    assert not place(tmp_path).parent.exists()


def test_a_server_that_is_out_of_order(server, tmp_path):
    server.answers["/some/model/resolve/main/config.json"] = 503
    with pytest.raises(OSError, match="503"):
        GPT.from_pretrained("some/model")
    server.answers = {f"/some/model/resolve/{COMMIT}/tokenizer.json": 503}
    with pytest.raises(OSError, match="503"):
        GPT.from_pretrained("some/model")
    assert not place(tmp_path).exists()
    server.answers = {}
    assert_loads("some/model")
    assert weights(server) == [None]


def test_a_server_that_has_an_empty_file(server):
    give(server, "some/model", {"model.safetensors": b""})
    with pytest.raises(OSError, match="must be a folder here, or a public model at .*, got: .*416"):
        GPT.from_pretrained("some/model")


def test_a_model_with_pickles_only(server):
    del server.files["some/model/model.safetensors"]
    give(server, "some/model", {"pytorch_model.bin": b"\x80"})
    with pytest.raises(ValueError, match="must have model.safetensors on the hub, got none; pick"):
        GPT.from_pretrained("some/model")
    assert not any("pytorch_model" in path for path, _ in server.asked)


def test_without_a_network_one_sentence_says_what_to_put_where(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    files = "config.json, model.safetensors, vocab.json, merges.txt"
    into = place(tmp_path, "openai-community--gpt2")
    with pytest.raises(OSError, match=f"refused.*, put {files} into '{into}'"):
        GPT.from_pretrained("gpt2")
    shutil.copytree(tmp_path / "made", into)
    assert_loads("gpt2")
    (into / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="and model.safetensors, got model.safetensors"):
        GPT.from_pretrained("gpt2")


def test_a_redirection_out_of_https_is_refused():
    redirects = download._Redirects()
    redirects.said = {}
    request = download.urllib.request.Request("https://example.org/a")
    with pytest.raises(OSError, match="which is not https"):
        redirects.redirect_request(request, None, 302, "", {}, "http://example.org/b")
    assert redirects.redirect_request(request, None, 302, "", {}, "https://example.org/b")


@pytest.mark.parametrize("from_the", ["start", "weights"])
def test_a_full_disk_leaves_no_folder(from_the, server, tmp_path, monkeypatch):
    def full(path):
        if from_the == "start" or "model.safetensors" in path.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        GPT.from_pretrained("some/model")
    assert not place(tmp_path).exists()


# ---------------------------------------------------------------- the cache of the hub's library


def snapshots(tmp_path, repository):
    return tmp_path / "theirs" / "hub" / f"models--{repository}" / "snapshots"


@pytest.mark.parametrize("repository", ["gpt2", "openai-community--gpt2"])
def test_the_cache_of_the_hubs_library_is_read(repository, server, tmp_path):
    """Its files are links to blobs; a snapshot that lacks the weights is passed over."""
    half, folder = (snapshots(tmp_path, repository) / letter for letter in "ba")
    half.mkdir(parents=True)
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (half / name).write_text("{}")
    os.utime(half, (2e9, 2e9))  # the latest
    for path in (tmp_path / "made").iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "tokenizer.json").write_text("{}")
    assert find_pretrained("gpt2") == folder
    assert_loads("gpt2")
    assert server.asked == []


def test_a_snapshot_without_a_tokenizer_serves_where_there_is_no_network(
    server, tmp_path, monkeypatch
):
    folder = snapshots(tmp_path, "some--model") / "a"
    shutil.copytree(tmp_path / "made", folder)
    assert find_pretrained("some/model") == place(tmp_path)  # it may have one on the hub
    shutil.rmtree(place(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert find_pretrained("some/model") == folder


def test_the_current_revision_comes_first(server, tmp_path):
    folder = snapshots(tmp_path, "some--model")
    for revision in "abc":
        shutil.copytree(tmp_path / "made", folder / revision)
        for name in ("vocab.json", "merges.txt"):
            (folder / revision / name).write_text("")
    (folder.parent / "refs").mkdir()
    for revision in "bca":
        (folder.parent / "refs" / "main").write_text(revision + "\n")
        assert find_pretrained("some/model") == folder / revision


def test_the_current_revision_is_not_passed_over_for_the_tokenizer_of_another(
    server, tmp_path, monkeypatch
):
    """Else weights and tokenizer are both of a state that was given up."""
    folder = snapshots(tmp_path, "some--model")
    for revision in "ab":
        shutil.copytree(tmp_path / "made", folder / revision)
    (folder / "a" / "tokenizer.json").write_text("{}")
    (folder.parent / "refs").mkdir()
    (folder.parent / "refs" / "main").write_text("b")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert find_pretrained("some/model") == folder / "b"


@pytest.mark.parametrize("main", [b"\xff", b"", b"../../../../made", b"\0", b"none", b"a" * 999])
def test_a_damaged_note_of_the_current_revision_is_passed_over(main, server, tmp_path):
    folder = snapshots(tmp_path, "some--model")
    shutil.copytree(tmp_path / "made", folder / "a")
    (folder / "a" / "tokenizer.json").write_text("{}")
    (folder.parent / "refs").mkdir()
    (folder.parent / "refs" / "main").write_bytes(main)
    assert find_pretrained("some/model") == folder / "a"


@pytest.mark.parametrize("index", [b"\xff", b"[" * 100_000, b'{"weight_map": 3}', b"[]"])
def test_a_damaged_index_in_a_cache(index, server, tmp_path):
    for folder in (place(tmp_path), snapshots(tmp_path, "some--model") / "a"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors.index.json").write_bytes(index)
    with pytest.raises(
        OSError, match=r"\[from_pretrained\] .* got config.json, model.*index.json;"
    ):
        GPT.from_pretrained("some/model")
    shutil.rmtree(place(tmp_path))
    assert_loads("some/model")


def test_where_the_caches_are(tmp_path, monkeypatch):
    for name in ("TINYGRAD_LM_CACHE", "TINYGRAD_LM_DATA", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if os.name == "posix" and os.uname().sysname == "Linux":
        assert hub.models_folder() == tmp_path / "xdg" / "tinygrad_lm" / "models"
    theirs = tmp_path / "xdg" / "huggingface" / "hub" / "models--a--b" / "snapshots" / "c"
    theirs.mkdir(parents=True)
    assert list(hub._of_their_cache("a/b")) == [theirs]
    monkeypatch.setenv("TINYGRAD_LM_CACHE", "~/models-of-mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    if os.name == "posix":
        assert hub.models_folder() == tmp_path / "models-of-mine" / "models"


def test_the_names_that_are_known():
    assert OPENAI["gpt2-xl"] == "openai-community/gpt2-xl"
    assert OPENAI["distilgpt2"] == "distilbert/distilgpt2" and len(OPENAI) == 5
