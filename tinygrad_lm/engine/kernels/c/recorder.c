/* The hot path of the engine in C: an op called and recorded, `x += y`, the walk back. It does the
   common case, by CPython's lock and reference counts, and leaves the rest to the functions in
   Python, which are the definition; it knows no op and no mathematics. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#define VERSION 2 /* of what Python and C expect of each other: raise it here and in compiled.py */
#define MOST 32   /* inputs of one op */

/* What Python tells by know(...), the attributes that are looked up, the slots of a Node. */
#define THINGS(X) \
    X(Tensor) X(Node) X(Part) X(ndarray) X(mode) X(switches) X(clock) X(last_write) X(writes) \
    X(floating) X(libraries) X(look_into) X(as_array) X(mark_written) X(fit) X(add) X(whole) \
    X(hooked) X(pull) X(spent)
#define NAMES(X) \
    X(__dict__) X(autocast) X(recording) X(differentiable_pullbacks) X(quiet) X(kernels) X(other) \
    X(record) X(compose) X(fail) X(keep_wanted) X(dtype) X(shape) X(base)
#define SLOTS(X) X(name) X(shape) X(dtype) X(parents) X(pullbacks) X(tensors) X(birth) X(hooks)
#define THING(name) static PyObject *the_##name;
#define NAME(name) static PyObject *s_##name;
#define PLACE(name) static Py_ssize_t at_##name;
THINGS(THING) NAMES(NAME) SLOTS(PLACE)

#define SLOT(node, name) (*(PyObject **)((char *)(node) + at_##name))
#define ABSENT(x) (!(x) || (x) == Py_None)
#define IS_TENSOR(x) PyObject_TypeCheck(x, (PyTypeObject *)the_Tensor)
#define IS_ARRAY(x) ((PyObject *)Py_TYPE(x) == the_ndarray)
#define IS_NODE(x) ((PyObject *)Py_TYPE(x) == the_Node)
#define IS_PART(x) ((PyObject *)Py_TYPE(x) == the_Part)
#define IS_ON(table, name) (PyDict_GetItemWithError(table, name) == Py_True)
#define HAS_TENSORS(node) (SLOT(node, tensors) == Py_True)
#define BIRTH(node) PyLong_AsLongLong(SLOT(node, birth))
#define CALL(function, ...) PyObject_CallFunctionObjArgs(function, __VA_ARGS__, NULL)

/* ---------------------------------------------------------------- what Tensors and Ops keep */

typedef struct {
    PyObject_HEAD
    PyObject *kept[5];
    Py_ssize_t number[2];
    char flag[2];
} Fields;

enum { ARRAY, NODE, HOOKS, GRAD, BASE, OP_NAME = 0, FUNCTION, CAST, KERNELS }; /* kept */
enum { WRITES, SEEN, ARITY = 0 };                                             /* numbers */
enum { NEEDS_GRAD, VIEW = 0, FUSED };                                         /* flags */
#define KEPT(x, which) (((Fields *)(x))->kept[which])
#define NUMBER(x, which) (((Fields *)(x))->number[which])
#define FLAG(x, which) (((Fields *)(x))->flag[which])

static int traverse(PyObject *self, visitproc visit, void *arg) {
    for (int i = 0; i < 5; i++) Py_VISIT(KEPT(self, i));
    return 0;
}

static int clear(PyObject *self) {
    for (int i = 0; i < 5; i++) Py_CLEAR(KEPT(self, i));
    return 0;
}

static void dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    clear(self);
    Py_TYPE(self)->tp_free(self);
}

#define OBJECT(which) T_OBJECT, offsetof(Fields, kept) + (which) * sizeof(PyObject *)
#define INTEGER(which) T_PYSSIZET, offsetof(Fields, number) + (which) * sizeof(Py_ssize_t)
#define TRUTH(which) T_BOOL, offsetof(Fields, flag) + (which)
static PyMemberDef tensor_fields[] = {
    {"array", OBJECT(ARRAY)},      {"node", OBJECT(NODE)},   {"hooks", OBJECT(HOOKS)},
    {"_grad", OBJECT(GRAD)},       {"base", OBJECT(BASE)},   {"version", INTEGER(WRITES)},
    {"seen", INTEGER(SEEN)},       {"needs_grad", TRUTH(NEEDS_GRAD)}, {NULL}};
