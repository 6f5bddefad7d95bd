"""A second array library without a GPU: NumPy inside, and outside as unforgiving as CuPy.

It refuses implicit conversion from and to NumPy, lists as operands and mixtures; reductions give
0-d arrays; integer indices out of range wrap around silently; ufuncs have no `reduceat` and arrays
no `writeable` flag. What passes here has no stray NumPy call and no hidden transfer in it.
"""

import types

import numpy as np

from tinygrad_lm.engine import arrays


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
    for source in sources:
        if isinstance(source, FakeArray) and root(array) is root(source.hidden):
            return FakeArray(array, source if source.base is None else source.base)
    return FakeArray(array)


def wrapped(function, lists=False):
    """A NumPy function on fake arrays."""

    def call(*args, out=None, **kwargs):
        keywords = {k: inside(v) for k, v in {**kwargs, "out": out}.items() if v is not None}
        result = function(*(inside(a, lists) for a in args), **keywords)
        sources = [x for a in args for x in (a if isinstance(a, (tuple, list)) else [a])]
        return outside(result, sources) if out is None else out

    return call


class FakeArray:
    """An array on the fake device; `get()` is the one way back, and it is counted."""

    __array_ufunc__ = None
    transfers = 0

    def __init__(self, hidden, base=None):
        self.hidden, self.base = hidden, base

    def get(self):
        FakeArray.transfers += 1
        return self.hidden.copy()

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
        if name.startswith("__") or name == "hidden":
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
    return lambda self: getattr(self.hidden, name)()


def _operator(name):
    def method(self, *others):
        if any(isinstance(x, (tuple, list, np.ndarray)) for x in others):
            return wrapped(getattr(np.ndarray, name))(self, *others)  # which refuses
        result = getattr(self.hidden, name)(*map(inside, others))
        if result is self.hidden:
            return self
        return result if result is NotImplemented else outside(result, [self])

    return method


for _name in ("int", "float", "bool", "index"):
    setattr(FakeArray, f"__{_name}__", _number(f"__{_name}__"))
for _name in "add sub mul truediv floordiv mod pow matmul and or xor".split():
    for _form in (f"__{_name}__", f"__r{_name}__", f"__i{_name}__"):
        setattr(FakeArray, _form, _operator(_form))
for _name in "neg abs invert eq ne lt le gt ge".split():
    setattr(FakeArray, f"__{_name}__", _operator(f"__{_name}__"))
FakeArray.__hash__ = object.__hash__


class FakeNumpy:
    """NumPy's names for fake arrays, found when asked for."""

    lib = types.SimpleNamespace(
        stride_tricks=types.SimpleNamespace(as_strided=wrapped(np.lib.stride_tricks.as_strided))
    )

    def __getattr__(self, name):
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
        return FakeArray(np.array(value, dtype))

    array = asarray


fake_numpy = FakeNumpy()


def install():
    """Register the device "fake"; again and again does no harm."""
    arrays.register_library(FakeArray, fake_numpy, "fake")
