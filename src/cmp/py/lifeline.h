/* Lifeline: which children end with their parent, and how each kind of child takes hold of it (os/lifeline.h). */
#ifndef CMP_PY_LIFELINE_H
#define CMP_PY_LIFELINE_H

#include "py/state.h"

#include <sys/types.h>

/* Shall it end with its parent? A daemon shall, and whoever has a true `_lifeline`. -1 with an exception. */
int cmpy_lifeline_wanted(struct cmpy_state *state, PyObject *process);

/* In the child: from now on it ends with that parent; at once if that has ended already. */
void cmpy_lifeline_take(pid_t parent);
/* The same in a spawned child, if it is wanted. A fork server's child has the server as its parent and knows of the one
 * that is meant by the sentinel, a pipe. -1 with an exception. */
int cmpy_lifeline_take_if_wanted(struct cmpy_state *state, PyObject *process, PyObject *parent_pid, PyObject *sentinel);

#endif
