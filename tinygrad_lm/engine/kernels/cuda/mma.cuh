// Matrix products on tensor cores: one instruction per function, with what it means in C++ for a
// machine without a GPU; then tiles in shared memory, and products of a warp that has its left
// side in registers. A register of a fragment has 4 bytes: two numbers of 16 bits, or one of 32,
// and an instruction goes 32 bytes deep. In a product, a thread of the warp (lane = 4 g + t) holds
// rows g and g + 8 and columns 2 t, 2 t + 1.

struct Tf32 {  // a float32 of whose 24 digits products may use 11
    float x;
};

__device__ inline float get(Tf32 x) { return x.x; }

#ifndef __CUDA_EMU__
#define MULTIPLY(X, SHAPE, NAME)                                                                   \
    __device__ inline void multiply(float* d, const unsigned* a, const unsigned* b, X) {           \
        asm("mma.sync.aligned." SHAPE ".row.col.f32." NAME "." NAME                                \
            ".f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"                              \
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                       \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                   \
    }
MULTIPLY(__nv_bfloat16, "m16n8k16", "bf16")
MULTIPLY(__half, "m16n8k16", "f16")
MULTIPLY(Tf32, "m16n8k8", "tf32")

__device__ inline unsigned to_tf32(unsigned x) {  // the nearest
    unsigned y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "r"(x));
    return y;
}

typedef unsigned Address;  // in shared memory

__device__ inline Address address(const void* p) {
    return static_cast<Address>(__cvta_generic_to_shared(p));
}

// Four 8 x 8 matrices, whose 32 rows are where the 32 lanes say.
__device__ inline void ldmatrix(unsigned* to, Address row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(row));
}

__device__ inline void ldmatrix_trans(unsigned* to, Address row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(row));
}

__device__ inline unsigned read_shared(Address x) {
    unsigned y;
    asm volatile("ld.shared.b32 %0, [%1];" : "=r"(y) : "r"(x));
    return y;
}

// 16 (or 8) bytes on their way into shared memory, or as many zeros.
__device__ inline void copy_16(void* to, const void* from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address(to)),
                 "l"(from), "r"(there ? 16 : 0));
}

__device__ inline void copy_8(void* to, const void* from, bool there) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(address(to)),
                 "l"(from), "r"(there ? 8 : 0));
}

__device__ inline void copies_end() { asm volatile("cp.async.wait_all;" ::: "memory"); }

__device__ inline float exp2_of(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Whether a warp does work that the others of its block may not need, or that one of its threads
// needs.
__device__ inline bool needed(bool x) { return x; }
__device__ inline bool needed_by_any(bool x) { return __any_sync(0xffffffffu, x); }
#else
static unsigned emu_a[1024][4], emu_b[1024][2];
static const void* emu_row[1024];
typedef uintptr_t Address;

inline Address address(const void* p) { return reinterpret_cast<Address>(p); }

template <class X>
inline float emu_value(unsigned x, int which) {
    if (sizeof(X) == 4) x &= ~0x1fffu;  // the other 13 digits are not looked at
    return get(reinterpret_cast<const X*>(&x)[which]);
}

inline unsigned to_tf32(unsigned x) {
    return std::isfinite(__uint_as_float(x)) ? (x + 0x1000) & ~0x1fffu : x;
}

template <class X>
inline void multiply(float* d, const unsigned* a, const unsigned* b, X) {
    const int EACH = 4 / sizeof(X);  // numbers in a register
    int me = threadIdx.x, lane = me % 32, g = lane / 4, t = lane % 4;
    memcpy(emu_a[me], a, 16), memcpy(emu_b[me], b, 8);
    __syncwarp();
    for (int i = 0; i < 4; i++)  // d[i] is at row g + 8 (i / 2), column 2 t + i % 2
        for (int k = 0; k < 8 * EACH; k++) {
            int from = me - lane + k / EACH % 4, further = k / EACH / 4;
            d[i] += emu_value<X>(emu_a[from + 4 * g][i / 2 + further * 2], k % EACH) *
                    emu_value<X>(emu_b[from + 4 * (2 * t + i % 2)][further], k % EACH);
        }
    __syncwarp();
}

inline void emu_ldmatrix(unsigned* to, Address row, bool trans) {
    int me = threadIdx.x, lane = me % 32, g = lane / 4, t = lane % 4;
    emu_row[me] = reinterpret_cast<const void*>(row);
    __syncwarp();
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 2; j++) {
            int r = trans ? 2 * t + j : g, c = trans ? g : 2 * t + j;
            const void* from = emu_row[me - lane + 8 * i + r];
            reinterpret_cast<uint16_t*>(to + i)[j] = static_cast<const uint16_t*>(from)[c];
        }
    __syncwarp();
}

