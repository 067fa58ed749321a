/* Process.__init__: what the stdlib's BaseProcess.__init__ does, attribute for attribute.
 *
 * In C because of the forks around it: each page that the parent writes to after a fork is copied, and a frame of
 * Python code writes to some twenty (reference counts of its code, names and globals). */
#ifndef CMP_PY_PROCESSINIT_H
#define CMP_PY_PROCESSINIT_H

#include "py/state.h"

int cmpy_process_init(PyObject *self, PyObject *args, PyObject *kwargs);

#endif
