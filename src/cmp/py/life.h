/* Life: the Python object around the page by which a manager's clients know that it is there (shm/life.h). */
#ifndef CMP_PY_LIFE_H
#define CMP_PY_LIFE_H

#include "py/state.h"

#include "shm/life.h"

int cmpy_life_add(PyObject *module);

/* NULL with TypeError if it is none. The page stays mapped as long as the object lives. */
struct cmp_life *cmpy_life_get(struct cmpy_state *state, PyObject *object);

#endif
