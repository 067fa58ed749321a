#include "py/event.h"

#include "py/cell.h"
#include "py/errors.h"
#include "py/wait.h"
#include "shm/flag.h"

#include <errno.h>
#include <structmember.h>

#define SELF(op) ((struct cmpy_cell *)(op))

static void event_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    cmpy_cell_dealloc(op, false);
}

static int event_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"ctx", NULL};
    PyObject *ctx = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O:Event", names, &ctx)) return -1;
    return cmpy_cell_create(SELF(op), "Event", ctx, CMP_CELL_EVENT, 0);
}

static PyObject *event_is_set(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (!cmpy_cell_ready(SELF(op))) return NULL;
    return PyBool_FromLong(cmp_flag_is_set(&SELF(op)->cell));
}

static PyObject *event_set(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (!cmpy_cell_ready(SELF(op))) return NULL;
    cmp_flag_set(&SELF(op)->cell);
    Py_RETURN_NONE;
}

static PyObject *event_clear(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (!cmpy_cell_ready(SELF(op))) return NULL;
    cmp_flag_clear(&SELF(op)->cell);
    Py_RETURN_NONE;
}

static int call_wait(void *arg, int64_t deadline_ns)
{
    int over = cmp_cell_look(((struct cmp_flag_wait *)arg)->cell);
    return over < 0 ? over : cmp_flag_wait(arg, deadline_ns);
}

static PyObject *event_wait(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    int64_t deadline_ns;
    if (!cmpy_cell_ready(SELF(op))) return NULL;
    PyObject *timeout = cmpy_only_timeout("wait", args, nargs, kwnames);
    struct cmp_flag_wait wait = {.cell = &SELF(op)->cell};
    if (timeout == NULL) return NULL;
    if (cmp_flag_is_set(wait.cell)) Py_RETURN_TRUE;
    if (cmpy_deadline(1, timeout, &deadline_ns) < 0) return NULL;
    int code = cmpy_wait(call_wait, &wait, deadline_ns);
    if (code == 0) Py_RETURN_TRUE;
    if (code == -EAGAIN || code == -ETIMEDOUT) Py_RETURN_FALSE;
    return code == CMPY_RAISED ? NULL : cmpy_raise("Event.wait", code);
}

static PyObject *event_repr(PyObject *op)
{
    PyObject *class = PyObject_GetAttrString((PyObject *)Py_TYPE(op), "__qualname__");
    if (class == NULL) return NULL;
    struct cmp_cell *cell = &SELF(op)->cell;
    const char *set = cell->shm == NULL ? "unknown" : cmp_flag_is_set(cell) ? "set" : "unset";
    PyObject *repr = PyUnicode_FromFormat("<%S at %p %s>", class, op, set);
    Py_DECREF(class);
    return repr;
}

static PyObject *event_getstate(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return cmpy_cell_getstate(SELF(op));
}

static PyObject *event_where(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return cmpy_cell_where(SELF(op));
}

static PyObject *event_setstate(PyObject *op, PyObject *state)
{
    PyObject *slab, *index;
    if (!cmpy_cell_is_state(state) || !PyArg_ParseTuple(state, "OO:__setstate__", &slab, &index)) return NULL;
    if (cmpy_cell_setstate(SELF(op), slab, index, CMP_CELL_EVENT) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef event_methods[] = {
    {"is_set", event_is_set, METH_NOARGS, PyDoc_STR("is_set($self, /)\n--\n\nWhether it is set.")},
    {"set", event_set, METH_NOARGS, PyDoc_STR("set($self, /)\n--\n\nSets it and wakes all that wait.")},
    {"clear", event_clear, METH_NOARGS, PyDoc_STR("clear($self, /)\n--\n\nUnsets it.")},
    {"wait", (PyCFunction)(void (*)(void))event_wait, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("wait($self, /, timeout=None)\n--\n\nWaits until it is set; False after timeout seconds.")},
    {"__getstate__", event_getstate, METH_NOARGS, NULL},
    {"__setstate__", event_setstate, METH_O, NULL},
    {"_where", event_where, METH_NOARGS,
     PyDoc_STR("_where($self, /)\n--\n\n(slab, index) of the cell, for __setstate__.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef event_getset[] = {
    CMPY_CELL_GETSET,
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef event_members[] = {
    CMPY_CELL_MEMBERS,
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot event_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Event(*, ctx)\n--\n\nA flag that processes wait for. Setting it waits for nobody.")},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, event_init},
    {Py_tp_dealloc, event_dealloc},
    {Py_tp_traverse, cmpy_cell_traverse},
    {Py_tp_clear, cmpy_cell_clear},
    {Py_tp_repr, event_repr},
    {Py_tp_methods, event_methods},
    {Py_tp_getset, event_getset},
    {Py_tp_members, event_members},
    {0, NULL},
};

static PyType_Spec event_spec = {
    .name = "cmp.synchronize.Event",
    .basicsize = sizeof(struct cmpy_cell),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = event_slots,
};

int cmpy_event_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    state->event_type = cmpy_add_type(module, &event_spec, NULL);
    return state->event_type == NULL ? -1 : 0;
}
