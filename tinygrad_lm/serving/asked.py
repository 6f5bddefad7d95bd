"""What a request asks for. It comes from outside, so every field is looked at before anything is
computed; what is wrong becomes a ValueError in one sentence.
"""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from ..saving.tree import parse
from ..text.generation import OPTIONS

WHOLE, REAL, SWITCH = "a whole number", "a number", "true or false"
TEXTS = "a text or a list of texts"
FIELDS: dict[str, tuple[str, Any]] = {  # what each must be, and what it is where it is left out
    "max_new_tokens": (WHOLE, 200),
    "temperature": (REAL, 1.0),
    "top_k": (WHOLE, None),
    "top_p": (REAL, None),
    "min_p": (REAL, None),
    "repetition_penalty": (REAL, 1.0),
    "greedy": (SWITCH, False),
    "stop": (TEXTS, None),
    "seed": (WHOLE, None),  # one is drawn
    "alternatives": (WHOLE, 0),
}
MOST_ALTERNATIVES = 100


class Asked(NamedTuple):
    """A request whose fields are of the right kind."""

    start: Any  # what the text follows: a prompt, or the messages of a chat
    max_new_tokens: int
    seed: int
    stops: list[str]
    alternatives: int
    sampling: dict[str, Any]  # the fields of `Sampling`, which looks at their ranges


def read_asked(body: bytes, start: str, most_tokens: int, usual: int | None = None) -> Asked:
    """The request in a JSON text; start: the name of its first field; usual: the length
    where none is given. ValueError: anything else."""
    try:
        given = parse(body)
    except ValueError as error:
        raise ValueError(f"[generate] the request must be JSON, got: {error}; a typo?") from error
    if not isinstance(given, dict) or start not in given:
        message = f"[generate] the request must be a JSON object with {start}"
        raise ValueError(f"{message}, got {shortened(given)}; a typo?")
    if unknown := given.keys() - FIELDS.keys() - {start}:
        message = f"[generate] the fields must be {start}, {', '.join(FIELDS)}"
        raise ValueError(f"{message}, got {shortened(min(unknown))}; a typo?")
    found = {name: given.get(name, default) for name, (_, default) in FIELDS.items()}
    if "max_new_tokens" not in given:
        found["max_new_tokens"] = min(usual or found["max_new_tokens"], most_tokens)
    for name, value in found.items():
        if not _fits(name, value):
            message = f"[generate] {name} must be {FIELDS[name][0]}, got {shortened(value)}"
            raise ValueError(f"{message}; leave it out?")
    for name, most in ("max_new_tokens", most_tokens), ("alternatives", MOST_ALTERNATIVES):
        if found[name] > most:
            message = f"[generate] {name} must be at most {most}, got {found[name]}"
            raise ValueError(f"{message}; try {most}")
    stops = [found["stop"]] if isinstance(found["stop"], str) else found["stop"] or []
    seed = secrets.randbits(31) if found["seed"] is None else found["seed"]
    sampling = {name: found[name] for name in OPTIONS}
    return Asked(
        given[start], found["max_new_tokens"], seed, stops, found["alternatives"], sampling
    )


def _fits(name: str, value: Any) -> bool:
    kind, default = FIELDS[name]
    if value is None or isinstance(value, bool):
        return value is default if value is None else kind is SWITCH
    if kind is TEXTS:
        texts = value if isinstance(value, list) else [value]
        return all(isinstance(text, str) for text in texts)
    if kind is REAL:  # neither NaN nor infinite, also as a float32
        return isinstance(value, int | float) and abs(value) < 1e9
    return kind is WHOLE and isinstance(value, int)


def shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
