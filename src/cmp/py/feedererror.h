/* Feeder error: Queue._on_queue_feeder_error, by which subclasses (concurrent.futures has one) hear of objects that
 * cannot be pickled. The standard library's feeder thread calls it; here put raises, unless a subclass overrides it. */
#ifndef CMP_PY_FEEDERERROR_H
#define CMP_PY_FEEDERERROR_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* The method itself, static, of (e, obj): prints the error. */
PyObject *cmpy_feeder_error_print(PyObject *ignored, PyObject *args);

/* The error that is set goes to a subclass's method: 0. -1 with the error still set if there is none, or it is none of
 * those, or with the one that the method raised. */
int cmpy_feeder_error_report(PyObject *queue, PyObject *object);

#endif
