// Attention, forward (Dao, 2023, FlashAttention-2, arXiv 2307.08691). A block's queries are held in
// shared memory; while it works on BN keys, the next are on their way. Scores and weights stay in
// registers; the softmax takes them relative to a score of the row.

// Scores become weights e^(score - base), `total` their sum in this thread. The base is a score of
// the row, the greatest but for a factor of 2^8 in the weight; when it moves, what was summed up
// before, in `total` and o, is scaled to it.
__device__ inline void soften(float (&s)[M][BN / 8][4], float (&o)[M][D / 8][4],
                              float (&base)[M][2], float (&total)[M][2], float scale) {
    float rest[M][2];
    bool moved = false;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float top = base[m][half], before = top, sum = 0;
#pragma unroll
            for (int n = 0; n < BN / 8; n++)
                top = fmaxf(top, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
            top = quad_max(top);
            if ((top - before) * scale > 8) base[m][half] = top, moved = true;
            float shift = base[m][half] == -infinity() ? 0 : base[m][half] * scale;
            rest[m][half] = exp2_of(before * scale - shift);
#pragma unroll
            for (int n = 0; n < BN / 8; n++)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++)
                    sum += s[m][n][i] = exp2_of(fmaf(s[m][n][i], scale, -shift));
            total[m][half] = total[m][half] * rest[m][half] + sum;
        }
    if (needed_by_any(moved))
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int n = 0; n < D / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) o[m][n][i] *= rest[m][i / 2];
}

// q (B, heads, queries, D), k and v (B, heads, keys, D) -> out, and for each row the logarithm
// (base 2) of the sum of e^score. scale is that of the scores times log2(e); share: what a weight
// that dropout keeps is multiplied by.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
attention(const T* q, const T* k, const T* v, const unsigned char* keep, T* out, float* lse,
          Layout at, int queries, int keys, int causal, float scale, float share) {
    extern __shared__ Line shared[];
    const int lane = threadIdx.x % 32;
    const int row = (gridDim.x - 1 - blockIdx.x) * ROWS;  // a causal block's longest rows first
    const long long head = blockIdx.y, batch = blockIdx.z, which = batch * gridDim.y + head;
    const int rows = min(queries - row, ROWS), mine = threadIdx.x / 32 * 16 * M;
    const int end = causal ? min(keys, row + ROWS) : keys;
    const Rows qs = {shared};
    k = at.k.of(k, batch, head, 0);
    v = at.v.of(v, batch, head, 0);

    auto ks = [&](int key) { return Rows{shared + BIG + key / BN % 2 * SMALL}; };
    auto vs = [&](int key) { return Rows{shared + BIG + (2 + key / BN % 2) * SMALL}; };
    auto load = [&](int key) {
        ks(key).template load<BN>(k, at.k.row, key, keys);
        vs(key).template load<BN>(v, at.v.row, key, keys);
    };

    q = at.q.of(q, batch, head, row);
    qs.template load<ROWS>(q, at.q.row, 0, rows);
    load(0);
    float o[M][D / 8][4] = {}, base[M][2], total[M][2] = {};
#pragma unroll
    for (int m = 0; m < M; m++) base[m][0] = base[m][1] = -infinity();
    copies_end();
    __syncthreads();
    const Left<T, D, THREADS, M, HOLD % 2> left(qs, mine);

    for (int key = 0; key < end; key += BN) {
        copies_end();
        __syncthreads();  // these keys are there, and nobody needs those before them
        if (key + BN < end) load(key + BN);
        const int first = row + mine;
        if (!needed(!causal || key < first + 16 * M)) continue;
        float s[M][BN / 8][4] = {};
        left.add_product_trans(s, ks(key), 0);
        if (key + BN > keys || (causal && key + BN > first + 1))
            hide<false>(s, -infinity(), first, key, keys, causal);
        soften(s, o, base, total, scale);
        if (DROP) drop(s, keep + (which * queries + first) * keys, rows - mine, key, keys, 1);
        add_product<M, BN>(o, s, vs(key), 0);
    }

#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = quad_sum(total[m][half]), inverse = share / sum;
            float log = base[m][half] * scale + log2f(sum);
            // A causal row whose scores are all -inf gives 0, and so weights of 0 in backward.
            if (causal && sum == 0) inverse = 0, log = infinity();
            int r = mine + 16 * m + 8 * half + lane / 4;
            if (lane % 4 == 0 && r < rows) lse[which * queries + row + r] = log;
#pragma unroll
            for (int n = 0; n < D / 8; n++)
                o[m][n][2 * half] *= inverse, o[m][n][2 * half + 1] *= inverse;
        }
    out = at.out.of(out, batch, head, row);
    qs.template store<M>(o, 1, mine, out, at.out.row, rows);
}
