/* Barrier (shm/barrier.h). */
#ifndef CMP_PY_BARRIER_H
#define CMP_PY_BARRIER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

int cmpy_barrier_add(PyObject *module);

#endif
