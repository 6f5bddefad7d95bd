// The sum of two arrays of one shape, 16 bytes to a thread: CuPy's own takes one element each,
// which for 16-bit floats leaves half of the memory's speed.
extern "C" __global__ void __launch_bounds__(256)
    add(const T* x, const T* y, T* sum, long long n) {
    long long at = (blockIdx.x * 256LL + threadIdx.x) * Pack<T>::N;
    if (at + Pack<T>::N <= n) {
        Pack<T> a = *(const Pack<T>*)(x + at), b = *(const Pack<T>*)(y + at);
#pragma unroll
        for (int i = 0; i < Pack<T>::N; i++) put(&a.v[i], get(a.v[i]) + get(b.v[i]));
        *(Pack<T>*)(sum + at) = a;
    } else {
        for (; at < n; at++) put(&sum[at], get(x[at]) + get(y[at]));
    }
}
