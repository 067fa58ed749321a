/* JoinableQueue: a Queue whose users say when an object is done. */
#ifndef CMP_PY_JOINABLEQUEUE_H
#define CMP_PY_JOINABLEQUEUE_H

#include "py/state.h"

/* `queue` is the type Queue. -1 with an exception. */
int cmpy_joinablequeue_add(PyObject *module, PyObject *queue);

#endif
