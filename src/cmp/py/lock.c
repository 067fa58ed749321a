/* Lock and RLock: one lock word each (shm/lockword.h); the books of a process (whose thread, how often) are in the
 * object, as in the stdlib. */
#include "py/semlock.h"

#include "py/books.h"
#include "py/errors.h"
#include "py/wait.h"
#include "shm/lockword.h"

#include <errno.h>

#define SELF(op) ((struct cmpy_semlock *)(op))

static int call_take(void *arg, int64_t deadline_ns)
{
    int over = cmp_cell_look(((struct cmp_lock_take *)arg)->cell);
    return over < 0 ? over : cmp_lockword_take(arg, deadline_ns);
}

/* Says that the holder died. Where warnings are errors the lock is given back first, unless `keep`. */
static int warn(struct cmpy_semlock *self, int32_t pid, bool keep)
{
    PyObject *category = cmpy_state_of_type(Py_TYPE(self))->abandoned_warning;
    int code = pid > 0 ? PyErr_WarnFormat(category, 1, "%s was held by process %d, which died: taken over",
                                          Py_TYPE(self)->tp_name, (int)pid)
                       : PyErr_WarnFormat(category, 1, "%s was held by a process that died: taken over",
                                          Py_TYPE(self)->tp_name);
    if (code < 0 && !keep) {
        cmpy_semlock_add(self, -1);
        (void)cmp_lockword_leave(&self->base.cell, self->entered);
    }
    return code;
}

static int wait_for_lock(struct cmpy_semlock *self, bool kept, bool keep_if_warned, int64_t deadline_ns)
{
    struct cmp_lock_take take = {.cell = &self->base.cell, .kept = kept};
    int code = cmpy_wait(call_take, &take, deadline_ns);
    if (code == 0) {
        self->entered = take.epoch;
        cmpy_semlock_took(self);
        return take.abandoned && warn(self, take.abandoned_pid, keep_if_warned) < 0 ? -1 : 1;
    }
    if (code == -EAGAIN || code == -ETIMEDOUT) return 0;
    if (code != CMPY_RAISED) cmpy_raise("acquire", code);
    return -1;
}

/* 1: taken, 0: not in time, -1 with an exception. */
int cmpy_lock_take(struct cmpy_semlock *self, bool kept, bool keep_if_warned, int64_t deadline_ns)
{
    if (cmp_lockword_try(&self->base.cell, kept, &self->entered) < 0)
        return wait_for_lock(self, kept, keep_if_warned, deadline_ns);
    cmpy_semlock_took(self);
    return 1;
}

static PyObject *taken(int code)
{
    return code < 0 ? NULL : PyBool_FromLong(code);
}

static PyObject *too_often(void)
{
    PyErr_SetString(PyExc_ValueError, "semaphore or lock released too many times");
    return NULL;
}

/* ---- Lock ---- */

static PyObject *lock_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    int64_t deadline_ns = CMPY_FOREVER;
    if (!cmpy_cell_ready(&SELF(op)->base)) return NULL;
    if ((nargs > 0 || kwnames != NULL) && cmpy_acquire_deadline(args, nargs, kwnames, &deadline_ns) < 0) return NULL;
    return taken(cmpy_lock_take(SELF(op), false, false, deadline_ns));
}

static PyObject *lock_release(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    struct cmpy_semlock *self = SELF(op);
    if (!cmpy_cell_ready(&self->base)) return NULL;
    if (cmp_lockword_release(&self->base.cell) < 0) return too_often();
    cmpy_semlock_add(self, -1);
    Py_RETURN_NONE;
}

static PyObject *lock_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (!cmpy_cell_ready(&SELF(op)->base)) return NULL;
    return taken(cmpy_lock_take(SELF(op), true, false, CMPY_FOREVER));
}

static PyObject *lock_exit(PyObject *op, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    struct cmpy_semlock *self = SELF(op);
    if (!cmpy_cell_ready(&self->base)) return NULL;
    switch (cmp_lockword_leave(&self->base.cell, self->entered)) {
    case 0: cmpy_semlock_add(self, -1); Py_RETURN_NONE;
    case -ESTALE: Py_RETURN_NONE; /* the body was inherited by fork, and the lock taken over since */
    default: return too_often();
    }
}

