#include "py/books.h"

PyObject *cmpy_books_get(struct cmpy_state *state, const char *name)
{
    PyObject *value = PyDict_GetItemString(state->process_globals, name);
    if (value == NULL && !PyErr_Occurred())
        PyErr_Format(PyExc_RuntimeError, "multiprocessing.process.%s is missing", name);
    return value;
}

static int children_call(struct cmpy_state *state, const char *method, PyObject *process)
{
    PyObject *children = cmpy_books_get(state, "_children");
    if (children == NULL) return -1;
    Py_INCREF(children); /* another thread may bind the name anew */
    PyObject *result = PyObject_CallMethod(children, method, "O", process);
    Py_DECREF(children);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int cmpy_books_add_child(struct cmpy_state *state, PyObject *process)
{
    return children_call(state, "add", process);
}

int cmpy_books_discard_child(struct cmpy_state *state, PyObject *process)
{
    return children_call(state, "discard", process);
}

int cmpy_books_cleanup(struct cmpy_state *state)
{
    PyObject *children = cmpy_books_get(state, "_children");
    if (children == NULL) return -1;
    if (PySet_Check(children) && PySet_GET_SIZE(children) == 0) return 0;
    PyObject *cleanup = cmpy_books_get(state, "_cleanup");
    if (cleanup == NULL) return -1;
    PyObject *result = PyObject_CallNoArgs(cleanup);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}
