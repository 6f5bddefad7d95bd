// Matrix products on host memory in the column-major form of BLAS, sums in float64; elements of the
// four types that CUDA's numbers 0, 1, 2 and 14 stand for.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

enum Type { FLOAT32 = 0, FLOAT64 = 1, FLOAT16 = 2, BFLOAT16 = 14 };

inline size_t size_of(int type) { return type == FLOAT64 ? 8 : type == FLOAT32 ? 4 : 2; }

inline double element(const void* p, int type, long i) {
    if (type == FLOAT32) return static_cast<const float*>(p)[i];
    if (type == FLOAT64) return static_cast<const double*>(p)[i];
    if (type == FLOAT16) return double(static_cast<const _Float16*>(p)[i]);
    uint32_t bits = uint32_t(static_cast<const uint16_t*>(p)[i]) << 16;
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

inline uint16_t bfloat16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return bits >> 16 | 0x40;  // NaN stays NaN
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;                  // to nearest, ties to even
}

inline void set(void* p, int type, long i, double x) {
    if (type == FLOAT32) static_cast<float*>(p)[i] = float(x);
    else if (type == FLOAT64) static_cast<double*>(p)[i] = x;
    else if (type == FLOAT16) static_cast<_Float16*>(p)[i] = _Float16(float(x));
    else static_cast<uint16_t*>(p)[i] = bfloat16(float(x));
}

struct Matrix {
    const void* data;
    int type;
    long leading;  // elements from one column to the next
    bool transposed;
};

// op(M) as `rows` x `columns` numbers, column after column.
inline std::vector<double> numbers(Matrix m, long rows, long columns) {
    std::vector<double> found(size_t(rows) * columns);
    for (long j = 0; j < columns; j++)
        for (long i = 0; i < rows; i++)
            found[j * rows + i] =
                element(m.data, m.type, m.transposed ? j + i * m.leading : i + j * m.leading);
    return found;
}

// alpha op(A) op(B) + beta C of shape (m, n), column after column; C is not read where beta is 0.
inline std::vector<double> product(long m, long n, long k, double alpha, Matrix a, Matrix b,
                                   double beta, Matrix c) {
    std::vector<double> left = numbers(a, m, k), right = numbers(b, k, n), sum(size_t(m) * n);
    for (long j = 0; j < n; j++)
        for (long l = 0; l < k; l++) {
            double x = right[j * k + l];
            for (long i = 0; i < m; i++) sum[j * m + i] += left[l * m + i] * x;
        }
    for (long j = 0; j < n; j++)
        for (long i = 0; i < m; i++) {
            double& x = sum[j * m + i];
            x *= alpha;
            if (beta != 0) x += beta * element(c.data, c.type, i + j * c.leading);
        }
    return sum;
}

inline void store(const std::vector<double>& sum, long m, long n, void* to, int type, long leading) {
    for (long j = 0; j < n; j++)
        for (long i = 0; i < m; i++) set(to, type, i + j * leading, sum[j * m + i]);
}
