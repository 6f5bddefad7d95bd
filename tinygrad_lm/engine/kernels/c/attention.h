/* softmax(q k^T scale) v and its gradients, one head at a time, in memory that stays in cache. The
   weights of a block of queries are made, used and forgotten; backward makes them again from the
   scores and the logarithm of their sum (Dao et al., 2022, arXiv 2205.14135). */

#define TILE 6    /* rows of a tile of a product */
#define QUERIES 24 /* queries in a block */
#define FEW_QUERIES 2 /* so few are not worth packing keys and values for */

/* c = or += a b for a tile of `rows` x `wide` vectors: sum over k < depth of a[i ai + k ak] b[k];
   rows of b and c at steps ldb and ldc. */
INLINE void tile(const int rows, const int wide, long depth, const float *a, long ai, long ak,
                 const float *b, long ldb, float *c, long ldc, int adding) {
    vec total[TILE][WIDE];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < wide; j++)
            total[i][j] = adding ? load(c + i * ldc + j * LANES) : all(0);
    for (long k = 0; k < depth; k++, b += ldb, a += ak) {
        vec row[WIDE];
        for (int j = 0; j < wide; j++) row[j] = load(b + j * LANES);
        for (int i = 0; i < rows; i++) {
            vec x = all(a[i * ai]);
            for (int j = 0; j < wide; j++) total[i][j] += x * row[j];
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < wide; j++) store(c + i * ldc + j * LANES, total[i][j]);
}

INLINE void strip(const int wide, long rows, long depth, const float *a, long ai, long ak,
                  const float *b, long ldb, float *c, long ldc, int adding) {
    long i = 0;
    for (; i + TILE <= rows; i += TILE)
        tile(TILE, wide, depth, a + i * ai, ai, ak, b, ldb, c + i * ldc, ldc, adding);
    for (; i + 2 <= rows; i += 2)
        tile(2, wide, depth, a + i * ai, ai, ak, b, ldb, c + i * ldc, ldc, adding);
    for (; i < rows; i++)
        tile(1, wide, depth, a + i * ai, ai, ak, b, ldb, c + i * ldc, ldc, adding);
}

/* A whole product, `columns` rounded up to whole vectors: rows of b and c are that long. */
static void product(long rows, long columns, long depth, const float *a, long ai, long ak,
                    const float *b, long ldb, float *c, long ldc, int adding) {
    long j = 0;
    for (; j + (WIDE - 1) * LANES < columns; j += WIDE * LANES)
        strip(WIDE, rows, depth, a, ai, ak, b + j, ldb, c + j, ldc, adding);
    for (; j + LANES < columns; j += 2 * LANES)
        strip(2, rows, depth, a, ai, ak, b + j, ldb, c + j, ldc, adding);
    for (; j < columns; j += LANES)
        strip(1, rows, depth, a, ai, ak, b + j, ldb, c + j, ldc, adding);
}

typedef struct { /* one array (B, H, rows, n): steps in elements, the last axis without gaps */
    float *at;
    long batch, head, row;
} Heads;

typedef struct {
    Heads q, k, v, out, g, dq, dk, dv;
    float *shift;        /* (B, H, T): the logarithm of the sum of the weights */
    const uint8_t *keep; /* (B, H, T, S), or NULL */
    long H, T, S, D, E;
    float scale, share; /* share: what a kept weight is multiplied by */
    int causal;
    atomic_int failed;
} Attention;

INLINE long up(long n) { return (n + LANES - 1) / LANES * LANES; } /* to whole vectors */
INLINE float *at(Heads x, long head, long H) {
    return x.at + head / H * x.batch + head % H * x.head;
}

/* to (rows, ld) = factor x; what is beyond n is 0. */
static void pack(float *to, long ld, const float *x, long step, long rows, long n, float factor) {
    for (long r = 0; r < rows; r++, to += ld, x += step) {
        for (long i = 0; i < n; i++) to[i] = factor * x[i];
        for (long i = n; i < ld; i++) to[i] = 0;
    }
}

