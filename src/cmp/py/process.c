#include "py/process.h"

#include "py/books.h"

#include <stdbool.h>
#include <unistd.h>

/* ---- what the methods ask first ---- */

static int check_closed(struct cmpy_state *state, PyObject *self)
{
    PyObject *closed = PyObject_GetAttr(self, state->str._closed);
    if (closed == NULL) return -1; /* a subclass that forgot super().__init__() */
    int is_closed = PyObject_IsTrue(closed);
    Py_DECREF(closed);
    if (is_closed > 0) PyErr_SetString(PyExc_ValueError, "process object is closed");
    return is_closed == 0 ? 0 : -1;
}

/* The stdlib's assertions, kept under -O as well. */
static int require(bool holds, const char *otherwise)
{
    if (!holds) PyErr_SetString(PyExc_AssertionError, otherwise);
    return holds ? 0 : -1;
}

static int is_mine(struct cmpy_state *state, PyObject *self, bool *mine)
{
    PyObject *pid = PyObject_GetAttr(self, state->str._parent_pid);
    if (pid == NULL) return -1;
    *mine = PyLong_Check(pid) && PyLong_AsLong(pid) == (long)getpid();
    Py_DECREF(pid);
    return PyErr_Occurred() ? -1 : 0;
}

static int is_current(struct cmpy_state *state, PyObject *self)
{
    PyObject *current = cmpy_books_get(state, state->str._current_process);
    return current == NULL ? -1 : current == self;
}

static int is_daemon(struct cmpy_state *state, PyObject *process)
{
    PyObject *config = PyObject_GetAttr(process, state->str._config);
    PyObject *daemon = config == NULL ? NULL : PyObject_CallMethod(config, "get", "O", state->str.daemon);
    int answer = daemon == NULL ? -1 : PyObject_IsTrue(daemon);
    Py_XDECREF(config);
    Py_XDECREF(daemon);
    return answer;
}

/* self._popen.<method>(), handing through what it gives. */
static PyObject *ask_popen(struct cmpy_state *state, PyObject *self, PyObject *method)
{
    if (check_closed(state, self) < 0) return NULL;
    PyObject *popen = PyObject_GetAttr(self, state->str._popen);
    PyObject *result = popen == NULL ? NULL : PyObject_CallMethodNoArgs(popen, method);
    Py_XDECREF(popen);
    return result;
}

/* ---- starting ---- */

static int may_start(struct cmpy_state *state, PyObject *self)
{
    bool mine;
    PyObject *current, *popen;
    if (check_closed(state, self) < 0) return -1;
    popen = PyObject_GetAttr(self, state->str._popen);
    if (popen == NULL) return -1;
    Py_DECREF(popen);
    if (require(popen == Py_None, "cannot start a process twice") < 0) return -1;
    if (is_mine(state, self, &mine) < 0) return -1;
    if (require(mine, "can only start a process object created by current process") < 0) return -1;
    current = cmpy_books_get(state, state->str._current_process);
    int daemon = current == NULL ? -1 : is_daemon(state, current);
    return daemon < 0 ? -1 : require(!daemon, "daemonic processes are not allowed to have children");
}

/* The target and its arguments are the child's: kept here they could keep this very object alive. */
static int drop_target(struct cmpy_state *state, PyObject *self)
{
    return PyObject_DelAttr(self, state->str._target) < 0 || PyObject_DelAttr(self, state->str._args) < 0
                   || PyObject_DelAttr(self, state->str._kwargs) < 0
               ? -1 : 0;
}

/* The start was interrupted. If that was after the fork, the process is there, and is entered as any other. The
 * exception stays. */
static void settle_interrupted(struct cmpy_state *state, PyObject *self)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *popen = PyObject_GetAttr(self, state->str._popen);
    if (popen != NULL && popen != Py_None && drop_target(state, self) == 0) (void)cmpy_books_add_child(state, self);
    Py_XDECREF(popen);
    PyErr_Clear();
    PyErr_Restore(type, value, trace);
}

PyObject *cmpy_process_start(struct cmpy_state *state, PyObject *self)
{
    if (may_start(state, self) < 0 || cmpy_books_cleanup(state) < 0) return NULL;
    PyObject *popen = PyObject_CallMethodOneArg(self, state->str._Popen, self);
    if (popen == NULL) {
        settle_interrupted(state, self);
        return NULL;
    }
    int code = PyObject_SetAttr(self, state->str._popen, popen);
    Py_DECREF(popen);
    if (code < 0 || drop_target(state, self) < 0 || cmpy_books_add_child(state, self) < 0) return NULL;
    Py_RETURN_NONE;
}

/* self._kwargs, which a subclass may have made any mapping, as a dict. */
static PyObject *keywords_of(struct cmpy_state *state, PyObject *self)
{
    PyObject *given = PyObject_GetAttr(self, state->str._kwargs);
    if (given == NULL || PyDict_Check(given)) return given;
    PyObject *keywords = PyDict_New();
    if (keywords != NULL && PyDict_Update(keywords, given) < 0) Py_CLEAR(keywords);
    Py_DECREF(given);
    return keywords;
}

