/* Cradle: how a child becomes the process that it stands for: its entries in the books, its stdin, what others want to
 * have renewed after a fork.
 *
 * A forked child's time is copy-on-write faults, about 3 us each. So what it needs is made in the parent and only hung
 * up in the child, and a step is left out where it provably does nothing. */
#ifndef CMP_PY_CRADLE_H
#define CMP_PY_CRADLE_H

#include "py/state.h"

/* Makes in the parent what the next child will hang up: counter and set of its own children, the object that stands
 * for its parent, its sys.stdin on /dev/null. They lie in `state` (cradle_*) and serve every child of this process:
 * each has its own copy, and takes it out of its `state`. */
int cmpy_cradle_make(struct cmpy_state *state, PyObject *process);

/* In the child, forked by us with what the parent's cradle held, or spawned with a sentinel (or None): -1 with an
 * exception. */
int cmpy_become_forked(struct cmpy_state *state, PyObject *process);
int cmpy_become_spawned(struct cmpy_state *state, PyObject *process, PyObject *sentinel);

#endif
