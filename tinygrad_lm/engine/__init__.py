"""The engine: arrays in, gradients out. It knows no layer, no model and nothing outside this
folder; read `backend`, `autograd`, `registry`, `tensor` and then the ops."""

import os

# Between products OpenBLAS's threads spin for 25 ms and keep the kernels' own threads from running;
# this sends them to sleep at once. It has an effect only where NumPy is not loaded yet.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
