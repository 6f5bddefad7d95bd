/* Along one axis of an array (outer, n, inner) without gaps: the sums so far, the largest, and
   elements at positions, read, added to or written. A line is what lies along the axis; a range of
   lines is worked on at a time, neighbours together, and touches nothing of the others. */

typedef struct {
    long n, m, inner;   /* a line has n elements, and m positions */
    long wrap;          /* n where ids below 0 count from the end, else 0 */
    int negative;       /* the largest of -x are wanted */
    int shared;         /* the positions of one line are those of all */
    int failed;         /* an id was out of range */
    float *lines;       /* (outer, n, inner) */
    float *spots;       /* (outer, m, inner) */
    const int64_t *ids; /* (outer, m, inner), or (m,) if shared */
    int64_t *order;     /* (outer, m, inner) */
} Lines;

/* For each `o` that the lines from ... to - 1 reach: its lines low ... high - 1. */
#define EACH_PART(from, to, inner)                                                       \
    for (long o = from / inner, low = from % inner, high;                                \
         high = to - o * inner < inner ? to - o * inner : inner, low < high; o++, low = 0)

#define TOGETHER 64 /* lines that are summed side by side */

/* The sums so far of `lines` lines that are `apart`, in float64; -0 + x is x. */
INLINE void add_up(const float *x, float *out, long lines, long apart, long n, long step) {
    double sums[TOGETHER];
    for (long i = 0; i < lines; i++) sums[i] = -0.0;
    for (; n; n--, x += step, out += step)
        for (long i = 0; i < lines; i++) out[i * apart] = sums[i] += x[i * apart];
}

/* spots[o, j, i] = lines[o, 0, i] + ... + lines[o, j, i], or with `back` + ... + the last. */
INLINE void sums_so_far(Lines *w, long from, long to, int back) {
    long n = w->n, inner = w->inner, first = back ? (n - 1) * inner : 0;
    long step = back ? -inner : inner, few = 8;
    if (inner == 1) { /* several at a time, as each sum waits for the one before */
        for (; from < to; from += few) {
            float *x = w->lines + from * n + first, *out = w->spots + from * n + first;
            if (to - from >= few) add_up(x, out, 8, n, n, step);
            else add_up(x, out, to - from, n, n, step);
        }
        return;
    }
    EACH_PART(from, to, inner)
        for (long i = low; i < high; i += TOGETHER) {
            long at = o * n * inner + first + i;
            float *x = w->lines + at, *out = w->spots + at;
            if (high - i >= TOGETHER) add_up(x, out, TOGETHER, 1, n, step);
            else add_up(x, out, high - i, 1, n, step);
        }
}
static void sums_forward(void *job, long from, long to) { sums_so_far(job, from, to, 0); }
static void sums_backward(void *job, long from, long to) { sums_so_far(job, from, to, 1); }

enum { READ, ADD, WRITE };

INLINE void move_one(float *there, float *here, int how) {
    if (how == READ) *here = *there;
    if (how == ADD) *there += *here;
    if (how == WRITE) *there = *here;
}

INLINE long place_of(int64_t id, long n, long wrap, int *failed) {
    id += id < 0 ? wrap : 0;
    if ((uint64_t)id < (uint64_t)n) return id;
    *failed = 1;
    return 0;
}

