"""OpenAI's GPT-2 from the model hub of Hugging Face, kept in the cache: by HTTPS, with what was
already fetched taken up again, and checked against the hub's checksum before it is there.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..data.corpora import cache_folder
from ..saving.files import fsync
from ..saving.tree import parse
from .pretrained import CONFIG, INDEX, TOKENIZER, WEIGHTS

# Names that need no owner; any other is "owner/name".
OPENAI = {
    name: f"openai-community/{name}" for name in "gpt2 gpt2-medium gpt2-large gpt2-xl".split()
}
OPENAI["distilgpt2"] = "distilbert/distilgpt2"
CHUNK = 1 << 20


def find_pretrained(name: str) -> Path:
    """The folder with the files of "gpt2" or "owner/name": in our cache, in that of Hugging Face's
    own tools, or downloaded now. OSError: it is in none and there is no network; what to put
    where. ValueError: no such name, or content that is not what the hub says."""
    repository = OPENAI.get(name, name)
    parts = repository.split("/")
    if len(parts) != 2 or not all(p and p.strip(".") and p.isprintable() for p in parts):
        message = f"[from_pretrained] it must be a folder, {', '.join(OPENAI)} or owner/name"
        raise ValueError(f"{message}, got {name!r}; a typo?")
    folder = cache_folder() / "models" / "--".join(parts)
    for place in (folder, *_snapshots(parts, name)):
        if _is_whole(place):
            return place
    folder.mkdir(parents=True, exist_ok=True)
    _fetch_all(repository, folder)
    return folder


def _is_whole(folder: Path) -> bool:
    if not (folder / CONFIG).is_file():
        return False
    tokens = [TOKENIZER], ["vocab.json", "merges.txt"]
    if not any(all((folder / file).is_file() for file in files) for files in tokens):
        return False
    if (folder / INDEX).is_file():
        return all((folder / file).is_file() for file in _files_of(folder))
    return (folder / WEIGHTS).is_file()


def _snapshots(parts: list[str], name: str) -> list[Path]:
    """Where Hugging Face's own tools would have it."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    folders = {"models--" + "--".join(parts), f"models--{name.replace('/', '--')}"}
    return [place for folder in folders for place in hub.glob(f"{folder}/snapshots/*")]


def _files_of(folder: Path) -> set[str]:
    """The shards that an index names."""
    files = {*parse((folder / INDEX).read_bytes())["weight_map"].values()}
    if wrong := [file for file in files if Path(file).name != file]:
        message = f"[from_pretrained] {INDEX} must name files beside it, got {wrong[0]!r}"
        raise ValueError(f"{message}; is it damaged?")
    return files


def _fetch_all(repository: str, folder: Path) -> None:
    """The small files last: where config.json is, all is."""
    if not _fetch(repository, WEIGHTS, folder, optional=True):
        _fetch(repository, INDEX, folder)
        for file in sorted(_files_of(folder)):
            _fetch(repository, file, folder)
    if not _fetch(repository, TOKENIZER, folder, optional=True):
        for file in ("vocab.json", "merges.txt"):
            _fetch(repository, file, folder)
    _fetch(repository, CONFIG, folder)


def _fetch(repository: str, file: str, folder: Path, optional: bool = False) -> bool:
    """One file, unless it is there; False where the hub has none and it is optional."""
    import urllib.error
    import urllib.request
    from http.client import HTTPException

    target, part = folder / file, folder / f"{file}.part"
    if target.is_file():
        return True
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    address = f"{endpoint}/{repository}/resolve/main/{file}"
    print(f"downloading {address} to {target}", file=sys.stderr)
    try:
        checksum = _checksum(address)
        have = part.stat().st_size if part.is_file() else 0
        request = urllib.request.Request(
            address, headers={"Range": f"bytes={have}-"} if have else {}
        )
        try:
            response = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            if error.code != 416:  # the part is all there is
                raise
            error.close()
        else:
            with response:
                _copy(response, part, have if response.status == 206 else 0, file)
    except (OSError, HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the open response
            if optional and error.code == 404:
                return False
        message = f"[from_pretrained] {address} must come to {str(target)!r}, got: {error!r}"
        hint = f"without a network, put {WEIGHTS}, {TOKENIZER} and {CONFIG} into {str(folder)!r}"
        raise OSError(f"{message}; {hint}, or pass a folder that has them") from error
    _check(part, checksum, address)
    fsync(part)
    os.replace(part, target)
    return True


def _checksum(address: str) -> str:
    """What the hub says of a file, before it sends us to where that lies: the sha256 of a large
    one, git's hash of a small one; "" where it says nothing."""
    import urllib.error
    import urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args: Any, **kwargs: Any) -> None:
            return None

    opener = urllib.request.build_opener(Stay)
    try:
        with opener.open(urllib.request.Request(address, method="HEAD"), timeout=30) as response:
            headers = response.headers
    except urllib.error.HTTPError as error:
        error.close()
        if error.code >= 400:
            raise
        headers = error.headers
    found = headers.get("X-Linked-ETag") or headers.get("ETag") or ""
    found = found.removeprefix("W/").strip('"')
    return found if len(found) in (40, 64) else ""


def _copy(response: Any, part: Path, have: int, file: str) -> None:
    """The rest of a file, behind the `have` bytes that are there."""
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    with (
        open(part, "r+b" if have else "wb") as out,
        tqdm(total=total, initial=have, desc=file, unit="B", unit_scale=True, disable=None) as bar,
    ):
        out.seek(have)
        out.truncate()
        while block := response.read(CHUNK):
            out.write(block)
            bar.update(len(block))
    if total is not None and part.stat().st_size != total:
        raise OSError(f"the connection ended after {part.stat().st_size} of {total} bytes")


def _check(part: Path, checksum: str, address: str) -> None:
    """ValueError, and the part is gone: it is not what the hub says."""
    if not checksum:
        return
    digest = hashlib.sha256()
    if len(checksum) == 40:
        digest = hashlib.sha1(b"blob %d\0" % part.stat().st_size)
    with open(part, "rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    if digest.hexdigest() != checksum:
        part.unlink()
        message = f"[from_pretrained] {address} must have the checksum {checksum}, got"
        raise ValueError(f"{message} {digest.hexdigest()}; try again?")
