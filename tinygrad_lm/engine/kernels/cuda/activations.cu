// Activations, one pack of 16 bytes to a thread: y = x p(x), and backward dx = g (p + x p'), made
// from x again. FORM: GELU by the normal distribution, GELU by tanh, or SiLU.
enum Form { GELU, GELU_TANH, SILU };

__device__ inline float sigmoid(float x) { return __fdividef(1.f, 1.f + __expf(-x)); }

// p, and the slope of x p where it is wanted.
__device__ inline float share(float x, float* slope) {
    float p, dp;
    if (FORM == GELU) {
        p = 0.5f + 0.5f * erff(x * 0.70710678f);
        dp = 0.39894228f * __expf(-0.5f * x * x);
    } else if (FORM == GELU_TANH) {  // (1 + tanh u) / 2 = sigmoid(2 u)
        p = sigmoid(x * (1.59576912f + 0.07135481f * x * x));
        dp = p * (1 - p) * (1.59576912f + 0.21406444f * x * x);
    } else {
        p = sigmoid(x);
        dp = p * (1 - p);
    }
    if (slope) *slope = p + x * dp;
    return p;
}

extern "C" __global__ void __launch_bounds__(256) forward(const T* x, T* y, long long n) {
    long long at = (blockIdx.x * 256LL + threadIdx.x) * Pack<T>::N;
    if (at + Pack<T>::N <= n) {
        Pack<T> in = *(const Pack<T>*)(x + at), out;
#pragma unroll
        for (int i = 0; i < Pack<T>::N; i++) {
            float v = get(in.v[i]);
            put(&out.v[i], v * share(v, nullptr));
        }
        *(Pack<T>*)(y + at) = out;
    } else {
        for (; at < n; at++) put(&y[at], get(x[at]) * share(get(x[at]), nullptr));
    }
}

extern "C" __global__ void __launch_bounds__(256)
    backward(const T* x, const T* g, T* dx, long long n) {
    long long at = (blockIdx.x * 256LL + threadIdx.x) * Pack<T>::N;
    float slope;
    if (at + Pack<T>::N <= n) {
        Pack<T> in = *(const Pack<T>*)(x + at), from = *(const Pack<T>*)(g + at), out;
#pragma unroll
        for (int i = 0; i < Pack<T>::N; i++) {
            share(get(in.v[i]), &slope);
            put(&out.v[i], get(from.v[i]) * slope);
        }
        *(Pack<T>*)(dx + at) = out;
    } else {
        for (; at < n; at++) {
            share(get(x[at]), &slope);
            put(&dx[at], get(g[at]) * slope);
        }
    }
}
