/* The loops over rows: norms, softmax and its logarithm, sums of rows, cross-entropy, masks,
   Adam. Each job is a struct of pointers and a function of a range of its rows; sums over
   rows are kept per range and added up in order, so that they do not depend on threads. */

#include <math.h>

#define ROWS 16 /* of a range, where sums over rows are kept */

/* for (i, x) over a row of n numbers in vectors; the last one may be a part of a vector. */
#define EACH(i, n) for (long i = 0; i < (n); i += LANES)
INLINE vec get(const float *p, long i, long n, float rest) {
    return n - i >= LANES ? load(p + i) : load_part(p + i, n - i, rest);
}
INLINE void put(float *p, vec x, long i, long n) {
    n - i >= LANES ? store(p + i, x) : store_part(p + i, x, n - i);
}

/* ------------------------------------------------------------------ layer norm and RMS norm */

typedef struct { /* mean is NULL for RMS norm; weight, bias, dweight and dbias may be NULL */
    const float *x, *weight, *bias, *g;
    float *out, *mean, *scale, *dx, *dweight, *dbias;
    long n;
    float eps;
} Norm;

/* one += the sum of f, two += that of f (x - centre), where f is g, or x - centre if there is no g.
   Short runs are added in float32, their sums in float64. */
INLINE void add_row(const float *x, const float *g, long n, float centre, double *one,
                    double *two) {
    for (long from = 0, to; from < n; from = to) {
        vec a[4] = {{0}}, b[4] = {{0}};
        to = from + 1024 < n ? from + 1024 : n;
        for (long i = from; i < to; i += 4 * LANES)
            for (int k = 0; k < 4 && i + k * LANES < to; k++) {
                vec d = get(x, i + k * LANES, to, centre) - centre;
                vec f = g ? get(g, i + k * LANES, to, 0) : d;
                a[k] += f, b[k] += f * d;
            }
        *one += sum((a[0] + a[1]) + (a[2] + a[3])), *two += sum((b[0] + b[1]) + (b[2] + b[3]));
    }
}

static void norm_forward(void *job, long from, long to) {
    Norm *w = job;
    long n = w->n;
    for (long r = from; r < to; r++) {
        const float *x = w->x + r * n;
        float *out = w->out + r * n, mean = 0;
        double one = 0, two = 0;
        if (w->mean) add_row(x, NULL, n, 0, &one, &two), w->mean[r] = mean = one / n;
        two = 0;
        add_row(x, NULL, n, mean, &one, &two);
        float scale = w->scale[r] = 1 / sqrtf(two / n + w->eps);
        EACH(i, n) {
            vec y = (get(x, i, n, 0) - mean) * scale;
            if (w->weight) y *= get(w->weight, i, n, 0);
            if (w->bias) y += get(w->bias, i, n, 0);
            put(out, y, i, n);
        }
    }
}

/* dx = scale (h - mean(h) - y mean(h y)), h = weight g, y the normal row; RMS: without mean(h). */
static void norm_backward(void *job, long from, long to) {
    Norm *w = job;
    long n = w->n;
    float *dweight = w->dweight ? w->dweight + from / ROWS * n : NULL;
    float *dbias = w->dbias ? w->dbias + from / ROWS * n : NULL;
    if (dweight) memset(dweight, 0, 4 * n);
    if (dbias) memset(dbias, 0, 4 * n);
    for (long r = from; r < to; r++) {
        const float *x = w->x + r * n, *g = w->g + r * n;
        float mean = w->mean ? w->mean[r] : 0, scale = w->scale[r];
        vec along = all(0), total = all(0);
        EACH(i, n) {
            vec slope = get(g, i, n, 0), y = (get(x, i, n, 0) - mean) * scale;
            if (dweight) put(dweight, get(dweight, i, n, 0) + slope * y, i, n);
            if (dbias) put(dbias, get(dbias, i, n, 0) + slope, i, n);
            if (w->weight) slope *= get(w->weight, i, n, 0);
            total += slope;
            along += slope * y;
        }
        float mean_y = sum(along) / n, mean_1 = w->mean ? sum(total) / n : 0;
        float *dx = w->dx + r * n;
        EACH(i, n) {
            vec slope = get(g, i, n, 0), y = (get(x, i, n, 0) - mean) * scale;
            if (w->weight) slope *= get(w->weight, i, n, 0);
            put(dx, (slope - mean_1 - y * mean_y) * scale, i, n);
        }
    }
}

