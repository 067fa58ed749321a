/* Reducers: the dispatch table of our pickler, a mapping with no content of its own. */
#ifndef CMP_PY_REDUCERS_H
#define CMP_PY_REDUCERS_H

#include "py/state.h"

#include <stdbool.h>

/* Sets state->reducers, an object whose item for a type is ForkingPickler's registered reducer, else copyreg's, as
 * they are at that moment; KeyError without either. Needs state->extra_reducers and state->copyreg_table. */
int cmpy_reducers_add(PyObject *module);

/* Whether a reducer is registered for `type`, which pickle would ask first: 1, 0, or -1 with an exception. */
int cmpy_reducers_has(struct cmpy_state *state, PyTypeObject *type);

/* Between begin and end, what this thread pickles goes into a queue of a manager's. A proxy in there has to keep its
 * referent alive though its owner drops it: it is reduced by the reducer that cmp.proxies gave for this. `put` tells
 * cmp.proxies how it ended. Keeps an exception that is set. */
struct cmpy_carriage {
    unsigned nproxies;
    struct cmpy_carriage *outer; /* of the put in which this one is made */
};
void cmpy_carriage_begin(struct cmpy_carriage *carriage);
void cmpy_carriage_end(struct cmpy_carriage *carriage, struct cmpy_state *state, bool put);

#endif
