#include "py/arguments.h"

static Py_ssize_t count(const struct cmpy_signature *signature)
{
    Py_ssize_t n = 0;
    while (signature->names[n] != NULL) n++;
    return n;
}

static int take_keyword(const struct cmpy_signature *signature, PyObject *name, PyObject *value, PyObject **values)
{
    for (Py_ssize_t i = 0; signature->names[i] != NULL; i++) {
        if (PyUnicode_CompareWithASCIIString(name, signature->names[i]) != 0) continue;
        if (values[i] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", signature->function, name);
            return -1;
        }
        values[i] = value;
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", signature->function, name);
    return -1;
}

int cmpy_arguments(const struct cmpy_signature *signature, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                   PyObject **values)
{
    Py_ssize_t n = count(signature);
    if (nargs > n) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)", signature->function, n, nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) values[i] = i < nargs ? args[i] : NULL;
    Py_ssize_t nkeywords = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t i = 0; i < nkeywords; i++)
        if (take_keyword(signature, PyTuple_GET_ITEM(kwnames, i), args[nargs + i], values) < 0) return -1;
    for (Py_ssize_t i = 0; i < signature->required; i++) {
        if (values[i] != NULL) continue;
        PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", signature->function,
                     signature->names[i]);
        return -1;
    }
    return 0;
}
