// Attention's gradient of the queries. As in forward a block has WARPS * 16 M queries and goes
// through the keys; the weights are made again from the scores, SLICE keys at a time. On the way
// it makes delta, the sum of g out over each row, for the gradients of keys and values.
#ifndef M
#define M (D <= 64 ? 2 : 1)
#endif
#ifndef WARPS
#define WARPS 4
#endif
#ifndef BN
#define BN 64
#endif
#ifndef SLICE
#define SLICE 32
#endif
#ifndef BLOCKS
#define BLOCKS 2
#endif
static const int THREADS = 32 * WARPS, ROWS = 16 * M * WARPS;

struct Layout {
    Strides q, k, v, out, g, dq, dk, dv;
};

// Where a query may not look, weight and slope become 0.
__device__ inline void hide(float (&s)[M][SLICE / 8][4], float (&w)[M][SLICE / 8][4], int row,
                            int key, int keys, bool causal) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < SLICE / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int to = key + 8 * n + lane % 4 * 2 + i % 2;
                int from = row + 16 * m + lane / 4 + i / 2 * 8;
                if (to >= keys || (causal && to > from))
                    s[m][n][i] = -__int_as_float(0x7f800000), w[m][n][i] = 0;
            }
}

// w, slopes of the weights, as dropout changes them; keep is that of the warp's first row.
__device__ inline void drop(float (&w)[M][SLICE / 8][4], const unsigned char* keep, int rows,
                            int key, int keys, float share) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < SLICE / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int to = key + 8 * n + lane % 4 * 2 + i % 2;
                int from = 16 * m + lane / 4 + i / 2 * 8;
                bool there = to < keys && from < rows;
                w[m][n][i] = there && keep[(long long)from * keys + to] ? w[m][n][i] * share : 0;
            }
}

// The sum of g out over D, for the rows of this thread.
__device__ inline float row_sum(const unsigned (&g)[D / 16][4], const unsigned (&out)[D / 16][4],
                                int half) {
    float sum = 0;
#pragma unroll
    for (int k = 0; k < D / 16; k++)
#pragma unroll
        for (int i = half; i < 4; i += 2)
#pragma unroll
            for (int j = 0; j < 2; j++)
                sum += get(reinterpret_cast<const T*>(&g[k][i])[j]) *
                       get(reinterpret_cast<const T*>(&out[k][i])[j]);
    return quad_sum(sum);
}

// scale: of the scores, times log2(e); factor: of the gradient; share: of a weight that is kept.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
attention_dq(const T* q, const T* k, const T* v, const T* out, const T* g,
             const unsigned char* keep, const float* lse, float* delta, T* dq, Layout at,
             long long heads, long long queries, long long keys, long long causal, double scale,
             double factor, double share) {
    extern __shared__ uint4 shared[];
    typedef Tile<T, D, THREADS> Rows;
    const int tiles = (queries + ROWS - 1) / ROWS, lane = threadIdx.x % 32;
    const int row = (tiles - 1 - blockIdx.x % tiles) * ROWS;  // a causal block's longest rows first
    const long long which = blockIdx.x / tiles, batch = which / heads, head = which % heads;
    const int rows = min(queries - row, (long long)ROWS), mine = threadIdx.x / 32 * 16 * M;
    const int end = causal ? min(keys, (long long)row + ROWS) : keys, first = row + mine;
    const Rows qs = {shared}, gs = {shared + ROWS * (D / 8)}, outs = {shared + 2 * ROWS * (D / 8)};
    uint4* rest = shared + 3 * ROWS * (D / 8);
    k += batch * at.k.batch + head * at.k.head;
    v += batch * at.v.batch + head * at.v.head;

    auto ks = [&](int key) { return Rows{rest + key / BN % 2 * BN * (D / 8)}; };
    auto vs = [&](int key) { return Rows{rest + (2 + key / BN % 2) * BN * (D / 8)}; };
    auto load = [&](int key) {
        ks(key).template load<BN>(k + key * at.k.row, at.k.row, keys - key);
        vs(key).template load<BN>(v + key * at.v.row, at.v.row, keys - key);
    };
    auto rows_of = [&](auto* x, Strides by) {
        return x + batch * by.batch + head * by.head + row * by.row;
    };

    qs.template load<ROWS>(rows_of(q, at.q), at.q.row, rows);
    gs.template load<ROWS>(rows_of(g, at.g), at.g.row, rows);
    outs.template load<ROWS>(rows_of(out, at.out), at.out.row, rows);
    load(0);
    unsigned q_left[M][D / 16][4], g_left[M][D / 16][4];
    float sum[M][D / 8][4] = {}, log[M][2], along[M][2];
    copies_end();
    __syncthreads();
#pragma unroll
    for (int m = 0; m < M; m++) {
        unsigned out_left[D / 16][4];
#pragma unroll
        for (int i = 0; i < D / 16; i++) {
            qs.left(q_left[m][i], mine + 16 * m, 16 * i);
            gs.left(g_left[m][i], mine + 16 * m, 16 * i);
            outs.left(out_left[i], mine + 16 * m, 16 * i);
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int r = mine + 16 * m + 8 * half + lane / 4;
            along[m][half] = row_sum(g_left[m], out_left, half);
            log[m][half] = r < rows ? lse[which * queries + row + r] : 0;
            if (lane % 4 == 0 && r < rows) delta[which * queries + row + r] = along[m][half];
        }
    }

    for (int key = 0; key < end; key += BN) {
        copies_end();
        __syncthreads();  // these keys are there, and nobody needs those before them
        if (key + BN < end) load(key + BN);
        if (!needed(!causal || key < first + 16 * M)) continue;
#pragma unroll
        for (int n = 0; n < BN; n += SLICE) {
            float s[M][SLICE / 8][4] = {}, w[M][SLICE / 8][4] = {};
            add_product_trans<M, SLICE>(s, q_left, ks(key), n);
            add_product_trans<M, SLICE>(w, g_left, vs(key), n);
            const int from = key + n;
            if (DROP)
                drop(w, keep + (which * queries + first) * keys, rows - mine, from, keys, share);
            if (from + SLICE > keys || (causal && from + SLICE > first + 1))
                hide(s, w, first, from, keys, causal);
#pragma unroll
            for (int m = 0; m < M; m++)
#pragma unroll
                for (int i = 0; i < SLICE / 2; i++) {
                    float &x = s[m][i / 4][i % 4], slope = w[m][i / 4][i % 4];
                    int half = i % 4 / 2;
                    x = exp2_of(fmaf(x, (float)scale, -log[m][half])) * (slope - along[m][half]);
                }
            add_product<M, SLICE>(sum, s, ks(key), n);
        }
    }
    qs.template store<M>(sum, factor, mine, rows_of(dq, at.dq), at.dq.row, rows);
}
