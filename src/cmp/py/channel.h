/* Channel: what a Queue, a SimpleQueue and their two ends share: a segment with one queue in it, and an eventfd.
 *
 * One per process and object, counted: an end that outlives its queue keeps the channel open. All fields change under
 * the GIL only. After a fork the child uses it as it is: mappings and descriptors are inherited, and members join
 * again by themselves. */
#ifndef CMP_PY_CHANNEL_H
#define CMP_PY_CHANNEL_H

#include "py/state.h"

#include "shm/queue.h"

#include <stdbool.h>

struct cmpy_channel {
    Py_ssize_t references;
    struct cmpy_state *state;
    bool reader_closed, writer_closed;
    bool of_fork;                   /* made by a context that forks; the stdlib then refuses to spawn with it */
    struct cmpy_channel *replaced;  /* what __init__, called again, put aside: a thread may be waiting there */
    PyObject *life;                 /* the manager's, which `queue` looks at (queue.look_arg), or NULL */
    uint32_t fed_epoch;             /* the fork epoch of the process that last put something here */
    int event_fd;
    struct cmp_queue queue;
    struct cmp_segment segment;
};

/* The names it takes from the standard library. */
int cmpy_channel_add(PyObject *module);

/* NULL with an exception. capacity 0 is unbounded. */
struct cmpy_channel *cmpy_channel_create(struct cmpy_state *state, uint64_t capacity);
struct cmpy_channel *cmpy_channel_keep(struct cmpy_channel *channel);
void cmpy_channel_drop(struct cmpy_channel *channel);

/* For a child being spawned: (memfd, eventfd) as reduction.DupFd objects; and the other way round. */
PyObject *cmpy_channel_export(struct cmpy_channel *channel);
struct cmpy_channel *cmpy_channel_import(struct cmpy_state *state, PyObject *exported);

/* For __init__, __getstate__ and __setstate__ of the queues' types. *place is a new channel, or one that arrived, and
 * what was there is put aside; ctx NULL is a missing argument. getstate is the RuntimeError that the `owner` has to be
 * inherited, unless a process is being spawned. -1 or NULL with an exception. */
int cmpy_channel_init(struct cmpy_channel **place, PyTypeObject *type, PyObject *ctx, uint64_t capacity);
PyObject *cmpy_channel_getstate(struct cmpy_channel *channel, PyObject *owner);
int cmpy_channel_setstate(struct cmpy_channel **place, PyTypeObject *type, PyObject *exported);

/* Encoded before anything is waited for. -1 with an exception: the pickling error, Full, ShutDown, MemoryError, or
 * what a signal handler raised; then the object has not been put. *encoded tells whether it was encoded. */
int cmpy_channel_put(struct cmpy_channel *channel, PyObject *object, int64_t deadline_ns, bool *encoded);
/* The next object; Empty, ShutDown, what unpickling it raised (it is consumed then), or a handler's exception. */
PyObject *cmpy_channel_get(struct cmpy_channel *channel, int64_t deadline_ns);
/* channelmany.c. How many were put before the deadline; -1 with an exception if that is none, or if the iterable
 * raised. */
Py_ssize_t cmpy_channel_put_many(struct cmpy_channel *channel, PyObject *iterable, int64_t deadline_ns);
/* A list of one to `most` objects. */
PyObject *cmpy_channel_get_many(struct cmpy_channel *channel, Py_ssize_t most, int64_t deadline_ns);

/* What a put or a get that came to `code` raises. */
int cmpy_channel_raise_put(struct cmpy_channel *channel, int code);
PyObject *cmpy_channel_raise_get(struct cmpy_channel *channel, int code);

/* 1: an item is there, 0: not before the deadline, -1 with an exception. */
int cmpy_channel_poll(struct cmpy_channel *channel, int64_t deadline_ns);
/* Whether nothing is there. */
bool cmpy_channel_empty(struct cmpy_channel *channel);
/* 1: an item was announced and never came, because its producer was killed; told once. 0: no. -1 with an exception. */
int cmpy_channel_was_announced_in_vain(struct cmpy_channel *channel);
/* A descriptor that is readable while items are there; -1 with an exception. */
int cmpy_channel_fileno(struct cmpy_channel *channel);
int cmpy_channel_shutdown(struct cmpy_channel *channel, bool immediate);
int cmpy_channel_join(struct cmpy_channel *channel);

#endif
