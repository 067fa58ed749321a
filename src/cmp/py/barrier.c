#include "py/barrier.h"

#include "py/cell.h"
#include "py/errors.h"
#include "py/wait.h"
#include "shm/barrier.h"

#include <errno.h>
#include <structmember.h>

struct barrier {
    struct cmpy_cell base;
    PyObject *action;  /* or None */
    PyObject *timeout; /* or None */
};

#define SELF(op) ((struct barrier *)(op))

static bool ready(struct barrier *self)
{
    return cmpy_cell_ready(&self->base);
}

/* ---- waiting ---- */

/* cmpy_wait() may ask for less than the whole wait, but a barrier breaks at its own deadline only. */
struct barrier_call {
    struct cmp_barrier_wait wait;
    int64_t deadline_ns;
};

static int call_wait(void *arg, int64_t deadline_ns)
{
    struct barrier_call *call = arg;
    int over = cmp_cell_look(call->wait.cell);
    return over < 0 ? over : cmp_barrier_wait(&call->wait, deadline_ns == CMPY_TRY ? 0 : call->deadline_ns);
}

/* Runs the action, which all others wait for; 0, -EPIPE, or CMPY_RAISED. */
static int act(struct barrier *self, struct cmp_barrier_wait *wait)
{
    PyObject *result = PyObject_CallNoArgs(self->action);
    int code = cmp_barrier_finish(wait, result != NULL);
    Py_XDECREF(result);
    return result == NULL ? CMPY_RAISED : code;
}

static PyObject *barrier_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct barrier *self = SELF(op);
    PyObject *timeout = cmpy_only_timeout("wait", args, nargs, kwnames);
    if (timeout == NULL || !ready(self)) return NULL;
    struct barrier_call call = {.wait = {.cell = &self->base.cell, .has_action = self->action != Py_None}};
    if (cmpy_deadline(1, timeout == Py_None ? self->timeout : timeout, &call.deadline_ns) < 0) return NULL;
    if (call.deadline_ns == CMPY_TRY) call.deadline_ns = 1; /* long past: who does not pass at once, breaks it */
    int code = cmpy_wait(call_wait, &call, call.deadline_ns);
    if (code == CMPY_RAISED || code == -ESHUTDOWN) cmp_barrier_withdraw(&call.wait);
    if (code == 0 && call.wait.acts) code = act(self, &call.wait);
    if (code == 0) return PyLong_FromLong(call.wait.index);
    if (code == -EPIPE) PyErr_SetNone(cmpy_state_of_type(Py_TYPE(op))->broken_barrier_error);
    return code == -EPIPE || code == CMPY_RAISED ? NULL : cmpy_raise("Barrier.wait", code);
}

static PyObject *barrier_reset(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (!ready(SELF(op))) return NULL;
    cmp_barrier_reset(&SELF(op)->base.cell);
    Py_RETURN_NONE;
}

static PyObject *barrier_abort(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (!ready(SELF(op))) return NULL;
    cmp_barrier_abort(&SELF(op)->base.cell);
    Py_RETURN_NONE;
}

static PyObject *barrier_parties(PyObject *op, void *Py_UNUSED(closure))
{
    return ready(SELF(op)) ? PyLong_FromUnsignedLongLong(SELF(op)->base.cell.shm->limit) : NULL;
}

static PyObject *barrier_n_waiting(PyObject *op, void *Py_UNUSED(closure))
{
    return ready(SELF(op)) ? PyLong_FromUnsignedLong(cmp_barrier_waiting(&SELF(op)->base.cell)) : NULL;
}

static PyObject *barrier_broken(PyObject *op, void *Py_UNUSED(closure))
{
    return ready(SELF(op)) ? PyBool_FromLong(cmp_barrier_broken(&SELF(op)->base.cell)) : NULL;
}

/* ---- life ---- */

static void remember(struct barrier *self, PyObject *action, PyObject *timeout)
{
    Py_XSETREF(self->action, Py_NewRef(action));
    Py_XSETREF(self->timeout, Py_NewRef(timeout));
}

static int barrier_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"parties", "action", "timeout", "ctx", NULL};
    PyObject *action = Py_None, *timeout = Py_None, *ctx = NULL;
    int parties;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i|OO$O:Barrier", names, &parties, &action, &timeout, &ctx))
        return -1;
    if (parties > CMP_BARRIER_PARTIES_MAX) {
        PyErr_Format(PyExc_ValueError, "a barrier has at most %d parties", CMP_BARRIER_PARTIES_MAX);
        return -1;
    }
    /* As in the stdlib, one without parties can be made, and is never passed. */
    uint64_t most = parties < 0 ? 0 : (uint64_t)parties;
    if (cmpy_cell_create(&SELF(op)->base, "Barrier", ctx, CMP_CELL_BARRIER, most) < 0) return -1;
    remember(SELF(op), action, timeout);
    return 0;
}

static int barrier_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(SELF(op)->action);
    Py_VISIT(SELF(op)->timeout);
    return cmpy_cell_traverse(op, visit, arg);
}

