"""PyTorch's path to the settings of its libraries. Scripts may read and set them; what has nothing
to act on here says so beside it."""

from . import cuda, cudnn, mps

__all__ = ["cuda", "cudnn", "get_float32_matmul_precision", "mps", "set_float32_matmul_precision"]

_precision = ["highest"]


def set_float32_matmul_precision(precision: str) -> None:
    """'highest', 'high' or 'medium': how far a GPU may shorten float32 products."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(
            "[set_float32_matmul_precision] must be 'highest', 'high' or 'medium', got "
            f"{precision!r}"
        )
    _precision[0] = precision
    cuda.matmul.allow_tf32 = precision != "highest"


def get_float32_matmul_precision() -> str:
    return _precision[0]