inline unsigned read_shared(Address x) { return *reinterpret_cast<unsigned*>(x); }
inline void ldmatrix(unsigned* to, Address row) { emu_ldmatrix(to, row, false); }
inline void ldmatrix_trans(unsigned* to, Address row) { emu_ldmatrix(to, row, true); }
inline void emu_copy(void* to, const void* from, bool there, int size) {
    if (there && reinterpret_cast<Address>(from) % size)
        memset(to, 0xff, size);  // a GPU fails here; this makes NaN
    else
        there ? memcpy(to, from, size) : memset(to, 0, size);
}
inline void copy_16(void* to, const void* from, bool there) { emu_copy(to, from, there, 16); }
inline void copy_8(void* to, const void* from, bool there) { emu_copy(to, from, there, 8); }
inline void copies_end() {}
inline float exp2_of(float x) { return exp2f(x); }
inline bool needed(bool x) { return true; }
inline bool needed_by_any(bool x) { return true; }
#endif

// d += a b: 16 rows, 8 columns.
template <class X>
__device__ inline void mma(float* d, const unsigned* a, const unsigned* b, X) {
    multiply(d, a, b, X());
}

__device__ inline void mma(float* d, const unsigned* a, const unsigned* b, Tf32) {
    const unsigned left[] = {to_tf32(a[0]), to_tf32(a[1]), to_tf32(a[2]), to_tf32(a[3])};
    const unsigned right[] = {to_tf32(b[0]), to_tf32(b[1])};
    multiply(d, left, right, Tf32());
}

// The digits of a float32 are two TF32 numbers: 11 of them, and what is left.
__device__ inline void split(unsigned x, unsigned& top, unsigned& rest) {
    top = to_tf32(x);
    rest = __float_as_uint(__uint_as_float(x) - __uint_as_float(top));
}

// Without the product of what is left, which is below the last digit. Tensor cores cut off what
// they add up, so that the long sums are not left to them (Ootomo and Yokota, 2022,
// arXiv 2203.03341).
__device__ inline void mma(float* d, const unsigned* a, const unsigned* b, float) {
    unsigned left[2][4], right[2][2];
#pragma unroll
    for (int i = 0; i < 4; i++) split(a[i], left[0][i], left[1][i]);
#pragma unroll
    for (int i = 0; i < 2; i++) split(b[i], right[0][i], right[1][i]);
    float sum[4] = {};
    multiply(sum, left[1], right[0], Tf32());
    multiply(sum, left[0], right[1], Tf32());
    multiply(sum, left[0], right[0], Tf32());
#pragma unroll
    for (int i = 0; i < 4; i++) d[i] += sum[i];
}

// Neighbours of a row, as a tile holds them.
__device__ inline unsigned pack(float x, float y, __nv_bfloat16) {
    __nv_bfloat162 both = __floats2bfloat162_rn(x, y);
    return reinterpret_cast<unsigned&>(both);
}

__device__ inline unsigned pack(float x, float y, __half) {
    __half2 both = __floats2half2_rn(x, y);
    return reinterpret_cast<unsigned&>(both);
}

__device__ inline float2 pack(float x, float y, float) { return make_float2(x, y); }
__device__ inline float2 pack(float x, float y, Tf32) { return make_float2(x, y); }

