"""Mixed precision under PyTorch's names: `autocast` runs products in a narrow type, `GradScaler`
keeps small gradients above zero meanwhile. The sets NARROW and WIDE say which op is cast.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from ..engine import arrays
from ..engine.core.recording import mode
from ..engine.core.tensor import Tensor
from ..engine.pytorch.conversions import cast
from ..engine.pytorch.grad_mode import is_autocast_enabled

# Everything else takes what comes, and mixed types are promoted. `cross_entropy` reads 16 bits and
# gives float32 by itself: a wider copy of all logits may be larger than the rest of a model.
NARROW = frozenset(
    "matmul linear einsum scaled_dot_product_attention convolution conv_transpose".split()
)
WIDE = {
    "cpu": frozenset("nll_loss mse_loss binary_cross_entropy_with_logits".split()),
}
WIDE["cuda"] = WIDE["cpu"] | frozenset(
    "exp log log1p expm1 pow sum prod cumsum softmax log_softmax logsumexp norm layer_norm "
    "rms_norm batch_norm".split()
)


class autocast:
    """Inside, products of float32 tensors are computed in `dtype`: `with autocast("cuda"):`, or as
    a decorator. Losses (and on a GPU exponentials, sums and norms) are computed in float32.

    dtype: float16 or bfloat16; left out, float16 for cuda and bfloat16 for cpu. Without a GPU
    `autocast("cuda")` warns and does nothing.
    """

    def __init__(
        self,
        device_type: str,
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ):
        if device_type not in WIDE:
            raise RuntimeError(
                f"[autocast] device_type must be 'cpu' or 'cuda', got {device_type!r}"
            )
        self.device, self.before = device_type, []  # type: ignore[var-annotated]
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        if enabled and device_type == "cuda" and not arrays.cuda_is_available():
            _warn("[autocast] CUDA is not available. Disabling autocast.")
            enabled = False
        elif enabled and self.fast_dtype not in (arrays.float16, arrays.bfloat16):
            _warn(
                f"[autocast] dtype must be float16 or bfloat16, got {self.fast_dtype}. "
                "Disabling autocast."
            )
            enabled = False
        self._enabled = enabled

    def __enter__(self) -> autocast:
        self.before.append(mode.autocast)
        mode.autocast = functools.partial(_cast, self) if self._enabled else None
        return self

    def __exit__(self, *exc: Any) -> None:
        mode.autocast = self.before.pop()

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapped


def _cast(to: autocast, op: str, inputs: tuple) -> tuple:
    """The inputs of an op as autocast wants them. float64 is left alone: it was asked for."""
    if op in NARROW:
        wanted = to.fast_dtype
    elif op in WIDE[to.device]:
        wanted = arrays.float32
    else:
        return inputs
    before, mode.autocast = mode.autocast, None
    try:
        return tuple(_cast_float(x, wanted) for x in inputs)
    finally:
        mode.autocast = before


def get_autocast_dtype(device_type: str) -> Any:
    return arrays.float16 if device_type == "cuda" else arrays.bfloat16


def is_autocast_available(device_type: str) -> bool:
    return device_type in WIDE


def custom_fwd(fwd: Any = None, *, device_type: str, cast_inputs: Any = None) -> Any:
    """Decorates the `forward` of an autograd.Function: backward then runs as forward did. Inside
    autocast, with cast_inputs, its floating-point arguments are cast and autocast is off."""
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        inside = is_autocast_enabled(device_type)
        ctx._dtype, ctx._fwd_used_autocast = get_autocast_dtype(device_type), inside
        if cast_inputs is None or not inside:
            return fwd(ctx, *args, **kwargs)
        ctx._fwd_used_autocast = False
        with autocast(device_type, enabled=False):
            return fwd(ctx, *(_cast_float(x, cast_inputs) for x in args), **kwargs)

    return forward


def custom_bwd(bwd: Any = None, *, device_type: str) -> Any:
    """Decorates the `backward` that goes with `custom_fwd`."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *gradients: Any) -> Any:
        with autocast(device_type, ctx._dtype, ctx._fwd_used_autocast):
            return bwd(ctx, *gradients)

    return backward


