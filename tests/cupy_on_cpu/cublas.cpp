// A stand-in for libcublas.so.13: what CuPy calls for products of real matrices and vectors. The
// other functions that CuPy's module links to are made by build.py; they say their name and fail.
#include "device.h"
#include "products.h"

typedef long long Long;

namespace {

void gemm(int ta, int tb, int m, int n, int k, double alpha, const void* a, int at, long lda,
          const void* b, int bt, long ldb, double beta, void* c, int ct, long ldc) {
    store(product(m, n, k, alpha, {a, at, lda, ta != 0}, {b, bt, ldb, tb != 0}, beta,
                  {c, ct, ldc, false}),
          m, n, c, ct, ldc);
}
double scalar(const void* p, bool is_double) {
    return is_double ? *static_cast<const double*>(p) : *static_cast<const float*>(p);
}
// CUBLAS_COMPUTE_64F, or float64 named as a data type.
bool is_double(int compute) { return compute == 70 || compute == FLOAT64; }
const void* at(const void* p, Long elements, int type) {
    return static_cast<const char*>(p) + elements * Long(size_of(type));
}
template <class T>
void gemv(int t, int m, int n, T alpha, const T* a, Long lda, const T* x, Long ix, T beta, T* y,
          Long iy) {
    for (int i = 0; i < (t ? n : m); i++) {
        double sum = 0;
        for (int j = 0; j < (t ? m : n); j++)
            sum += double(t ? a[j + i * lda] : a[i + j * lda]) * x[j * ix];
        y[i * iy] = T(alpha * sum + (beta != 0 ? beta * y[i * iy] : 0));
    }
}
template <class T>
void dot(int n, const T* x, Long ix, const T* y, Long iy, T* found) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += double(x[i * ix]) * y[i * iy];
    *found = T(sum);
}
template <class T>
void ger(int m, int n, T alpha, const T* x, Long ix, const T* y, Long iy, T* a, Long lda) {
    for (int j = 0; j < n; j++)
        for (int i = 0; i < m; i++) a[i + j * lda] += alpha * x[i * ix] * y[j * iy];
}

}  // namespace

extern "C" {

int cublasCreate_v2(void** handle) { return *handle = (void*)1, 0; }
int cublasDestroy_v2(void*) { return 0; }
int cublasSetStream_v2(void*, void*) { return 0; }
int cublasGetVersion_v2(void*, int* found) { return *found = 130000, 0; }
int cublasSetMathMode(void*, int) { return 0; }
int cublasGetMathMode(void*, int* found) { return *found = 0, 0; }
int cublasSetPointerMode_v2(void*, int) { return 0; }
int cublasGetPointerMode_v2(void*, int* found) { return *found = 0, 0; }

int cublasGemmEx(void*, int ta, int tb, int m, int n, int k, const void* alpha, const void* a,
                 int at, int lda, const void* b, int bt, int ldb, const void* beta, void* c, int ct,
                 int ldc, int compute, int) {
    bool wide = is_double(compute);
    gemm(ta, tb, m, n, k, scalar(alpha, wide), a, at, lda, b, bt, ldb, scalar(beta, wide), c, ct,
         ldc);
    return 0;
}
int cublasSgemmEx(void*, int ta, int tb, int m, int n, int k, const float* alpha, const void* a,
                  int at, int lda, const void* b, int bt, int ldb, const float* beta, void* c,
                  int ct, int ldc) {
    return gemm(ta, tb, m, n, k, *alpha, a, at, lda, b, bt, ldb, *beta, c, ct, ldc), 0;
}
int cublasGemmStridedBatchedEx(void*, int ta, int tb, int m, int n, int k, const void* alpha,
                               const void* a, int at_, int lda, Long sa, const void* b, int bt,
                               int ldb, Long sb, const void* beta, void* c, int ct, int ldc,
                               Long sc, int count, int compute, int) {
    bool wide = is_double(compute);
    for (int i = 0; i < count; i++)
        gemm(ta, tb, m, n, k, scalar(alpha, wide), at(a, i * sa, at_), at_, lda, at(b, i * sb, bt),
             bt, ldb, scalar(beta, wide), const_cast<void*>(at(c, i * sc, ct)), ct, ldc);
    return 0;
}

// One function per type: S for float, D for double.
#define FOR_TYPE(S, T, TYPE)                                                                       \
    int cublas##S##gemm_v2(void*, int ta, int tb, int m, int n, int k, const T* alpha, const T* a, \
                           int lda, const T* b, int ldb, const T* beta, T* c, int ldc) {           \
        return gemm(ta, tb, m, n, k, *alpha, a, TYPE, lda, b, TYPE, ldb, *beta, c, TYPE, ldc), 0;  \
    }                                                                                              \
    int cublas##S##gemmStridedBatched(void*, int ta, int tb, int m, int n, int k, const T* alpha,  \
                                      const T* a, int lda, Long sa, const T* b, int ldb, Long sb,  \
                                      const T* beta, T* c, int ldc, Long sc, int count) {          \
        for (int i = 0; i < count; i++)                                                            \
            gemm(ta, tb, m, n, k, *alpha, a + i * sa, TYPE, lda, b + i * sb, TYPE, ldb, *beta,     \
                 c + i * sc, TYPE, ldc);                                                           \
        return 0;                                                                                  \
    }                                                                                              \
    int cublas##S##gemmBatched(void*, int ta, int tb, int m, int n, int k, const T* alpha,         \
                               const T** a, int lda, const T** b, int ldb, const T* beta, T** c,   \
                               int ldc, int count) {                                               \
        for (int i = 0; i < count; i++)                                                            \
            gemm(ta, tb, m, n, k, *alpha, a[i], TYPE, lda, b[i], TYPE, ldb, *beta, c[i], TYPE,     \
                 ldc);                                                                             \
        return 0;                                                                                  \
    }                                                                                              \
    int cublas##S##dot_v2(void*, int n, const T* x, int ix, const T* y, int iy, T* found) {        \
        return dot<T>(n, x, ix, y, iy, found), 0;                                                  \
    }                                                                                              \
    int cublas##S##gemv_v2(void*, int t, int m, int n, const T* alpha, const T* a, int lda,        \
                           const T* x, int ix, const T* beta, T* y, int iy) {                      \
        return gemv<T>(t, m, n, *alpha, a, lda, x, ix, *beta, y, iy), 0;                           \
    }                                                                                              \
    int cublas##S##ger_v2(void*, int m, int n, const T* alpha, const T* x, int ix, const T* y,     \
                          int iy, T* a, int lda) {                                                 \
        return ger<T>(m, n, *alpha, x, ix, y, iy, a, lda), 0;                                      \
    }
FOR_TYPE(S, float, FLOAT32)
FOR_TYPE(D, double, FLOAT64)

}  // extern "C"
