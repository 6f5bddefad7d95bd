"""Settings of matrix products on a GPU, and PyTorch's switches of its ways to compute attention,
which are kept and reported, and choose nothing here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from ...engine import arrays
from ...nn.attention import SDPBackend, allowed, sdpa_kernel


class _Matmul:
    """`matmul.allow_tf32 = True`: float32 products may be computed in TF32."""

    _precision = "highest"  # what `get_float32_matmul_precision` says

    @property
    def allow_tf32(self) -> bool:
        return arrays.allow_tf32()

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        if not isinstance(allowed, bool):
            raise RuntimeError(f"[allow_tf32] must be True or False, got {allowed!r}")
        self.use("high" if allowed else "highest")

    def use(self, precision: str) -> None:
        self._precision = precision
        arrays.set_allow_tf32(precision != "highest")


matmul = _Matmul()


def is_built() -> bool:
    """Whether a GPU library can be asked for at all: CuPy is an extra, so that is always so."""
    return True


def _switch(backend: SDPBackend) -> tuple[Callable[[bool], None], Callable[[], bool]]:
    return lambda enabled: allowed.update({backend: bool(enabled)}), lambda: allowed[backend]


enable_flash_sdp, flash_sdp_enabled = _switch(SDPBackend.FLASH_ATTENTION)
enable_mem_efficient_sdp, mem_efficient_sdp_enabled = _switch(SDPBackend.EFFICIENT_ATTENTION)
enable_math_sdp, math_sdp_enabled = _switch(SDPBackend.MATH)
enable_cudnn_sdp, cudnn_sdp_enabled = _switch(SDPBackend.CUDNN_ATTENTION)


def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> AbstractContextManager:
    """The former spelling of `torch.nn.attention.sdpa_kernel`."""
    flags = {
        SDPBackend.FLASH_ATTENTION: enable_flash,
        SDPBackend.MATH: enable_math,
        SDPBackend.EFFICIENT_ATTENTION: enable_mem_efficient,
        SDPBackend.CUDNN_ATTENTION: enable_cudnn,
    }
    return sdpa_kernel([backend for backend, on in flags.items() if on])
