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
