#include "py/thread.h"

#include "py/books.h"

int cmpy_thread_start(struct cmpy_state *state, const char *name, PyObject *function, PyObject *argument)
{
    PyObject *type = cmpy_stdlib_get(state->threading_globals, "Thread");
    PyObject *thread = NULL, *started = NULL;
    PyObject *keywords = type == NULL ? NULL : Py_BuildValue("{sssOs(O)sO}", "name", name, "target", function, "args",
                                                             argument, "daemon", Py_True);
    PyObject *none = PyTuple_New(0);
    if (keywords != NULL && none != NULL) thread = PyObject_Call(type, none, keywords);
    if (thread != NULL) started = PyObject_CallMethodNoArgs(thread, state->str.start);
    Py_XDECREF(type);
    Py_XDECREF(keywords);
    Py_XDECREF(none);
    Py_XDECREF(thread);
    Py_XDECREF(started);
    return started == NULL ? -1 : 0;
}

PyObject *cmpy_thread_current(struct cmpy_state *state)
{
    PyObject *current = cmpy_stdlib_get(state->threading_globals, "current_thread");
    PyObject *thread = current == NULL ? NULL : PyObject_CallNoArgs(current);
    Py_XDECREF(current);
    return thread;
}

bool cmpy_thread_is_only_one(void)
{
    PyThreadState *first = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    return first != NULL && PyThreadState_Next(first) == NULL;
}

void cmpy_thread_leaves(PyObject *leaving, PyObject *thread)
{
    if (PyList_Append(leaving, thread) < 0) PyErr_Clear();
}

/* Whatever users' code has made of the list meanwhile. -1 with MemoryError, for also this may need some: it stays. */
static int take_off(PyObject *leaving, PyObject *thread)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(leaving); i++)
        if (PyList_GET_ITEM(leaving, i) == thread) return PyList_SetSlice(leaving, i, i + 1, NULL);
    return 0;
}

void cmpy_threads_prune(PyObject *leaving)
{
    PyObject *threads = PyList_GetSlice(leaving, 0, PyList_GET_SIZE(leaving));
    for (Py_ssize_t i = 0; threads != NULL && i < PyList_GET_SIZE(threads); i++) {
        PyObject *alive = PyObject_CallMethod(PyList_GET_ITEM(threads, i), "is_alive", NULL);
        if (alive == Py_False) (void)take_off(leaving, PyList_GET_ITEM(threads, i));
        Py_XDECREF(alive);
        PyErr_Clear();
    }
    Py_XDECREF(threads);
    PyErr_Clear();
}

bool cmpy_threads_are_gone(void)
{
#if PY_VERSION_HEX >= 0x030d0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

int cmpy_threads_join(struct cmpy_state *state, PyObject *leaving)
{
    if (PyList_GET_SIZE(leaving) == 0 || cmpy_threads_are_gone()) return 0;
    PyObject *me = cmpy_thread_current(state);
    int code = me == NULL ? -1 : 0;
    while (code == 0 && PyList_GET_SIZE(leaving) > 0) {
        PyObject *thread = Py_NewRef(PyList_GET_ITEM(leaving, 0));
        PyObject *joined = thread == me ? Py_NewRef(Py_None) : PyObject_CallMethod(thread, "join", NULL);
        code = joined == NULL ? -1 : take_off(leaving, thread);
        Py_XDECREF(joined);
        Py_DECREF(thread);
    }
    Py_XDECREF(me);
    return code;
}
