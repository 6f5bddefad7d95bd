"""The emulated GPU itself: what it refuses, records and counts. It is what the tests of CUDA run on
where there is no GPU, so a fault it let pass would pass there too."""

import ctypes
import gc

import numpy as np
import pytest

pytestmark = pytest.mark.cuda

SOURCE = r"""
extern "C" __global__ void in_turns(float* y, int missing) {  // 0 + 1 + 2 + 3, from two tiles
    __shared__ float tile[2];
    for (int i = 0; i < 4; i++) {
        if (threadIdx.x == 0) tile[i % 2] = i;
        if (!missing) __syncthreads();
        for (int rest = 0; rest < 2; rest++) __syncwarp();
        y[threadIdx.x] += tile[i % 2];
    }
}

extern "C" __global__ void total(const float* x, float* y, int n) {
    __shared__ float part[32];
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += x[i];
    for (int k = 16; k; k /= 2) sum += __shfl_xor_sync(~0u, sum, k);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = threadIdx.x < blockDim.x / 32 ? part[threadIdx.x] : 0;
        for (int k = 16; k; k /= 2) sum += __shfl_down_sync(~0u, sum, k);
        if (threadIdx.x == 0) y[0] = sum;
    }
}
extern "C" __global__ void reversed(float* y, int missing) {
    extern __shared__ float s[];
    s[threadIdx.x] = threadIdx.x + 1;
    if (!missing) __syncthreads();
    float x = s[blockDim.x - 1 - threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = x;
    s[threadIdx.x] = 0;
}
extern "C" __global__ void half_a_warp(float* y) {
    if (threadIdx.x < 16) return;
    y[0] = __shfl_sync(~0u, 1.0f, 0);
}
extern "C" __global__ void stuck() {
    if (threadIdx.x < 3) __syncwarp();
    else __syncthreads();
}
extern "C" __global__ void segments(int* y) {
    unsigned fourths = __ballot_sync(~0u, threadIdx.x % 4 == 0);
    y[threadIdx.x] = __shfl_sync(~0u, int(threadIdx.x), 1, 8) + 100 * __popc(fourths);
}
extern "C" __global__ void behind(float* y, int n) { y[n] = 1; }
"""


@pytest.fixture(scope="module")
def cupy(emulated_gpu, gpu):
    return gpu


@pytest.fixture(scope="module")
def kernel(cupy):
    return cupy.RawModule(code=SOURCE).get_function


