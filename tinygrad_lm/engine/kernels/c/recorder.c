/* The hot path of the engine in C: an op called and recorded, `x += y`, the walk back. It does the
   common case, by CPython's lock and reference counts, and leaves the rest to the functions in
   `core/`, which are the definition; no op and no mathematics are known here. The door to this
   file is `recorder.py`. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#ifndef VERSION
#define VERSION "unknown" /* setup.py makes it of the sources */
#endif
#define MOST 32 /* inputs of one op */

/* ---------------------------------------------------------------- what Python hands over

   start(name=object, ...) takes exactly these. Of the first four, classes with __slots__, the
   places of the slots are looked up, so that they can be read without a look-up by name. */

#define TENSOR_SLOTS(X) \
    X(Tensor, array) X(Tensor, node) X(Tensor, hooks) X(Tensor, _grad) X(Tensor, base) \
    X(Tensor, version) X(Tensor, seen) X(Tensor, needs_grad)
#define OP_SLOTS(X) \
    X(Op, name) X(Op, function) X(Op, cast) X(Op, kernels) X(Op, arity) X(Op, view) \
    X(Op, fused) X(Op, ours)
#define NODE_SLOTS(X) \
    X(Node, name) X(Node, shape) X(Node, dtype) X(Node, parents) X(Node, pullbacks) \
    X(Node, create_graph) X(Node, birth) X(Node, hooks)
#define WRITES_SLOTS(X) X(Writes, last) X(Writes, of)
#define SLOTS(X) TENSOR_SLOTS(X) OP_SLOTS(X) NODE_SLOTS(X) WRITES_SLOTS(X)
#define GIVEN(X) \
    X(Tensor) X(Op) X(Node) X(Writes) X(Sparse) X(ndarray) X(LIBRARIES) X(FLOATING) X(WARNINGS) \
    X(IGNORE) X(mode) X(switches) X(clock) X(writes) X(mark_written) X(as_array) \
    X(keep_wanted) X(fail) X(fit) X(hooked) X(check_unwritten) X(spent) X(accumulate)
/* Names of attributes and keywords. */
#define NAMES(X) \
    X(__dict__) X(autocast) X(recording) X(create_graph) X(quiet) X(kernels_on) X(other) X(call) \
    X(compose) X(look_into) X(dtype) X(shape) X(base) X(copy) X(add_to) X(total_of) X(several_gpus)

#define DECLARE_GIVEN(name) static PyObject *the_##name;
#define DECLARE_SLOT(class, name) static Py_ssize_t class##_##name;
#define DECLARE_NAME(name) static PyObject *s_##name;
GIVEN(DECLARE_GIVEN) SLOTS(DECLARE_SLOT) NAMES(DECLARE_NAME)

#define AT(object, place) (*(PyObject **)((char *)(object) + (place)))
#define TENSOR(x, slot) AT(x, Tensor_##slot)
#define OP(x, slot) AT(x, Op_##slot)
#define NODE(x, slot) AT(x, Node_##slot)
#define WRITES(slot) AT(the_writes, Writes_##slot)

#define ABSENT(x) (!(x) || (x) == Py_None)
#define IS_TENSOR(x) PyObject_TypeCheck(x, (PyTypeObject *)the_Tensor)
#define IS_SPARSE(x) PyObject_TypeCheck(x, (PyTypeObject *)the_Sparse)
#define IS_ARRAY(x) ((PyObject *)Py_TYPE(x) == the_ndarray)
#define IS_NODE(x) ((PyObject *)Py_TYPE(x) == the_Node)
#define IS_ON(table, name) (PyDict_GetItemWithError(table, name) == Py_True)
#define SEVERAL_GPUS IS_ON(((PyTypeObject *)the_switches)->tp_dict, s_several_gpus)
#define NUMBER(x) PyLong_AsLongLong(x)
#define CALL(function, ...) PyObject_CallFunctionObjArgs(function, __VA_ARGS__, NULL)
#define CALL_METHOD(object, ...) PyObject_CallMethodObjArgs(object, __VA_ARGS__, NULL)

static int done(PyObject *found) { /* with what a call returned; -1 if it was an error */
    Py_XDECREF(found);
    return found ? 0 : -1;
}

static void put(PyObject **slot, PyObject *value) { /* into a new object: nothing was there */
    *slot = Py_NewRef(value);
}

/* A Tensor around an array, as `tensor.wrap` makes it. */
static PyObject *wrap(PyObject *array) {
    static PyObject *zero;
    if (!zero && !(zero = PyLong_FromLong(0))) return NULL;
    PyObject *made = ((PyTypeObject *)the_Tensor)->tp_alloc((PyTypeObject *)the_Tensor, 0);
    if (!made) return NULL;
    put(&TENSOR(made, array), array);
    put(&TENSOR(made, node), Py_None);
    put(&TENSOR(made, hooks), Py_None);
    put(&TENSOR(made, _grad), Py_None);
    put(&TENSOR(made, base), Py_None);
    put(&TENSOR(made, version), zero);
    put(&TENSOR(made, seen), zero);
    put(&TENSOR(made, needs_grad), Py_False);
    return made;
}

