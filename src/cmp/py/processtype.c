#include "py/process.h"

#include "py/bootstrap.h"
#include "py/books.h"
#include "py/patches.h"
#include "py/processinit.h"

/* ---- the verbs, each of which may be patched ---- */

static int take_no_arguments(PyObject *name, Py_ssize_t nargs, PyObject *names)
{
    Py_ssize_t count = nargs + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    if (count != 0) PyErr_Format(PyExc_TypeError, "Process.%U() takes no arguments (%zd given)", name, count);
    return count == 0 ? 0 : -1;
}

/* A patch gets what arguments there are. */
#define VERB(verb)                                                                                            \
    static PyObject *process_##verb(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) \
    {                                                                                                         \
        struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));                                         \
        PyObject *result;                                                                                     \
        int patched = cmpy_patch_vectorcall(state, self, state->str.verb, args, nargs, names, &result);       \
        if (patched != 0) return patched < 0 ? NULL : result;                                                 \
        if (take_no_arguments(state->str.verb, nargs, names) < 0) return NULL;                                \
        return cmpy_process_##verb(state, self);                                                              \
    }

VERB(start)
VERB(run)
VERB(is_alive)
VERB(terminate)
VERB(kill)
VERB(interrupt)
VERB(close)

static PyObject *process_join(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"timeout", NULL};
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    PyObject *timeout = Py_None, *result;
    int patched = cmpy_patch_call(state, self, state->str.join, args, kwargs, &result);
    if (patched != 0) return patched < 0 ? NULL : result;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:join", keywords, &timeout)) return NULL;
    return cmpy_process_join(state, self, timeout);
}

static PyObject *process_get_sentinel(PyObject *self, void *closure)
{
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    (void)closure;
    PyObject *result;
    int patched = cmpy_patch_get(state, self, state->str.sentinel, &result);
    return patched == 0 ? cmpy_process_own_sentinel(state, self) : patched < 0 ? NULL : result;
}

/* ---- _sentinel, which the stdlib's start() sets, its close() deletes and its sentinel property reads ---- */

static PyObject *process_get_kept_sentinel(PyObject *self, void *closure)
{
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    (void)closure;
    PyObject *dict = PyObject_GenericGetDict(self, NULL);
    PyObject *sentinel = dict == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(dict, state->str._sentinel));
    Py_XDECREF(dict);
    if (sentinel != NULL || PyErr_Occurred()) return sentinel;
    PyObject *popen = PyObject_GetAttr(self, state->str._popen);
    if (popen == NULL) return NULL;
    if (popen == Py_None) PyErr_SetObject(PyExc_AttributeError, state->str._sentinel);
    else sentinel = PyObject_GetAttr(popen, state->str.sentinel);
    Py_DECREF(popen);
    return sentinel;
}

/* It may be deleted where it was never set, which is so after a start() of ours. */
static int process_set_kept_sentinel(PyObject *self, PyObject *value, void *closure)
{
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    (void)closure;
    PyObject *dict = PyObject_GenericGetDict(self, NULL);
    if (dict == NULL) return -1;
    int there = value != NULL ? 1 : PyDict_Contains(dict, state->str._sentinel), code = there;
    if (value != NULL) code = PyDict_SetItem(dict, state->str._sentinel, value);
    else if (there > 0) code = PyDict_DelItem(dict, state->str._sentinel);
    Py_DECREF(dict);
    return code;
}

/* ---- what is not a verb ---- */

static PyObject *process_bootstrap(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"parent_sentinel", NULL};
    PyObject *sentinel = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:_bootstrap", keywords, &sentinel)) return NULL;
    return cmpy_bootstrap(cmpy_state_of_type(Py_TYPE(self)), self, sentinel);
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
    {"_sentinel", process_get_kept_sentinel, process_set_kept_sentinel, "The same, where the stdlib keeps it.", NULL},
    {0},
};

static PyMethodDef process_methods[] = {
    {"start", (PyCFunction)(void (*)(void))process_start, METH_FASTCALL | METH_KEYWORDS,
     "start($self, /)\n--\n\nStart child process"},
    {"run", (PyCFunction)(void (*)(void))process_run, METH_FASTCALL | METH_KEYWORDS,
     "run($self, /)\n--\n\nMethod to be run in sub-process; can be overridden in sub-class"},
    {"join", (PyCFunction)(void (*)(void))process_join, METH_VARARGS | METH_KEYWORDS,
     "join($self, timeout=None)\n--\n\nWait until child process terminates"},
    {"is_alive", (PyCFunction)(void (*)(void))process_is_alive, METH_FASTCALL | METH_KEYWORDS,
     "is_alive($self, /)\n--\n\nReturn whether process is alive"},
    {"terminate", (PyCFunction)(void (*)(void))process_terminate, METH_FASTCALL | METH_KEYWORDS,
     "terminate($self, /)\n--\n\nTerminate process; sends SIGTERM"},
    {"kill", (PyCFunction)(void (*)(void))process_kill, METH_FASTCALL | METH_KEYWORDS,
     "kill($self, /)\n--\n\nTerminate process; sends SIGKILL"},
    {"interrupt", (PyCFunction)(void (*)(void))process_interrupt, METH_FASTCALL | METH_KEYWORDS,
     "interrupt($self, /)\n--\n\nInterrupt process; sends SIGINT"},
    {"close", (PyCFunction)(void (*)(void))process_close, METH_FASTCALL | METH_KEYWORDS,
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
    state->process_type = Py_NewRef(type);
    state->bootstrap_method = PyObject_GetAttr(type, state->str._bootstrap);
    int code = state->bootstrap_method == NULL ? -1 : PyObject_SetAttr(type, state->str._lifeline, Py_False);
    if (code == 0) code = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return code;
}
