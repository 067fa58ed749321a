/* Reducers: the dispatch table of our pickler, a mapping with no content of its own. */
#ifndef CMP_PY_REDUCERS_H
#define CMP_PY_REDUCERS_H

#include "py/state.h"

/* Sets state->reducers, an object whose item for a type is ForkingPickler's registered reducer, else copyreg's, as
 * they are at that moment; KeyError without either. Needs state->extra_reducers and state->copyreg_table. */
int cmpy_reducers_add(PyObject *module);

/* Whether a reducer is registered for `type`, which pickle would ask first: 1, 0, or -1 with an exception. */
int cmpy_reducers_has(struct cmpy_state *state, PyTypeObject *type);

#endif
