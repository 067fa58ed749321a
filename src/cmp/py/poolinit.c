#include "py/poolinit.h"

#include "os/identity.h"
#include "py/books.h"
#include "py/ending.h"
#include "py/errors.h"
#include "py/recruit.h"
#include "py/supervisor.h"

/* Slots beyond the pool's size: for the dead not yet settled, and for users that raise _processes. */
#define SPARE_SLOTS 64

static PyObject *default_of(const char *module_name, const char *function)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *value = module == NULL ? NULL : PyObject_CallMethod(module, function, NULL);
    Py_XDECREF(module);
    return value;
}

/* The checks and messages of the stdlib, in its order. */
static int check_arguments(Pool *self, Py_ssize_t *size)
{
    *size = PyNumber_AsSsize_t(self->processes, PyExc_OverflowError);
    if (*size == -1 && PyErr_Occurred()) return -1;
    if (*size < 1) {
        PyErr_SetString(PyExc_ValueError, "Number of processes must be at least 1");
        return -1;
    }
    if (self->maxtasks != Py_None) {
        int positive = PyLong_Check(self->maxtasks) ? PyObject_RichCompareBool(self->maxtasks, Py_False, Py_GT) : 0;
        if (positive < 0) return -1;
        if (!positive) {
            PyErr_SetString(PyExc_ValueError, "maxtasksperchild must be a positive int or None");
            return -1;
        }
    }
    if (self->initializer != Py_None && !PyCallable_Check(self->initializer)) {
        PyErr_SetString(PyExc_TypeError, "initializer must be a callable");
        return -1;
    }
    return 0;
}

/* What goes wrong while workers are made leaves none behind. */
static void undo(Pool *self)
{
    struct cmpy_engine *engine = self->engine;
    engine->ended = true; /* its finalizer, if there is one, finds nothing to do */
    cmpy_ending_disband(engine);
    if (self->list != NULL) (void)PyList_SetSlice(self->list, 0, PyList_GET_SIZE(self->list), NULL);
    for (uint32_t i = 0; i < engine->nslots; i++) Py_CLEAR(engine->workers[i].process);
    cmpy_supervisor_unreserve();
}

/* util.Finalize(self, _end_pool, args=(engine,), exitpriority=15) */
static PyObject *make_finalizer(Pool *self)
{
    struct cmpy_state *state = self->engine->state;
    if (cmpy_books_open(state) < 0) return NULL;
    PyObject *type = cmpy_stdlib_get(state->util_globals, "Finalize"), *keywords = NULL, *finalizer = NULL;
    PyObject *positional = type == NULL ? NULL : PyTuple_Pack(2, (PyObject *)self, state->end_pool_function);
    if (positional != NULL) keywords = Py_BuildValue("{s(O)si}", "args", (PyObject *)self->engine, "exitpriority", 15);
    if (keywords != NULL) finalizer = PyObject_Call(type, positional, keywords);
    Py_XDECREF(type);
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
    return finalizer;
}

static int make_engine(Pool *self, Py_ssize_t size)
{
    if (size > 1 << 20) {
        PyErr_SetString(PyExc_ValueError, "Number of processes is too large");
        return -1;
    }
    uint32_t nslots = (uint32_t)(2 * size + SPARE_SLOTS);
    struct cmpy_engine *engine = cmpy_engine_create(cmpy_state_of_type(Py_TYPE(self)), nslots);
    if (engine == NULL) return -1;
    engine->process_factory = PyObject_GetAttrString((PyObject *)self, "Process");
    engine->ctx = Py_NewRef(self->ctx);
    engine->initializer = Py_NewRef(self->initializer);
    engine->initargs = Py_NewRef(self->initargs);
    engine->maxtasks = Py_NewRef(self->maxtasks);
    engine->pool_list = Py_NewRef(self->list);
    engine->nprocesses = size;
    engine->wake_fd = engine->process_factory == NULL ? -1 : cmpy_supervisor_reserve();
    if (engine->wake_fd < 0) {
        Py_DECREF(engine);
        return -1;
    }
    engine->wake_identity = cmp_identity_of(engine->wake_fd);
    self->engine = engine;
    return 0;
}

int cmpy_pool_init(Pool *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"processes", "initializer", "initargs", "maxtasksperchild", "context", NULL};
    PyObject *processes = Py_None, *initializer = Py_None, *initargs = NULL, *maxtasks = Py_None, *ctx = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OOOOO:Pool", names, &processes, &initializer, &initargs, &maxtasks,
                                     &ctx))
        return -1;
    if (self->engine != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "a pool is initialized once");
        return -1;
    }
    Py_ssize_t size;
    /* One supervisor looks after all pools of a process (py/supervisor.h), in the interpreter that started it. */
    if (cmpy_check_main_interpreter("Pool") < 0) return -1;
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    int has_ctx = PyObject_IsTrue(ctx);
    if (has_ctx < 0) return -1;
    cmpy_pool_set_state(self, state->str.INIT);
    Py_XSETREF(self->list, PyList_New(0));
    Py_XSETREF(self->ctx, has_ctx ? Py_NewRef(ctx) : default_of("cmp", "get_context"));
    Py_XSETREF(self->processes, processes != Py_None ? Py_NewRef(processes) : default_of("cmp.pool", "default_size"));
    Py_XSETREF(self->initializer, Py_NewRef(initializer));
    Py_XSETREF(self->initargs, initargs != NULL ? Py_NewRef(initargs) : PyTuple_New(0));
    Py_XSETREF(self->maxtasks, Py_NewRef(maxtasks));
    if (self->list == NULL || self->ctx == NULL || self->processes == NULL || self->initargs == NULL) return -1;
    if (check_arguments(self, &size) < 0 || make_engine(self, size) < 0) return -1;
    int adopted = -1;
    if (cmpy_recruit_fill(self->engine) == 0) self->finalizer = make_finalizer(self);
    if (self->finalizer != NULL) adopted = cmpy_supervisor_adopt(self->engine);
    if (adopted == 0) {
        cmpy_pool_set_state(self, state->str.RUN);
        return 0;
    }
    if (adopted < 0) {
        undo(self);
    } else {
        PyObject *type, *value, *trace;
        PyErr_Fetch(&type, &value, &trace);
        if (cmpy_ending_run(self->engine) < 0) PyErr_Clear(); /* one Ctrl-C is told already */
        PyErr_Restore(type, value, trace);
    }
    Py_CLEAR(self->finalizer);
    Py_CLEAR(self->engine);
    return -1;
}