static int barrier_clear(PyObject *op)
{
    /* None rather than nothing: the object can still be used by other finalizers. */
    if (SELF(op)->action != NULL) remember(SELF(op), Py_None, Py_None);
    return cmpy_cell_clear(op);
}

static void barrier_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    Py_CLEAR(SELF(op)->action);
    Py_CLEAR(SELF(op)->timeout);
    cmpy_cell_dealloc(op, false);
}

static PyObject *barrier_repr(PyObject *op)
{
    struct barrier *self = SELF(op);
    PyObject *module = PyObject_GetAttrString((PyObject *)Py_TYPE(op), "__module__");
    PyObject *class = PyObject_GetAttrString((PyObject *)Py_TYPE(op), "__qualname__"), *repr = NULL;
    struct cmp_cell *cell = &self->base.cell;
    if (module == NULL || class == NULL) {
        /* the exception is set */
    } else if (cell->shm == NULL) {
        repr = PyUnicode_FromFormat("<%S.%S at %p: unknown>", module, class, op);
    } else if (cmp_barrier_broken(cell)) {
        repr = PyUnicode_FromFormat("<%S.%S at %p: broken>", module, class, op);
    } else {
        repr = PyUnicode_FromFormat("<%S.%S at %p: waiters=%u/%u>", module, class, op, cmp_barrier_waiting(cell),
                                    (unsigned)cell->shm->limit);
    }
    Py_XDECREF(module);
    Py_XDECREF(class);
    return repr;
}

static PyObject *barrier_getstate(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *where = cmpy_cell_getstate(&SELF(op)->base);
    PyObject *own = where == NULL ? NULL : PyTuple_Pack(2, SELF(op)->action, SELF(op)->timeout);
    PyObject *state = own == NULL ? NULL : PySequence_Concat(own, where);
    Py_XDECREF(own);
    Py_XDECREF(where);
    return state;
}

static PyObject *barrier_where(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return cmpy_cell_where(&SELF(op)->base);
}

static PyObject *barrier_setstate(PyObject *op, PyObject *state)
{
    PyObject *action, *timeout, *slab, *index;
    if (!cmpy_cell_is_state(state)) return NULL;
    if (!PyArg_ParseTuple(state, "OOOO:__setstate__", &action, &timeout, &slab, &index)) return NULL;
    if (cmpy_cell_setstate(&SELF(op)->base, slab, index, CMP_CELL_BARRIER) < 0) return NULL;
    remember(SELF(op), action, timeout);
    Py_RETURN_NONE;
}

static PyMethodDef barrier_methods[] = {
    {"wait", (PyCFunction)(void (*)(void))barrier_wait, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("wait($self, /, timeout=None)\n--\n\n"
               "Waits until all parties have come; how many were there before. BrokenBarrierError if that fails.")},
    {"reset", barrier_reset, METH_NOARGS,
     PyDoc_STR("reset($self, /)\n--\n\nBegins anew; those that wait find it broken.")},
    {"abort", barrier_abort, METH_NOARGS, PyDoc_STR("abort($self, /)\n--\n\nBreaks it, until a reset.")},
    {"__getstate__", barrier_getstate, METH_NOARGS, NULL},
    {"__setstate__", barrier_setstate, METH_O, NULL},
    {"_where", barrier_where, METH_NOARGS, PyDoc_STR("_where($self, /)\n--\n\n(slab, index) of the cell.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef barrier_getset[] = {
    CMPY_CELL_GETSET,
    {"parties", barrier_parties, NULL, PyDoc_STR("How many have to come."), NULL},
    {"n_waiting", barrier_n_waiting, NULL, PyDoc_STR("How many are there."), NULL},
    {"broken", barrier_broken, NULL, PyDoc_STR("Whether it is broken."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef barrier_members[] = {
    CMPY_CELL_MEMBERS,
    {"_action", T_OBJECT, offsetof(struct barrier, action), READONLY, NULL},
    {"_timeout", T_OBJECT, offsetof(struct barrier, timeout), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot barrier_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR(
        "Barrier(parties, action=None, timeout=None, *, ctx)\n--\n\n"
        "Lets processes go on when all have come. One that came counts though its process dies afterwards; a death\n"
        "inside action breaks it.")},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, barrier_init},
    {Py_tp_dealloc, barrier_dealloc},
    {Py_tp_traverse, barrier_traverse},
    {Py_tp_clear, barrier_clear},
    {Py_tp_repr, barrier_repr},
    {Py_tp_methods, barrier_methods},
    {Py_tp_getset, barrier_getset},
    {Py_tp_members, barrier_members},
    {0, NULL},
};

static PyType_Spec barrier_spec = {
    .name = "cmp.synchronize.Barrier",
    .basicsize = sizeof(struct barrier),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = barrier_slots,
};

int cmpy_barrier_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    state->barrier_type = cmpy_add_type(module, &barrier_spec, NULL);
    return state->barrier_type == NULL ? -1 : 0;
}
