/* Process: the stdlib's BaseProcess with its verbs in C. No C fields: all state is in the instance's dict, where the
 * stdlib's books look for it, and in `_popen`. A subclass says by its static `_Popen(process)` how children start. */
#ifndef CMP_PY_PROCESS_H
#define CMP_PY_PROCESS_H

#include "py/state.h"

/* Its verbs, as if nobody had patched them (py/patches.h), with the stdlib's checks and exceptions. */
PyObject *cmpy_process_start(struct cmpy_state *state, PyObject *self);
PyObject *cmpy_process_run(struct cmpy_state *state, PyObject *self);
PyObject *cmpy_process_join(struct cmpy_state *state, PyObject *self, PyObject *timeout);
PyObject *cmpy_process_is_alive(struct cmpy_state *state, PyObject *self);
PyObject *cmpy_process_terminate(struct cmpy_state *state, PyObject *self);
PyObject *cmpy_process_kill(struct cmpy_state *state, PyObject *self);
PyObject *cmpy_process_interrupt(struct cmpy_state *state, PyObject *self);
PyObject *cmpy_process_close(struct cmpy_state *state, PyObject *self);
PyObject *cmpy_process_own_sentinel(struct cmpy_state *state, PyObject *self);

/* The type (processtype.c). */
int cmpy_process_add(PyObject *module);

#endif
