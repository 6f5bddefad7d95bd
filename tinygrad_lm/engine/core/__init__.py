"""The page to read first, in this order: `graph` (nodes, and the walk back), `op` (how an op is
called and recorded), `tensor`, `recording`. All of it is plain Python, and complete: where C was
compiled, `kernels/c/recorder.py` puts the same in C in the place of three of these functions.
"""