/* Whether a view has missed a recorded write to its base, or lost a slot: Python sees to both. */
static int is_stale(PyObject *x) {
    PyObject *base = TENSOR(x, base), *seen = TENSOR(x, seen);
    if (base == Py_None) return 0;
    PyObject *version = base && IS_TENSOR(base) ? TENSOR(base, version) : NULL;
    return !seen || !version || NUMBER(seen) != NUMBER(version);
}

/* What is in an array's `dtype`, which the array keeps alive. */
static PyObject *dtype_of(PyObject *array) {
    PyObject *dtype = PyObject_GetAttr(array, s_dtype);
    Py_XDECREF(dtype);
    return dtype;
}

/* ---------------------------------------------------------------- calling an op */

/* op.name(*inputs, **settings), a method in Python. */
static PyObject *leave(PyObject *op, PyObject *name, PyObject *const *inputs, Py_ssize_t n,
                       PyObject *settings) {
    PyObject *method = PyObject_GetAttr(op, name);
    PyObject *found = method ? PyObject_VectorcallDict(method, inputs, n, settings) : NULL;
    Py_XDECREF(method);
    return found;
}

/* The result of the first of these functions that takes the inputs, without floating-point
   warnings: as in Python, our own in a context that is quiet, a user's in the caller's. */
static PyObject *quietly(PyObject *now, int ours, PyObject *const *functions, Py_ssize_t count,
                         PyObject *const *inputs, Py_ssize_t n, PyObject *settings) {
    PyObject *value = NULL, *before = NULL, *found = Py_NewRef(Py_NotImplemented);
    PyObject *context = PyDict_GetItemWithError(now, s_quiet);
    int failed = PyContextVar_Get(the_WARNINGS, Py_None, &value), loud = value != the_IGNORE;
    Py_XDECREF(value);
    if (!failed && loud && ours && (!context || PyContext_Enter(context))) /* see `can_enter` */
        ours = 0, PyErr_Clear();
    if (!failed && loud && !ours) failed = !(before = PyContextVar_Set(the_WARNINGS, the_IGNORE));
    if (failed) return Py_DECREF(found), NULL;
    for (Py_ssize_t i = 0; i < count && found == Py_NotImplemented; i++)
        Py_SETREF(found, PyObject_VectorcallDict(functions[i], inputs, n, settings));
    if (!loud) return found;
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    if (ours ? PyContext_Exit(context) : PyContextVar_Reset(the_WARNINGS, before))
        Py_CLEAR(found);
    if (kind) PyErr_Restore(kind, error, trace);
    Py_XDECREF(before);
    return found;
}

/* The error that an op raised, explained by Python where it is about the inputs. */
static PyObject *explained(PyObject *op, PyObject *const *arrays, Py_ssize_t n,
                           PyObject *settings) {
    if (!PyErr_ExceptionMatches(PyExc_ValueError) && !PyErr_ExceptionMatches(PyExc_TypeError) &&
        !PyErr_ExceptionMatches(PyExc_IndexError) && !PyErr_ExceptionMatches(PyExc_MemoryError))
        return NULL;
    PyObject *kind, *error, *trace, *all = PyTuple_New(n);
    PyErr_Fetch(&kind, &error, &trace);
    PyErr_NormalizeException(&kind, &error, &trace);
    if (trace) PyException_SetTraceback(error, trace);
    for (Py_ssize_t i = 0; all && i < n; i++) PyTuple_SET_ITEM(all, i, Py_NewRef(arrays[i]));
    if (all) done(CALL(the_fail, OP(op, name), error, all, settings ? settings : Py_None));
    Py_DECREF(kind);
    Py_DECREF(error);
    Py_XDECREF(trace);
    Py_XDECREF(all);
    return NULL;
}

/* The pullbacks to keep: of several, those of inputs that want a gradient. */
static PyObject *kept(PyObject *op, PyObject *found, PyObject *parents) {
    Py_ssize_t n = PyTuple_GET_SIZE(parents);
    if (PyFunction_Check(found)) return Py_NewRef(found);
    if (!PyTuple_CheckExact(found) || PyTuple_GET_SIZE(found) != n) /* `joint`, or an error */
        return CALL(the_keep_wanted, OP(op, name), found, parents);
    PyObject *some = PyTuple_New(n);
    for (Py_ssize_t i = 0; some && i < n; i++) {
        int wanted = PyTuple_GET_ITEM(parents, i) != Py_None;
        PyTuple_SET_ITEM(some, i, Py_NewRef(wanted ? PyTuple_GET_ITEM(found, i) : Py_None));
    }
    return some;
}

