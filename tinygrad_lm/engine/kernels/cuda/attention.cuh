// What attention's kernels share: tiles, what a query may not look at, dropout. A block has ROWS
// queries (or keys), 16 M per warp, and goes through the keys (or queries) BN at a time.
static const int THREADS = 32 * WARPS, ROWS = 16 * M * WARPS;
typedef Tile<T, D, THREADS> Rows;

// Shared memory holds tiles of these many lines.
static const int BIG = ROWS * Rows::PIECES / 8, SMALL = BN * Rows::PIECES / 8;

struct Layout {
    Strides q, k, v, out, g, dq, dk, dv;
};

__device__ inline float infinity() { return __int_as_float(0x7f800000); }

// What belongs to a query and a key it may not look at becomes `value`. x is a warp's part, from
// (row, column) on, of a product whose rows are queries; with TRANS they are keys.
template <bool TRANS, int N>
__device__ inline void hide(float (&x)[M][N][4], float value, int row, int column, int columns,
                            bool causal) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int r = row + 16 * m + i / 2 * 8 + lane / 4;
                int c = column + 8 * n + i % 2 + lane % 4 * 2;
                if (c >= columns || (causal && (TRANS ? r > c : c > r))) x[m][n][i] = value;
            }
}

// x times share where dropout keeps a weight, else 0; keep is that of the warp's first row.
template <int N>
__device__ inline void drop(float (&x)[M][N][4], const unsigned char* keep, int rows, int key,
                            int keys, float share) {
    int lane = threadIdx.x % 32, r = lane / 4, c = key + lane % 4 * 2;
    keep += (long long)r * keys + c;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int down = 16 * m + i / 2 * 8, right = 8 * n + i % 2;
                bool kept = r + down < rows && c + right < keys && keep[down * keys + right];
                x[m][n][i] = kept ? x[m][n][i] * share : 0;
            }
}
