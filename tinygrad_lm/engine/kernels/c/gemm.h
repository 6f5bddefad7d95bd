/* c = a b + bias for matrices of float32 with any steps, by Goto's scheme (Goto and van de Geijn,
   2008): panels of b and blocks of a are copied into the order in which a tile of c, held in
   registers, reads them; small ones go without. The sum over k goes in the same steps whatever the
   threads. */

#if LANES == 16               /* 32 registers hold 8 x 2 vectors of sums, or of small ones 8 x 1 */
#define TILE_ROWS 8           /* rows of a tile of c */
#define TILE_WIDE 2           /* vectors in each */
#define SMALL_WIDE 1          /* and of small products */
#define BLOCK 64              /* most rows of a, or columns of b, that one piece of work packs */
#define NEAR (1 << 30)        /* numbers packed for all, of several DEPTHs at most: no limit */
#else /* 16 registers hold 4 x 3; `arrange` needs a multiple of 8 columns */
#define TILE_ROWS 4
#define TILE_WIDE (LANES == 8 ? 3 : 2)
#define SMALL_WIDE TILE_WIDE
#define BLOCK 72
#define NEAR (1 << 17)        /* as a second cache of 512 KB holds */
#endif
#define TALL 8                /* rows of a that are packed side by side: a tile's, or two tiles' */
#define PANEL (TILE_WIDE * LANES) /* and columns of b */
#define DEPTH 256             /* steps of k for which a panel of b stays in the first cache */
#define STRIPE (4 * PANEL)    /* rows or columns in a piece of packing for all */
#define DEEP 4096             /* most steps of k packed for all at a time */
#define MOST_PACKED (1 << 22) /* and most numbers, for the third cache */
#define SMALL (1 << 22)       /* fewer multiplications go without packing, */
#define NARROW 32             /* as do so few rows and columns */
#define HIGH 256              /* most rows of a piece of these */
#define PART (SMALL_WIDE * LANES) /* and columns */

INLINE long least(long n, long m) { return n < m ? n : m; }
INLINE long pieces_of(long n, long size) { return (n + size - 1) / size; }
INLINE long round_up(long n, long unit) { return pieces_of(n, unit) * unit; }

typedef struct { /* steps in elements */
    float *at;
    long row, column;
} Matrix;

/* to = panels (depth, width) of x, which steps `across` within a row of a panel and `along` to the
   next row; its n rows or columns fill several panels, and what the last has beyond them is 0. */
INLINE void arrange(float *to, const long width, const float *x, long across, long along, long n,
                    long depth) {
    long size = width * depth, done = across == 1 ? n / width * width : 0;
    if (n % width) memset(to + n / width * size, 0, 4 * size);
    for (long p = 0; p < depth; p++)
        for (long i = 0; i < done; i += width)
            __builtin_prefetch(x + i + width - 1 + (p + 8) * along), /* rows lie pages apart */
                memcpy(to + i * depth + p * width, x + i + p * along, 4 * width);
    for (long i = done; along == 1 && depth >= 8 && i < n; i = done) {
        long from = least(i, n - 8); /* the last block, of p too, takes some once more */
        if (from < i / width * width) break;
        float *panel = to + from / width * size + from % width;
        for (long p = 0; p < depth; p += 8) {
            long at = least(p, depth - 8);
            turn(panel + at * width, width, x + from * across + at, across);
        }
        done = from + 8;
    }
    for (long p = 0; p < depth; p++) /* what is left */
        for (long i = done; i < n; i++)
            to[i / width * size + p * width + i % width] = x[i * across + p * along];
}

