"""The one-dimensional memory under a Tensor, as `Tensor.storage()` shows it: what all views of it
share, in the order in which it lies there. It knows no graph: writing through it is not offered."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from .autograd import storage
from .backend import device_of, dtype_of, to_numpy


class TypedStorage:
    """Numbers in a row. Prints as PyTorch's, one number a line."""

    def __init__(self, array: Any):
        self._flat = storage(array).ravel("K").view(array.dtype)

    def __len__(self) -> int:
        return self._flat.size

    size = __len__

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"[storage] index must be below {len(self)}, got {index}")
        return to_numpy(self._flat[index]).item()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def tolist(self) -> list[Any]:
        return to_numpy(self._flat).tolist()

    def __repr__(self) -> str:
        kind = f"dtype={dtype_of(self._flat)}, device={device_of(self._flat)}"
        numbers = "\n ".join(str(x) for x in self)
        return f" {numbers}\n[torch.storage.TypedStorage({kind}) of size {len(self)}]"


def typed_storage(tensor: Any) -> TypedStorage:
    """The memory of this tensor and of every view of it. PyTorch has deprecated it; a notebook that
    prints it still runs."""
    warnings.warn(
        "[storage] is deprecated in PyTorch; ask stride(), storage_offset() and data_ptr()?",
        UserWarning,
        stacklevel=2,
    )
    return TypedStorage(tensor.array)
