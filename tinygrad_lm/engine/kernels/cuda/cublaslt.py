"""Products of matrices by NVIDIA's cublasLt, called through ctypes. CuPy's own products cannot go
into a CUDA graph, take no bias and know no batches in 16 bits; these can, do and take them.

cublasLt counts along columns: what is a matrix (m, n) in rows to us is its transpose (n, m) to it.
So it is asked for out^T = y^T x^T, in which nothing is copied. How it will compute that, a Plan,
is found once for each pair of shapes and strides."""

from __future__ import annotations

import ctypes
import math
import weakref
from ctypes import POINTER, byref, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from threading import Lock
from typing import Any, NamedTuple

import cupy
import numpy
from cupy.cuda import get_current_stream
from cupy.cuda.device import get_device_id

from ... import arrays

# The numbers that cublasLt.h and library_types.h give to these names.
REAL = {"f": 0, "d": 1, "e": 2, "E": 14}  # dtype.char -> cudaDataType
COMPUTE_32F, COMPUTE_64F, COMPUTE_32F_FAST_TF32 = 68, 70, 77
TRANSPOSE_A, TRANSPOSE_B, EPILOGUE, BIAS = 3, 4, 7, 8  # attributes of a product
BATCH_COUNT, BATCH_STRIDE = 5, 6  # of a matrix
WORKSPACE_BYTES, ALIGNMENTS = 1, (5, 6, 7, 8)  # of a preference: of x, y, what is added, out
EPILOGUES = {"": 1, "bias": 4}

WORKSPACE = 32 << 20  # what NVIDIA names for Hopper
CACHED = 4096  # plans, after which they are made anew
CANDIDATES = 8  # ways that are timed, where products are tuned


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t: a way to compute a product, and what it needs."""

    _fields_ = (
        ("algorithm", c_uint64 * 8),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", ctypes.c_float),
        ("reserved", c_int * 4),
    )


SIGNATURES: dict[str, tuple] = {
    "Create": (POINTER(c_void_p),),
    "MatmulDescCreate": (POINTER(c_void_p), c_int, c_int),
    "MatmulDescSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "MatmulDescDestroy": (c_void_p,),
    "MatrixLayoutCreate": (POINTER(c_void_p), c_int, c_uint64, c_uint64, c_int64),
    "MatrixLayoutSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "MatrixLayoutDestroy": (c_void_p,),
    "MatmulPreferenceCreate": (POINTER(c_void_p),),
    "MatmulPreferenceSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "MatmulPreferenceDestroy": (c_void_p,),
    "MatmulAlgoGetHeuristic": (*[c_void_p] * 7, c_int, POINTER(Heuristic), POINTER(c_int)),
    # handle, product, alpha, a, its layout, b, its, beta, c, its, d, its, algorithm, workspace,
    # its size, stream
    "Matmul": (*[c_void_p] * 14, c_size_t, c_void_p),
}


@cache
def library() -> Any:
    """cublasLt of CuPy's CUDA version, or None where there is none."""
    try:
        found = ctypes.CDLL(f"libcublasLt.so.{cupy.cuda.runtime.runtimeGetVersion() // 1000}")
    except OSError:
        try:
            from cuda.pathfinder import load_nvidia_dynamic_lib

            found = ctypes.CDLL(load_nvidia_dynamic_lib("cublasLt").abs_path)
        except Exception:  # the package or the library is missing: then CuPy's products remain
            return None
    for name, types in SIGNATURES.items():
        getattr(found, f"cublasLt{name}").argtypes = types
    return found


def call(name: str, *arguments: Any) -> None:
    status = getattr(library(), f"cublasLt{name}")(*arguments)
    if status:
        raise RuntimeError(f"[matmul] cublasLt{name} must succeed, got its status {status}")


def made(name: str, *arguments: Any) -> c_void_p:
    """A new object of cublasLt's."""
    it = c_void_p()
    call(name, byref(it), *arguments)
    return it


@cache
def handle(device: int) -> c_void_p:
    return made("Create")


workspaces: dict[tuple[int, int], Any] = {}  # (device, stream) -> memory