/* ------------------------------------------------------------------ softmax and cross-entropy */

typedef struct {
    const float *x, *g;
    float *out;
    long n, columns;
    int log, least;
} Rows;

/* out[r] = the largest number of row r, or the smallest if `least`; NaN where it has one. */
static void find_tops(void *job, long from, long to) {
    Rows *w = job;
    float sign = w->least ? -1 : 1;
    for (long r = from; r < to; r++) {
        vec top = all(-INFINITY), odd = all(0);
        EACH(i, w->n) {
            vec y = sign * get(w->x + r * w->n, i, w->n, -sign * INFINITY);
            top = larger(y, top), odd = choose(y == y, odd, y);
        }
        float nan = sum(odd);
        w->out[r] = nan == 0 ? sign * largest(top) : nan;
    }
}

/* The largest number; a NaN shows in the sum of the powers. */
INLINE float top_of(const float *x, long n) {
    vec top = all(-INFINITY);
    EACH(i, n) top = larger(get(x, i, n, -INFINITY), top);
    return largest(top);
}

static void softmax_forward(void *job, long from, long to) {
    Rows *w = job;
    long n = w->n, log = w->log;
    for (long r = from; r < to; r++) {
        const float *x = w->x + r * n;
        float *out = w->out + r * n, top = top_of(x, n);
        vec total = all(0);
        EACH(i, n) {
            vec y = exp_(get(x, i, n, -INFINITY) - top);
            if (!log) put(out, y, i, n);
            total += y;
        }
        float along = sum(total), scale = 1 / along, rest = logf(along);
        EACH(i, n) put(out, log ? get(x, i, n, 0) - top - rest : get(out, i, n, 0) * scale, i, n);
    }
}

/* dx = y (g - sum(y g)), or g - e^y sum(g) of the logarithm; x is y */
static void softmax_backward(void *job, long from, long to) {
    Rows *w = job;
    long n = w->n, log = w->log;
    for (long r = from; r < to; r++) {
        const float *x = w->x + r * n, *upstream = w->g + r * n;
        vec total = all(0);
        EACH(i, n) total += get(upstream, i, n, 0) * (log ? all(1) : get(x, i, n, 0));
        float along = sum(total);
        EACH(i, n) {
            vec y = get(x, i, n, 0), g = get(upstream, i, n, 0);
            put(w->out + r * n, log ? g - exp_(y) * along : y * (g - along), i, n);
        }
    }
}

/* Rounded after each operation, as NumPy does: the same bits. */
#if defined(__clang__)
#define ROUNDED
#define ROUND _Pragma("clang fp contract(off)")
#else
#define ROUNDED __attribute__((optimize("fp-contract=off")))
#define ROUND
#endif

#define COLUMNS 256 /* columns that are summed together */
#define RUN 32
#define LEVELS 5

/* out = the sum of n rows: of runs of 32 rows, of 32 such sums, and so on, so that few numbers are
   added one after another. */
static void add_columns(void *job, long from, long to) {
    Rows *w = job;
    float sums[LEVELS][COLUMNS] = {{0}}, *restrict first = sums[0];
    long n = to - from, next = w->columns;
    for (long r = 0; r < w->n;) {
        const float *restrict x = w->x + from + r * next;
        long end = r + RUN < w->n ? r + RUN : w->n, count = r + RUN;
        for (; r + 4 <= end; r += 4, x += 4 * next)
            for (long i = 0; i < n; i++)
                first[i] += (x[i] + x[i + next]) + (x[i + 2 * next] + x[i + 3 * next]);
        for (; r < end; r++, x += next)
            for (long i = 0; i < n; i++) first[i] += x[i];
        for (int k = 0; k + 1 < LEVELS && (count % RUN == 0 || r == w->n); k++, count /= RUN) {
            for (long i = 0; i < n; i++) sums[k + 1][i] += sums[k][i];
            memset(sums[k], 0, 4 * n);
        }
    }
    memcpy(w->out + from, sums[LEVELS - 1], 4 * n);
}

