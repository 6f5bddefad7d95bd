"""`torch.multiprocessing`: Python's own module. Tensors travel between processes as copies."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def __getattr__(name: str) -> Any:
    if name[:2] == "__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("multiprocessing"), name)


def spawn(
    fn: Callable,
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> None:
    """fn(0, *args), in this process."""
    if nprocs != 1:
        raise RuntimeError(
            f"[spawn] nprocs must be 1, got {nprocs}; mpiexec starts processes here: write "
            f"fn(int(os.environ['RANK']), ...), and start with mpiexec -n {nprocs}"
        )
    fn(0, *args)


start_processes = spawn


def get_sharing_strategy() -> str:
    return "file_descriptor"


def get_all_sharing_strategies() -> set[str]:
    return {"file_descriptor", "file_system"}


def set_sharing_strategy(new_strategy: str) -> None:
    """Memory is not shared between processes, so there is nothing to choose."""
