#include "py/cell.h"

#include "py/context.h"
#include "py/errors.h"
#include "py/life.h"
#include "py/slab.h"
#include "py/wait.h"

#include <errno.h>

/* 1: fork, 0: another method, -1 with an exception. */
static int is_fork(struct cmpy_state *state, PyObject *ctx)
{
    if (ctx != Py_None) return cmpy_context_is_fork(state, ctx);
    PyObject *module = PyImport_ImportModule("cmp.context");
    PyObject *context = module == NULL ? NULL : PyObject_GetAttrString(module, "_default_context");
    int fork = context == NULL ? -1 : cmpy_context_is_fork(state, context);
    Py_XDECREF(context);
    Py_XDECREF(module);
    return fork;
}

int cmpy_cell_create(struct cmpy_cell *self, const char *type, PyObject *ctx, enum cmp_cell_kind kind, uint64_t limit)
{
    if (ctx == NULL) {
        PyErr_Format(PyExc_TypeError, "%s.__init__() missing 1 required keyword-only argument: 'ctx'", type);
        return -1;
    }
    int code, fork = is_fork(cmpy_state_of_type(Py_TYPE(self)), ctx);
    if (fork < 0) return -1;
    if (self->cell.shm != NULL) {
        /* Another thread may be waiting on what there is. */
        PyErr_Format(PyExc_RuntimeError, "%s.__init__() was called before", type);
        return -1;
    }
    if (fork) {
        code = cmp_cell_create(&self->cell, kind, limit);
    } else {
        PyObject *slab = cmpy_slab_claim(cmpy_state_of_type(Py_TYPE(self)), &self->index);
        if (slab == NULL) return -1;
        struct cmp_slab *shared = cmpy_slab_get(cmpy_state_of_type(Py_TYPE(self)), slab);
        code = cmp_cell_create_at(&self->cell, shared, self->index, kind, limit);
        Py_XSETREF(self->slab, slab);
    }
    if (code < 0) cmpy_raise(type, code);
    return code < 0 ? -1 : 0;
}

PyObject *cmpy_cell_where(struct cmpy_cell *self)
{
    if (!cmpy_cell_ready(self)) return NULL;
    if (self->slab != NULL) return Py_BuildValue("OI", self->slab, self->index);
    return cmpy_context_refuse_spawn();
}

PyObject *cmpy_cell_getstate(struct cmpy_cell *self)
{
    PyObject *context = PyImport_ImportModule("multiprocessing.context");
    PyObject *done = context == NULL ? NULL : PyObject_CallMethod(context, "assert_spawning", "O", self);
    Py_XDECREF(context);
    if (done == NULL) return NULL;
    Py_DECREF(done);
    return cmpy_cell_where(self);
}

bool cmpy_cell_is_state(PyObject *state)
{
    if (PyTuple_Check(state)) return true;
    PyErr_Format(PyExc_TypeError, "the state of a lock, condition, event or barrier is a tuple, not %R", state);
    return false;
}

int cmpy_cell_setstate(struct cmpy_cell *self, PyObject *slab, PyObject *index, enum cmp_cell_kind kind)
{
    struct cmp_slab *shared = cmpy_slab_get(cmpy_state_of_type(Py_TYPE(self)), slab);
    if (shared == NULL) return -1;
    unsigned long number = PyLong_AsUnsignedLong(index);
    if (number == (unsigned long)-1 && PyErr_Occurred()) return -1;
    if (self->cell.shm != NULL) {
        PyErr_Format(PyExc_RuntimeError, "this %s is in use already", Py_TYPE(self)->tp_name);
        return -1;
    }
    int code = number > UINT32_MAX ? -EPROTO : cmp_cell_attach(&self->cell, shared, (uint32_t)number, kind);
    if (code < 0) {
        cmpy_raise(Py_TYPE(self)->tp_name, code);
        return -1;
    }
    self->index = (uint32_t)number;
    Py_XSETREF(self->slab, Py_NewRef(slab));
    return 0;
}

int cmpy_cell_traverse(PyObject *op, visitproc visit, void *arg)
{
    struct cmpy_cell *self = (struct cmpy_cell *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->slab);
    Py_VISIT(self->life);
    Py_VISIT(self->dict);
    return 0;
}

