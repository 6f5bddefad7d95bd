/* Convolution without columns: an image is copied once, with zeros around it, so that neighbouring
   windows see neighbouring numbers at each element of the kernel, and vectors are read from where
   they lie. With steps along the last axis, positions a step apart are put side by side. */

typedef struct { /* neighbouring windows: where they begin in the image and in y; how many */
    long x, y, size;
} Neighbours;

typedef struct {
    int64_t n[3], m[3], k[3], step[3], pad[3], apart[3]; /* elements, windows, the kernel's, ... */
    long images, groups, C, O, taps; /* channels of a group, in and out; elements of a kernel */
    long wide[3], plane;             /* elements with zeros around, per axis and all */
    long size, windows, block;       /* of an image's channel; channels of a piece of work */
    const float *x, *bias;           /* (images, groups C, *n); (groups O,) or NULL */
    float *y, *weight;               /* (images, groups O, *m), (groups, O, C taps) */
    float *panels;                   /* the weight, packed */
    long *places;                    /* of the kernel's elements in a copied image, (C taps,) */
    Neighbours *vectors;             /* all windows of an image: first whole vectors, then parts */
    long whole, parts;
    int failed;                      /* there was no memory */
} Convolution;

/* Places and panels; 0 where there is no memory. */
static int prepare_convolution(Convolution *w, int packing) {
    long depth = w->C * w->taps, rows = round_up(w->O, TALL), *place;
    for (int i = 0; i < 3; i++) w->wide[i] = w->n[i] + 2 * w->pad[i];
    w->wide[2] = round_up(w->wide[2], w->step[2]);
    w->plane = w->wide[0] * w->wide[1] * w->wide[2];
    w->places = place = malloc(sizeof *place * depth);
    w->panels = malloc(packing ? 4 * w->groups * rows * depth : 1);
    w->vectors = calloc(w->windows + TILE_WIDE, sizeof *w->vectors);
    if (!w->places || !w->panels || !w->vectors) return 0;
    Neighbours *next = w->vectors;
    for (int part = 0; part < 2; w->parts = next - w->vectors, part++) {
        w->whole = w->parts;
        for (long i = 0; i < w->m[0]; i++)
            for (long j = 0; j < w->m[1]; j++) {
                long line = (i * w->step[0] * w->wide[1] + j * w->step[1]) * w->wide[2];
                long y = (i * w->m[1] + j) * w->m[2], done = w->m[2] / LANES * LANES;
                for (long k = part ? done : 0; k < (part ? w->m[2] : done); k += LANES)
                    *next++ = (Neighbours){line + k, y + k, part ? w->m[2] - k : LANES};
            }
    }
    for (long c = 0; c < w->C; c++)
        for (long i = 0; i < w->k[0]; i++)
            for (long j = 0; j < w->k[1]; j++)
                for (long k = 0; k < w->k[2]; k++) {
                    long line = (i * w->apart[0] * w->wide[1] + j * w->apart[1]) * w->wide[2];
                    long at = k * w->apart[2], s = w->step[2];
                    *place++ = c * w->plane + line + at % s * (w->wide[2] / s) + at / s;
                }
    for (long g = 0; packing && g < w->groups; g++)
        arrange(w->panels + g * rows * depth, TALL, w->weight + g * w->O * depth, depth, 1, w->O,
                depth);
    return 1;
}

static void copy_image(const Convolution *w, float *to, const float *x, long channels) {
    long s = w->step[2], side = w->wide[2] / s;
    memset(to, 0, 4 * (channels * w->plane + LANES));
    for (; channels; channels--, to += w->plane)
        for (long i = 0; i < w->n[0]; i++)
            for (long j = 0; j < w->n[1]; j++, x += w->n[2]) {
                float *line = to + ((i + w->pad[0]) * w->wide[1] + j + w->pad[1]) * w->wide[2];
                if (s == 1) memcpy(line + w->pad[2], x, 4 * w->n[2]);
                else
                    for (long k = 0, at = w->pad[2]; k < w->n[2]; k++, at++)
                        line[at % s * side + at / s] = x[k];
            }
}