// A product itself, of which a row's 16 columns (8 of 32 bits) are taken, as a left side. Its
// numbers stay in their threads: so 32-bit columns come in another order, which `right` knows.
template <class X>
__device__ inline void left_of(unsigned* to, const float (*c)[4], X) {
#pragma unroll
    for (int i = 0; i < 4; i++) to[i] = pack(c[i / 2][i % 2 * 2], c[i / 2][i % 2 * 2 + 1], X());
}

__device__ inline void left_of(unsigned* to, const float (*c)[4], float) {
#pragma unroll
    for (int i = 0; i < 4; i++) to[i] = __float_as_uint(c[0][i % 2 * 2 + i / 2]);
}

__device__ inline void left_of(unsigned* to, const float (*c)[4], Tf32) { left_of(to, c, 0.f); }

__device__ inline float quad_sum(float x) {  // over the four threads that share a row
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

__device__ inline float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

struct Strides {  // in elements; elements of a row are neighbours
    long long batch, head, row;

    // Row r of head h in batch b.
    template <class X>
    __device__ X* of(X* x, long long b, long long h, long long r) const {
        return x + b * batch + h * head + r * row;
    }
};

struct alignas(128) Line {  // of shared memory: as wide as all its banks
    uint4 x[8];
};

// Rows of W numbers in shared memory. The 16-byte pieces of a row are permuted (xor), so that
// eight rows, read at one column, lie in different banks.
template <class X, int W, int THREADS>
struct Tile {
    static const int EACH = 16 / sizeof(X), PIECES = W / EACH;  // of a piece; of a row
    static const int DEEP = 2 * EACH;  // numbers, which an instruction multiplies
    static const int PERMUTED = PIECES % 8 ? 4 : 8;  // pieces, of as many rows, change places
    Line* start;

    __device__ static int index(int row, int piece) {
        return row * PIECES + (piece ^ (PERMUTED == 4 ? row / 2 % 4 : row % 8));
    }

    __device__ uint4* place(int row, int piece) const { return start->x + index(row, piece); }

    // Where a lane's piece starts, in the 16 rows and two pieces from (row, column) on. Permuted,
    // `column` further is an xor: so one address serves all columns.
    __device__ Address part(int lane_row, int lane_piece, int row, int column) const {
        Address first = address(start) + 16 * index(lane_row, lane_piece);
        int inside = column / EACH % PERMUTED, outside = column / EACH - inside;
        return (first ^ 16 * inside) + 16 * (outside + row * PIECES);
    }

    // ROWS rows of a matrix of `count` rows, from row `first` on; zeros after its last. The threads
    // take TOGETHER rows at a time, a multiple of 8: the same place in the next ones is the same
    // permuted, and one addition away.
    template <int ROWS>
    __device__ void load(const X* from, int stride, int first, int count) const {
        const int TOGETHER = THREADS / PIECES / 8 * 8;
        const bool ALL = TOGETHER * PIECES == THREADS && ROWS % TOGETHER == 0;
        int row = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
        uint4* to = place(row, piece);
        from += (long long)(first + row) * stride + EACH * piece;
#pragma unroll
        for (int i = 0; i < ROWS; i += TOGETHER, from += (long long)TOGETHER * stride)
            if (ALL || (row < TOGETHER && row + i < ROWS))
                copy_16(to + i * PIECES, from, first + row + i < count);
    }

    // 16 rows, DEEP columns, as a left side.
    __device__ void left(unsigned* to, int row, int column) const {
        int lane = threadIdx.x % 32;
        ldmatrix(to, part(lane % 16, lane / 16, row, column));
    }

    // Two right sides, of 8 columns of the product each: 16 rows of the tile, DEEP columns, of a
    // product with the transposed tile; DEEP rows, 16 columns, of one with the tile itself.
    __device__ void right_trans(unsigned* to, int row, int column) const {
        int lane = threadIdx.x % 32;
        ldmatrix(to, part(lane % 8 + lane / 16 * 8, lane / 8 % 2, row, column));
    }

    __device__ void right(unsigned* to, int row, int column) const {
        int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
        if constexpr (sizeof(X) == 2) {
            ldmatrix_trans(to, part(lane % 16, lane / 16, row, column));
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                Address piece = part(2 * t + i % 2, g / 4, row, column + i / 2 * 8);
                to[i] = read_shared(piece + g % 4 * 4);
            }
        }
    }

    // A warp's rows of a product, times a factor, through its rows of the tile to memory.
    template <int R>
    __device__ void store(const float (&c)[R][W / 8][4], float factor, int row, X* to,
                          long long stride, int count) const {
        int lane = threadIdx.x % 32;
        __syncwarp();
#pragma unroll
        for (int m = 0; m < R; m++)
#pragma unroll
            for (int n = 0; n < W / 8; n++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const float* pair = c[m][n] + 2 * half;
                    auto both = pack(pair[0] * factor, pair[1] * factor, X());
                    int r = row + 16 * m + 8 * half + lane / 4, column = 8 * n + lane % 4 * 2;
                    X* there = reinterpret_cast<X*>(place(r, column / EACH)) + column % EACH;
                    *reinterpret_cast<decltype(both)*>(there) = both;
                }
        __syncwarp();
#pragma unroll
        for (int i = lane; i < 16 * R * PIECES; i += 32) {
            int r = row + i / PIECES, piece = i % PIECES;
            X* there = to + r * stride + EACH * piece;
            if (r < count) *reinterpret_cast<uint4*>(there) = *place(r, piece);
        }
    }
};

