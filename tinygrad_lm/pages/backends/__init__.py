"""PyTorch's path to the settings of its libraries. Scripts may read and set them; what has nothing
to act on here says so beside it."""

from . import cuda, cudnn, mps

__all__ = ["cuda", "cudnn", "get_float32_matmul_precision", "mps", "set_float32_matmul_precision"]


def set_float32_matmul_precision(precision: str) -> None:
    """'highest': float32 products are computed in float32. 'high' and 'medium': on a GPU in TF32;
    the bfloat16 that PyTorch may use for 'medium' is not used. The same as `cuda.matmul.allow_tf32`
    set to False or True."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(
            "[set_float32_matmul_precision] must be 'highest', 'high' or 'medium', got "
            f"{precision!r}"
        )
    cuda.matmul.use(precision)


def get_float32_matmul_precision() -> str:
    return cuda.matmul._precision