typedef struct {
    const float *x;
    const int64_t *targets;
    int64_t ignored;
    float *shift, *dx; /* shift (rows, 2): top, and log of the sum of e^(x - top) */
    float factor;
    long n;
} CrossEntropy;

static void cross_entropy_forward(void *job, long from, long to) {
    CrossEntropy *w = job;
    long n = w->n;
    for (long r = from; r < to; r++) {
        const float *x = w->x + r * n;
        float top = top_of(x, n);
        vec total = all(0);
        EACH(i, n) total += exp_(get(x, i, n, -INFINITY) - top);
        w->shift[2 * r] = top, w->shift[2 * r + 1] = logf(sum(total));
    }
}

/* dx = factor (softmax(x) - one-hot), 0 in a row that is ignored; factor = g / rows that count.
   Without shift x are log-probabilities, and dx, which has zeros, becomes -factor one-hot. */
static void cross_entropy_backward(void *job, long from, long to) {
    CrossEntropy *w = job;
    long n = w->n;
    for (long r = from; r < to; r++) {
        const float *x = w->x + r * n;
        float *dx = w->dx + r * n;
        int counts = w->targets[r] != w->ignored;
        if (w->shift && counts) {
            float top = w->shift[2 * r], rest = w->shift[2 * r + 1];
            EACH(i, n) put(dx, exp_(get(x, i, n, 0) - top - rest) * w->factor, i, n);
        } else if (w->shift) {
            memset(dx, 0, 4 * n);
        }
        if (counts) dx[w->targets[r]] -= w->factor;
    }
}

/* ------------------------------------------------------------------ masks, Adam */

typedef struct {
    const float *x;
    const uint8_t *mask;
    float *out, number;
} Masked;

static void dropout(void *job, long from, long to) {
    Masked w = *(Masked *)job;
    for (long i = from; i < to; i++) w.out[i] = w.x[i] * (w.mask[i] ? w.number : 0);
}
static void fill(void *job, long from, long to) {
    Masked w = *(Masked *)job;
    for (long i = from; i < to; i++) w.out[i] = w.mask[i] ? w.number : w.x[i];
}

typedef struct { /* see optim/adam.py for the rule */
    float *p, *m, *v, *most;
    const float *g;
    float shrink, pull, sign, b1, c1, b2, c2, rate, eps;
} Adam;

ROUNDED static void adam(void *job, long from, long to) {
    ROUND
    Adam w = *(Adam *)job;
    float *restrict p = w.p, *restrict m = w.m, *restrict v = w.v, *restrict most = w.most;
    const float *restrict g = w.g;
    for (long i = from; i < to; i++) {
        float shrunk = p[i] * w.shrink, slope = w.sign * g[i];
        if (w.pull) slope += shrunk * w.pull; /* 0 times infinity would be NaN */
        m[i] = m[i] * w.b1 + slope * w.c1;
        v[i] = v[i] * w.b2 + slope * slope * w.c2;
        float scale = v[i];
        if (most) scale = most[i] = scale <= most[i] || most[i] != most[i] ? most[i] : scale;
        p[i] = shrunk + m[i] / (sqrtf(scale) + w.eps) * w.rate;
    }
}

typedef struct {
    const float *x, *y; /* y may be NULL */
    double *parts;      /* one per range of SQUARES numbers */
} Flat;

#define SQUARES 65536

static void add_squares(void *job, long from, long to) {
    Flat *w = job;
    double total = 0;
    for (long i = from; i < to; i += 1024) { /* short runs in float32, their sums in float64 */
        long end = i + 1024 < to ? i + 1024 : to;
        vec run = all(0);
        EACH(j, end - i) {
            vec x = get(w->x + i, j, end - i, 0);
            if (w->y) x -= get(w->y + i, j, end - i, 0);
            run += x * x;
        }
        total += sum(run);
    }
    w->parts[from / SQUARES] = total;
}
