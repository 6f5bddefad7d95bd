/* Pooling along up to three axes: the largest or the mean element of each window, and a mean's
   gradient back to all elements. A window has four numbers per axis: the position where it starts,
   the one where it stops, the step between its positions, and what a sum over it is divided by.
   What a row of windows sees becomes one line first, vector by vector, then each window's part of
   that line one number. */

typedef struct {
    long n[3], size, windows; /* elements of a plane: per axis and all; windows of a plane */
    const int64_t *axes[4];   /* where the numbers of each axis begin, and the end of the last */
    float *x, *out;           /* (planes, size), (planes, windows) */
    int64_t *ids;             /* as out: the position in the plane of what was chosen */
    int failed;               /* there was no memory */
} Pool;

enum { LARGEST, MEAN, SPREAD };

#define EACH_ROW_OF_WINDOWS                                       \
    for (const int64_t *a = w->axes[0]; a < w->axes[1]; a += 4) \
        for (const int64_t *b = w->axes[1]; b < w->axes[2]; b += 4)
#define EACH_WINDOW for (const int64_t *c = w->axes[2]; c < w->axes[3]; c += 4)
#define EACH_LINE(line)                                                        \
    for (long i = a[0]; i < a[1]; i += a[2])                                   \
        for (long j = b[0], line; j < b[1] && (line = (i * w->n[1] + j) * n, 1); j += b[2])

INLINE vec load_up_to(const float *x, long n) { return n < LANES ? load_part(x, n, 0) : load(x); }

/* The order of floats as integers, and of equal ones the first; above all NaN, the last of them:
   sign and magnitude become two's complement in the upper half, the position is in the lower. */
static void pool_largest(void *job, long from, long to) {
    Pool *w = job;
    long n = w->n[2], padded = n + LANES;
    int32_t *keys = (int32_t *)scratch(2 * padded), *ties = keys + padded;
    float *x = w->x + from * w->size, *out = w->out + from * w->windows;
    int64_t *ids = w->ids + from * w->windows;
    if (!keys) w->failed = 1;
    for (; keys && from < to; from++, x += w->size)
        EACH_ROW_OF_WINDOWS {
            for (long k = 0; k < n; k += LANES) {
                vec best = all(-INFINITY);
                ints at = count_from((a[0] * w->n[1] + b[0]) * n + k);
                EACH_LINE(line) {
                    vec y = load_up_to(x + line + k, n - k);
                    ints better = (y > best) | (y != y);
                    best = choose(better, y, best);
                    at = (count_from(line + k) & better) | (at & ~better);
                }
                ints wrong = best != best, bits = (ints)(best + 0.0f); /* -0 becomes 0 */
                bits = ((bits ^ (bits >> 31 & INT32_MAX)) & ~wrong) | (INT32_MAX & wrong);
                at ^= ~wrong;
                memcpy(keys + k, &bits, sizeof bits), memcpy(ties + k, &at, sizeof at);
            }
            EACH_WINDOW {
                int64_t best = INT64_MIN;
                for (long k = c[0]; k < c[1]; k += c[2]) {
                    int64_t y = (int64_t)((uint64_t)keys[k] << 32) | (uint32_t)ties[k];
                    best = y > best ? y : best;
                }
                uint32_t at = best >> 32 == INT32_MAX ? best : ~best;
                *ids++ = at, *out++ = x[at];
            }
        }
}

static void pool_mean(void *job, long from, long to) {
    Pool *w = job;
    long n = w->n[2];
    float *sums = scratch(n + LANES), *x = w->x + from * w->size, *out = w->out + from * w->windows;
    if (!sums) w->failed = 1;
    for (; sums && from < to; from++, x += w->size)
        EACH_ROW_OF_WINDOWS {
            for (long k = 0; k < n; k += LANES) {
                vec total = {0};
                EACH_LINE(line) total += load_up_to(x + line + k, n - k);
                store(sums + k, total);
            }
            EACH_WINDOW {
                float total = 0;
                vec totals = {0};
                long k = c[0];
                for (; k + LANES <= c[1]; k += LANES) totals += load(sums + k);
                if (k > c[0]) total = sum(totals);
                for (; k < c[1]; k++) total += sums[k];
                *out++ = total / (a[3] * b[3] * c[3]);
            }
        }
}

/* x (planes, size) = the shares of out (planes, windows). */
static void pool_spread(void *job, long from, long to) {
    Pool *w = job;
    long n = w->n[2];
    float *shares = scratch(n), *x = w->x + from * w->size, *g = w->out + from * w->windows;
    if (!shares) w->failed = 1;
    for (; shares && from < to; from++, x += w->size) {
        memset(x, 0, 4 * w->size);
        EACH_ROW_OF_WINDOWS {
            memset(shares, 0, 4 * n);
            EACH_WINDOW {
                float share = *g++ / (a[3] * b[3] * c[3]);
                for (long k = c[0]; k < c[1]; k++) shares[k] += share;
            }
            EACH_LINE(line)
                for (long k = 0; k < n; k++) x[line + k] += shares[k];
        }
    }
}
