/* Faults: the fault points (os/fault.h) for tests written in Python. Only in builds with CMP_FAULTS. */
#ifndef CMP_PY_FAULTS_H
#define CMP_PY_FAULTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

int cmpy_faults_add(PyObject *module);

#endif
