/* Rows that have numbers of their own, as the channels of an image have. */

typedef struct {
    long n;                           /* of a row */
    const float *x, *g;               /* (rows, n) */
    const float *mean, *a, *b, *c;    /* (rows,) */
    float *out, *sums, *products;     /* (rows, n), (rows,), (rows,) */
} Channels;

/* sums = the sum of g, products = that of g (x - mean) */
static void sum_channels(void *job, long from, long to) {
    Channels w = *(Channels *)job;
    for (long r = from; r < to; r++) {
        const float *x = w.x + r * w.n, *g = w.g + r * w.n;
        vec total[4] = {{0}}, product[4] = {{0}}, mean = all(w.mean[r]);
        long i = 0;
        for (; i + 4 * LANES <= w.n; i += 4 * LANES)
            for (int k = 0; k < 4; k++) {
                vec h = load(g + i + k * LANES);
                total[k] += h;
                product[k] += h * (load(x + i + k * LANES) - mean);
            }
        for (; i < w.n; i += LANES) {
            long left = w.n - i < LANES ? w.n - i : LANES;
            vec h = load_part(g + i, left, 0);
            total[0] += h;
            product[0] += h * (load_part(x + i, left, w.mean[r]) - mean);
        }
        w.sums[r] = sum((total[0] + total[1]) + (total[2] + total[3]));
        w.products[r] = sum((product[0] + product[1]) + (product[2] + product[3]));
    }
}

/* out = a (x - mean) + b g + c, without g (NULL) a (x - mean) + c */
static void mix_channels(void *job, long from, long to) {
    Channels w = *(Channels *)job;
    for (long r = from; r < to; r++) {
        const float *x = w.x + r * w.n, *g = w.g + r * w.n;
        float *restrict out = w.out + r * w.n, mean = w.mean[r], a = w.a[r], c = w.c[r];
        if (w.g)
            for (long i = 0; i < w.n; i++) out[i] = a * (x[i] - mean) + (w.b[r] * g[i] + c);
        else
            for (long i = 0; i < w.n; i++) out[i] = a * (x[i] - mean) + c;
    }
}
