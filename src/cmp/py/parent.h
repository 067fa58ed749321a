/* What parent_process() gives in a forked child: the stdlib's object, whose sentinel is a pidfd opened at first use
 * instead of a pipe made for every child. */
#ifndef CMP_PY_PARENT_H
#define CMP_PY_PARENT_H

#include "py/state.h"

/* The object that stands for this process in a child forked next. */
PyObject *cmpy_parent_new(struct cmpy_state *state, PyObject *process);
int cmpy_parent_add(PyObject *module);

#endif
