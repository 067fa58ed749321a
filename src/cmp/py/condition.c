/* Condition: tickets in a cell (shm/condition.h) beside a lock that may be any (py/outerlock.h). */
#include "py/condition.h"

#include "os/clock.h"
#include "py/cell.h"
#include "py/errors.h"
#include "py/outerlock.h"
#include "py/wait.h"
#include "shm/condition.h"

#include <errno.h>
#include <structmember.h>

struct condition {
    struct cmpy_cell base;
    struct cmpy_outerlock lock;
};

#define SELF(op) ((struct condition *)(op))

static bool ready(struct condition *self)
{
    return cmpy_cell_ready(&self->base);
}

/* ---- waiting ---- */

static int call_sleep(void *arg, int64_t deadline_ns)
{
    int over = cmp_cell_look(((struct cmp_condition_wait *)arg)->cell);
    return over < 0 ? over : cmp_condition_sleep(arg, deadline_ns);
}

/* 1: notified, 0: not in time, -1 with an exception. The lock is held again, unless getting it back was interrupted. */
static int wait_until(struct condition *self, int64_t deadline_ns)
{
    struct cmp_condition_wait wait;
    struct cmpy_semlock_held held = {0};
    cmp_condition_enter(&wait, &self->base.cell);
    if (cmpy_outerlock_let_go(&self->lock, &held) < 0) {
        (void)cmp_condition_leave(&wait);
        return -1;
    }
    int code = cmpy_wait(call_sleep, &wait, deadline_ns);
    bool notified = cmp_condition_leave(&wait);
    if (code == -ESHUTDOWN) {
        cmpy_raise("Condition.wait", code);
        code = CMPY_RAISED;
    }
    if (code == CMPY_RAISED) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        /* A notification that this thread will not act on is another's. */
        if (notified) (void)cmp_condition_notify(&self->base.cell, 1);
        if (cmpy_outerlock_get_back(&self->lock, &held) == 0) {
            PyErr_Restore(type, value, traceback);
        } else {
            Py_XDECREF(type);
            Py_XDECREF(value);
            Py_XDECREF(traceback);
        }
        return -1;
    }
    return cmpy_outerlock_get_back(&self->lock, &held) < 0 ? -1 : notified;
}

static PyObject *condition_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct condition *self = SELF(op);
    int64_t deadline_ns;
    PyObject *timeout = cmpy_only_timeout("wait", args, nargs, kwnames);
    if (timeout == NULL || !ready(self)) return NULL;
    if (cmpy_outerlock_assert_held(&self->lock, "must acquire() condition before using wait()") < 0) return NULL;
    if (cmpy_deadline(1, timeout, &deadline_ns) < 0) return NULL;
    int code = wait_until(self, deadline_ns);
    return code < 0 ? NULL : PyBool_FromLong(code);
}

static PyObject *condition_wait_for(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"predicate", "timeout", NULL};
    struct condition *self = SELF(op);
    PyObject *predicate, *timeout = Py_None;
    int64_t deadline_ns = 0;
    bool begun = false;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:wait_for", names, &predicate, &timeout) || !ready(self))
        return NULL;
    for (;;) {
        PyObject *result = PyObject_CallNoArgs(predicate);
        int holds = result == NULL ? -1 : PyObject_IsTrue(result);
        if (holds == 0 && !begun) {
            begun = true;
            if (cmpy_deadline(1, timeout, &deadline_ns) < 0) holds = -1;
        }
        if (holds < 0) {
            Py_XDECREF(result);
            return NULL;
        }
        bool over = deadline_ns != CMPY_FOREVER && deadline_ns <= cmp_now_ns();
        if (holds || over) return result;
        Py_DECREF(result);
        if (cmpy_outerlock_assert_held(&self->lock, "must acquire() condition before using wait()") < 0) return NULL;
        if (wait_until(self, deadline_ns) < 0) return NULL;
    }
}

/* ---- notifying ---- */

static PyObject *notify(struct condition *self, uint64_t most)
{
    if (!ready(self) || cmpy_outerlock_assert_held(&self->lock, "lock is not owned") < 0) return NULL;
    (void)cmp_condition_notify(&self->base.cell, most);
    Py_RETURN_NONE;
}

