/* Outer lock: the lock around a condition, whosever it is. One of exactly our types is called in C; any other, as the
 * stdlib does it, by its methods and its `_semlock`. */
#ifndef CMP_PY_OUTERLOCK_H
#define CMP_PY_OUTERLOCK_H

#include "py/semlock.h"

struct cmpy_outerlock {
    PyObject *object;                           /* strong; NULL: none yet */
    const struct cmpy_semlock_methods *methods; /* the lock's, or NULL: it is not ours */
};

/* Steals the reference. */
void cmpy_outerlock_set(struct cmpy_outerlock *lock, struct cmpy_state *state, PyObject *object);

/* 0 if this thread holds it, else -1 with the AssertionError. */
int cmpy_outerlock_assert_held(const struct cmpy_outerlock *lock, const char *otherwise);
/* Lets go of it as often as it was taken, and takes it back as often. -1 with an exception. */
int cmpy_outerlock_let_go(const struct cmpy_outerlock *lock, struct cmpy_semlock_held *held);
int cmpy_outerlock_get_back(const struct cmpy_outerlock *lock, const struct cmpy_semlock_held *held);

/* Its own methods. */
PyObject *cmpy_outerlock_acquire(const struct cmpy_outerlock *lock, PyObject *const *args, Py_ssize_t nargs,
                                 PyObject *kwnames);
PyObject *cmpy_outerlock_release(const struct cmpy_outerlock *lock);
PyObject *cmpy_outerlock_locked(const struct cmpy_outerlock *lock);
PyObject *cmpy_outerlock_enter(const struct cmpy_outerlock *lock);
PyObject *cmpy_outerlock_exit(const struct cmpy_outerlock *lock, PyObject *const *args, Py_ssize_t nargs);

#endif
