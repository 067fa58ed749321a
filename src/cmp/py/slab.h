/* Slab: the Python object around a memfd of lock cells, for contexts whose children inherit nothing. It is one object
 * per memfd and process, so that a pickle that refers to it many times carries its descriptor once (the launchers
 * refuse a descriptor that comes twice). */
#ifndef CMP_PY_SLAB_H
#define CMP_PY_SLAB_H

#include "py/state.h"

#include "shm/slab.h"

int cmpy_slab_add(PyObject *module);

/* A new reference to a slab with room, and an index just claimed there. NULL with an exception. */
PyObject *cmpy_slab_claim(struct cmpy_state *state, uint32_t *index);

/* NULL with TypeError if it is no slab. */
struct cmp_slab *cmpy_slab_get(struct cmpy_state *state, PyObject *slab);

#endif
