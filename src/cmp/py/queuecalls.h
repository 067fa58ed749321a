/* Queue calls: what users ask of a queue, be it a Queue between processes or a manager's: put, get and their like.
 *
 * The object of each such type begins with `struct cmpy_queue_calls`, its tp_new says of which kind it is, and its
 * table of methods names the functions below. What differs between the kinds is in the kind. */
#ifndef CMP_PY_QUEUECALLS_H
#define CMP_PY_QUEUECALLS_H

#include "py/arguments.h"
#include "py/channel.h"

struct cmpy_queue_calls;

struct cmpy_queue_kind {
    struct cmpy_signature put, put_nowait; /* which name the object as the type's documentation does */
    /* Whether this process may put and get; whether it may ask and settle accounts; and ask for emptiness. 0, or -1
     * with an exception. Where they say 0 there is a channel. */
    int (*check_usable)(struct cmpy_queue_calls *self);
    int (*check_present)(struct cmpy_queue_calls *self);
    int (*check_readable)(struct cmpy_queue_calls *self);
    PyObject *(*put_until)(struct cmpy_queue_calls *self, PyObject *object, int64_t deadline_ns);
    bool refuses_negative_timeouts;
};

struct cmpy_queue_calls {
    PyObject_HEAD
    const struct cmpy_queue_kind *kind;
    struct cmpy_channel *channel; /* NULL until __init__ or __setstate__ */
};

/* maxsize as __init__ takes it, NULL for none, made a capacity: 0 is unbounded. -1 with an exception. */
int cmpy_queue_capacity(PyObject *maxsize, uint64_t *capacity);
/* block and timeout at values[0] and [1], either NULL. -1 with an exception. */
int cmpy_queue_deadline(const struct cmpy_queue_kind *kind, PyObject *const *values, int64_t *deadline_ns);

PyObject *cmpy_queue_put(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *cmpy_queue_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *cmpy_queue_put_nowait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *cmpy_queue_get_nowait(PyObject *self, PyObject *ignored);
PyObject *cmpy_queue_qsize(PyObject *self, PyObject *ignored);
PyObject *cmpy_queue_empty(PyObject *self, PyObject *ignored);
PyObject *cmpy_queue_full(PyObject *self, PyObject *ignored);
PyObject *cmpy_queue_task_done(PyObject *self, PyObject *ignored);
PyObject *cmpy_queue_join(PyObject *self, PyObject *ignored);
PyObject *cmpy_queue_shutdown(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* A row of a table of methods whose function takes its arguments as a vector. */
#define CMPY_FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS

#endif
