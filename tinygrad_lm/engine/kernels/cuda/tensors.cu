// Many tensors in one launch: rules of optimisers, the sum of squares, scaling. A table of pointers
// comes by value with the arguments, so that nothing is uploaded; a block takes one chunk of one
// tensor, and which one is what it finds in the table. T is what parameters and gradients hold,
// CHUNK the elements of a chunk, BYTES the length of a table: arguments have 4096 in all.

// What a launch goes through: COLUMNS numbers of each tensor (pointers, or where its state
// begins), its size, and how many chunks there are up to its end.
template <int COLUMNS>
struct Table {
    static const int N = BYTES / (8 * COLUMNS + 12);
    long long column[COLUMNS][N];
    long long size[N];
    int end[N];
};

struct Place {
    int tensor;
    long long first, last;  // elements of the tensor
};

template <int COLUMNS>
__device__ inline Place place_of(const Table<COLUMNS>& t, int count) {
    int low = 0, high = count - 1, block = blockIdx.x;
    while (low < high) {
        int middle = (low + high) / 2;
        if (t.end[middle] <= block) low = middle + 1;
        else high = middle;
    }
    long long first = (long long)(block - (low ? t.end[low - 1] : 0)) * CHUNK;
    return {low, first, min(first + CHUNK, t.size[low])};
}

// N numbers as float32, where 16-byte accesses are allowed; or one, where N is 1.
template <int N, class X>
__device__ inline void load(float* to, const X* from) {
    if (N == 1) to[0] = get(from[0]);
    for (int j = 0; j < N / Pack<X>::N; j++) {
        Pack<X> pack = ((const Pack<X>*)from)[j];
        for (int k = 0; k < Pack<X>::N; k++) to[j * Pack<X>::N + k] = get(pack.v[k]);
    }
}

template <int N, class X>
__device__ inline void store(X* to, const float* from) {
    if (N == 1) put(to, from[0]);
    for (int j = 0; j < N / Pack<X>::N; j++) {
        Pack<X> pack;
        for (int k = 0; k < Pack<X>::N; k++) put(&pack.v[k], from[j * Pack<X>::N + k]);
        ((Pack<X>*)to)[j] = pack;
    }
}

// f.run<N>(i) for N elements at a time where `fits` says that all addresses are multiples of 16,
// then, or otherwise, one by one. A chunk begins at such an address if its tensor does.
template <class F>
__device__ inline void each(F& f, Place at, bool fits) {
    const int N = Pack<T>::N;
    long long first = at.first;
    if (fits) {
        long long whole = first + (at.last - first) / N * N;
        for (long long i = first + threadIdx.x * N; i < whole; i += blockDim.x * N)
            f.template run<N>(i);
        first = whole;
    }
    for (long long i = first + threadIdx.x; i < at.last; i += blockDim.x) f.template run<1>(i);
}

__device__ inline bool even(const void* at) { return (unsigned long long)at % 16 == 0; }

// ---------------------------------------------------------------- update rules

// What a rule keeps: all float32; null where it keeps none. `master` has the parameters in float32
// where T is shorter; where it no longer rounds to the parameter, that was written since and wins.
struct Kept {
    float *master, *a, *b, *c;

    __device__ Kept from(long long start) {
        return {master ? master + start : 0, a ? a + start : 0, b ? b + start : 0,
                c ? c + start : 0};
    }
};

__device__ inline float rounded(float x) {
    T narrow;
    put(&narrow, x);
    return get(narrow);
}

struct AdamRule { /* see optim/adam.py */
    float shrink, pull, sign, b1, c1, b2, c2, rate, eps;

    __device__ float step(float p, float g, float& m, float& v, float& most, bool has_most) {
        p *= shrink;
        g *= sign;
        if (pull) g += pull * p;  // 0 times infinity would be NaN
        m = b1 * m + c1 * g;
        v = b2 * v + c2 * g * g;
        if (has_most) most = v > most || v != v ? v : most;
        return p + rate * (m / (sqrtf(has_most ? most : v) + eps));
    }
};

struct SgdRule { /* see optim/sgd.py */
    float pull, sign, momentum, damped, ahead, rate;  // ahead: Nesterov's momentum, or 0

    __device__ float step(float p, float g, float& b, float&, float&, bool) {
        g *= sign;
        if (pull) g += pull * p;
        if (momentum >= 0) {  // without a velocity it is negative
            b = momentum ? momentum * b + damped * g : damped * g;
            g = ahead ? g + ahead * b : b;
        }
        return p + rate * g;
    }
};

template <class Rule>
struct Step {
    Rule rule;
    T* p;
    const T* g;
    Kept kept;

