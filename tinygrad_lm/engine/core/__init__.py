"""The page to read first, in this order: `graph`, `op`, `tensor`, `recording`. Plain Python, and
complete: `kernels/c/recorder.py` says for which of its functions C stands in, and does the same."""
