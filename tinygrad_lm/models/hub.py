"""Where a model's files are, by the name that the Hugging Face hub has for it: in our cache, in
that of the hub's own library, or still to be downloaded.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..data.corpora import cache_folder
from ..saving.files import StrPath
from .gpt2_files import CONFIG, NOT_READ, TOKENIZER, WEIGHTS, WHY_NOT, weight_files

# Names that need no owner; any other is "owner/name".
OPENAI = {n: f"openai-community/{n}" for n in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")}
OPENAI["distilgpt2"] = "distilbert/distilgpt2"
# As the hub has them; without "--", which stands for "/" in the names of folders.
PART = r"(?![^/]*--)[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}"
NAME = re.compile(f"{PART}/{PART}")


def find_pretrained(place: StrPath) -> Path:
    """The folder that `place` is or, by a name, one with config.json, weights and, where the hub
    has them, the files of a tokenizer: from a cache, or downloaded now.

    FileNotFoundError: it is neither a folder here nor a model there. ValueError: a file, a model
    without safetensors, or content that is not what its checksum says. OSError: it is in no cache,
    and the network fails.
    """
    path, name = Path(place), os.fspath(place)
    if os.path.isdir(name):
        return path
    if os.path.isfile(name):
        message = f"[from_pretrained] {name!r} must be a folder, got a file"
        if any(path.match(kind) for kind in NOT_READ):
            raise ValueError(f"{message}, {WHY_NOT}")
        raise ValueError(f"{message}; name the folder that also has its {CONFIG}?")
    repository = OPENAI.get(name, name)
    if not NAME.fullmatch(repository):
        message = f"[from_pretrained] it must be a folder, {', '.join(OPENAI)} or owner/name"
        raise FileNotFoundError(f"{message}, got {name!r}; a typo?")
    ours = models_folder() / repository.replace("/", "--")
    if _is_whole(ours):
        return ours
    theirs = next((folder for folder in _of_their_cache(repository) if _is_whole(folder)), None)
    if theirs and _has_tokenizer(theirs):  # their library fetches each file when it is asked for
        return theirs
    if os.path.exists(ours):
        came = ", ".join(sorted(path.name for path in ours.iterdir())) or "nothing"
        message = f"[from_pretrained] {str(ours)!r} must hold {CONFIG} and {WEIGHTS}, got {came}"
        raise FileNotFoundError(f"{message}; add what is missing, or delete the folder?")
    from .download import Download  # it loads Python's HTTP, which takes longer than all of this

    try:
        Download(repository, ours).run()
    except OSError:
        if theirs:
            return theirs
        raise
    return ours


def models_folder() -> Path:
    """Where models are kept: TINYGRAD_LM_CACHE if set, else the folder of the corpora."""
    chosen = os.environ.get("TINYGRAD_LM_CACHE")
    return (Path(chosen).expanduser() if chosen else cache_folder()) / "models"


def _of_their_cache(repository: str) -> Iterator[Path]:
    """Where the hub's own library has put a model: the current revision first, then the latest."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(cache, "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or os.path.join(home, "hub")).expanduser()
    for name in (repository, *(short for short, long in OPENAI.items() if long == repository)):
        place = hub / ("models--" + name.replace("/", "--"))
        with contextlib.suppress(OSError, ValueError):  # there is none, or it is damaged
            main = (place / "refs" / "main").read_text("ascii").strip()
            if re.fullmatch("[A-Za-z0-9]+", main):
                yield place / "snapshots" / main
        yield from sorted(place.glob("snapshots/*"), key=os.path.getmtime, reverse=True)


def _has_tokenizer(folder: Path) -> bool:
    one, *others = ((folder / name).is_file() for name in TOKENIZER)
    return one or all(others)


def _is_whole(folder: Path) -> bool:
    try:
        return (folder / CONFIG).is_file() and bool(weight_files(folder))
    except (OSError, ValueError):
        return False