static PyObject *new_node(PyObject *op, PyObject *out, PyObject *found, PyObject *const *parents,
                          Py_ssize_t n) {
    PyObject *all = PyTuple_New(n);
    for (Py_ssize_t i = 0; all && i < n; i++) PyTuple_SET_ITEM(all, i, Py_NewRef(parents[i]));
    PyObject *pullbacks = all ? kept(op, found, all) : NULL;
    PyObject *node =
        pullbacks ? ((PyTypeObject *)the_Node)->tp_alloc((PyTypeObject *)the_Node, 0) : NULL;
    if (!node) return Py_XDECREF(all), Py_XDECREF(pullbacks), NULL;
    NODE(node, parents) = all;
    NODE(node, pullbacks) = pullbacks;
    put(&NODE(node, name), OP(op, name));
    put(&NODE(node, create_graph), Py_False);
    put(&NODE(node, hooks), Py_None);
    NODE(node, shape) = PyObject_GetAttr(out, s_shape);
    NODE(node, dtype) = NODE(node, shape) ? PyObject_GetAttr(out, s_dtype) : NULL;
    NODE(node, birth) = NODE(node, dtype) ? PyIter_Next(the_clock) : NULL;
    if (!NODE(node, birth)) Py_CLEAR(node);
    return node;
}

/* A view remembers the tensor that it looks into: the usual cases of `look_into`. */
static int look_into(PyObject *result, PyObject *first) {
    PyObject *array = TENSOR(first, array), *version = TENSOR(first, version);
    PyObject *base = PyObject_GetAttr(TENSOR(result, array), s_base);
    PyObject *its = array ? PyObject_GetAttr(array, s_base) : Py_NewRef(Py_None);
    int failed = !base || !its;
    if (!failed && array && version && TENSOR(first, base) == Py_None &&
        (base == array || (base == its && IS_ARRAY(base)))) {
        Py_XSETREF(TENSOR(result, base), Py_NewRef(first));
        Py_XSETREF(TENSOR(result, seen), Py_NewRef(version));
    } else if (!failed && base != Py_None)
        failed = done(CALL_METHOD(result, s_look_into, first));
    Py_XDECREF(base);
    Py_XDECREF(its);
    return failed;
}

/* The Tensor of (value, pullbacks). */
static PyObject *result_of(PyObject *op, PyObject *found, PyObject *first, PyObject *const *parents,
                           Py_ssize_t n, Py_ssize_t wanted) {
    if (!PyTuple_CheckExact(found) || PyTuple_GET_SIZE(found) != 2)
        return PyErr_Format(PyExc_TypeError, "[%U] must return (value, pullbacks), got %.60R",
                            OP(op, name), found);
    PyObject *out = PyTuple_GET_ITEM(found, 0), *pullbacks = PyTuple_GET_ITEM(found, 1);
    out = IS_ARRAY(out) ? Py_NewRef(out) : PyObject_CallOneArg(the_as_array, out);
    PyObject *result = out ? wrap(out) : NULL;
    if (result && wanted && pullbacks != Py_None) {
        Py_SETREF(TENSOR(result, node), new_node(op, out, pullbacks, parents, n));
        Py_SETREF(TENSOR(result, needs_grad), Py_NewRef(Py_True));
        if (!TENSOR(result, node)) Py_CLEAR(result);
    }
    Py_XDECREF(out);
    if (result && OP(op, view) == Py_True && IS_TENSOR(first) && look_into(result, first))
        Py_CLEAR(result);
    return result;
}

