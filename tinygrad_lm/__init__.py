"""An autograd engine on plain arrays and a GPT that uses nothing but that engine, with PyTorch's
names. This page only collects the public names; start reading in `engine/backend.py`."""

import math as _math
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import amp, autograd, backends, compiler, cuda, distributed, nn, optim, utils
from .amp import autocast, get_autocast_dtype, is_autocast_enabled
from .autograd import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from .backends import get_float32_matmul_precision, set_float32_matmul_precision
from .compiler import compile
from .engine import backend as _backend
from .engine import random as _random
from .engine.backend import (
    device,
    dtype,
    float16,
    float32,
    float64,
    get_default_device,
    get_default_dtype,
    get_num_threads,
    int32,
    int64,
    promote_types,
    set_default_device,
    set_default_dtype,
    set_num_threads,
    uint8,
)
from .engine.chance import (
    bernoulli,
    get_rng_state,
    multinomial,
    normal,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    set_rng_state,
)
from .engine.creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from .engine.drawing import draw_graph
from .engine.gradcheck import gradcheck
from .engine.kernels import compiled as _kernels
from .engine.methods import FUNCTIONS as _FUNCTIONS
from .engine.printing import set_printoptions
from .engine.random import Generator, default_generator, initial_seed, manual_seed, seed
from .engine.registry import kernel, primitive, reference_only
from .engine.tensor import Size, Tensor
from .serialization import load, save

__version__ = "0.1.0"

_backend.keep_big_blocks()

float, double, half = float32, float64, float16
long, int = int64, int32
inf, nan, pi, e = _math.inf, _math.nan, _math.pi, _math.e

# bool and bfloat16 (where ml_dtypes is installed), and the functions that are also methods
globals().update({"bool": _backend.bool_, **_FUNCTIONS})
if _backend.bfloat16 is not None:
    bfloat16 = _backend.bfloat16
if _TYPE_CHECKING:  # what globals() got: functions that return Tensors, and dtypes

    def __getattr__(name: str) -> _Any: ...


__all__ = [name for name in dir() if not name.startswith("_")]
