// Matrix products on tensor cores: one instruction per function, with what it means in C++ for a
// machine without a GPU; then tiles in shared memory, and products of a warp that has its left
// side in registers. In a fragment, a thread of the warp (lane = 4 g + t) holds rows g and g + 8
// and columns 2 t, 2 t + 1 (and 8 further on).
#ifndef __CUDA_EMU__
#define MMA(X, NAME)                                                                               \
    __device__ inline void mma(float* d, const unsigned* a, const unsigned* b, X) {                \
        asm("mma.sync.aligned.m16n8k16.row.col.f32." NAME "." NAME                                 \
            ".f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"                              \
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                       \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                   \
    }
MMA(__nv_bfloat16, "bf16")
MMA(__half, "f16")

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
inline float emu_value(unsigned pair, int which) {
    return get(reinterpret_cast<const X*>(&pair)[which]);
}

template <class X>
inline void mma(float* d, const unsigned* a, const unsigned* b, X) {
    int me = threadIdx.x, lane = me % 32, g = lane / 4, t = lane % 4;
    memcpy(emu_a[me], a, 16), memcpy(emu_b[me], b, 8);
    __syncwarp();
    for (int i = 0; i < 4; i++)  // d[i] is at row g + 8 (i / 2), column 2 t + i % 2
        for (int k = 0; k < 16; k++) {
            int left = me - lane + 4 * g + k % 8 / 2, right = me - lane + 4 * (2 * t + i % 2);
            d[i] += emu_value<X>(emu_a[left][i / 2 + k / 8 * 2], k % 2) *
                    emu_value<X>(emu_b[right + k % 8 / 2][k / 8], k % 2);
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

__device__ inline unsigned pack(float x, float y, __nv_bfloat16) {
    __nv_bfloat162 both = __floats2bfloat162_rn(x, y);
    return reinterpret_cast<unsigned&>(both);
}

__device__ inline unsigned pack(float x, float y, __half) {
    __half2 both = __floats2half2_rn(x, y);
    return reinterpret_cast<unsigned&>(both);
}

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
    static const int PERMUTED = W % 64 ? 4 : 8;  // pieces, of as many rows, change places
    Line* start;

    __device__ static int index(int row, int piece) {
        return row * (W / 8) + (piece ^ (W % 64 ? row / 2 % 4 : row % 8));
    }

    __device__ uint4* place(int row, int piece) const { return start->x + index(row, piece); }

    // Where a lane's row of 8 starts, in the 16 rows and columns from (row, column) on. Permuted,
    // `column` further is an xor: so one address serves all columns.
    __device__ Address part(int lane_row, int lane_piece, int row, int column) const {
        Address first = address(start) + 16 * index(lane_row, lane_piece);
        int inside = column / 8 % PERMUTED, outside = column / 8 - inside;
        return (first ^ 16 * inside) + 16 * (outside + row * (W / 8));
    }

    // ROWS rows of a matrix of `count` rows, from row `first` on; zeros after its last. The threads
    // take TOGETHER rows at a time, a multiple of 8: the same place in the next ones is the same
    // permuted, and one addition away.
    template <int ROWS>
    __device__ void load(const X* from, int stride, int first, int count) const {
        const int TOGETHER = THREADS / (W / 8) / 8 * 8;
        const bool ALL = TOGETHER * (W / 8) == THREADS && ROWS % TOGETHER == 0;
        int row = threadIdx.x / (W / 8), piece = threadIdx.x % (W / 8);
        uint4* to = place(row, piece);
        from += (long long)(first + row) * stride + 8 * piece;
#pragma unroll
        for (int i = 0; i < ROWS; i += TOGETHER, from += (long long)TOGETHER * stride)
            if (ALL || (row < TOGETHER && row + i < ROWS))
                copy_16(to + i * (W / 8), from, first + row + i < count);
    }

    // 16 rows and columns as a left side.
    __device__ void left(unsigned* to, int row, int column) const {
        int lane = threadIdx.x % 32;
        ldmatrix(to, part(lane % 16, lane / 16, row, column));
    }

    // 16 rows and columns as two right sides, 8 columns of the product each: of a product with the
    // transposed tile, and of one with the tile itself.
    __device__ void right_trans(unsigned* to, int row, int column) const {
        int lane = threadIdx.x % 32;
        ldmatrix(to, part(lane % 8 + lane / 16 * 8, lane / 8 % 2, row, column));
    }

    __device__ void right(unsigned* to, int row, int column) const {
        int lane = threadIdx.x % 32;
        ldmatrix_trans(to, part(lane % 16, lane / 16, row, column));
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
                    uint4* piece = place(row + 16 * m + 8 * half + lane / 4, n);
                    reinterpret_cast<unsigned*>(piece)[lane % 4] =
                        pack(pair[0] * factor, pair[1] * factor, X());
                }
        __syncwarp();
#pragma unroll
        for (int i = lane; i < 16 * R * (W / 8); i += 32) {
            int r = row + i / (W / 8), piece = i % (W / 8);
            X* there = to + r * stride + 8 * piece;
            if (r < count) *reinterpret_cast<uint4*>(there) = *place(r, piece);
        }
    }
};

// 16 R rows of a product's left side, held in registers, or read again for each product.
template <class X, int W, int THREADS, int R, bool HELD>
struct Left {
    Tile<X, W, THREADS> tile;
    int row;
    unsigned held[HELD ? R : 1][HELD ? W / 16 : 1][4];

    __device__ Left(Tile<X, W, THREADS> tile, int row) : tile(tile), row(row) {
        if constexpr (HELD)
#pragma unroll
            for (int m = 0; m < R; m++)
#pragma unroll
                for (int k = 0; k < W / 16; k++) tile.left(held[m][k], row + 16 * m, 16 * k);
    }

    // c (16 R, N) += these rows times N rows of b, transposed.
    template <int N>
    __device__ void add_product_trans(float (&c)[R][N][4], Tile<X, W, THREADS> b, int from) const {
#pragma unroll
        for (int k = 0; k < W / 16; k++) {
            unsigned a[R][4];
#pragma unroll
            for (int m = 0; m < R; m++) {
                if constexpr (HELD)
                    for (int i = 0; i < 4; i++) a[m][i] = held[m][k][i];
                else
                    tile.left(a[m], row + 16 * m, 16 * k);
            }
#pragma unroll
            for (int n = 0; n < N / 2; n++) {
                unsigned part[4];
                b.right_trans(part, from + 16 * n, 16 * k);
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
#pragma unroll
    for (int k = 0; k < K / 16; k++) {
        unsigned a[R][4];
#pragma unroll
        for (int m = 0; m < R; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float* pair = w[m][2 * k + i / 2] + i % 2 * 2;
                a[m][i] = pack(pair[0], pair[1], X());
            }
#pragma unroll
        for (int n = 0; n < W / 16; n++) {
            unsigned part[4];
            b.right(part, row + 16 * k, 16 * n);
#pragma unroll
            for (int m = 0; m < R; m++) {
                mma(c[m][2 * n], a[m], part, X());
                mma(c[m][2 * n + 1], a[m], part + 2, X());
            }
        }
    }
}
