#include "py/queuecalls.h"

#include "py/wait.h"

typedef struct cmpy_queue_calls Calls;

/* --- arguments --- */

int cmpy_queue_capacity(PyObject *maxsize, uint64_t *capacity)
{
    long long number = 0;
    if (maxsize != NULL) {
        int overflow;
        number = PyLong_AsLongLongAndOverflow(maxsize, &overflow);
        if (number == -1 && PyErr_Occurred()) return -1;
        if (overflow != 0 || number < 0) number = 0; /* more than there can ever be is as good as unbounded */
    }
    *capacity = (uint64_t)number;
    return 0;
}

/* queue.Queue refuses it where it counts. */
static int check_not_negative(PyObject *timeout)
{
    PyObject *zero = PyLong_FromLong(0);
    int negative = zero == NULL ? -1 : PyObject_RichCompareBool(timeout, zero, Py_LT);
    Py_XDECREF(zero);
    if (negative > 0) PyErr_SetString(PyExc_ValueError, "'timeout' must be a non-negative number");
    return negative == 0 ? 0 : -1;
}

int cmpy_queue_deadline(const struct cmpy_queue_kind *kind, PyObject *const *values, int64_t *deadline_ns)
{
    int block = values[0] == NULL || values[0] == Py_True ? 1 : PyObject_IsTrue(values[0]);
    if (block < 0) return -1;
    if (kind->refuses_negative_timeouts && block && values[1] != NULL && values[1] != Py_None &&
        check_not_negative(values[1]) < 0)
        return -1;
    return cmpy_deadline(block, values[1], deadline_ns);
}

/* --- put and get --- */

PyObject *cmpy_queue_put(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Calls *self = (Calls *)object;
    int64_t deadline_ns = CMPY_FOREVER;
    PyObject *item;
    if (nargs == 1 && kwnames == NULL) {
        item = args[0];
        if (self->kind->check_usable(self) < 0) return NULL;
    } else {
        PyObject *values[3];
        if (cmpy_arguments(&self->kind->put, args, nargs, kwnames, values) < 0 || self->kind->check_usable(self) < 0 ||
            cmpy_queue_deadline(self->kind, values + 1, &deadline_ns) < 0)
            return NULL;
        item = values[0];
    }
    return self->kind->put_until(self, item, deadline_ns);
}

PyObject *cmpy_queue_get(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"block", "timeout", NULL};
    static const struct cmpy_signature signature = {"get", names, 0};
    Calls *self = (Calls *)object;
    int64_t deadline_ns = CMPY_FOREVER;
    if (nargs == 0 && kwnames == NULL) {
        if (self->kind->check_usable(self) < 0) return NULL;
    } else {
        PyObject *values[2];
        if (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0 || self->kind->check_usable(self) < 0 ||
            cmpy_queue_deadline(self->kind, values, &deadline_ns) < 0)
            return NULL;
    }
    return cmpy_channel_get(self->channel, deadline_ns);
}

PyObject *cmpy_queue_put_nowait(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Calls *self = (Calls *)object;
    PyObject *item;
    if (cmpy_arguments(&self->kind->put_nowait, args, nargs, kwnames, &item) < 0 || self->kind->check_usable(self) < 0)
        return NULL;
    return self->kind->put_until(self, item, CMPY_TRY);
}

PyObject *cmpy_queue_get_nowait(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Calls *self = (Calls *)object;
    return self->kind->check_usable(self) < 0 ? NULL : cmpy_channel_get(self->channel, CMPY_TRY);
}

/* --- asking --- */

PyObject *cmpy_queue_qsize(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Calls *self = (Calls *)object;
    if (self->kind->check_present(self) < 0) return NULL;
    return PyLong_FromUnsignedLongLong(cmp_queue_size(&self->channel->queue));
}

PyObject *cmpy_queue_empty(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Calls *self = (Calls *)object;
    return self->kind->check_readable(self) < 0 ? NULL : PyBool_FromLong(cmpy_channel_empty(self->channel));
}

PyObject *cmpy_queue_full(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Calls *self = (Calls *)object;
    if (self->kind->check_present(self) < 0) return NULL;
    uint64_t capacity = cmp_queue_capacity(&self->channel->queue);
    return PyBool_FromLong(capacity != 0 && cmp_queue_size(&self->channel->queue) >= capacity);
}

/* --- tasks, and the end --- */

PyObject *cmpy_queue_task_done(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Calls *self = (Calls *)object;
    if (self->kind->check_present(self) < 0) return NULL;
    if (cmp_queue_task_done(&self->channel->queue) == 0) Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
    return NULL;
}

PyObject *cmpy_queue_join(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Calls *self = (Calls *)object;
    if (self->kind->check_present(self) < 0 || cmpy_channel_join(self->channel) < 0) return NULL;
    Py_RETURN_NONE;
}

PyObject *cmpy_queue_shutdown(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"immediate", NULL};
    static const struct cmpy_signature signature = {"shutdown", names, 0};
    Calls *self = (Calls *)object;
    PyObject *immediate;
    if (cmpy_arguments(&signature, args, nargs, kwnames, &immediate) < 0 || self->kind->check_present(self) < 0)
        return NULL;
    int at_once = immediate == NULL ? 0 : PyObject_IsTrue(immediate);
    if (at_once < 0 || cmpy_channel_shutdown(self->channel, at_once != 0) < 0) return NULL;
    Py_RETURN_NONE;
}
