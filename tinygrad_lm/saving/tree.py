"""Nested Python data in the words of JSON, and back: the one coding of checkpoints and of `save`.

What JSON lacks is a dict of one key that begins with $: (1, 2) is {"$tuple": [1, 2]}. Here is plain
data only; what else may occur in a tree, a subclass says in `other` and `special`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

# How a subclass's value is read: `str(x)` would ask the subclass.
PLAIN: dict[type, Callable[[Any], Any]] = {
    int: int.__int__, float: float.__float__, str: str.__str__,
}  # fmt: skip


class Encoder:
    """Codes None, bool, int, float, str, list, tuple and dicts whose keys are texts without $."""

    op = "save"  # for errors: the function that was called

    def __init__(self) -> None:
        self.open: set[int] = set()  # what is being coded: meeting one of these again is a circle

    def whole(self, value: Any, where: str) -> Any:
        """All of a tree, as `encode`. ValueError: it is nested too deeply to be read again."""
        try:
            return self.encode(value, where)
        except RecursionError as error:
            message = f"[{self.op}] {where} must be nested less deeply, got more than Python can"
            raise ValueError(f"{message} follow; a list instead of a chain?") from error

    def encode(self, value: Any, where: str) -> Any:
        """`value` in the words of JSON; `where` is what an error calls it."""
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"$float": repr(value)}
        if id(value) in self.open:
            raise ValueError(
                f"[{self.op}] data must not contain itself, but {where} does; leave it out there?"
            )
        self.open.add(id(value))
        coded = self.container(value, where)
        self.open.remove(id(value))
        return coded

    def container(self, value: Any, where: str) -> Any:
        if type(value) is list:
            return self.items(value, where)
        if type(value) is tuple:
            return {"$tuple": self.items(value, where)}
        if type(value) is dict and all(type(key) is str and key[:1] != "$" for key in value):
            return {key: self.encode(item, f"{where}[{key!r}]") for key, item in value.items()}
        return self.other(value, where)

    def items(self, values: Iterable[Any], where: str) -> list[Any]:
        return [self.encode(item, f"{where}[{i}]") for i, item in enumerate(values)]

    def other(self, value: Any, where: str) -> Any:
        """Everything else; here, members of enumerations and the like become the plain value."""
        for kind, plain in PLAIN.items():
            if isinstance(value, kind):
                return self.encode(plain(value), where)
        self.refuse(value, where)

    def refuse(self, value: Any, where: str) -> NoReturn:
        raise TypeError(
            f"[{self.op}] {where} must be plain data, got {type(value).__name__}; as a text?"
        )


def parse(text: str | bytes) -> Any:
    """The JSON in `text`. ValueError for all that is wrong: a name twice, or brackets without end,
    too."""
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except RecursionError as error:
        raise ValueError("brackets within brackets, deeper than any file of ours") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the name {name!r} twice")
    return found


class Decoder:
    """Gives back what an Encoder coded."""

    def whole(self, text: str | bytes) -> Any:
        """What the JSON in `text` stands for. ValueError: no Encoder wrote it."""
        try:
            return self.decode(parse(text))
        except (LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"data that no save writes, {error!r}") from error

    def decode(self, item: Any) -> Any:
        if isinstance(item, list):
            return [self.decode(part) for part in item]
        if not isinstance(item, dict):
            return item
        key = next(iter(item), "")
        if key[:1] == "$":
            if len(item) > 1:
                raise ValueError(f"{key} beside other names")
            return self.special(key[1:], item[key])
        return {key: self.decode(part) for key, part in item.items()}

    def special(self, kind: str, coded: Any) -> Any:
        if kind == "float":
            return float(coded)
        if kind == "tuple":
            return tuple(self.decode(coded))
        raise ValueError(f"an unknown kind of data, ${kind}")
