/* Job: what every call that gives the pool work has in common, behind the results and iterators that users hold.
 *
 * A job is a Python object. The book of tasks holds one reference for each of its tasks, so a result that nobody keeps
 * is there until its last task is answered, and gone then, with what it was given. Everything is guarded by the GIL.
 *
 *   waiting for results --receive()--> arrived --(callbacks run)--> done
 *
 * `done` is what ready() says. A job with a callback becomes done in the thread of py/callbacks.h only. */
#ifndef CMP_PY_JOB_H
#define CMP_PY_JOB_H

#include "py/state.h"

#include <stdbool.h>

struct cmpy_engine;
struct cmpy_feed;
struct cmpy_parcel;
struct cmpy_job;

struct cmpy_job_kind {
    /* One outcome; takes over the parcel. Runs no Python code. */
    void (*receive)(struct cmpy_job *job, struct cmpy_parcel *parcel);
    /* py/callbacks.h: opens what arrived and calls back. An exception is reported, not handed on. */
    void (*call_back)(struct cmpy_job *job);
    /* A lazily fed job: no positions from `length` on will come. NULL for others. */
    void (*set_length)(struct cmpy_job *job, Py_ssize_t length);
    /* A lazily fed job: before each position is given. False: no memory for its outcome, so it has to wait. NULL: none
     * is needed. */
    bool (*reserve)(struct cmpy_job *job);
};

struct cmpy_job {
    PyObject_HEAD
    const struct cmpy_job_kind *kind;
    struct cmpy_engine *engine;      /* strong, as long as the job lives */
    PyObject *pool;                  /* strong until done: a pool whose results are awaited stays */
    PyObject *function;              /* until done: for WorkerLostError */
    PyObject *callback, *error_callback;
    uint64_t number;
    Py_ssize_t waiters;              /* threads that sleep for this job */
    bool done;
    bool calls_back;                 /* counted in engine->callbacks.out */
    struct cmpy_feed *feed;          /* of a job that is fed lazily, else NULL */
    struct cmpy_job *next_called;    /* py/callbacks.h's list */
};

/* Fills the common fields (the object is fresh from tp_alloc). */
void cmpy_job_begin(struct cmpy_job *job, const struct cmpy_job_kind *kind, struct cmpy_engine *engine, PyObject *pool,
                    PyObject *function);
/* Takes callbacks, where they are not NULL or None. */
void cmpy_job_set_callbacks(struct cmpy_job *job, PyObject *callback, PyObject *error_callback);
/* The one that fits the outcome is called with it, an exception of it is reported. For kind->call_back. */
void cmpy_job_call(struct cmpy_job *job, bool success, PyObject *value);
/* All outcomes are there: done, or for the callbacks' thread to call back. */
void cmpy_job_arrived(struct cmpy_job *job);
/* Done: wakes whoever waits, lets go of pool and function. */
void cmpy_job_finish(struct cmpy_job *job);
int cmpy_job_traverse(struct cmpy_job *job, visitproc visit, void *arg);
void cmpy_job_clear(struct cmpy_job *job);

#endif
