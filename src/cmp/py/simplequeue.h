/* SimpleQueue: put and get, nothing else. */
#ifndef CMP_PY_SIMPLEQUEUE_H
#define CMP_PY_SIMPLEQUEUE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

int cmpy_simplequeue_add(PyObject *module);

#endif
