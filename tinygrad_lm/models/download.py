"""The files of a model from the Hugging Face hub, over HTTPS: resumed where a connection was cut,
within a call and from one call to the next, and checked against the hub's checksum.

The folder of a model appears by one rename, when all of it is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..saving.files import check_writable, fsync, shapes_in
from .gpt2_files import CONFIG, INDEX, TOKENIZER, WEIGHTS, read_json_object, shards

ENDPOINT = "https://huggingface.co"  # or HF_ENDPOINT
SECONDS, BLOCK = 30, 2**20  # without an answer; bytes at a time


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Keeps what the hub says of a file before it sends the reader on to where the bytes are."""

    said: dict[str, str]

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str
    ) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise urllib.error.URLError(f"a redirection to {newurl!r}, which is not https")
        self.said |= _said(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _said(headers: Any) -> dict[str, str]:
    facts = {name.lower(): value for name, value in headers.items()}
    return {name: facts[name] for name in ("x-linked-etag", "x-repo-commit") if name in facts}


class Download:
    """The files of one model on their way to a folder that does not exist yet."""

    def __init__(self, repository: str, target: Path) -> None:
        self.repository, self.target, self.revision = repository, target, "main"
        self.endpoint = (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
        self.redirects = _Redirects()
        self.opener = urllib.request.build_opener(self.redirects)
        self.sums: dict[str, str] = {}

    def run(self) -> None:
        print(
            f"downloading {self.repository} from {self.endpoint} to {self.target}", file=sys.stderr
        )
        self._fix_revision()
        check_writable(self.target.parent)
        # By the revision, so that what is resumed is never of two.
        folder = self.target.with_name(f"{self.target.name}.{self.revision[:12]}.part")
        folder.mkdir(exist_ok=True)
        try:
            self._fill(folder)
        except BaseException:
            with contextlib.suppress(OSError):  # they stay where something is in them
                folder.rmdir()
                folder.parent.rmdir()
            raise
        os.replace(folder, self.target)
        for stale in self.target.parent.glob(f"{self.target.name}.*.part"):  # of other revisions
            shutil.rmtree(stale, ignore_errors=True)

    def _fill(self, folder: Path) -> None:
        self._fetch(folder / CONFIG)
        if not self._fetch(folder / WEIGHTS, optional=True):
            if not self._fetch(folder / INDEX, optional=True):
                message = f"[from_pretrained] {self.repository} must have {WEIGHTS} on the hub, got"
                hint = "pickles are not read, as they can run code; convert it with transformers"
                raise ValueError(f"{message} none; {hint}: save_pretrained")
            for name in shards(folder / INDEX):
                self._fetch(folder / name)
        for name in TOKENIZER:
            self._fetch(folder / name, optional=True)
        sums = {path.name: self.sums.get(path.name) or _digest(path) for path in folder.iterdir()}
        kept = {"repository": self.repository, "revision": self.revision, "sha256": sums}
        (folder / "download.json").write_text(json.dumps(kept, indent=1) + "\n", "ascii")
        fsync(folder)

    def _open(self, name: str, start: int = 0) -> Any:
        address = f"{self.endpoint}/{self.repository}/resolve/{self.revision}/{name}"
        request = urllib.request.Request(address, headers={"User-Agent": "tinygrad_lm"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        self.redirects.said = {}
        return self.opener.open(request, timeout=SECONDS)

    def _fix_revision(self) -> None:
        """What "main" is now, so that all files are of one state of the repository."""
        try:
            with self._open(CONFIG) as response:
                said = {**_said(response.headers), **self.redirects.said}
        except (OSError, HTTPException) as error:
            raise self._failure(CONFIG, error) from error
        if re.fullmatch("[0-9a-f]{40}", said.get("x-repo-commit", "")):
            self.revision = said["x-repo-commit"]

    def _fetch(self, target: Path, optional: bool = False) -> bool:
        """Whether a file is there, after having been downloaded if need be."""
        part = target.with_name(target.name + ".part")
        most, emptied = 0, False
        while not target.exists():
            start = _size(part)
            try:
                self._receive(part, target.name, start)
                self._check(part, target.name)
                os.replace(part, target)
            except (OSError, HTTPException) as error:
                code, came = _status(error), _size(part)
                if code == 404 and optional:
                    return False
                if code == 416 and not emptied:  # nothing is left to send: it was not checked
                    part.unlink(missing_ok=True)
                    emptied = True
                elif came > max(start, most):  # some of it came: go on from there
                    most = came
                else:
                    raise self._failure(target.name, error) from error
        return True

    def _receive(self, part: Path, name: str, start: int) -> None:
        """Add what `part`, of `start` bytes, lacks. OSError: it was cut off. ValueError: it is not
        what its checksum says, and is deleted."""
        with self._open(name, start) as response:
            start = start if response.status == 206 else 0
            size = None if response.length is None else start + response.length
            said = {**_said(response.headers), **self.redirects.said}
            bar = tqdm(
                total=size, initial=start, desc=name, unit="B", unit_scale=True, disable=None
            )
            with bar, open(part, "ab" if start else "wb") as file:
                while block := response.read(BLOCK):
                    file.write(block)
                    bar.update(len(block))
        came = part.stat().st_size
        if size is not None and came < size:
            raise ConnectionError(f"{came} of {size} bytes, then the connection was cut")
        fsync(part)
        self.sums[name] = found = _digest(part)
        wanted = said.get("x-linked-etag") or response.headers.get("ETag") or ""
        wanted = wanted.removeprefix("W/").strip('"')
        if re.fullmatch("[0-9a-f]{40}", wanted):  # of small files: git's name for the content
            found = _digest(part, hashlib.sha1(b"blob %d\0" % came, usedforsecurity=False))
        if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", wanted) and found != wanted:
            part.unlink()
            message = f"[from_pretrained] {name} of {self.repository} must have the checksum"
            raise ValueError(f"{message} {wanted}, got {found} ({came} bytes); try again?")

    def _check(self, part: Path, name: str) -> None:
        """ValueError: a file is not whole, and is deleted. A mirror may say neither its length nor
        its checksum."""
        try:
            if name.endswith(".safetensors"):
                shapes_in(part)
            elif name in (CONFIG, INDEX):
                read_json_object(part)
        except ValueError as error:
            part.unlink()
            message = f"[from_pretrained] {name} of {self.repository} must come whole, got: {error}"
            raise ValueError(message) from error

    def _failure(self, name: str, error: Exception) -> OSError:
        """What to tell: that there is no such model, or that the network fails."""
        code = _status(error)
        what = f"[from_pretrained] {self.repository!r} must be a folder here, or a public model at"
        if code in (401, 403, 404):  # the hub answers 401 for names that do not exist
            message = f"{what} {self.endpoint} with {name}, got neither (HTTP {code})"
            return FileNotFoundError(f"{message}; a typo?")
        message = f"{what} {self.endpoint}, got: {error!r}"
        hint = f"without a network, put {CONFIG}, {WEIGHTS}, {', '.join(TOKENIZER[1:])} into"
        return OSError(f"{message}; call it again to resume, or {hint} {str(self.target)!r}")


def _status(error: Exception) -> int | None:
    """The server's answer that an error is; None: it did not come so far."""
    if not isinstance(error, urllib.error.HTTPError):
        return None
    error.close()  # it holds the open response
    return error.code


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _digest(path: Path, digest: Any = None) -> str:
    digest = digest or hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