/* A tile of c, m x n: start (n,) + a b, or where there is no start, c + a b. */
INLINE void add_tile(const int wide, long depth, const float *a, const float *b,
                     const float *start, float *c, long ldc, long m, long n) {
    vec total[TILE_ROWS][TILE_WIDE];
    for (int i = 0; i < TILE_ROWS; i++)
        for (int j = 0; j < wide; j++) total[i][j] = all(0);
    for (int i = 0; i < TILE_ROWS && i < m; i++) /* c is on its way while the sums are made */
        for (int j = 0; j < PANEL; j += 16) __builtin_prefetch(c + i * ldc + j, 1);
#pragma GCC unroll 4
    for (long p = 0; p < depth; p++, a += TALL, b += PANEL) {
        vec row[TILE_WIDE];
        for (int j = 0; j < wide; j++) row[j] = kept(load(b + j * LANES));
        for (int i = 0; i < TILE_ROWS; i++) {
            vec x = all(a[i]);
            for (int j = 0; j < wide; j++) total[i][j] += x * row[j];
        }
    }
    if (m >= TILE_ROWS && n == wide * LANES) {
        for (int i = 0; i < TILE_ROWS; i++, c += ldc)
            for (int j = 0; j < wide; j++)
                store(c + j * LANES, total[i][j] + load((start ? start : c) + j * LANES));
        return;
    }
    float sums[TILE_ROWS][PANEL];
    for (int i = 0; i < TILE_ROWS; i++)
        for (int j = 0; j < wide; j++) store(&sums[i][j * LANES], total[i][j]);
    for (long i = 0; i < TILE_ROWS && i < m; i++, c += ldc)
        for (long j = 0; j < n; j++) c[j] = sums[i][j] + (start ? start[j] : c[j]);
}

/* sums (rows,) of a packed block; added to what is there unless it is the first. */
static void sum_block(float *sums, const float *a, long rows, long depth, int adding) {
    for (long i = 0; i < rows; i += TALL) {
        oct total = {0};
        for (long p = 0; p < depth; p++, a += TALL) total += *(const oct_anywhere *)a;
        for (long r = i; r < rows && r < i + TALL; r++)
            sums[r] = (adding ? sums[r] : 0) + total[r - i];
    }
}

static const float NOTHING[PANEL];

/* One operand is packed whole, or a chunk at a time, for all to read; each piece of work packs a
   block of the other and multiplies the two. */
typedef struct {
    Matrix a, b, c;
    const float *bias; /* (n,), or NULL */
    float *sums;       /* (m,), or NULL: of the rows of a */
    long m, n, k;
    int shared_a;             /* which operand is packed for all: the one with less to pack */
    long chunk, deep, block;  /* rows or columns of a chunk, its depth; those of a block */
    float *packed[2];         /* chunks, in turn */
    atomic_long (*counts)[2]; /* of each chunk, pieces done: packing it, multiplying with it */
} Product;

/* Rows of a or columns of b, `n` from `from`, for `depth` steps of k from `p`. */
static void pack_a(const Product *w, float *to, long from, long n, long p, long depth) {
    const float *x = w->a.at + from * w->a.row + p * w->a.column;
    arrange(to, TALL, x, w->a.row, w->a.column, n, depth);
}
static void pack_b(const Product *w, float *to, long from, long n, long p, long depth) {
    const float *x = w->b.at + from * w->b.column + p * w->b.row;
    arrange(to, PANEL, x, w->b.column, w->b.row, n, depth);
}

/* The part of c where a block, `own` long from `from`, meets a chunk, `size` long from `at`. */
static void multiply_block(Product *w, const float *packed, long from, long at, long size,
                           long first, long deep) {
    float block[BLOCK * DEPTH] __attribute__((aligned(64)));
    long own = least(w->block, (w->shared_a ? w->n : w->m) - from);
    long top = w->shared_a ? at : from, rows = w->shared_a ? size : own;
    long left = w->shared_a ? from : at, columns = w->shared_a ? own : size;
    const float *a = w->shared_a ? packed : block, *b = w->shared_a ? block : packed;
    for (long p = first; p < first + deep; p += DEPTH) {
        long depth = least(DEPTH, first + deep - p);
        (w->shared_a ? pack_b : pack_a)(w, block, from, own, p, depth);
        if (w->sums && !left) sum_block(w->sums + top, a, rows, depth, p > 0);
        for (long j = 0; j < columns; j += PANEL) {
            long n = least(PANEL, columns - j);
            const float *start = p ? NULL : w->bias ? w->bias + left + j : NOTHING;
            float *c = w->c.at + top * w->c.row + left + j;
            for (long i = 0; i < rows; i += TILE_ROWS, c += TILE_ROWS * w->c.row) {
                const float *tile = a + i / TALL * TALL * depth + i % TALL, *panel = b + j * depth;
                if (n > LANES)
                    add_tile(TILE_WIDE, depth, tile, panel, start, c, w->c.row, rows - i, n);
                else
                    add_tile(1, depth, tile, panel, start, c, w->c.row, rows - i, n);
            }
        }
        if (w->shared_a)
            a += round_up(size, TALL) * depth;
        else
            b += round_up(size, PANEL) * depth;
    }
}

