#include "py/pool.h"

#include "py/calls.h"
#include "py/ending.h"
#include "py/farewell.h"
#include "py/lead.h"
#include "py/poolinit.h"
#include "py/recruit.h"
#include "py/supervisor.h"
#include "py/thread.h"
#include "py/wait.h"

#include <stddef.h>
#include <structmember.h>

static bool state_is(const Pool *self, const char *name)
{
    return self->state != NULL && PyUnicode_Check(self->state)
        && PyUnicode_CompareWithASCIIString(self->state, name) == 0;
}

void cmpy_pool_set_state(Pool *self, PyObject *name)
{
    Py_XSETREF(self->state, Py_NewRef(name));
}

int cmpy_pool_check_running(const Pool *self)
{
    if (self->engine != NULL && cmpy_engine_check_process(self->engine) < 0) return -1;
    if (self->engine == NULL || !state_is(self, "RUN") || self->engine->pool_state != CMPY_POOL_RUN) {
        if (self->engine != NULL) cmpy_farewell(self->engine->state);
        PyErr_SetString(PyExc_ValueError, "Pool not running");
        return -1;
    }
    return self->engine->last_words == NULL ? 0 : cmpy_engine_raise_last_words(self->engine);
}

/* --- the end ---
 *
 * Nothing here needs memory before the pool has been told that it ends: who ends one for want of memory would otherwise
 * get a MemoryError, and keep its workers. */

PyDoc_STRVAR(close_doc,
"close($self, /)\n--\n\n"
"No more work is taken; the workers leave when all is done.");

