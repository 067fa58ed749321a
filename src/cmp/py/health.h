/* Health: what an inspection of an object's shared memory finds, for tests, campaigns and the curious. */
#ifndef CMP_PY_HEALTH_H
#define CMP_PY_HEALTH_H

#include "py/state.h"

int cmpy_health_add(PyObject *module);

#endif