PyObject *cmpy_process_run(struct cmpy_state *state, PyObject *self)
{
    PyObject *args = NULL, *kwargs = NULL, *result = NULL;
    PyObject *target = PyObject_GetAttr(self, state->str._target);
    if (target == NULL) return NULL;
    int wanted = PyObject_IsTrue(target);
    if (wanted == 0) result = Py_NewRef(Py_None);
    if (wanted > 0) {
        PyObject *given = PyObject_GetAttr(self, state->str._args);
        args = given == NULL ? NULL : PySequence_Tuple(given);
        Py_XDECREF(given);
        kwargs = keywords_of(state, self);
        if (args != NULL && kwargs != NULL) result = PyObject_Call(target, args, kwargs);
    }
    Py_DECREF(target);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    if (result == NULL) return NULL;
    Py_DECREF(result);
    Py_RETURN_NONE;
}

/* ---- watching and ending ---- */

PyObject *cmpy_process_join(struct cmpy_state *state, PyObject *self, PyObject *timeout)
{
    PyObject *exitcode;
    bool mine;
    if (check_closed(state, self) < 0 || is_mine(state, self, &mine) < 0) return NULL;
    if (require(mine, "can only join a child process") < 0) return NULL;
    PyObject *popen = PyObject_GetAttr(self, state->str._popen);
    if (popen == NULL) return NULL;
    if (require(popen != Py_None, "can only join a started process") < 0) {
        Py_DECREF(popen);
        return NULL;
    }
    exitcode = PyObject_CallMethodOneArg(popen, state->str.wait, timeout);
    Py_DECREF(popen);
    if (exitcode == NULL) return NULL;
    int code = exitcode == Py_None ? 0 : cmpy_books_discard_child(state, self);
    Py_DECREF(exitcode);
    if (code < 0) return NULL;
    Py_RETURN_NONE;
}

PyObject *cmpy_process_is_alive(struct cmpy_state *state, PyObject *self)
{
    bool mine;
    if (check_closed(state, self) < 0) return NULL;
    int current = is_current(state, self);
    if (current < 0) return NULL;
    if (current) Py_RETURN_TRUE;
    if (is_mine(state, self, &mine) < 0 || require(mine, "can only test a child process") < 0) return NULL;
    PyObject *popen = PyObject_GetAttr(self, state->str._popen);
    if (popen == NULL) return NULL;
    if (popen == Py_None) {
        Py_DECREF(popen);
        Py_RETURN_FALSE;
    }
    PyObject *exitcode = PyObject_CallMethodNoArgs(popen, state->str.poll);
    Py_DECREF(popen);
    if (exitcode == NULL) return NULL;
    bool alive = exitcode == Py_None;
    Py_DECREF(exitcode);
    if (!alive && cmpy_books_discard_child(state, self) < 0) return NULL;
    return PyBool_FromLong(alive);
}

PyObject *cmpy_process_terminate(struct cmpy_state *state, PyObject *self)
{
    return ask_popen(state, self, state->str.terminate);
}

PyObject *cmpy_process_kill(struct cmpy_state *state, PyObject *self)
{
    return ask_popen(state, self, state->str.kill);
}

PyObject *cmpy_process_interrupt(struct cmpy_state *state, PyObject *self)
{
    return ask_popen(state, self, state->str.interrupt);
}

PyObject *cmpy_process_close(struct cmpy_state *state, PyObject *self)
{
    PyObject *popen = PyObject_GetAttr(self, state->str._popen), *result = NULL;
    if (popen == NULL) return NULL;
    if (popen != Py_None) {
        PyObject *exitcode = PyObject_CallMethodNoArgs(popen, state->str.poll);
        Py_XDECREF(exitcode);
        if (exitcode == Py_None)
            PyErr_SetString(PyExc_ValueError, "Cannot close a process while it is still running. "
                                              "You should first call join() or terminate().");
        if (exitcode == NULL || exitcode == Py_None) goto out;
        result = PyObject_CallMethodNoArgs(popen, state->str.close);
        if (result == NULL) goto out;
        Py_CLEAR(result);
        if (PyObject_SetAttr(self, state->str._popen, Py_None) < 0) goto out;
        if (PyObject_DelAttr(self, state->str._sentinel) < 0) goto out;
        if (cmpy_books_discard_child(state, self) < 0) goto out;
    }
    if (PyObject_SetAttr(self, state->str._closed, Py_True) == 0) result = Py_NewRef(Py_None);
out:
    Py_DECREF(popen);
    return result;
}

PyObject *cmpy_process_own_sentinel(struct cmpy_state *state, PyObject *self)
{
    if (check_closed(state, self) < 0) return NULL;
    PyObject *popen = PyObject_GetAttr(self, state->str._popen), *sentinel = NULL;
    if (popen == NULL) return NULL;
    if (popen == Py_None) PyErr_SetString(PyExc_ValueError, "process not started");
    else sentinel = PyObject_GetAttr(popen, state->str.sentinel);
    Py_DECREF(popen);
    return sentinel;
}