static void wait_for(atomic_long *count, long enough) {
    for (long spin = 0; *count < enough; spin++)
        if (spin < 10000)
            PAUSE;
        else
            sched_yield();
}

/* Pieces of work in an order in which each needs only earlier ones: pack a chunk, multiply it with
   every block of the other operand, pack the next. */
static void product_pieces(void *job, long from, long to) {
    Product *w = job;
    long length = w->shared_a ? w->m : w->n, unit = w->shared_a ? TALL : PANEL;
    long stripes = pieces_of(w->chunk, STRIPE), packings = pieces_of(w->deep, DEPTH) * stripes;
    long blocks = pieces_of(w->shared_a ? w->n : w->m, w->block);
    long across = pieces_of(length, w->chunk);
    for (; from < to; from++) {
        long chunk = from / (packings + blocks), i = from % (packings + blocks);
        long at = chunk % across * w->chunk, size = least(w->chunk, length - at);
        long first = chunk / across * w->deep, deep = least(w->deep, w->k - first);
        float *packed = w->packed[chunk % 2];
        if (i < packings) {
            long p = i / stripes * DEPTH, depth = least(DEPTH, deep - p);
            long j = i % stripes * STRIPE, n = least(STRIPE, size - j);
            if (chunk > 1) wait_for(&w->counts[chunk - 2][1], blocks); /* who still reads there */
            if (depth > 0 && n > 0)
                (w->shared_a ? pack_a : pack_b)(w, packed + p * round_up(size, unit) + j * depth,
                                                at + j, n, first + p, depth);
            w->counts[chunk][0]++;
        } else {
            wait_for(&w->counts[chunk][0], packings);
            if (first) wait_for(&w->counts[chunk - across][1], blocks); /* who still adds there */
            multiply_block(w, packed, (i - packings) * w->block, at, size, first, deep);
            w->counts[chunk][1]++;
        }
    }
}

/* 0 where there is no memory. */
static int multiply_matrices(Product *w, int threads) {
    w->shared_a = w->m < w->n;
    long length = w->shared_a ? w->m : w->n, unit = w->shared_a ? TALL : PANEL;
    long others = w->shared_a ? w->n : w->m, other_unit = w->shared_a ? PANEL : TALL;
    w->block = least(BLOCK, round_up(others / (4 * threads) - other_unit + 1, other_unit));
    if (w->block < other_unit) w->block = other_unit;
    w->deep = round_up(pieces_of(w->k, pieces_of(w->k, least(DEEP, NEAR / length + 1))), DEPTH);
    long parts = pieces_of(length * w->deep, MOST_PACKED);
    w->chunk = round_up(pieces_of(length, parts), unit);
    long chunks = pieces_of(length, w->chunk) * pieces_of(w->k, w->deep);
    long pieces = pieces_of(w->deep, DEPTH) * pieces_of(w->chunk, STRIPE);
    w->counts = calloc(chunks, sizeof *w->counts);
    w->packed[0] = scratch(w->chunk * w->deep * (chunks > 1 ? 2 : 1));
    w->packed[1] = w->packed[0] + (chunks > 1 ? w->chunk * w->deep : 0);
    int ready = w->counts && w->packed[0];
    if (ready)
        parallel(product_pieces, w, chunks * (pieces + pieces_of(others, w->block)), 1, threads);
    free(w->counts);
    return ready;
}

