"""Mixed precision under PyTorch's older path, where the device was not an argument. What it means
is in `tinygrad_lm.amp`."""

from __future__ import annotations

import functools
from typing import Any

from .. import amp


class GradScaler(amp.GradScaler):
    """`amp.GradScaler("cuda", ...)`."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        super().__init__(
            "cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled
        )


__path__: list[str] = []  # `cuda.amp.grad_scaler` is this page, too
custom_fwd = functools.partial(amp.custom_fwd, device_type="cuda")
custom_bwd = functools.partial(amp.custom_bwd, device_type="cuda")


class autocast(amp.autocast):
    """`amp.autocast("cuda", ...)`."""

    def __init__(self, enabled: bool = True, dtype: Any = None, cache_enabled: bool | None = None):
        super().__init__("cuda", dtype, enabled, cache_enabled)
