#include "py/outerlock.h"

#include <stdbool.h>

static bool is_ours(const struct cmpy_outerlock *lock)
{
    return lock->methods != NULL;
}

void cmpy_outerlock_set(struct cmpy_outerlock *lock, struct cmpy_state *state, PyObject *object)
{
    Py_XSETREF(lock->object, object);
    lock->methods = cmpy_semlock_methods_of(state, object);
}

/* --- waiting --- */

static PyObject *ask_semlock(const struct cmpy_outerlock *lock, const char *method)
{
    PyObject *semlock = PyObject_GetAttrString(lock->object, "_semlock");
    PyObject *answer = semlock == NULL ? NULL : PyObject_CallMethod(semlock, method, NULL);
    Py_XDECREF(semlock);
    return answer;
}

int cmpy_outerlock_assert_held(const struct cmpy_outerlock *lock, const char *otherwise)
{
    int held;
    if (is_ours(lock)) {
        held = cmpy_semlock_is_mine((struct cmpy_semlock *)lock->object);
    } else {
        PyObject *answer = ask_semlock(lock, "_is_mine");
        if (answer == NULL) return -1;
        held = PyObject_IsTrue(answer);
        Py_DECREF(answer);
        if (held < 0) return -1;
    }
    if (!held) PyErr_SetString(PyExc_AssertionError, otherwise);
    return held ? 0 : -1;
}

static int call_often(const struct cmpy_outerlock *lock, const char *method, long count)
{
    for (long i = 0; i < count; i++) {
        PyObject *result = PyObject_CallMethod(lock->object, method, NULL);
        if (result == NULL) return -1;
        Py_DECREF(result);
    }
    return 0;
}

int cmpy_outerlock_let_go(const struct cmpy_outerlock *lock, struct cmpy_semlock_held *held)
{
    if (is_ours(lock)) {
        cmpy_semlock_let_go((struct cmpy_semlock *)lock->object, held);
        return 0;
    }
    PyObject *count = ask_semlock(lock, "_count");
    if (count == NULL) return -1;
    held->count = PyLong_AsLong(count);
    Py_DECREF(count);
    if (held->count == -1 && PyErr_Occurred()) return -1;
    return call_often(lock, "release", held->count);
}

int cmpy_outerlock_get_back(const struct cmpy_outerlock *lock, const struct cmpy_semlock_held *held)
{
    if (is_ours(lock)) return cmpy_semlock_get_back((struct cmpy_semlock *)lock->object, held);
    return call_often(lock, "acquire", held->count);
}

/* --- its own methods --- */

static PyObject *call(const struct cmpy_outerlock *lock, const char *method, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    PyObject *bound = PyObject_GetAttrString(lock->object, method);
    PyObject *result = bound == NULL ? NULL : PyObject_Vectorcall(bound, args, (size_t)nargs, kwnames);
    Py_XDECREF(bound);
    return result;
}

PyObject *cmpy_outerlock_acquire(const struct cmpy_outerlock *lock, PyObject *const *args, Py_ssize_t nargs,
                                 PyObject *kwnames)
{
    if (is_ours(lock)) return lock->methods->acquire(lock->object, args, nargs, kwnames);
    return call(lock, "acquire", args, nargs, kwnames);
}

PyObject *cmpy_outerlock_release(const struct cmpy_outerlock *lock)
{
    return is_ours(lock) ? lock->methods->release(lock->object, NULL) : call(lock, "release", NULL, 0, NULL);
}

PyObject *cmpy_outerlock_locked(const struct cmpy_outerlock *lock)
{
    return call(lock, "locked", NULL, 0, NULL);
}

PyObject *cmpy_outerlock_enter(const struct cmpy_outerlock *lock)
{
    return is_ours(lock) ? lock->methods->enter(lock->object, NULL) : call(lock, "__enter__", NULL, 0, NULL);
}

PyObject *cmpy_outerlock_exit(const struct cmpy_outerlock *lock, PyObject *const *args, Py_ssize_t nargs)
{
    if (is_ours(lock)) return lock->methods->exit(lock->object, args, nargs);
    return call(lock, "__exit__", args, nargs, NULL);
}
