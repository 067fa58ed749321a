/* Queue and JoinableQueue. */
#ifndef CMP_PY_QUEUE_H
#define CMP_PY_QUEUE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

int cmpy_queue_add(PyObject *module);

#endif