/* op(*given, **settings). Nothing has run where it is left to `call` in Python. */
static PyObject *call(PyObject *op, PyObject *const *given, Py_ssize_t n, PyObject *settings) {
    PyObject *inputs[MOST], *arrays[MOST], *parents[MOST], *ways[MOST], *kind = NULL;
    PyObject *found = NULL, *result = NULL, *faster = NULL;
    PyTypeObject *home = NULL;
    PyObject *now = PyObject_GetAttr(the_mode, s___dict__);
    Py_ssize_t count = 0, wanted = 0, mixed = 0, tries = 0, arity = NUMBER(OP(op, arity));
    if (!now) return NULL;
    int recording = IS_ON(now, s_recording), fused = OP(op, fused) == Py_True;
    int create_graph = PyDict_GetItemWithError(now, s_create_graph) != Py_None;
    if (!OP(op, name) || !OP(op, function) || !OP(op, kernels) || !PyDict_Check(OP(op, kernels)) ||
        arity < 0 || arity > MOST || PyDict_GetItemWithError(now, s_autocast) != Py_None ||
        n < 1 || n > MOST || (settings && PyDict_Contains(settings, s_other)))
        goto unusual;
    memcpy(inputs, given, n * sizeof(*given));
    Py_ssize_t all = n, casts = !ABSENT(OP(op, cast));
    if (PyDict_GET_SIZE(OP(op, kernels)) || fused) {
        PyObject *first = IS_TENSOR(given[0]) ? TENSOR(given[0], array) : NULL;
        PyObject *on = PyObject_GetAttr(the_switches, s_kernels_on);
        Py_XDECREF(on);
        if (!first || create_graph || on != Py_True) goto unusual;
        faster = PyDict_GetItemWithError(OP(op, kernels), (PyObject *)Py_TYPE(first));
        Py_ssize_t more = !faster ? 0 : PyList_Check(faster) ? PyList_GET_SIZE(faster) : MOST;
        if (more >= MOST || (fused && !more)) goto unusual;
        for (; tries < more; tries++) ways[tries] = Py_NewRef(PyList_GET_ITEM(faster, tries));
    }
    if (!fused) ways[tries++] = Py_NewRef(OP(op, function));
    for (; fused && all < arity; all++) inputs[all] = Py_None;
    for (; count < all; count++) {
        PyObject *x = inputs[count], *parent = Py_None;
        if (IS_TENSOR(x)) {
            PyObject *array = TENSOR(x, array);
            if (!array || is_stale(x) || (!IS_ARRAY(array) && SEVERAL_GPUS)) goto unusual;
            if (recording && TENSOR(x, needs_grad) == Py_True) {
                parent = ABSENT(TENSOR(x, node)) ? x : TENSOR(x, node);
                wanted++;
            }
            PyObject *dtype = casts ? dtype_of(array) : NULL;
            if (casts && !dtype) goto unusual;
            mixed |= kind && (kind != dtype || Py_TYPE(array) != home);
            home = Py_TYPE(array), kind = dtype;
            x = array;
        } else if (x != Py_None && !PyFloat_CheckExact(x) && !PyLong_CheckExact(x))
            goto unusual;
        arrays[count] = Py_NewRef(x);
        parents[count] = Py_NewRef(parent);
    }
    if (casts && (!kind || mixed || PySequence_Contains(the_FLOATING, kind) != 1)) goto unusual;
    if (wanted && create_graph) goto unusual;
    found = quietly(now, OP(op, ours) == Py_True, ways, tries, arrays, count, settings);
    result = !found                      ? explained(op, arrays, count, settings)
             : found == Py_NotImplemented ? leave(op, s_compose, inputs, count, settings)
                                          : result_of(op, found, given[0], parents, count, wanted);
    goto end;
unusual:
    PyErr_Clear();
    result = leave(op, s_call, given, n, settings);
end:
    while (count--) {
        Py_DECREF(arrays[count]);
        Py_DECREF(parents[count]);
    }
    while (tries--) Py_DECREF(ways[tries]);
    Py_XDECREF(found);
    Py_DECREF(now);
    return result;
}

static PyObject *call_op(PyObject *op, PyObject *inputs, PyObject *settings) {
    return call(op, &PyTuple_GET_ITEM(inputs, 0), PyTuple_GET_SIZE(inputs), settings);
}

/* An op, or an operator below, in a class is a method. */
static PyObject *bind(PyObject *self, PyObject *instance, PyObject *owner) {
    return (void)owner, ABSENT(instance) ? Py_NewRef(self) : PyMethod_New(self, instance);
}

/* ---------------------------------------------------------------- operators and writes */

/* mark_written(array), where the array was written before. */
static int mark(PyObject *array) {
    PyObject *base = PyObject_GetAttr(array, s_base), *key = PyLong_FromVoidPtr(array);
    PyObject *entry = base == Py_None && key ? PyDict_GetItemWithError(WRITES(of), key) : NULL;
    PyObject *time = entry ? PyIter_Next(the_clock) : NULL;
    int failed = !time || PyList_SetItem(entry, 1, Py_NewRef(time)) ||
                 PyList_SetItem(entry, 2, PyLong_FromUnsignedLong(PyThread_get_thread_ident()));
    if (!failed) Py_XSETREF(WRITES(last), Py_NewRef(time));
    Py_XDECREF(base);
    Py_XDECREF(key);
    Py_XDECREF(time);
    return !failed ? 0 : PyErr_Occurred() ? -1 : done(CALL(the_mark_written, array));
}

typedef struct {
    PyObject_HEAD
    PyObject *does, *slow; /* an op, a function or a ufunc; the same as a method in Python */
    int reflected;
    vectorcallfunc call;
} Operator;

