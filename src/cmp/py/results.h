/* Results: what apply_async (ApplyResult, also called AsyncResult) and map_async (MapResult) give.
 * What happens to them is in results.c; their methods and types, as Python sees them, in resulttypes.c. */
#ifndef CMP_PY_RESULTS_H
#define CMP_PY_RESULTS_H

#include "py/engine.h"
#include "py/feeder.h"
#include "py/parcel.h"

typedef struct {
    struct cmpy_job job;
    struct cmpy_parcel *arrived, **last; /* unopened, in order of arrival */
    bool success;                        /* what is known so far; a map's is true until a chunk fails */
    bool starved;                        /* an outcome came for which there was no memory */
    PyObject *value;                     /* the value, the exception, or a map's list while it fills */
    PyObject *dict, *weak;
} ApplyResult;

typedef struct {
    ApplyResult result;
    struct cmpy_feed feed;
    Py_ssize_t length, chunksize, nleft;
} MapResult;

int cmpy_results_add(PyObject *module);

/* The result of one call, submitted. A call that cannot be encoded or queued gives a result that has failed. NULL with
 * an exception only where not even that was possible, or a signal handler has raised. */
ApplyResult *cmpy_apply(struct cmpy_engine *engine, PyObject *pool, PyObject *function, PyObject *arguments,
                        PyObject *keywords, PyObject *callback, PyObject *error_callback);
/* `items` is a sequence of known length. */
MapResult *cmpy_map(struct cmpy_engine *engine, PyObject *pool, PyObject *function, PyObject *items,
                    enum cmpy_task_kind kind, Py_ssize_t chunksize, PyObject *callback, PyObject *error_callback);
/* Waits for it and gives its value, or raises its exception. */
PyObject *cmpy_result_get(ApplyResult *result, int64_t deadline_ns);
/* Waits until it is done: 0; 1: not in time; -1 with an exception. */
int cmpy_result_wait(ApplyResult *result, int64_t deadline_ns);
/* Without waiting: is it done, now that what has arrived is delivered? -1 with an exception. */
int cmpy_result_look(ApplyResult *result);
/* Decodes what has arrived. -1 with an exception that is not the task's: to be called again. */
int cmpy_result_open(ApplyResult *result);

#endif
