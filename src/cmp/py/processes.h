/* Processes: what a pool asks of its process objects, which may be of the user's own kind.
 *
 * What such an object raises is its own affair and is dropped: it then counts as having said nothing. What is no
 * Exception came from a signal handler that ran meanwhile (Ctrl-C), and stays set. */
#ifndef CMP_PY_PROCESSES_H
#define CMP_PY_PROCESSES_H

#include "py/state.h"

#define CMPY_UNKNOWN_END 255 /* of who was reaped by others, or ended with its fork server */

/* The exit code, INT_MIN while it lives. A process object that cannot say any more has ended: CMPY_UNKNOWN_END. */
int cmpy_process_exitcode(struct cmpy_state *state, PyObject *process);
/* The descriptor that becomes readable when it ends; -1 where a process has none. */
int cmpy_process_sentinel(struct cmpy_state *state, PyObject *process);
int cmpy_process_pid(struct cmpy_state *state, PyObject *process);
/* Calls its method of that name. */
void cmpy_process_tell(PyObject *process, PyObject *method);

#endif
