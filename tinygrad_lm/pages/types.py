"""`torch.types`: names for annotations."""

from typing import TypeAlias

from ..engine.arrays import device
from ..engine.core.tensor import Tensor
from ..engine.pytorch.storage import TypedStorage as Storage
from ..engine.pytorch.tensor_extras import Size
from ..saving.files import StrPath as FileLike

Number: TypeAlias = int | float | bool
Device: TypeAlias = device | str | int | None

__all__ = ["Device", "FileLike", "Number", "Size", "Storage", "Tensor"]