static int init_lock(PyObject *op, PyObject *args, PyObject *kwargs, const char *name, enum cmp_cell_kind kind)
{
    static char *names[] = {"ctx", NULL};
    PyObject *ctx = NULL;
    char format[32];
    (void)snprintf(format, sizeof format, "|$O:%s", name);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &ctx)) return -1;
    return cmpy_cell_create(&SELF(op)->base, name, ctx, kind, 1);
}

static int lock_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    return init_lock(op, args, kwargs, "Lock", CMP_CELL_LOCK);
}

/* ---- RLock ---- */

static int rlock_take(struct cmpy_semlock *self, int64_t deadline_ns)
{
    if (!cmpy_semlock_is_mine(self)) return cmpy_lock_take(self, true, false, deadline_ns);
    self->count++;
    return 1;
}

static PyObject *rlock_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    int64_t deadline_ns = CMPY_FOREVER;
    if (!cmpy_cell_ready(&SELF(op)->base)) return NULL;
    if ((nargs > 0 || kwnames != NULL) && cmpy_acquire_deadline(args, nargs, kwnames, &deadline_ns) < 0) return NULL;
    return taken(rlock_take(SELF(op), deadline_ns));
}

static PyObject *rlock_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (!cmpy_cell_ready(&SELF(op)->base)) return NULL;
    return taken(rlock_take(SELF(op), CMPY_FOREVER));
}

static PyObject *rlock_release(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    struct cmpy_semlock *self = SELF(op);
    if (!cmpy_cell_ready(&self->base)) return NULL;
    if (!cmpy_semlock_is_mine(self)) {
        PyErr_SetString(PyExc_AssertionError, "attempt to release recursive lock not owned by thread");
        return NULL;
    }
    if (--self->count == 0) (void)cmp_lockword_release(&self->base.cell);
    Py_RETURN_NONE;
}

static PyObject *rlock_exit(PyObject *op, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return rlock_release(op, NULL);
}

static int rlock_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    return init_lock(op, args, kwargs, "RLock", CMP_CELL_RLOCK);
}

const struct cmpy_semlock_methods cmpy_lock_methods = {lock_acquire, lock_release, lock_enter, lock_exit};
const struct cmpy_semlock_methods cmpy_rlock_methods = {rlock_acquire, rlock_release, rlock_enter, rlock_exit};

/* ---- reprs ---- */

static PyObject *name_of(PyObject *globals, const char *function)
{
    PyObject *callable = cmpy_stdlib_get(globals, function), *name = NULL;
    PyObject *object = callable == NULL ? NULL : PyObject_CallNoArgs(callable);
    if (object != NULL) name = PyObject_GetAttrString(object, "name");
    Py_XDECREF(callable);
    Py_XDECREF(object);
    return name;
}

/* "MainProcess", "MainProcess|Thread-1": this thread of this process. */
static PyObject *own_name(struct cmpy_state *state)
{
    PyObject *process = name_of(state->process_globals, "current_process");
    PyObject *thread = process == NULL ? NULL : name_of(state->threading_globals, "current_thread"), *both = NULL;
    if (thread != NULL) {
        bool is_main = PyUnicode_Check(thread) && PyUnicode_CompareWithASCIIString(thread, "MainThread") == 0;
        both = is_main ? PyUnicode_FromFormat("%S", process) : PyUnicode_FromFormat("%S|%S", process, thread);
    }
    Py_XDECREF(process);
    Py_XDECREF(thread);
    return both;
}

static PyObject *owner_name(struct cmpy_semlock *self)
{
    if (self->base.cell.shm == NULL) return PyUnicode_FromString("unknown");
    if (cmpy_semlock_is_mine(self)) {
        PyObject *name = own_name(cmpy_state_of_type(Py_TYPE(self)));
        if (name != NULL) return name;
        PyErr_Clear();
        return PyUnicode_FromString("unknown");
    }
    if (cmpy_semlock_value(self) == 1) return PyUnicode_FromString("None");
    return PyUnicode_FromString(cmpy_semlock_count(self) > 0 ? "SomeOtherThread" : "SomeOtherProcess");
}

/* A metaclass may make anything of it. */
static PyObject *class_name(PyObject *op)
{
    return PyObject_GetAttrString((PyObject *)Py_TYPE(op), "__name__");
}

static PyObject *lock_repr(PyObject *op)
{
    PyObject *class = class_name(op), *owner = owner_name(SELF(op)), *repr = NULL;
    if (class != NULL && owner != NULL) repr = PyUnicode_FromFormat("<%S(owner=%U)>", class, owner);
    Py_XDECREF(class);
    Py_XDECREF(owner);
    return repr;
}