/* Each spot [o, j, i] meets its element [o, ids[o, j, i], i]. */
INLINE void at_ids(Lines *w, long from, long to, int how) {
    long n = w->n, m = w->m, inner = w->inner, wrap = w->wrap;
    int failed = 0;
    EACH_PART(from, to, inner) {
        float *line = w->lines + o * n * inner, *spot = w->spots + o * m * inner;
        const int64_t *ids = w->shared ? w->ids : w->ids + o * m * inner;
        if (inner == 1)
            for (long j = 0; j < m; j++)
                move_one(line + place_of(ids[j], n, wrap, &failed), spot + j, how);
        else if (w->shared)
            for (long j = 0; j < m; j++, spot += inner) {
                float *there = line + place_of(ids[j], n, wrap, &failed) * inner;
                for (long i = low; i < high; i++) move_one(there + i, spot + i, how);
            }
        else
            for (long j = 0; j < m; j++, spot += inner, ids += inner)
                for (long i = low; i < high; i++) {
                    long at = place_of(ids[i], n, wrap, &failed);
                    move_one(line + at * inner + i, spot + i, how);
                }
    }
    if (failed) w->failed = 1;
}
/* Where lines share their positions, the slices [o, j] are read one after another. */
static void read_slices(void *job, long from, long to) {
    Lines *w = job;
    long n = w->n, m = w->m, inner = w->inner;
    int failed = 0;
    for (; from < to; from++) {
        long at = from / m * n + place_of(w->ids[from % m], n, w->wrap, &failed);
        memcpy(w->spots + from * inner, w->lines + at * inner, 4 * inner);
    }
    if (failed) w->failed = 1;
}
static void read_at(void *job, long from, long to) { at_ids(job, from, to, READ); }
static void add_at(void *job, long from, long to) { at_ids(job, from, to, ADD); }
static void write_at(void *job, long from, long to) { at_ids(job, from, to, WRITE); }

/* order[o, 0, i] = where in lines[o, :, i] the largest is, or the smallest if `negative`: the first
   of equal ones, or the first NaN. */
static void find_largest(void *job, long from, long to) {
    Lines *w = job;
    float top[COLUMNS], sign = w->negative ? -1 : 1;
    int32_t place[COLUMNS];
    EACH_PART(from, to, w->inner)
        for (long i = low, width; i < high; i += width) {
            const float *x = w->lines + o * w->n * w->inner + i;
            width = high - i < COLUMNS ? high - i : COLUMNS;
            for (long j = 0; j < width; j++) top[j] = sign * x[j], place[j] = 0;
            for (int32_t k = 1; k < w->n; k++) {
                x += w->inner;
                for (long j = 0; j < width; j++) {
                    float y = sign * x[j];
                    int32_t better = !(y <= top[j]) & (top[j] == top[j]);
                    top[j] = better ? y : top[j], place[j] = better ? k : place[j];
                }
            }
            for (long j = 0; j < width; j++) w->order[o * w->inner + i + j] = place[j];
        }
}

#define MOST_BEST 64

/* A number and its place as one number that orders as they do, NaN as the largest, and of equal
   ones the earlier as the larger. */
INLINE int64_t key_of(float x, long place) {
    float number = x + 0.0f; /* makes -0 the 0 that it equals */
    int32_t bits;
    memcpy(&bits, &number, 4);
    bits = x != x ? INT32_MAX : bits ^ (bits >> 31 & INT32_MAX);
    return bits * (1LL << 32) | (uint32_t)~place;
}

/* order[r, :m] = where the m largest of row r are, the largest first. */
static void find_best(void *job, long from, long to) {
    Lines *w = job;
    long n = w->n, m = w->m;
    for (long r = from; r < to; r++) {
        const float *x = w->lines + r * n;
        int64_t best[MOST_BEST];
        long kept = 0;
        for (long i = 0, end; i < n; i = end) {
            int some = kept < m; /* or larger than the least of the best so far */
            float least = x[kept ? (uint32_t)~best[kept - 1] : 0];
            end = n - i < TOGETHER ? n : i + TOGETHER;
            for (long j = i; j < end; j++) some |= !(x[j] <= least);
            for (long j = i; some && j < end; j++) {
                int64_t key = key_of(x[j], j);
                if (kept == m && key < best[m - 1]) continue;
                long place = kept < m ? kept++ : m - 1;
                for (; place && best[place - 1] < key; place--) best[place] = best[place - 1];
                best[place] = key;
            }
        }
        for (long j = 0; j < m; j++) w->order[r * m + j] = (uint32_t)~best[j];
    }
}