/* to (n, ld) = x^T */
static void pack_transposed(float *to, long ld, const float *x, long step, long rows, long n) {
    long whole = rows / 8 * 8, turned = n / 8 * 8;
    for (long r = 0; r < whole; r += 8)
        for (long i = 0; i < turned; i += 8) turn(to + i * ld + r, ld, x + r * step + i, step);
    for (long i = 0; i < n; i++)
        for (long r = i < turned ? whole : 0; r < ld; r++)
            to[i * ld + r] = r < rows ? x[r * step + i] : 0;
}

static void unpack(float *to, long step, const float *x, long ld, long rows, long n, float factor) {
    for (long r = 0; r < rows; r++, to += step, x += ld)
        for (long i = 0; i < n; i++) to[i] = factor * x[i];
}

INLINE long seen_by(const Attention *w, long t) {
    return w->causal && t + 1 < w->S ? t + 1 : w->S;
}

/* weights *= what dropout keeps; one row of `seen` weights of query t */
static void drop(const Attention *w, float *weights, long head, long t, long seen) {
    const uint8_t *keep = w->keep + (head * w->T + t) * w->S;
    for (long s = 0; s < seen; s++) weights[s] *= keep[s] ? w->share : 0;
}

/* weights (seen,) of query t, from its scores: softmax, and dropout */
INLINE void weigh(const Attention *w, float *row, long head, long t, long seen) {
    float top = top_of(row, seen);
    vec total = all(0);
    EACH(s, seen) {
        vec y = exp_(get(row, s, seen, -INFINITY) - top);
        store(row + s, y);
        total += y;
    }
    float whole = sum(total);
    w->shift[head * w->T + t] = top + logf(whole);
    EACH(s, seen) store(row + s, load(row + s) * (1 / whole));
    if (w->keep) drop(w, row, head, t, seen);
}

/* One query, as in writing text: keys and values are read once, where they lie. */
static void attend_once(const Attention *w, long head, long t, float *weights) {
    long seen = seen_by(w, t), D = w->D, E = w->E;
    const float *q = at(w->q, head, w->H) + t * w->q.row, *k = at(w->k, head, w->H);
    const float *v = at(w->v, head, w->H);
    for (long s = 0; s < seen; s++, k += w->k.row) {
        vec total = all(0);
        EACH(i, D) total += get(q, i, D, 0) * get(k, i, D, 0);
        weights[s] = w->scale * sum(total);
    }
    weigh(w, weights, head, t, seen);
    float *out = at(w->out, head, w->H) + t * w->out.row;
    for (long e = 0; e < E; e += 4 * LANES) {
        vec total[4] = {{0}};
        const float *row = v + e;
        for (long s = 0; s < seen; s++, row += w->v.row)
            for (long i = 0; i < 4 && e + i * LANES < E; i++)
                total[i] += weights[s] * get(row, i * LANES, E - e, 0);
        for (long i = 0; i < 4 && e + i * LANES < E; i++)
            put(out + e, total[i], i * LANES, E - e);
    }
}

static void attention_forward(void *job, long from, long to) {
    Attention *w = job;
    long T = w->T, S = w->S, D = w->D, E = w->E;
    long Sp = up(S), Dp = up(D), Ep = up(E);
    if (T <= FEW_QUERIES) {
        float *weights = scratch(Sp);
        if (!weights) w->failed = 1;
        for (long head = from; weights && head < to; head++)
            for (long t = 0; t < T; t++) attend_once(w, head, t, weights);
        return;
    }
    float *kt = scratch(D * Sp + S * Ep + QUERIES * (Dp + Sp + Ep));
    if (!kt) {
        w->failed = 1;
        return;
    }
    float *v = kt + D * Sp, *q = v + S * Ep, *weights = q + QUERIES * Dp;
    float *out = weights + QUERIES * Sp;
    for (long head = from; head < to; head++) {
        pack_transposed(kt, Sp, at(w->k, head, w->H), w->k.row, S, D);
        pack(v, Ep, at(w->v, head, w->H), w->v.row, S, E, 1);
        for (long t = 0; t < T; t += QUERIES) {
            long rows = T - t < QUERIES ? T - t : QUERIES, end = seen_by(w, t + rows - 1);
            pack(q, Dp, at(w->q, head, w->H) + t * w->q.row, w->q.row, rows, D, w->scale);
            product(rows, end, D, q, Dp, 1, kt, Sp, weights, Sp, 0);
            for (long r = 0; r < rows; r++) {
                float *row = weights + r * Sp;
                long seen = seen_by(w, t + r);
                weigh(w, row, head, t + r, seen);
                for (long s = up(seen); s < end; s += LANES) store(row + s, all(0));
            }
            product(rows, E, end, weights, Sp, 1, v, Ep, out, Ep, 0);
            unpack(at(w->out, head, w->H) + t * w->out.row, w->out.row, out, Ep, rows, E, 1);
        }
    }
}

