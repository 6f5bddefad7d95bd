"""The page to read first: `graph` (nodes, and the walk back), `op` (an op called and recorded),
`tensor`, `recording`. It is complete, in plain Python. Where C was compiled, C stands in for a few
of its functions (`kernels/c/recorder.py` says for which) and does the same."""