def test_threads_wait_for_one_another(cupy, kernel, emulated_gpu):
    x, y = cupy.arange(1000, dtype="float32"), cupy.zeros(1, "float32")
    kernel("total")((1,), (256,), (x, y, 1000))
    assert y.item() == 499500
    with emulated_gpu.backwards():
        kernel("total")((1,), (256,), (x, y, 1000))
    assert y.item() == 499500
    z = cupy.zeros(32, "int32")
    kernel("segments")((1,), (32,), (z,))
    assert (z.get() - 800 == np.arange(32) // 8 * 8 + 1).all()


def test_a_missing_barrier_shows(cupy, kernel, emulated_gpu):
    def run(missing):
        y = cupy.zeros(64, "float32")
        kernel("reversed")((1,), (64,), (y, missing), shared_mem=256)
        return y.get()

    want = np.arange(64, 0, -1)
    assert (run(0) == want).all() and (run(1) != want).any()
    with emulated_gpu.backwards():
        assert (run(0) == want).all()


def test_a_missing_barrier_shows_where_warps_wait_for_themselves(cupy, kernel, emulated_gpu):
    def run(missing):
        y = cupy.zeros(64, "float32")
        kernel("in_turns")((1,), (64,), (y, missing))
        return y.get()

    assert (run(0) == 6).all() and (run(1) != 6).any()
    with emulated_gpu.backwards():
        assert (run(0) == 6).all()


def test_barriers_that_nobody_reaches_are_said(cupy, kernel):
    y = cupy.zeros(1, "float32")
    with pytest.raises(RuntimeError, match="a thread that has returned"):
        kernel("half_a_warp")((1,), (32,), (y,))
    with pytest.raises(RuntimeError, match="a barrier that others never reach"):
        kernel("stuck")((1,), (32,), ())


def test_launches_a_gpu_refuses(cupy, kernel):
    y = cupy.zeros(2048, "float32")
    for grid, block, shared in (((1,), (2048,), 0), ((1, 70000), (1,), 0), ((1,), (32,), 100_000)):
        with pytest.raises(RuntimeError, match="InvalidValue"):
            kernel("reversed")(grid, block, (y, 0), shared_mem=shared)
    large = kernel("reversed")
    large.max_dynamic_shared_size_bytes = 100_000
    large((1,), (32,), (y, 0), shared_mem=100_000)


def test_memory_is_counted_and_watched(cupy, kernel, emulated_gpu):
    with emulated_gpu.without_pool():
        before = emulated_gpu.counts()
        emulated_gpu.reset_peak()
        x = cupy.empty(1000, "float32")
        assert x[:1].get().tobytes() == b"\xa5" * 4
        y = cupy.zeros(500, "float32")
        del y
        after = emulated_gpu.counts()
        assert after["bytes"] - before["bytes"] == 4000
        assert after["peak_bytes"] - before["bytes"] == 6000
        kernel("behind")((1,), (1,), (x, 1000))
        del x
        assert emulated_gpu.counts()["overruns"] == before["overruns"] + 1
    gc.collect()  # what others have left there
    cupy.get_default_memory_pool().free_all_blocks()
    with emulated_gpu.memory(emulated_gpu.counts()["bytes"] + 10_000):
        with pytest.raises(MemoryError):
            cupy.zeros(1 << 20)


def test_copies_and_waits_are_counted(cupy, emulated_gpu):
    def found(action):
        before = emulated_gpu.counts()
        action()
        after = emulated_gpu.counts()
        return {k: after[k] - before[k] for k in ("launches", "waits", "uploads", "downloads")}

    x = cupy.arange(4.0)
    assert found(lambda: x * 2) == {"launches": 1, "waits": 0, "uploads": 0, "downloads": 0}
    assert found(x.get) == {"launches": 0, "waits": 1, "uploads": 0, "downloads": 1}
    assert found(lambda: float(x[0])) == {"launches": 0, "waits": 1, "uploads": 0, "downloads": 1}
    assert found(lambda: cupy.asarray(np.ones(3)))["uploads"] == 1
    assert found(lambda: cupy.cuda.Device().synchronize())["waits"] == 1


def test_a_graph_does_what_was_recorded(cupy, emulated_gpu):
    stream = cupy.cuda.Stream(non_blocking=True)
    x, out = cupy.arange(5.0), cupy.zeros(5)
    with stream:
        out[:] = x * 2 + 1  # compiles
        out[:] = 0
        before = emulated_gpu.counts()
        stream.begin_capture()
        out[:] = x * 2 + 1
        out += 1
        graph = stream.end_capture()
        assert emulated_gpu.counts()["launches"] == before["launches"] and not out.any()
        graph.launch()
        assert out.tolist() == [2, 4, 6, 8, 10]
        x += 1
        graph.launch()
        assert out.tolist() == [4, 6, 8, 10, 12]
        # Two products of the expression, a sum in place; the assignment is a copy.
        assert emulated_gpu.counts()["replayed_launches"] - before["replayed_launches"] == 2 * 3


@pytest.mark.parametrize(
    "action",
    [
        lambda cupy, x, stream: x.sum().item(),
        lambda cupy, x, stream: bool(x[0]),
        lambda cupy, x, stream: cupy.asarray(np.ones(3)),
        lambda cupy, x, stream: x.reshape(2, 2) @ x.reshape(2, 2),
        lambda cupy, x, stream: stream.synchronize(),
        lambda cupy, x, stream: cupy.cuda.Device().synchronize(),
    ],
)
def test_what_a_capture_refuses(cupy, action):
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        x = cupy.arange(4.0)
        stream.begin_capture()
        try:
            with pytest.raises((RuntimeError, NotImplementedError), match="captur"):
                action(cupy, x, stream)
        finally:
            try:
                stream.end_capture()
            except RuntimeError:  # broken by the call, as on a GPU
                pass
    assert not stream.is_capturing()


# ---------------------------------------------------------------- cublasLt, as a caller by ctypes

TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}


