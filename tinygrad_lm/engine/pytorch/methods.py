"""The table of a Tensor's methods: PyTorch's name = the function that does it. `bind` puts them on
Tensor, and type checkers and editors read the body of the class."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from ..core.tensor import Tensor, wrap
from ..inplace import look_into, regain_history
from ..ops import elementwise as e
from . import (
    arithmetic,
    by_position,
    conversions,
    creation,
    indexing,
    joining,
    ordering,
    products,
    protocols,
    random,
    reductions,
    shapes,
    storage,
)
from . import tensor_extras as extras
from .grad import targets
from .methods_beyond import MethodsBeyond
from .operators import add_, attribute, comparison, forward, reflected, sub_, writer, written


class Methods(MethodsBeyond):
    """What is listed here is a method of Tensor."""

    # one operand
    neg = e.neg
    abs = e.abs
    exp = e.exp
    expm1 = e.expm1
    log = e.log
    log2 = e.log2
    log10 = e.log10
    log1p = e.log1p
    sqrt = e.sqrt
    rsqrt = e.rsqrt
    reciprocal = e.reciprocal
    sin = e.sin
    cos = e.cos
    tanh = e.tanh
    sigmoid = e.sigmoid
    relu = e.relu
    erf = e.erf
    sign = e.sign
    floor = e.floor
    ceil = e.ceil
    isfinite = e.isfinite
    isnan = e.isnan
    isinf = e.isinf
    logical_not = e.logical_not

    # two operands
    mul = e.mul
    maximum = e.maximum
    minimum = e.minimum
    eq = e.eq
    ne = e.ne
    lt = e.lt
    le = e.le
    gt = e.gt
    ge = e.ge
    logical_and = e.logical_and
    logical_or = e.logical_or
    logical_xor = e.logical_xor
    bitwise_and = e.bitwise_and
    bitwise_or = e.bitwise_or
    bitwise_xor = e.bitwise_xor
    bitwise_not = e.bitwise_not

    # in PyTorch's spelling
    add = arithmetic.add
    sub = arithmetic.sub
    div = arithmetic.div
    floor_divide = arithmetic.floor_divide
    pow = arithmetic.pow
    remainder = arithmetic.remainder
    fmod = arithmetic.fmod
    square = arithmetic.square
    exp2 = arithmetic.exp2
    masked_fill = arithmetic.masked_fill
    clamp = arithmetic.clamp
    clamp_min = arithmetic.clamp_min
    clamp_max = arithmetic.clamp_max
    round = arithmetic.round
    trunc = arithmetic.trunc
    frac = arithmetic.frac
    lerp = arithmetic.lerp
    addcmul = arithmetic.addcmul
    addcdiv = arithmetic.addcdiv
    allclose = arithmetic.allclose
    isclose = arithmetic.isclose
    equal = arithmetic.equal

    # along axes
    sum = reductions.sum
    mean = reductions.mean
    prod = reductions.prod
    var = reductions.var
    std = reductions.std
    norm = reductions.norm
    logsumexp = reductions.logsumexp
    amax = reductions.amax
    amin = reductions.amin
    max = reductions.max
    min = reductions.min
    argmax = reductions.argmax
    argmin = reductions.argmin
    cumsum = reductions.cumsum
    any = reductions.any
    all = reductions.all
    count_nonzero = reductions.count_nonzero
    softmax = reductions.softmax
    log_softmax = reductions.log_softmax

    # in order
    argsort = ordering.argsort
    sort = ordering.sort
    topk = ordering.topk
    median = ordering.median
    nonzero = ordering.nonzero
    unique = ordering.unique
    bincount = ordering.bincount
    histogram = ordering.histogram

    # other shapes
    reshape = shapes.reshape
    flatten = shapes.flatten
    unflatten = shapes.unflatten
    transpose = shapes.transpose
    permute = shapes.permute
    t = shapes.t
    movedim = shapes.movedim
    squeeze = shapes.squeeze
    unsqueeze = shapes.unsqueeze
    broadcast_to = shapes.broadcast_to
    tril = shapes.tril
    triu = shapes.triu
    diagonal = shapes.diagonal
    diag = shapes.diag
    trace = shapes.trace

    # joining, cutting, repeating
    repeat_interleave = joining.repeat_interleave
    tile = joining.tile
    narrow = joining.narrow
    select = joining.select
    split = joining.split
    chunk = joining.chunk
    unbind = joining.unbind
    flip = joining.flip
    roll = joining.roll

    # by position
    gather = indexing.gather
    take_along_dim = indexing.take_along_dim
    scatter = by_position.scatter
    scatter_add = indexing.scatter_add
    index_add = indexing.index_add
    index_select = indexing.index_select
    masked_select = indexing.masked_select

    # products
    matmul = products.matmul
    dot = products.dot
    mm = products.mm
    mv = products.mv
    bmm = products.bmm
    outer = products.outer
    addmm = products.addmm

    # other names for the same
    multiply = mul
    divide = div
    true_divide = div
    subtract = sub
    negative = neg
    absolute = abs
    clip = clamp
    greater = gt
    less = lt
    greater_equal = ge
    less_equal = le
    not_equal = ne
    swapaxes = shapes.swapaxes
    swapdims = transpose
    ravel = flatten

    # in place
    neg_ = writer(neg)
    abs_ = writer(abs)
    exp_ = writer(exp)
    log_ = writer(log)
    sqrt_ = writer(sqrt)
    rsqrt_ = writer(rsqrt)
    square_ = writer(square)
    reciprocal_ = writer(reciprocal)
    sin_ = writer(sin)
    cos_ = writer(cos)
    tanh_ = writer(tanh)
    sigmoid_ = writer(sigmoid)
    relu_ = writer(relu)
    floor_ = writer(floor)
    ceil_ = writer(ceil)
    pow_ = writer(pow)
    remainder_ = writer(remainder)
    masked_fill_ = writer(masked_fill)
    clamp_ = writer(clamp)
    clip_ = writer(clip)
    clamp_min_ = writer(clamp_min)
    clamp_max_ = writer(clamp_max)
    round_ = writer(round)
    trunc_ = writer(trunc)
    tril_ = writer(tril)
    triu_ = writer(triu)
    lerp_ = writer(lerp)
    addcmul_ = writer(addcmul)
    addcdiv_ = writer(addcdiv)
    scatter_ = writer(scatter)
    scatter_add_ = writer(scatter_add)
    index_add_ = writer(index_add)
    logical_not_ = writer(logical_not)
    mul_ = writer(e.mul)
    div_ = writer(e.div)
    fill_ = writer(arithmetic.fill)
    add_ = add_  # these two with alpha=
    sub_ = sub_
    copy_ = extras.copy_
    zero_ = writer(arithmetic.zero)
    uniform_ = random.uniform_
    normal_ = random.normal_
    bernoulli_ = random.bernoulli_
    exponential_ = random.exponential_
    random_ = random.random_

    # methods only
    where = arithmetic.where_of
    view = shapes.view
    view_as = shapes.view_as
    reshape_as = shapes.reshape_as
    expand = shapes.expand
    expand_as = shapes.expand_as
    repeat = joining.repeat
    to = conversions.to
    type = conversions.type_of
    type_as = conversions.type_as
    astype = conversions.cast  # NumPy's name: an op's own function may run on Tensors
    float = conversions.to_float32
    double = conversions.to_float64
    half = conversions.to_float16
    bfloat16 = conversions.to_bfloat16
    long = conversions.to_int64
    int = conversions.to_int32
    byte = conversions.to_uint8
    bool = conversions.to_bool
    cpu = conversions.to_cpu
    cuda = conversions.to_cuda
    pin_memory = conversions.to_pinned
    new_zeros = creation.new_zeros
    new_ones = creation.new_ones
    new_full = creation.new_full
    new_empty = creation.new_empty
    new_tensor = creation.new_tensor
    multinomial = random.multinomial
    bernoulli = random.bernoulli
    T = attribute(shapes.T)
    mT = attribute(shapes.mT)

    # what it is
    def __new__(cls, *data: Any, **settings: Any) -> Any:  # whole, whatever a subclass does
        return wrap(None, object.__new__(cls))  # type: ignore[arg-type]

    def __init__(self, *data: Any, device: Any = None):  # a `def`, because of type checkers
        extras.initialize(self, *data, device=device)  # type: ignore[arg-type]

    shape = attribute(extras.shape)
    dtype = attribute(extras.dtype)
    device = attribute(extras.device)
    ndim = attribute(extras.ndim)
    is_cuda = attribute(extras.is_cuda)
    is_leaf = attribute(extras.is_leaf)
    grad_fn = attribute(extras.grad_fn)
    grad: Tensor | None = attribute(attrgetter("_grad"), extras.set_grad)
    data = attribute(Tensor.detach, extras.set_data)
    size = extras.size
    dim = extras.dim
    numel = extras.numel
    nelement = extras.numel
    element_size = extras.element_size
    is_floating_point = extras.is_floating_point
    stride = extras.stride
    storage_offset = extras.storage_offset
    storage = storage.typed_storage
    data_ptr = extras.data_ptr
    requires_grad_ = extras.requires_grad_
    detach_ = extras.detach_
    register_hook = extras.register_hook
    retain_grad = extras.retain_grad
    targets = staticmethod(targets)
    look_into = look_into
    refresh = regain_history

    # Python's operators; x @= y makes a new tensor, as in PyTorch
    __add__ = forward(e.add)
    __sub__ = forward(e.sub)
    __mul__ = forward(e.mul)
    __truediv__ = forward(e.div)
    __pow__ = forward(arithmetic.pow)
    __mod__ = forward(arithmetic.remainder)
    __floordiv__ = forward(arithmetic.floor_divide)
    __matmul__ = forward(products.matmul)
    __and__ = forward(e.bitwise_and)
    __or__ = forward(e.bitwise_or)
    __xor__ = forward(e.bitwise_xor)

    __radd__ = reflected(e.add)
    __rsub__ = forward(arithmetic.rsub)
    __rmul__ = reflected(e.mul)
    __rtruediv__ = forward(arithmetic.rdiv)
    __rpow__ = forward(arithmetic.rpow)
    __rmod__ = reflected(arithmetic.remainder)
    __rfloordiv__ = reflected(arithmetic.floor_divide)
    __rmatmul__ = reflected(products.matmul)
    __rand__ = reflected(e.bitwise_and)
    __ror__ = reflected(e.bitwise_or)
    __rxor__ = reflected(e.bitwise_xor)

    __iadd__ = written(e.add)
    __isub__ = written(e.sub)
    __imul__ = written(e.mul)
    __itruediv__ = written(e.div)
    __ipow__ = written(arithmetic.pow)
    __imod__ = written(arithmetic.remainder)
    __ifloordiv__ = written(arithmetic.floor_divide)
    __iand__ = written(e.bitwise_and)
    __ior__ = written(e.bitwise_or)
    __ixor__ = written(e.bitwise_xor)
    __eq__ = comparison(e.eq)  # type: ignore[assignment]
    __ne__ = comparison(e.ne)  # type: ignore[assignment]
    __lt__ = comparison(e.lt)
    __le__ = comparison(e.le)
    __gt__ = comparison(e.gt)
    __ge__ = comparison(e.ge)
    __hash__ = object.__hash__  # although == compares elements
    __neg__ = e.neg
    __pos__ = extras.itself
    __abs__ = e.abs
    __invert__ = e.bitwise_not
    __getitem__ = indexing.getitem
    __setitem__ = indexing.setitem

    # Python's and NumPy's protocols
    __array_priority__ = 1000  # so that array + Tensor asks the Tensor
    __array__ = protocols.array
    __array_wrap__ = protocols.array_wrap
    __dlpack__ = protocols.dlpack
    __dlpack_device__ = protocols.dlpack_device
    __len__ = protocols.length
    __iter__ = protocols.rows
    __bool__ = protocols.truth
    __float__ = protocols.as_float
    __int__ = protocols.as_int
    __index__ = protocols.as_index
    __contains__ = protocols.contains
    __format__ = protocols.formatted
    __repr__ = protocols.text
    __deepcopy__ = protocols.deepcopy
    __reduce__ = protocols.pickled
    item = protocols.item
    tolist = protocols.tolist
    numpy = protocols.numpy_array


OF_EVERY_CLASS = {
    "__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__firstlineno__",
    "__static_attributes__",
}  # fmt: skip


def bind(methods: type) -> None:
    """Put what the class bodies list on Tensor."""
    for kind in reversed(methods.mro()[:-1]):
        for name, method in vars(kind).items():
            if name not in OF_EVERY_CLASS:
                setattr(Tensor, name, method)


bind(Methods)
