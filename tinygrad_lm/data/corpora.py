"""Text to train on: two classic corpora downloaded once, one that every Python carries, any file.

The result is one string; `text/tokenizers.py` makes tokens of it.
"""

from __future__ import annotations

import codecs
import difflib
import hashlib
import os
import stat
import sys
from pathlib import Path
from typing import NamedTuple

from ..saving.files import StrPath, replacing


class Corpus(NamedTuple):
    """A file on the network: its address, its name in the cache, and its checksum."""

    address: str
    file: str
    sha256: str


DOWNLOADS = {
    "shakespeare": Corpus(  # 1,115,394 characters, 65 distinct; from char-rnn
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "tinyshakespeare.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
    "names": Corpus(  # 32,033 names, one per line; from makemore
        "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt",
        "names.txt",
        "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
    ),
}
# How files begin that Windows wrote, PowerShell's > for one; the longer after the shorter.
MARKS = dict.fromkeys((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "UTF-16")
MARKS |= dict.fromkeys((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "UTF-32")
BUILTIN_LENGTH = 460_000  # characters of standard-library source, where there is no manual


def load_text(name_or_path: StrPath) -> str:
    r"""The text called "shakespeare", "names" or "builtin", or that of a UTF-8 file.

    Lines end with \n whatever the file has, and a byte-order mark is dropped. A known name comes
    before a file of that name (write ./names for the file). FileNotFoundError: neither a name nor
    a file. ValueError: empty, not UTF-8, or a download that is not what it should be. OSError: a
    corpus is not in the cache and cannot be downloaded, or a file cannot be read.
    """
    name = os.fspath(name_or_path)
    if name == "builtin":
        return builtin_text()
    if name in DOWNLOADS:
        return _decoded(_downloaded(DOWNLOADS[name]), name)
    if os.path.isdir(name):
        message = f"[load_text] the text must be one file, got the folder {name!r}"
        raise IsADirectoryError(f"{message}; name a file in it?")
    if not os.path.exists(name):
        known = [*DOWNLOADS, "builtin"]
        close = difflib.get_close_matches(name, known, n=1)
        message = f"[load_text] a text must be {', '.join(known)} or an existing file, got {name!r}"
        raise FileNotFoundError(f"{message}; did you mean {(close or ['another path'])[0]}?")
    if stat.S_ISCHR(os.stat(name).st_mode):
        message = f"[load_text] the text must be a file or a pipe, got the device {name}"
        raise ValueError(f"{message}, which may never end")
    try:
        return _decoded(Path(name).read_bytes(), name)
    except MemoryError as error:
        message = f"[load_text] {name} must fit into memory, got {os.path.getsize(name)} bytes"
        raise MemoryError(f"{message}; train on a part of it?") from error


def cache_folder() -> Path:
    """Where downloads are kept: TINYGRAD_LM_DATA if set, else the platform's cache folder."""
    if chosen := os.environ.get("TINYGRAD_LM_DATA"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        caches = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    else:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "tinygrad_lm"


def builtin_text() -> str:
    """The language reference that `help()` prints, about 370,000 characters, or Python sources.

    The manual repeats whole paragraphs between its topics, a fifth of it; each is kept once, so
    that a validation part at the end does not quote the training part. The text differs a little
    from one Python version to the next, and is always the same within one.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some distributions leave it out
        return _library_sources()
    paragraphs = "\n\n".join(topics[name].strip("\n") for name in sorted(topics)).split("\n\n")
    return "\n\n".join(dict.fromkeys(paragraphs)) + "\n"


def _library_sources() -> str:
    text = ""
    for path in sorted(Path(os.__file__).parent.glob("*.py")):
        text += path.read_text(encoding="utf-8")
        if len(text) >= BUILTIN_LENGTH:
            return text[:BUILTIN_LENGTH]
    message = (
        "[load_text] builtin must find pydoc_data or the standard library's source, got neither"
    )
    raise FileNotFoundError(
        f"{message} in {Path(os.__file__).parent}; pass a text file of your own?"
    )


def _downloaded(corpus: Corpus) -> bytes:
    """The corpus from the cache, else from its address and then cached; checked either way."""
    target = cache_folder() / corpus.file
    if target.is_file():
        content = target.read_bytes()
        _check_sum(
            content, corpus, repr(str(target)), "delete that file, and it is downloaded again"
        )
        return content
    import urllib.error  # here, because it takes longer to import than the rest of the package
    import urllib.request
    from http.client import HTTPException

    print(f"downloading {corpus.address} to {target}", file=sys.stderr)
    try:
        with urllib.request.urlopen(corpus.address, timeout=30) as response:
            content = response.read()
        _check_sum(content, corpus, corpus.address, f"try again, or place the file at {target}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            temporary.write_bytes(content)
    except (OSError, HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the open response
        message = f"[load_text] {corpus.address} must come to {str(target)!r}, got: {error!r}"
        hint = "without a network, place the file there by hand, set TINYGRAD_LM_DATA to a folder"
        raise OSError(f"{message}; {hint} that has it, or use builtin?") from error
    return content


def _check_sum(content: bytes, corpus: Corpus, where: str, hint: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != corpus.sha256:
        message = f"[load_text] {where} must have the sha256 {corpus.sha256}, got {found}"
        raise ValueError(f"{message} ({len(content)} bytes); {hint}?")


def _decoded(content: bytes, name: str) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(name, content, content[error.start], error.start) from error
    text = with_newlines(text.removeprefix("\ufeff"))
    if not text:
        raise ValueError(f"[load_text] {name!r} must hold text, got an empty file; the right path?")
    return text


def with_newlines(text: str) -> str:
    r"""Lines end with \n alone."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def not_utf8(name: str, start: bytes, byte: int, offset: int) -> ValueError:
    """The error for a file that begins with `start` and has a wrong byte at `offset`."""
    came, encoding = f"byte 0x{byte:02x} at offset {offset}", "latin1"
    for mark in MARKS:
        if start.startswith(mark):
            came = encoding = MARKS[mark]
    message = f"[load_text] {name!r} must be UTF-8, got {came}"
    hint = f"re-encode it: iconv -f {encoding} -t utf-8 OLD > NEW"
    real = "" if came == encoding else ", with its real encoding"
    return ValueError(f"{message}; {hint}{real}?")
