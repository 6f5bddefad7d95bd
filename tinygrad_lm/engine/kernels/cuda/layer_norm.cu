// Layer norm, and RMS norm, which takes no mean away. ROW threads share a row of n values and hold
// it in registers, K tiles to a warp; statistics are float32. Backward, a block takes rows in turn
// and keeps the sums that weight and bias want beside; another kernel adds those of all blocks.
#define ROWS (256 / ROW)
#define AT_ONCE (EVEN && K * sizeof(T) < 7 ? 2 : 1)  // blocks on a processor

__device__ inline int tile(int k) { return k * (ROW / 32) + threadIdx.x % ROW / 32; }

// stats (rows, 2): the mean, and one over the deviation.
extern "C" __global__ void __launch_bounds__(256)
    forward(const T* x, const T* weight, const T* bias, T* y, float* stats, long long rows,
            long long width, double eps, long long rms) {
    int n = width;
    long long row = blockIdx.x * (long long)ROWS + threadIdx.x / ROW;
    bool real = row < rows;
    if (!real) row = rows - 1;
    float v[K][8], sum = 0, squares = 0, w[8], b[8];
#pragma unroll
    for (int k = 0; k < K; k++) load(x + row * n, tile(k), n, v[k]);
#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
        for (int i = 0; i < 8; i++) sum += v[k][i];
    float mean = rms ? 0 : row_sum<ROW>(sum) / n;
#pragma unroll
    for (int k = 0; k < K; k++)
#pragma unroll
        for (int i = 0; i < 8; i++) {
            v[k][i] -= mean;
            if (place(tile(k), i, n) < n) squares += v[k][i] * v[k][i];
        }
    float scale = rsqrtf(row_sum<ROW>(squares) / n + (float)eps);
    if (!real) return;
#pragma unroll
    for (int k = 0; k < K; k++) {
        if (weight) load(weight, tile(k), n, w);
        if (bias) load(bias, tile(k), n, b);
#pragma unroll
        for (int i = 0; i < 8; i++)
            v[k][i] = v[k][i] * scale * (weight ? w[i] : 1) + (bias ? b[i] : 0);
        store(y + row * n, tile(k), n, v[k]);
    }
    if (threadIdx.x % ROW == 0) {
        stats[2 * row] = mean;
        stats[2 * row + 1] = scale;
    }
}

// The block's sum of what its warps hold for each column, to `part` (n); whole warps share a row.
__device__ static void add_up(float (*sum)[8], float* part, int n) {
    __shared__ float whole[K * ROW * 8];
    for (int r = 0; r < ROWS; r++) {
        __syncthreads();
        if (threadIdx.x / ROW != r) continue;
#pragma unroll
        for (int k = 0; k < K; k++)
#pragma unroll
            for (int i = 0; i < 8; i++) {
                int column = place(tile(k), i, n);
                whole[column] = r ? whole[column] + sum[k][i] : sum[k][i];
            }
    }
    __syncthreads();
    for (int column = threadIdx.x; column < n; column += 256) part[column] = whole[column];
}

// dx = s (h - mean(h) - y mean(h y)) with y the normal row, s = 1 / its deviation, h = weight g;
// with `more` it is added to what dx holds. parts (blocks, 2, n) get sum(g y) and sum(g).
extern "C" __global__ void __launch_bounds__(256, AT_ONCE)
    backward(const T* x, const T* g, const T* weight, const float* stats, T* dx, float* parts,
             long long rows, long long width, long long rms, long long more) {
    int n = width;
    float dweight[K][8] = {}, dbias[K][8] = {}, y[K][8], h[K][8], w[8];
    for (long long first = blockIdx.x * (long long)ROWS; first < rows; first += gridDim.x * ROWS) {
        long long row = first + threadIdx.x / ROW;
        bool real = row < rows;
        if (!real) row = rows - 1;
        float mean = stats[2 * row], scale = stats[2 * row + 1], along = 0, sum = 0;
#pragma unroll
        for (int k = 0; k < K; k++) {
            load(x + row * n, tile(k), n, y[k]);
            load(g + row * n, tile(k), n, h[k]);
        }
#pragma unroll
        for (int k = 0; k < K; k++) {
            if (weight) load(weight, tile(k), n, w);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                y[k][i] = (y[k][i] - mean) * scale;
                if (real) {
                    dweight[k][i] += h[k][i] * y[k][i];
                    dbias[k][i] += h[k][i];
                }
                if (weight) h[k][i] *= w[i];
                along += h[k][i] * y[k][i];
                sum += h[k][i];
            }
        }
        along = row_sum<ROW>(along) / n;
        sum = rms ? 0 : row_sum<ROW>(sum) / n;
#pragma unroll
        for (int k = 0; k < K; k++) {
            if (more) load(dx + row * n, tile(k), n, w);
#pragma unroll
            for (int i = 0; i < 8; i++)
                h[k][i] = scale * (h[k][i] - sum - y[k][i] * along) + (more ? w[i] : 0);
            if (real) store(dx + row * n, tile(k), n, h[k]);
        }
    }
    if (!parts) return;
    parts += blockIdx.x * 2 * width;
    add_up(dweight, parts, n);
    add_up(dbias, parts + n, n);
}
