#include "py/semlock.h"

#include "py/errors.h"
#include "py/wait.h"
#include "shm/lockword.h"
#include "shm/semaphore.h"

#include <structmember.h>

#define SELF(op) ((struct cmpy_semlock *)(op))

static struct cmp_cell *cell_of(struct cmpy_semlock *self)
{
    return &self->base.cell;
}

static bool is_lock(struct cmpy_semlock *self)
{
    return cell_of(self)->shm->kind != CMP_CELL_SEMAPHORE;
}

static bool is_rlock(struct cmpy_semlock *self)
{
    return cell_of(self)->shm->kind == CMP_CELL_RLOCK;
}

long cmpy_semlock_value(struct cmpy_semlock *self)
{
    if (is_lock(self)) return cmp_lockword_owner(cell_of(self)) == 0;
    return (long)cmp_semaphore_value(cell_of(self));
}

/* ---- for Condition ---- */

const struct cmpy_semlock_methods *cmpy_semlock_methods_of(struct cmpy_state *state, PyObject *lock)
{
    PyObject *type = (PyObject *)Py_TYPE(lock);
    const struct cmpy_semlock_methods *methods = NULL;
    if (type == state->lock_type) methods = &cmpy_lock_methods;
    if (type == state->rlock_type) methods = &cmpy_rlock_methods;
    if (type == state->semaphore_type || type == state->bounded_semaphore_type) methods = &cmpy_semaphore_methods;
    return methods != NULL && SELF(lock)->base.cell.shm != NULL ? methods : NULL;
}

void cmpy_semlock_let_go(struct cmpy_semlock *self, struct cmpy_semlock_held *held)
{
    struct cmp_cell *cell = cell_of(self);
    held->count = cmpy_semlock_count(self);
    held->kept = is_lock(self) && cmp_load(&cell->shm->word, relaxed) & CMP_LOCK_KEPT;
    cmpy_semlock_add(self, -held->count);
    if (is_lock(self)) {
        (void)cmp_lockword_release(cell);
        return;
    }
    for (long i = 0; i < held->count; i++) (void)cmp_semaphore_release(cell);
}

int cmpy_semlock_get_back(struct cmpy_semlock *self, const struct cmpy_semlock_held *held)
{
    if (is_lock(self)) {
        int taken = cmpy_lock_take(self, held->kept, true, CMPY_FOREVER);
        if (taken >= 0 || cmpy_semlock_is_mine(self)) cmpy_semlock_add(self, held->count - 1);
        return taken < 0 ? -1 : 0;
    }
    for (long i = 0; i < held->count; i++)
        if (cmpy_semaphore_take(self, CMPY_FOREVER) < 0) return -1;
    return 0;
}

/* ---- the base type ---- */

void cmpy_semlock_dealloc(PyObject *op)
{
    struct cmpy_semlock *self = SELF(op);
    PyObject_GC_UnTrack(op);
    struct cmp_cell *cell = cell_of(self);
    bool owns = cell->shm != NULL && is_lock(self) && cmp_members_joined(&cell->members) &&
                cmp_lockword_owner(cell) == cmp_members_me(&cell->members);
    cmpy_cell_dealloc(op, owns);
}

static PyObject *semlock_getstate(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return cmpy_cell_getstate(&SELF(op)->base);
}

static PyObject *semlock_where(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return cmpy_cell_where(&SELF(op)->base);
}

static enum cmp_cell_kind kind_of_type(PyObject *op)
{
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(op));
    if (PyObject_TypeCheck(op, (PyTypeObject *)state->lock_type)) return CMP_CELL_LOCK;
    if (PyObject_TypeCheck(op, (PyTypeObject *)state->rlock_type)) return CMP_CELL_RLOCK;
    return CMP_CELL_SEMAPHORE;
}

