"""The table of a Tensor's methods that the course does not use, and other people's scripts do. It
goes on from `methods.py`, which binds both."""

from __future__ import annotations

from ..ops import bits, exponentials
from ..ops import elementwise as e
from ..ops import trigonometry as angles
from . import (
    along_axes,
    arithmetic,
    by_element,
    by_position,
    conversions,
    cutting,
    dtype_info,
    grad_fn,
    joining,
    later,
    layouts,
    legacy,
    memory,
    more_products,
    order_statistics,
    products,
    reductions,
    shapes,
    special,
    tensor_extras,
    windows,
)
from .operators import attribute, forward, reflected, sub_, writer, written


class MethodsBeyond:
    """What is listed here is a method of Tensor."""

    # element by element
    lgamma = special.lgamma
    digamma = special.digamma
    erfinv = special.erfinv
    logit = special.logit
    xlogy = special.xlogy
    tan = angles.tan
    asin = arcsin = angles.asin
    acos = arccos = angles.acos
    atan = arctan = angles.atan
    atan2 = arctan2 = angles.atan2
    sinh = angles.sinh
    cosh = angles.cosh
    asinh = arcsinh = angles.asinh
    acosh = arccosh = angles.acosh
    atanh = arctanh = angles.atanh
    hypot = angles.hypot
    erfc = exponentials.erfc
    logaddexp = exponentials.logaddexp
    logaddexp2 = by_element.logaddexp2
    sinc = by_element.sinc
    deg2rad = by_element.deg2rad
    rad2deg = by_element.rad2deg
    positive = by_element.positive
    sgn = by_element.sgn
    signbit = by_element.signbit
    copysign = by_element.copysign
    heaviside = by_element.heaviside
    isreal = by_element.isreal
    isposinf = by_element.isposinf
    isneginf = by_element.isneginf
    nan_to_num = by_element.nan_to_num
    fmax = by_element.fmax
    fmin = by_element.fmin
    fix = arithmetic.trunc
    frexp = by_element.frexp
    ldexp = by_element.ldexp
    float_power = by_element.float_power
    nextafter = by_element.nextafter
    exp2 = arithmetic.exp2
    bitwise_left_shift = bits.bitwise_left_shift
    bitwise_right_shift = bits.bitwise_right_shift
    gcd = bits.gcd
    lcm = bits.lcm
    sum_to_size = by_element.sum_to_size
    __lshift__ = forward(bits.bitwise_left_shift)
    __rshift__ = forward(bits.bitwise_right_shift)
    __rlshift__ = reflected(bits.bitwise_left_shift)
    __rrshift__ = reflected(bits.bitwise_right_shift)
    __ilshift__ = written(bits.bitwise_left_shift)
    __irshift__ = written(bits.bitwise_right_shift)

    # along axes, in order
    cumprod = along_axes.cumprod
    cummax = along_axes.cummax
    cummin = along_axes.cummin
    logcumsumexp = along_axes.logcumsumexp
    diff = along_axes.diff
    nansum = along_axes.nansum
    nanmean = along_axes.nanmean
    nanmedian = order_statistics.nanmedian
    aminmax = along_axes.aminmax
    dist = along_axes.dist
    renorm = along_axes.renorm
    cov = along_axes.cov
    corrcoef = along_axes.corrcoef
    msort = order_statistics.msort
    kthvalue = order_statistics.kthvalue
    mode = order_statistics.mode
    quantile = order_statistics.quantile
    nanquantile = order_statistics.nanquantile
    histc = order_statistics.histc
    unique_consecutive = order_statistics.unique_consecutive
    argwhere = order_statistics.argwhere

    # by position
    scatter_reduce = by_position.scatter_reduce
    index_reduce = by_position.index_reduce
    index_put = by_position.index_put
    index_copy = by_position.index_copy
    index_fill = by_position.index_fill
    masked_scatter = by_position.masked_scatter
    take = by_position.take
    put = by_position.put
    diag_embed = by_position.diag_embed
    diagflat = by_position.diagflat
    diagonal_scatter = by_position.diagonal_scatter
    select_scatter = by_position.select_scatter
    slice_scatter = by_position.slice_scatter

    # other shapes
    unfold = windows.unfold
    as_strided = windows.as_strided
    tensor_split = cutting.tensor_split
    hsplit = cutting.hsplit
    vsplit = cutting.vsplit
    dsplit = cutting.dsplit
    split_with_sizes = cutting.split_with_sizes
    unsafe_split = joining.split
    unsafe_split_with_sizes = cutting.split_with_sizes
    unsafe_chunk = joining.chunk
    narrow_copy = cutting.narrow_copy
    rot90 = cutting.rot90
    fliplr = cutting.fliplr
    flipud = cutting.flipud
    moveaxis = shapes.movedim
    adjoint = cutting.adjoint
    H = attribute(cutting.H)
    mH = attribute(shapes.mT)
    squeeze_ = cutting.squeeze_
    unsqueeze_ = cutting.unsqueeze_
    transpose_ = swapdims_ = cutting.transpose_
    swapaxes_ = cutting.swapaxes_
    t_ = cutting.t_
    as_strided_ = cutting.as_strided_

    # linear algebra
    baddbmm = more_products.baddbmm
    addbmm = more_products.addbmm
    addmv = more_products.addmv
    addr = more_products.addr
    inner = more_products.inner
    vdot = more_products.vdot
    ger = more_products.ger
    kron = more_products.kron
    cross = more_products.cross

    # of the graph
    retains_grad = attribute(grad_fn.retains_grad)
    output_nr = attribute(grad_fn.output_nr)
    _version = attribute(grad_fn.version)
    register_post_accumulate_grad_hook = grad_fn.register_post_accumulate_grad_hook
    cholesky = later.cholesky
    cholesky_inverse = later.cholesky_inverse
    cholesky_solve = later.cholesky_solve
    det = later.det
    inverse = later.inverse
    logdet = later.logdet
    lu = later.lu
    matrix_exp = later.matrix_exp
    matrix_power = later.matrix_power
    pinverse = later.pinverse
    qr = later.qr
    slogdet = later.slogdet
    svd = later.svd
    triangular_solve = later.triangular_solve

    # in place
    lgamma_ = writer(lgamma)
    digamma_ = writer(digamma)
    erfinv_ = writer(erfinv)

    # memory
    clone = layouts.clone
    contiguous = layouts.contiguous
    is_contiguous = layouts.is_contiguous
    resize_ = memory.resize_
    resize_as_ = memory.resize_as_
    set_ = memory.set_
    is_set_to = memory.is_set_to
    apply_ = memory.apply_
    map_ = memory.map_

    # what it is
    short = conversions.to_int16
    char = conversions.to_int8
    get_device = memory.get_device
    nbytes = attribute(memory.nbytes)
    itemsize = attribute(memory.itemsize)
    layout = attribute(memory.layout)
    is_sparse = attribute(memory.never)
    is_quantized = attribute(memory.never)
    is_meta = attribute(memory.never)
    is_sparse_csr = attribute(memory.never)
    is_cpu = attribute(memory.is_cpu)
    is_mps = attribute(memory.never)
    is_xla = attribute(memory.never)
    is_xpu = attribute(memory.never)
    is_ipu = attribute(memory.never)
    is_complex = memory.never
    is_conj = memory.never
    is_neg = memory.never
    is_pinned = memory.is_pinned
    is_signed = memory.is_signed
    ndimension = tensor_extras.dim
    conj = tensor_extras.itself
    conj_physical = tensor_extras.itself
    resolve_conj = tensor_extras.itself
    resolve_neg = tensor_extras.itself
    to_dense = memory.to_dense
    real = attribute(tensor_extras.itself)
    is_inference = memory.never
    is_nonzero = dtype_info.is_nonzero
    tan_ = writer(tan)
    asin_ = arcsin_ = writer(asin)
    acos_ = arccos_ = writer(acos)
    atan_ = arctan_ = writer(atan)
    atan2_ = arctan2_ = writer(atan2)
    sinh_ = writer(sinh)
    cosh_ = writer(cosh)
    asinh_ = arcsinh_ = writer(asinh)
    acosh_ = arccosh_ = writer(acosh)
    atanh_ = arctanh_ = writer(atanh)
    hypot_ = writer(hypot)
    erf_ = writer(e.erf)
    erfc_ = writer(erfc)
    expm1_ = writer(e.expm1)
    exp2_ = writer(exp2)
    log2_ = writer(e.log2)
    log10_ = writer(e.log10)
    log1p_ = writer(e.log1p)
    xlogy_ = writer(xlogy)
    logit_ = writer(logit)
    sinc_ = writer(sinc)
    deg2rad_ = writer(deg2rad)
    rad2deg_ = writer(rad2deg)
    sign_ = writer(e.sign)
    sgn_ = writer(sgn)
    copysign_ = writer(copysign)
    heaviside_ = writer(heaviside)
    nan_to_num_ = writer(nan_to_num)
    fix_ = writer(fix)
    frac_ = writer(arithmetic.frac)
    fmod_ = writer(arithmetic.fmod)
    floor_divide_ = writer(arithmetic.floor_divide)
    ldexp_ = writer(ldexp)
    float_power_ = by_element.float_power_
    nextafter_ = writer(nextafter)
    gcd_ = writer(gcd)
    lcm_ = writer(lcm)
    bitwise_and_ = writer(e.bitwise_and)
    bitwise_or_ = writer(e.bitwise_or)
    bitwise_xor_ = writer(e.bitwise_xor)
    bitwise_not_ = writer(e.bitwise_not)
    bitwise_left_shift_ = writer(bitwise_left_shift)
    bitwise_right_shift_ = writer(bitwise_right_shift)
    logical_and_ = writer(e.logical_and)
    logical_or_ = writer(e.logical_or)
    logical_xor_ = writer(e.logical_xor)
    eq_ = writer(e.eq)
    ne_ = not_equal_ = writer(e.ne)
    lt_ = less_ = writer(e.lt)
    le_ = less_equal_ = writer(e.le)
    gt_ = greater_ = writer(e.gt)
    ge_ = greater_equal_ = writer(e.ge)
    cumsum_ = writer(reductions.cumsum)
    cumprod_ = writer(cumprod)
    renorm_ = writer(renorm)
    scatter_reduce_ = writer(scatter_reduce)
    index_reduce_ = writer(index_reduce)
    index_put_ = writer(index_put)
    index_copy_ = writer(index_copy)
    index_fill_ = writer(index_fill)
    masked_scatter_ = writer(masked_scatter)
    put_ = writer(put)
    fill_diagonal_ = by_position.fill_diagonal_
    addmm_ = writer(products.addmm)
    baddbmm_ = writer(baddbmm)
    addbmm_ = writer(addbmm)
    addmv_ = writer(addmv)
    addr_ = writer(addr)
    negative_ = writer(e.neg)
    absolute_ = writer(e.abs)
    multiply_ = writer(e.mul)
    subtract_ = sub_
    divide_ = true_divide_ = writer(arithmetic.div)

    # of former versions of PyTorch
    new = legacy.new