static PyMemberDef op_fields[] = {
    {"name", OBJECT(OP_NAME)},     {"function", OBJECT(FUNCTION)}, {"cast", OBJECT(CAST)},
    {"kernels", OBJECT(KERNELS)},  {"arity", INTEGER(ARITY)},      {"view", TRUTH(VIEW)},
    {"fused", TRUTH(FUSED)},       {NULL}};

static PyObject *bind(PyObject *self, PyObject *instance, PyObject *owner) {
    return (void)owner, ABSENT(instance) ? Py_NewRef(self) : PyMethod_New(self, instance);
}

static PyObject *call_op(PyObject *op, PyObject *inputs, PyObject *settings);
#define FIELDS_TYPE(label) \
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tinygrad_lm.engine._recorder." label, \
    .tp_basicsize = sizeof(Fields), .tp_dealloc = dealloc, .tp_traverse = traverse, \
    .tp_clear = clear, .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC
static PyTypeObject TensorFields = {FIELDS_TYPE("TensorFields"), .tp_members = tensor_fields};
static PyTypeObject OpFields = {
    FIELDS_TYPE("OpFields"), .tp_members = op_fields, .tp_call = call_op, .tp_descr_get = bind};

/* A Tensor around an array. */
static PyObject *wrap(PyObject *module, PyObject *array) {
    PyObject *made = ((PyTypeObject *)the_Tensor)->tp_alloc((PyTypeObject *)the_Tensor, 0);
    if (made) KEPT(made, ARRAY) = Py_NewRef(array);
    return (void)module, made;
}

/* A Tensor outside the graph with the memory of another. */
static PyObject *alias(PyObject *module, PyObject *tensor) {
    if (IS_TENSOR(tensor) && KEPT(tensor, ARRAY)) return wrap(module, KEPT(tensor, ARRAY));
    return PyErr_SetString(PyExc_TypeError, "[data] must be asked of a Tensor"), NULL;
}

/* named(out, name): the name that PyTorch prints for a recorded op. */
static PyObject *named(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    if (n != 2 || !IS_TENSOR(args[0])) return PyErr_BadArgument(), NULL;
    PyObject *node = KEPT(args[0], NODE);
    if (!ABSENT(node) && IS_NODE(node)) Py_XSETREF(SLOT(node, name), Py_NewRef(args[1]));
    return (void)module, Py_NewRef(args[0]);
}

/* ---------------------------------------------------------------- calling an op */

static int done(PyObject *found) { /* with what a call returned, if it did */
    Py_XDECREF(found);
    return found ? 0 : -1;
}

/* op.name(*inputs, **settings), a method in Python. */
static PyObject *leave(PyObject *op, PyObject *name, PyObject *const *inputs, Py_ssize_t n,
                       PyObject *settings) {
    PyObject *method = PyObject_GetAttr(op, name);
    PyObject *found = method ? PyObject_VectorcallDict(method, inputs, n, settings) : NULL;
    Py_XDECREF(method);
    return found;
}

/* function(*inputs, **settings) without floating-point warnings. */
static PyObject *quietly(PyObject *now, PyObject *function, PyObject *const *inputs, Py_ssize_t n,
                         PyObject *settings) {
    PyObject *quiet = PyDict_GetItemWithError(now, s_quiet);
    int inside = !quiet || PyContext_Enter(quiet);
    if (inside && !PyErr_ExceptionMatches(PyExc_RuntimeError)) return NULL;
    if (inside) PyErr_Clear(); /* "cannot enter": it is quiet already */
    PyObject *found = PyObject_VectorcallDict(function, inputs, n, settings);
    if (!inside && PyContext_Exit(quiet)) Py_CLEAR(found);
    return found;
}

/* The error that an op raised, explained by Python where it is about the inputs. */
static PyObject *explained(PyObject *op, PyObject *const *inputs, Py_ssize_t n) {
    PyObject *kind, *trace, *arguments[MOST + 1];
    PyErr_Fetch(&kind, arguments, &trace);
    PyErr_NormalizeException(&kind, arguments, &trace);
    if (trace) PyException_SetTraceback(arguments[0], trace);
    memcpy(arguments + 1, inputs, n * sizeof(*inputs));
    done(leave(op, s_fail, arguments, n + 1, NULL));
    Py_DECREF(kind), Py_DECREF(arguments[0]), Py_XDECREF(trace);
    return NULL;
}

