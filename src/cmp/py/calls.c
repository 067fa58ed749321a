#include "py/calls.h"

#include "py/arguments.h"
#include "py/imap.h"
#include "py/results.h"
#include "py/supervisor.h"
#include "py/wait.h"

/* --- single calls --- */

/* args or kwds as given, or an empty stand-in. */
static PyObject *positional_of(PyObject *given)
{
    return given == NULL ? PyTuple_New(0) : Py_NewRef(given);
}

static PyObject *keywords_of(PyObject *given)
{
    return given == NULL || (PyDict_CheckExact(given) && PyDict_GET_SIZE(given) == 0) ? Py_None : given;
}

static ApplyResult *submit(Pool *self, PyObject *const *values, PyObject *callback, PyObject *error_callback)
{
    if (cmpy_pool_check_running(self) < 0) return NULL;
    PyObject *positional = positional_of(values[1]);
    if (positional == NULL) return NULL;
    ApplyResult *result = cmpy_apply(self->engine, (PyObject *)self, values[0], positional, keywords_of(values[2]),
                                     callback, error_callback);
    Py_DECREF(positional);
    return result;
}

const char cmpy_pool_apply_doc[] = PyDoc_STR(
"apply($self, /, func, args=(), kwds={})\n--\n\n"
"func(*args, **kwds), called by a worker: its value, or its exception.");

PyObject *cmpy_pool_apply(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"func", "args", "kwds", NULL};
    static const struct cmpy_signature signature = {"apply", names, 1};
    PyObject *values[3];
    if (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0) return NULL;
    ApplyResult *result = submit(self, values, NULL, NULL);
    if (result == NULL) return NULL;
    PyObject *value = cmpy_result_get(result, CMPY_FOREVER);
    Py_DECREF(result);
    return value;
}

const char cmpy_pool_apply_async_doc[] = PyDoc_STR(
"apply_async($self, /, func, args=(), kwds={}, callback=None,\n            error_callback=None)\n--\n\n"
"apply without waiting: gives an AsyncResult. When the call completes, callback is called with its value, or\n"
"error_callback with its exception.");

PyObject *cmpy_pool_apply_async(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"func", "args", "kwds", "callback", "error_callback", NULL};
    static const struct cmpy_signature signature = {"apply_async", names, 1};
    PyObject *values[5];
    if (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0) return NULL;
    ApplyResult *result = submit(self, values, values[3], values[4]);
    if (result != NULL && !result->job.done && !self->engine->led) cmpy_supervisor_want(self->engine);
    return (PyObject *)result;
}

/* --- maps --- */

/* len(iterable) / (workers * 4), rounded up; programs count on it. */
static Py_ssize_t default_chunksize(const Pool *self, Py_ssize_t length)
{
    Py_ssize_t share = (PyList_GET_SIZE(self->list) > 0 ? PyList_GET_SIZE(self->list) : 1) * 4;
    return length / share + (length % share != 0);
}

static MapResult *map_async(Pool *self, enum cmpy_task_kind kind, PyObject *const *values, PyObject *callback,
                            PyObject *error_callback)
{
    if (cmpy_pool_check_running(self) < 0) return NULL;
    PyObject *items = values[1];
    bool plain = PyList_CheckExact(items) || PyTuple_CheckExact(items) || PyRange_Check(items);
    items = plain ? Py_NewRef(items) : PySequence_List(items);
    if (items == NULL) return NULL;
    MapResult *result = NULL;
    Py_ssize_t length = PyObject_Size(items), chunksize = -1;
    if (length >= 0) chunksize = default_chunksize(self, length);
    if (values[2] != NULL && values[2] != Py_None) chunksize = PyNumber_AsSsize_t(values[2], PyExc_OverflowError);
    if (PyErr_Occurred()) goto out;
    if (length == 0) {
        chunksize = 0;
    } else if (chunksize < 1) { /* where the stdlib gives a None for each item */
        PyErr_Format(PyExc_ValueError, "Chunksize must be 1+, not %zd", chunksize);
        goto out;
    }
    /* An iterable may have run anything, a terminate() included. */
    if (plain || cmpy_pool_check_running(self) == 0)
        result = cmpy_map(self->engine, (PyObject *)self, values[0], items, kind, chunksize, callback, error_callback);
out:
    Py_DECREF(items);
    return result;
}