/* weights w and slopes of one query, from its scores and dw = g v^T: slopes = w (dw - sum(dw w)),
   where sum(dw w) = sum(g out); then dv = w^T g, dk = slopes^T q scale, dq = slopes k scale. */
static void slopes_of(const Attention *w, float *weights, float *slopes, const float *g,
                      const float *out, long head, long t, long end) {
    long seen = seen_by(w, t);
    float shift = w->shift[head * w->T + t];
    vec total = all(0);
    EACH(i, w->E) total += get(g, i, w->E, 0) * get(out, i, w->E, 0);
    float sum_g_out = sum(total);
    if (w->keep) drop(w, slopes, head, t, seen);
    EACH(s, seen) {
        vec y = exp_(get(weights, s, seen, -INFINITY) - shift);
        store(weights + s, y);
        store(slopes + s, y * (load(slopes + s) - sum_g_out));
    }
    for (long s = up(seen); s < end; s += LANES)
        store(weights + s, all(0)), store(slopes + s, all(0));
    if (w->keep) drop(w, weights, head, t, seen);
}

static void attention_backward(void *job, long from, long to) {
    Attention *w = job;
    long T = w->T, S = w->S, D = w->D, E = w->E;
    long Sp = up(S), Dp = up(D), Ep = up(E);
    float *k = scratch(S * (2 * Dp + Ep) + Sp * (D + E) + QUERIES * (2 * Dp + Ep + 2 * Sp));
    if (!k) {
        w->failed = 1;
        return;
    }
    float *kt = k + S * Dp, *vt = kt + D * Sp, *dk = vt + E * Sp, *dv = dk + S * Dp;
    float *q = dv + S * Ep, *dq = q + QUERIES * Dp, *g = dq + QUERIES * Dp;
    float *weights = g + QUERIES * Ep, *slopes = weights + QUERIES * Sp;
    for (long head = from; head < to; head++) {
        pack(k, Dp, at(w->k, head, w->H), w->k.row, S, D, 1);
        pack_transposed(kt, Sp, at(w->k, head, w->H), w->k.row, S, D);
        pack_transposed(vt, Sp, at(w->v, head, w->H), w->v.row, S, E);
        memset(dk, 0, 4 * S * (Dp + Ep)); /* and dv, which is its neighbour */
        for (long t = 0; t < T; t += QUERIES) {
            long rows = T - t < QUERIES ? T - t : QUERIES, end = seen_by(w, t + rows - 1);
            const float *out = at(w->out, head, w->H) + t * w->out.row;
            pack(q, Dp, at(w->q, head, w->H) + t * w->q.row, w->q.row, rows, D, w->scale);
            pack(g, Ep, at(w->g, head, w->H) + t * w->g.row, w->g.row, rows, E, 1);
            product(rows, end, D, q, Dp, 1, kt, Sp, weights, Sp, 0);
            product(rows, end, E, g, Ep, 1, vt, Sp, slopes, Sp, 0);
            for (long r = 0; r < rows; r++)
                slopes_of(w, weights + r * Sp, slopes + r * Sp, g + r * Ep, out + r * w->out.row,
                          head, t + r, end);
            product(end, E, rows, weights, 1, Sp, g, Ep, dv, Ep, 1);
            product(end, D, rows, slopes, 1, Sp, q, Dp, dk, Dp, 1);
            product(rows, D, end, slopes, Sp, 1, k, Dp, dq, Dp, 0);
            unpack(at(w->dq, head, w->H) + t * w->dq.row, w->dq.row, dq, Dp, rows, D, w->scale);
        }
        unpack(at(w->dk, head, w->H), w->dk.row, dk, Dp, S, D, 1);
        unpack(at(w->dv, head, w->H), w->dv.row, dv, Ep, S, E, 1);
    }
}
