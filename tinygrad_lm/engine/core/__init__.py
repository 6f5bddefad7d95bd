"""The page to read first, in this order: `graph`, `op`, `tensor`, `recording`. Plain Python, and
complete: `kernels/c/recorder.py` names the functions that C replaces, with the same results."""