static PyObject *rlock_repr(PyObject *op)
{
    struct cmpy_semlock *self = SELF(op);
    PyObject *class = class_name(op), *owner = owner_name(self), *repr = NULL;
    bool known = self->base.cell.shm != NULL;
    bool mine = known && cmpy_semlock_is_mine(self);
    if (class == NULL || owner == NULL) {
        /* the exception is set */
    } else if (mine) {
        repr = PyUnicode_FromFormat("<%S(%U, %ld)>", class, owner, cmpy_semlock_count(self));
    } else {
        bool nobody = PyUnicode_CompareWithASCIIString(owner, "None") == 0;
        repr = PyUnicode_FromFormat("<%S(%U, %s)>", class, owner, !known ? "unknown" : nobody ? "0" : "nonzero");
    }
    Py_XDECREF(class);
    Py_XDECREF(owner);
    return repr;
}

/* ---- types ---- */

#define ACQUIRE_DOC                                                                               \
    PyDoc_STR("acquire($self, /, block=True, timeout=None)\n--\n\n"                               \
              "Takes it; False if that did not succeed at once (not block) or within timeout seconds.")
#define RELEASE_DOC PyDoc_STR("release($self, /)\n--\n\nGives it back.")
#define ENTER_DOC \
    PyDoc_STR("__enter__($self, /)\n--\n\nTakes it; whoever waits takes over if this process dies inside.")
#define EXIT_DOC PyDoc_STR("__exit__($self, exc_type=None, exc_value=None, exc_tb=None, /)\n--\n\nGives it back.")

static PyMethodDef lock_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))lock_acquire, METH_FASTCALL | METH_KEYWORDS, ACQUIRE_DOC},
    {"release", lock_release, METH_NOARGS, RELEASE_DOC},
    {"__enter__", lock_enter, METH_NOARGS, ENTER_DOC},
    {"__exit__", (PyCFunction)(void (*)(void))lock_exit, METH_FASTCALL, EXIT_DOC},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR(
        "Lock(*, ctx)\n--\n\n"
        "A lock for processes. Any process may release it. If the process that holds it by `with` dies, the next to\n"
        "wait takes it over, with an AbandonedLockWarning; what a dead process took by acquire() stays taken.")},
    {Py_tp_init, lock_init},
    CMPY_SEMLOCK_LIFE,
    {Py_tp_repr, lock_repr},
    {Py_tp_methods, lock_methods},
    {0, NULL},
};

static PyType_Spec lock_spec = {
    .name = "cmp.synchronize.Lock",
    .basicsize = sizeof(struct cmpy_semlock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = lock_slots,
};

static PyMethodDef rlock_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))rlock_acquire, METH_FASTCALL | METH_KEYWORDS, ACQUIRE_DOC},
    {"release", rlock_release, METH_NOARGS, RELEASE_DOC},
    {"__enter__", rlock_enter, METH_NOARGS, ENTER_DOC},
    {"__exit__", (PyCFunction)(void (*)(void))rlock_exit, METH_FASTCALL, EXIT_DOC},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot rlock_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR(
        "RLock(*, ctx)\n--\n\n"
        "A lock that its thread may take again, and alone may release. If its process dies, the next to wait takes it\n"
        "over, with an AbandonedLockWarning.")},
    {Py_tp_init, rlock_init},
    CMPY_SEMLOCK_LIFE,
    {Py_tp_repr, rlock_repr},
    {Py_tp_methods, rlock_methods},
    {0, NULL},
};

static PyType_Spec rlock_spec = {
    .name = "cmp.synchronize.RLock",
    .basicsize = sizeof(struct cmpy_semlock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = rlock_slots,
};

int cmpy_lock_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    state->abandoned_warning = PyErr_NewExceptionWithDoc(
        "cmp.synchronize.AbandonedLockWarning",
        "A lock was taken over from a process that died while it held it: what it guards may be half-way.",
        PyExc_RuntimeWarning, NULL);
    if (state->abandoned_warning == NULL) return -1;
    if (PyModule_AddObjectRef(module, "AbandonedLockWarning", state->abandoned_warning) < 0) return -1;
    state->lock_type = cmpy_add_type(module, &lock_spec, state->semlock_type);
    if (state->lock_type == NULL) return -1;
    state->rlock_type = cmpy_add_type(module, &rlock_spec, state->semlock_type);
    return state->rlock_type == NULL ? -1 : 0;
}
