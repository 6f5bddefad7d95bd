"""Functions of torch, and methods of Tensor, whose file is loaded when one is first called: few
scripts do."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def _later(file: str, name: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        real = getattr(importlib.import_module(f"{__package__}.{file}"), name)
        return real(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    return function


cholesky = _later("older_linalg", "cholesky")
cholesky_inverse = _later("older_linalg", "cholesky_inverse")
cholesky_solve = _later("older_linalg", "cholesky_solve")
det = _later("older_linalg", "det")
inverse = _later("older_linalg", "inverse")
logdet = _later("older_linalg", "logdet")
lu = _later("linalg", "lu")
matrix_exp = _later("older_linalg", "matrix_exp")
matrix_power = _later("older_linalg", "matrix_power")
pinverse = _later("older_linalg", "pinverse")
qr = _later("older_linalg", "qr")
slogdet = _later("older_linalg", "slogdet")
svd = _later("older_linalg", "svd")
triangular_solve = _later("older_linalg", "triangular_solve")
