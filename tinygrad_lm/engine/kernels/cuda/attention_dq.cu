// Attention's gradient of the queries. As in forward a block goes through the keys; the weights are
// made again from the scores, SLICE keys at a time. On the way it makes what the other gradients
// need to know of a query: the logarithm of its sum of e^score, and the sum of g out.

// The sums of g out over D for the two rows of this thread, among 16.
__device__ inline void row_sums(float (&sums)[2], Rows g, Rows out, int row) {
    sums[0] = sums[1] = 0;
#pragma unroll
    for (int k = 0; k < D; k += Rows::DEEP) {
        unsigned a[4], b[4];
        g.left(a, row, k);
        out.left(b, row, k);
#pragma unroll
        for (int i = 0; i < Rows::EACH; i++)
            sums[i * sizeof(T) / 4 % 2] +=
                get(reinterpret_cast<T*>(a)[i]) * get(reinterpret_cast<T*>(b)[i]);
    }
    sums[0] = quad_sum(sums[0]), sums[1] = quad_sum(sums[1]);
}

// scale: of the scores, times log2(e); factor: of the gradient; share: of a weight that is kept.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
attention_dq(const T* q, const T* k, const T* v, const T* out, const T* g,
             const unsigned char* keep, const float* lse, float2* known, T* dq, Layout at,
             int queries, int keys, int causal, float scale, float factor, float share) {
    extern __shared__ Line shared[];
    const int lane = threadIdx.x % 32;
    const int row = (gridDim.x - 1 - blockIdx.x) * ROWS;  // a causal block's longest rows first
    const long long head = blockIdx.y, batch = blockIdx.z, which = batch * gridDim.y + head;
    const int rows = min(queries - row, ROWS), mine = threadIdx.x / 32 * 16 * M;
    const int end = causal ? min(keys, row + ROWS) : keys, first = row + mine;
    const Rows qs = {shared}, gs = {shared + BIG}, outs = {shared + 2 * BIG};
    Line* rest = shared + 3 * BIG;
    k = at.k.of(k, batch, head, 0);
    v = at.v.of(v, batch, head, 0);

    auto ks = [&](int key) { return Rows{rest + key / BN % 2 * SMALL}; };
    auto vs = [&](int key) { return Rows{rest + (2 + key / BN % 2) * SMALL}; };
    auto load = [&](int key) {
        ks(key).template load<BN>(k, at.k.row, key, keys);
        vs(key).template load<BN>(v, at.v.row, key, keys);
    };

    qs.template load<ROWS>(at.q.of(q, batch, head, row), at.q.row, 0, rows);
    gs.template load<ROWS>(at.g.of(g, batch, head, row), at.g.row, 0, rows);
    outs.template load<ROWS>(at.out.of(out, batch, head, row), at.out.row, 0, rows);
    load(0);
    float sum[M][D / 8][4] = {}, log[M][2], along[M][2];
    copies_end();
    __syncthreads();
    const Left<T, D, THREADS, M, HOLD % 2> q_left(qs, mine);
    const Left<T, D, THREADS, M, HOLD / 2> g_left(gs, mine);
#pragma unroll
    for (int m = 0; m < M; m++) {
        row_sums(along[m], gs, outs, mine + 16 * m);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int r = mine + 16 * m + 8 * half + lane / 4;
            log[m][half] = r < rows ? lse[which * queries + row + r] : 0;
            if (lane % 4 == 0 && r < rows)
                known[which * queries + row + r] = make_float2(log[m][half], along[m][half]);
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
            q_left.add_product_trans(s, ks(key), n);
            g_left.add_product_trans(w, vs(key), n);
            const int from = key + n;
            if (DROP)
                drop(w, keep + (which * queries + first) * keys, rows - mine, from, keys, share);
            if (from + SLICE > keys || (causal && from + SLICE > first + 1)) {
                hide<false>(s, -infinity(), first, from, keys, causal);
                hide<false>(w, 0, first, from, keys, causal);
            }
#pragma unroll
            for (int m = 0; m < M; m++)
#pragma unroll
                for (int i = 0; i < SLICE / 2; i++) {
                    float &x = s[m][i / 4][i % 4], slope = w[m][i / 4][i % 4];
                    int half = i % 4 / 2;
                    x = exp2_of(fmaf(x, scale, -log[m][half])) * (slope - along[m][half]);
                }
            add_product<M, SLICE>(sum, s, ks(key), n);
        }
    }
    qs.template store<M>(sum, factor, mine, at.dq.of(dq, batch, head, row), at.dq.row, rows);
}
