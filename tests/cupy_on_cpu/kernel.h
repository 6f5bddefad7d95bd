// What a CUDA kernel finds when g++ compiles it: CUDA's words, threads that wait for one another,
// shuffles, atomics, conversions. It comes before every kernel (as a precompiled header).
#pragma once
#define __CUDA_EMU__ 1

// Without the Bessel functions and their like in <cmath>: g++ would make all of them for each kernel.
#include <cstddef>
#undef _GLIBCXX_USE_STD_SPEC_FUNCS

#include <algorithm>
#include <cassert>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <type_traits>
#include <utility>

// 16-bit floats and vectors from CUDA's own headers, which work on the host too.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <vector_functions.h>
#include <vector_types.h>

#include "device.h"

// Where code runs and lives means nothing here. Shared memory is static: blocks follow one another.
#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __constant__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
static const int warpSize = 32;
extern "C" unsigned char device_shared[], device_exchange[];

// ---------------------------------------------------------------- numbers

using std::isfinite;
using std::isinf;
using std::isnan;
using std::max;
using std::min;
using std::signbit;

inline float rsqrt(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }

template <class To, class From>
inline To device_bits(From x) {
    static_assert(sizeof(To) == sizeof(From), "the same number of bits");
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}
inline unsigned __float_as_uint(float x) { return device_bits<unsigned>(x); }
inline int __float_as_int(float x) { return device_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return device_bits<float>(x); }
inline float __int_as_float(int x) { return device_bits<float>(x); }
inline long long __double_as_longlong(double x) { return device_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return device_bits<double>(x); }

inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return uint64_t(a) * b >> 32; }
inline int __mulhi(int a, int b) { return int64_t(a) * b >> 32; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}

// ---------------------------------------------------------------- memory

template <class T>
inline T __ldg(const T* p) { return *p; }
template <class T>
inline T __ldcs(const T* p) { return *p; }
template <class T>
inline void __stcs(T* p, T x) { *p = x; }
inline size_t __cvta_generic_to_shared(const void* p) { return reinterpret_cast<size_t>(p); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned) {}

// One thread runs at a time and stops only where it waits, so plain reads and writes are atomic.
template <class T, class F>
inline T device_atomic(T* p, F change) {
    T old = *p;
    *p = change(old);
    return old;
}
template <class T, class U>
inline T atomicAdd(T* p, U x) { return device_atomic(p, [=](T old) { return old + T(x); }); }
template <class T, class U>
inline T atomicSub(T* p, U x) { return device_atomic(p, [=](T old) { return old - T(x); }); }
template <class T, class U>
inline T atomicMax(T* p, U x) { return device_atomic(p, [=](T old) { return max(old, T(x)); }); }
template <class T, class U>
inline T atomicMin(T* p, U x) { return device_atomic(p, [=](T old) { return min(old, T(x)); }); }
template <class T, class U>
inline T atomicOr(T* p, U x) { return device_atomic(p, [=](T old) { return T(old | T(x)); }); }
template <class T, class U>
inline T atomicAnd(T* p, U x) { return device_atomic(p, [=](T old) { return T(old & T(x)); }); }
template <class T, class U>
inline T atomicExch(T* p, U x) { return device_atomic(p, [=](T) { return T(x); }); }
template <class T, class U, class V>
inline T atomicCAS(T* p, U expected, V x) {
    return device_atomic(p, [=](T old) { return old == T(expected) ? T(x) : old; });
}

// ---------------------------------------------------------------- threads that wait for others

inline void __syncthreads() { device_wait_for_block(); }
inline void __syncwarp(unsigned mask = ~0u) { device_wait_for_warp(mask); }
inline unsigned __activemask() { return ~0u; }