/* The node of a result; of several pullbacks, only those of inputs that want a gradient. */
static PyObject *new_node(PyObject *op, PyObject *out, PyObject *found, PyObject *const *parents,
                          Py_ssize_t n) {
    PyObject *node = ((PyTypeObject *)the_Node)->tp_alloc((PyTypeObject *)the_Node, 0);
    PyObject *all = PyTuple_New(n), *some = NULL, *pair[2] = {found, all};
    int several = PyTuple_CheckExact(found), fit = several && PyTuple_GET_SIZE(found) == n;
    if (all && node) some = !several ? Py_NewRef(found) : fit ? PyTuple_New(n) : NULL;
    for (Py_ssize_t i = 0; all && i < n; i++) {
        PyTuple_SET_ITEM(all, i, Py_NewRef(parents[i]));
        PyObject *one = fit && parents[i] != Py_None ? PyTuple_GET_ITEM(found, i) : Py_None;
        if (some && fit) PyTuple_SET_ITEM(some, i, Py_NewRef(one));
    }
    if (several && !fit && all) some = leave(op, s_keep_wanted, pair, 2, NULL); /* says: not so */
    if (!node || !all || !some) return Py_XDECREF(node), Py_XDECREF(all), Py_XDECREF(some), NULL;
    SLOT(node, name) = Py_NewRef(KEPT(op, OP_NAME));
    SLOT(node, parents) = all;
    SLOT(node, pullbacks) = some;
    SLOT(node, tensors) = Py_NewRef(Py_False);
    SLOT(node, hooks) = Py_NewRef(Py_None);
    SLOT(node, shape) = PyObject_GetAttr(out, s_shape);
    SLOT(node, dtype) = SLOT(node, shape) ? PyObject_GetAttr(out, s_dtype) : NULL;
    SLOT(node, birth) = SLOT(node, dtype) ? PyIter_Next(the_clock) : NULL;
    if (!SLOT(node, birth)) Py_CLEAR(node);
    return node;
}

/* The Tensor of (value, pullbacks). */
static PyObject *result_of(PyObject *op, PyObject *found, PyObject *first, PyObject *const *parents,
                           Py_ssize_t n, Py_ssize_t wanted) {
    if (!PyTuple_CheckExact(found) || PyTuple_GET_SIZE(found) != 2)
        return PyErr_Format(PyExc_TypeError, "[%U] must return (value, pullbacks), got %.60R",
                            KEPT(op, OP_NAME), found);
    PyObject *out = PyTuple_GET_ITEM(found, 0), *pullbacks = PyTuple_GET_ITEM(found, 1);
    out = IS_ARRAY(out) ? Py_NewRef(out) : PyObject_CallOneArg(the_as_array, out);
    PyObject *result = out ? wrap(NULL, out) : NULL;
    if (result && wanted && pullbacks != Py_None) {
        KEPT(result, NODE) = new_node(op, out, pullbacks, parents, n);
        FLAG(result, NEEDS_GRAD) = 1;
        if (!KEPT(result, NODE)) Py_CLEAR(result);
    }
    Py_XDECREF(out);
    if (result && FLAG(op, VIEW) && IS_TENSOR(first)) {
        PyObject *base = PyObject_GetAttr(KEPT(result, ARRAY), s_base);
        PyObject *its = PyObject_GetAttr(KEPT(first, ARRAY), s_base);
        if (base && ABSENT(KEPT(first, BASE)) && (base == KEPT(first, ARRAY) ||
                                                  (base == its && IS_ARRAY(base)))) {
            KEPT(result, BASE) = Py_NewRef(first);
            NUMBER(result, SEEN) = NUMBER(first, WRITES);
        } else if (base != Py_None && done(CALL(the_look_into, result, first)))
            Py_CLEAR(result);
        Py_XDECREF(base);
        Py_XDECREF(its);
    }
    return result;
}

