// Softmax, its logarithm and cross-entropy. ROW threads share a row of n values; the threads of
// rows that do not exist work on the last one and write nothing. A row is read once for its maximum
// and the sum of its exponentials, which is corrected whenever a larger value turns up.
#define THREADS (ROW < 256 ? 256 : ROW)
#define EACH_TILE(t) for (int t = threadIdx.x % ROW / 32; t * 256 < n; t += ROW / 32)

__device__ inline long long my_row() {
    return blockIdx.x * (long long)(THREADS / ROW) + threadIdx.x / ROW;
}

__device__ inline float lowest() { return __int_as_float(0xff800000); }

struct Peak {
    float top, sum;  // the largest value, the sum of e^(x - top)
};

__device__ inline Peak peak(const T* x, int n) {
    float top = lowest(), sum = 0, v[8];
    EACH_TILE(t) {
        load(x, t, n, v, lowest());
        float before = top;
#pragma unroll
        for (int i = 0; i < 8; i++) top = fmaxf(top, v[i]);
        float shift = top == lowest() ? 0 : top;  // -inf - -inf would be NaN
        sum *= __expf(before - shift);
#pragma unroll
        for (int i = 0; i < 8; i++) sum += __expf(v[i] - shift);
    }
    float all = row_max<ROW>(top);
    sum = row_sum<ROW>(sum * __expf(top - all));
    return {all, sum};
}

template <bool LOG>
__device__ inline void forward(const T* x, T* y, long long rows, int n) {
    long long row = my_row();
    bool real = row < rows;
    x += (real ? row : rows - 1) * n;
    Peak p = peak(x, n);
    float shift = LOG ? p.top + logf(p.sum) : p.top, scale = 1 / p.sum, v[8];
    if (!real) return;
    EACH_TILE(t) {
        load(x, t, n, v);
#pragma unroll
        for (int i = 0; i < 8; i++) v[i] = LOG ? v[i] - shift : __expf(v[i] - shift) * scale;
        store(y + row * n, t, n, v);
    }
}

// softmax: dx = y (g - sum(g y)); its logarithm: dx = g - e^y sum(g)
template <bool LOG>
__device__ inline void backward(const T* y, const T* g, T* dx, long long rows, int n) {
    long long row = my_row();
    bool real = row < rows;
    long long start = (real ? row : rows - 1) * n;
    float sum = 0, v[8], h[8];
    EACH_TILE(t) {
        load(y + start, t, n, v);
        load(g + start, t, n, h);
#pragma unroll
        for (int i = 0; i < 8; i++) sum += LOG ? h[i] : h[i] * v[i];
    }
    sum = row_sum<ROW>(sum);
    if (!real) return;
    EACH_TILE(t) {
        load(y + start, t, n, v);
        load(g + start, t, n, h);
#pragma unroll
        for (int i = 0; i < 8; i++) h[i] = LOG ? h[i] - __expf(v[i]) * sum : v[i] * (h[i] - sum);
        store(dx + start, t, n, h);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    softmax(const T* x, T* y, long long rows, long long n) {
    forward<false>(x, y, rows, n);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    log_softmax(const T* x, T* y, long long rows, long long n) {
    forward<true>(x, y, rows, n);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    softmax_backward(const T* y, const T* g, T* dx, long long rows, long long n) {
    backward<false>(y, g, dx, rows, n);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    log_softmax_backward(const T* y, const T* g, T* dx, long long rows, long long n) {
    backward<true>(y, g, dx, rows, n);
}

// Of each row the loss, 0 where it does not count, and the logarithm of the sum of exponentials. A
// target is kept within the row: whether it was is checked elsewhere.
extern "C" __global__ void __launch_bounds__(THREADS)
    losses(const T* x, const long long* targets, float* loss, float* logs, long long rows,
           long long width, long long ignore) {
    int n = width;
    long long row = my_row();
    bool real = row < rows;
    x += (real ? row : rows - 1) * n;
    Peak p = peak(x, n);
    if (!real || threadIdx.x % ROW) return;
    long long target = targets[row], within = target < 0 ? 0 : target < n ? target : n - 1;
    float log_sum = p.top + logf(p.sum);
    logs[row] = log_sum;
    loss[row] = target == ignore ? 0 : log_sum - get(x[within]);
}

// One block: the sum or the mean of the losses, and what their gradients are multiplied by.
extern "C" __global__ void __launch_bounds__(1024)
    loss_total(const float* loss, const long long* targets, float* total, float* share,
               long long rows, long long ignore, long long mean) {
    float sum = 0, count = 0;
    for (long long row = threadIdx.x; row < rows; row += 1024) {
        sum += loss[row];
        count += targets[row] != ignore;
    }
    sum = row_sum<1024>(sum);
    count = row_sum<1024>(count);
    if (threadIdx.x) return;
    *total = mean ? sum / count : sum;
    *share = mean ? 1 / count : 1;
}

// dx = g share (softmax - one-hot), 0 where the row does not count; `step` is 1 if each row has a g
// of its own, 0 if all have one.
extern "C" __global__ void __launch_bounds__(THREADS)
    loss_backward(const T* x, const long long* targets, const float* logs, const float* g,
                  const float* share, T* dx, long long rows, long long width, long long ignore,
                  long long step) {
    int n = width;
    long long row = my_row();
    if (row >= rows) return;
    long long target = targets[row], within = target < 0 ? 0 : target < n ? target : n - 1;
    bool counts = target != ignore;
    float shift = logs[row], scale = counts ? g[row * step] * (share ? *share : 1) : 0, v[8];
    EACH_TILE(t) {
        load(x + row * n, t, n, v);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float slope = __expf(v[i] - shift) - (place(t, i, n) == within);
            v[i] = counts ? scale * slope : 0;  // what does not count may hold inf or NaN
        }
        store(dx + row * n, t, n, v);
    }
}
