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
    clone,
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
    rsub,
    square,
    sub,
    trunc,
    where,
)
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
    split,
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
from .pages import amp, backends, compiler, cuda, distributed, utils
from .pages.amp import autocast, get_autocast_dtype, is_autocast_enabled
from .pages.backends import get_float32_matmul_precision, set_float32_matmul_precision
from .pages.compiler import compile
from .saving.torch_save import load, save

# What the course does not use, and other people's scripts do.
# fmt: off
# isort: off
from .engine.ops.bits import bitwise_left_shift, bitwise_right_shift, gcd, lcm
from .engine.ops.exponentials import erfc, logaddexp
from .engine.ops.trigonometry import (
    acos, acosh, asin, asinh, atan, atan2, atanh, cosh, hypot, sinh, tan,
)
from .engine.pytorch.along_axes import (
    aminmax, corrcoef, cov, cummax, cummin, cumprod, cumulative_trapezoid, diff, dist, logcumsumexp,
    nanmean, nansum, renorm, trapezoid,
)
from .engine.pytorch.by_element import (
    copysign, deg2rad, float_power, fmax, fmin, frexp, heaviside, isneginf, isposinf, isreal, ldexp,
    logaddexp2, logit, nan_to_num, nextafter, positive, rad2deg, sgn, signbit, sinc, xlogy,
)
from .engine.pytorch.by_position import (
    diag_embed, diagflat, diagonal_scatter, index_copy, index_fill, index_put, index_reduce,
    masked_scatter, put, scatter, scatter_reduce, select_scatter, slice_scatter, take, tril_indices,
    triu_indices, unravel_index,
)
from .engine.pytorch.cutting import (
    adjoint, atleast_1d, atleast_2d, atleast_3d, block_diag, broadcast_shapes, column_stack, dsplit,
    dstack, fliplr, flipud, hsplit, narrow_copy, rot90, split_with_sizes, tensor_split, vsplit,
)
from .engine.pytorch.more_creation import (
    empty_strided, hamming_window, hann_window, logspace, range, scalar_tensor,
)
from .engine.pytorch.more_products import (
    addbmm, addmv, addr, baddbmm, cartesian_prod, cdist, chain_matmul, combinations, cross, inner,
    kron, tensordot, vander,
)
from .engine.pytorch.order_statistics import (
    argwhere, bucketize, histc, isin, kthvalue, mode, msort, nanmedian, nanquantile, quantile,
    searchsorted, unique_consecutive,
)
# isort: on
# fmt: on

__version__ = "0.1.0"

_keep_big_blocks()
aliases.install()

float, double, half = float32, float64, float16
long, int = int64, int32
inf, nan, pi, e = _math.inf, _math.nan, _math.pi, _math.e

# Other names for the same.
multiply, divide, true_divide, subtract, negative, absolute = mul, div, div, sub, neg, abs
clip, greater, less, greater_equal, less_equal = clamp, gt, lt, ge, le
not_equal, swapaxes, swapdims, ravel = ne, transpose, transpose, flatten
concat = concatenate = cat
arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2
arcsinh, arccosh, arctanh, fix = asinh, acosh, atanh, trunc
ger, vdot, moveaxis, row_stack, trapz = outer, dot, movedim, vstack, trapezoid
unsafe_split, unsafe_chunk, unsafe_split_with_sizes = split, chunk, split_with_sizes

if not _FOR_TYPES:
    _accept_out(globals())
    # a page that few scripts ask for is loaded when one does: `torch.testing`, ...
    __getattr__ = aliases.later