/* ---------------------------------------------------------------- small products */

/* `high` rows of c, or what is left of them, by n columns in `wide` vectors, straight from where a
   lies, for `depth` steps of k from p; the rows of b are `next` apart. Beyond the last row it comes
   again. */
INLINE void small_tile(const Product *w, const int high, const int wide, const int whole,
                       const float *b, long next, long n, long top, long left, long p,
                       long depth) {
    long m = least(high, w->m - top), along = w->a.column, last = n - (wide - 1) * LANES;
    const float *a[TALL], *bias = w->bias ? w->bias + left : NOTHING;
    vec total[TALL][SMALL_WIDE] = {{{0}}}, row[SMALL_WIDE];
    for (int i = 0; i < high; i++)
        a[i] = w->a.at + (top + least(i, m - 1)) * w->a.row + p * along;
    for (long q = 0; q < depth; q++, b += next) {
        for (int j = 0; j < wide; j++)
            row[j] = kept(whole || j < wide - 1 ? load(b + j * LANES)
                                                : load_part(b + j * LANES, last, 0));
        for (int i = 0; i < high; i++)
            for (int j = 0; j < wide; j++) total[i][j] += all(a[i][q * along]) * row[j];
    }
    float *c = w->c.at + top * w->c.row + left;
    for (int i = 0; i < high && i < m; i++, c += w->c.row)
        for (int j = 0; j < wide; j++) {
            long size = j < wide - 1 ? LANES : last;
            const float *start = (p ? c : bias) + j * LANES;
            if (whole)
                store(c + j * LANES, total[i][j] + load(start));
            else
                store_part(c + j * LANES, total[i][j] + load_part(start, size, 0), size);
        }
}

/* Pieces of c, PART columns by up to HIGH rows; what is left of the columns takes some once more,
   to the same numbers, where that makes vectors whole. Where b has no dense rows, a copy has. */
static void small_pieces(void *job, long from, long to) {
    Product *w = job;
    for (long high = pieces_of(w->m, HIGH); from < to; from++)
        for (long p = 0, left = from / high * PART; p < w->k; p += DEPTH) {
            long rest = round_up(least(PART, w->n - left), LANES);
            if (w->k <= DEPTH && rest <= w->n) left = least(left, w->n - rest);
            float turned[DEPTH * PART] __attribute__((aligned(64)));
            float *b = w->b.at + left * w->b.column + p * w->b.row;
            long n = least(PART, w->n - left), depth = least(DEPTH, w->k - p), next = w->b.row;
            if (w->b.column != 1 && n > 1) {
                arrange(turned, PART, b, w->b.column, next, n, depth);
                b = turned, next = PART;
            }
            long top = from % high * HIGH, end = least(w->m, top + HIGH);
            for (; top < end; top += n <= LANES ? TALL : TILE_ROWS)
#define PART_BY(high, wide, whole) small_tile(w, high, wide, whole, b, next, n, top, left, p, depth)
                if (n == PART)
                    PART_BY(TILE_ROWS, SMALL_WIDE, 1);
                else if (n == LANES)
                    PART_BY(TALL, 1, 1);
                else if (n < LANES)
                    PART_BY(TALL, 1, 0);
                else if (n == 2 * LANES)
                    PART_BY(TILE_ROWS, least(SMALL_WIDE, 2), 1);
                else if (n < 2 * LANES)
                    PART_BY(TILE_ROWS, least(SMALL_WIDE, 2), 0);
                else
                    PART_BY(TILE_ROWS, SMALL_WIDE, 0);
        }
}

static void multiply_small(Product *w, int threads) {
    parallel(small_pieces, w, pieces_of(w->n, PART) * pieces_of(w->m, HIGH), 1, threads);
}
