"""The real CuPy on a machine without a GPU: its memory is the host's, its kernels are compiled by
g++. `install()` has to come before anything imports cupy; README.md says what this shows and what
it cannot show."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from . import build
from .build import CannotEmulate

__all__ = ["CannotEmulate", "backwards", "counts", "install", "installed", "memory", "without_pool"]

_device: Any = None  # the compiled runtime, once it is installed


def installed() -> bool:
    return _device is not None


def install(devices: int = 0) -> None:
    """Give CuPy an emulated GPU, or several (CUPY_ON_CPU_DEVICES, else 1)."""
    global _device
    if installed():
        return
    if "cupy" in sys.modules:
        raise CannotEmulate("[cupy_on_cpu] must come before cupy is imported")
    made = build.prepare()
    os.environ["CUPY_ACCELERATORS"] = ""  # CUB is not emulated
    os.environ["CUPY_CACHE_DIR"] = str(made / "cupy")
    device = ctypes.PyDLL(str(made / "libdevice.so"), ctypes.RTLD_GLOBAL)
    for name in ("libcublas.so.13", "libcublasLt.so.13"):  # found by these names from now on
        ctypes.CDLL(str(made / name), ctypes.RTLD_GLOBAL)
    count = devices or int(os.environ.get("CUPY_ON_CPU_DEVICES", "1"))
    ctypes.c_int.in_dll(device, "device_count").value = count
    ctypes.c_bool.in_dll(device, "device_backwards").value = (
        os.environ.get("CUPY_ON_CPU_BACKWARDS") == "1"
    )
    from cupy_backends.cuda.api import driver, runtime

    ctypes.py_object.in_dll(device, "device_error_class").value = runtime.CUDARuntimeError
    source = (build.HERE / "runtime.cpp").read_text()
    for module, prefix in ((runtime, "runtime"), (driver, "driver")):
        for name in re.findall(rf"^[\w* ]+ {prefix}_(\w+)\(", source, re.M):
            _replace(module, name, getattr(device, f"{prefix}_{name}"))
    _device = device
    _load_past_pathfinder("cublas")
    sys.modules["cupy.cuda.thrust"] = _sorts()
    _compile_by_gcc()


# The types of C that appear in CuPy's signatures.
_C = {
    "PyObject *": ctypes.py_object,
    "intptr_t": ctypes.c_ssize_t,
    "size_t": ctypes.c_size_t,
    "int": ctypes.c_int,
    "unsigned int": ctypes.c_uint,
    "float": ctypes.c_float,
    "void": None,
}


def _replace(module: ModuleType, name: str, function: Any) -> None:
    """CuPy's compiled modules take each other's functions from capsules, named by their signature,
    when they are imported; Python takes the attribute."""
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = (
        ctypes.c_void_p,
        [_C["PyObject *"]],
    )
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = [ctypes.c_void_p] * 3
    capsules = module.__pyx_capi__
    if name not in capsules:
        raise CannotEmulate(f"[cupy_on_cpu] this CuPy has no {module.__name__}.{name}")
    # The name belongs to the old capsule and is a constant of its module: it outlives both.
    signature = api.PyCapsule_GetName(capsules[name])
    address = ctypes.cast(function, ctypes.c_void_p)
    capsules[name] = api.PyCapsule_New(address, signature, None)
    if hasattr(module, name):
        setattr(module, name, _callable(ctypes.string_at(signature).decode(), address))


def _callable(signature: str, address: Any) -> Any:
    """The same function for Python. Cython's own last argument and structures of optional arguments
    are passed as zeros."""
    result, _, parameters = signature.partition("(")
    kinds = [p for p in parameters.rstrip(")").split(", ") if p != "void"]
    types = [_C.get(kind, ctypes.c_void_p) for kind in kinds]
    own = next((i for i, kind in enumerate(kinds) if "skip_dispatch" in kind), len(kinds))
    types[own:] = [ctypes.c_int, *types[own + 1 :]][: len(types) - own]
    made = ctypes.PYFUNCTYPE(_C[result.strip()], *types)(address.value)

    def call(*arguments: Any) -> Any:
        zeros = [0] * (len(types) - own)
        return made(*arguments[:own], *zeros)

    return call


def _load_past_pathfinder(name: str) -> None:
    """Import one of CuPy's modules of libraries as a file: the import itself would first look for
    NVIDIA's library in its places."""
    from cupy_backends.cuda import libs

    full = f"{libs.__name__}.{name}"
    found = importlib.machinery.PathFinder.find_spec(full, libs.__path__)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[full] = module
    found.loader.exec_module(module)
    setattr(libs, name, module)