def lt_product(
    cupy, a, b, out, *, transa=False, epilogue=1, bias=None, aux=None, beta=0.0, stream=0
):
    """out (row-major) = a @ b + beta out, written as the column-major out^T = b^T a^T."""
    lt = ctypes.CDLL("libcublasLt.so.13")
    pointer, size, integer = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int32

    def made(name, *arguments):
        handle = pointer()
        assert getattr(lt, name)(ctypes.byref(handle), *arguments) == 0
        return handle

    def set_to(name, handle, attribute, value):
        assert (
            getattr(lt, name)(handle, attribute, ctypes.byref(value), size(ctypes.sizeof(value)))
            == 0
        )

    def layout(x):
        rows, columns = x.shape[-1], x.shape[-2]
        kind = TYPES[x.dtype.name]
        handle = made(
            "cublasLtMatrixLayoutCreate",
            kind,
            ctypes.c_uint64(rows),
            ctypes.c_uint64(columns),
            ctypes.c_int64(rows),
        )
        if x.ndim == 3:
            set_to("cublasLtMatrixLayoutSetAttribute", handle, 5, integer(len(x)))
            set_to("cublasLtMatrixLayoutSetAttribute", handle, 6, ctypes.c_int64(rows * columns))
        return handle

    wide = out.dtype.name == "float64"
    how = made("cublasLtMatmulDescCreate", 70 if wide else 68, 1 if wide else 0)
    set_to("cublasLtMatmulDescSetAttribute", how, 4, integer(transa))  # a is the second factor
    set_to("cublasLtMatmulDescSetAttribute", how, 7, ctypes.c_uint32(epilogue))
    if bias is not None:
        set_to("cublasLtMatmulDescSetAttribute", how, 8, pointer(bias.data.ptr))
        set_to("cublasLtMatmulDescSetAttribute", how, 26, integer(TYPES[bias.dtype.name]))
    if aux is not None:
        set_to("cublasLtMatmulDescSetAttribute", how, 11, pointer(aux.data.ptr))
        set_to("cublasLtMatmulDescSetAttribute", how, 12, ctypes.c_int64(aux.shape[-1]))
    handle, preference = made("cublasLtCreate"), made("cublasLtMatmulPreferenceCreate")
    set_to("cublasLtMatmulPreferenceSetAttribute", preference, 1, ctypes.c_uint64(4096))
    layouts = [layout(x) for x in (b, a, out, out)]
    results, count = (ctypes.c_char * 96 * 8)(), ctypes.c_int()
    status = lt.cublasLtMatmulAlgoGetHeuristic(
        handle, how, *layouts, preference, 8, results, ctypes.byref(count)
    )
    if status:
        return status
    assert count.value == 2
    workspace = cupy.empty(4096, "uint8")
    scalar = ctypes.c_double if wide else ctypes.c_float
    alpha, beta = scalar(1.0), scalar(beta)
    return lt.cublasLtMatmul(
        handle,
        how,
        ctypes.byref(alpha),
        pointer(b.data.ptr),
        layouts[0],
        pointer(a.data.ptr),
        layouts[1],
        ctypes.byref(beta),
        pointer(out.data.ptr),
        layouts[2],
        pointer(out.data.ptr),
        layouts[3],
        ctypes.byref(results[1]),
        pointer(workspace.data.ptr),
        size(4096),
        pointer(stream),
    )


@pytest.mark.parametrize("name", TYPES)
def test_products_with_epilogues(cupy, name):
    rng = np.random.default_rng(0)
    a, b = cupy.asarray(rng.normal(size=(5, 3))), cupy.asarray(rng.normal(size=(3, 4)))
    a, b, bias = (x.astype(name) for x in (a, b, cupy.arange(4.0)))
    want = a.get().astype("float64") @ b.get().astype("float64")
    close = {"rtol": 2e-2, "atol": 2e-2} if "16" in name else {"rtol": 1e-5, "atol": 1e-6}

    def check(found, wanted):
        np.testing.assert_allclose(found.get().astype("float64"), wanted, **close)

    out, aux = cupy.ones((5, 4), name), cupy.empty((5, 4), name)
    assert lt_product(cupy, a, b, out) == 0
    check(out, want)
    assert lt_product(cupy, a, b, out, epilogue=4, bias=bias) == 0
    check(out, want + np.arange(4))
    assert lt_product(cupy, a, b, out, epilogue=164, bias=bias, aux=aux) == 0
    x = want + np.arange(4)
    check(aux, x)
    check(out, 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))
    # A weight's gradient, added to what is there, and its bias's: the sum over rows of what the
    # caller sees as the first factor, transposed.
    g, sums, total = cupy.ones((5, 4), name), cupy.empty(3, name), cupy.ones((3, 4), name)
    assert lt_product(cupy, a, g, total, transa=True, beta=1.0, epilogue=512, bias=sums) == 0
    check(total, a.get().astype("float64").sum(0)[:, None] + np.ones((3, 4)))
    check(sums, a.get().astype("float64").sum(0))
    batch = cupy.stack([a, a * 2])
    out = cupy.empty((2, 5, 4), name)
    assert lt_product(cupy, batch, cupy.stack([b, b]), out) == 0
    check(out, np.stack([want, want * 2]))


def test_products_that_do_not_fit_are_refused(cupy):
    out = cupy.empty((5, 4), "float32")
    assert lt_product(cupy, cupy.ones((5, 2), "float32"), cupy.ones((3, 4), "float32"), out)


def test_a_product_is_recorded(cupy):
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        a, b, out = (cupy.ones((2, 2), "float32") for _ in range(3))
        stream.begin_capture()
        assert lt_product(cupy, a, b, out, stream=stream.ptr) == 0
        graph = stream.end_capture()
        assert out.tolist() == [[1, 1], [1, 1]]
        a *= 3
        graph.launch()
        assert out.tolist() == [[6, 6], [6, 6]]
