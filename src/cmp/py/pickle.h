/* The fallback: pickle protocol 5 with the reducers that ForkingPickler would use.
 *
 * What makes ForkingPickler slow is the dispatch table it builds for each object. Here one C pickler is kept, with one
 * mapping that looks a type up in ForkingPickler's and copyreg's tables as they are now, so that later registrations
 * count. Large bytes and out-of-band buffers go into the sink by reference. */
#ifndef CMP_PY_PICKLE_H
#define CMP_PY_PICKLE_H

#include "py/sink.h"
#include "py/state.h"

/* Buffers from this size on travel out of band: a copy saved on either side, for the price of an exporter object. */
#define CMPY_PICKLE_OUT_OF_BAND 4096

/* Adds the two types used, and finds pickle and the tables. */
int cmpy_pickle_add(PyObject *module);

/* Writes a PICKLE of `object` (py/wire.h), tag and all. -1 with what ForkingPickler, or the one in its place
 * (py/otherpickler.h), raises; the sink may then hold part of it. */
int cmpy_pickle_dump(struct cmpy_state *state, struct cmpy_sink *sink, PyObject *object);
/* Reads one from `bytes`, behind its tag; *used tells how many bytes were its. NULL with an exception: what unpickling
 * raised, or ValueError where sizes do not fit. */
PyObject *cmpy_pickle_load(struct cmpy_state *state, const unsigned char *bytes, size_t size, size_t *used);

#endif