def _sorts() -> ModuleType:
    """Thrust's sorts, by NumPy's on the same memory."""
    import numpy as np

    def at(address: int, shape: tuple, dtype: Any) -> Any:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = (ctypes.c_char * size).from_address(address) if size else bytearray()
        return np.frombuffer(memory, dtype).reshape(shape)

    def on_stream(sort: Any) -> Any:
        """Done at once, or recorded where the stream is captured."""
        enqueue = _device.device_enqueue_python
        enqueue.restype, enqueue.argtypes = ctypes.py_object, (ctypes.c_ssize_t, ctypes.py_object)

        def enqueued(*arguments: Any) -> None:
            from cupy.cuda import get_current_stream

            enqueue(get_current_stream().ptr, lambda: sort(*arguments))

        return enqueued

    def known(dtype: Any) -> None:
        if np.dtype(dtype).name == "bfloat16":
            raise NotImplementedError("Sorting arrays with dtype 'bfloat16' is not supported")

    def sort(dtype, data, keys, shape):
        known(dtype)
        values = at(data, shape, dtype)
        values[...] = np.sort(values, axis=-1, kind="stable")

    def argsort(dtype, indices, data, keys, shape):
        known(dtype)
        values = at(data, shape, dtype)
        order = np.argsort(values, axis=-1, kind="stable")
        at(indices, shape, np.int64)[...] = order
        values[...] = np.take_along_axis(values, order, -1)

    def lexsort(dtype, indices, keys, k, n):
        at(indices, (n,), np.int64)[...] = np.lexsort(at(keys, (k, n), dtype))

    made: Any = ModuleType("cupy.cuda.thrust")
    made.sort, made.argsort, made.lexsort = map(on_stream, (sort, argsort, lexsort))
    made.available, made.get_build_version = True, lambda: 200800
    return made


def _compile_by_gcc() -> None:
    import cupy
    from cupy.cuda import compiler

    def compile(self, options=(), log_stream=None):
        return build.compile_program(self.src, tuple(self.name_expressions or ()))

    compiler._NVRTCProgram.compile = compile
    compiler._NVRTCProgram.__init__ = _remember
    compiler._NVRTCProgram.__del__ = lambda self: None
    compiler._get_nvrtc_version = lambda: (13, 0)


def _remember(self, src, *_, name_expressions=None, **__):
    self.src, self.name_expressions = src, name_expressions


# ---------------------------------------------------------------- what a test may ask


class _Counts(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_long)
        for name in (
            "launches replayed_launches libraries uploads downloads copies waits allocations "
            "uploaded_bytes downloaded_bytes bytes peak_bytes overruns"
        ).split()
    ]


def counts() -> dict[str, int]:
    """What the device has done so far: kernels launched, by CuPy and by graphs; products (of
    cublasLt); copies each way with bytes; waits of the host; bytes in use and their peak; blocks of
    memory found written past their end."""
    found = _Counts.in_dll(_device, "device_counts")
    return {name: getattr(found, name) for name, _ in _Counts._fields_}


def reset_peak() -> None:
    found = _Counts.in_dll(_device, "device_counts")
    found.peak_bytes = found.bytes


@contextlib.contextmanager
def memory(size: int) -> Iterator[None]:
    """A device of so many bytes: what does not fit raises CuPy's OutOfMemoryError."""
    total = ctypes.c_long.in_dll(_device, "device_memory")
    before, total.value = total.value, size
    try:
        yield
    finally:
        total.value = before


@contextlib.contextmanager
def backwards() -> Iterator[None]:
    """Threads and blocks in reverse order. A kernel that gives other bits has no barrier where it
    needs one, or adds with atomics."""
    switch = ctypes.c_bool.in_dll(_device, "device_backwards")
    before, switch.value = switch.value, True
    try:
        yield
    finally:
        switch.value = before


@contextlib.contextmanager
def without_pool() -> Iterator[None]:
    """Every array is a block of its own: exact bytes, fresh memory filled with 0xA5, and writes
    past the end are found when it is freed."""
    import cupy

    with cupy.cuda.using_allocator(None):
        yield
