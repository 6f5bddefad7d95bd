"""The functions and words of `torch` itself that the course does not use, and other people's
scripts do. The package's own page takes them all from here."""

from __future__ import annotations

from ..arrays import OutOfMemoryError, int8, int16
from ..arrays.dtypes import dtype_named as _named
from ..ops.bits import bitwise_left_shift, bitwise_right_shift, gcd, lcm
from ..ops.exponentials import erfc, logaddexp
from ..ops.trigonometry import acos, acosh, asin, asinh, atan, atan2, atanh, cosh, hypot, sinh, tan
from .along_axes import (
    aminmax,
    corrcoef,
    cov,
    cummax,
    cummin,
    cumprod,
    cumulative_trapezoid,
    diff,
    dist,
    logcumsumexp,
    nanmean,
    nansum,
    renorm,
    trapezoid,
)
from .anomaly import is_anomaly_check_nan_enabled, is_anomaly_enabled
from .arithmetic import fill, rsub, trunc
from .by_element import (
    copysign,
    deg2rad,
    float_power,
    fmax,
    fmin,
    frexp,
    heaviside,
    isneginf,
    isposinf,
    isreal,
    ldexp,
    logaddexp2,
    nan_to_num,
    nextafter,
    positive,
    rad2deg,
    sgn,
    signbit,
    sinc,
)
from .by_position import (
    diag_embed,
    diagflat,
    diagonal_scatter,
    index_copy,
    index_fill,
    index_put,
    index_reduce,
    masked_scatter,
    put,
    scatter,
    scatter_reduce,
    select_scatter,
    slice_scatter,
    take,
    tril_indices,
    triu_indices,
    unravel_index,
)
from .cutting import (
    adjoint,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    block_diag,
    broadcast_shapes,
    column_stack,
    dsplit,
    dstack,
    fliplr,
    flipud,
    hsplit,
    narrow_copy,
    rot90,
    split_with_sizes,
    tensor_split,
    vsplit,
)
from .cutting import split_of as split
from .dtype_info import can_cast, finfo, iinfo, is_complex, is_nonzero, is_storage, typename
from .joining import chunk, vstack
from .joining import split as unsafe_split
from .later import (
    cholesky,
    cholesky_inverse,
    cholesky_solve,
    det,
    inverse,
    logdet,
    lu,
    matrix_exp,
    matrix_power,
    pinverse,
    qr,
    slogdet,
    svd,
    triangular_solve,
)
from .layouts import (
    channels_last,
    channels_last_3d,
    clone,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    sparse_coo,
    strided,
)
from .legacy import ON_CPU as _of
from .legacy import set_default_tensor_type
from .memory import get_device, is_signed
from .memory import never as is_conj
from .more_creation import (
    asarray,
    empty_strided,
    frombuffer,
    hamming_window,
    hann_window,
    logspace,
    range,
    scalar_tensor,
)
from .more_products import (
    addbmm,
    addmv,
    addr,
    baddbmm,
    cartesian_prod,
    cdist,
    chain_matmul,
    combinations,
    cross,
    inner,
    kron,
    tensordot,
    vander,
    vdot,
)
from .order_statistics import (
    argwhere,
    bucketize,
    histc,
    isin,
    kthvalue,
    mode,
    msort,
    nanmedian,
    nanquantile,
    quantile,
    searchsorted,
    unique_consecutive,
)
from .products import dot, outer
from .shapes import movedim, swapaxes
from .special import digamma, erfinv, lgamma, logit, xlogy
from .tensor_extras import itself as real
from .windows import as_strided

# `torch.LongTensor` and its like
BFloat16Tensor, BoolTensor = _of["BFloat16Tensor"], _of["BoolTensor"]
ByteTensor, CharTensor = _of["ByteTensor"], _of["CharTensor"]
DoubleTensor, FloatTensor = _of["DoubleTensor"], _of["FloatTensor"]
HalfTensor, IntTensor = _of["HalfTensor"], _of["IntTensor"]
LongTensor, ShortTensor = _of["LongTensor"], _of["ShortTensor"]

short, newaxis = int16, None