static PyObject *pool_close(Pool *self, PyObject *Py_UNUSED(ignored))
{
    if (!state_is(self, "RUN")) Py_RETURN_NONE;
    if (self->engine != NULL && cmpy_engine_check_process(self->engine) < 0) return NULL;
    cmpy_pool_set_state(self, cmpy_state_of_type(Py_TYPE(self))->str.CLOSE);
    if (self->engine != NULL && self->engine->pool_state == CMPY_POOL_RUN) self->engine->pool_state = CMPY_POOL_CLOSE;
    cmpy_supervisor_kick();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(terminate_doc,
"terminate($self, /)\n--\n\n"
"The workers end at once, whatever they are doing. get() of what was not done raises PoolEndedError.");

static PyObject *pool_terminate(Pool *self, PyObject *Py_UNUSED(ignored))
{
    if (self->engine != NULL && cmpy_engine_check_process(self->engine) < 0) return NULL;
    cmpy_pool_set_state(self, cmpy_state_of_type(Py_TYPE(self))->str.TERMINATE);
    /* Before the finalizer, which is Python code and could be interrupted before it has come that far. */
    if (self->engine != NULL && cmpy_ending_run(self->engine) < 0) return NULL;
    return self->finalizer == NULL ? Py_NewRef(Py_None) : PyObject_CallNoArgs(self->finalizer);
}

static bool is_finished(void *arg)
{
    return ((struct cmpy_engine *)arg)->finished;
}

PyDoc_STRVAR(join_doc,
"join($self, /)\n--\n\n"
"Wait until all work is done and all workers have ended. close() or terminate() comes first.");

static PyObject *pool_join(Pool *self, PyObject *Py_UNUSED(ignored))
{
    if (state_is(self, "RUN")) {
        PyErr_SetString(PyExc_ValueError, "Pool is still running");
        return NULL;
    }
    if (!state_is(self, "CLOSE") && !state_is(self, "TERMINATE")) {
        PyErr_SetString(PyExc_ValueError, "In unknown state");
        return NULL;
    }
    struct cmpy_engine *engine = self->engine;
    if (engine == NULL) Py_RETURN_NONE;
    if (!engine->finished && cmpy_engine_check_process(engine) < 0) return NULL;
    if (!engine->finished && cmpy_callbacks_is_me(engine)) {
        PyErr_SetString(PyExc_RuntimeError, "cannot join a pool in one of its callbacks");
        return NULL;
    }
    Py_INCREF(engine);
    int code;
    if (cmpy_threads_are_gone()) {
        code = cmpy_ending_run(engine);
    } else {
        code = cmpy_lead_wait(engine, is_finished, engine, CMPY_FOREVER, false);
        if (code == 0) code = cmpy_threads_join(engine->state, engine->leaving);
    }
    Py_DECREF(engine);
    if (code < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *pool_enter(Pool *self, PyObject *Py_UNUSED(ignored))
{
    return cmpy_pool_check_running(self) < 0 ? NULL : Py_NewRef(self);
}

static PyObject *pool_exit(PyObject *self, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return PyObject_CallMethodNoArgs(self, cmpy_state_of_type(Py_TYPE(self))->str.terminate);
}

static PyObject *pool_repopulate(Pool *self, PyObject *Py_UNUSED(ignored))
{
    if (self->engine == NULL) Py_RETURN_NONE;
    if (cmpy_engine_check_process(self->engine) < 0) return NULL;
    Py_ssize_t size = PyNumber_AsSsize_t(self->processes, PyExc_OverflowError);
    if (size == -1 && PyErr_Occurred()) return NULL;
    if (self->engine->finished || self->engine->pool_state == CMPY_POOL_TERMINATE) Py_RETURN_NONE;
    self->engine->nprocesses = size;
    if (cmpy_recruit_fill(self->engine) < 0) return NULL;
    cmpy_supervisor_kick();
    Py_RETURN_NONE;
}

static PyObject *pool_make_process(PyObject *unused, PyObject *args, PyObject *kwargs)
{
    (void)unused;
    if (PyTuple_GET_SIZE(args) < 1) {
        PyErr_SetString(PyExc_TypeError, "Process() missing 1 required positional argument: 'ctx'");
        return NULL;
    }
    PyObject *factory = PyObject_GetAttrString(PyTuple_GET_ITEM(args, 0), "Process"), *process = NULL;
    PyObject *rest = PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args));
    if (factory != NULL && rest != NULL) process = PyObject_Call(factory, rest, kwargs);
    Py_XDECREF(factory);
    Py_XDECREF(rest);
    return process;
}

static PyObject *pool_reduce(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    (void)self;
    PyErr_SetString(PyExc_NotImplementedError, "pool objects cannot be passed between processes or pickled");
    return NULL;
}

static PyObject *pool_repr(Pool *self)
{
    PyObject *type = (PyObject *)Py_TYPE(self), *text = NULL;
    PyObject *module = PyObject_GetAttrString(type, "__module__"), *name = PyObject_GetAttrString(type, "__qualname__");
    if (module != NULL && name != NULL)
        text = PyUnicode_FromFormat("<%S.%S state=%S pool_size=%zd>", module, name,
                                    self->state != NULL ? self->state : Py_None,
                                    self->list != NULL ? PyList_GET_SIZE(self->list) : 0);
    Py_XDECREF(module);
    Py_XDECREF(name);
    return text;
}

/* {number: job} of what is out, as the stdlib's _cache has it. */
static PyObject *pool_cache(Pool *self, void *unused)
{
    (void)unused;
    PyObject *cache = PyDict_New();
    if (cache == NULL || self->engine == NULL) return cache;
    const struct cmpy_tasks *book = &self->engine->book;
    for (size_t i = 0; i < book->nplaces; i++) {
        if (book->places[i].id == 0) continue;
        PyObject *number = PyLong_FromUnsignedLongLong(book->places[i].job->number);
        int code = number == NULL ? -1 : PyDict_SetItem(cache, number, (PyObject *)book->places[i].job);
        Py_XDECREF(number);
        if (code < 0) {
            Py_DECREF(cache);
            return NULL;
        }
    }
    return cache;
}

/* --- the object --- */

/* __del__: says that a pool was left running. Its end is the finalizer's. */
static void pool_finalize(Pool *self)
{
    if (!state_is(self, "RUN")) return;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    bool ours = self->engine == NULL || cmpy_engine_check_process(self->engine) == 0;
    PyErr_Clear();
    if (ours && PyErr_ResourceWarning((PyObject *)self, 1, "unclosed running multiprocessing pool %R", self) < 0)
        PyErr_WriteUnraisable((PyObject *)self);
    PyErr_Restore(type, value, trace);
}

static int pool_traverse(Pool *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->list);
    Py_VISIT(self->ctx);
    Py_VISIT(self->processes);
    Py_VISIT(self->initializer);
    Py_VISIT(self->initargs);
    Py_VISIT(self->maxtasks);
    Py_VISIT(self->finalizer);
    Py_VISIT(self->dict);
    return 0;
}

static int pool_clear(Pool *self)
{
    Py_CLEAR(self->list);
    Py_CLEAR(self->ctx);
    Py_CLEAR(self->processes);
    Py_CLEAR(self->initializer);
    Py_CLEAR(self->initargs);
    Py_CLEAR(self->maxtasks);
    Py_CLEAR(self->finalizer);
    Py_CLEAR(self->dict);
    return 0;
}

static void pool_dealloc(Pool *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) return;
    PyObject_GC_UnTrack(self);
    if (self->weak != NULL) PyObject_ClearWeakRefs((PyObject *)self);
    (void)pool_clear(self);
    Py_CLEAR(self->state);
    Py_XDECREF((PyObject *)self->engine);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

