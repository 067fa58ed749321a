/* Thread: how the pool's helper threads are started: as daemons, so that no program waits for them at its end. */
#ifndef CMP_PY_THREAD_H
#define CMP_PY_THREAD_H

#include "py/state.h"

/* threading.Thread(target=function, args=(argument,), daemon=True).start(). -1 with an exception; if that is a signal
 * handler's, the thread may yet come to life. */
int cmpy_thread_start(struct cmpy_state *state, const char *name, PyObject *function, PyObject *argument);

#endif
