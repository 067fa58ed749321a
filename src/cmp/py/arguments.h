/* Arguments of METH_FASTCALL | METH_KEYWORDS methods, with the interpreter's own error messages. */
#ifndef CMP_PY_ARGUMENTS_H
#define CMP_PY_ARGUMENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

struct cmpy_signature {
    const char *function;      /* as messages name it */
    const char *const *names;  /* NULL at the end */
    Py_ssize_t required;
};

/* Fills `values` (borrowed) in the order of the names, NULL where nothing was given. -1 with TypeError. */
int cmpy_arguments(const struct cmpy_signature *signature, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                   PyObject **values);

#endif
