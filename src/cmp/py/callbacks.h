/* Callbacks: the thread of a pool that calls back.
 *
 * One daemon thread per pool, from its first job with a callback to the pool's end, calls the callbacks in the order in
 * which the jobs' results arrived; a job is done after that. Whatever a callback does, waiting for this or another
 * pool, blocking, joining another pool, it holds up further callbacks of its own pool and nothing else. */
#ifndef CMP_PY_CALLBACKS_H
#define CMP_PY_CALLBACKS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "shm/eventcount.h"

#include <stdbool.h>

struct cmpy_engine;
struct cmpy_job;

/* Guarded by the GIL but `rings`. */
struct cmpy_callbacks {
    Py_ssize_t out;                   /* jobs with a callback that are not done */
    struct cmpy_job *first, **last;   /* strong; who is to be called back now */
    bool running;                     /* the thread */
    unsigned long thread;             /* its id, while running */
    PyObject *object;                 /* its object likewise; NULL: unknown */
    _Atomic uint32_t rings;
    struct cmp_eventcount bell;
};

int cmpy_callbacks_add(PyObject *module);

void cmpy_callbacks_init(struct cmpy_callbacks *callbacks);
/* A job with callbacks is about to be submitted: there is a thread. -1 with an exception. */
int cmpy_callbacks_prepare(struct cmpy_engine *engine);
/* All that a job waited for has arrived: it is called back soon. Runs no Python code. */
void cmpy_callbacks_queue(struct cmpy_job *job);
/* The pool is over: the thread ends. */
void cmpy_callbacks_end(struct cmpy_engine *engine);
/* Is the calling thread this pool's? Any pool's? */
bool cmpy_callbacks_is_me(const struct cmpy_engine *engine);
bool cmpy_callbacks_is_any(void);

#endif
