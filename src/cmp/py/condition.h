/* Condition (shm/condition.h). */
#ifndef CMP_PY_CONDITION_H
#define CMP_PY_CONDITION_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

int cmpy_condition_add(PyObject *module);

#endif