def workspace(device: int, stream: Any) -> int:
    """Memory for products in one stream, in which they follow each other; it goes with the stream,
    and is no part of a pool, which may belong to a recorded step."""
    key = device, stream.ptr
    if key not in workspaces:
        try:
            workspaces[key] = cupy.cuda.Memory(WORKSPACE)
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise MemoryError(f"no {WORKSPACE:,} bytes to work in ({error})") from error
        weakref.finalize(stream, workspaces.pop, key, None)
    return workspaces[key].ptr


class Operand(NamedTuple):
    """A matrix as cublasLt sees it, along columns, or a batch of them at equal distances."""

    rows: int
    columns: int
    transposed: bool  # whether it is its transpose that is multiplied
    leading: int  # from one column to the next, in elements
    distance: int  # from one matrix to the next


def operand(shape: tuple, strides: tuple, itemsize: int, batch: tuple) -> Operand | None:
    """The matrices (m, n) of an array, stretched over `batch`; None where it has to be copied
    first: neither axis of them is dense, or they do not lie at equal distances."""
    missing = len(batch) - len(shape) + 2
    jumps = []  # (size, stride) of the axes of the batch, the last first
    for axis in reversed(range(len(batch))):
        own = axis - missing
        if batch[axis] > 1:
            jumps.append((batch[axis], strides[own] if own >= 0 and shape[own] > 1 else 0))
    distance = expected = jumps[0][1] if jumps else 0
    for size, stride in jumps:
        if stride != expected:
            return None
        expected = stride * size
    m, n = shape[-2:]
    down, right = (s // itemsize for s in strides[-2:])
    distance //= itemsize
    if (right == 1 or n == 1) and (m == 1 or down >= n):
        return Operand(n, m, False, down if m > 1 else n, distance)
    if (down == 1 or m == 1) and right >= m:
        return Operand(m, n, True, right, distance)
    return None


def layout(of: Operand, char: str, count: int) -> c_void_p:
    found = made("MatrixLayoutCreate", REAL[char], of.rows, of.columns, of.leading)
    call("MatrixLayoutSetAttribute", found, BATCH_COUNT, byref(c_int(count)), 4)
    call("MatrixLayoutSetAttribute", found, BATCH_STRIDE, byref(c_int64(of.distance)), 8)
    return found


def destroy(layouts: list[c_void_p], product: c_void_p) -> None:
    for it in layouts:
        call("MatrixLayoutDestroy", it)
    call("MatmulDescDestroy", product)


class Plan:
    """How out (..., m, n) = x (..., m, k) @ y (..., k, n) is computed for one pair of shapes and
    strides: cublasLt's objects, made once. Without an algorithm it cannot compute it."""

    def __init__(self, x: Operand, y: Operand, shape: tuple, dtype: Any, epilogue: str, tf32: bool):
        self.shape, self.dtype, self.lock = shape, dtype, Lock()
        self.device, count = get_device_id(), math.prod(shape[:-2])
        m, n = shape[-2:]
        self.layouts = [
            layout(of, dtype.char, count) for of in (y, x, Operand(n, m, False, n, m * n))
        ]
        wide = dtype.char == "d"
        number = ctypes.c_double if wide else ctypes.c_float
        self.one, self.zero = number(1), number(0)
        compute = COMPUTE_64F if wide else COMPUTE_32F_FAST_TF32 if tf32 else COMPUTE_32F
        self.product = made("MatmulDescCreate", compute, REAL["d" if wide else "f"])
        for attribute, value in (
            (TRANSPOSE_A, y.transposed),
            (TRANSPOSE_B, x.transposed),
            (EPILOGUE, EPILOGUES[epilogue]),
        ):
            call("MatmulDescSetAttribute", self.product, attribute, byref(c_int(value)), 4)
        self.algorithm: Any = None
        weakref.finalize(self, destroy, self.layouts, self.product).atexit = False

    def ways(self, alignment: int, most: int) -> list[Any]:
        """What cublasLt thinks fastest, the best guess first."""
        preference = made("MatmulPreferenceCreate")
        given, bytes_of = byref(c_uint32(alignment)), byref(c_size_t(WORKSPACE))
        call("MatmulPreferenceSetAttribute", preference, WORKSPACE_BYTES, bytes_of, 8)
        for attribute in ALIGNMENTS:
            call("MatmulPreferenceSetAttribute", preference, attribute, given, 4)
        found, count = (Heuristic * most)(), c_int()
        a, b, c = self.layouts
        library().cublasLtMatmulAlgoGetHeuristic(  # its status repeats that it found nothing
            *(handle(self.device), self.product, a, b, c, c, preference, most, found, byref(count))
        )
        call("MatmulPreferenceDestroy", preference)
        return [h.algorithm for h in found[: count.value] if h.state == 0]

    def run(self, x: Any, y: Any, out: Any, bias: Any = None) -> None:
        stream, (a, b, c) = get_current_stream(), self.layouts
        at, place = out.data.ptr, workspace(self.device, stream)
        rest = at, c, at, c, self.algorithm, place, WORKSPACE, stream.ptr
        with self.lock:  # the product holds one bias, whichever thread calls
            if bias is not None:
                pointer = byref(c_void_p(bias.data.ptr))
                call("MatmulDescSetAttribute", self.product, BIAS, pointer, 8)
            status = library().cublasLtMatmul(
                *(handle(self.device), self.product, byref(self.one), y.data.ptr, a),
                *(x.data.ptr, b, byref(self.zero), *rest),
            )
        if status:
            raise RuntimeError(f"[matmul] cublasLtMatmul must succeed, got its status {status}")

    def choose(self, ways: list, *arguments: Any) -> None:
        """The fastest of these ways, or the only one."""
        times = []
        for self.algorithm in ways:
            if len(ways) > 1:
                times.append(self.time(*arguments))
        if times:
            self.algorithm = ways[times.index(min(times))]

    def time(self, *arguments: Any) -> float:
        """Milliseconds of one run, the least of a few."""
        found = []
        for _ in range(4):
            start, end = cupy.cuda.Event(), cupy.cuda.Event()
            start.record()
            self.run(*arguments)
            end.record()
            end.synchronize()
            found.append(cupy.cuda.get_elapsed_time(start, end))
        return min(found)


plans: dict[tuple, Any] = {}  # what the arrays look like -> Plan, or None: leave it to CuPy


def product(x: Any, y: Any, bias: Any = None, epilogue: str = "") -> Any:
    """x @ y as a new array; None where cublasLt has no way to it. Both have one dtype of REAL and
    matching shapes of two axes and more, and no size is 0. With the epilogue "bias", bias (n,) is
    added to each row."""
    device = get_device_id()
    key = (
        *(x.shape, x.strides, y.shape, y.strides, x.dtype.char, epilogue, device),
        (x.data.ptr | y.data.ptr | (0 if bias is None else bias.data.ptr)) & 15 == 0,
        x.dtype.char == "f" and arrays.allow_tf32(),
        arrays.tuned_products(),
    )
    plan = plans.get(key)
    if plan is None:
        if key in plans or x.data.device_id != device or y.data.device_id != device:
            return None
        if len(plans) >= CACHED:
            plans.clear()
        plans[key] = plan = prepared(x, y, bias, key)
        if plan is None:
            return None
    if type(plan) is tuple:
        x, y = (z if to is None else cupy.broadcast_to(z, to).copy() for z, to in zip((x, y), plan))
        return product(x, y, bias, epilogue)
    out = cupy.ndarray(plan.shape, plan.dtype)
    plan.run(x, y, out, bias)
    return out


def prepared(x: Any, y: Any, bias: Any, key: tuple) -> Any:
    """A Plan; or in which shapes x and y have to be copied first, None for as it is; or None."""
    if library() is None:
        return None
    *_, epilogue, _, aligned, tf32, tuned = key
    batch = numpy.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    left, right = (operand(z.shape, z.strides, z.itemsize, batch) for z in (x, y))
    if left is None or right is None:
        whole = [(*batch, *z.shape[-2:]) for z in (x, y)]
        return tuple(to if of is None else None for of, to in zip((left, right), whole))
    shape = (*batch, x.shape[-2], y.shape[-1])
    plan = Plan(left, right, shape, x.dtype, epilogue, tf32)
    recording = arrays.is_recording_step()  # what runs now would become part of the step
    ways = plan.ways(16 if aligned else x.itemsize, CANDIDATES if tuned and not recording else 1)
    if not ways and recording:  # some versions do not look for one while a stream is captured
        raise RuntimeError(
            "[matmul] a product must be computed once before it is recorded, this one of "
            f"{x.shape} @ {y.shape} was not; call the step with these shapes first"
        )
    if not ways:
        return None
    plan.choose(ways, x, y, cupy.ndarray(shape, x.dtype), bias)
    return plan
