/* Popen: the handle of a child process, kept by a Process in `_popen`; what the stdlib's Popen is to its processes.
 *
 * Popen(process) forks; the child runs the process's life and never returns. Subclasses that start children in another
 * way (cmp.launchers) set `pid` and never call our __init__. A child ends for good when its exit code is known: reaped
 * here, or found to have been reaped by somebody else (255). Only the process that started the child may learn more
 * than its pid; asked in any other, poll() and wait() say None as in the stdlib. */
#ifndef CMP_PY_POPEN_H
#define CMP_PY_POPEN_H

#include "py/state.h"

int cmpy_popen_add(PyObject *module);

#endif
