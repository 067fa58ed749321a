/* Pool: the object that users hold. It keeps what the stdlib's keeps under the same names (_pool, _state, _processes)
 * and hands all work to its engine (py/engine.h). Its making is in poolinit.c, its calls are in calls.c. */
#ifndef CMP_PY_POOL_H
#define CMP_PY_POOL_H

#include "py/engine.h"

typedef struct {
    PyObject_HEAD
    struct cmpy_engine *engine;  /* NULL before and after a failed __init__ */
    PyObject *list;              /* _pool */
    PyObject *state;             /* _state: "RUN", "CLOSE", "TERMINATE"; users may set it */
    PyObject *ctx, *processes, *initializer, *initargs, *maxtasks;
    PyObject *finalizer;         /* _terminate: a util.Finalize */
    PyObject *dict, *weak;
} Pool;

int cmpy_pool_add(PyObject *module);

/* Work may be given. -1 with an exception. */
int cmpy_pool_check_running(const Pool *self);
/* _state := one of state->str's; without memory, too. */
void cmpy_pool_set_state(Pool *self, PyObject *name);

#endif
