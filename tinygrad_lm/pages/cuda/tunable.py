"""PyTorch's path to products that are tuned: where several ways lead to a product of matrices, each
is timed when its shapes first come, and the fastest is used from then on."""

from ...engine import arrays


def enable(val: bool = True) -> None:
    """The choice may differ from process to process, and the last bits of the results with it."""
    arrays.set_tuned_products(val)


def is_enabled() -> bool:
    return arrays.tuned_products()
