#include "py/processinit.h"

#include "py/books.h"
#include "py/patches.h"

#include <unistd.h>

/* self.<name> = value; takes the reference, and fails if there is none. */
static int set(PyObject *self, PyObject *name, PyObject *value)
{
    int code = value == NULL ? -1 : PyObject_SetAttr(self, name, value);
    Py_XDECREF(value);
    return code;
}

/* current._identity + (next(_process_counter),) */
static PyObject *next_identity(struct cmpy_state *state, PyObject *current)
{
    PyObject *counter = cmpy_books_get(state, state->str._process_counter);
    PyObject *identity = NULL, *last = NULL, *result = NULL;
    if (counter == NULL) return NULL;
    if (!PyIter_Check(counter)) /* anybody may bind the name anew */
        return PyErr_Format(PyExc_TypeError, "'%.100s' object is not an iterator", Py_TYPE(counter)->tp_name);
    Py_INCREF(counter);
    PyObject *count = PyIter_Next(counter);
    Py_DECREF(counter);
    if (count == NULL) {
        if (!PyErr_Occurred()) PyErr_SetNone(PyExc_StopIteration);
        return NULL;
    }
    identity = PyObject_GetAttr(current, state->str._identity);
    last = PyTuple_Pack(1, count);
    if (identity != NULL && last != NULL) result = PySequence_Concat(identity, last);
    Py_XDECREF(identity);
    Py_XDECREF(last);
    Py_DECREF(count);
    return result;
}

/* "Process-1:2": the class and the numbers. */
static PyObject *default_name(struct cmpy_state *state, PyObject *self, PyObject *identity)
{
    PyObject *name = PyObject_GetAttr((PyObject *)Py_TYPE(self), state->str.__name__);
    PyObject *numbers = PySequence_Fast(identity, "_identity has to be a tuple");
    if (name == NULL || numbers == NULL) Py_CLEAR(name);
    for (Py_ssize_t i = 0; name != NULL && i < PySequence_Fast_GET_SIZE(numbers); i++)
        Py_SETREF(name, PyUnicode_FromFormat(i == 0 ? "%S-%S" : "%S:%S", name, PySequence_Fast_GET_ITEM(numbers, i)));
    Py_XDECREF(numbers);
    return name;
}

static int set_own(struct cmpy_state *state, PyObject *self, PyObject *current)
{
    PyObject *config = PyObject_GetAttr(current, state->str._config);
    PyObject *copy = config == NULL ? NULL : PyObject_CallMethodNoArgs(config, state->str.copy);
    Py_XDECREF(config);
    return set(self, state->str._config, copy) < 0
        || set(self, state->str._parent_pid, PyLong_FromLong((long)getpid())) < 0
        || set(self, state->str._parent_name, PyObject_GetAttr(current, state->str.name)) < 0
        || PyObject_SetAttr(self, state->str._popen, Py_None) < 0
        || PyObject_SetAttr(self, state->str._closed, Py_False) < 0
               ? -1 : 0;
}

/* None is no keywords, as in the stdlib from 3.14 on. */
static PyObject *copy_keywords(PyObject *kwargs)
{
    return kwargs == NULL || kwargs == Py_None ? PyDict_New() : PyObject_CallOneArg((PyObject *)&PyDict_Type, kwargs);
}

static int set_work(struct cmpy_state *state, PyObject *self, PyObject *target, PyObject *args, PyObject *kwargs)
{
    return PyObject_SetAttr(self, state->str._target, target) < 0
        || set(self, state->str._args, args == NULL ? PyTuple_New(0) : PySequence_Tuple(args)) < 0
        || set(self, state->str._kwargs, copy_keywords(kwargs)) < 0
               ? -1 : 0;
}

/* An empty name is no name, as in the stdlib. */
static int set_name(struct cmpy_state *state, PyObject *self, PyObject *name, PyObject *identity)
{
    int given = name == NULL ? 0 : PyObject_IsTrue(name);
    if (given < 0) return -1;
    return set(self, state->str._name, given ? Py_NewRef(name) : default_name(state, self, identity));
}

/* _dangling.add(self): the stdlib's tests look there for processes that are still about. */
static int enter_dangling(struct cmpy_state *state, PyObject *self)
{
    PyObject *dangling = cmpy_books_get(state, state->str._dangling);
    if (dangling == NULL) return -1;
    Py_INCREF(dangling);
    PyObject *result = PyObject_CallMethodOneArg(dangling, state->str.add, self);
    Py_DECREF(dangling);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int init(struct cmpy_state *state, PyObject *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"group", "target", "name", "args", "kwargs", "daemon", NULL};
    PyObject *group = Py_None, *target = Py_None, *name = NULL, *args = NULL, *kwargs = NULL, *daemon = Py_None;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|OOOOO$O:Process", names, &group, &target, &name, &args,
                                     &kwargs, &daemon))
        return -1;
    if (group != Py_None) {
        PyErr_SetString(PyExc_AssertionError, "group argument must be None for now");
        return -1;
    }
    PyObject *current = cmpy_books_get(state, state->str._current_process);
    if (current == NULL) return -1;
    Py_INCREF(current);
    PyObject *identity = next_identity(state, current);
    int code = -1;
    if (identity == NULL || PyObject_SetAttr(self, state->str._identity, identity) < 0) goto out;
    if (set_own(state, self, current) < 0 || set_work(state, self, target, args, kwargs) < 0) goto out;
    if (set_name(state, self, name, identity) < 0) goto out;
    if (daemon != Py_None && PyObject_SetAttr(self, state->str.daemon, daemon) < 0) goto out;
    code = enter_dangling(state, self);
out:
    Py_XDECREF(identity);
    Py_DECREF(current);
    return code;
}

int cmpy_process_init(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    PyObject *result;
    int patched = cmpy_patch_call(state, self, state->str.__init__, arguments, keywords, &result);
    if (patched <= 0) return patched < 0 ? -1 : init(state, self, arguments, keywords);
    if (result != Py_None)
        PyErr_Format(PyExc_TypeError, "__init__() should return None, not '%.200s'", Py_TYPE(result)->tp_name);
    patched = result == Py_None ? 0 : -1;
    Py_DECREF(result);
    return patched;
}