/* What stands in an array's `dtype`, which the array keeps alive. */
static PyObject *dtype_of(PyObject *array) {
    PyObject *dtype = PyObject_GetAttr(array, s_dtype);
    Py_XDECREF(dtype);
    return dtype;
}

/* op(*given, **settings). Nothing has run where it is left to `record` in Python. */
static PyObject *record(PyObject *op, PyObject *const *given, Py_ssize_t n, PyObject *settings) {
    PyObject *inputs[MOST], *arrays[MOST], *parents[MOST], *kind = NULL, *found = NULL;
    PyObject *ways = NULL, *result = NULL, *now = PyObject_GetAttr(the_mode, s___dict__);
    Py_ssize_t count = 0, wanted = 0, mixed = 0;
    if (!now) return NULL;
    int recording = IS_ON(now, s_recording), twice = IS_ON(now, s_differentiable_pullbacks);
    if (n < 1 || n > MOST || NUMBER(op, ARITY) > MOST ||
        (settings && PyDict_Contains(settings, s_other)) ||
        PyDict_GetItemWithError(now, s_autocast) != Py_None)
        goto unusual;
    memcpy(inputs, given, n * sizeof(*given));
    Py_ssize_t all = n, casts = !ABSENT(KEPT(op, CAST));
    if (PyDict_GET_SIZE(KEPT(op, KERNELS)) || FLAG(op, FUSED)) {
        PyObject *first = IS_TENSOR(given[0]) ? KEPT(given[0], ARRAY) : NULL;
        if (!first || twice || !IS_ON(the_switches, s_kernels)) goto unusual;
        ways = Py_XNewRef(PyDict_GetItemWithError(KEPT(op, KERNELS), (PyObject *)Py_TYPE(first)));
    }
    if (FLAG(op, FUSED)) {
        if (!ways || !PyList_GET_SIZE(ways)) goto unusual;
        for (; all < NUMBER(op, ARITY); all++) inputs[all] = Py_None;
    }
    for (; count < all; count++) {
        PyObject *x = inputs[count], *parent = Py_None;
        if (IS_TENSOR(x)) {
            PyObject *base = KEPT(x, BASE), *array = KEPT(x, ARRAY);
            if (!array || (!ABSENT(base) && NUMBER(x, SEEN) != NUMBER(base, WRITES))) goto unusual;
            if (recording && FLAG(x, NEEDS_GRAD)) {
                parent = ABSENT(KEPT(x, NODE)) ? x : KEPT(x, NODE);
                wanted++;
            }
            PyObject *dtype = casts ? dtype_of(array) : NULL;
            if (casts && !dtype) goto unusual;
            mixed |= kind && kind != dtype;
            kind = dtype;
            x = array;
        } else if (x != Py_None && !PyFloat_CheckExact(x) && !PyLong_CheckExact(x))
            goto unusual;
        arrays[count] = Py_NewRef(x);
        parents[count] = Py_NewRef(parent);
    }
    if (casts && (!kind || mixed || PySequence_Contains(the_floating, kind) != 1)) goto unusual;
    if (wanted && twice) goto unusual;
    found = Py_NewRef(Py_NotImplemented);
    for (Py_ssize_t i = 0; ways && i < PyList_GET_SIZE(ways) && found == Py_NotImplemented; i++)
        Py_SETREF(found, quietly(now, PyList_GET_ITEM(ways, i), arrays, count, settings));
    if (found == Py_NotImplemented && !FLAG(op, FUSED))
        Py_SETREF(found, quietly(now, KEPT(op, FUNCTION), arrays, count, settings));
    result = !found                      ? explained(op, inputs, count)
             : found == Py_NotImplemented ? leave(op, s_compose, inputs, count, settings)
                                          : result_of(op, found, given[0], parents, count, wanted);
    goto done;
unusual:
    PyErr_Clear();
    result = leave(op, s_record, given, n, settings);
done:
    while (count--) {
        Py_DECREF(arrays[count]);
        Py_DECREF(parents[count]);
    }
    Py_XDECREF(found);
    Py_XDECREF(ways);
    Py_DECREF(now);
    return result;
}

