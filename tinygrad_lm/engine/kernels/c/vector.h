/* Vectors of float32 by GCC's and Clang's vector types, and the few functions of them that the
   loops need. */

#include <stdint.h>
#include <string.h>

#if defined(__AVX__)
#include <immintrin.h>
#endif
#if defined(__AVX512F__)
#define LANES 16
#define WIDE 4 /* vectors side by side in a tile of a product: 6 x 4 sums fill the registers */
#elif defined(__AVX__)
#define LANES 8
#define WIDE 2
#else /* SSE and NEON; of wider vectors compilers make single numbers */
#define LANES 4
#define WIDE 2
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef float vec_anywhere __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p) { return *(const vec_anywhere *)p; }
INLINE void store(float *p, vec x) { *(vec_anywhere *)p = x; }
INLINE vec all(float x) { return x - (vec){0}; }

/* x in a register: a compiler may else read it from memory again for each use. */
INLINE vec kept(vec x) {
#if defined(__AVX__)
    __asm__("" : "+x"(x));
#endif
    return x;
}

/* mask ? x : y, lane by lane; a comparison gives -1 or 0. */
INLINE vec choose(ints mask, vec x, vec y) { return (vec)(((ints)x & mask) | ((ints)y & ~mask)); }

/* x > y ? x : y, so y where one is NaN. The first n <= LANES numbers at p; the other lanes hold
   `rest`. */
#if defined(__AVX512F__)
INLINE vec larger(vec x, vec y) { return (vec)_mm512_max_ps((__m512)x, (__m512)y); }
INLINE vec load_part(const float *p, long n, float rest) {
    return (vec)_mm512_mask_loadu_ps((__m512)all(rest), (1 << n) - 1, p);
}
INLINE void store_part(float *p, vec x, long n) {
    _mm512_mask_storeu_ps(p, (1 << n) - 1, (__m512)x);
}
#elif defined(__AVX__)
INLINE vec larger(vec x, vec y) { return (vec)_mm256_max_ps((__m256)x, (__m256)y); }
static const int32_t FIRST[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
INLINE __m256i first(long n) { return _mm256_loadu_si256((const __m256i *)(FIRST + 8 - n)); }
INLINE vec load_part(const float *p, long n, float rest) {
    __m256 x = _mm256_maskload_ps(p, first(n));
    return rest ? (vec)_mm256_blendv_ps((__m256)all(rest), x, (__m256)first(n)) : (vec)x;
}
INLINE void store_part(float *p, vec x, long n) { _mm256_maskstore_ps(p, first(n), (__m256)x); }
#else
INLINE vec larger(vec x, vec y) { return choose(x > y, x, y); }
INLINE vec load_part(const float *p, long n, float rest) {
    vec x = all(rest);
    memcpy(&x, p, 4 * n);
    return x;
}
INLINE void store_part(float *p, vec x, long n) { memcpy(p, &x, 4 * n); }
#endif

INLINE ints count_from(int32_t first) {
    static const int32_t NUMBERS[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    ints x;
    memcpy(&x, NUMBERS, sizeof x);
    return x + first;
}

typedef float oct __attribute__((vector_size(32)));
typedef float oct_anywhere __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t oct_ints __attribute__((vector_size(32)));
#if defined(__clang__)
#define PICK(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define PICK(x, y, ...) __builtin_shuffle(x, y, (oct_ints){__VA_ARGS__})
#endif

/* to (8, 8) = the transpose of x (8, 8), rows at steps `ld` and `step`: rows exchange what lies
   beside the diagonal one by one, then two by two, then four by four. */
INLINE void turn(float *to, long ld, const float *x, long step) {
    oct rows[8], pairs[8];
    for (int i = 0; i < 8; i += 2) {
        const float *next = x + step;
        oct a = *(const oct_anywhere *)x, b = *(const oct_anywhere *)next;
        x = next + step;
        pairs[i] = PICK(a, b, 0, 8, 2, 10, 4, 12, 6, 14);
        pairs[i + 1] = PICK(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 8; i += i & 1 ? 3 : 1) {
        rows[i] = PICK(pairs[i], pairs[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        rows[i + 2] = PICK(pairs[i], pairs[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int i = 0; i < 4; i++) {
        oct low = PICK(rows[i], rows[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        oct high = PICK(rows[i], rows[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
        *(oct_anywhere *)(to + i * ld) = low;
        *(oct_anywhere *)(to + (i + 4) * ld) = high;
    }
}

typedef float quad __attribute__((vector_size(16)));
typedef int32_t quad_ints __attribute__((vector_size(16)));

/* Sums and maxima of the lanes, in a tree: one after the other each would wait for the last. */
INLINE float sum(vec x) {
    quad q[LANES / 4];
    memcpy(q, &x, sizeof x);
    for (int n = LANES / 8; n; n /= 2)
        for (int i = 0; i < n; i++) q[i] += q[i + n];
    return (q[0][0] + q[0][2]) + (q[0][1] + q[0][3]);
}
INLINE float largest(vec x) {
    quad q[LANES / 4];
    memcpy(q, &x, sizeof x);
    for (int n = LANES / 8; n; n /= 2)
        for (int i = 0; i < n; i++) {
            quad_ints first = q[i] > q[i + n];
            q[i] = (quad)(((quad_ints)q[i] & first) | ((quad_ints)q[i + n] & ~first));
        }
    float a = q[0][0] > q[0][2] ? q[0][0] : q[0][2], b = q[0][1] > q[0][3] ? q[0][1] : q[0][3];
    return a > b ? a : b;
}

/* e^x for x from -87.3 to 88, to 1 unit in the last place: x = n ln 2 + r, a polynomial in r
   (Moshier's Cephes), and 2^n by its bits. NaN stays NaN. */
INLINE vec exp_in(vec x) {
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number */
    vec shifted = x * 1.44269504f + round, n = shifted - round;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec y = all(1.9875691500e-4f);
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * (r * r) + r + 1.0f;
    ints power = ((ints)shifted - (ints)all(round) + 127) << 23;
    return y * (vec)power;
}

/* The same, and 0 below float32's normal numbers. */
INLINE vec exp_(vec x) {
    ints low = x < all(-87.3f);
    return (vec)((ints)exp_in(larger(all(-87.3f), x)) & ~low);
}
