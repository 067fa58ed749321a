/* Pool: the object that users hold. It keeps what the stdlib's keeps under the same names (_pool, _state, _processes)
 * and hands all work to its engine (py/engine.h). */
#ifndef CMP_PY_POOL_H
#define CMP_PY_POOL_H

#include "py/state.h"

int cmpy_pool_add(PyObject *module);

#endif
