/* Functions of single numbers, and what their slopes make of a gradient: r from x, and from y where
   there is a second array. MAPS lists them by name. s and t are settings. */

typedef struct {
    const float *x, *y;
    float *out, s, t;
} Map;

/* 1 / (1 + e^-x); where e^-x would overflow it is 0, as it is in float32. */
INLINE vec sigmoid(vec x) {
    ints low = x < all(-88);
    return choose(low, all(0), 1.0f / (1.0f + exp_(choose(low, all(0), -x))));
}

/* log(1 + e^x) - max(x, 0) = log(1 + e), e = e^-|x|; with q = e / (2 + e) it is twice the inverse
   hyperbolic tangent of q, q times a polynomial in q^2 up to 1/9. */
INLINE vec log_1_plus_exp(vec x) {
    vec e = exp_(choose(x < all(0), x, -x)), q = e / (2.0f + e), square = q * q;
    vec p = square * 0.14087333f + 0.13980713f;
    p = p * square + 0.20012426f;
    p = p * square + 0.33333158f;
    return 2.0f * (q + q * square * p);
}

INLINE vec softplus(vec x) { return larger(x, all(0)) + log_1_plus_exp(x); }

/* e^x wherever it is a number of float32: beyond what exp_ does, the square of e^(x / 2). */
INLINE vec exp_anywhere(vec x) {
    ints beyond = (x > all(87)) | (x < all(-87));
    vec half = choose(beyond, 0.5f * choose(x > all(176), all(176), x), x), y = exp_(half);
    return choose(beyond, y * y, y);
}

/* Near 0 a polynomial (Moshier's Cephes), which keeps the digits of a small x. */
INLINE vec tanh_(vec x) {
    ints minus = (ints)x & (ints)all(-0.0f);
    vec size = (vec)((ints)x ^ minus), z = x * x;
    vec p = z * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    vec far = 1.0f - 2.0f / (1.0f + exp_in(choose(size > all(20), all(40), 2.0f * size)));
    return choose(size < all(0.625f), x + x * z * p, (vec)((ints)far | minus));
}

/* The normal distribution function, from a fit to it whose largest error in x Phi(x) on the whole
   line is 7e-8; the tanh form is defined by the first two terms alone. Powers rise. */
static const float NORMAL[] = {7.97884268e-01f, 3.63341490e-02f, -3.30266145e-05f, -5.52734154e-05f,
                               3.97407494e-06f, -1.33783469e-07f, 1.81393357e-09f};
static const float TANH[] = {0.79788456f, 0.044715f * 0.79788456f};

/* phi = 1 / (1 + e), e = e^(-2 x p(x^2)), and e itself, so that 1 - phi = e phi loses no digits.
   Where e would overflow phi is 0, as it is in float32. */
INLINE vec phi(vec x, const float *p, int powers, vec *e) {
    vec square = x * x, u = all(p[powers - 1]);
    for (int i = powers - 2; i >= 0; i--) u = u * square + p[i];
    u *= -2.0f * x;
    *e = exp_(choose(u > all(80), all(80), u));
    return choose(u > all(80), all(0), 1.0f / (1.0f + *e));
}

/* g (Phi + x Phi') with Phi' the normal density, or in the tanh form 2 phi (1 - phi) u'. */
INLINE vec gelu_slope(vec x) {
    vec e, square = x * x;
    return phi(x, NORMAL, 7, &e) + x * exp_(-0.5f * square) * 0.39894228f;
}
INLINE vec tanh_gelu_slope(vec x) {
    vec e, square = x * x, slope = phi(x, TANH, 2, &e);
    return slope + slope * slope * e * (2.0f * x) * (TANH[0] + 3.0f * TANH[1] * square);
}
INLINE vec silu_slope(vec x) {
    vec s = sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

#define MAP(name, result)                                                           \
    static void name(void *job, long from, long to) {                               \
        Map w = *(Map *)job;                                                        \
        long n = to - from;                                                         \
        EACH(i, n) {                                                                \
            vec x = get(w.x + from, i, n, 0), y = get(w.y + from, i, n, 0), unused; \
            put(w.out + from, result, i, n);                                        \
            (void)y, (void)unused;                                                  \
        }                                                                           \
    }

MAP(map_scale, x * w.s)
MAP(map_exp, exp_anywhere(x))
MAP(map_tanh, tanh_(x))
MAP(map_sigmoid, sigmoid(x))
MAP(map_sigmoid_slope, y * (x * (1.0f - x))) /* x is the result, y the gradient, as below */
MAP(map_relu, choose(x <= all(0), all(0), x))
MAP(map_relu_slope, choose(x <= all(0), all(0), y))
MAP(map_leaky_relu, choose(x > all(0), x, x * w.s))
MAP(map_leaky_relu_slope, choose(x > all(0), y, y * w.s))
MAP(map_silu, x * sigmoid(x))
MAP(map_silu_slope, y * silu_slope(x))
MAP(map_gelu, x * phi(x, NORMAL, 7, &unused))
MAP(map_gelu_slope, y * gelu_slope(x))
MAP(map_tanh_gelu, x * phi(x, TANH, 2, &unused))
MAP(map_tanh_gelu_slope, y * tanh_gelu_slope(x))
MAP(map_softplus, choose(x * w.s > all(w.t), x, softplus(x * w.s) / w.s))
MAP(map_softplus_slope, choose(x * w.s > all(w.t), y, y * sigmoid(x * w.s)))
MAP(map_logit_loss, (1.0f - y) * x + larger(-x, all(0)) + log_1_plus_exp(x))
MAP(map_logit_loss_slope, (sigmoid(x) - y) * w.s)
MAP(map_difference, (x - y) * w.s)

ROUNDED static void map_tanh_slope(void *job, long from, long to) { /* as NumPy, to the bit */
    ROUND
    Map *w = job;
    EACH(i, to - from) {
        vec y = get(w->x + from, i, to - from, 0), g = get(w->y + from, i, to - from, 0);
        put(w->out + from, g * (1 - y * y), i, to - from);
    }
}

typedef struct { /* out = x + sign y for rows x of n numbers, where scaled = s y may replace y */
    const float *x, *y;
    float *scaled, *out, s, sign;
    long n;
} Added;

ROUNDED static void add_to_rows(void *job, long from, long to) { /* as NumPy, to the bit */
    ROUND
    Added w = *(Added *)job;
    for (long r = from; r < to; r++)
        EACH(i, w.n) {
            vec x = get(w.x + r * w.n, i, w.n, 0), y = get(w.y, i, w.n, 0);
            if (w.scaled) put(w.scaled, y *= w.s, i, w.n);
            put(w.out + r * w.n, x + w.sign * y, i, w.n);
        }
}

#define NAMED(name) {#name, map_##name}
static const struct {
    const char *name;
    Work work;
} MAPS[] = {
    NAMED(scale), NAMED(exp), NAMED(tanh), NAMED(tanh_slope), NAMED(sigmoid),
    NAMED(sigmoid_slope), NAMED(relu), NAMED(relu_slope), NAMED(leaky_relu),
    NAMED(leaky_relu_slope), NAMED(silu), NAMED(silu_slope), NAMED(gelu), NAMED(gelu_slope),
    NAMED(tanh_gelu), NAMED(tanh_gelu_slope), NAMED(softplus), NAMED(softplus_slope),
    NAMED(logit_loss), NAMED(logit_loss_slope), NAMED(difference), {0},
};
