/* Batch norm of x (N, C, L): each channel to mean 0 and variance 1 over all the rest, then weight
   and bias, which may be NULL. Where L is 1 channels lie side by side and a lane has one of them;
   else a channel is taken alone and its lanes are added up. */

#define ACROSS 512 /* lanes, at most: long pieces of the rows are read faster */
#define LANES_OF(w, wide) ((w)->L > 1 ? 32 : (wide))

typedef struct {
    const float *x, *g, *weight, *bias;
    float *out, *mean, *scale, *dweight, *dbias;
    long N, C, L;
    float eps;
} BatchNorm;

/* Runs of n <= lanes numbers at x[at], of `wide` channels from c on; CHANNEL is that of lane i. */
#define EACH_RUN                                                                           \
    for (long r = 0, length = w->L > 1 ? w->L : wide, n; r < w->N; r++)                    \
        for (long at = (r * w->C + c) * w->L, end = at + length; at < end; at += n)        \
            if ((n = end - at < lanes ? end - at : lanes))
#define EACH_LANE for (long i = 0; i < lanes; i++)
#define CHANNEL (c + i % wide)

/* The means of f and of f (x - centre), where f is g, or x - centre if there is no g. */
INLINE void find_means(const BatchNorm *w, long c, long wide, const float *restrict centre,
                       const float *g, double *restrict one, double *restrict two) {
    long lanes = LANES_OF(w, wide);
    double share = 1.0 / w->N / w->L;
    EACH_LANE one[i] = two[i] = 0;
    EACH_RUN
        for (long i = 0; i < n; i++) {
            float d = w->x[at + i] - centre[i], f = g ? g[at + i] : d;
            one[i] += f, two[i] += f * d;
        }
    if (w->L > 1) {
        for (long half = lanes / 2; half; half /= 2)
            for (long i = 0; i < half; i++) one[i] += one[i + half], two[i] += two[i + half];
        EACH_LANE one[i] = one[0], two[i] = two[0];
    }
    EACH_LANE one[i] *= share, two[i] *= share;
}

/* The variance from the mean square of the distances to a number of the channel itself: no more is
   cancelled than float64 has to spare. */
static void batch_norm_forward(void *job, long from, long to) {
    BatchNorm *w = job;
    long wide = w->L > 1 ? 1 : to - from, lanes = LANES_OF(w, wide);
    for (long c = from; c < to; c += wide) {
        float mean[ACROSS], gain[ACROSS], shift[ACROSS];
        double off[ACROSS], square[ACROSS];
        EACH_LANE mean[i] = w->x[CHANNEL * w->L];
        find_means(w, c, wide, mean, NULL, off, square);
        EACH_LANE {
            mean[i] += off[i], gain[i] = 1 / sqrtf(square[i] - off[i] * off[i] + w->eps);
            if (i < wide) w->mean[c + i] = mean[i], w->scale[c + i] = gain[i];
            if (w->weight) gain[i] *= w->weight[CHANNEL];
            shift[i] = w->bias ? w->bias[CHANNEL] : 0;
        }
        EACH_RUN
            for (long i = 0; i < n; i++)
                w->out[at + i] = (w->x[at + i] - mean[i]) * gain[i] + shift[i];
    }
}

/* dx = scale weight (g - mean(g) - y mean(g y)), y = scale (x - mean); dweight = sum(g y) */
static void batch_norm_backward(void *job, long from, long to) {
    BatchNorm *w = job;
    long wide = w->L > 1 ? 1 : to - from, lanes = LANES_OF(w, wide);
    for (long c = from; c < to; c += wide) {
        float mean[ACROSS], mean_g[ACROSS], along[ACROSS], gain[ACROSS];
        double one[ACROSS], two[ACROSS], count = (double)w->N * w->L;
        EACH_LANE mean[i] = w->mean[CHANNEL];
        find_means(w, c, wide, mean, w->g, one, two);
        EACH_LANE {
            float scale = w->scale[CHANNEL];
            gain[i] = w->weight ? scale * w->weight[CHANNEL] : scale;
            mean_g[i] = one[i], along[i] = two[i] * scale * scale;
            if (i < wide) w->dbias[c + i] = one[i] * count;
            if (i < wide) w->dweight[c + i] = two[i] * count * scale;
        }
        EACH_RUN
            for (long i = 0; i < n; i++) {
                float d = w->x[at + i] - mean[i];
                w->out[at + i] = (w->g[at + i] - mean_g[i] - d * along[i]) * gain[i];
            }
    }
}