static PyObject *condition_notify(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"n", NULL};
    PyObject *number = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:notify", names, &number)) return NULL;
    Py_ssize_t n = 1;
    /* Numbers beyond all waiters are as good as the largest. */
    if (number != NULL) n = PyNumber_AsSsize_t(number, NULL);
    if (n == -1 && PyErr_Occurred()) return NULL;
    return notify(SELF(op), n < 0 ? 0 : (uint64_t)n);
}

static PyObject *condition_notify_all(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return notify(SELF(op), UINT64_MAX);
}

/* ---- as a lock ---- */

static PyObject *condition_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return ready(SELF(op)) ? cmpy_outerlock_acquire(&SELF(op)->lock, args, nargs, kwnames) : NULL;
}

static PyObject *condition_release(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return ready(SELF(op)) ? cmpy_outerlock_release(&SELF(op)->lock) : NULL;
}

static PyObject *condition_locked(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return ready(SELF(op)) ? cmpy_outerlock_locked(&SELF(op)->lock) : NULL;
}

static PyObject *condition_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return ready(SELF(op)) ? cmpy_outerlock_enter(&SELF(op)->lock) : NULL;
}

static PyObject *condition_exit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return ready(SELF(op)) ? cmpy_outerlock_exit(&SELF(op)->lock, args, nargs) : NULL;
}

static PyObject *condition_lock(PyObject *op, void *Py_UNUSED(closure))
{
    return ready(SELF(op)) ? Py_NewRef(SELF(op)->lock.object) : NULL;
}

/* ---- life ---- */

/* Steals the reference. */
static void set_lock(struct condition *self, PyObject *lock)
{
    cmpy_outerlock_set(&self->lock, cmpy_state_of_type(Py_TYPE(self)), lock);
}

/* Whatever can be acquired and released. */
static bool is_lock(PyObject *object)
{
    static const char *const needed[] = {"acquire", "release"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        PyObject *method = PyObject_GetAttrString(object, needed[i]);
        Py_XDECREF(method);
        if (method == NULL) return false;
    }
    return true;
}

static int condition_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"lock", "ctx", NULL};
    struct condition *self = SELF(op);
    PyObject *lock = Py_None, *ctx = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$O:Condition", names, &lock, &ctx)) return -1;
    int given = PyObject_IsTrue(lock);
    if (given < 0 || (given && !is_lock(lock))) return -1;
    /* The lock before the cell: who has a cell is ready for use. */
    if (given) lock = Py_NewRef(lock);
    else lock = ctx == NULL ? Py_NewRef(Py_None) : PyObject_CallMethod(ctx, "RLock", NULL);
    if (lock == NULL) return -1;
    if (cmpy_cell_create(&self->base, "Condition", ctx, CMP_CELL_CONDITION, 0) < 0) {
        Py_DECREF(lock);
        return -1;
    }
    set_lock(self, lock);
    return 0;
}

static int condition_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(SELF(op)->lock.object);
    return cmpy_cell_traverse(op, visit, arg);
}

static int condition_clear(PyObject *op)
{
    /* Not the lock: while there is a cell there is a lock, and locks refer to nothing. One of a user's own making
     * that refers back is a cycle which its own type can break. */
    return cmpy_cell_clear(op);
}

static void condition_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    Py_CLEAR(SELF(op)->lock.object);
    cmpy_cell_dealloc(op, false);
}

static PyObject *condition_repr(PyObject *op)
{
    struct condition *self = SELF(op);
    PyObject *class = PyObject_GetAttrString((PyObject *)Py_TYPE(op), "__name__"), *repr;
    if (class == NULL) return NULL;
    if (self->base.cell.shm == NULL)
        repr = PyUnicode_FromFormat("<%S(unknown)>", class);
    else
        repr = PyUnicode_FromFormat("<%S(%S, %u)>", class, self->lock.object, cmp_condition_waiting(&self->base.cell));
    Py_DECREF(class);
    return repr;
}