static PyObject *call_op(PyObject *op, PyObject *inputs, PyObject *settings) {
    return record(op, &PyTuple_GET_ITEM(inputs, 0), PyTuple_GET_SIZE(inputs), settings);
}

/* mark_written(array), where the array was written before. */
static int mark(PyObject *array) {
    PyObject *base = PyObject_GetAttr(array, s_base), *key = PyLong_FromVoidPtr(array);
    PyObject *entry = base == Py_None && key ? PyDict_GetItemWithError(the_writes, key) : NULL;
    PyObject *time = entry ? PyIter_Next(the_clock) : NULL;
    int failed = !time || PyList_SetItem(entry, 1, Py_NewRef(time)) ||
                 PyList_SetItem(the_last_write, 0, Py_NewRef(time));
    Py_XDECREF(base), Py_XDECREF(key), Py_XDECREF(time);
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
        PyObject *t = given[i], *array = IS_TENSOR(t) ? KEPT(t, ARRAY) : NULL;
        if (!IS_TENSOR(t)) continue; /* a number */
        int has_history = !ABSENT(KEPT(t, BASE)) || (recording && FLAG(t, NEEDS_GRAD));
        plain = array && IS_ARRAY(array) && !has_history;
        given[i] = array;
    }
    plain = plain && PySequence_Contains(the_floating, dtype_of(given[0])) == 1;
    if (plain) {
        Py_INCREF(given[0]), Py_INCREF(given[1]);
        PyObject *found = quietly(now, ufunc, given, 3, NULL);
        plain = found && !mark(given[0]);
        if (!found && PyErr_ExceptionMatches(PyExc_ValueError)) PyErr_Clear(); /* nothing written */
        Py_XDECREF(found), Py_DECREF(given[0]), Py_DECREF(given[1]);
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
        if (PyObject_TypeCheck(o->does, &OpFields)) return record(o->does, pair, 2, NULL);
        if (PyFunction_Check(o->does)) return PyObject_Vectorcall(o->does, pair, 2, NULL);
        int written = write_to(x, o->does, y);
        if (written) return written < 0 ? NULL : Py_NewRef(x);
    }
    return PyObject_Vectorcall(o->slow, args, flags, names);
}

static PyTypeObject OperatorType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tinygrad_lm.engine._recorder.Operator",
    .tp_basicsize = sizeof(Operator), .tp_call = PyVectorcall_Call, .tp_descr_get = bind,
    .tp_vectorcall_offset = offsetof(Operator, call),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR};

/* operator(op or ufunc, slow, reflected): stays for good, as does the class that has it. */
static PyObject *operator(PyObject *module, PyObject *args) {
    Operator *made = PyObject_New(Operator, &OperatorType);
    if (!made || !PyArg_ParseTuple(args, "OOp", &made->does, &made->slow, &made->reflected))
        return NULL;
    Py_INCREF(made->does), Py_INCREF(made->slow);
    made->call = operate;
    return (void)module, (PyObject *)made;
}

/* ---------------------------------------------------------------- the walk back */

/* Whether g has the shape and dtype of what it is added to; -1 for an error. */
static int fits(PyObject *g, PyObject *like) {
    int same = PyDict_Contains(the_libraries, (PyObject *)Py_TYPE(g));
    if (same <= 0) return same;
    PyObject *shape = PyObject_GetAttr(g, s_shape), *its = PyObject_GetAttr(like, s_shape);
    same = shape && its ? PyObject_RichCompareBool(shape, its, Py_EQ) : -1;
    Py_XDECREF(shape);
    Py_XDECREF(its);
    return same > 0 ? dtype_of(g) == dtype_of(like) : same;
}

/* sums[target] += g, in place if nobody else holds the array and it looks into no other. */
static int add(PyObject *sums, PyObject *target, PyObject *g) {
    PyObject *sum = PyDict_GetItemWithError(sums, target);
    PyObject *base = IS_ARRAY(sum) ? PyObject_GetAttr(sum, s_base) : NULL;
    int ours = base == Py_None && Py_REFCNT(sum) == 1 && IS_ARRAY(g);
    Py_XDECREF(base);
    return done(ours ? PyNumber_InPlaceAdd(sum, g) : CALL(the_add, sums, target, g));
}

