"""The names of PyTorch and their keywords, read from `names.txt`, which needs no PyTorch."""

from __future__ import annotations

import functools
from pathlib import Path


@functools.cache
def sections(hidden: bool = False) -> dict[str, dict[str, list[str]]]:
    """{"torch.nn": {"Linear": ["in_features", ...], ...}, ...}: modules and classes, their names
    and keywords. hidden: also what exists and PyTorch does not mean for its users."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in Path(__file__).with_name("names.txt").read_text(encoding="utf-8").splitlines():
        name, bracket, keywords = line.partition("(")
        if line.startswith("["):
            here = found.setdefault(line.strip("[]"), {})
        elif bracket:
            here[name] = keywords.rstrip(")").split()
        elif line[0] not in "#-" or line[0] == "-" and hidden:
            here.update((word, []) for word in line.lstrip("- ").split())
    return found


def is_nowhere(name: str) -> bool:
    """Whether PyTorch does not have the dotted name either, as far as the list can tell."""
    listed, owner, rest = sections(hidden=True), name, ""
    while owner and owner not in listed:
        owner, _, rest = owner.rpartition(".")
    return bool(owner and rest) and rest[0] != "_" and rest not in listed[owner]
