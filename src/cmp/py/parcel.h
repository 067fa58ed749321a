/* Parcel: the outcome of one task on its way to its job, unopened.
 *
 * What comes from a worker stays bytes until somebody wants the object: unpickling runs users' code, which must fail,
 * or be interrupted by Ctrl-C, in the call of whom it concerns and nowhere else. Large ones stay in shared memory.
 *
 * Every task gets a parcel: where there is no memory for one, it is `cmpy_parcel_starved`, the same for all, which
 * opens as MemoryError. It may be in many places at once, but in no list. */
#ifndef CMP_PY_PARCEL_H
#define CMP_PY_PARCEL_H

#include "py/engine.h"
#include "py/state.h"

#include "shm/queue.h"

#include <stdbool.h>

enum cmpy_parcel_kind {
    CMPY_PARCEL_BYTES,  /* a result record */
    CMPY_PARCEL_ERROR,  /* an exception raised in this process: `object` */
    CMPY_PARCEL_LOST,   /* the worker died over it: `object` is the function */
    CMPY_PARCEL_ENDED,  /* the pool ended first; `object` NULL, or the pool's last words, a str */
    CMPY_PARCEL_STARVED,
};

struct cmpy_parcel {
    struct cmpy_parcel *next;
    Py_ssize_t references;
    enum cmpy_parcel_kind kind;
    Py_ssize_t position;
    PyObject *object;
    int pid, exitcode;        /* LOST; pid 0: it was not told */
    double seconds;           /* LOST: how long it had run */
    struct cmpy_engine *engine; /* BYTES in a block: whose; strong */
    cmp_ref block;
    const void *data;
    size_t size;
    _Alignas(16) char bytes[];
};

/* What a result record begins with. */
enum cmpy_result_status { CMPY_RESULT_VALUE, CMPY_RESULT_ERROR };
struct cmpy_result_header {
    uint32_t status;
    uint32_t interrupted; /* 1: the exception is KeyboardInterrupt */
};

extern struct cmpy_parcel cmpy_parcel_starved;

/* Takes over what `taken` holds. */
struct cmpy_parcel *cmpy_parcel_take(struct cmpy_engine *engine, struct cmp_taken *taken);
/* Takes over `object`. */
struct cmpy_parcel *cmpy_parcel_make(enum cmpy_parcel_kind kind, PyObject *object);
/* The exception now set, fetched. */
struct cmpy_parcel *cmpy_parcel_error(void);
/* For as long as it is being opened, which may run any code, of another thread's too. */
void cmpy_parcel_keep(struct cmpy_parcel *parcel);
/* One reference less; the last one frees it. */
void cmpy_parcel_drop(struct cmpy_parcel *parcel);

/* What is in it: *success tells a value from an exception. -1 with an exception (a signal handler's, MemoryError of
 * our own): the parcel is as it was and can be opened again. */
int cmpy_parcel_open(struct cmpy_state *state, struct cmpy_parcel *parcel, bool *success, PyObject **value);

#endif
