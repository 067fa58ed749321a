/* Semaphore and BoundedSemaphore (shm/semaphore.h). */
#include "py/semlock.h"

#include "py/errors.h"
#include "py/wait.h"
#include "shm/semaphore.h"

#include <errno.h>

#define SELF(op) ((struct cmpy_semlock *)(op))

static int call_take(void *arg, int64_t deadline_ns)
{
    int over = cmp_cell_look(((struct cmp_semaphore_take *)arg)->cell);
    return over < 0 ? over : cmp_semaphore_take(arg, deadline_ns);
}

/* 1: taken, 0: not in time, -1 with an exception. */
int cmpy_semaphore_take(struct cmpy_semlock *self, int64_t deadline_ns)
{
    struct cmp_semaphore_take take = {.cell = &self->base.cell};
    int code = cmpy_wait(call_take, &take, deadline_ns);
    if (code == 0) {
        cmpy_semlock_took(self);
        return 1;
    }
    if (code == -EAGAIN || code == -ETIMEDOUT) return 0;
    if (code != CMPY_RAISED) cmpy_raise("acquire", code);
    return -1;
}

static PyObject *semaphore_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    int64_t deadline_ns = CMPY_FOREVER;
    if (!cmpy_cell_ready(&SELF(op)->base)) return NULL;
    if ((nargs > 0 || kwnames != NULL) && cmpy_acquire_deadline(args, nargs, kwnames, &deadline_ns) < 0) return NULL;
    int code = cmpy_semaphore_take(SELF(op), deadline_ns);
    return code < 0 ? NULL : PyBool_FromLong(code);
}

static PyObject *semaphore_enter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return semaphore_acquire(op, NULL, 0, NULL);
}

static PyObject *semaphore_release(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    struct cmpy_semlock *self = SELF(op);
    if (!cmpy_cell_ready(&self->base)) return NULL;
    if (cmp_semaphore_release(&self->base.cell) < 0) {
        PyErr_SetString(PyExc_ValueError, "semaphore or lock released too many times");
        return NULL;
    }
    cmpy_semlock_add(self, -1);
    Py_RETURN_NONE;
}

static PyObject *semaphore_exit(PyObject *op, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return semaphore_release(op, NULL);
}

const struct cmpy_semlock_methods cmpy_semaphore_methods = {semaphore_acquire, semaphore_release, semaphore_enter,
                                                            semaphore_exit};

static PyObject *semaphore_get_value(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (!cmpy_cell_ready(&SELF(op)->base)) return NULL;
    return PyLong_FromLong(cmpy_semlock_value(SELF(op)));
}

static int create(PyObject *op, PyObject *args, PyObject *kwargs, const char *name, bool bounded)
{
    static char *names[] = {"value", "ctx", NULL};
    PyObject *ctx = NULL;
    int value = 1;
    char format[32];
    (void)snprintf(format, sizeof format, "|i$O:%s", name);
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &value, &ctx)) return -1;
    if (value < 0) {
        cmpy_raise(name, -EINVAL);
        return -1;
    }
    uint64_t limit = bounded ? (uint64_t)value : CMP_SEMAPHORE_MAX;
    if (cmpy_cell_create(&SELF(op)->base, name, ctx, CMP_CELL_SEMAPHORE, limit) < 0) return -1;
    cmp_semaphore_init(&SELF(op)->base.cell, (uint32_t)value);
    return 0;
}

static int semaphore_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    return create(op, args, kwargs, "Semaphore", false);
}

static int bounded_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    return create(op, args, kwargs, "BoundedSemaphore", true);
}

static PyObject *represent(PyObject *op, bool bounded)
{
    struct cmpy_semlock *self = SELF(op);
    PyObject *class = PyObject_GetAttrString((PyObject *)Py_TYPE(op), "__name__"), *repr;
    if (class == NULL) return NULL;
    if (self->base.cell.shm == NULL)
        repr = PyUnicode_FromFormat("<%S(value=unknown)>", class);
    else if (bounded)
        repr = PyUnicode_FromFormat("<%S(value=%ld, maxvalue=%ld)>", class, cmpy_semlock_value(self),
                                    (long)self->base.cell.shm->limit);
    else
        repr = PyUnicode_FromFormat("<%S(value=%ld)>", class, cmpy_semlock_value(self));
    Py_DECREF(class);
    return repr;
}

static PyObject *semaphore_repr(PyObject *op)
{
    return represent(op, false);
}

static PyObject *bounded_repr(PyObject *op)
{
    return represent(op, true);
}

static PyMethodDef semaphore_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))semaphore_acquire, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("acquire($self, /, block=True, timeout=None)\n--\n\n"
               "Takes one; False if that did not succeed at once (not block) or within timeout seconds.")},
    {"release", semaphore_release, METH_NOARGS, PyDoc_STR("release($self, /)\n--\n\nGives one back.")},
    {"get_value", semaphore_get_value, METH_NOARGS, PyDoc_STR("get_value($self, /)\n--\n\nHow many are left.")},
    {"__enter__", semaphore_enter, METH_NOARGS, PyDoc_STR("__enter__($self, /)\n--\n\nTakes one.")},
    {"__exit__", (PyCFunction)(void (*)(void))semaphore_exit, METH_FASTCALL,
     PyDoc_STR("__exit__($self, exc_type=None, exc_value=None, exc_tb=None, /)\n--\n\nGives one back.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Semaphore(value=1, *, ctx)\n--\n\n"
                                 "A count that processes take from and give back to.")},
    {Py_tp_init, semaphore_init},
    CMPY_SEMLOCK_LIFE,
    {Py_tp_repr, semaphore_repr},
    {Py_tp_methods, semaphore_methods},
    {0, NULL},
};

static PyType_Spec semaphore_spec = {
    .name = "cmp.synchronize.Semaphore",
    .basicsize = sizeof(struct cmpy_semlock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = semaphore_slots,
};

static PyType_Slot bounded_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("BoundedSemaphore(value=1, *, ctx)\n--\n\n"
                                 "A semaphore that refuses to grow beyond its first value.")},
    {Py_tp_init, bounded_init},
    CMPY_SEMLOCK_LIFE,
    {Py_tp_repr, bounded_repr},
    {0, NULL},
};

static PyType_Spec bounded_spec = {
    .name = "cmp.synchronize.BoundedSemaphore",
    .basicsize = sizeof(struct cmpy_semlock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = bounded_slots,
};

int cmpy_semaphore_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    state->semaphore_type = cmpy_add_type(module, &semaphore_spec, state->semlock_type);
    if (state->semaphore_type == NULL) return -1;
    state->bounded_semaphore_type = cmpy_add_type(module, &bounded_spec, state->semaphore_type);
    return state->bounded_semaphore_type == NULL ? -1 : 0;
}
