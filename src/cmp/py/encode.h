/* Objects to bytes: our own encoding (py/wire.h) for plain objects, pickle 5 with out-of-band buffers for all others.
 *
 * Encoding may run any Python code (reducers, finalizers): it is done before any shared lock is touched. What comes
 * out of cmpy_decode has the values, types and identity graph that pickle.loads(pickle.dumps(object)) has; an object
 * that cannot be pickled raises what ForkingPickler raises. */
#ifndef CMP_PY_ENCODE_H
#define CMP_PY_ENCODE_H

#include "py/sink.h"
#include "py/state.h"

/* One object, whole. -1 with the pickling error set, the sink as it was before. May be called several times: objects
 * follow one another (identity is kept within each, not between them). The object must stay alive until the sink is
 * cleared only where its buffers are referred to, which the sink itself sees to. */
int cmpy_encode(struct cmpy_state *state, struct cmpy_sink *sink, PyObject *object);

#endif