def _cast_float(x: Any, dtype: Any) -> Any:
    if isinstance(x, Tensor) and x.is_floating_point() and x.dtype != arrays.float64:
        return cast(x, dtype)
    return x


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=3)


@arrays.with_kernels
def unscale(first: arrays.Array, gradients: list[arrays.Array], factor: float) -> arrays.Array:
    """Arrays times a factor, in place; whether an element is not finite then, 0-d."""
    lib = arrays.library(first)
    bad: Any = False
    for g in gradients:
        lib.multiply(g, factor, out=g)
        arrays.mark_written(g)
        bad = bad | ~lib.isfinite(g).all()
    return bad


def _on_cuda() -> None:
    import cupy

    from ..engine.kernels.cuda import tensors

    @arrays.kernel(unscale, cupy.ndarray)
    def all_at_once(first: Any, gradients: list, factor: float) -> Any:
        found = cupy.zeros((), "float32")
        if tensors.unscale(found, gradients, factor) is NotImplemented:
            return NotImplemented
        for g in gradients:
            arrays.mark_written(g)
        return found


arrays.ON_CUDA.append(_on_cuda)


class GradScaler:
    """Multiplies the loss, divides the gradients, and skips a step whose gradients overflowed.

        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)      # only to look at the gradients or to clip them
        scaler.step(optimizer)
        scaler.update()

    The scale halves after an overflow and doubles after `growth_interval` steps without one. Not
    `enabled`, or for cuda on a machine without it, everything passes through.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        if enabled and device == "cuda" and not arrays.cuda_is_available():
            _warn("[GradScaler] GradScaler is enabled, but CUDA is not available.  Disabling.")
            enabled = False
        if enabled and (growth_factor <= 1 or backoff_factor >= 1):
            raise AssertionError(
                "[GradScaler] growth_factor must be above 1 and backoff_factor below, got "
                f"{growth_factor} and {backoff_factor}"
            )
        self._enabled, self._scale = enabled, float(init_scale)
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval, self._growth_tracker = growth_interval, 0
        # by optimiser, once its gradients are unscaled: for each device, whether one overflowed
        self._overflowed: dict[int, list] = {}
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """A tensor, or several in a list or tuple, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, Iterable):
            return type(outputs)(self.scale(x) for x in outputs)  # type: ignore[call-arg]
        raise ValueError(f"[scale] outputs must be tensors, got {type(outputs).__name__}")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimiser's parameters by the scale, once per step."""
        if not self._enabled:
            return
        if id(optimizer) in self._stepped:
            raise RuntimeError("unscale_() is being called after step().")
        if id(optimizer) in self._overflowed:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        found: dict[str, list[arrays.Array]] = {}
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    if p.grad.dtype == arrays.float16:
                        raise ValueError("Attempting to unscale FP16 gradients.")
                    found.setdefault(str(p.device), []).append(p.grad.array)
        factor = 1 / self._scale
        overflowed = [arrays.quietly(unscale, gs[0], gs, factor) for gs in found.values()]
        self._overflowed[id(optimizer)] = overflowed

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step()` on unscaled gradients, or nothing where one of them is not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if id(optimizer) in self._stepped:
            raise RuntimeError("step() has already been called since the last update().")
        if id(optimizer) not in self._overflowed:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        overflowed = [bool(x) for x in self._overflowed[id(optimizer)]]  # the wait for a GPU
        self._overflowed[id(optimizer)] = overflowed
        return None if any(overflowed) else optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """Fit the scale to what the steps since the last update met."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._overflowed:
            raise AssertionError("No inf checks were recorded prior to update.")
        elif any(map(any, self._overflowed.values())):
            self._scale, self._growth_tracker = self._scale * self._backoff_factor, 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                self._scale, self._growth_tracker = self._scale * self._growth_factor, 0
        self._overflowed, self._stepped = {}, set()

    def get_scale(self) -> float:
        return self._scale if self._enabled else 1.0

    def is_enabled(self) -> bool:
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if not self._enabled:
            return
        if set(state_dict) != set(self.state_dict()):
            raise RuntimeError(
                f"[GradScaler] the state must have the keys {sorted(self.state_dict())}, got "
                f"{sorted(state_dict)}; was it saved by a disabled GradScaler?"
            )
        self._scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