/* Whether a node still has what it was made with; code in Python may take it away. */
static int intact(PyObject *node) {
    PyObject *parents = SLOT(node, parents);
    if (parents && PyTuple_Check(parents) && SLOT(node, pullbacks) && SLOT(node, birth) &&
        SLOT(node, shape) && SLOT(node, dtype) && SLOT(node, tensors))
        return 1;
    PyErr_SetString(PyExc_AttributeError, "[backward] a node must keep its parents and pullbacks");
    return 0;
}

/* One contribution to a node or a leaf; nodes are in a list too, the newest last. */
static int arrive(PyObject *sums, PyObject *nodes, PyObject *target, PyObject *g, PyObject *node) {
    if (target == Py_None || g == Py_None) return 0;
    if (!IS_NODE(target) && !IS_TENSOR(target)) return PyErr_BadArgument(), -1;
    PyObject *like = IS_NODE(target) ? target : KEPT(target, ARRAY);
    if (IS_NODE(target) && !intact(target)) return -1;
    if (!like) return PyErr_BadArgument(), -1;
    int right = fits(g, like), failed = -1;
    if (right < 0) return -1;
    g = right ? Py_NewRef(g) : CALL(the_fit, g, like, node ? SLOT(node, tensors) : Py_True);
    int known = g ? PyDict_Contains(sums, target) : -1;
    if (known > 0) failed = add(sums, target, g);
    if (!known) {
        PyObject *sum = IS_PART(g) ? Py_BuildValue("[O]", g) : Py_NewRef(g);
        failed = sum ? PyDict_SetItem(sums, target, sum) : -1;
        Py_XDECREF(sum);
        Py_ssize_t low = 0, high = like == target ? PyList_GET_SIZE(nodes) : 0, middle;
        while ((middle = (low + high) / 2) < high)
            if (BIRTH(PyList_GET_ITEM(nodes, middle)) < BIRTH(target))
                low = middle + 1;
            else
                high = middle;
        if (!failed && like == target) failed = PyList_Insert(nodes, low, target);
    }
    Py_XDECREF(g);
    return failed;
}

/* From the newest node to its parents. */
static int step(PyObject *sums, PyObject *nodes, PyObject *retain, PyObject *tensor_of,
                PyObject *note) {
    Py_ssize_t last = PyList_GET_SIZE(nodes) - 1;
    PyObject *node = Py_NewRef(PyList_GET_ITEM(nodes, last)), *parents;
    PyObject *g = Py_XNewRef(PyDict_GetItemWithError(sums, node)), *grads = NULL;
    int failed = !g || PyList_SetSlice(nodes, last, last + 1, NULL) || PyDict_DelItem(sums, node);
    if (g && PyList_CheckExact(g)) Py_SETREF(g, CALL(the_whole, g));
    if (g && HAS_TENSORS(node) && tensor_of != Py_None) Py_SETREF(g, CALL(tensor_of, g));
    if (g && !HAS_TENSORS(node) && IS_TENSOR(g)) Py_SETREF(g, Py_XNewRef(KEPT(g, ARRAY)));
    if (g && !ABSENT(SLOT(node, hooks))) Py_SETREF(g, CALL(the_hooked, node, g));
    failed = failed || !g || (note != Py_None && done(CALL(note, node, g))) || !intact(node);
    parents = failed ? NULL : Py_NewRef(SLOT(node, parents)); /* a pullback may put in others */
    int each = /* one by one, as nothing was written */
        !failed && PyTuple_CheckExact(SLOT(node, pullbacks)) &&
        BIRTH(node) > PyLong_AsLongLong(PyList_GET_ITEM(the_last_write, 0));
    if (!failed) grads = each ? Py_NewRef(SLOT(node, pullbacks)) : CALL(the_pull, node, g);
    for (Py_ssize_t i = 0; grads && !failed && i < PyTuple_GET_SIZE(parents); i++) {
        PyObject *one = PySequence_GetItem(grads, i);
        if (each && one && one != Py_None) Py_SETREF(one, PyObject_CallOneArg(one, g));
        failed = !one || arrive(sums, nodes, PyTuple_GET_ITEM(parents, i), one, node);
        Py_XDECREF(one);
    }
    if (grads && !failed && !PyObject_IsTrue(retain))
        Py_SETREF(SLOT(node, pullbacks), Py_NewRef(the_spent));
    Py_DECREF(node);
    Py_XDECREF(parents);
    Py_XDECREF(g);
    return done(grads) || failed ? -1 : 0;
}