# Written out, so that strict type checkers know what the package exports.
__all__ = [
    "abs", "absolute", "acos", "acosh", "add", "addbmm", "addcdiv", "addcmul", "addmm", "addmv",
    "addr", "adjoint", "all", "allclose", "amax", "amin", "aminmax", "amp", "any", "arange",
    "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "argmax",
    "argmin", "argsort", "argwhere", "as_tensor", "asin", "asinh", "atan", "atan2", "atanh",
    "atleast_1d", "atleast_2d", "atleast_3d", "autocast", "autograd", "backends", "baddbmm",
    "bernoulli", "bfloat16", "bincount", "bitwise_and", "bitwise_left_shift", "bitwise_not",
    "bitwise_or", "bitwise_right_shift", "bitwise_xor", "block_diag", "bmm", "bool",
    "broadcast_shapes", "broadcast_tensors", "broadcast_to", "bucketize", "capture",
    "cartesian_prod", "cat", "cdist", "ceil", "chain_matmul", "chunk", "clamp", "clamp_max",
    "clamp_min", "clip", "clone", "column_stack", "combinations", "compile", "compiler",
    "concat", "concatenate", "copysign", "corrcoef", "cos", "cosh", "count_nonzero", "cov",
    "cross", "cuda", "cummax", "cummin", "cumprod", "cumsum", "cumulative_trapezoid",
    "default_generator", "deg2rad", "device", "diag", "diag_embed", "diagflat", "diagonal",
    "diagonal_scatter", "diff", "dist", "distributed", "div", "divide", "dot", "double",
    "draw_graph", "dsplit", "dstack", "dtype", "e", "einsum", "empty", "empty_like",
    "empty_strided", "enable_grad", "eq", "equal", "erf", "erfc", "exp", "exp2", "expm1", "eye",
    "fix", "flatten", "flip", "fliplr", "flipud", "float", "float16", "float32", "float64",
    "float_power", "floor", "floor_divide", "fmax", "fmin", "fmod", "frac", "frexp",
    "from_dlpack", "from_numpy", "full", "full_like", "gather", "gcd", "ge", "Generator", "ger",
    "get_autocast_dtype", "get_default_device", "get_default_dtype",
    "get_float32_matmul_precision", "get_num_threads", "get_rng_state", "gradcheck", "greater",
    "greater_equal", "gt", "half", "hamming_window", "hann_window", "heaviside", "histc",
    "histogram", "hsplit", "hstack", "hypot", "index_add", "index_copy", "index_fill",
    "index_put", "index_reduce", "index_select", "inf", "inference_mode", "initial_seed",
    "inner", "int", "int32", "int64", "is_autocast_enabled", "is_floating_point",
    "is_grad_enabled", "is_tensor", "isclose", "isfinite", "isin", "isinf", "isnan", "isneginf",
    "isposinf", "isreal", "kernel", "kron", "kthvalue", "lcm", "ldexp", "le", "lerp", "less",
    "less_equal", "linspace", "load", "log", "log10", "log1p", "log2", "log_softmax",
    "logaddexp", "logaddexp2", "logcumsumexp", "logical_and", "logical_not", "logical_or",
    "logical_xor", "logit", "logspace", "logsumexp", "long", "lt", "manual_seed", "masked_fill",
    "masked_scatter", "masked_select", "matmul", "max", "maximum", "mean", "median", "meshgrid",
    "min", "minimum", "mm", "mode", "moveaxis", "movedim", "msort", "mul", "multinomial",
    "multiply", "mv", "nan", "nan_to_num", "nanmean", "nanmedian", "nanquantile", "nansum",
    "narrow", "narrow_copy", "ne", "neg", "negative", "nextafter", "nn", "no_grad", "nonzero",
    "norm", "normal", "not_equal", "numel", "ones", "ones_like", "optim", "outer", "permute",
    "pi", "positive", "pow", "primitive", "prod", "promote_types", "put", "quantile", "rad2deg",
    "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm", "range",
    "ravel", "reciprocal", "reference_only", "relu", "remainder", "renorm", "repeat_interleave",
    "reshape", "result_type", "roll", "rot90", "round", "row_stack", "rsqrt", "rsub", "save",
    "scalar_tensor", "scatter", "scatter_add", "scatter_reduce", "searchsorted", "seed",
    "select", "select_scatter", "set_default_device", "set_default_dtype",
    "set_float32_matmul_precision", "set_grad_enabled", "set_num_threads", "set_printoptions",
    "set_rng_state", "sgn", "sigmoid", "sign", "signbit", "sin", "sinc", "sinh", "Size",
    "slice_scatter", "softmax", "sort", "split", "split_with_sizes", "sqrt", "square",
    "squeeze", "stack", "std", "std_mean", "sub", "subtract", "sum", "swapaxes", "swapdims",
    "t", "take", "take_along_dim", "tan", "tanh", "Tensor", "tensor", "tensor_split",
    "tensordot", "tile", "topk", "trace", "transpose", "trapezoid", "trapz", "tril",
    "tril_indices", "triu", "triu_indices", "true_divide", "trunc", "uint8", "unbind",
    "unflatten", "unique", "unique_consecutive", "unravel_index", "unsafe_chunk",
    "unsafe_split", "unsafe_split_with_sizes", "unsqueeze", "utils", "vander", "var",
    "var_mean", "vdot", "vsplit", "vstack", "where", "xlogy", "zeros", "zeros_like",
]  # fmt: skip
