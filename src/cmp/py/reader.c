#include "py/reader.h"

#include "py/wait.h"

#include <errno.h>

typedef struct {
    PyObject_HEAD
    struct cmpy_channel *channel;
    bool writer;
} EndObject;

static bool *closed_of(EndObject *self)
{
    return self->writer ? &self->channel->writer_closed : &self->channel->reader_closed;
}

/* -1 with the exceptions of multiprocessing.connection. */
static int check(EndObject *self, bool for_writing)
{
    if (*closed_of(self)) PyErr_SetString(PyExc_OSError, "handle is closed");
    else if (self->writer && !for_writing) PyErr_SetString(PyExc_OSError, "connection is write-only");
    else if (!self->writer && for_writing) PyErr_SetString(PyExc_OSError, "connection is read-only");
    else return 0;
    return -1;
}

PyObject *cmpy_reader_new(struct cmpy_channel *channel, bool writer)
{
    PyTypeObject *type = (PyTypeObject *)channel->state->end_type;
    EndObject *self = (EndObject *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->channel = cmpy_channel_keep(channel);
    self->writer = writer;
    return (PyObject *)self;
}

struct cmpy_channel *cmpy_reader_channel(struct cmpy_state *state, PyObject *end)
{
    return Py_IS_TYPE(end, (PyTypeObject *)state->end_type) ? ((EndObject *)end)->channel : NULL;
}

static void end_dealloc(EndObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    cmpy_channel_drop(self->channel);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

PyDoc_STRVAR(end_fileno_doc,
"fileno($self, /)\n--\n\n"
"A descriptor that is readable while items are in the queue.");

static PyObject *end_fileno(EndObject *self, PyObject *Py_UNUSED(ignored))
{
    if (*closed_of(self)) {
        PyErr_SetString(PyExc_OSError, "handle is closed");
        return NULL;
    }
    int fd = cmpy_channel_fileno(self->channel);
    return fd < 0 ? NULL : PyLong_FromLong(fd);
}

PyDoc_STRVAR(end_close_doc,
"close($self, /)\n--\n\n"
"Close this end in this process.");

static PyObject *end_close(EndObject *self, PyObject *Py_UNUSED(ignored))
{
    *closed_of(self) = true;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(end_poll_doc,
"poll($self, /, timeout=0.0)\n--\n\n"
"Whether an item is there; waits up to timeout seconds for one, without end if it is None.");

static PyObject *end_poll(EndObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"timeout", NULL};
    PyObject *timeout = NULL;
    int64_t deadline_ns = CMPY_TRY;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:poll", names, &timeout)) return NULL;
    if (timeout != NULL && cmpy_deadline(1, timeout, &deadline_ns) < 0) return NULL;
    if (check(self, false) < 0) return NULL;
    int there = cmpy_channel_poll(self->channel, deadline_ns);
    return there < 0 ? NULL : PyBool_FromLong(there);
}

PyDoc_STRVAR(end_recv_doc,
"recv($self, /)\n--\n\n"
"Take the next item. EOFError if one was announced, and its producer was killed before it came.");

static PyObject *end_recv(EndObject *self, PyObject *Py_UNUSED(ignored))
{
    if (check(self, false) < 0) return NULL;
    int in_vain = cmpy_channel_was_announced_in_vain(self->channel);
    if (in_vain > 0) PyErr_SetString(PyExc_EOFError, "a process was killed while it put an item");
    return in_vain != 0 ? NULL : cmpy_channel_get(self->channel, CMPY_FOREVER);
}

PyDoc_STRVAR(end_send_doc,
"send($self, obj, /)\n--\n\n"
"Put an item.");

static PyObject *end_send(EndObject *self, PyObject *object)
{
    bool encoded;
    if (check(self, true) < 0 || cmpy_channel_put(self->channel, object, CMPY_FOREVER, &encoded) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *end_get_closed(EndObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(*closed_of(self));
}

static PyObject *end_get_readable(EndObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(!self->writer);
}

static PyObject *end_get_writable(EndObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->writer);
}

static PyMethodDef end_methods[] = {
    {"fileno", (PyCFunction)end_fileno, METH_NOARGS, end_fileno_doc},
    {"close", (PyCFunction)end_close, METH_NOARGS, end_close_doc},
    {"poll", (PyCFunction)(void (*)(void))end_poll, METH_VARARGS | METH_KEYWORDS, end_poll_doc},
    {"recv", (PyCFunction)end_recv, METH_NOARGS, end_recv_doc},
    {"send", (PyCFunction)end_send, METH_O, end_send_doc},
    {0},
};

static PyGetSetDef end_getset[] = {
    {"closed", (getter)end_get_closed, NULL, "Whether it is closed in this process.", NULL},
    {"readable", (getter)end_get_readable, NULL, "Can items be taken from it?", NULL},
    {"writable", (getter)end_get_writable, NULL, "Can items be put into it?", NULL},
    {0},
};

static PyType_Slot end_slots[] = {
    {Py_tp_doc, (void *)"One end of a queue. For select and its like; items go through the queue's own methods."},
    {Py_tp_dealloc, end_dealloc},
    {Py_tp_methods, end_methods},
    {Py_tp_getset, end_getset},
    {0, NULL},
};

#ifndef Py_TPFLAGS_DISALLOW_INSTANTIATION
#error "CPython 3.10 or later is needed"
#endif

static PyType_Spec end_spec = {
    .name = "cmp._core.QueueEnd",
    .basicsize = sizeof(EndObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = end_slots,
};

int cmpy_reader_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    state->end_type = PyType_FromModuleAndSpec(module, &end_spec, NULL);
    if (state->end_type == NULL) return -1;
    return PyModule_AddObjectRef(module, "QueueEnd", state->end_type);
}