// 16 R rows of a product's left side, held in registers, or read again for each product.
template <class X, int W, int THREADS, int R, bool HELD>
struct Left {
    static const int DEEP = Tile<X, W, THREADS>::DEEP;
    Tile<X, W, THREADS> tile;
    int row;
    unsigned held[HELD ? R : 1][HELD ? W / DEEP : 1][4];

    __device__ Left(Tile<X, W, THREADS> tile, int row) : tile(tile), row(row) {
        if constexpr (HELD)
#pragma unroll
            for (int m = 0; m < R; m++)
#pragma unroll
                for (int k = 0; k < W / DEEP; k++) tile.left(held[m][k], row + 16 * m, DEEP * k);
    }

    // c (16 R, N) += these rows times N rows of b, transposed.
    template <int N>
    __device__ void add_product_trans(float (&c)[R][N][4], Tile<X, W, THREADS> b, int from) const {
        const int AT_ONCE = HELD || sizeof(X) == 2 ? W / DEEP : 2;  // float32 takes registers
#pragma unroll AT_ONCE
        for (int k = 0; k < W / DEEP; k++) {
            unsigned a[R][4];
#pragma unroll
            for (int m = 0; m < R; m++) {
                if constexpr (HELD)
                    for (int i = 0; i < 4; i++) a[m][i] = held[m][k][i];
                else
                    tile.left(a[m], row + 16 * m, DEEP * k);
            }
#pragma unroll
            for (int n = 0; n < N / 2; n++) {
                unsigned part[4];
                b.right_trans(part, from + 16 * n, DEEP * k);
#pragma unroll
                for (int m = 0; m < R; m++) {
                    mma(c[m][2 * n], a[m], part, X());
                    mma(c[m][2 * n + 1], a[m], part + 2, X());
                }
            }
        }
    }
};

// c (16 R, W) += w (16 R, K), a product itself, times K rows of b.
template <int R, int K, class X, int W, int THREADS>
__device__ inline void add_product(float (&c)[R][W / 8][4], const float (&w)[R][K / 8][4],
                                   Tile<X, W, THREADS> b, int row) {
    const int DEEP = Tile<X, W, THREADS>::DEEP;
#pragma unroll
    for (int k = 0; k < K / DEEP; k++) {
        unsigned a[R][4];
#pragma unroll
        for (int m = 0; m < R; m++) left_of(a[m], w[m] + k * DEEP / 8, X());
        if (sizeof(X) == 4) __syncwarp();  // keeps nvcc from reading far ahead, into registers
#pragma unroll
        for (int n = 0; n < W / 16; n++) {
            unsigned part[4];
            b.right(part, row + DEEP * k, 16 * n);
#pragma unroll
            for (int m = 0; m < R; m++) {
                mma(c[m][2 * n], a[m], part, X());
                mma(c[m][2 * n + 1], a[m], part + 2, X());
            }
        }
    }
}
