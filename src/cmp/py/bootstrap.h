/* Bootstrap: the life of a child process between the fork and its exit, as multiprocessing's BaseProcess._bootstrap
 * defines it (exit duties moved in Python 3.13; each version gets its own form).
 *
 * A forked child's time is copy-on-write faults, about 3 us each. So what it needs is made in the parent before the
 * fork (the cradle) and only hung up in the child; and a step is left out where it provably does nothing. */
#ifndef CMP_PY_BOOTSTRAP_H
#define CMP_PY_BOOTSTRAP_H

#include "py/state.h"

/* Made in the parent for one child. */
struct cmpy_cradle {
    PyObject *counter;  /* process._process_counter */
    PyObject *children; /* process._children */
    PyObject *parent;   /* process._parent_process */
    PyObject *stdin_text, *stdin_raw; /* sys.stdin on /dev/null, and its FileIO, which gets its descriptor later */
};

int cmpy_cradle_make(struct cmpy_state *state, PyObject *process, struct cmpy_cradle *cradle);
void cmpy_cradle_clear(struct cmpy_cradle *cradle);

/* The forked child's whole life. */
_Noreturn void cmpy_child_run(struct cmpy_state *state, PyObject *process, struct cmpy_cradle *cradle);

/* Becomes `process`, runs it, and does what an ending process has to do. With a cradle: this process has just been
 * forked by us; without one it was spawned, and `parent_sentinel` came along. The exit code (whatever int SystemExit
 * carried), or NULL where the stdlib's _bootstrap would raise. */
PyObject *cmpy_bootstrap(struct cmpy_state *state, PyObject *process, struct cmpy_cradle *cradle,
                         PyObject *parent_sentinel);

#endif