# Words without arithmetic, so that a script may compare with them.
uint16, uint32, uint64 = _named("uint16"), _named("uint32"), _named("uint64")
cfloat = complex64 = _named("complex64")
cdouble = complex128 = _named("complex128")
float8_e4m3fn, float8_e5m2 = _named("float8_e4m3fn"), _named("float8_e5m2")

# Other names for the same.
arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2
arcsinh, arccosh, arctanh, fix = asinh, acosh, atanh, trunc
ger, moveaxis, row_stack, trapz = outer, movedim, vstack, trapezoid
unsafe_chunk, unsafe_split_with_sizes = chunk, split_with_sizes
conj = conj_physical = resolve_conj = resolve_neg = real  # numbers are
is_neg = is_inference = is_conj

__all__ = [
    "acos", "acosh", "addbmm", "addmv", "addr", "adjoint", "aminmax", "arccos", "arccosh",
    "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "argwhere", "as_strided", "asarray",
    "asin", "asinh", "atan", "atan2", "atanh", "atleast_1d", "atleast_2d", "atleast_3d",
    "baddbmm", "BFloat16Tensor", "bitwise_left_shift", "bitwise_right_shift", "block_diag",
    "BoolTensor", "broadcast_shapes", "bucketize", "ByteTensor", "can_cast", "cartesian_prod",
    "cdist", "cdouble", "cfloat", "chain_matmul", "channels_last", "channels_last_3d",
    "CharTensor", "cholesky", "cholesky_inverse", "cholesky_solve", "chunk", "clone",
    "column_stack", "combinations", "complex128", "complex64", "conj", "conj_physical",
    "contiguous_format", "copysign", "corrcoef", "cosh", "cov", "cross", "cummax", "cummin",
    "cumprod", "cumulative_trapezoid", "deg2rad", "det", "diag_embed", "diagflat",
    "diagonal_scatter", "diff", "digamma", "dist", "dot", "DoubleTensor", "dsplit", "dstack",
    "empty_strided", "erfc", "erfinv", "fill", "finfo", "fix", "fliplr", "flipud",
    "float8_e4m3fn", "float8_e5m2", "float_power", "FloatTensor", "fmax", "fmin", "frexp",
    "frombuffer", "gcd", "ger", "get_device", "HalfTensor", "hamming_window", "hann_window",
    "heaviside", "histc", "hsplit", "hypot", "iinfo", "index_copy", "index_fill", "index_put",
    "index_reduce", "inner", "int16", "int8", "IntTensor", "inverse",
    "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "is_complex", "is_conj",
    "is_inference", "is_neg", "is_nonzero", "is_signed", "is_storage", "isin", "isneginf",
    "isposinf", "isreal", "kron", "kthvalue", "layout", "lcm", "ldexp", "lgamma", "logaddexp",
    "logaddexp2", "logcumsumexp", "logdet", "logit", "logspace", "LongTensor", "lu",
    "masked_scatter", "matrix_exp", "matrix_power", "memory_format", "mode", "moveaxis",
    "movedim", "msort", "nan_to_num", "nanmean", "nanmedian", "nanquantile", "nansum",
    "narrow_copy", "newaxis", "nextafter", "outer", "OutOfMemoryError", "pinverse", "positive",
    "preserve_format", "put", "qr", "quantile", "rad2deg", "range", "real", "renorm",
    "resolve_conj", "resolve_neg", "rot90", "row_stack", "rsub", "scalar_tensor", "scatter",
    "scatter_reduce", "searchsorted", "select_scatter", "set_default_tensor_type", "sgn",
    "short", "ShortTensor", "signbit", "sinc", "sinh", "slice_scatter", "slogdet", "sparse_coo",
    "split", "split_with_sizes", "strided", "svd", "swapaxes", "take", "tan", "tensor_split",
    "tensordot", "trapezoid", "trapz", "triangular_solve", "tril_indices", "triu_indices",
    "trunc", "typename", "uint16", "uint32", "uint64", "unique_consecutive", "unravel_index",
    "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes", "vander", "vdot", "vsplit",
    "vstack", "xlogy",
]  # fmt: skip
