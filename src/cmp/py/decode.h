/* Bytes to objects. The bytes came from another process: every length and offset is read once and checked. */
#ifndef CMP_PY_DECODE_H
#define CMP_PY_DECODE_H

#include "py/state.h"

/* The bytes stay where they are, unchanged, while an object is decoded: large parts are copied without the GIL.
 * Nothing that comes out refers to them afterwards. */
struct cmpy_source {
    const unsigned char *bytes;
    size_t size, at;
};

/* The next object. NULL with an exception: what unpickling raised, or ValueError for bytes that cannot be ours; `at`
 * is then anywhere. */
PyObject *cmpy_decode(struct cmpy_state *state, struct cmpy_source *source);
/* The next `size` raw bytes, NULL (no exception) if fewer are left. */
const void *cmpy_source_raw(struct cmpy_source *source, size_t size);

#endif
