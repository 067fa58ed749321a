#include "py/simplequeue.h"

#include "py/arguments.h"
#include "py/channel.h"
#include "py/reader.h"
#include "py/wait.h"

#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    struct cmpy_channel *channel; /* NULL until __init__ or __setstate__ */
    PyObject *dict, *weak;
    PyObject *reader, *writer;
} SimpleQueueObject;

static int check_initialized(SimpleQueueObject *self)
{
    if (self->channel != NULL) return 0;
    PyErr_Format(PyExc_ValueError, "SimpleQueue %R was not initialized", self);
    return -1;
}

/* The end has to be open, as in the standard library. */
static int check_end(SimpleQueueObject *self, bool writer)
{
    if (check_initialized(self) < 0) return -1;
    if (!(writer ? self->channel->writer_closed : self->channel->reader_closed)) return 0;
    PyErr_SetString(PyExc_OSError, "handle is closed");
    return -1;
}

static int simplequeue_init(SimpleQueueObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"ctx", NULL};
    PyObject *ctx = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O:__init__", names, &ctx)) return -1;
    if (cmpy_channel_init(&self->channel, Py_TYPE(self), ctx, 0) < 0) return -1;
    Py_CLEAR(self->reader);
    Py_CLEAR(self->writer);
    return 0;
}

static int simplequeue_traverse(SimpleQueueObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->dict);
    Py_VISIT(self->reader);
    Py_VISIT(self->writer);
    return 0;
}

static int simplequeue_clear(SimpleQueueObject *self)
{
    Py_CLEAR(self->dict);
    Py_CLEAR(self->reader);
    Py_CLEAR(self->writer);
    return 0;
}

static void simplequeue_dealloc(SimpleQueueObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weak != NULL) PyObject_ClearWeakRefs((PyObject *)self);
    (void)simplequeue_clear(self);
    cmpy_channel_drop(self->channel);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

PyDoc_STRVAR(simplequeue_put_doc,
"put($self, /, obj)\n--\n\n"
"Put an object into the queue.");

static PyObject *simplequeue_put(SimpleQueueObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"obj", NULL};
    static const struct cmpy_signature signature = {"put", names, 1};
    PyObject *object;
    bool encoded;
    if (cmpy_arguments(&signature, args, nargs, kwnames, &object) < 0 || check_end(self, true) < 0) return NULL;
    if (cmpy_channel_put(self->channel, object, CMPY_FOREVER, &encoded) < 0) return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(simplequeue_get_doc,
"get($self, /)\n--\n\n"
"Take the next object out of the queue, waiting for it if need be.");

static PyObject *simplequeue_get(SimpleQueueObject *self, PyObject *Py_UNUSED(ignored))
{
    return check_end(self, false) < 0 ? NULL : cmpy_channel_get(self->channel, CMPY_FOREVER);
}

PyDoc_STRVAR(simplequeue_empty_doc,
"empty($self, /)\n--\n\n"
"Whether no object is in the queue.");

static PyObject *simplequeue_empty(SimpleQueueObject *self, PyObject *Py_UNUSED(ignored))
{
    return check_end(self, false) < 0 ? NULL : PyBool_FromLong(cmp_queue_size(&self->channel->queue) == 0);
}

PyDoc_STRVAR(simplequeue_close_doc,
"close($self, /)\n--\n\n"
"Close both ends in this process.");

static PyObject *simplequeue_close(SimpleQueueObject *self, PyObject *Py_UNUSED(ignored))
{
    if (check_initialized(self) < 0) return NULL;
    self->channel->reader_closed = self->channel->writer_closed = true;
    Py_RETURN_NONE;
}

static PyObject *simplequeue_poll(SimpleQueueObject *self, PyObject *args)
{
    PyObject *timeout = NULL;
    int64_t deadline_ns = CMPY_TRY;
    if (!PyArg_ParseTuple(args, "|O:_poll", &timeout)) return NULL;
    if (timeout != NULL && cmpy_deadline(1, timeout, &deadline_ns) < 0) return NULL;
    if (check_end(self, false) < 0) return NULL;
    int there = cmpy_channel_poll(self->channel, deadline_ns);
    return there < 0 ? NULL : PyBool_FromLong(there);
}

static PyObject *simplequeue_getstate(SimpleQueueObject *self, PyObject *Py_UNUSED(ignored))
{
    return check_initialized(self) < 0 ? NULL : cmpy_channel_getstate(self->channel, (PyObject *)self);
}

static PyObject *simplequeue_setstate(SimpleQueueObject *self, PyObject *exported)
{
    if (cmpy_channel_setstate(&self->channel, Py_TYPE(self), exported) < 0) return NULL;
    Py_CLEAR(self->reader);
    Py_CLEAR(self->writer);
    Py_RETURN_NONE;
}

static PyObject *simplequeue_get_end(SimpleQueueObject *self, void *closure)
{
    PyObject **end = closure != NULL ? &self->writer : &self->reader;
    if (*end == NULL) {
        if (check_initialized(self) < 0) return NULL;
        *end = cmpy_reader_new(self->channel, closure != NULL);
        if (*end == NULL) return NULL;
    }
    return Py_NewRef(*end);
}

static PyMethodDef simplequeue_methods[] = {
    {"put", (PyCFunction)(void (*)(void))simplequeue_put, METH_FASTCALL | METH_KEYWORDS, simplequeue_put_doc},
    {"get", (PyCFunction)simplequeue_get, METH_NOARGS, simplequeue_get_doc},
    {"empty", (PyCFunction)simplequeue_empty, METH_NOARGS, simplequeue_empty_doc},
    {"close", (PyCFunction)simplequeue_close, METH_NOARGS, simplequeue_close_doc},
    {"_poll", (PyCFunction)simplequeue_poll, METH_VARARGS, NULL},
    {"__getstate__", (PyCFunction)simplequeue_getstate, METH_NOARGS, NULL},
    {"__setstate__", (PyCFunction)simplequeue_setstate, METH_O, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {0},
};

static PyGetSetDef simplequeue_getset[] = {
    {"_reader", (getter)simplequeue_get_end, NULL, NULL, NULL},
    {"_writer", (getter)simplequeue_get_end, NULL, NULL, (void *)1},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {0},
};

static PyMemberDef simplequeue_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(SimpleQueueObject, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(SimpleQueueObject, weak), READONLY, NULL},
    {0},
};

PyDoc_STRVAR(simplequeue_doc,
"SimpleQueue(*, ctx)\n--\n\n"
"A queue between processes with put and get only.");

static PyType_Slot simplequeue_slots[] = {
    {Py_tp_doc, (void *)simplequeue_doc},
    {Py_tp_init, simplequeue_init},
    {Py_tp_traverse, simplequeue_traverse},
    {Py_tp_clear, simplequeue_clear},
    {Py_tp_dealloc, simplequeue_dealloc},
    {Py_tp_methods, simplequeue_methods},
    {Py_tp_getset, simplequeue_getset},
    {Py_tp_members, simplequeue_members},
    {0, NULL},
};

static PyType_Spec simplequeue_spec = {
    .name = "cmp.queues.SimpleQueue",
    .basicsize = sizeof(SimpleQueueObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = simplequeue_slots,
};

int cmpy_simplequeue_add(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &simplequeue_spec, NULL);
    if (type == NULL) return -1;
    int code = PyModule_AddObjectRef(module, "SimpleQueue", type);
    Py_DECREF(type);
    return code;
}
