// A stand-in for libcublasLt.so.13: products with epilogues, done at once or, on a stream that is
// being captured, recorded. Numbers of attributes and epilogues are those of NVIDIA's cublasLt.h.
#include <cmath>
#include <cstdio>

#include "device.h"
#include "products.h"

namespace {

enum { OK = 0, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum Attribute {
    TRANSA = 3, TRANSB = 4, EPILOGUE = 7, BIAS = 8, AUX = 11, AUX_LEADING = 12, AUX_TYPE = 22,
    BIAS_TYPE = 26,
};
enum Epilogue {
    DEFAULT = 1, RELU = 2, ADD_BIAS = 4, GELU = 32, GELU_BIAS = 36, GELU_AUX = 160,
    GELU_AUX_BIAS = 164, DGELU = 192, BIAS_GRADIENT_A = 256, BIAS_GRADIENT_B = 512,
};

struct Description {
    int compute, scale, transa, transb, epilogue, bias_type, aux_type;
    void *bias, *aux;
    int64_t aux_leading;
};
struct Layout {
    uint32_t type;
    uint64_t rows, columns;
    int64_t leading;
    int32_t batch;
    int64_t stride;
};
struct Preference { uint64_t workspace; };
struct Algorithm { uint64_t data[8]; };
struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};
static_assert(sizeof(Heuristic) == 96, "as in cublasLt.h");
const uint64_t MARK = 0x6370752d6c74ULL;  // an algorithm that came from AlgoGetHeuristic

template <class T>
int put(T& field, const void* value, size_t size) {
    if (size != sizeof field) return INVALID_VALUE;
    memcpy(&field, value, size);
    return OK;
}

struct Product {
    Description how;
    Layout a, b, c, d;
    double alpha, beta;
    const void *pa, *pb, *pc;
    void* pd;
};

double gelu(double x) { return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))); }
double gelu_slope(double x) {
    double t = std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 0.134145 * x * x);
}
const void* at(const void* p, int64_t elements, int type) {
    return static_cast<const char*>(p) + elements * int64_t(size_of(type));
}

// The sum over k of one factor: of op(A)'s rows, or of op(B)'s columns.
void bias_gradient(const Product& p, const void* a, const void* b, long m, long n, long k) {
    bool left = p.how.epilogue == BIAS_GRADIENT_A;
    Matrix matrix = left ? Matrix{a, int(p.a.type), long(p.a.leading), p.how.transa != 0}
                         : Matrix{b, int(p.b.type), long(p.b.leading), p.how.transb != 0};
    std::vector<double> all = left ? numbers(matrix, m, k) : numbers(matrix, k, n);
    for (long i = 0; i < (left ? m : n); i++) {
        double sum = 0;
        for (long l = 0; l < k; l++) sum += left ? all[l * m + i] : all[i * k + l];
        set(p.how.bias, p.how.bias_type, i, sum);
    }
}

void finish(const Product& p, std::vector<double>& sum, long m, long n) {
    const Description& how = p.how;
    for (long j = 0; j < n; j++)
        for (long i = 0; i < m; i++) {
            double& x = sum[j * m + i];
            long place = i + j * how.aux_leading;
            if (how.epilogue == DGELU) x *= gelu_slope(element(how.aux, how.aux_type, place));
            if (how.epilogue & ADD_BIAS) x += element(how.bias, how.bias_type, i);
            if (how.epilogue & RELU) x = x > 0 ? x : 0;
            if (how.epilogue & GELU && how.epilogue != DGELU) {
                if (how.epilogue & 128) set(how.aux, how.aux_type, place, x);
                x = gelu(x);
            }
        }
}

void run(void* data) {
    const Product& p = *static_cast<Product*>(data);
    long m = p.d.rows, n = p.d.columns, k = p.how.transa ? p.a.rows : p.a.columns;
    for (int32_t i = 0; i < p.d.batch; i++) {
        const void* a = at(p.pa, i * p.a.stride, p.a.type);
        const void* b = at(p.pb, i * p.b.stride, p.b.type);
        const void* c = at(p.pc, i * p.c.stride, p.c.type);
        std::vector<double> sum =
            product(m, n, k, p.alpha, {a, int(p.a.type), long(p.a.leading), p.how.transa != 0},
                    {b, int(p.b.type), long(p.b.leading), p.how.transb != 0}, p.beta,
                    {c, int(p.c.type), long(p.c.leading), false});
        if (p.how.epilogue & (BIAS_GRADIENT_A | BIAS_GRADIENT_B))
            bias_gradient(p, a, b, m, n, k);
        else
            finish(p, sum, m, n);
        void* to = const_cast<void*>(at(p.pd, i * p.d.stride, p.d.type));
        store(sum, m, n, to, p.d.type, p.d.leading);
    }
}

bool fits(const Product& p) {
    const Layout *a = &p.a, *b = &p.b;
    uint64_t m = p.how.transa ? a->columns : a->rows, k = p.how.transa ? a->rows : a->columns;
    uint64_t n = p.how.transb ? b->rows : b->columns, l = p.how.transb ? b->columns : b->rows;
    bool shapes = k == l && p.d.rows == m && p.d.columns == n && p.c.rows == m && p.c.columns == n;
    bool leading = p.a.leading >= int64_t(a->rows) && p.b.leading >= int64_t(b->rows) &&
                   p.d.leading >= int64_t(m);
    return shapes && leading && a->batch == p.d.batch && b->batch == p.d.batch;
}

}  // namespace

