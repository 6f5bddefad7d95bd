// Attention of one query to each head, as writing text has it: a block reads the keys that the
// query may see once, a key to a thread, and then their values, eight columns to a thread.
struct Layout {  // steps in elements; those of `seen` are 0 where it is broadcast
    long long q[2], k[3], v[3], out[2], seen[3];  // batch, head, row
};

__device__ inline float dot(const T* row, const float* q, int D) {
    float sum = 0;
    for (int d = 0; d < D; d += 8) {
        Eight<T> pack = *(const Eight<T>*)(row + d);
#pragma unroll
        for (int i = 0; i < 8; i++) sum += get(pack.v[i]) * q[d + i];
    }
    return sum;
}

// q (B, heads, 1, D), k and v (B, heads, keys, D), seen (B, heads, 1, keys) or none -> out, which
// is 0 where nothing is seen. scale is that of the scores times log2(e). Memory: a float for each
// key, for each column of q, and 8 for each thread.
extern "C" __global__ void __launch_bounds__(256)
one_query(const T* q, const T* k, const T* v, const unsigned char* seen, T* out, Layout at,
          int keys, int D, float scale) {
    extern __shared__ float weights[];
    float *query = weights + keys, *parts = query + D;
    const long long head = blockIdx.x, batch = blockIdx.y;
    q += batch * at.q[0] + head * at.q[1], out += batch * at.out[0] + head * at.out[1];
    k += batch * at.k[0] + head * at.k[1], v += batch * at.v[0] + head * at.v[1];
    if (seen) seen += batch * at.seen[0] + head * at.seen[1];
    const float none = __int_as_float(0xff800000);
    for (int d = threadIdx.x; d < D; d += 256) query[d] = get(q[d]);
    __syncthreads();

    float top = none, sum = 0;
    for (int i = threadIdx.x; i < keys; i += 256) {
        bool may = !seen || seen[i * at.seen[2]];
        weights[i] = may ? dot(k + i * at.k[2], query, D) * scale : none;
        top = fmaxf(top, weights[i]);
    }
    top = row_max<256>(top);
    const float shift = top == none ? 0 : top;
    for (int i = threadIdx.x; i < keys; i += 256) sum += weights[i] = exp2f(weights[i] - shift);
    sum = row_sum<256>(sum);  // and all weights are there

    const int groups = 256 / (D / 8), group = threadIdx.x / (D / 8), d = threadIdx.x % (D / 8) * 8;
    if (group < groups) {
        float total[8] = {};
        for (int i = group; i < keys; i += groups) {
            float weight = weights[i];
            if (weight == 0) continue;  // of one that is not seen, the value may be anything
            Eight<T> pack = *(const Eight<T>*)(v + i * at.v[2] + d);
#pragma unroll
            for (int j = 0; j < 8; j++) total[j] += weight * get(pack.v[j]);
        }
#pragma unroll
        for (int j = 0; j < 8; j++) parts[group * D + d + j] = total[j];
    }
    __syncthreads();
    for (int d = threadIdx.x; d < D; d += 256) {
        float total = 0;
        for (int i = 0; i < groups; i++) total += parts[i * D + d];
        put(&out[d], sum == 0 ? 0 : total / sum);
    }
}
