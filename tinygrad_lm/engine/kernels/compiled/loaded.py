"""The compiled loops as a module, `fast`, or None; when it is None stands in `engine/compiled.py`.
It knows no op and no array.
"""

from ...compiled import load

fast = load(".kernels.compiled._fast", version=3)  # of the calls' arguments, as in _fast.c
