"""Settings of matrix products on a GPU, under PyTorch's names."""

from __future__ import annotations

from ...engine import arrays


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
