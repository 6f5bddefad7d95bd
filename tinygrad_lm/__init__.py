"""An autograd engine on plain arrays and a GPT that uses nothing but that engine, with PyTorch's
names. This page only collects the public names; start reading in `engine/core/`."""

import math as _math
from typing import TYPE_CHECKING as _FOR_TYPES

from . import aliases, autograd, nn, optim
from .autograd import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from .engine.arrays import (
    bfloat16,
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
    kernel,
    promote_types,
    reference_only,
    set_default_device,
    set_default_dtype,
    set_num_threads,
    uint8,
)
from .engine.arrays import bool_ as bool
from .engine.arrays import keep_big_blocks as _keep_big_blocks
from .engine.capture import capture
from .engine.core.op import primitive
from .engine.core.tensor import Tensor
from .engine.drawing import draw_graph
from .engine.gradcheck import gradcheck
from .engine.ops.elementwise import (
    abs,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    ceil,
    cos,
    eq,
    erf,
    exp,
    expm1,
    floor,
    ge,
    gt,
    isfinite,
    isinf,
    isnan,
    le,
    log,
    log1p,
    log2,
    log10,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    maximum,
    minimum,
    mul,
    ne,
    neg,
    reciprocal,
    relu,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    tanh,
)
from .engine.pytorch import beyond as _beyond
from .engine.pytorch.arithmetic import (
    add,
    addcdiv,
    addcmul,
    allclose,
    clamp,
    clamp_max,
    clamp_min,
    div,
    equal,
    exp2,
    floor_divide,
    fmod,
    frac,
    isclose,
    lerp,
    masked_fill,
    pow,
    remainder,
    round,
    square,
    sub,
    trunc,
    where,
)
from .engine.pytorch.beyond import *  # noqa: F403
from .engine.pytorch.creation import (
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
from .engine.pytorch.indexing import (
    from_dlpack,
    gather,
    index_add,
    index_select,
    masked_select,
    scatter_add,
    take_along_dim,
)
from .engine.pytorch.joining import (
    cat,
    chunk,
    flip,
    hstack,
    narrow,
    repeat_interleave,
    roll,
    select,
    stack,
    tile,
    unbind,
    vstack,
)
from .engine.pytorch.ordering import (
    argsort,
    bincount,
    histogram,
    median,
    nonzero,
    sort,
    topk,
    unique,
)
from .engine.pytorch.out import accept_out as _accept_out
from .engine.pytorch.printing import set_printoptions
from .engine.pytorch.products import addmm, bmm, dot, einsum, matmul, mm, mv, outer
from .engine.pytorch.random import (
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
from .engine.pytorch.reductions import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    count_nonzero,
    cumsum,
    log_softmax,
    logsumexp,
    max,
    mean,
    min,
    norm,
    prod,
    softmax,
    std,
    std_mean,
    sum,
    var,
    var_mean,
)
from .engine.pytorch.shapes import (
    broadcast_tensors,
    broadcast_to,
    diag,
    diagonal,
    flatten,
    meshgrid,
    movedim,
    permute,
    reshape,
    squeeze,
    t,
    trace,
    transpose,
    tril,
    triu,
    unflatten,
    unsqueeze,
)
from .engine.pytorch.tensor_extras import Size, is_floating_point, is_tensor, numel, result_type
from .engine.random.generator import Generator, default_generator, initial_seed, manual_seed, seed
from .nn.functional import (
    adaptive_avg_pool1d,
    avg_pool1d,
    bilinear,
    celu,
    celu_,
    channel_shuffle,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cosine_similarity,
    hardshrink,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    pairwise_distance,
    pixel_shuffle,
    pixel_unshuffle,
    prelu,
    rms_norm,
    rrelu,
    rrelu_,
    selu,
    selu_,
    threshold,
    threshold_,
)
from .nn.functional.of_torch import (
    adaptive_max_pool1d,
    alpha_dropout,
    batch_norm,
    dropout,
    embedding,
    group_norm,
    instance_norm,
    layer_norm,
)
from .pages import amp, backends, compiler, cuda, distributed, utils
from .pages.amp import GradScaler, autocast, get_autocast_dtype, is_autocast_enabled
from .pages.backends import get_float32_matmul_precision, set_float32_matmul_precision
from .pages.compiler import compile
from .pages.settings import (
    are_deterministic_algorithms_enabled,
    get_num_interop_threads,
    is_deterministic_algorithms_warn_only_enabled,
    is_distributed,
    is_warn_always_enabled,
    set_flush_denormal,
    set_num_interop_threads,
    set_warn_always,
    use_deterministic_algorithms,
)
from .saving.torch_save import load, save

__version__ = "0.1.0"

_keep_big_blocks()
aliases.install()

float, double, half = float32, float64, float16
long, int = int64, int32
inf, nan, pi, e = _math.inf, _math.nan, _math.pi, _math.e

# Other names for the same.
multiply, divide, true_divide, subtract, negative, absolute = mul, div, div, sub, neg, abs
clip, greater, less, greater_equal, less_equal = clamp, gt, lt, ge, le
not_equal, swapdims, ravel = ne, transpose, flatten
concat = concatenate = cat

if not _FOR_TYPES:
    _accept_out(globals())
    # a page that few scripts ask for is loaded when one does: `torch.testing`, ...
    __getattr__ = aliases.later

# Written out, so that strict type checkers know what the package exports.
__all__ = [
    "abs", "absolute", "adaptive_avg_pool1d", "adaptive_max_pool1d", "add", "addcdiv",
    "addcmul", "addmm", "all", "allclose", "alpha_dropout", "amax", "amin", "amp", "any",
    "arange", "are_deterministic_algorithms_enabled", "argmax", "argmin", "argsort",
    "as_tensor", "autocast", "autograd", "avg_pool1d", "backends", "batch_norm", "bernoulli",
    "bfloat16", "bilinear", "bincount", "bitwise_and", "bitwise_not", "bitwise_or",
    "bitwise_xor", "bmm", "bool", "broadcast_tensors", "broadcast_to", "capture", "cat", "ceil",
    "celu", "celu_", "channel_shuffle", "clamp", "clamp_max", "clamp_min", "clip", "compile",
    "compiler", "concat", "concatenate", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "cos", "cosine_similarity", "count_nonzero", "cuda",
    "cumsum", "default_generator", "device", "diag", "diagonal", "distributed", "div", "divide",
    "double", "draw_graph", "dropout", "dtype", "e", "einsum", "embedding", "empty",
    "empty_like", "enable_grad", "eq", "equal", "erf", "exp", "exp2", "expm1", "eye", "flatten",
    "flip", "float", "float16", "float32", "float64", "floor", "floor_divide", "fmod", "frac",
    "from_dlpack", "from_numpy", "full", "full_like", "gather", "ge", "Generator",
    "get_autocast_dtype", "get_default_device", "get_default_dtype",
    "get_float32_matmul_precision", "get_num_interop_threads", "get_num_threads",
    "get_rng_state", "gradcheck", "GradScaler", "greater", "greater_equal", "group_norm", "gt",
    "half", "hardshrink", "histogram", "hstack", "index_add", "index_select", "inf",
    "inference_mode", "initial_seed", "instance_norm", "int", "int32", "int64",
    "is_autocast_enabled", "is_deterministic_algorithms_warn_only_enabled", "is_distributed",
    "is_floating_point", "is_grad_enabled", "is_tensor", "is_warn_always_enabled", "isclose",
    "isfinite", "isinf", "isnan", "kernel", "layer_norm", "le", "lerp", "less", "less_equal",
    "linspace", "load", "log", "log10", "log1p", "log2", "log_softmax", "logical_and",
    "logical_not", "logical_or", "logical_xor", "logsumexp", "long", "lt", "manual_seed",
    "masked_fill", "masked_select", "matmul", "max", "max_pool1d", "max_pool2d", "max_pool3d",
    "maximum", "mean", "median", "meshgrid", "min", "minimum", "mm", "mul", "multinomial",
    "multiply", "mv", "nan", "narrow", "ne", "neg", "negative", "nn", "no_grad", "nonzero",
    "norm", "normal", "not_equal", "numel", "ones", "ones_like", "optim", "pairwise_distance",
    "permute", "pi", "pixel_shuffle", "pixel_unshuffle", "pow", "prelu", "primitive", "prod",
    "promote_types", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like",
    "randperm", "ravel", "reciprocal", "reference_only", "relu", "remainder",
    "repeat_interleave", "reshape", "result_type", "rms_norm", "roll", "round", "rrelu",
    "rrelu_", "rsqrt", "save", "scatter_add", "seed", "select", "selu", "selu_",
    "set_default_device", "set_default_dtype", "set_float32_matmul_precision",
    "set_flush_denormal", "set_grad_enabled", "set_num_interop_threads", "set_num_threads",
    "set_printoptions", "set_rng_state", "set_warn_always", "sigmoid", "sign", "sin", "Size",
    "softmax", "sort", "sqrt", "square", "squeeze", "stack", "std", "std_mean", "sub",
    "subtract", "sum", "swapdims", "t", "take_along_dim", "tanh", "Tensor", "tensor",
    "threshold", "threshold_", "tile", "topk", "trace", "transpose", "tril", "triu",
    "true_divide", "uint8", "unbind", "unflatten", "unique", "unsqueeze",
    "use_deterministic_algorithms", "utils", "var", "var_mean", "where", "zeros", "zeros_like",
]  # fmt: skip
__all__ += _beyond.__all__
