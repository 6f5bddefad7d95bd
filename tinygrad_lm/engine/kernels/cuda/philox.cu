// Philox 4x32-10: four random words for a seed and a counter. `keep` draws dropout's mask, 16
// bytes to a thread, `words` the words; what is wanted of them is CuPy's to compute. The last
// block to finish moves the state on, {seed, counter, blocks done}.
__device__ inline void philox(unsigned long long seed, unsigned long long at, unsigned* r) {
    unsigned a = at, b = at >> 32, c = 0, d = 0, k = seed, l = seed >> 32;
#pragma unroll
    for (int round = 0; round < 10; round++, k += 0x9E3779B9u, l += 0xBB67AE85u) {
        unsigned long long x = 0xD2511F53ull * a, y = 0xCD9E8D57ull * c;
        a = (unsigned)(y >> 32) ^ b ^ k, b = (unsigned)y;
        c = (unsigned)(x >> 32) ^ d ^ l, d = (unsigned)x;
    }
    r[0] = a, r[1] = b, r[2] = c, r[3] = d;
}

__device__ inline void move_on(unsigned long long* state, long long n) {
    __syncthreads();  // all threads of the block have read the state
    if (threadIdx.x) return;
    __threadfence();
    if (atomicAdd(&state[2], 1ull) == gridDim.x - 1) state[1] += (n + 3) / 4, state[2] = 0;
}

extern "C" __global__ void __launch_bounds__(256)
    words(unsigned* out, unsigned long long* state, long long n) {
    long long at = (blockIdx.x * 256LL + threadIdx.x) * 4;
    Pack<unsigned> pack;
    philox(state[0], state[1] + at / 4, pack.v);
    if (at + 4 <= n) *(Pack<unsigned>*)(out + at) = pack;
    else {
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (at + i < n) out[at + i] = pack.v[i];
    }
    move_on(state, n);
}

extern "C" __global__ void __launch_bounds__(256)
    keep(unsigned char* out, unsigned long long* state, long long n, long long bound) {
    long long at = (blockIdx.x * 256LL + threadIdx.x) * 16;
    Pack<unsigned char> pack;
    unsigned r[4];
#pragma unroll
    for (int i = 0; i < 16; i += 4) {
        philox(state[0], state[1] + (at + i) / 4, r);
#pragma unroll
        for (int j = 0; j < 4; j++) pack.v[i + j] = r[j] < bound;
    }
    if (at + 16 <= n) *(Pack<unsigned char>*)(out + at) = pack;
    else {
#pragma unroll
        for (int i = 0; i < 16; i++)
            if (at + i < n) out[at + i] = pack.v[i];
    }
    move_on(state, n);
}

// y = x scale where `keep` holds, x 0 elsewhere; backward is the same.
extern "C" __global__ void __launch_bounds__(256)
    apply(const T* x, const unsigned char* keep, T* y, long long n, double scale) {
    struct alignas(Pack<T>::N) Bytes { unsigned char v[Pack<T>::N]; };
    long long at = (blockIdx.x * 256LL + threadIdx.x) * Pack<T>::N;
    float by = scale;
    if (at + Pack<T>::N <= n) {
        Pack<T> pack = *(const Pack<T>*)(x + at);
        Bytes kept = *(const Bytes*)(keep + at);
#pragma unroll
        for (int i = 0; i < Pack<T>::N; i++)
            put(&pack.v[i], get(pack.v[i]) * (kept.v[i] ? by : 0.f));
        *(Pack<T>*)(y + at) = pack;
    } else
        for (; at < n; at++) put(&y[at], get(x[at]) * (keep[at] ? by : 0.f));
}