int cmpy_cell_clear(PyObject *op)
{
    /* Not the slab: the cell lies in it until the end. It refers to nothing. */
    Py_CLEAR(((struct cmpy_cell *)op)->dict);
    return 0;
}

void cmpy_cell_dealloc(PyObject *op, bool owns)
{
    struct cmpy_cell *self = (struct cmpy_cell *)op;
    PyTypeObject *type = Py_TYPE(op);
    if (self->weakrefs != NULL) PyObject_ClearWeakRefs(op);
    (void)cmpy_cell_clear(op);
    cmp_cell_close(&self->cell, owns);
    Py_CLEAR(self->life);
    Py_CLEAR(self->slab);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject **find(PyObject *name, const char *const *names, PyObject **values, Py_ssize_t n)
{
    for (Py_ssize_t i = 0; i < n; i++)
        if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0) return &values[i];
    return NULL;
}

/* At most n arguments by position or name. */
static int unpack(const char *function, const char *const *names, PyObject **values, Py_ssize_t n,
                  PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    if (nargs + nkw > n) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd argument%s (%zd given)", function, n, n == 1 ? "" : "s",
                     nargs + nkw);
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) values[i] = args[i];
    for (Py_ssize_t i = 0; i < nkw; i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        PyObject **value = find(name, names, values, n);
        if (value == NULL || *value != NULL) {
            PyErr_Format(PyExc_TypeError, value == NULL ? "%s() got an unexpected keyword argument '%U'"
                                                        : "%s() got multiple values for argument '%U'",
                         function, name);
            return -1;
        }
        *value = args[nargs + i];
    }
    return 0;
}

int cmpy_acquire_deadline(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int64_t *deadline_ns)
{
    static const char *const names[] = {"block", "timeout"};
    PyObject *values[2] = {NULL, NULL};
    if (unpack("acquire", names, values, 2, args, nargs, kwnames) < 0) return -1;
    int block = values[0] == NULL ? 1 : PyObject_IsTrue(values[0]);
    if (block < 0) return -1;
    /* A timeout that is none is an error also where it does not count. */
    if (cmpy_deadline(1, values[1], deadline_ns) < 0) return -1;
    if (!block) *deadline_ns = CMPY_TRY;
    return 0;
}

PyObject *cmpy_only_timeout(const char *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"timeout"};
    PyObject *timeout = NULL;
    if (unpack(function, names, &timeout, 1, args, nargs, kwnames) < 0) return NULL;
    return timeout == NULL ? Py_None : timeout;
}

/* ---- kept by a manager ---- */

PyDoc_STRVAR(watch_doc,
"watch($module, obj, life, /)\n--\n\n"
"From now on whoever waits for this lock, condition, event or barrier here gets EOFError when the manager ends.");

static PyObject *watch(PyObject *module, PyObject *args)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    PyObject *object, *life;
    if (!PyArg_ParseTuple(args, "OO:watch", &object, &life)) return NULL;
    PyObject *kinds[] = {state->semlock_type, state->condition_type, state->event_type, state->barrier_type};
    bool ours = false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        ours |= PyObject_TypeCheck(object, (PyTypeObject *)kinds[i]);
    if (!ours) return PyErr_Format(PyExc_TypeError, "not a lock, condition, event or barrier of cmp: %R", object);
    const struct cmp_life *watched = cmpy_life_get(state, life);
    if (watched == NULL) return NULL;
    struct cmpy_cell *cell = (struct cmpy_cell *)object;
    if (cell->life == NULL) { /* once: a thread may be waiting, and looking, meanwhile */
        cell->life = Py_NewRef(life);
        cell->cell.life = watched;
    }
    Py_RETURN_NONE;
}

static PyMethodDef cell_functions[] = {
    {"watch", watch, METH_VARARGS, watch_doc},
    {0},
};

int cmpy_cell_add(PyObject *module)
{
    return PyModule_AddFunctions(module, cell_functions);
}

PyObject *cmpy_add_type(PyObject *module, PyType_Spec *spec, PyObject *base)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, base);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) Py_CLEAR(type);
    return type;
}