static PyObject *with_lock(PyObject *op, PyObject *where)
{
    if (where == NULL) return NULL;
    PyObject *lock = PyTuple_Pack(1, SELF(op)->lock.object);
    PyObject *state = lock == NULL ? NULL : PySequence_Concat(lock, where);
    Py_XDECREF(lock);
    Py_DECREF(where);
    return state;
}

static PyObject *condition_getstate(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return with_lock(op, cmpy_cell_getstate(&SELF(op)->base));
}

static PyObject *condition_where(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return cmpy_cell_where(&SELF(op)->base);
}

static PyObject *condition_setstate(PyObject *op, PyObject *state)
{
    PyObject *lock, *slab, *index;
    if (!cmpy_cell_is_state(state) || !PyArg_ParseTuple(state, "OOO:__setstate__", &lock, &slab, &index)) return NULL;
    if (cmpy_cell_setstate(&SELF(op)->base, slab, index, CMP_CELL_CONDITION) < 0) return NULL;
    set_lock(SELF(op), Py_NewRef(lock));
    Py_RETURN_NONE;
}

static PyMethodDef condition_methods[] = {
    {"wait", (PyCFunction)(void (*)(void))condition_wait, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("wait($self, /, timeout=None)\n--\n\n"
               "Lets go of the lock, waits for a notification, takes the lock again; False after timeout seconds.")},
    {"wait_for", (PyCFunction)(void (*)(void))condition_wait_for, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("wait_for($self, /, predicate, timeout=None)\n--\n\n"
               "Waits until predicate() is true, or timeout seconds; what it last said.")},
    {"notify", (PyCFunction)(void (*)(void))condition_notify, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("notify($self, /, n=1)\n--\n\nWakes the n that wait longest. Those whose process died do not count.")},
    {"notify_all", condition_notify_all, METH_NOARGS, PyDoc_STR("notify_all($self, /)\n--\n\nWakes all that wait.")},
    {"acquire", (PyCFunction)(void (*)(void))condition_acquire, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("acquire($self, /, block=True, timeout=None)\n--\n\nTakes the lock.")},
    {"release", condition_release, METH_NOARGS, PyDoc_STR("release($self, /)\n--\n\nGives the lock back.")},
    {"locked", condition_locked, METH_NOARGS, PyDoc_STR("locked($self, /)\n--\n\nIs the lock taken?")},
    {"__enter__", condition_enter, METH_NOARGS, PyDoc_STR("__enter__($self, /)\n--\n\nTakes the lock.")},
    {"__exit__", (PyCFunction)(void (*)(void))condition_exit, METH_FASTCALL,
     PyDoc_STR("__exit__($self, exc_type=None, exc_value=None, exc_tb=None, /)\n--\n\nGives the lock back.")},
    {"__getstate__", condition_getstate, METH_NOARGS, NULL},
    {"__setstate__", condition_setstate, METH_O, NULL},
    {"_where", condition_where, METH_NOARGS,
     PyDoc_STR("_where($self, /)\n--\n\n(slab, index) of the cell, without the lock's.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef condition_getset[] = {
    CMPY_CELL_GETSET,
    {"_lock", condition_lock, NULL, PyDoc_STR("The lock."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef condition_members[] = {
    CMPY_CELL_MEMBERS,
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot condition_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Condition(lock=None, *, ctx)\n--\n\n"
                                 "A condition variable over a lock, an RLock if none is given.")},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, condition_init},
    {Py_tp_dealloc, condition_dealloc},
    {Py_tp_traverse, condition_traverse},
    {Py_tp_clear, condition_clear},
    {Py_tp_repr, condition_repr},
    {Py_tp_methods, condition_methods},
    {Py_tp_getset, condition_getset},
    {Py_tp_members, condition_members},
    {0, NULL},
};

static PyType_Spec condition_spec = {
    .name = "cmp.synchronize.Condition",
    .basicsize = sizeof(struct condition),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = condition_slots,
};

int cmpy_condition_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    state->condition_type = cmpy_add_type(module, &condition_spec, NULL);
    return state->condition_type == NULL ? -1 : 0;
}