static PyObject *semlock_setstate(PyObject *op, PyObject *state)
{
    PyObject *slab, *index;
    if (!cmpy_cell_is_state(state) || !PyArg_ParseTuple(state, "OO:__setstate__", &slab, &index)) return NULL;
    if (cmpy_cell_setstate(&SELF(op)->base, slab, index, kind_of_type(op)) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *semlock_locked(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (!cmpy_cell_ready(&SELF(op)->base)) return NULL;
    return PyBool_FromLong(cmpy_semlock_value(SELF(op)) == 0);
}

static PyObject *semlock_is_fork_ctx(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(SELF(op)->base.slab == NULL);
}

static PyObject *semlock_view(PyObject *op, void *Py_UNUSED(closure));

static PyMethodDef semlock_methods[] = {
    {"locked", semlock_locked, METH_NOARGS,
     PyDoc_STR("locked($self, /)\n--\n\nNobody could take it now; an RLock only who holds it.")},
    {"__getstate__", semlock_getstate, METH_NOARGS, NULL},
    {"__setstate__", semlock_setstate, METH_O, NULL},
    {"_where", semlock_where, METH_NOARGS,
     PyDoc_STR("_where($self, /)\n--\n\n(slab, index) of the cell, for __setstate__.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef semlock_getset[] = {
    CMPY_CELL_GETSET,
    {"_semlock", semlock_view, NULL, PyDoc_STR("What the stdlib's Condition reads."), NULL},
    {"_is_fork_ctx", semlock_is_fork_ctx, NULL, PyDoc_STR("Only fork hands it on."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef semlock_members[] = {
    CMPY_CELL_MEMBERS,
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot semlock_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Base of the locks and semaphores.")},
    {Py_tp_new, PyType_GenericNew},
    CMPY_SEMLOCK_LIFE,
    {Py_tp_methods, semlock_methods},
    {Py_tp_getset, semlock_getset},
    {Py_tp_members, semlock_members},
    {0, NULL},
};

static PyType_Spec semlock_spec = {
    .name = "cmp.synchronize.SemLock",
    .basicsize = sizeof(struct cmpy_semlock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = semlock_slots,
};

/* ---- the view ---- */

struct view {
    PyObject_HEAD
    struct cmpy_semlock *lock;
};

#define LOCK(op) (((struct view *)(op))->lock)

static PyObject *semlock_view(PyObject *op, void *Py_UNUSED(closure))
{
    struct cmpy_semlock *self = SELF(op);
    if (!cmpy_cell_ready(&self->base)) return NULL;
    PyTypeObject *type = (PyTypeObject *)cmpy_state_of_type(Py_TYPE(op))->semlock_view_type;
    struct view *view = PyObject_GC_New(struct view, type);
    if (view == NULL) return NULL;
    view->lock = SELF(Py_NewRef(op));
    PyObject_GC_Track(view);
    return (PyObject *)view;
}

static void view_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_XDECREF(LOCK(op));
    type->tp_free(op);
    Py_DECREF(type);
}

static int view_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(LOCK(op));
    return 0;
}

static PyObject *view_is_mine(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(cmpy_semlock_is_mine(LOCK(op)));
}

static PyObject *view_count(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(cmpy_semlock_count(LOCK(op)));
}

static PyObject *view_get_value(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(cmpy_semlock_value(LOCK(op)));
}

static PyObject *view_is_zero(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(cmpy_semlock_value(LOCK(op)) == 0);
}

static PyObject *view_after_fork(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    LOCK(op)->count = 0;
    Py_RETURN_NONE;
}

static PyObject *view_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyObject_CallMethod((PyObject *)LOCK(op), "__enter__", NULL);
}

static PyObject *view_exit(PyObject *op, PyObject *Py_UNUSED(args))
{
    return PyObject_CallMethod((PyObject *)LOCK(op), "__exit__", "OOO", Py_None, Py_None, Py_None);
}

/* acquire and release are the lock's own, bound methods included. */
static PyObject *view_acquire(PyObject *op, void *Py_UNUSED(closure))
{
    return PyObject_GetAttrString((PyObject *)LOCK(op), "acquire");
}

static PyObject *view_release(PyObject *op, void *Py_UNUSED(closure))
{
    return PyObject_GetAttrString((PyObject *)LOCK(op), "release");
}

static PyObject *view_kind(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(is_rlock(LOCK(op)) ? 0 : 1);
}

static PyObject *view_maxvalue(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(cell_of(LOCK(op))->shm->limit);
}

static PyObject *view_handle(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromVoidPtr(cell_of(LOCK(op))->shm);
}

static PyObject *view_name(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    Py_RETURN_NONE;
}

static PyMethodDef view_methods[] = {
    {"_is_mine", view_is_mine, METH_NOARGS, PyDoc_STR("_is_mine($self, /)\n--\n\nThis thread took it last.")},
    {"_count", view_count, METH_NOARGS, PyDoc_STR("_count($self, /)\n--\n\nTaken less given back, in this process.")},
    {"_get_value", view_get_value, METH_NOARGS, PyDoc_STR("_get_value($self, /)\n--\n\nHow many may take it now.")},
    {"_is_zero", view_is_zero, METH_NOARGS, PyDoc_STR("_is_zero($self, /)\n--\n\nNobody may take it now.")},
    {"_after_fork", view_after_fork, METH_NOARGS, PyDoc_STR("_after_fork($self, /)\n--\n\nForgets what was taken.")},
    {"__enter__", view_enter, METH_NOARGS, NULL},
    {"__exit__", view_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef view_getset[] = {
    {"acquire", view_acquire, NULL, PyDoc_STR("The lock's own."), NULL},
    {"release", view_release, NULL, PyDoc_STR("The lock's own."), NULL},
    {"kind", view_kind, NULL, PyDoc_STR("0: recursive, 1: not."), NULL},
    {"maxvalue", view_maxvalue, NULL, PyDoc_STR("The largest value."), NULL},
    {"handle", view_handle, NULL, PyDoc_STR("Where it lies in this process."), NULL},
    {"name", view_name, NULL, PyDoc_STR("None: cmp's semaphores have no names."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot view_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The stdlib's view of a lock.")},
    {Py_tp_dealloc, view_dealloc},
    {Py_tp_traverse, view_traverse},
    {Py_tp_methods, view_methods},
    {Py_tp_getset, view_getset},
    {0, NULL},
};

static PyType_Spec view_spec = {
    .name = "cmp._core.SemLockView",
    .basicsize = sizeof(struct view),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = view_slots,
};

int cmpy_semlock_add_type(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    state->semlock_type = cmpy_add_type(module, &semlock_spec, NULL);
    if (state->semlock_type == NULL) return -1;
    state->semlock_view_type = cmpy_add_type(module, &view_spec, NULL);
    if (state->semlock_view_type == NULL) return -1;
    PyObject *max = PyLong_FromLong(CMP_SEMAPHORE_MAX);
    int code = max == NULL ? -1 : PyObject_SetAttrString(state->semlock_view_type, "SEM_VALUE_MAX", max);
    Py_XDECREF(max);
    return code;
}
