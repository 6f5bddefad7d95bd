// Attention's gradients of the keys and values. A block has WARPS * 16 M keys and goes through the
// queries BN at a time. Scores and weights are those of forward, transposed: made again SLICE
// queries at a time, with the keys as rows, they stay in registers.
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
#define SLICE 16
#endif
#ifndef BLOCKS
#define BLOCKS 2
#endif
static const int THREADS = 32 * WARPS, ROWS = 16 * M * WARPS;

struct Layout {
    Strides q, k, v, out, g, dq, dk, dv;
};

// Where a query may not look, weight and slope become 0.
__device__ inline void hide(float (&s)[M][SLICE / 8][4], float (&w)[M][SLICE / 8][4], int key,
                            int query, int queries, bool causal) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < SLICE / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int from = query + 8 * n + lane % 4 * 2 + i % 2;
                int to = key + 16 * m + lane / 4 + i / 2 * 8;
                if (from >= queries || (causal && to > from))
                    s[m][n][i] = -__int_as_float(0x7f800000), w[m][n][i] = 0;
            }
}

// s, scores, become weights; w, the slopes of what dropout makes of weights, those of the scores.
// log and along: what is known of the SLICE queries; keep is that of the first and the warp's keys.
__device__ inline void slopes(float (&s)[M][SLICE / 8][4], float (&w)[M][SLICE / 8][4],
                              const float* log, const float* along, float scale, float share,
                              const unsigned char* keep, int rows, long long keys, int count) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < SLICE / 8; n++) {
        int column = 8 * n + lane % 4 * 2;
        float2 l = *reinterpret_cast<const float2*>(log + column);
        float2 a = *reinterpret_cast<const float2*>(along + column);
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float &x = s[m][n][i], &slope = w[m][n][i];
                x = exp2_of(fmaf(x, scale, i % 2 ? -l.y : -l.x));
                bool kept = true;
                if (DROP) {
                    int to = 16 * m + lane / 4 + i / 2 * 8, from = column + i % 2;
                    kept = to < rows && from < count && keep[from * keys + to];
                    slope = kept ? slope * share : 0;
                }
                slope = x * (slope - (i % 2 ? a.y : a.x));
                if (!kept) x = 0;
            }
    }
}

// scale: of the scores, times log2(e); factor: of dk; share: of a weight that dropout keeps.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
attention_dkv(const T* q, const T* k, const T* v, const T* g, const unsigned char* keep,
              const float* lse, const float* delta, T* dk, T* dv, Layout at, long long heads,
              long long queries, long long keys, long long causal, double scale, double factor,
              double share) {
    extern __shared__ uint4 shared[];
    typedef Tile<T, D, THREADS> Rows;
    const int tiles = (keys + ROWS - 1) / ROWS;
    const int row = blockIdx.x % tiles * ROWS;  // causal: the first keys have the most queries
    const long long which = blockIdx.x / tiles, batch = which / heads, head = which % heads;
    const int rows = min(keys - row, (long long)ROWS), mine = threadIdx.x / 32 * 16 * M;
    const int start = causal ? row / BN * BN : 0, first = row + mine;
    const Rows ks = {shared}, vs = {shared + ROWS * (D / 8)};
    uint4* rest = shared + 2 * ROWS * (D / 8);
    float* floats = reinterpret_cast<float*>(rest + 4 * BN * (D / 8));
    q += batch * at.q.batch + head * at.q.head;
    g += batch * at.g.batch + head * at.g.head;
    lse += which * queries, delta += which * queries;

    auto qs = [&](int query) { return Rows{rest + query / BN % 2 * BN * (D / 8)}; };
    auto gs = [&](int query) { return Rows{rest + (2 + query / BN % 2) * BN * (D / 8)}; };
    auto logs = [&](int query) { return floats + query / BN % 2 * 2 * BN; };
    auto load = [&](int query) {
        qs(query).template load<BN>(q + query * at.q.row, at.q.row, queries - query);
        gs(query).template load<BN>(g + query * at.g.row, at.g.row, queries - query);
        for (int i = threadIdx.x; i < BN; i += THREADS) {
            bool there = query + i < queries;
            copy_4(logs(query) + i, lse + (there ? query + i : 0), there);
            copy_4(logs(query) + BN + i, delta + (there ? query + i : 0), there);
        }
    };
    auto rows_of = [&](auto* x, Strides by) {
        return x + batch * by.batch + head * by.head + row * by.row;
    };

    ks.template load<ROWS>(rows_of(k, at.k), at.k.row, rows);
    vs.template load<ROWS>(rows_of(v, at.v), at.v.row, rows);
    if (start < queries) load(start);
    unsigned k_left[M][D / 16][4], v_left[M][D / 16][4];
    float k_sum[M][D / 8][4] = {}, v_sum[M][D / 8][4] = {};
    copies_end();
    __syncthreads();
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int i = 0; i < D / 16; i++) {
            ks.left(k_left[m][i], mine + 16 * m, 16 * i);
            vs.left(v_left[m][i], mine + 16 * m, 16 * i);
        }

    for (int query = start; query < queries; query += BN) {
        copies_end();
        __syncthreads();  // these queries are there, and nobody needs those before them
        if (query + BN < queries) load(query + BN);
#pragma unroll 1
        for (int n = 0; n < BN; n += SLICE) {
            const int from = query + n;
            if (!needed(!causal || from + SLICE > first)) continue;
            float s[M][SLICE / 8][4] = {}, w[M][SLICE / 8][4] = {};
            add_product_trans<M, SLICE>(s, k_left, qs(query), n);
            add_product_trans<M, SLICE>(w, v_left, gs(query), n);
            if (from + SLICE > queries || (causal && from < first + 16 * M - 1))
                hide(s, w, first, from, queries, causal);
            const float* log = logs(query) + n;
            const unsigned char* kept = keep + (which * queries + from) * keys + first;
            slopes(s, w, log, log + BN, scale, share, kept, rows - mine, keys, queries - from);
            add_product<M, SLICE>(v_sum, s, gs(query), n);
            add_product<M, SLICE>(k_sum, w, qs(query), n);
        }
    }
    copies_end();
    __syncthreads();
    ks.template store<M>(k_sum, factor, mine, rows_of(dk, at.dk), at.dk.row, rows);
    vs.template store<M>(v_sum, share, mine, rows_of(dv, at.dv), at.dv.row, rows);
}
