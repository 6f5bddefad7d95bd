"""Kernels in CUDA C++ for CuPy's arrays: a .cu file for the loops, a .py file of the same name that
makes arguments for them out of arrays and registers them. They load when a GPU is first asked for,
and each compiles when it is first launched; CuPy keeps what was compiled on disk.
"""

from ...arrays import ON_CUDA

# Modules of this folder that register kernels.
NAMES: tuple[str, ...] = (
    "activations",
    "add",
    "attention",
    "columns",
    "cudnn_attention",
    "erf",
    "ids",
    "layer_norm",
    "linear",
    "one_query",
    "philox",
    "quotients",
    "rows",
    "softmax",
)


def register() -> None:
    from importlib import import_module

    for name in NAMES:
        import_module(f".{name}", __name__)


ON_CUDA.append(register)
