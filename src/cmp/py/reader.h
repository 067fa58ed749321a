/* The two ends of a queue, `_reader` and `_writer`, as other code leans on them: to select on, to ask whether they are
 * closed, and, as concurrent.futures does, to receive one whole item. */
#ifndef CMP_PY_READER_H
#define CMP_PY_READER_H

#include "py/channel.h"

int cmpy_reader_add(PyObject *module);

/* A new end, which keeps the channel open. */
PyObject *cmpy_reader_new(struct cmpy_channel *channel, bool writer);
/* The channel behind an end, borrowed; NULL if the object is none. */
struct cmpy_channel *cmpy_reader_channel(struct cmpy_state *state, PyObject *end);

#endif
