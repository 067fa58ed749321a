#include "py/context.h"

int cmpy_context_is_fork(struct cmpy_state *state, PyObject *ctx)
{
    PyObject *method = PyObject_CallMethodNoArgs(ctx, state->str.get_start_method);
    if (method == NULL) return -1;
    int fork = PyUnicode_Check(method) && PyUnicode_CompareWithASCIIString(method, "fork") == 0;
    Py_DECREF(method);
    return fork;
}

PyObject *cmpy_context_refuse_spawn(void)
{
    PyErr_SetString(PyExc_RuntimeError,
                    "A SemLock created in a fork context is being shared with a process in a spawn context. This is "
                    "not supported. Please use the same context to create multiprocessing objects and Process.");
    return NULL;
}
