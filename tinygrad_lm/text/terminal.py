"""Text on a terminal: control characters, which could set its title, move its cursor or fake its
output, are shown and not obeyed. In a pipe or a file, what a model writes stays as it is.
"""

import sys

# C0 without newline and tab, DEL, C1: each as Python writes it.
CONTROLS = {i: repr(chr(i))[1:-1] for i in (*range(9), *range(11, 32), *range(127, 160))}


def escaped(text: str) -> str:
    r"""`text` with \x1b in four characters for an ESC, and so on."""
    return text.translate(CONTROLS)


def shown(text: str) -> str:
    """`text` as it may be printed: escaped where the standard output is a terminal."""
    return escaped(text) if getattr(sys.stdout, "isatty", bool)() else text