PyDoc_STRVAR(enter_doc, "__enter__($self, /)\n--\n\nThe pool itself.");
PyDoc_STRVAR(exit_doc, "__exit__($self, exc_type, exc_val, exc_tb, /)\n--\n\nTerminates the pool.");
PyDoc_STRVAR(repopulate_doc,
"_repopulate_pool($self, /)\n--\n\n"
"For those who changed _processes: starts what is missing.");
PyDoc_STRVAR(process_doc,
"Process(ctx, *args, **kwds)\n--\n\n"
"Makes a worker's process; a subclass may make another.");

#define FAST(function) (PyCFunction)(void (*)(void))function, METH_FASTCALL | METH_KEYWORDS

static PyMethodDef pool_methods[] = {
    {"apply", FAST(cmpy_pool_apply), cmpy_pool_apply_doc},
    {"apply_async", FAST(cmpy_pool_apply_async), cmpy_pool_apply_async_doc},
    {"map", FAST(cmpy_pool_map), cmpy_pool_map_doc},
    {"map_async", FAST(cmpy_pool_map_async), cmpy_pool_map_async_doc},
    {"starmap", FAST(cmpy_pool_starmap), cmpy_pool_starmap_doc},
    {"starmap_async", FAST(cmpy_pool_starmap_async), cmpy_pool_starmap_async_doc},
    {"imap", FAST(cmpy_pool_imap), cmpy_pool_imap_doc},
    {"imap_unordered", FAST(cmpy_pool_imap_unordered), cmpy_pool_imap_unordered_doc},
    {"close", (PyCFunction)pool_close, METH_NOARGS, close_doc},
    {"terminate", (PyCFunction)pool_terminate, METH_NOARGS, terminate_doc},
    {"join", (PyCFunction)pool_join, METH_NOARGS, join_doc},
    {"__enter__", (PyCFunction)pool_enter, METH_NOARGS, enter_doc},
    {"__exit__", (PyCFunction)(void (*)(void))pool_exit, METH_FASTCALL, exit_doc},
    {"_repopulate_pool", (PyCFunction)pool_repopulate, METH_NOARGS, repopulate_doc},
    {"Process", (PyCFunction)(void (*)(void))pool_make_process, METH_VARARGS | METH_KEYWORDS | METH_STATIC,
     process_doc},
    {"__reduce__", pool_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef pool_members[] = {
    {"_pool", T_OBJECT, offsetof(Pool, list), READONLY, NULL},
    {"_state", T_OBJECT, offsetof(Pool, state), 0, NULL},
    {"_ctx", T_OBJECT, offsetof(Pool, ctx), 0, NULL},
    {"_processes", T_OBJECT, offsetof(Pool, processes), 0, NULL},
    {"_initializer", T_OBJECT, offsetof(Pool, initializer), READONLY, NULL},
    {"_initargs", T_OBJECT, offsetof(Pool, initargs), READONLY, NULL},
    {"_maxtasksperchild", T_OBJECT, offsetof(Pool, maxtasks), READONLY, NULL},
    {"_terminate", T_OBJECT, offsetof(Pool, finalizer), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(Pool, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Pool, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef pool_getset[] = {
    {"_cache", (getter)pool_cache, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(pool_doc,
"Pool(processes=None, initializer=None, initargs=(), maxtasksperchild=None, context=None)\n--\n\n"
"A pool of worker processes.\n\n"
"Where it differs from the standard library's: a task whose worker dies fails with WorkerLostError, the worker is\n"
"replaced, and workers that all die before their initializer is done end the pool with that error, not in a hang;\n"
"get() of what a terminated pool did not do raises PoolEndedError; the default size is what this process may use\n"
"(affinity, cgroup quota).");

static PyType_Slot pool_slots[] = {
    {Py_tp_doc, (void *)pool_doc},
    {Py_tp_init, cmpy_pool_init},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, pool_dealloc},
    {Py_tp_finalize, pool_finalize},
    {Py_tp_traverse, pool_traverse},
    {Py_tp_clear, pool_clear},
    {Py_tp_repr, pool_repr},
    {Py_tp_methods, pool_methods},
    {Py_tp_members, pool_members},
    {Py_tp_getset, pool_getset},
    {0, NULL},
};

static PyType_Spec pool_spec = {
    .name = "cmp.pool.Pool",
    .basicsize = sizeof(Pool),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = pool_slots,
};

int cmpy_pool_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    PyObject *errors = PyImport_ImportModule("multiprocessing.context");
    if (errors == NULL) return -1;
    state->timeout_error = PyObject_GetAttrString(errors, "TimeoutError");
    Py_DECREF(errors);
    PyObject *type = state->timeout_error == NULL ? NULL : PyType_FromModuleAndSpec(module, &pool_spec, NULL);
    int code = type == NULL ? -1 : PyModule_AddObjectRef(module, "Pool", type);
    Py_XDECREF(type);
    return code;
}
