/* The Mersenne Twister's words (Matsumoto and Nishimura, 1998) turned into what dropout keeps, from
   and to the state that NumPy's RandomState has: 624 words and a position. */

#define WORDS 624
#define SHIFT 397

/* The next 624 words from the last; one loop reads what is 397 ahead, the other 227 behind. */
static void twist(uint32_t *key) {
#define NEXT(k, other, following)                                        \
    uint32_t y = (key[k] & 0x80000000u) | (key[following] & 0x7fffffffu); \
    key[k] = key[other] ^ (y >> 1) ^ (-(y & 1) & 0x9908b0dfu);
    for (int k = 0; k < WORDS - SHIFT; k++) { NEXT(k, k + SHIFT, k + 1) }
    for (int k = WORDS - SHIFT; k < WORDS - 1; k++) { NEXT(k, k - (WORDS - SHIFT), k + 1) }
    NEXT(WORDS - 1, SHIFT - 1, 0)
}

static void temper(uint32_t *to, const uint32_t *from, long n) {
    for (long i = 0; i < n; i++) {
        uint32_t y = from[i];
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c5680u;
        y ^= (y << 15) & 0xefc60000u;
        to[i] = y ^ (y >> 18);
    }
}

/* keep[i] = (u < bound), u the lower 53 bits of 64, the first word drawn being the upper half. */
static long keep_below(uint8_t *keep, long n, uint64_t bound, uint32_t *key, long position) {
    uint32_t words[2 * WORDS];
    for (long drawn; n > 0; n -= drawn, keep += drawn) {
        drawn = n < WORDS ? n : WORDS;
        for (long have = 0; have < 2 * drawn;) {
            if (position == WORDS) twist(key), position = 0;
            long some = WORDS - position < 2 * drawn - have ? WORDS - position : 2 * drawn - have;
            temper(words + have, key + position, some);
            have += some, position += some;
        }
        for (long i = 0; i < drawn; i++)
            keep[i] = ((uint64_t)(words[2 * i] & 0x1fffff) << 32 | words[2 * i + 1]) < bound;
    }
    return position;
}

typedef struct { /* the start of NumPy's bitgen_t */
    void *state;
    uint64_t (*next_long)(void *);
    uint32_t (*next)(void *);
} Bits;
