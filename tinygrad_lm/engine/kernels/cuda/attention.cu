// Attention, forward (Dao, 2023, FlashAttention-2, arXiv 2307.08691). A block has WARPS * 16 M
// queries, in registers, and goes through the keys BN at a time, while the next BN are on their
// way. Scores and weights stay in registers; the softmax keeps the greatest score of a row so far.
#ifndef M
#define M (D <= 64 ? 2 : 1)
#endif
#ifndef WARPS
#define WARPS 4
#endif
#ifndef BN
#define BN 64
#endif
#ifndef BLOCKS
#define BLOCKS 2
#endif
static const int THREADS = 32 * WARPS, ROWS = 16 * M * WARPS;

struct Layout {
    Strides q, k, v, out;
};

// Scores of a warp's rows that it may not use become -inf: keys after the last, or after the query.
__device__ inline void hide(float (&s)[M][BN / 8][4], int row, int key, int keys, bool causal) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < BN / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int to = key + 8 * n + lane % 4 * 2 + i % 2;
                int from = row + 16 * m + lane / 4 + i / 2 * 8;
                if (to >= keys || (causal && to > from)) s[m][n][i] = -__int_as_float(0x7f800000);
            }
}

// Scores become weights e^(score - best), `total` their sum in this thread; what was summed up to
// now, in `total` and o, is scaled to a new best.
__device__ inline void soften(float (&s)[M][BN / 8][4], float (&o)[M][D / 8][4],
                              float (&best)[M][2], float (&total)[M][2], float scale) {
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float top = best[m][half], sum = 0;
#pragma unroll
            for (int n = 0; n < BN / 8; n++)
                top = fmaxf(top, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
            top = quad_max(top);
            float base = top == -__int_as_float(0x7f800000) ? 0 : top * scale;
            float rest = exp2_of(best[m][half] * scale - base);
            best[m][half] = top;
#pragma unroll
            for (int n = 0; n < BN / 8; n++)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++)
                    sum += s[m][n][i] = exp2_of(fmaf(s[m][n][i], scale, -base));
            total[m][half] = total[m][half] * rest + sum;
#pragma unroll
            for (int n = 0; n < D / 8; n++) o[m][n][2 * half] *= rest, o[m][n][2 * half + 1] *= rest;
        }
}

// Weights that dropout does not keep become 0; keep is that of the warp's first row.
__device__ inline void drop(float (&s)[M][BN / 8][4], const unsigned char* keep, int rows, int key,
                            int keys) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < BN / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int to = key + 8 * n + lane % 4 * 2 + i % 2;
                int from = 16 * m + lane / 4 + i / 2 * 8;
                bool there = to < keys && from < rows;
                if (!there || !keep[(long long)from * keys + to]) s[m][n][i] = 0;
            }
}

// q (B, heads, queries, D), k and v (B, heads, keys, D) -> out, and for each row the logarithm
// (base 2) of the sum of e^score. scale is that of the scores times log2(e); share: what a weight
// that dropout keeps is multiplied by.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
attention(const T* q, const T* k, const T* v, const unsigned char* keep, T* out, float* lse,
          Layout at, long long heads, long long queries, long long keys, long long causal,
          double scale, double share) {
    extern __shared__ uint4 shared[];
    typedef Tile<T, D, THREADS> Rows;
    const int tiles = (queries + ROWS - 1) / ROWS, lane = threadIdx.x % 32;
    const int row = (tiles - 1 - blockIdx.x % tiles) * ROWS;  // a causal block's longest rows first
    const long long which = blockIdx.x / tiles, batch = which / heads, head = which % heads;
    const int rows = min(queries - row, (long long)ROWS), mine = threadIdx.x / 32 * 16 * M;
    const int end = causal ? min(keys, (long long)row + ROWS) : keys;
    const Rows qs = {shared};
    k += batch * at.k.batch + head * at.k.head;
    v += batch * at.v.batch + head * at.v.head;

    auto ks = [&](int key) { return Rows{shared + (ROWS + key / BN % 2 * BN) * (D / 8)}; };
    auto vs = [&](int key) { return Rows{shared + (ROWS + (2 + key / BN % 2) * BN) * (D / 8)}; };
    auto load = [&](int key) {
        ks(key).template load<BN>(k + key * at.k.row, at.k.row, keys - key);
        vs(key).template load<BN>(v + key * at.v.row, at.v.row, keys - key);
    };

    q += batch * at.q.batch + head * at.q.head + row * at.q.row;
    qs.template load<ROWS>(q, at.q.row, rows);
    load(0);
    unsigned left[M][D / 16][4];
    float o[M][D / 8][4] = {}, best[M][2], total[M][2] = {};
#pragma unroll
    for (int m = 0; m < M; m++) best[m][0] = best[m][1] = -__int_as_float(0x7f800000);
    copies_end();
    __syncthreads();
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int i = 0; i < D / 16; i++) qs.left(left[m][i], mine + 16 * m, 16 * i);

    for (int key = 0; key < end; key += BN) {
        copies_end();
        __syncthreads();  // these keys are there, and nobody needs those before them
        if (key + BN < end) load(key + BN);
        const int first = row + mine;
        if (!needed(!causal || key < first + 16 * M)) continue;
        float s[M][BN / 8][4] = {};
        add_product_trans<M, BN>(s, left, ks(key), 0);
        if (key + BN > keys || (causal && key + BN > first + 1)) hide(s, first, key, keys, causal);
        soften(s, o, best, total, scale);
        if (DROP) drop(s, keep + (which * queries + first) * keys, rows - mine, key, keys);
        add_product<M, BN>(o, s, vs(key), 0);
    }

#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = quad_sum(total[m][half]), inverse = (float)share / sum;
            float log = best[m][half] * (float)scale + log2f(sum);
            // A causal row whose scores are all -inf gives 0, and so weights of 0 in backward.
            if (causal && sum == 0) inverse = 0, log = __int_as_float(0x7f800000);
            int r = mine + 16 * m + 8 * half + lane / 4;
            if (lane % 4 == 0 && r < rows) lse[which * queries + row + r] = log;
#pragma unroll
            for (int n = 0; n < D / 8; n++)
                o[m][n][2 * half] *= inverse, o[m][n][2 * half + 1] *= inverse;
        }
    out += batch * at.out.batch + head * at.out.head + row * at.out.row;
    qs.template store<M>(o, 1, mine, out, at.out.row, rows);
}
