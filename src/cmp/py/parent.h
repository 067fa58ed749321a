/* What parent_process() gives in a forked child: the stdlib's object, whose sentinel is a pidfd opened at first use
 * instead of a pipe made for every child. */
#ifndef CMP_PY_PARENT_H
#define CMP_PY_PARENT_H

#include "py/state.h"

#include <stdbool.h>

/* The object that stands in a child for this process, which is about to start `process`. */
PyObject *cmpy_parent_new(struct cmpy_state *state, PyObject *process);
/* Would cmpy_parent_new make the same again? */
bool cmpy_parent_fits(struct cmpy_state *state, PyObject *parent, PyObject *process);
int cmpy_parent_add(PyObject *module);

#endif
