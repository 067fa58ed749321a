/* What a context says of the objects made for it: those of the fork context are inherited and do not travel. */
#ifndef CMP_PY_CONTEXT_H
#define CMP_PY_CONTEXT_H

#include "py/state.h"

/* 1: its processes fork, 0: they do not, -1 with an exception. */
int cmpy_context_is_fork(struct cmpy_state *state, PyObject *ctx);
/* NULL, with the stdlib's refusal to send a fork context's object to a spawned process. */
PyObject *cmpy_context_refuse_spawn(void);

#endif
