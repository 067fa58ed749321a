#include "py/thread.h"

#include "py/books.h"

/* Where greenlets are put in the place of threads (gevent, eventlet), a thread begins inside its start(), in the OS
 * thread of whoever starts it; a loop of ours would never give that back. So before the function is called the
 * interpreter itself is asked which OS thread this is. `place` is [the starter's ident], and empty once it was this. */
static PyObject *call_apart(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *function, *argument, *place;
    if (!PyArg_ParseTuple(args, "OOO!:_call_apart", &function, &argument, &PyList_Type, &place)) return NULL;
    PyObject *here = PyLong_FromUnsignedLong(PyThread_get_thread_ident());
    int same = here == NULL ? -1 : PySequence_Contains(place, here);
    Py_XDECREF(here);
    if (same < 0) return NULL;
    if (same == 0) return PyObject_CallOneArg(function, argument);
    if (PyList_SetSlice(place, 0, PyList_GET_SIZE(place), NULL) < 0) return NULL;
    Py_RETURN_NONE;
}

/* -1 with RuntimeError where the function was not called. One that has yet to begin does so beside its starter. */
static int check_apart(PyObject *place)
{
    if (PyList_GET_SIZE(place) > 0) return 0;
    PyErr_SetString(PyExc_RuntimeError, "a pool needs threads of the operating system: threading.Thread, which gevent "
                                        "or eventlet may have patched, runs them in the one that starts them");
    return -1;
}

int cmpy_thread_start(struct cmpy_state *state, const char *name, PyObject *function, PyObject *argument)
{
    PyObject *type = cmpy_stdlib_get(state->threading_globals, "Thread");
    PyObject *thread = NULL, *started = NULL, *keywords = NULL;
    PyObject *place = type == NULL ? NULL : Py_BuildValue("[k]", PyThread_get_thread_ident());
    if (place != NULL)
        keywords = Py_BuildValue("{sssOs(OOO)sO}", "name", name, "target", state->call_apart_function, "args", function,
                                 argument, place, "daemon", Py_True);
    PyObject *none = PyTuple_New(0);
    if (keywords != NULL && none != NULL) thread = PyObject_Call(type, none, keywords);
    if (thread != NULL) started = PyObject_CallMethodNoArgs(thread, state->str.start);
    int code = started == NULL ? -1 : check_apart(place);
    Py_XDECREF(type);
    Py_XDECREF(place);
    Py_XDECREF(keywords);
    Py_XDECREF(none);
    Py_XDECREF(thread);
    Py_XDECREF(started);
    return code;
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

static PyMethodDef functions[] = {
    {"_call_apart", call_apart, METH_VARARGS, "Calls function(argument), unless in the OS thread that is named."},
    {NULL, NULL, 0, NULL},
};

int cmpy_thread_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    if (PyModule_AddFunctions(module, functions) < 0) return -1;
    state->call_apart_function = PyObject_GetAttrString(module, "_call_apart");
    return state->call_apart_function == NULL ? -1 : 0;
}