/* x = ufunc(x, y) in the memory of x; 0 where history, views or casts take part, -1: an error. */
static int write_to(PyObject *x, PyObject *ufunc, PyObject *y) {
    PyObject *now = PyObject_GetAttr(the_mode, s___dict__), *given[3] = {x, y, x};
    int recording = now && IS_ON(now, s_recording), plain = now != NULL;
    for (int i = 0; plain && i < 3; i++) {
        PyObject *t = given[i], *array = IS_TENSOR(t) ? TENSOR(t, array) : NULL;
        if (!IS_TENSOR(t)) continue; /* a number */
        int history = TENSOR(t, base) != Py_None || (recording && TENSOR(t, needs_grad) == Py_True);
        plain = array && IS_ARRAY(array) && !history;
        given[i] = array;
    }
    plain = plain && PySequence_Contains(the_FLOATING, dtype_of(given[0])) == 1;
    if (plain) {
        Py_INCREF(given[0]);
        Py_INCREF(given[1]);
        PyObject *found = quietly(now, 1, &ufunc, 1, given, 3, NULL);
        plain = found && !mark(given[0]);
        if (!found && PyErr_ExceptionMatches(PyExc_ValueError)) PyErr_Clear(); /* nothing written */
        Py_XDECREF(found);
        Py_DECREF(given[0]);
        Py_DECREF(given[1]);
    }
    Py_XDECREF(now);
    return plain ? 1 : PyErr_Occurred() ? -1 : 0;
}

/* x + y or x += y as a method of Tensor, for y that is a Tensor, float or int. */
static PyObject *operate(PyObject *self, PyObject *const *args, size_t flags, PyObject *names) {
    Operator *o = (Operator *)self;
    int two = PyVectorcall_NARGS(flags) == 2 && !names;
    PyObject *x = two ? args[0] : NULL, *y = two ? args[1] : NULL;
    if (two && IS_TENSOR(x) && (IS_TENSOR(y) || PyFloat_CheckExact(y) || PyLong_CheckExact(y))) {
        PyObject *pair[2] = {o->reflected ? y : x, o->reflected ? x : y};
        if ((PyObject *)Py_TYPE(o->does) == the_Op) return call(o->does, pair, 2, NULL);
        if (PyFunction_Check(o->does)) return PyObject_Vectorcall(o->does, pair, 2, NULL);
        int written = write_to(x, o->does, y);
        if (written) return written < 0 ? NULL : Py_NewRef(x);
    }
    return PyObject_Vectorcall(o->slow, args, flags, names);
}

static PyTypeObject OperatorType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tinygrad_lm.engine.kernels.c._recorder.Operator",
    .tp_basicsize = sizeof(Operator), .tp_call = PyVectorcall_Call, .tp_descr_get = bind,
    .tp_vectorcall_offset = offsetof(Operator, call),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR};

static int is_started(void) {
    if (!the_Tensor) PyErr_SetString(PyExc_RuntimeError, "[recorder] start() must come first");
    return the_Tensor != NULL;
}

/* operator(op or ufunc, slow, reflected): kept for good, as is the class that has it. */
static PyObject *operator(PyObject *module, PyObject *args) {
    PyObject *does, *slow;
    int reflected;
    if (!is_started() || !PyArg_ParseTuple(args, "OOp", &does, &slow, &reflected)) return NULL;
    Operator *made = PyObject_New(Operator, &OperatorType);
    if (!made) return NULL;
    made->does = Py_NewRef(does);
    made->slow = Py_NewRef(slow);
    made->reflected = reflected;
    made->call = operate;
    return (void)module, (PyObject *)made;
}

/* ---------------------------------------------------------------- the walk back */

/* Whether g has the shape and dtype of what it is added to; -1 for an error. */
static int fits(PyObject *g, PyObject *like) {
    int sparse = IS_SPARSE(g), same = PyDict_Contains(the_LIBRARIES, (PyObject *)Py_TYPE(g));
    if (!sparse && same <= 0) return same;
    PyObject *shape = PyObject_GetAttr(g, s_shape), *its = PyObject_GetAttr(like, s_shape);
    same = shape && its ? PyObject_RichCompareBool(shape, its, Py_EQ) : -1;
    Py_XDECREF(shape);
    Py_XDECREF(its);
    return same > 0 && !sparse ? dtype_of(g) == dtype_of(like) : same;
}

static int is_library_array(PyObject *x) {
    return PyDict_Contains(the_LIBRARIES, (PyObject *)Py_TYPE(x)) == 1;
}

/* Whether an array may be written: `holders` are all that hold it, and it looks into no other. */
static int is_ours(PyObject *array, Py_ssize_t holders) {
    PyObject *base = Py_REFCNT(array) == holders ? PyObject_GetAttr(array, s_base) : NULL;
    int ours = base == Py_None;
    if (!base) PyErr_Clear();
    Py_XDECREF(base);
    return ours;
}

