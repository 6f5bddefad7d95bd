"""The one-dimensional memory under a Tensor, as `Tensor.storage()` lists it: what all views of it
share, in the order in which it lies there. It is a copy: writing through it is not offered."""

import warnings

from ..arrays import owner_of, to_numpy
from ..core.tensor import Tensor


class TypedStorage(tuple):
    """Numbers in a row. Prints as PyTorch's, one number a line."""

    kind: str

    def size(self) -> int:
        return len(self)

    def tolist(self) -> list:
        return list(self)

    def __repr__(self) -> str:
        numbers = "\n ".join(map(str, self))
        return f" {numbers}\n[torch.storage.TypedStorage({self.kind}) of size {len(self)}]"


def typed_storage(tensor: Tensor) -> TypedStorage:
    """All numbers in this tensor's memory. Deprecated in PyTorch, but typed in lectures."""
    told = "[storage] is deprecated in PyTorch; try stride(), storage_offset() and data_ptr()"
    warnings.warn(told, UserWarning, stacklevel=2)
    made = TypedStorage(
        to_numpy(owner_of(tensor.array)).ravel("K").view(tensor.array.dtype).tolist()
    )
    made.kind = f"dtype={tensor.dtype}, device={tensor.device}"
    return made
