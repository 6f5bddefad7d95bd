/* The compiled kernels as a Python module: what the loops of the .h files do, on float32
   arrays that Python gives as buffers. Without a C compiler the NumPy kernels do the same.
   Sizes are checked here; the caller has checked everything else, and keeps others from writing. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "vector.h"
#include "pool.h"
#include "rows.h"
#include "maps.h"
#include "attention.h"
#include "gemm.h"
#include "few.h"
#include "mersenne.h"
#include "positions.h"
#include "channels.h"
#include "images.h"
#include "convolution.h"

#define MOST 12   /* arrays of one call */

typedef struct {
    Py_buffer views[MOST];
    int count, wrong;
} Arrays;

static void release(Arrays *a) {
    while (a->count) PyBuffer_Release(&a->views[--a->count]);
}

/* The memory of a contiguous array of `count` items of `size` bytes; NULL for an error. */
static void *memory(Arrays *a, PyObject *array, Py_ssize_t count, int size, int flags) {
    if (a->wrong || PyErr_Occurred()) return NULL;
    Py_buffer *view = &a->views[a->count];
    if (PyObject_GetBuffer(array, view, flags)) {
        a->wrong = 1;
        return NULL;
    }
    a->count++;
    if (view->len == count * size) return view->buf;
    PyErr_Format(PyExc_ValueError, "[kernel] an array must have %zd bytes, got %zd", count * size,
                 view->len);
    a->wrong = 1;
    return NULL;
}

/* None where that may be, as NULL. */
static void *optional(Arrays *a, PyObject *array, Py_ssize_t count, int size, int flags) {
    return array == Py_None ? NULL : memory(a, array, count, size, flags);
}

static const float *in(Arrays *a, PyObject *array, Py_ssize_t count) {
    return memory(a, array, count, 4, PyBUF_SIMPLE);
}
static float *out(Arrays *a, PyObject *array, Py_ssize_t count) {
    return memory(a, array, count, 4, PyBUF_WRITABLE);
}

/* An array of float32 of this shape, with steps that are whole numbers of elements. */
static Py_buffer *with_steps(Arrays *a, PyObject *array, int ndim, const long *shape, int flags) {
    if (a->wrong || PyErr_Occurred()) return NULL;
    Py_buffer *view = &a->views[a->count];
    if (PyObject_GetBuffer(array, view, PyBUF_STRIDES | flags)) {
        a->wrong = 1;
        return NULL;
    }
    a->count++;
    int good = view->ndim == ndim && view->itemsize == 4;
    for (int i = 0; good && i < ndim; i++)
        good = view->shape[i] == shape[i] && view->strides[i] % 4 == 0;
    if (good) return view;
    PyErr_SetString(PyExc_ValueError, "[kernel] shapes must fit together, and steps the elements");
    a->wrong = 1;
    return NULL;
}

/* (B, H, rows, n), n without gaps. */
static Heads heads(Arrays *a, PyObject *array, long B, long H, long rows, long n, int flags) {
    Py_buffer *view = with_steps(a, array, 4, (long[]){B, H, rows, n}, flags);
    if (!view) return (Heads){0};
    const Py_ssize_t *strides = view->strides;
    if (n > 1 && strides[3] != 4) PyErr_SetString(PyExc_ValueError, "[kernel] rows must be dense");
    return (Heads){view->buf, strides[0] / 4, strides[1] / 4, strides[2] / 4};
}

/* (rows, n) */
static Matrix matrix(Arrays *a, PyObject *array, long rows, long n, int flags) {
    Py_buffer *view = with_steps(a, array, 2, (long[]){rows, n}, flags);
    if (!view) return (Matrix){0};
    return (Matrix){view->buf, view->strides[0] / 4, view->strides[1] / 4};
}

/* Run without Python's lock. */
static void run(Work work, void *job, long rows, long grain, int threads) {
    Py_BEGIN_ALLOW_THREADS;
    parallel(work, job, rows, grain, threads);
    Py_END_ALLOW_THREADS;
}

/* Fewer numbers than this are done before a second thread has woken up. */
static int threads_for(long numbers, int threads) { return numbers < 1 << 17 ? 1 : threads; }

/* Of `rows` rows with n numbers each: how many make a range worth a thread's while. */
static long grain_of(long n) { return n >= 8192 ? 1 : 8192 / (n ? n : 1); }

