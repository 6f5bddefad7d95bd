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

__device__ inline unsigned shared_address(const void* p) {
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// Four 8 x 8 matrices, whose 32 rows are where the 32 lanes say.
__device__ inline void ldmatrix(unsigned* to, const uint4* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row)));
}

__device__ inline void ldmatrix_trans(unsigned* to, const uint4* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row)));
}

// 16 (or 4) bytes on their way into shared memory, or as many zeros.
__device__ inline void copy_16(void* to, const void* from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(there ? 16 : 0));
}

__device__ inline void copy_4(void* to, const void* from, bool there) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(there ? 4 : 0));
}

__device__ inline void copies_end() { asm volatile("cp.async.wait_all;" ::: "memory"); }

__device__ inline float exp2_of(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Whether a warp may leave out work that the others of its block do.
__device__ inline bool needed(bool x) { return x; }
#else
static unsigned emu_a[1024][4], emu_b[1024][2];
static const void* emu_row[1024];

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

inline void emu_ldmatrix(unsigned* to, const uint4* row, bool trans) {
    int me = threadIdx.x, lane = me % 32, g = lane / 4, t = lane % 4;
    emu_row[me] = row;
    __syncwarp();
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 2; j++) {
            int r = trans ? 2 * t + j : g, c = trans ? g : 2 * t + j;
            const void* from = emu_row[me - lane + 8 * i + r];
            reinterpret_cast<uint16_t*>(to + i)[j] = static_cast<const uint16_t*>(from)[c];
        }
    __syncwarp();
}

inline void ldmatrix(unsigned* to, const uint4* row) { emu_ldmatrix(to, row, false); }
inline void ldmatrix_trans(unsigned* to, const uint4* row) { emu_ldmatrix(to, row, true); }
inline void copy_16(void* to, const void* from, bool there) {
    there ? memcpy(to, from, 16) : memset(to, 0, 16);
}
inline void copy_4(void* to, const void* from, bool there) {
    there ? memcpy(to, from, 4) : memset(to, 0, 4);
}
inline void copies_end() {}
inline float exp2_of(float x) { return exp2f(x); }
inline bool needed(bool x) { return true; }
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
};

// Rows of W numbers in shared memory. The 16-byte pieces of a row are permuted (xor), so that
// eight rows, read at one column, lie in different banks.
template <class X, int W, int THREADS>
struct Tile {
    uint4* start;

    __device__ uint4* place(int row, int piece) const {
        return start + row * (W / 8) + (piece ^ (W % 64 ? row / 2 % 4 : row % 8));
    }

    // The first ROWS rows, zeros from row `count` on.
    template <int ROWS>
    __device__ void load(const X* from, long long stride, int count) const {
#pragma unroll
        for (int i = threadIdx.x; i < ROWS * (W / 8); i += THREADS) {
            int row = i / (W / 8), piece = i % (W / 8);
            bool there = row < count;
            copy_16(place(row, piece), from + (there ? row : 0) * stride + 8 * piece, there);
        }
    }

    // 16 rows and columns as a left side.
    __device__ void left(unsigned* to, int row, int column) const {
        int lane = threadIdx.x % 32;
        ldmatrix(to, place(row + lane % 16, column / 8 + lane / 16));
    }

    // 16 rows and columns as two right sides, 8 columns of the product each: of a product with the
    // transposed tile, and of one with the tile itself.
    __device__ void right_trans(unsigned* to, int row, int column) const {
        int lane = threadIdx.x % 32;
        ldmatrix(to, place(row + lane % 8 + lane / 16 * 8, column / 8 + lane / 8 % 2));
    }

    __device__ void right(unsigned* to, int row, int column) const {
        int lane = threadIdx.x % 32;
        ldmatrix_trans(to, place(row + lane % 16, column / 8 + lane / 16));
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
            if (r < count) *reinterpret_cast<uint4*>(to + r * stride + 8 * piece) = *place(r, piece);
        }
    }
};

// c (16 R, N) += a (16 R, W) times N rows of b, transposed.
template <int R, int N, class X, int W, int THREADS>
__device__ inline void add_product_trans(float (&c)[R][N / 8][4], const unsigned (&a)[R][W / 16][4],
                                         Tile<X, W, THREADS> b, int row) {
#pragma unroll
    for (int k = 0; k < W / 16; k++)
#pragma unroll
        for (int n = 0; n < N / 16; n++) {
            unsigned part[4];
            b.right_trans(part, row + 16 * n, 16 * k);
#pragma unroll
            for (int m = 0; m < R; m++) {
                mma(c[m][2 * n], a[m][k], part, X());
                mma(c[m][2 * n + 1], a[m][k], part + 2, X());
            }
        }
}

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
