/* SemLock: the common base of Lock, RLock, Semaphore and BoundedSemaphore, and the `_semlock` that the stdlib's
 * Condition and others read. */
#ifndef CMP_PY_SEMLOCK_H
#define CMP_PY_SEMLOCK_H

#include "py/cell.h"

#include "os/forkepoch.h"

#include <pthread.h>

/* What the stdlib keeps per process and object: how often this process has taken it more than given it back, and
 * which thread took it last. A forked child begins anew. Changed with the GIL held only. */
struct cmpy_semlock {
    struct cmpy_cell base;
    pthread_t thread; /* which thread_ident is made of, and quicker to ask for */
    long count;
    uint32_t epoch;   /* the fork epoch that `count` belongs to */
    uint32_t entered; /* the lock word's epoch at the last take, for __exit__; a child forked inside keeps it */
};

static inline long cmpy_semlock_count(struct cmpy_semlock *self)
{
    return self->epoch == cmp_fork_epoch() ? self->count : 0;
}

static inline bool cmpy_semlock_is_mine(struct cmpy_semlock *self)
{
    return cmpy_semlock_count(self) > 0 && self->thread == pthread_self();
}

static inline void cmpy_semlock_add(struct cmpy_semlock *self, long change)
{
    self->count = cmpy_semlock_count(self) + change;
    self->epoch = cmp_fork_epoch();
}

static inline void cmpy_semlock_took(struct cmpy_semlock *self)
{
    cmpy_semlock_add(self, 1);
    self->thread = pthread_self();
}

/* How many could take it now. */
long cmpy_semlock_value(struct cmpy_semlock *self);

/* ---- for Condition, on objects whose type is exactly one of ours ---- */

/* The methods of such a type, to be called without looking them up. */
struct cmpy_semlock_methods {
    PyObject *(*acquire)(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
    PyObject *(*release)(PyObject *op, PyObject *none);
    PyObject *(*enter)(PyObject *op, PyObject *none);
    PyObject *(*exit)(PyObject *op, PyObject *const *args, Py_ssize_t nargs);
};
extern const struct cmpy_semlock_methods cmpy_lock_methods, cmpy_rlock_methods, cmpy_semaphore_methods;

/* NULL if the lock is not one of exactly our types, or not made yet. */
const struct cmpy_semlock_methods *cmpy_semlock_methods_of(struct cmpy_state *state, PyObject *lock);

/* What wait() gives up and gets back. */
struct cmpy_semlock_held {
    long count;
    bool kept; /* taken by `with`, or an RLock */
};

void cmpy_semlock_let_go(struct cmpy_semlock *self, struct cmpy_semlock_held *held);
/* -1 with an exception, without the lock; but if a take-over's warning is an error, -1 with the lock: its `with` is
 * left in the usual way. */
int cmpy_semlock_get_back(struct cmpy_semlock *self, const struct cmpy_semlock_held *held);

/* Of lock.c and semaphore.c, for the above. */
int cmpy_lock_take(struct cmpy_semlock *self, bool kept, bool keep_if_warned, int64_t deadline_ns);
int cmpy_semaphore_take(struct cmpy_semlock *self, int64_t deadline_ns);

int cmpy_semlock_add_type(PyObject *module);
int cmpy_lock_add(PyObject *module);
int cmpy_semaphore_add(PyObject *module);

/* Slots that the types do not inherit by themselves. */
#define CMPY_SEMLOCK_LIFE                                                                     \
    {Py_tp_dealloc, cmpy_semlock_dealloc}, {Py_tp_traverse, cmpy_cell_traverse}, {Py_tp_clear, cmpy_cell_clear}
void cmpy_semlock_dealloc(PyObject *op);

#endif