static PyObject *end(Arrays *a) {
    release(a);
    if (a->wrong || PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

#define ARGUMENTS PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count
#define EXPECT(n)                                                                       \
    Arrays a = {.count = 0};                                                            \
    if (count != (n)) return PyErr_Format(PyExc_TypeError, "expected %d arguments", n); \
    int next = 0;
#define INT PyLong_AsLong(args[next++])
#define FLOAT ((float)PyFloat_AsDouble(args[next++]))
#define IN(n) in(&a, args[next++], n)
#define OUT(n) out(&a, args[next++], n)
#define MAYBE_IN(n) optional(&a, args[next++], n, 4, PyBUF_SIMPLE)
#define MAYBE_OUT(n) optional(&a, args[next++], n, 4, PyBUF_WRITABLE)
#define READY (!a.wrong && !PyErr_Occurred())

/* norm(rows, n, threads, x, weight, bias, out, mean, scale, eps) */
static PyObject *norm(ARGUMENTS) {
    EXPECT(10);
    long rows = INT, n = INT, threads = INT;
    Norm w = {.n = n};
    w.x = IN(rows * n), w.weight = MAYBE_IN(n), w.bias = MAYBE_IN(n), w.out = OUT(rows * n);
    w.mean = MAYBE_OUT(rows), w.scale = OUT(rows), w.eps = FLOAT;
    if (READY) run(norm_forward, &w, rows, grain_of(n), threads_for(4 * rows * n, threads));
    return end(&a);
}

/* norm_slopes(rows, n, threads, x, g, weight, mean, scale, dx, dweight, dbias) */
static PyObject *norm_slopes(ARGUMENTS) {
    EXPECT(11);
    long rows = INT, n = INT, threads = INT, ranges = (rows + ROWS - 1) / ROWS;
    Norm w = {.n = n};
    w.x = IN(rows * n), w.g = IN(rows * n), w.weight = MAYBE_IN(n);
    w.mean = MAYBE_IN(rows), w.scale = (float *)IN(rows), w.dx = OUT(rows * n);
    float *dweight = MAYBE_OUT(n), *dbias = MAYBE_OUT(n), *parts = NULL;
    if (READY && (dweight || dbias)) {
        parts = malloc(8 * ranges * n);
        if (!parts) PyErr_NoMemory();
        w.dweight = dweight ? parts : NULL;
        w.dbias = dbias ? parts + ranges * n : NULL;
    }
    if (READY) {
        run(norm_backward, &w, rows, ROWS, threads_for(4 * rows * n, threads));
        Rows sums = {.n = ranges, .columns = n};
        if ((sums.out = dweight)) sums.x = w.dweight, run(add_columns, &sums, n, COLUMNS, 1);
        if ((sums.out = dbias)) sums.x = w.dbias, run(add_columns, &sums, n, COLUMNS, 1);
    }
    free(parts);
    return end(&a);
}

/* map(name, n, threads, x, y or None, out, s, t, factor or None): a function of `maps.h` of n
   numbers; s is multiplied by the one number in `factor` */
static PyObject *map(ARGUMENTS) {
    EXPECT(9);
    const char *name = PyUnicode_AsUTF8(args[next++]);
    long n = INT, threads = INT;
    Map w = {.x = IN(n)};
    w.y = MAYBE_IN(n), w.out = OUT(n), w.s = FLOAT, w.t = FLOAT;
    const float *factor = MAYBE_IN(1);
    int i = 0;
    while (READY && MAPS[i].name && strcmp(MAPS[i].name, name)) i++;
    if (READY && !MAPS[i].name) PyErr_Format(PyExc_ValueError, "[map] there is no %s", name);
    if (!w.y) w.y = w.x;
    if (READY && factor) w.s *= *factor;
    if (READY) run(MAPS[i].work, &w, n, 8192, threads_for(4 * n, threads));
    return end(&a);
}

/* add_to_rows(rows, n, threads, x, s or None, y, scaled or None, minus, out): scaled = s y, or y as
   it is; out = x + scaled or x - scaled in each row */
static PyObject *add_to_rows_(ARGUMENTS) {
    EXPECT(9);
    long rows = INT, n = INT, threads = INT;
    Added w = {.n = n, .x = IN(rows * n)};
    const float *s = MAYBE_IN(1);
    w.y = IN(n), w.scaled = MAYBE_OUT(n), w.sign = INT ? -1 : 1, w.out = OUT(rows * n);
    if (READY && !s != !w.scaled) PyErr_SetString(PyExc_TypeError, "both arguments or none");
    if (READY && s) w.s = *s;
    if (READY) run(add_to_rows, &w, rows, grain_of(n), threads_for(4 * rows * n, threads));
    return end(&a);
}

/* tops(rows, n, threads, x, out, least): out (rows,) = the largest of each row, or the least */
static PyObject *tops(ARGUMENTS) {
    EXPECT(6);
    long rows = INT, n = INT, threads = INT;
    Rows w = {.n = n};
    w.x = IN(rows * n), w.out = OUT(rows), w.least = INT;
    if (READY) run(find_tops, &w, rows, grain_of(n), threads_for(rows * n, threads));
    return end(&a);
}

/* softmax(rows, n, threads, x, out, None, log), and with g: softmax(rows, n, threads, result, out,
   g, log); log: its logarithm */
static PyObject *softmax(ARGUMENTS) {
    EXPECT(7);
    long rows = INT, n = INT, threads = INT;
    Rows w = {.n = n};
    w.x = IN(rows * n), w.out = OUT(rows * n), w.g = MAYBE_IN(rows * n);
    w.log = INT;
    Work work = w.g ? softmax_backward : softmax_forward;
    if (READY) run(work, &w, rows, grain_of(n), threads_for(4 * rows * n, threads));
    return end(&a);
}

/* sum_rows(rows, n, threads, x, out): out (n,) = the sum of x's rows */
static PyObject *sum_rows(ARGUMENTS) {
    EXPECT(5);
    long rows = INT, n = INT, threads = INT;
    Rows w = {.n = rows, .columns = n};
    w.x = IN(rows * n), w.out = OUT(n);
    if (READY) run(add_columns, &w, n, COLUMNS, threads_for(4 * rows * n, threads));
    return end(&a);
}

/* channels(B, C, L, groups, threads, x, weight, bias, None, mean, scale, out, None, None, eps), or
   for backward channels(B, C, L, groups, threads, x, weight, None, g, mean, scale, dx, dweight,
   dbias, eps); groups of an image, or 0 for a channel in all images */
static PyObject *channels(ARGUMENTS) {
    EXPECT(15);
    long B = INT, C = INT, L = INT, groups = INT, threads = INT, units = groups ? B * groups : C;
    long grain = C >= 16384 ? 1 : 16384 / (C ? C : 1);
    grain = grain < B / 64 ? B / 64 : grain;
    Channels w = {.C = C, .L = L, .grain = L > 1 || groups ? 0 : grain};
    w.near = groups ? C / groups : 1, w.rows = groups ? C / groups : B, w.step = groups ? 1 : C;
    w.count = w.grain ? (B + grain - 1) / grain : B, w.numbers = (double)w.rows * L;
    w.x = IN(B * C * L), w.weight = IN(C), w.bias = MAYBE_IN(C), w.g = MAYBE_IN(B * C * L);
    w.mean = OUT(units), w.scale = OUT(units), w.out = OUT(B * C * L);
    w.dweight = MAYBE_OUT(C), w.dbias = MAYBE_OUT(C), w.eps = FLOAT;
    if (READY && (!w.g != !!w.bias || !w.g != !w.dweight || !w.g != !w.dbias))
        PyErr_SetString(PyExc_ValueError, "[kernel] g goes with dweight and dbias, not with bias");
    if (READY && !(w.parts = malloc(16 * w.count * C + 1))) PyErr_NoMemory();
    threads = threads_for(B * C * L, threads);
    if (READY && w.grain && !w.g) memcpy(w.mean, w.x, 4 * C);
    if (READY && !w.grain)
        run(w.g ? units_backward : units_forward, &w, units, grain_of(w.numbers), threads);
    for (int times = 0; READY && (!times || (w.far && times < 2)); times++) {
        if (w.grain) run(columns_add, &w, B, grain, threads);
        if (w.grain || w.g) run(add_parts, &w, C, grain_of(2 * w.count), threads);
    }
    if (READY && w.grain) run(columns_mix, &w, B, grain, threads);
    free(w.parts);
    return end(&a);
}

/* Whether all ids are in least ... n - 1, or the ignored one. */
static int ids_fit(const int64_t *ids, long rows, long least, long n, int64_t ignored) {
    int good = 1;
    for (long r = 0; r < rows; r++) good &= (ids[r] >= least && ids[r] < n) || ids[r] == ignored;
    return good;
}

/* ids_fit(n, ids, least, size, ignored): whether all are in least ... size - 1, or ignored */
static PyObject *ids_fit_(ARGUMENTS) {
    EXPECT(5);
    long n = INT;
    const int64_t *ids = memory(&a, args[next++], n, 8, PyBUF_SIMPLE);
    long least = INT, size = INT, ignored = INT;
    int good = READY && ids_fit(ids, n, least, size, ignored);
    PyObject *done = end(&a);
    return done ? (Py_DECREF(done), PyBool_FromLong(good)) : NULL;
}

/* cross_entropy(rows, n, threads, x, targets, ignored, mean, shift, value, count): value (1,) = the
   sum of the losses, or their mean; count (1,), in float64: what it was divided by. Without shift
   (None) x are log-probabilities. */
static PyObject *cross_entropy(ARGUMENTS) {
    EXPECT(10);
    long rows = INT, n = INT, threads = INT, counted = 0;
    CrossEntropy w = {.n = n};
    w.x = IN(rows * n), w.targets = memory(&a, args[next++], rows, 8, PyBUF_SIMPLE);
    w.ignored = INT;
    int mean = INT;
    w.shift = MAYBE_OUT(2 * rows);
    float *value = OUT(1);
    double *count_of = memory(&a, args[next++], 1, 8, PyBUF_WRITABLE), total = 0;
    if (READY && !ids_fit(w.targets, rows, 0, n, w.ignored))
        PyErr_SetString(PyExc_IndexError, "[cross_entropy] a target must be a class");
    if (READY && w.shift)
        run(cross_entropy_forward, &w, rows, grain_of(n), threads_for(4 * rows * n, threads));
    if (READY) {
        for (long r = 0; r < rows; r++)
            if (w.targets[r] != w.ignored) {
                const float *shift = w.shift ? w.shift + 2 * r : (float[]){0, 0};
                total += shift[1] + (shift[0] - w.x[r * n + w.targets[r]]);
                counted++;
            }
        *count_of = mean ? counted : 1;
        *value = total / *count_of;
    }
    return end(&a);
}

/* cross_entropy_slopes(rows, n, threads, x, targets, ignored, shift, g, count, dx); without shift
   (None) dx has zeros */
static PyObject *cross_entropy_slopes(ARGUMENTS) {
    EXPECT(10);
    long rows = INT, n = INT, threads = INT;
    CrossEntropy w = {.n = n};
    w.x = IN(rows * n);
    w.targets = memory(&a, args[next++], rows, 8, PyBUF_SIMPLE);
    w.ignored = INT, w.shift = (float *)MAYBE_IN(2 * rows);
    const float *g = IN(1);
    const double *count_of = memory(&a, args[next++], 1, 8, PyBUF_SIMPLE);
    w.dx = OUT(rows * n);
    if (READY && !ids_fit(w.targets, rows, 0, n, w.ignored))
        PyErr_SetString(PyExc_IndexError, "[cross_entropy] a target was overwritten since forward");
    if (READY) {
        w.factor = *count_of ? *g / *count_of : NAN;
        threads = threads_for(w.shift ? 4 * rows * n : rows, threads);
        run(cross_entropy_backward, &w, rows, grain_of(n), threads);
    }
    return end(&a);
}

/* masked(n, threads, fill, x, mask, number, out) */
static PyObject *masked(ARGUMENTS) {
    EXPECT(7);
    long n = INT, threads = INT, filled = INT;
    Masked w = {0};
    w.x = IN(n), w.mask = memory(&a, args[next++], n, 1, PyBUF_SIMPLE);
    w.number = FLOAT, w.out = OUT(n);
    if (READY) run(filled ? fill : dropout, &w, n, 16384, threads_for(n, threads));
    return end(&a);
}

/* adam(n, threads, p, g, m, v, most or None, shrink, pull, sign, b1, c1, b2, c2, rate, eps) */
static PyObject *adam_(ARGUMENTS) {
    EXPECT(16);
    long n = INT, threads = INT;
    Adam w = {0};
    w.p = OUT(n), w.g = IN(n), w.m = OUT(n), w.v = OUT(n), w.most = MAYBE_OUT(n);
    w.shrink = FLOAT, w.pull = FLOAT, w.sign = FLOAT, w.b1 = FLOAT, w.c1 = FLOAT, w.b2 = FLOAT;
    w.c2 = FLOAT, w.rate = FLOAT, w.eps = FLOAT;
    if (READY) run(adam, &w, n, 16384, threads);
    return end(&a);
}

/* squares(n, threads, x, y or None, out): out (1,), in float64 = the sum of (x - y)^2 */
static PyObject *squares(ARGUMENTS) {
    EXPECT(5);
    long n = INT, threads = INT, ranges = (n + SQUARES - 1) / SQUARES;
    Flat w = {.x = IN(n)};
    w.y = MAYBE_IN(n);
    double *total = memory(&a, args[next++], 1, 8, PyBUF_WRITABLE);
    if (READY && !(w.parts = malloc(8 * (ranges + 1)))) PyErr_NoMemory();
    if (READY) {
        run(add_squares, &w, n, SQUARES, threads_for(n, threads));
        *total = 0;
        for (long i = 0; i < ranges; i++) *total += w.parts[i];
    }
    free(w.parts);
    return end(&a);
}

/* attention(B, H, T, S, D, E, threads, scale, causal, share, keep, q, k, v, out, shift), and for
   backward also g, dq, dk, dv */
static PyObject *attention(ARGUMENTS) {
    int backward = count == 20;
    EXPECT(backward ? 20 : 16);
    long B = INT, H = INT, T = INT, S = INT, D = INT, E = INT, threads = INT;
    Attention w = {.H = H, .T = T, .S = S, .D = D, .E = E};
    w.scale = FLOAT;
    w.causal = INT, w.share = FLOAT;
    w.keep = optional(&a, args[next++], B * H * T * S, 1, PyBUF_SIMPLE);
    w.q = heads(&a, args[next++], B, H, T, D, 0), w.k = heads(&a, args[next++], B, H, S, D, 0);
    w.v = heads(&a, args[next++], B, H, S, E, 0);
    w.out = heads(&a, args[next++], B, H, T, E, backward ? 0 : PyBUF_WRITABLE);
    w.shift = OUT(B * H * T);
    if (backward) {
        w.g = heads(&a, args[next++], B, H, T, E, 0);
        w.dq = heads(&a, args[next++], B, H, T, D, PyBUF_WRITABLE);
        w.dk = heads(&a, args[next++], B, H, S, D, PyBUF_WRITABLE);
        w.dv = heads(&a, args[next++], B, H, S, E, PyBUF_WRITABLE);
    }
    if (READY) run(backward ? attention_backward : attention_forward, &w, B * H, 1, threads);
    if (w.failed) PyErr_NoMemory();
    return end(&a);
}

/* matmul(m, n, k, threads, a, b, bias, sums, c): c = a b + bias, and the sums of a's rows */
static PyObject *matmul(ARGUMENTS) {
    EXPECT(9);
    long m = INT, n = INT, k = INT, threads = INT;
    Product w = {.m = m, .n = n, .k = k};
    w.a = matrix(&a, args[next++], m, k, 0), w.b = matrix(&a, args[next++], k, n, 0);
    w.bias = MAYBE_IN(n), w.sums = MAYBE_OUT(m);
    w.c = matrix(&a, args[next++], m, n, PyBUF_WRITABLE);
    int done = 1;
    if (READY && (m < 1 || n < 1 || k < 1 || threads < 1 || (n > 1 && w.c.column != 1)))
        PyErr_SetString(PyExc_ValueError, "[kernel] no size may be 0, and c must have dense rows");
    if (m * n * k < 1 << 20) threads = 1;
    if (READY) {
        Py_BEGIN_ALLOW_THREADS;
        if (!w.sums && (m * n * k < SMALL || (m <= NARROW && n <= NARROW)))
            multiply_small(&w, threads);
        else
            done = multiply_matrices(&w, threads);
        Py_END_ALLOW_THREADS;
    }
    if (!done) PyErr_NoMemory();
    return end(&a);
}

/* few(rows, n, k, threads, x, half, w, bias, out): out = x w^T + bias; half: w is bfloat16 */
static PyObject *few(ARGUMENTS) {
    EXPECT(9);
    long rows = INT, n = INT, k = INT, threads = INT;
    FewRows f = {.rows = rows, .n = n, .k = k};
    f.x = IN(rows * k);
    f.half = INT;
    f.w = memory(&a, args[next++], n * k, f.half ? 2 : 4, PyBUF_SIMPLE);
    f.bias = MAYBE_IN(n), f.out = OUT(rows * n);
    if (READY) run(few_rows, &f, n, 32, threads_for(n * k, threads));
    return end(&a);
}

/* keep_below(n, bound, keep, key, position): the new position */
static PyObject *keep_below_(ARGUMENTS) {
    EXPECT(5);
    long n = INT;
    uint64_t bound = PyLong_AsUnsignedLongLong(args[next++]);
    uint8_t *keep = memory(&a, args[next++], n, 1, PyBUF_WRITABLE);
    uint32_t *key = memory(&a, args[next++], WORDS, 4, PyBUF_WRITABLE);
    long position = INT;
    if (READY && (position < 0 || position > WORDS))
        PyErr_SetString(PyExc_ValueError, "[bernoulli] the position must be in 0 ... 624");
    if (READY) {
        Py_BEGIN_ALLOW_THREADS;
        position = keep_below(keep, n, bound, key, position);
        Py_END_ALLOW_THREADS;
    }
    PyObject *done = end(&a);
    return done ? (Py_DECREF(done), PyLong_FromLong(position)) : NULL;
}

/* integers(n, width, low, bits, out): of each next word of a BitGenerator of NumPy's, which others
   keep from, the remainder by width, plus low */
static PyObject *integers(ARGUMENTS) {
    EXPECT(5);
    long n = INT, width = INT, low = INT;
    Bits *bits = PyCapsule_GetPointer(args[next++], "BitGenerator");
    int64_t *to = memory(&a, args[next++], n, 8, PyBUF_WRITABLE);
    if (READY && (width < 1 || width > UINT32_MAX))
        PyErr_SetString(PyExc_ValueError, "[randint] the width must be in 1 ... 2^32 - 1");
    if (READY) {
        Py_BEGIN_ALLOW_THREADS;
        for (long i = 0; i < n; i++) to[i] = bits->next(bits->state) % (uint32_t)width + low;
        Py_END_ALLOW_THREADS;
    }
    return end(&a);
}

/* Of lines with so many elements: how many make a range, at least a few that are neighbours. */
static long lines_of(long n) { return n >= 1024 ? 16 : 16384 / (n ? n : 1); }

/* sums_so_far(outer, n, inner, threads, back, x, out) */
static PyObject *sums_so_far_(ARGUMENTS) {
    EXPECT(7);
    long outer = INT, n = INT, inner = INT, threads = INT, back = INT;
    Lines w = {.n = n, .inner = inner};
    w.lines = (float *)IN(outer * n * inner), w.spots = OUT(outer * n * inner);
    threads = threads_for(4 * outer * n * inner, threads);
    if (READY) run(back ? sums_backward : sums_forward, &w, outer * inner, lines_of(n), threads);
    return end(&a);
}

/* The first id that is not there, in a sentence. */
static void say_which(const char *name, const int64_t *ids, long count, long least, long n) {
    for (; count && *ids >= least && *ids < n; count--) ids++;
    if (count)
        PyErr_Format(PyExc_IndexError, "[%s] index must be in %ld ... %ld, got %lld (out of range)",
                     name, least, n - 1, (long long)*ids);
}

/* at_ids(name, outer, n, m, inner, threads, how, wrap, shared, lines, spots, ids): lines (outer, n,
   inner), spots (outer, m, inner) and where these are in the lines; `how` is READ, ADD or WRITE */
static PyObject *at_ids_(ARGUMENTS) {
    EXPECT(12);
    const char *name = PyUnicode_AsUTF8(args[next++]);
    long outer = INT, n = INT, m = INT, inner = INT, threads = INT, how = INT;
    Lines w = {.n = n, .m = m, .inner = inner};
    w.wrap = INT ? n : 0;
    w.shared = INT;
    w.lines = how == READ ? (float *)IN(outer * n * inner) : OUT(outer * n * inner);
    w.spots = how == READ ? OUT(outer * m * inner) : (float *)IN(outer * m * inner);
    w.ids = memory(&a, args[next++], w.shared ? m : outer * m * inner, 8, PyBUF_SIMPLE);
    if (READY && n < 1) PyErr_SetString(PyExc_ValueError, "[kernel] a line must have elements");
    if (READY && w.shared) say_which(name, w.ids, m, -w.wrap, n);
    if (outer * m * inner < 1 << 15) threads = 1;
    Work work = how == READ ? read_at : how == ADD ? add_at : write_at;
    long lines = outer * inner, most = threads < 2 ? lines : (inner + threads - 1) / threads;
    if (READY && w.shared && inner > 1 && how == READ)
        run(read_slices, &w, outer * m, lines_of(inner), threads);
    else if (READY)
        run(work, &w, lines, lines_of(m) > most ? lines_of(m) : most, threads);
    if (w.failed) say_which(name, w.ids, outer * m * inner, -w.wrap, n);
    return end(&a);
}

/* pool(planes, n, n, n, m, m, m, threads, how, axes, x, out, ids or None): planes of n x n x n
   elements and m x m x m windows; axes (m + m + m, 4) and `how`: see `images.h` */
static PyObject *pool_(ARGUMENTS) {
    EXPECT(13);
    long planes = INT, m[3];
    Pool w = {.size = 1, .windows = 1};
    for (int i = 0; i < 3; i++) w.size *= w.n[i] = INT;
    for (int i = 0; i < 3; i++) w.windows *= m[i] = INT;
    int threads = INT, how = INT;
    const int64_t *row = memory(&a, args[next++], 4 * (m[0] + m[1] + m[2]), 8, PyBUF_SIMPLE);
    w.x = how == SPREAD ? OUT(planes * w.size) : (float *)IN(planes * w.size);
    w.out = how == SPREAD ? (float *)IN(planes * w.windows) : OUT(planes * w.windows);
    w.ids = how == LARGEST ? memory(&a, args[next++], planes * w.windows, 8, PyBUF_WRITABLE) : NULL;
    w.axes[0] = row;
    for (int i = 0; i < 3; w.axes[++i] = row)
        for (long j = 0; READY && j < m[i]; j++, row += 4)
            if (row[0] < 0 || row[0] >= row[1] || row[1] > w.n[i] || row[2] < 1)
                PyErr_SetString(PyExc_IndexError, "[kernel] windows must lie inside");
    Work work = how == LARGEST ? pool_largest : how == MEAN ? pool_mean : pool_spread;
    if (READY && w.size > INT32_MAX) PyErr_SetString(PyExc_ValueError, "[kernel] a large plane");
    if (READY) run(work, &w, planes, grain_of(w.size), threads_for(4 * planes * w.size, threads));
    if (w.failed) PyErr_NoMemory();
    return end(&a);
}

/* largest(outer, n, m, inner, threads, negative, x, order): order (outer, m, inner) = where the m
   largest are, or of -x; several, and of x only, in rows (inner = 1) */
static PyObject *largest_(ARGUMENTS) {
    EXPECT(8);
    long outer = INT, n = INT, m = INT, inner = INT, threads = INT, lines = outer * inner;
    Lines w = {.n = n, .m = m, .inner = inner};
    w.negative = INT, w.lines = (float *)IN(lines * n);
    w.order = memory(&a, args[next++], lines * m, 8, PyBUF_WRITABLE);
    if (READY && (m < 1 || m > n || m > (inner == 1 ? MOST_BEST : 1)))
        PyErr_SetString(PyExc_ValueError, "[kernel] no more than there are, nor than 64");
    Work work = inner == 1 ? find_best : find_largest;
    long grain = inner == 1 ? grain_of(n) : lines < 2 * COLUMNS ? (lines + 1) / 2 : COLUMNS;
    if (READY) run(work, &w, lines, grain, threads_for(4 * lines * n, threads));
    return end(&a);
}

/* convolution(images, groups, C, O, threads, back, sizes, x, weight, bias, y): y = weight times
   windows of x + bias, or with `back` weight = y times windows; sizes (6, 3): `convolution.h` */
static PyObject *convolution(ARGUMENTS) {
    EXPECT(11);
    Convolution w = {.taps = 1, .size = 1, .windows = 1};
    w.images = INT, w.groups = INT, w.C = INT, w.O = INT;
    int threads = INT, back = INT, good = w.images > 0 && w.groups > 0 && w.C > 0 && w.O > 0;
    const int64_t *sizes = memory(&a, args[next++], 18, 8, PyBUF_SIMPLE);
    if (sizes) memcpy(w.n, sizes, 18 * 8);
    for (int i = 0; i < 3; i++) {
        w.size *= w.n[i], w.windows *= w.m[i], w.taps *= w.k[i];
        good &= w.n[i] > 0 && w.m[i] > 0 && w.k[i] > 0 && w.step[i] > 0 && w.pad[i] >= 0;
        good &= w.apart[i] > 0 && (w.m[i] - 1) * w.step[i] + (w.k[i] - 1) * w.apart[i]
                                      < w.n[i] + 2 * w.pad[i];
    }
    long parts = w.images * w.groups, weights = w.groups * w.O * w.C * w.taps;
    w.x = IN(parts * w.C * w.size);
    w.weight = back ? OUT(weights) : (float *)IN(weights);
    w.bias = MAYBE_IN(w.groups * w.O);
    w.y = back ? (float *)IN(parts * w.O * w.windows) : OUT(parts * w.O * w.windows);
    if (READY && (!good || threads < 1))
        PyErr_SetString(PyExc_ValueError, "[kernel] windows must lie inside");
    if (parts * w.O * w.windows * w.C * w.taps < 1 << 19) threads = 1;
    if (READY && !(w.failed = !prepare_convolution(&w, !back))) {
        if (back) /* the sums of a piece stay in the second cache */
            w.block = least(10000 / (w.O * w.taps) + 1, pieces_of(w.C, 4));
        else
            w.block = round_up(pieces_of(w.O, pieces_of(2 * threads, parts)), TALL);
        long pieces = back ? w.groups * pieces_of(w.C, w.block) : parts * pieces_of(w.O, w.block);
        run(back ? convolve_slopes : convolve, &w, pieces, 1, threads);
    }
    free(w.places), free(w.panels), free(w.vectors);
    if (w.failed) PyErr_NoMemory();
    return end(&a);
}

#define KERNEL(name, function) {name, (PyCFunction)(void *)function, METH_FASTCALL, NULL}
static PyMethodDef KERNELS[] = {
    KERNEL("norm", norm),
    KERNEL("norm_slopes", norm_slopes),
    KERNEL("map", map),
    KERNEL("add_to_rows", add_to_rows_),
    KERNEL("softmax", softmax),
    KERNEL("tops", tops),
    KERNEL("channels", channels),
    KERNEL("sum_rows", sum_rows),
    KERNEL("ids_fit", ids_fit_),
    KERNEL("cross_entropy", cross_entropy),
    KERNEL("cross_entropy_slopes", cross_entropy_slopes),
    KERNEL("masked", masked),
    KERNEL("adam", adam_),
    KERNEL("squares", squares),
    KERNEL("attention", attention),
    KERNEL("matmul", matmul),
    KERNEL("few", few),
    KERNEL("keep_below", keep_below_),
    KERNEL("integers", integers),
    KERNEL("sums_so_far", sums_so_far_),
    KERNEL("at_ids", at_ids_),
    KERNEL("pool", pool_),
    KERNEL("convolution", convolution),
    KERNEL("largest", largest_),
    {0},
};

/* Compiled once for each set of instructions (see setup.py), under a name of its own. */
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define START_(form) PyInit__fast_##form
#define START(form) START_(form)
static PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_fast_" TEXT(FORM), NULL, -1, KERNELS};

PyMODINIT_FUNC START(FORM)(void) {
    pthread_atfork(NULL, NULL, forget_workers);
    if (pthread_key_create(&scratch_key, free)) return PyErr_NoMemory();
    PyObject *module = PyModule_Create(&MODULE);
    if (module) PyModule_AddStringConstant(module, "VERSION", VERSION);
    if (module) PyModule_AddStringConstant(module, "ISA", TEXT(FORM));
    if (module) PyModule_AddIntConstant(module, "LANES", LANES);
#if defined(Py_GIL_DISABLED)
    if (module) PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
#endif
    return module;
}
