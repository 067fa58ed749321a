/* Bootstrap: the life of a child process between the fork and its exit, as multiprocessing's BaseProcess._bootstrap
 * defines it (exit duties moved in Python 3.13; each version gets its own form). */
#ifndef CMP_PY_BOOTSTRAP_H
#define CMP_PY_BOOTSTRAP_H

#include "py/state.h"

#include <sys/types.h>

/* The forked child's whole life. `lifeline`: the parent's pid if it shall end with that one, else 0. */
_Noreturn void cmpy_child_run(struct cmpy_state *state, PyObject *process, pid_t lifeline);

/* Becomes `process`, runs it, and does what an ending process has to do. `parent_sentinel` NULL: this process has just
 * been forked by us; else it was spawned, and the sentinel (or None) came along. The exit code (whatever int SystemExit
 * carried), or NULL where the stdlib's _bootstrap would raise. */
PyObject *cmpy_bootstrap(struct cmpy_state *state, PyObject *process, PyObject *parent_sentinel);

#endif
