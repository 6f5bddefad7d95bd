/* Batch norm and group norm of x (B, C, L). What is brought to mean 0 and variance 1 together, a
   channel in all images or some channels of one image, is a unit: a number of rows of L numbers.
   Where L is 1 channels lie side by side, and memory is read row by row of C numbers instead. */

typedef struct {
    const float *x, *weight, *bias, *g; /* (B, C, L), (C,), (C,); without g forward */
    float *mean, *scale;                /* (units,): made by forward */
    float *out, *dweight, *dbias;
    double *parts; /* (count, 2, C): of images, or of ranges of rows: sums of g, of g (x - mean) */
    long C, L, count;
    long near, rows, step; /* unit u begins with row u near and has so many rows, `step` apart */
    long grain;            /* rows of a range where L is 1, else 0 */
    double numbers;        /* of a unit */
    float eps;
    int far; /* a first guess was no value like the others: much was cancelled */
} Channels;

#define EACH_ROW(r) for (long k = 0, r = u * w.near; k < w.rows; k++, r += w.step)

/* The mean by its distance from a first guess, then both from there: little is cancelled. */
static void units_forward(void *job, long from, long to) {
    Channels w = *(Channels *)job;
    for (long u = from; u < to; u++) {
        float mean = w.x[u * w.near * w.L];
        double one, two;
        for (int again = 0; again < 2; again++) {
            one = two = 0;
            EACH_ROW(r) add_row(w.x + r * w.L, NULL, w.L, mean, &one, &two);
            one /= w.numbers, two /= w.numbers, mean += one;
        }
        float scale = 1 / sqrtf(two - one * one + w.eps);
        w.mean[u] = mean, w.scale[u] = scale;
        EACH_ROW(r) {
            const float *x = w.x + r * w.L;
            float *restrict out = w.out + r * w.L;
            float gain = scale * w.weight[r % w.C], shift = w.bias[r % w.C];
            for (long i = 0; i < w.L; i++) out[i] = (x[i] - mean) * gain + shift;
        }
    }
}

/* dx = scale (h - mean(h) - y mean(h y)), h = weight g, y = scale (x - mean) */
static void units_backward(void *job, long from, long to) {
    Channels w = *(Channels *)job;
    for (long u = from; u < to; u++) {
        float mean = w.mean[u], scale = w.scale[u];
        double one = 0, two = 0;
        EACH_ROW(r) {
            double a = 0, b = 0, *part = w.parts + (r / w.C * 2 * w.C + r % w.C);
            add_row(w.x + r * w.L, w.g + r * w.L, w.L, mean, &a, &b);
            part[0] = a, part[w.C] = b * scale;
            one += a * w.weight[r % w.C], two += b * w.weight[r % w.C];
        }
        float mean_h = one / w.numbers, along = two / w.numbers * scale * scale;
        EACH_ROW(r) {
            const float *x = w.x + r * w.L, *g = w.g + r * w.L;
            float *restrict out = w.out + r * w.L, weight = w.weight[r % w.C];
            for (long i = 0; i < w.L; i++)
                out[i] = (weight * g[i] - mean_h - (x[i] - mean) * along) * scale;
        }
    }
}

/* Of a range of rows with L = 1: as add_row, of all channels. */
static void columns_add(void *job, long from, long to) {
    Channels w = *(Channels *)job;
    double *restrict one = w.parts + from / w.grain * 2 * w.C, *restrict two = one + w.C;
    memset(one, 0, 16 * w.C);
    for (long r = from; r < to; r++)
        for (long c = 0; c < w.C; c++) {
            float d = w.x[r * w.C + c] - w.mean[c], f = w.g ? w.g[r * w.C + c] : d;
            one[c] += f, two[c] += f * d;
        }
}

/* The parts added up: gradients of the parameters, or forward the mean and scale where L is 1. */
static void add_parts(void *job, long from, long to) {
    Channels w = *(Channels *)job;
    for (long c = from; c < to; c++) {
        double one = 0, two = 0;
        for (const double *part = w.parts, *end = part + w.count * 2 * w.C; part < end;
             part += 2 * w.C)
            one += part[c], two += part[c + w.C];
        if (w.g) {
            w.dbias[c] = one, w.dweight[c] = w.grain ? two * w.scale[c] : two;
        } else {
            one /= w.numbers, two /= w.numbers, w.mean[c] += one;
            two -= one * one, w.scale[c] = 1 / sqrtf(two + w.eps);
            if (one * one > 16 * two) ((Channels *)job)->far = 1;
        }
    }
}

static void columns_mix(void *job, long from, long to) {
    Channels w = *(Channels *)job;
    float share = 1 / w.numbers;
    for (long r = from; r < to; r++) {
        const float *x = w.x + r * w.C, *g = w.g + r * w.C;
        float *restrict out = w.out + r * w.C;
        if (w.g)
            for (long c = 0; c < w.C; c++) {
                float y = (x[c] - w.mean[c]) * w.scale[c];
                float d = g[c] - share * (w.dbias[c] + y * w.dweight[c]);
                out[c] = d * (w.scale[c] * w.weight[c]);
            }
        else
            for (long c = 0; c < w.C; c++)
                out[c] = (x[c] - w.mean[c]) * (w.scale[c] * w.weight[c]) + w.bias[c];
    }
}