/* The array that a list of sparse gradients adds up to; takes the reference. */
static PyObject *whole(PyObject *sum) {
    if (!sum || !PyList_CheckExact(sum)) return sum;
    PyObject *found = CALL_METHOD(PyList_GET_ITEM(sum, 0), s_total_of, sum);
    Py_DECREF(sum);
    return found;
}

/* sums[target] += g, which is sparse or fits: `Sum.add` of what has something already. */
static int add(PyObject *sums, PyObject *target, PyObject *g) {
    PyObject *sum = PyDict_GetItemWithError(sums, target);
    int sparse = IS_SPARSE(g), failed = -1;
    if (PyList_CheckExact(sum)) {
        if (sparse) return PyList_Append(sum, g);
        PyObject *total = whole(Py_NewRef(sum));
        failed = total ? PyDict_SetItem(sums, target, total) : -1;
        Py_XDECREF(total);
        return failed ? -1 : add(sums, target, g);
    }
    if (sparse && !is_library_array(sum)) { /* a Tensor is never changed in place */
        PyObject *total = whole(Py_BuildValue("[O]", g));
        failed = total ? add(sums, target, total) : -1;
        Py_XDECREF(total);
        return failed;
    }
    int arrays = is_library_array(sum) && (sparse || is_library_array(g)), ours = arrays;
    ours = ours && is_ours(sum, 1);
    if (ours && !sparse) return done(PyNumber_InPlaceAdd(sum, g));
    if (ours) return done(CALL_METHOD(g, s_add_to, sum));
    PyObject *next = sparse ? CALL_METHOD(sum, s_copy, NULL) : PyNumber_Add(sum, g);
    if (next && sparse && done(CALL_METHOD(g, s_add_to, next))) Py_CLEAR(next);
    if (next && arrays && !is_library_array(next)) Py_SETREF(next, CALL(the_as_array, next));
    failed = next ? PyDict_SetItem(sums, target, next) : -1;
    Py_XDECREF(next);
    return failed;
}

/* Whether a node still has what it was made with; code in Python may take it away. */
static int intact(PyObject *node) {
    PyObject *parents = NODE(node, parents);
    if (parents && PyTuple_Check(parents) && NODE(node, pullbacks) && NODE(node, birth) &&
        NODE(node, shape) && NODE(node, dtype) && NODE(node, create_graph))
        return 1;
    PyErr_SetString(PyExc_AttributeError, "[backward] a node must keep its parents and pullbacks");
    return 0;
}

/* One contribution to a node or a leaf; nodes are in a list too, the newest last. */
static int deliver(PyObject *sums, PyObject *nodes, PyObject *target, PyObject *g) {
    if (target == Py_None || g == Py_None) return 0;
    if (!IS_NODE(target) && !IS_TENSOR(target)) return PyErr_BadArgument(), -1;
    PyObject *like = IS_NODE(target) ? target : TENSOR(target, array);
    if (IS_NODE(target) && !intact(target)) return -1;
    if (!like) return PyErr_BadArgument(), -1;
    int right = fits(g, like), failed = -1;
    if (right < 0) return -1;
    g = right ? Py_NewRef(g) : CALL(the_fit, g, like);
    int known = g ? PyDict_Contains(sums, target) : -1;
    if (known > 0) failed = add(sums, target, g);
    if (!known) {
        PyObject *sum = IS_SPARSE(g) ? Py_BuildValue("[O]", g) : Py_NewRef(g);
        failed = sum ? PyDict_SetItem(sums, target, sum) : -1;
        Py_XDECREF(sum);
        Py_ssize_t low = 0, high = like == target ? PyList_GET_SIZE(nodes) : 0, middle;
        while ((middle = (low + high) / 2) < high)
            if (NUMBER(NODE(PyList_GET_ITEM(nodes, middle), birth)) < NUMBER(NODE(target, birth)))
                low = middle + 1;
            else
                high = middle;
        if (!failed && like == target) failed = PyList_Insert(nodes, low, target);
    }
    Py_XDECREF(g);
    return failed;
}

/* The gradients of a node's parents, in a sequence; where a tuple of pullbacks is returned, they
   are still to be called one by one. */
static PyObject *pull(PyObject *node, PyObject *g) {
    PyObject *pullbacks = NODE(node, pullbacks);
    if (NUMBER(NODE(node, birth)) < NUMBER(WRITES(last)) &&
        done(CALL(the_check_unwritten, pullbacks, NODE(node, birth), node)))
        return NULL;
    if (PyTuple_CheckExact(pullbacks)) return Py_NewRef(pullbacks);
    Py_ssize_t n = PyTuple_GET_SIZE(NODE(node, parents));
    PyObject *found = PyObject_CallOneArg(pullbacks, g);
    if (found && !PyTuple_Check(found) && !PyList_Check(found))
        Py_SETREF(found, PyTuple_Pack(1, found));
    if (!found || PySequence_Size(found) == n) return found;
    PyErr_Format(PyExc_RuntimeError,
                 "[%S] a pullback must return one gradient per input: %zd inputs, %zd gradients",
                 NODE(node, name), n, PySequence_Size(found));
    Py_DECREF(found);
    return NULL;
}