    template <int N>
    __device__ void run(long long i) {
        float x[N], slope[N], full[N], a[N], b[N], c[N];
        load<N>(x, p + i);
        load<N>(slope, g + i);
        if (kept.master) load<N>(full, kept.master + i);
        if (kept.a) load<N>(a, kept.a + i);
        if (kept.b) load<N>(b, kept.b + i);
        if (kept.c) load<N>(c, kept.c + i);
        for (int k = 0; k < N; k++) {
            if (kept.master && rounded(full[k]) == x[k]) x[k] = full[k];
            x[k] = rule.step(x[k], slope[k], a[k], b[k], c[k], kept.c != 0);
        }
        store<N>(p + i, x);
        if (kept.master) store<N>(kept.master + i, x);
        if (kept.a) store<N>(kept.a + i, a);
        if (kept.b) store<N>(kept.b + i, b);
        if (kept.c) store<N>(kept.c + i, c);
    }
};

// columns: parameter, gradient, where its state begins. A step that is replayed reads its constants
// from `replayed`; one with a `skip` that is not zero changes nothing.
template <class Rule>
__device__ inline void step_all(const Table<3>& t, int count, Rule rule, const Rule* replayed,
                                const float* skip, Kept kept) {
    if (skip && *skip != 0) return;
    Place at = place_of(t, count);
    Step<Rule> step = {replayed ? *replayed : rule, (T*)t.column[0][at.tensor],
                       (const T*)t.column[1][at.tensor], kept.from(t.column[2][at.tensor])};
    each(step, at, even(step.p) && even(step.g) && t.column[2][at.tensor] % 4 == 0);
}

extern "C" __global__ void __launch_bounds__(256)
    adam(Table<3> t, long long count, AdamRule rule, const AdamRule* replayed, const float* skip,
         Kept kept) {
    step_all(t, count, rule, replayed, skip, kept);
}

extern "C" __global__ void __launch_bounds__(256)
    sgd(Table<3> t, long long count, SgdRule rule, const SgdRule* replayed, const float* skip,
        Kept kept) {
    step_all(t, count, rule, replayed, skip, kept);
}

struct Constants {
    float x[16];
};

extern "C" __global__ void keep_constants(Constants from, float* to) {
    to[threadIdx.x] = from.x[threadIdx.x];
}

// ---------------------------------------------------------------- norms and scaling of gradients

struct Squares {
    const T* g;
    float total;

    template <int N>
    __device__ void run(long long i) {
        float x[N];
        load<N>(x, g + i);
        for (int k = 0; k < N; k++) total += x[k] * x[k];
    }
};

// The sum over a block of `threads`, known to its first thread.
template <int THREADS, class X>
__device__ inline X block_sum(X x) {
    __shared__ X parts[THREADS];
    parts[threadIdx.x] = x;
    for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    }
    return parts[0];
}

extern "C" __global__ void __launch_bounds__(256)
    squares(Table<1> t, long long count, float* parts) {
    Place at = place_of(t, count);
    Squares sum = {(const T*)t.column[0][at.tensor], 0};
    each(sum, at, even(sum.g));
    float total = block_sum<256>(sum.total);
    if (threadIdx.x == 0) parts[blockIdx.x] = total;
}

extern "C" __global__ void __launch_bounds__(512)
    root_of_sum(const float* parts, long long count, float* to) {
    double total = 0;
    for (long long i = threadIdx.x; i < count; i += 512) total += parts[i];
    total = block_sum<512>(total);
    if (threadIdx.x == 0) *to = sqrt(total);
}

struct Scale {
    T* g;
    float factor;
    bool finite;

    template <int N>
    __device__ void run(long long i) {
        float x[N];
        load<N>(x, g + i);
        for (int k = 0; k < N; k++) {
            x[k] *= factor;
            finite = finite && isfinite(x[k]);
        }
        store<N>(g + i, x);
    }
};

// Gradients times longest / norm, if that is below 1; they are not read if it is not.
extern "C" __global__ void __launch_bounds__(256)
    clip(Table<1> t, long long count, const float* norm, double longest) {
    float factor = (float)longest / (*norm + 1e-6f);
    if (factor >= 1) return;
    Place at = place_of(t, count);
    Scale scale = {(T*)t.column[0][at.tensor], factor, true};
    each(scale, at, even(scale.g));
}

// Gradients times a factor; found becomes 1 where one of them is not finite.
extern "C" __global__ void __launch_bounds__(256)
    unscale(Table<1> t, long long count, double factor, float* found) {
    Place at = place_of(t, count);
    Scale scale = {(T*)t.column[0][at.tensor], (float)factor, true};
    each(scale, at, even(scale.g));
    if (!scale.finite) *found = 1;
}
