/* Feeding: how the tasks of a lazily fed job get into the queue.
 *
 * A feed pulls items, or chunks of them, from an iterator and submits each as a task, as long as there is room: at most
 * CMPY_FEED_WINDOW of its tasks are out at a time (or `buffersize` whose results have not been handed out), and a pool
 * holds at most CMPY_FEED_KIB of tasks. So an endless iterable costs bounded memory on the way in. Items that fail at
 * once, since they do not pickle, are never out: from the CMPY_FEED_WINDOW-th on a feed is at most as far ahead of what
 * the user has taken. A pool that has been ended feeds nothing more.
 *
 * Iterating a list, tuple or range runs nobody's code: whoever comes by feeds these (the call itself, next(), the
 * supervisor). Any other iterable may block, or wait for what its consumer does, or for another feed (an imap over an
 * imap): each has a feeder thread of its own, and nothing else depends on it. */
#ifndef CMP_PY_FEEDER_H
#define CMP_PY_FEEDER_H

#include "py/engine.h"
#include "py/sink.h"

#define CMPY_FEED_WINDOW 1024
#define CMPY_FEED_KIB (256 * 1024)

enum cmpy_task_kind { CMPY_TASK_CALL, CMPY_TASK_MAP, CMPY_TASK_STARMAP };

/* What a task record begins with. Then, as objects, function and arguments: for CALL a tuple and a dict or None, else
 * the chunk; `joint`: one tuple of these instead, so that what they share stays shared. */
struct cmpy_task_header {
    uint16_t kind;
    uint16_t joint;
    uint32_t reserved;
};

struct cmpy_feed {
    PyObject *iterator;      /* NULL: ended */
    PyObject *function;
    PyObject *encoded;       /* bytes: the function's, where these may be used again; or NULL */
    PyObject *put_back;      /* what was taken from the iterator when a signal handler raised; the next task, or NULL */
    enum cmpy_task_kind kind;
    Py_ssize_t chunksize;
    Py_ssize_t next;         /* position of the next task */
    Py_ssize_t arrived;      /* outcomes so far */
    Py_ssize_t handed_out;   /* of them, to the user */
    Py_ssize_t refused;      /* of them, failed before they were queued */
    Py_ssize_t buffersize;   /* 0: no limit of the user's */
    bool whole;              /* a map's: all of it lies in memory anyway, so there is no window */
    bool harmless;           /* iterating runs no user code */
    bool busy;               /* somebody is at it ... */
    bool away;               /* ... and in users' code, which may never come back: the iterable's, or pickling's */
    PyObject *thread;        /* the feeder's object, while it is there; NULL: there is none, or it is unknown */
};

int cmpy_feeder_add(PyObject *module);

/* For the types that have one. */
int cmpy_feed_traverse(struct cmpy_feed *feed, visitproc visit, void *arg);
void cmpy_feed_clear(struct cmpy_feed *feed);

/* Begins a feed of `iterable`. -1 with an exception. */
int cmpy_feed_begin(struct cmpy_state *state, struct cmpy_feed *feed, PyObject *function, PyObject *iterable,
                    enum cmpy_task_kind kind, Py_ssize_t chunksize);
/* Encodes a task. -1 with an exception. */
int cmpy_task_encode(struct cmpy_state *state, struct cmpy_sink *sink, enum cmpy_task_kind kind, PyObject *function,
                     PyObject *arguments, PyObject *keywords);

/* Lists the job as being fed and begins. -1 with an exception. */
int cmpy_feeds_enlist(struct cmpy_engine *engine, struct cmpy_job *job);
/* Feeds what is harmless, and wakes the feeder threads for the rest. */
void cmpy_feeds_advance(struct cmpy_engine *engine);
/* The same for one job, when there is room again worth the trouble. -1 with a signal handler's exception: nothing is
 * lost, the next call goes on. */
int cmpy_feed_advance(struct cmpy_job *job);
/* No more tasks: each fed job ends where it is. */
void cmpy_feeds_end(struct cmpy_engine *engine);

#endif
