/* Bootstrap: the life of a child process between the fork and its exit, as multiprocessing's BaseProcess._bootstrap
 * defines it (exit duties moved in Python 3.13; each version gets its own form).
 *
 * A forked child's time is copy-on-write faults, about 3 us each. So what it needs is made in the parent and only hung
 * up in the child (the cradle), and a step is left out where it provably does nothing. */
#ifndef CMP_PY_BOOTSTRAP_H
#define CMP_PY_BOOTSTRAP_H

#include "py/state.h"

#include <sys/types.h>

/* Makes in the parent what the next child will hang up: counter and set of its own children, the object that stands
 * for its parent, its sys.stdin on /dev/null. They lie in `state` (cradle_*) and serve every child of this process:
 * each has its own copy, and takes it out of its `state`. */
int cmpy_cradle_make(struct cmpy_state *state, PyObject *process);

/* Shall it end with its parent? A daemon shall, and whoever has a true `_lifeline`. -1 with an exception. */
int cmpy_wants_lifeline(struct cmpy_state *state, PyObject *process);

/* The forked child's whole life. `lifeline`: the parent's pid if it shall end with that one, else 0. */
_Noreturn void cmpy_child_run(struct cmpy_state *state, PyObject *process, pid_t lifeline);

/* Becomes `process`, runs it, and does what an ending process has to do. `parent_sentinel` NULL: this process has just
 * been forked by us; else it was spawned, and the sentinel (or None) came along. The exit code (whatever int SystemExit
 * carried), or NULL where the stdlib's _bootstrap would raise. */
PyObject *cmpy_bootstrap(struct cmpy_state *state, PyObject *process, PyObject *parent_sentinel);

#endif
