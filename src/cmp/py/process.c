#include "py/process.h"

#include "py/books.h"
#include "py/bootstrap.h"
#include "py/processinit.h"

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

static PyObject *process_start(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
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

static PyObject *process_run(PyObject *self, PyObject *unused)
{
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    (void)unused;
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

static PyObject *process_bootstrap(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"parent_sentinel", NULL};
    PyObject *sentinel = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:_bootstrap", keywords, &sentinel)) return NULL;
    return cmpy_bootstrap(cmpy_state_of_type(Py_TYPE(self)), self, sentinel);
}

/* ---- watching and ending ---- */

static PyObject *process_join(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"timeout", NULL};
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    PyObject *timeout = Py_None, *exitcode;
    bool mine;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:join", keywords, &timeout)) return NULL;
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

static PyObject *process_is_alive(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
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

static PyObject *process_terminate(PyObject *self, PyObject *unused)
{
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    (void)unused;
    return ask_popen(state, self, state->str.terminate);
}

static PyObject *process_kill(PyObject *self, PyObject *unused)
{
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    (void)unused;
    return ask_popen(state, self, state->str.kill);
}

static PyObject *process_interrupt(PyObject *self, PyObject *unused)
{
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    (void)unused;
    return ask_popen(state, self, state->str.interrupt);
}

static PyObject *process_close(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
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
        if (cmpy_books_discard_child(state, self) < 0) goto out;
    }
    if (PyObject_SetAttr(self, state->str._closed, Py_True) == 0) result = Py_NewRef(Py_None);
out:
    Py_DECREF(popen);
    return result;
}

static PyObject *process_get_sentinel(PyObject *self, void *closure)
{
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    (void)closure;
    if (check_closed(state, self) < 0) return NULL;
    PyObject *popen = PyObject_GetAttr(self, state->str._popen), *sentinel = NULL;
    if (popen == NULL) return NULL;
    if (popen == Py_None) PyErr_SetString(PyExc_ValueError, "process not started");
    else sentinel = PyObject_GetAttr(popen, state->str.sentinel);
    Py_DECREF(popen);
    return sentinel;
}

/* What object.__reduce_ex__ would do by itself for a class written in Python. */
static PyObject *process_getstate(PyObject *self, PyObject *unused)
{
    (void)unused;
    PyObject *dict = PyObject_GenericGetDict(self, NULL);
    PyObject *copy = dict == NULL ? NULL : PyDict_Copy(dict);
    Py_XDECREF(dict);
    return copy;
}

/* ---- the type ---- */

static PyGetSetDef process_getset[] = {
    {"sentinel", process_get_sentinel, NULL,
     "A file descriptor that is readable once the process has ended.", NULL},
    {0},
};

static PyMethodDef process_methods[] = {
    {"start", process_start, METH_NOARGS, "start($self, /)\n--\n\nStart child process"},
    {"run", process_run, METH_NOARGS,
     "run($self, /)\n--\n\nMethod to be run in sub-process; can be overridden in sub-class"},
    {"join", (PyCFunction)(void (*)(void))process_join, METH_VARARGS | METH_KEYWORDS,
     "join($self, timeout=None)\n--\n\nWait until child process terminates"},
    {"is_alive", process_is_alive, METH_NOARGS, "is_alive($self, /)\n--\n\nReturn whether process is alive"},
    {"terminate", process_terminate, METH_NOARGS, "terminate($self, /)\n--\n\nTerminate process; sends SIGTERM"},
    {"kill", process_kill, METH_NOARGS, "kill($self, /)\n--\n\nTerminate process; sends SIGKILL"},
    {"interrupt", process_interrupt, METH_NOARGS, "interrupt($self, /)\n--\n\nInterrupt process; sends SIGINT"},
    {"close", process_close, METH_NOARGS,
     "close($self, /)\n--\n\nRelease what the Process object holds. ValueError while the child is running."},
    {"_bootstrap", (PyCFunction)(void (*)(void))process_bootstrap, METH_VARARGS | METH_KEYWORDS,
     "_bootstrap($self, parent_sentinel=None)\n--\n\nThe life of the child; gives its exit code."},
    {"__getstate__", process_getstate, METH_NOARGS, "__getstate__($self, /)\n--\n\nHelper for pickle."},
    {0},
};

/* The default that the running stdlib's signature shows; either may be given. */
#if PY_VERSION_HEX >= 0x030e0000
#define NO_KEYWORDS "None"
#else
#define NO_KEYWORDS "{}"
#endif

static PyType_Slot process_slots[] = {
    {Py_tp_doc, "Process(group=None, target=None, name=None, args=(), kwargs=" NO_KEYWORDS ", *, daemon=None)\n--\n\n"
                "A process, run by fork, spawn or forkserver; the stdlib's BaseProcess in C."},
    {Py_tp_init, cmpy_process_init},
    {Py_tp_methods, process_methods},
    {Py_tp_getset, process_getset},
    {0, NULL},
};

static PyType_Spec process_spec = {
    .name = "cmp._core.Process",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = process_slots,
};

int cmpy_process_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    PyObject *base = cmpy_books_get(state, state->str.BaseProcess);
    PyObject *bases = base == NULL ? NULL : PyTuple_Pack(1, base);
    PyObject *type = bases == NULL ? NULL : PyType_FromModuleAndSpec(module, &process_spec, bases);
    Py_XDECREF(bases);
    if (type == NULL) return -1;
    state->bootstrap_method = PyObject_GetAttr(type, state->str._bootstrap);
    int code = state->bootstrap_method == NULL ? -1 : PyObject_SetAttr(type, state->str._lifeline, Py_False);
    if (code == 0) code = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return code;
}
