// Attention's gradients of the keys and values. A block has ROWS keys and goes through the queries.
// Scores and weights are those of forward, transposed: made again SLICE queries at a time, with the
// keys as rows, they stay in registers.

// s, scores, become weights; w, the slopes of what dropout makes of weights, those of the scores.
// known: of the SLICE queries, the logarithm of the sum of e^score and the sum of g out; keep is
// that of the first of them and of the warp's keys.
__device__ inline void slopes(float (&s)[M][SLICE / 8][4], float (&w)[M][SLICE / 8][4],
                              const float2* known, float scale, float share,
                              const unsigned char* keep, int rows, long long keys, int count) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < SLICE / 8; n++) {
        int column = 8 * n + lane % 4 * 2;
        float4 both = *reinterpret_cast<const float4*>(known + column);  // log, along, log, along
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float &x = s[m][n][i], &slope = w[m][n][i];
                x = exp2_of(fmaf(x, scale, i % 2 ? -both.z : -both.x));
                bool kept = true;
                if (DROP) {
                    int to = 16 * m + lane / 4 + i / 2 * 8, from = column + i % 2;
                    kept = to < rows && from < count && keep[from * keys + to];
                    slope = kept ? slope * share : 0;
                }
                slope = x * (slope - (i % 2 ? both.w : both.y));
                if (!kept) x = 0;
            }
    }
}

// scale: of the scores, times log2(e); factor: of dk; share: of a weight that dropout keeps.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
attention_dkv(const T* q, const T* k, const T* v, const T* g, const unsigned char* keep,
              const float2* known, T* dk, T* dv, Layout at,
              int queries, int keys, int causal, float scale, float factor, float share) {
    extern __shared__ Line shared[];
    const int row = blockIdx.x * ROWS;  // causal: the first keys have the most queries
    const long long head = blockIdx.y, batch = blockIdx.z, which = batch * gridDim.y + head;
    const int rows = min(keys - row, ROWS), mine = threadIdx.x / 32 * 16 * M;
    const int start = causal ? row / BN * BN : 0, first = row + mine;
    const Rows ks = {shared}, vs = {shared + BIG};
    Line* rest = shared + 2 * BIG;
    float2* pairs = reinterpret_cast<float2*>(rest + 4 * SMALL);
    q = at.q.of(q, batch, head, 0);
    g = at.g.of(g, batch, head, 0);
    known += which * queries;

    auto qs = [&](int query) { return Rows{rest + query / BN % 2 * SMALL}; };
    auto gs = [&](int query) { return Rows{rest + (2 + query / BN % 2) * SMALL}; };
    auto logs = [&](int query) { return pairs + query / BN % 2 * BN; };
    auto load = [&](int query) {
        qs(query).template load<BN>(q, at.q.row, query, queries);
        gs(query).template load<BN>(g, at.g.row, query, queries);
        static_assert(BN <= THREADS, "a thread for each query of a tile");
        const int mine = query + threadIdx.x;
        if (threadIdx.x < BN) copy_8(logs(query) + threadIdx.x, known + mine, mine < queries);
    };

    ks.template load<ROWS>(at.k.of(k, batch, head, row), at.k.row, 0, rows);
    vs.template load<ROWS>(at.v.of(v, batch, head, row), at.v.row, 0, rows);
    if (start < queries) load(start);
    float k_sum[M][D / 8][4] = {}, v_sum[M][D / 8][4] = {};
    copies_end();
    __syncthreads();
    const Left<T, D, THREADS, M, HOLD % 2> k_left(ks, mine);
    const Left<T, D, THREADS, M, HOLD / 2> v_left(vs, mine);

    for (int query = start; query < queries; query += BN) {
        copies_end();
        __syncthreads();  // these queries are there, and nobody needs those before them
        if (query + BN < queries) load(query + BN);
#pragma unroll 1
        for (int n = 0; n < BN; n += SLICE) {
            const int from = query + n;
            if (!needed(!causal || from + SLICE > first)) continue;
            float s[M][SLICE / 8][4] = {}, w[M][SLICE / 8][4] = {};
            k_left.add_product_trans(s, qs(query), n);
            v_left.add_product_trans(w, gs(query), n);
            if (from + SLICE > queries || (causal && from < first + 16 * M - 1)) {
                hide<true>(s, -infinity(), first, from, queries, causal);
                hide<true>(w, 0, first, from, queries, causal);
            }
            const unsigned char* kept = keep + (which * queries + from) * keys + first;
            slopes(s, w, logs(query) + n, scale, share, kept, rows - mine, keys, queries - from);
            add_product<M, SLICE>(v_sum, s, gs(query), n);
            add_product<M, SLICE>(k_sum, w, qs(query), n);
        }
    }
    copies_end();
    __syncthreads();
    ks.template store<M>(k_sum, factor, mine, at.dk.of(dk, batch, head, row), at.dk.row, rows);
    vs.template store<M>(v_sum, share, mine, at.dv.of(dv, batch, head, row), at.dv.row, rows);
}
