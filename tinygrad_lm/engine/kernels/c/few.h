/* out = x w^T + bias for few rows of x, as in writing text: what takes the time is reading w, so
   each of its numbers is read once, as it lies there, in float32 or in bfloat16. Each sum goes in
   the same steps whatever the threads. */

#define GROUP 8 /* most rows of x that meet rows of w at a time */
#define SIDE 4  /* most rows of w side by side; fewer where the sums would not fit in registers */
#define PAIR (LANES > 8 ? LANES / 8 : 1)

typedef struct {
    const float *x, *bias; /* (rows, k) without gaps; (n,) or NULL */
    const void *w;         /* (n, k) without gaps */
    float *out;            /* (rows, n) */
    long rows, n, k;
    int half; /* w is bfloat16: the upper 16 bits of float32 */
} FewRows;

typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint16_t halves_anywhere __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));

/* LANES numbers of w from `i` on, or the n that are left, and zeros. */
INLINE vec weights_at(const void *w, long i, long n, const int half) {
    const float *whole = w;
    const uint16_t *upper = w;
    if (!half) return n < LANES ? load_part(whole + i, n, 0) : load(whole + i);
    halves x = {0};
    if (n < LANES)
        memcpy(&x, upper + i, 2 * n);
    else
        x = *(const halves_anywhere *)(upper + i);
    return (vec)(__builtin_convertvector(x, words) << 16);
}

/* `high` rows of x by `side` rows of w. */
INLINE void few_tile(const FewRows *f, const int side, const int high, const int half, long row,
                     long o) {
    vec total[GROUP][SIDE];
    for (int i = 0; i < high; i++)
        for (int j = 0; j < side; j++) total[i][j] = all(0);
    for (long p = 0; p < f->k; p += LANES) {
        long left = f->k - p;
        vec w[SIDE];
        for (int j = 0; j < side; j++) w[j] = weights_at(f->w, (o + j) * f->k + p, left, half);
        for (int i = 0; i < high; i++) {
            const float *x = f->x + (row + i) * f->k + p;
            vec y = left < LANES ? load_part(x, left, 0) : load(x);
            for (int j = 0; j < side; j++) total[i][j] += y * w[j];
        }
    }
    for (int i = 0; i < high; i++)
        for (int j = 0; j < side; j++)
            f->out[(row + i) * f->n + o + j] = sum(total[i][j]) + (f->bias ? f->bias[o + j] : 0);
}

/* All rows of x by rows of w from..to. */
INLINE void few_range(const FewRows *f, const int half, long from, long to) {
    for (long row = 0, high; row < f->rows; row += high) {
        long o = from, rest = f->rows - row;
        high = rest >= 8 ? 8 : rest >= 4 ? 4 : rest >= 2 ? 2 : 1;
        if (high == 8)
            for (; o + PAIR <= to; o += PAIR) few_tile(f, PAIR, 8, half, row, o);
        else if (high == 4)
            for (; o + LANES / 4 <= to; o += LANES / 4) few_tile(f, LANES / 4, 4, half, row, o);
        else if (high == 2)
            for (; o + SIDE <= to; o += SIDE) few_tile(f, SIDE, 2, half, row, o);
        else
            for (; o + SIDE <= to; o += SIDE) few_tile(f, SIDE, 1, half, row, o);
        for (; o < to; o++)
            for (long i = row; i < row + high; i++) few_tile(f, 1, 1, half, i, o);
    }
}

static void few_rows(void *job, long from, long to) {
    const FewRows *f = job;
    if (f->half)
        few_range(f, 1, from, to);
    else
        few_range(f, 0, from, to);
}
