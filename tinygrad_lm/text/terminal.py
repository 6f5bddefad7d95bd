"""Text on a terminal: control characters, which could set its title, move its cursor or fake its
output, are shown and not obeyed. In a pipe or a file, what a model writes stays as it is.
"""

import os
import sys

# C0 without newline and tab, DEL, C1: each as Python writes it.
CONTROLS = {i: repr(chr(i))[1:-1] for i in (*range(9), *range(11, 32), *range(127, 160))}


def escaped(text: str) -> str:
    r"""`text` with \x1b in four characters for an ESC, and so on."""
    return text.translate(CONTROLS)


def shown(text: str) -> str:
    """`text` as it may be printed: escaped where the standard output is a terminal."""
    return escaped(text) if getattr(sys.stdout, "isatty", bool)() else text


def fill_closed_streams() -> None:
    """Where a standard stream was closed, as cron does, its number must not become a file's."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