// Puts x into this thread's slot, waits, reads another lane's slot, waits until all have read.
template <class T>
inline T device_shuffle(unsigned mask, T x, int lane) {
    static_assert(sizeof(T) <= 16, "a slot has 16 bytes");
    int me = device_thread, from = me / 32 * 32 + lane;
    if (from >= device_threads) from = me;
    memcpy(device_exchange + 16 * me, &x, sizeof x);
    device_wait_for_warp(mask);
    memcpy(&x, device_exchange + 16 * from, sizeof x);
    device_wait_for_warp(mask);
    return x;
}
template <class T>
inline T __shfl_sync(unsigned mask, T x, int lane, int width = 32) {
    int me = device_thread % 32;
    return device_shuffle(mask, x, (me & ~(width - 1)) + (lane & (width - 1)));
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T x, int lanes, int width = 32) {
    int me = device_thread % 32, from = me ^ lanes;
    return device_shuffle(mask, x, from < (me & ~(width - 1)) + width ? from : me);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T x, unsigned lanes, int width = 32) {
    int me = device_thread % 32;
    return device_shuffle(mask, x, (me & (width - 1)) + int(lanes) < width ? me + lanes : me);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T x, unsigned lanes, int width = 32) {
    int me = device_thread % 32;
    return device_shuffle(mask, x, (me & (width - 1)) >= int(lanes) ? me - lanes : me);
}

// Every lane reads all slots that the mask names, in the order of lanes.
template <class T, class F>
inline T device_fold(unsigned mask, T x, T start, F fold) {
    int me = device_thread, first = me / 32 * 32;
    memcpy(device_exchange + 16 * me, &x, sizeof x);
    device_wait_for_warp(mask);
    for (int lane = 0; lane < 32 && first + lane < device_threads; lane++) {
        if (!(mask >> lane & 1)) continue;
        memcpy(&x, device_exchange + 16 * (first + lane), sizeof x);
        start = fold(start, x, lane);
    }
    device_wait_for_warp(mask);
    return start;
}
inline unsigned __ballot_sync(unsigned mask, int yes) {
    return device_fold(mask, unsigned(yes != 0), 0u,
                       [](unsigned sum, unsigned x, int lane) { return sum | x << lane; });
}
inline int __any_sync(unsigned mask, int yes) { return __ballot_sync(mask, yes) != 0; }
inline int __all_sync(unsigned mask, int yes) { return __ballot_sync(mask, !yes) == 0; }
template <class T>
inline T __reduce_add_sync(unsigned mask, T x) {
    return device_fold(mask, x, T(0), [](T a, T b, int) { return T(a + b); });
}
template <class T>
inline T __reduce_max_sync(unsigned mask, T x) {
    return device_fold(mask, x, x, [](T a, T b, int) { return max(a, b); });
}
template <class T>
inline T __reduce_min_sync(unsigned mask, T x) {
    return device_fold(mask, x, x, [](T a, T b, int) { return min(a, b); });
}
inline int __syncthreads_count(int yes) {
    device_exchange[16 * device_thread] = yes != 0;
    device_wait_for_block();
    int sum = 0;
    for (int i = 0; i < device_threads; i++) sum += device_exchange[16 * i];
    device_wait_for_block();
    return sum;
}
inline int __syncthreads_or(int yes) { return __syncthreads_count(yes) != 0; }
inline int __syncthreads_and(int yes) { return __syncthreads_count(!yes) == 0; }

// ---------------------------------------------------------------- how a kernel is called

// The driver gives a pointer to each argument. `Call` remembers them and the function; `copy` keeps
// the arguments' values for a launch that is recorded and runs later.
template <class... A>
struct Call {
    void (*kernel)(A...);
    void** arguments;

    template <size_t... I>
    void go(std::index_sequence<I...>) {
        kernel(*static_cast<std::remove_reference_t<A>*>(arguments[I])...);
    }
    static void body(void* call) {
        static_cast<Call*>(call)->go(std::index_sequence_for<A...>{});
    }
};
template <class... A>
inline void device_launch(void (*kernel)(A...), void** arguments, const unsigned* launch,
                          bool together) {
    Call<A...> call{kernel, arguments};
    device_run(&Call<A...>::body, &call, launch, together);
}
template <class... A>
inline void device_copy(void (*)(A...), void** from, void** to) {
    size_t i = 0;
    (void)std::initializer_list<int>{
        (to[i] = memcpy(malloc(sizeof(A)), from[i], sizeof(A)), i++, 0)...};
    to[i] = nullptr;
}

// ---------------------------------------------------------------- CuPy's own

#include <cupy/complex.cuh>

#include <cupy/atomics.cuh>
#include <cupy/carray.cuh>
#include <cupy/hip_workaround.cuh>
#include <cupy/math_constants.h>
