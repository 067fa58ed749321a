/* ManagedQueue: what Manager().Queue() refers to, a queue.Queue to its users over our shared-memory queue; and Life,
 * by which its clients know that the manager is there. */
#ifndef CMP_PY_MANAGERQUEUE_H
#define CMP_PY_MANAGERQUEUE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

int cmpy_managerqueue_add(PyObject *module);

#endif