/* found[target] = g where it is asked for. */
static int note(PyObject *found, PyObject *wanted, PyObject *target, PyObject *g) {
    int asked = wanted == Py_None ? 0 : PySequence_Contains(wanted, target);
    if (asked <= 0) return asked;
    PyObject *own = is_library_array(g) ? CALL_METHOD(g, s_copy, NULL) : Py_NewRef(g);
    int failed = own ? PyDict_SetItem(found, target, own) : -1;
    Py_XDECREF(own);
    return failed;
}

/* From the newest node to its parents. */
static int step(PyObject *sums, PyObject *nodes, int retain, PyObject *wanted, PyObject *found) {
    Py_ssize_t last = PyList_GET_SIZE(nodes) - 1;
    PyObject *node = Py_NewRef(PyList_GET_ITEM(nodes, last)), *parents, *grads = NULL;
    PyObject *g = Py_XNewRef(PyDict_GetItemWithError(sums, node));
    int failed = !g || PyList_SetSlice(nodes, last, last + 1, NULL) || PyDict_DelItem(sums, node);
    g = whole(g);
    if (g && !ABSENT(NODE(node, hooks))) Py_SETREF(g, CALL(the_hooked, node, g));
    failed = failed || !g || note(found, wanted, node, g) || !intact(node);
    if (!failed && IS_TENSOR(g) && NODE(node, create_graph) != Py_True)
        Py_SETREF(g, Py_XNewRef(TENSOR(g, array)));
    parents = failed ? NULL : Py_NewRef(NODE(node, parents)); /* a pullback may put in others */
    int each = !failed && PyTuple_CheckExact(NODE(node, pullbacks));
    if (!failed) grads = pull(node, g);
    for (Py_ssize_t i = 0; grads && !failed && i < PyTuple_GET_SIZE(parents); i++) {
        PyObject *one = PySequence_GetItem(grads, i);
        if (each && one && one != Py_None) Py_SETREF(one, PyObject_CallOneArg(one, g));
        failed = !one || deliver(sums, nodes, PyTuple_GET_ITEM(parents, i), one);
        Py_XDECREF(one);
    }
    if (grads && !failed && !retain) Py_XSETREF(NODE(node, pullbacks), Py_NewRef(the_spent));
    Py_DECREF(node);
    Py_XDECREF(parents);
    Py_XDECREF(g);
    return done(grads) || failed ? -1 : 0;
}

/* What the leaves got, after their hooks, into found: arrays that nobody else holds. */
static int gather(PyObject *sums, PyObject *wanted, PyObject *found) {
    PyObject *leaf, *g;
    for (Py_ssize_t at = 0; PyDict_Next(sums, &at, &leaf, &g);) {
        int asked = wanted == Py_None ? 1 : PySequence_Contains(wanted, leaf);
        if (asked < 0) return -1;
        if (!asked) continue;
        PyObject *own = Py_NewRef(g);
        int failed = PyDict_SetItem(sums, leaf, Py_None); /* `own` alone holds it now */
        own = whole(own);
        if (own && !ABSENT(TENSOR(leaf, hooks))) Py_SETREF(own, CALL(the_hooked, leaf, own));
        if (own && is_library_array(own) && !is_ours(own, 1))
            Py_SETREF(own, CALL_METHOD(own, s_copy, NULL));
        failed = failed || !own || PyDict_SetItem(found, leaf, own);
        Py_XDECREF(own);
        if (failed) return -1;
    }
    return 0;
}

/* walk(roots, retain_graph, wanted), as in `core/graph.py`. */
static PyObject *walk(PyObject *module, PyObject *args, PyObject *keywords) {
    static char *names[] = {"roots", "retain_graph", "wanted", NULL};
    PyObject *roots, *retain = Py_False, *wanted = Py_None, *target, *g;
    if (!is_started() ||
        !PyArg_ParseTupleAndKeywords(args, keywords, "O|OO", names, &roots, &retain, &wanted))
        return NULL;
    PyObject *sums = PyDict_New(), *nodes = PyList_New(0), *found = PyDict_New();
    PyObject *all = PySequence_Fast(roots, "[backward] roots must be pairs");
    int keep = PyObject_IsTrue(retain), failed = !sums || !nodes || !found || !all || keep < 0;
    for (Py_ssize_t i = 0; !failed && i < PySequence_Fast_GET_SIZE(all); i++)
        failed = !PyArg_ParseTuple(PySequence_Fast_GET_ITEM(all, i), "OO", &target, &g) ||
                 deliver(sums, nodes, target, g);
    while (!failed && PyList_GET_SIZE(nodes)) failed = step(sums, nodes, keep, wanted, found);
    if (!failed) failed = gather(sums, wanted, found);
    if (failed) Py_CLEAR(found);
    Py_XDECREF(sums);
    Py_XDECREF(nodes);
    Py_XDECREF(all);
    return (void)module, found;
}