static PyObject *map_now(Pool *self, const char *function, enum cmpy_task_kind kind, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"func", "iterable", "chunksize", NULL};
    const struct cmpy_signature signature = {function, names, 2};
    PyObject *values[3];
    if (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0) return NULL;
    MapResult *result = map_async(self, kind, values, NULL, NULL);
    if (result == NULL) return NULL;
    PyObject *value = cmpy_result_get(&result->result, CMPY_FOREVER);
    Py_DECREF(result);
    return value;
}

static PyObject *map_later(Pool *self, const char *function, enum cmpy_task_kind kind, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"func", "iterable", "chunksize", "callback", "error_callback", NULL};
    const struct cmpy_signature signature = {function, names, 2};
    PyObject *values[5];
    if (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0) return NULL;
    MapResult *result = map_async(self, kind, values, values[3], values[4]);
    if (result != NULL && !result->result.job.done && !self->engine->led) cmpy_supervisor_want(self->engine);
    return (PyObject *)result;
}

const char cmpy_pool_map_doc[] = PyDoc_STR(
"map($self, /, func, iterable, chunksize=None)\n--\n\n"
"A list of func(item) for each item. The items go to the workers in chunks of that size.");

PyObject *cmpy_pool_map(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return map_now(self, "map", CMPY_TASK_MAP, args, nargs, kwnames);
}

const char cmpy_pool_starmap_doc[] = PyDoc_STR(
"starmap($self, /, func, iterable, chunksize=None)\n--\n\n"
"A list of func(*item) for each item.");

PyObject *cmpy_pool_starmap(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return map_now(self, "starmap", CMPY_TASK_STARMAP, args, nargs, kwnames);
}

const char cmpy_pool_map_async_doc[] = PyDoc_STR(
"map_async($self, /, func, iterable, chunksize=None, callback=None,\n          error_callback=None)\n--\n\n"
"map without waiting: gives a MapResult.");

PyObject *cmpy_pool_map_async(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return map_later(self, "map_async", CMPY_TASK_MAP, args, nargs, kwnames);
}

const char cmpy_pool_starmap_async_doc[] = PyDoc_STR(
"starmap_async($self, /, func, iterable, chunksize=None, callback=None,\n              error_callback=None)\n--\n\n"
"starmap without waiting: gives a MapResult.");

PyObject *cmpy_pool_starmap_async(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return map_later(self, "starmap_async", CMPY_TASK_STARMAP, args, nargs, kwnames);
}

/* --- iterators --- */

static PyObject *imap(Pool *self, const char *function, bool ordered, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    static const char *const names[] = {"func", "iterable", "chunksize", "buffersize", NULL};
    const struct cmpy_signature signature = {function, names, 2};
    PyObject *values[4];
    if (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0 || cmpy_pool_check_running(self) < 0) return NULL;
    Py_ssize_t chunksize = 1, buffersize = 0;
    if (values[2] != NULL) {
        chunksize = PyNumber_AsSsize_t(values[2], PyExc_OverflowError);
        if (chunksize == -1 && PyErr_Occurred()) return NULL;
        if (chunksize < 1) return PyErr_Format(PyExc_ValueError, "Chunksize must be 1+, not %zd", chunksize);
    }
    if (values[3] != NULL && values[3] != Py_None) {
        if (!PyLong_Check(values[3])) {
            PyErr_SetString(PyExc_TypeError, "buffersize must be an integer or None");
            return NULL;
        }
        buffersize = PyLong_AsSsize_t(values[3]);
        if (buffersize == -1 && PyErr_Occurred()) return NULL;
        if (buffersize < 1) {
            PyErr_SetString(PyExc_ValueError, "buffersize must be None or > 0");
            return NULL;
        }
    }
    PyObject *iterator =
        cmpy_imap(self->engine, (PyObject *)self, values[0], values[1], ordered, chunksize, buffersize);
    if (iterator != NULL && !self->engine->led) cmpy_supervisor_want(self->engine);
    return iterator;
}

const char cmpy_pool_imap_doc[] = PyDoc_STR(
"imap($self, /, func, iterable, chunksize=1, buffersize=None)\n--\n\n"
"An iterator of func(item), in order, that takes from the iterable as it goes. With buffersize, at most so many tasks\n"
"are submitted whose results have not been taken out of the iterator.");

PyObject *cmpy_pool_imap(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return imap(self, "imap", true, args, nargs, kwnames);
}

const char cmpy_pool_imap_unordered_doc[] = PyDoc_STR(
"imap_unordered($self, /, func, iterable, chunksize=1, buffersize=None)\n--\n\n"
"The same, with results as they arrive.");

PyObject *cmpy_pool_imap_unordered(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return imap(self, "imap_unordered", false, args, nargs, kwnames);
}
