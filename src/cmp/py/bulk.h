/* Bulk: lists and tuples of nothing but small ints, or nothing but floats, as packed numbers (py/wire.h). */
#ifndef CMP_PY_BULK_H
#define CMP_PY_BULK_H

#include "py/sink.h"

#include <stdbool.h>

/* From this length on it pays to try. */
#define CMPY_BULK_FROM 8

/* Writes the whole sequence, tag and all: 1; 0 with nothing written if it is not one for us; -1 with MemoryError.
 * `items` has at least one item. */
int cmpy_bulk_write(struct cmpy_sink *sink, PyObject *const *items, Py_ssize_t count, bool is_list);

/* A new list or tuple of the `count` ints of `width` (1, 2, 4, 8) at `payload`, or of doubles for width 0. */
PyObject *cmpy_bulk_read(const unsigned char *payload, size_t count, unsigned width, bool is_list);

#endif
