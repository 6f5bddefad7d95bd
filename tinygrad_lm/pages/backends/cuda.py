"""Settings of matrix products on a GPU, under PyTorch's names. They are kept and can be read back,
and change nothing."""

from types import SimpleNamespace

matmul = SimpleNamespace(allow_tf32=False)


def is_built() -> bool:
    """Whether a GPU library can be asked for at all: CuPy is an extra, so that is always so."""
    return True