/* y = weight times windows, for some channels of an image. */
static void convolve(void *job, long from, long to) {
    Convolution *w = job;
    long depth = w->C * w->taps, deep = pieces_of(depth, pieces_of(depth, 2 * DEPTH));
    long blocks = pieces_of(w->O, w->block);
    float *image = scratch(w->C * w->plane + LANES);
    if (!image) w->failed = 1;
    for (; image && from < to; from++) {
        long part = from / blocks, low = from % blocks * w->block;
        long high = least(w->O, low + w->block);
        const float *panels = w->panels + part % w->groups * round_up(w->O, TALL) * depth;
        const float *bias = w->bias ? w->bias + part % w->groups * w->O : NULL;
        copy_image(w, image, w->x + part * w->C * w->size, w->C);
        for (long p = 0; p < depth; p += deep)
            for (long q = 0; q < w->parts; q += TILE_WIDE) {
                const Neighbours *at = w->vectors + q;
                for (long o = low; o < high; o += TILE_ROWS) {
                    const float *a = panels + o / TALL * TALL * depth + p * TALL + o % TALL;
                    vec total[TILE_ROWS][TILE_WIDE], x[TILE_WIDE];
                    for (int i = 0; i < TILE_ROWS; i++)
                        for (int j = 0; j < TILE_WIDE; j++)
                            total[i][j] = all(p || !bias ? 0 : bias[least(o + i, w->O - 1)]);
                    for (long r = p; r < depth && r < p + deep; r++, a += TALL) {
                        for (int j = 0; j < TILE_WIDE; j++)
                            x[j] = kept(load(image + w->places[r] + at[j].x));
                        for (int i = 0; i < TILE_ROWS; i++)
                            for (int j = 0; j < TILE_WIDE; j++) total[i][j] += all(a[i]) * x[j];
                    }
                    for (int i = 0; i < TILE_ROWS && o + i < high; i++)
                        for (int j = 0; j < TILE_WIDE; j++) {
                            float *y = w->y + (part * w->O + o + i) * w->windows + at[j].y;
                            if (at[j].size == LANES)
                                store(y, p ? total[i][j] + load(y) : total[i][j]);
                            else
                                for (long k = 0; k < at[j].size; k++)
                                    y[k] = p ? total[i][j][k] + y[k] : total[i][j][k];
                        }
                }
            }
    }
}

/* A tile of the weight's gradient: what one image adds. */
INLINE void add_slopes(const Convolution *w, const float *g, const float *image, long o, long p,
                       long most, vec *sums) {
    const float *x[TILE_WIDE], *h[TILE_ROWS];
    vec total[TILE_ROWS][TILE_WIDE] = {{{0}}}, y[TILE_WIDE];
    for (int j = 0; j < TILE_WIDE; j++) x[j] = image + w->places[least(p + j, most - 1)];
    for (int i = 0; i < TILE_ROWS; i++) h[i] = g + least(o + i, w->O - 1) * w->windows;
    for (const Neighbours *at = w->vectors; at < w->vectors + w->whole; at++) {
        for (int j = 0; j < TILE_WIDE; j++) y[j] = kept(load(x[j] + at->x));
        for (int i = 0; i < TILE_ROWS; i++)
            for (int j = 0; j < TILE_WIDE; j++) total[i][j] += load(h[i] + at->y) * y[j];
    }
    for (const Neighbours *at = w->vectors + w->whole; at < w->vectors + w->parts; at++) {
        for (int j = 0; j < TILE_WIDE; j++) y[j] = load_part(x[j] + at->x, at->size, 0);
        for (int i = 0; i < TILE_ROWS; i++)
            for (int j = 0; j < TILE_WIDE; j++)
                total[i][j] += load_part(h[i] + at->y, at->size, 0) * y[j];
    }
    for (int i = 0; i < TILE_ROWS; i++)
        for (int j = 0; j < TILE_WIDE; j++) sums[i * TILE_WIDE + j] += total[i][j];
}

/* The weight's gradient for some channels of x: y, the output's, times windows, over all images. */
static void convolve_slopes(void *job, long from, long to) {
    Convolution *w = job;
    long blocks = pieces_of(w->C, w->block), most = w->block * w->taps;
    long room = round_up(w->block * w->plane + LANES, LANES), tile = TILE_ROWS * TILE_WIDE;
    long tiles = pieces_of(w->O, TILE_ROWS) * pieces_of(most, TILE_WIDE);
    float *image = scratch(room + tiles * tile * LANES);
    vec *sums = (vec *)(image + room);
    if (!image) w->failed = 1;
    for (; image && from < to; from++) {
        long group = from / blocks, low = from % blocks * w->block;
        long channels = least(w->C - low, w->block), depth = channels * w->taps;
        memset(sums, 0, sizeof *sums * tiles * tile);
        for (long n = 0; n < w->images; n++) {
            long part = n * w->groups + group;
            copy_image(w, image, w->x + (part * w->C + low) * w->size, channels);
            vec *next = sums;
            for (long o = 0; o < w->O; o += TILE_ROWS)
                for (long p = 0; p < depth; p += TILE_WIDE, next += tile)
                    add_slopes(w, w->y + part * w->O * w->windows, image, o, p, depth, next);
        }
        vec *next = sums;
        for (long o = 0; o < w->O; o += TILE_ROWS)
            for (long p = 0; p < depth; p += TILE_WIDE, next += tile)
                for (long i = 0; i < TILE_ROWS && o + i < w->O; i++)
                    for (long j = 0; j < TILE_WIDE && p + j < depth; j++)
                        w->weight[((group * w->O + o + i) * w->C + low) * w->taps + p + j] =
                            sum(next[i * TILE_WIDE + j]);
    }
}
