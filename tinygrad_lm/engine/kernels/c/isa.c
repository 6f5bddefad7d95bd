/* Which forms of the kernels run on this processor, the best first. This module is compiled for the
   least one, so it may ask anywhere; setup.py gives each form the instructions it asks for. */

#include <Python.h>

static const char *forms(void) {
#if defined(__x86_64__)
#define HAS(name) __builtin_cpu_supports(name) /* the system, too, which saves the registers */
    __builtin_cpu_init();
    if (!HAS("sse4.2") || !HAS("popcnt")) return "";
    if (!HAS("avx2") || !HAS("fma") || !HAS("bmi2")) return "v2";
    if (!HAS("avx512f") || !HAS("avx512bw") || !HAS("avx512cd") || !HAS("avx512dq") ||
        !HAS("avx512vl"))
        return "v3 v2";
    return "v4 v3 v2";
#else
    return "base";
#endif
}

static PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_isa", NULL, -1, NULL};

PyMODINIT_FUNC PyInit__isa(void) {
    PyObject *module = PyModule_Create(&MODULE);
    if (module) PyModule_AddStringConstant(module, "VERSION", VERSION);
    if (module) PyModule_AddStringConstant(module, "FORMS", forms());
#if defined(Py_GIL_DISABLED)
    if (module) PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
#endif
    return module;
}
