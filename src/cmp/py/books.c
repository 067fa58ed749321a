#include "py/books.h"

PyObject *cmpy_books_get(struct cmpy_state *state, PyObject *name)
{
    PyObject *value = PyDict_GetItemWithError(state->process_globals, name);
    if (value == NULL && !PyErr_Occurred())
        PyErr_Format(PyExc_RuntimeError, "multiprocessing.process.%U is missing", name);
    return value;
}

int cmpy_books_open(struct cmpy_state *state)
{
    const struct cmpy_stdlib_name wanted[] = {
        {"multiprocessing.popen_fork", "__dict__", &state->popen_fork},
        {"multiprocessing.util", "__dict__", &state->util_globals},
    };
    return cmpy_stdlib_fetch(wanted, sizeof wanted / sizeof *wanted);
}

static int children_call(struct cmpy_state *state, PyObject *method, PyObject *process)
{
    PyObject *children = cmpy_books_get(state, state->str._children);
    if (children == NULL) return -1;
    Py_INCREF(children); /* another thread may bind the name anew */
    PyObject *result = PyObject_CallMethodOneArg(children, method, process);
    Py_DECREF(children);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int cmpy_books_add_child(struct cmpy_state *state, PyObject *process)
{
    return children_call(state, state->str.add, process);
}

int cmpy_books_discard_child(struct cmpy_state *state, PyObject *process)
{
    return children_call(state, state->str.discard, process);
}

int cmpy_books_cleanup(struct cmpy_state *state)
{
    PyObject *children = cmpy_books_get(state, state->str._children);
    if (children == NULL) return -1;
    if (PySet_Check(children) && PySet_GET_SIZE(children) == 0) return 0;
    return cmpy_stdlib_call(state->process_globals, "_cleanup");
}

int cmpy_stdlib_fetch(const struct cmpy_stdlib_name *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (*wanted[i].place != NULL) continue;
        PyObject *module = PyImport_ImportModule(wanted[i].module);
        PyObject *value = module == NULL ? NULL : PyObject_GetAttrString(module, wanted[i].name);
        Py_XDECREF(module);
        if (value == NULL) return -1;
        Py_XSETREF(*wanted[i].place, value); /* another thread may have been here meanwhile */
    }
    return 0;
}

PyObject *cmpy_stdlib_get(PyObject *globals, const char *name)
{
    PyObject *key = PyUnicode_FromString(name);
    PyObject *value = key == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(globals, key));
    Py_XDECREF(key);
    if (value == NULL && !PyErr_Occurred())
        PyErr_Format(PyExc_RuntimeError, "multiprocessing needs %s, which this Python lacks", name);
    return value;
}

int cmpy_stdlib_call(PyObject *globals, const char *name)
{
    PyObject *function = cmpy_stdlib_get(globals, name);
    PyObject *result = function == NULL ? NULL : PyObject_CallNoArgs(function);
    Py_XDECREF(function);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}
