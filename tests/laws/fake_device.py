"""A second array library without a GPU: NumPy inside, and outside as unforgiving as CuPy.

It refuses implicit conversion from and to NumPy, lists as operands and mixtures, names and keywords
CuPy lacks; reductions give 0-d arrays; integer indices out of range wrap around silently; arrays
have no `writeable` flag, no hash and are no index; `as_strided` forgets whose memory it looks at.
Waits and uploads are counted. What passes here has no stray NumPy call in it. Where CuPy itself can
run, on a GPU or an emulated one, the same test asks both.
"""

import contextlib
import types

import numpy as np

from tinygrad_lm.engine import arrays

# What NumPy has and CuPy 14 has not; `test_fake_device.py` compares where CuPy is installed.
MISSING = frozenset(
    "asmatrix block bmat busday_count busday_offset datetime_as_string datetime_data einsum_path "
    "frompyfunc fromregex geomspace get_include getbufsize geterr geterrcall histogram_bin_edges "
    "info insert is_busday isnat matvec nanpercentile nanquantile nested_iters polyder polydiv "
    "polyint setbufsize seterr seterrcall show_runtime spacing test unstack vecdot vecmat".split()
)
MISSING_KEYWORDS = {"initial", "where", "like", "device", "stable", "mode"}


def root(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def inside(value, lists=False):
    """The NumPy value of an argument; an error for what CuPy would not take."""
    if isinstance(value, FakeArray):
        return value.hidden
    if isinstance(value, np.ndarray):
        raise TypeError("implicit conversion of a NumPy array to the fake device")
    if isinstance(value, list) and not lists:
        raise TypeError("a list is no operand on the fake device")
    return (
        type(value)(inside(v, lists) for v in value) if isinstance(value, (tuple, list)) else value
    )


def outside(value, sources=()):
    """A FakeArray of what NumPy returned, remembering whose memory it looks at."""
    if isinstance(value, (list, tuple)):
        return type(value)(outside(v, sources) for v in value)
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    array = np.asarray(value)
    with contextlib.suppress(ValueError):  # everything may be written there, diagonals too
        array.flags.writeable = True
    for source in sources:
        if isinstance(source, FakeArray) and root(array) is root(source.hidden):
            return FakeArray(array, source if source.base is None else source.base)
    return FakeArray(array)


def wrapped(function, lists=False):
    """A NumPy function on fake arrays."""

    def call(*args, out=None, **kwargs):
        unknown = MISSING_KEYWORDS & kwargs.keys()
        if unknown and not isinstance(function, np.ufunc):
            raise TypeError(f"unexpected keyword argument {min(unknown)!r} on the fake device")
        keywords = {k: inside(v) for k, v in {**kwargs, "out": out}.items() if v is not None}
        result = function(*(inside(a, lists) for a in args), **keywords)
        sources = [x for a in args for x in (a if isinstance(a, (tuple, list)) else [a])]
        return outside(result, sources) if out is None else out

    if isinstance(function, np.ufunc):
        for name in ("accumulate", "at", "outer", "reduce", "reduceat"):
            setattr(call, name, wrapped(getattr(function, name)))
    return call


NOT_AN_ATTRIBUTE = {"hidden", "ctypes", "getfield", "resize", "setfield", "setflags", "to_device"}


class FakeArray:
    """An array on the fake device. `waits`: how often the host asked for values and waited for
    them; `uploads`: how often it sent some."""

    __array_ufunc__ = None
    __hash__ = None
    waits = uploads = 0

    def __init__(self, hidden, base=None):
        self.hidden, self.base = hidden, base

    def get(self):
        FakeArray.waits += 1
        return self.hidden.copy()

    def item(self, *index):
        return self.get().item(*index)

    def tolist(self):
        return self.get().tolist()

    def __array__(self, *_, **__):
        raise TypeError("implicit conversion of a fake array to NumPy; use .get()")

    @property
    def device(self):
        return types.SimpleNamespace(id=0)

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.hidden.ctypes.data)

    @property
    def flags(self):
        flags = self.hidden.flags
        return types.SimpleNamespace(
            c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous
        )

    def __getattr__(self, name):
        if name.startswith("__") or name in NOT_AN_ATTRIBUTE:
            raise AttributeError(name)
        found = getattr(self.hidden, name)
        if callable(found):
            return lambda *a, **k: wrapped(getattr(np.ndarray, name), lists=True)(self, *a, **k)
        return outside(found, [self])

    def _key(self, key):
        parts, axis, made = key if isinstance(key, tuple) else (key,), 0, []
        for i, part in enumerate(parts):
            hidden = inside(part, lists=True)
            if part is Ellipsis:
                axis = self.ndim - sum(p is not None for p in parts[i + 1 :])
            elif getattr(hidden, "dtype", np.dtype("O")).kind == "b":
                axis += hidden.ndim
            elif part is not None:
                if isinstance(hidden, np.ndarray):
                    hidden = hidden % max(self.shape[axis], 1)  # wraps around, as on a GPU
                axis += 1
            made.append(hidden)
        return tuple(made)

    def __getitem__(self, key):
        return outside(self.hidden[self._key(key)], [self])

    def __setitem__(self, key, value):
        self.hidden[self._key(key)] = inside(value)

    def __len__(self):
        return len(self.hidden)


def _number(name):
    return lambda self: getattr(self.get(), name)()


def _operator(name):
    def method(self, *others):
        if any(isinstance(x, (tuple, list, np.ndarray)) for x in others):
            return wrapped(getattr(np.ndarray, name))(self, *others)  # which refuses
        result = getattr(self.hidden, name)(*map(inside, others))
        if result is self.hidden:
            return self
        return result if result is NotImplemented else outside(result, [self])

    return method


for _name in ("int", "float", "bool"):
    setattr(FakeArray, f"__{_name}__", _number(f"__{_name}__"))
for _name in "add sub mul truediv floordiv mod pow matmul and or xor".split():
    for _form in (f"__{_name}__", f"__r{_name}__", f"__i{_name}__"):
        setattr(FakeArray, _form, _operator(_form))
del FakeArray.__imatmul__  # so x @= y makes a new x
for _name in "neg abs invert eq ne lt le gt ge".split():
    setattr(FakeArray, f"__{_name}__", _operator(f"__{_name}__"))


def as_strided(x, shape=None, strides=None):
    """A view whose `base` is None: nothing ties it to x."""
    return FakeArray(np.lib.stride_tricks.as_strided(inside(x), shape, strides))


class FakeNumpy:
    """NumPy's names for fake arrays, found when asked for."""

    lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=as_strided))

    def __getattr__(self, name):
        if name in MISSING:
            raise AttributeError(f"CuPy has no {name}")
        found = getattr(np, name)
        takes_lists = not isinstance(found, np.ufunc)
        return (
            found if isinstance(found, type) or not callable(found) else wrapped(found, takes_lists)
        )

    @staticmethod
    def diagonal(x, *axes):
        """A view that can be written, unlike NumPy's."""
        hidden = x.hidden.diagonal(*axes)
        hidden.flags.writeable = True
        return outside(hidden, [x])

    @staticmethod
    def asarray(value, dtype=None):
        """The one way in."""
        if isinstance(value, FakeArray):
            return value if dtype in (None, value.dtype) else value.astype(dtype)
        FakeArray.uploads += 1
        return FakeArray(np.array(value, dtype))

    array = asarray


fake_numpy = FakeNumpy()


def install():
    """Register the device "fake"; again and again does no harm."""
    arrays.register_library(FakeArray, fake_numpy, "fake")
