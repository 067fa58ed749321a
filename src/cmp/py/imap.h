/* Imap: the iterators that imap and imap_unordered give. The iterator is what the user holds; its job is apart, so that
 * results which nobody can fetch any more, because the iterator is gone, are dropped as they arrive. */
#ifndef CMP_PY_IMAP_H
#define CMP_PY_IMAP_H

#include "py/engine.h"
#include "py/feeder.h"

int cmpy_imap_add(PyObject *module);

/* NULL with an exception. chunksize 1: items are tasks; more: chunks are, and the iterator gives their items one by
 * one, ending for good at the first exception, as the stdlib's generator does. */
PyObject *cmpy_imap(struct cmpy_engine *engine, PyObject *pool, PyObject *function, PyObject *iterable, bool ordered,
                    Py_ssize_t chunksize, Py_ssize_t buffersize);

#endif
