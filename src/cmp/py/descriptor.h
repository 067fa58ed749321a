/* Descriptors inside pickles: on their way to a spawned child, or over a manager's socket. */
#ifndef CMP_PY_DESCRIPTOR_H
#define CMP_PY_DESCRIPTOR_H

#include "py/state.h"

/* What stands for fd in a pickle: the stdlib's DupFd of whatever is being started. NULL with an exception. */
PyObject *cmpy_descriptor_export(struct cmpy_state *state, int fd);
/* The descriptor behind it, ours now, and closed in what this process executes. -1 with an exception. */
int cmpy_descriptor_import(PyObject *exported);

/* send_descriptors and receive_descriptors: the socket's side of it (os/scm.h). */
int cmpy_descriptor_add(PyObject *module);

#endif