/* ---------------------------------------------------------------- methods of Tensor, the start */

/* tensor.accumulate(g) where there was no gradient. */
static PyObject *accumulate(PyObject *tensor, PyObject *g) {
    if (!ABSENT(TENSOR(tensor, _grad)) || !IS_ARRAY(g)) return CALL(the_accumulate, tensor, g);
    PyObject *grad = wrap(g);
    if (!grad) return NULL;
    Py_XSETREF(TENSOR(tensor, _grad), grad);
    Py_RETURN_NONE;
}

static PyObject *detach(PyObject *tensor, PyObject *nothing) {
    if (TENSOR(tensor, array)) return (void)nothing, wrap(TENSOR(tensor, array));
    return PyErr_SetString(PyExc_AttributeError, "array"), NULL;
}

static PyMethodDef methods[] = {{"accumulate", accumulate, METH_O, NULL},
                                {"detach", detach, METH_NOARGS, NULL}};

/* The place of a slot in the objects of a class; -1 for an error. */
static Py_ssize_t place_of(PyObject *class, const char *name) {
    PyObject *found = PyType_Check(class) ? PyObject_GetAttrString(class, name) : NULL;
    Py_ssize_t place = -1;
    if (found && Py_TYPE(found) == &PyMemberDescr_Type &&
        PyDescr_TYPE(found) == (PyTypeObject *)class)
        place = ((PyMemberDescrObject *)found)->d_member->offset;
    else
        PyErr_Format(PyExc_TypeError, "[recorder] %R must have a slot %s", class, name);
    Py_XDECREF(found);
    return place;
}

/* start(name=object, ...): what is in GIVEN, no more and no less. From then on ops are called here;
   returned are the functions and methods that stand in for others. */
static PyObject *start(PyObject *module, PyObject *args, PyObject *things) {
    Py_ssize_t count = 0;
    if (PyTuple_GET_SIZE(args) || !things)
        return PyErr_SetString(PyExc_TypeError, "[recorder] start takes keywords only"), NULL;
#define CHECK_GIVEN(name) \
    if (++count, !PyDict_GetItemString(things, #name)) \
        return PyErr_Format(PyExc_TypeError, "[recorder] start needs %s, which is missing", #name);
    GIVEN(CHECK_GIVEN)
    if (PyDict_GET_SIZE(things) != count)
        return PyErr_Format(PyExc_TypeError, "[recorder] start takes %zd names, got %zd: %R", count,
                            PyDict_GET_SIZE(things), things);
    PyObject *made = PyDict_New();
    if (!made) return NULL;
#define FIND_SLOT(class, name) \
    Py_ssize_t at_##class##name = place_of(PyDict_GetItemString(things, #class), #name); \
    if (at_##class##name < 0) return NULL;
    SLOTS(FIND_SLOT)
#define TAKE_SLOT(class, name) class##_##name = at_##class##name;
    SLOTS(TAKE_SLOT)
#define TAKE_GIVEN(name) Py_XSETREF(the_##name, Py_NewRef(PyDict_GetItemString(things, #name)));
    GIVEN(TAKE_GIVEN)
    ((PyTypeObject *)the_Op)->tp_call = call_op;
    ((PyTypeObject *)the_Op)->tp_descr_get = bind;
    for (int i = 0; i < 2; i++) {
        PyObject *method = PyDescr_NewMethod((PyTypeObject *)the_Tensor, &methods[i]);
        if (!method || PyDict_SetItemString(made, methods[i].ml_name, method)) Py_CLEAR(made);
        Py_XDECREF(method);
        if (!made) return NULL;
    }
    return (void)module, made;
}

static PyMethodDef functions[] = {
    {"start", (PyCFunction)(void (*)(void))start, METH_VARARGS | METH_KEYWORDS, NULL},
    {"operator", operator, METH_VARARGS, NULL},
    {"walk", (PyCFunction)(void (*)(void))walk, METH_VARARGS | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_recorder", .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC PyInit__recorder(void) {
#define INTERN(name) s_##name = PyUnicode_InternFromString(#name);
    NAMES(INTERN)
    PyObject *module = PyModule_Create(&definition);
    int failed = !module || PyType_Ready(&OperatorType) ||
                 PyModule_AddStringConstant(module, "VERSION", VERSION);
    return failed ? NULL : module;
}
