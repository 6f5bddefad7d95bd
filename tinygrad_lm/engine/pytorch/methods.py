"""The table of a Tensor's methods: PyTorch's name = the function that does it. `bind` puts them on
Tensor; type checkers and editors read the class body. Nothing is computed here."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from ..core.tensor import Tensor
from ..inplace import IN_PLACE_UFUNCS, in_place, look_into, regain_history
from ..ops import elementwise as e
from . import (
    arithmetic,
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

# ---------------------------------------------------------------- operators

USUAL = (Tensor, float, int)


def _fits(other: Any) -> bool:
    return not isinstance(other, (str, list, tuple, dict, type(None), type))


def operators(op: Any) -> tuple[Any, Any]:
    """x + other and other + x. `operator` tells the form in C what they do."""

    def forward(self: Tensor, other: Any) -> Any:
        return op(self, other) if isinstance(other, USUAL) or _fits(other) else NotImplemented

    def reflected(self: Tensor, other: Any) -> Any:
        return op(other, self) if isinstance(other, USUAL) or _fits(other) else NotImplemented

    forward.operator, reflected.operator = (op, False), (op, True)  # type: ignore[attr-defined]
    return forward, reflected


def comparison(op: Any) -> Any:
    return operators(op)[0]


def written(op: Any) -> Any:
    """x += other."""

    def method(self: Tensor, other: Any) -> Tensor:
        return in_place(self, op, other)

    if op.__name__ in IN_PLACE_UFUNCS:
        method.operator = (IN_PLACE_UFUNCS[op.__name__], False)  # type: ignore[attr-defined]
    return method


def writer(op: Any) -> Any:
    """x.exp_() is x = exp(x) in x's own memory, and likewise for the rest."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return in_place(self, op, *args, **kwargs)

    return method


def scaled_writer(op: Any) -> Any:
    def method(self: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
        return in_place(self, op, other if alpha == 1 else other * alpha)

    return method


# ---------------------------------------------------------------- the table


class Methods:
    """What stands here is a method of Tensor."""

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
    scatter = indexing.scatter
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
    swapaxes = transpose
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
    add_ = scaled_writer(e.add)
    sub_ = scaled_writer(e.sub)
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
    contiguous = shapes.contiguous
    repeat = joining.repeat
    clone = e.clone
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
    T = property(shapes.T)
    mT = property(shapes.mT)

    # what it is

    __init__ = extras.initialize
    shape = property(extras.shape)
    dtype = property(extras.dtype)
    device = property(extras.device)
    ndim = property(extras.ndim)
    is_cuda = property(extras.is_cuda)
    is_leaf = property(extras.is_leaf)
    grad_fn = property(extras.grad_fn)
    grad = property(attrgetter("_grad"), extras.set_grad)
    data = property(Tensor.detach, extras.set_data)
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
    is_contiguous = extras.is_contiguous
    requires_grad_ = extras.requires_grad_
    detach_ = extras.detach_
    register_hook = extras.register_hook
    retain_grad = extras.retain_grad
    look_into = look_into
    refresh = regain_history

    # Python's operators; x @= y makes a new tensor, as in PyTorch

    __add__, __radd__ = operators(e.add)
    __sub__, __rsub__ = operators(e.sub)[0], operators(arithmetic.rsub)[0]
    __mul__, __rmul__ = operators(e.mul)
    __truediv__, __rtruediv__ = operators(e.div)[0], operators(arithmetic.rdiv)[0]
    __pow__, __rpow__ = operators(arithmetic.pow)[0], operators(arithmetic.rpow)[0]
    __mod__, __rmod__ = operators(arithmetic.remainder)
    __floordiv__, __rfloordiv__ = operators(arithmetic.floor_divide)
    __matmul__, __rmatmul__ = operators(products.matmul)
    __and__, __rand__ = operators(e.bitwise_and)
    __or__, __ror__ = operators(e.bitwise_or)
    __xor__, __rxor__ = operators(e.bitwise_xor)
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
    __eq__ = comparison(e.eq)
    __ne__ = comparison(e.ne)
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

    __array_ufunc__ = None  # so that array + Tensor asks the Tensor
    __array_priority__ = 1000
    __array__ = protocols.array
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


def bind(methods: type) -> None:
    for name, method in vars(methods).items():
        if name not in ("__module__", "__dict__", "__weakref__", "__doc__"):
            setattr(Tensor, name, method)


bind(Methods)
