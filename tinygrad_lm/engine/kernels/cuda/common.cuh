// What the kernels share: float types read and written 16 bytes at a time, sums over a warp and
// over a block in a fixed order. Arithmetic is float32, whatever the arrays hold.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

template <class X>
struct alignas(16) Pack {
    static const int N = 16 / sizeof(X);
    X v[16 / sizeof(X)];
};

__device__ inline float get(float x) { return x; }
__device__ inline float get(__half x) { return __half2float(x); }
__device__ inline float get(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline void put(float* to, float x) { *to = x; }
__device__ inline void put(__half* to, float x) { *to = __float2half(x); }
__device__ inline void put(__nv_bfloat16* to, float x) { *to = __float2bfloat16(x); }

// The sum over the 32 threads of a warp, known to each of them.
__device__ inline float warp_sum(float x) {
    for (int step = 16; step; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

__device__ inline float warp_max(float x) {
    for (int step = 16; step; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

// A row of n values is taken in tiles of 256, eight values to each thread of a warp: neighbours,
// read 16 bytes at a time, where n is a multiple of 8; else values 32 apart, so that what a warp
// touches at once is dense all the same.
#ifdef EVEN  // a choice: compiled for either case, which takes fewer registers
#define WHOLE(n) EVEN
#else
#define WHOLE(n) (n % 8 == 0)
#endif

template <class X>
struct alignas(16) Eight {
    X v[8];
};

__device__ inline int place(int tile, int i, int n) {
    int lane = threadIdx.x % 32;
    return tile * 256 + (WHOLE(n) ? lane * 8 + i : i * 32 + lane);
}

template <class X>
__device__ inline void load(const X* row, int tile, int n, float* v, float beyond = 0) {
    int at = place(tile, 0, n);
    if (WHOLE(n) && at < n) {
        Eight<X> pack = *(const Eight<X>*)(row + at);
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = get(pack.v[i]);
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            at = place(tile, i, n);
            v[i] = at < n ? get(row[at]) : beyond;
        }
    }
}

template <class X>
__device__ inline void store(X* row, int tile, int n, const float* v) {
    int at = place(tile, 0, n);
    if (WHOLE(n) && at < n) {
        Eight<X> pack;
#pragma unroll
        for (int i = 0; i < 8; i++) put(&pack.v[i], v[i]);
        *(Eight<X>*)(row + at) = pack;
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            at = place(tile, i, n);
            if (at < n) put(&row[at], v[i]);
        }
    }
}

// Sum and maximum over the threads that share a row, one warp or the whole block, in a fixed order.
template <int THREADS>
__device__ inline float row_sum(float x) {
    x = warp_sum(x);
    if (THREADS > 32) {
        __shared__ float parts[32];
        __syncthreads();  // the sum before this one has been read
        if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
        __syncthreads();
        x = warp_sum(threadIdx.x % 32 < THREADS / 32 ? parts[threadIdx.x % 32] : 0.f);
    }
    return x;
}

template <int THREADS>
__device__ inline float row_max(float x) {
    x = warp_max(x);
    if (THREADS > 32) {
        __shared__ float parts[32];
        __syncthreads();
        if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
        __syncthreads();
        x = warp_max(parts[threadIdx.x % (THREADS / 32)]);
    }
    return x;
}