/* A leaf without a gradient takes the array that arrived, if nobody else holds it; in `sums` None
   stands for it then. The others are left to the walk in Python. */
static int settle(PyObject *sums) {
    PyObject *leaf, *g;
    for (Py_ssize_t at = 0; PyDict_Next(sums, &at, &leaf, &g);) {
        if (!IS_TENSOR(leaf) || !ABSENT(KEPT(leaf, HOOKS)) || !ABSENT(KEPT(leaf, GRAD))) continue;
        PyObject *sum = PyList_CheckExact(g) ? CALL(the_whole, g) : Py_NewRef(g);
        PyObject *base = sum && IS_ARRAY(sum) ? PyObject_GetAttr(sum, s_base) : NULL;
        int ours = base == Py_None && Py_REFCNT(sum) == 1 + (sum == g) &&
                   ABSENT(KEPT(leaf, GRAD)); /* another thread may have been here during `whole` */
        PyObject *grad = ours ? wrap(NULL, sum) : NULL;
        if (grad) Py_XSETREF(KEPT(leaf, GRAD), grad);
        int failed = !sum || (ours && !grad) || PyDict_SetItem(sums, leaf, ours ? Py_None : sum);
        Py_XDECREF(base);
        Py_XDECREF(sum);
        if (failed) return -1;
    }
    return 0;
}

/* descend(sums, roots, retain_graph, tensor_of, note), as in Python. */
static PyObject *descend(PyObject *module, PyObject *args) {
    PyObject *sums, *roots, *retain, *tensor_of, *note, *target, *g, *nodes = PyList_New(0);
    int failed = !nodes || !PyArg_ParseTuple(args, "O!O!OOO", &PyDict_Type, &sums, &PyList_Type,
                                             &roots, &retain, &tensor_of, &note);
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(roots); i++)
        failed = !PyArg_ParseTuple(PyList_GET_ITEM(roots, i), "OO", &target, &g) ||
                 arrive(sums, nodes, target, g, NULL);
    while (!failed && PyList_GET_SIZE(nodes)) failed = step(sums, nodes, retain, tensor_of, note);
    if (!failed && note == Py_None) failed = settle(sums);
    Py_XDECREF(nodes);
    return (void)module, failed ? NULL : Py_NewRef(Py_None);
}

/* know(name=thing, ...): what stands in THINGS. */
static PyObject *know(PyObject *module, PyObject *args, PyObject *things) {
    PyObject *found = ((void)module, (void)args, NULL);
#define TAKE(name) \
    if ((found = PyDict_GetItemString(things, #name))) Py_XSETREF(the_##name, Py_NewRef(found));
    THINGS(TAKE)
#define FIND(name) \
    if (!(found = PyObject_GetAttrString(the_Node, #name))) return NULL; \
    at_##name = ((PyMemberDescrObject *)found)->d_member->offset; \
    Py_DECREF(found);
    if (the_Node) { SLOTS(FIND) }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"know", (PyCFunction)(void (*)(void))know, METH_VARARGS | METH_KEYWORDS, NULL},
    {"wrap", wrap, METH_O, NULL},
    {"alias", alias, METH_O, NULL},
    {"named", (PyCFunction)(void (*)(void))named, METH_FASTCALL, NULL},
    {"operator", operator, METH_VARARGS, NULL},
    {"descend", descend, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_recorder", .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC PyInit__recorder(void) {
    TensorFields.tp_new = OpFields.tp_new = PyBaseObject_Type.tp_new;
#define INTERN(name) s_##name = PyUnicode_InternFromString(#name);
    NAMES(INTERN)
    PyObject *module = PyModule_Create(&definition);
    int failed = !module || PyType_Ready(&OperatorType) ||
                 PyModule_AddType(module, &TensorFields) || PyModule_AddType(module, &OpFields) ||
                 PyModule_AddIntConstant(module, "VERSION", VERSION);
    return failed ? NULL : module;
}