extern "C" {

int cublasLtCreate(void** handle) { return *handle = (void*)1, OK; }
int cublasLtDestroy(void*) { return OK; }
size_t cublasLtGetVersion() { return 130000; }

int cublasLtMatmulDescCreate(void** found, int compute, int scale) {
    *found = new Description{compute, scale, 0, 0, DEFAULT, -1, -1, nullptr, nullptr, 0};
    return OK;
}
int cublasLtMatmulDescDestroy(void* how) { return delete static_cast<Description*>(how), OK; }
int cublasLtMatmulDescSetAttribute(void* description, int attribute, const void* value, size_t size) {
    Description& how = *static_cast<Description*>(description);
    switch (attribute) {
        case TRANSA: return put(how.transa, value, size);
        case TRANSB: return put(how.transb, value, size);
        case EPILOGUE: return put(how.epilogue, value, size);
        case BIAS: return put(how.bias, value, size);
        case BIAS_TYPE: return put(how.bias_type, value, size);
        case AUX: return put(how.aux, value, size);
        case AUX_LEADING: return put(how.aux_leading, value, size);
        case AUX_TYPE: return put(how.aux_type, value, size);
    }
    return NOT_SUPPORTED;
}

int cublasLtMatrixLayoutCreate(void** found, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    *found = new Layout{uint32_t(type), rows, columns, ld, 1, 0};
    return OK;
}
int cublasLtMatrixLayoutDestroy(void* layout) { return delete static_cast<Layout*>(layout), OK; }
int cublasLtMatrixLayoutSetAttribute(void* handle, int attribute, const void* value, size_t size) {
    Layout& layout = *static_cast<Layout*>(handle);
    int32_t order = 0;
    switch (attribute) {
        case 0: return put(layout.type, value, size);
        case 1: return put(order, value, size) || order ? NOT_SUPPORTED : OK;  // columns only
        case 2: return put(layout.rows, value, size);
        case 3: return put(layout.columns, value, size);
        case 4: return put(layout.leading, value, size);
        case 5: return put(layout.batch, value, size);
        case 6: return put(layout.stride, value, size);
    }
    return NOT_SUPPORTED;
}

int cublasLtMatmulPreferenceCreate(void** found) { return *found = new Preference{0}, OK; }
int cublasLtMatmulPreferenceDestroy(void* p) { return delete static_cast<Preference*>(p), OK; }
int cublasLtMatmulPreferenceSetAttribute(void* p, int attribute, const void* value, size_t size) {
    return attribute == 1 ? put(static_cast<Preference*>(p)->workspace, value, size) : OK;
}

int cublasLtMatmulAlgoGetHeuristic(void*, void* how, void* a, void* b, void* c, void* d,
                                   void* preference, int asked, Heuristic* found, int* count) {
    Product p{*(Description*)how, *(Layout*)a, *(Layout*)b, *(Layout*)c, *(Layout*)d};
    *count = 0;
    if (!fits(p)) return NOT_SUPPORTED;
    // The second one needs a workspace, as many of the real ones do.
    for (uint64_t i = 0, most = ((Preference*)preference)->workspace; i < 2; i++)
        if (*count < asked && i * 1024 <= most)
            found[(*count)++] = {{{MARK, i}}, size_t(i * 1024), OK, 1.0f, {}};
    return OK;
}

int cublasLtMatmul(void*, void* how, const void* alpha, const void* A, void* a, const void* B,
                   void* b, const void* beta, const void* C, void* c, void* D, void* d,
                   const Algorithm* algorithm, void* workspace, size_t bytes, void* stream) {
    Product p{*(Description*)how, *(Layout*)a, *(Layout*)b, *(Layout*)c, *(Layout*)d};
    bool wide = p.how.scale == FLOAT64;
    p.alpha = wide ? *(const double*)alpha : *(const float*)alpha;
    p.beta = wide ? *(const double*)beta : *(const float*)beta;
    p.pa = A, p.pb = B, p.pc = C, p.pd = D;
    if (p.how.bias_type < 0) p.how.bias_type = p.d.type;
    if (p.how.aux_type < 0) p.how.aux_type = p.d.type;
    if (!fits(p) || (p.beta != 0 && !C)) return INVALID_VALUE;
    bool biased = p.how.epilogue & (ADD_BIAS | BIAS_GRADIENT_A | BIAS_GRADIENT_B);
    if ((biased && !p.how.bias) || (p.how.epilogue & 128 && !p.how.aux)) return INVALID_VALUE;
    if (algorithm) {
        if (algorithm->data[0] != MARK) return INVALID_VALUE;
        size_t needs = algorithm->data[1] * 1024;
        if (needs > bytes || (needs && !workspace)) return INVALID_VALUE;
    }
    return device_enqueue(stream, run, &p, sizeof p) ? EXECUTION_FAILED : OK;
}

}  // extern "C"
