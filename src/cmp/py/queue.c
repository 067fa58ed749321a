#include "py/queue.h"

#include "os/forkepoch.h"
#include "py/errors.h"
#include "py/feedererror.h"
#include "py/joinablequeue.h"
#include "py/queuecalls.h"
#include "py/reader.h"
#include "py/wait.h"

#include <errno.h>
#include <stddef.h>
#include <structmember.h>

#define SEM_VALUE_MAX_OF_STDLIB 0x7fffffffL /* what the stdlib's _maxsize says of an unbounded queue */

typedef struct {
    struct cmpy_queue_calls calls;
    PyObject *dict, *weak;
    PyObject *reader, *writer;    /* made when first asked for */
    char closed, ignore_epipe;
} QueueObject;

/* --- of which kind it is --- */

static int check_initialized(struct cmpy_queue_calls *calls)
{
    if (calls->channel != NULL) return 0;
    PyErr_Format(PyExc_ValueError, "Queue %R was not initialized", calls);
    return -1;
}

static int check_usable(struct cmpy_queue_calls *calls)
{
    if (!((QueueObject *)calls)->closed) return check_initialized(calls);
    PyErr_Format(PyExc_ValueError, "Queue %R is closed", calls);
    return -1;
}

/* Where the standard library's reading end is closed: by hand, or by close() once this process has put something. */
static int check_readable(struct cmpy_queue_calls *calls)
{
    if (check_initialized(calls) < 0) return -1;
    if (!calls->channel->reader_closed) return 0;
    PyErr_SetString(PyExc_OSError, "handle is closed");
    return -1;
}

static PyObject *put_until(struct cmpy_queue_calls *calls, PyObject *object, int64_t deadline_ns)
{
    bool encoded;
    if (cmpy_channel_put(calls->channel, object, deadline_ns, &encoded) < 0 &&
        (encoded || cmpy_feeder_error_report((PyObject *)calls, object) < 0))
        return NULL;
    Py_RETURN_NONE;
}

static const char *const put_names[] = {"obj", "block", "timeout", NULL}, *const put_nowait_names[] = {"obj", NULL};

static const struct cmpy_queue_kind queue_kind = {
    .put = {"put", put_names, 1},
    .put_nowait = {"put_nowait", put_nowait_names, 1},
    .check_usable = check_usable,
    .check_present = check_initialized,
    .check_readable = check_readable,
    .put_until = put_until,
};

/* --- life --- */

static PyObject *queue_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    QueueObject *self = (QueueObject *)type->tp_alloc(type, 0);
    if (self != NULL) self->calls.kind = &queue_kind;
    return (PyObject *)self;
}

static int queue_init(QueueObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"maxsize", "ctx", NULL};
    PyObject *maxsize = NULL, *ctx = NULL;
    uint64_t capacity;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$O:__init__", names, &maxsize, &ctx)) return -1;
    if (cmpy_queue_capacity(maxsize, &capacity) < 0) return -1;
    if (cmpy_channel_init(&self->calls.channel, Py_TYPE(self), ctx, capacity) < 0) return -1;
    self->closed = 0;
    Py_CLEAR(self->reader);
    Py_CLEAR(self->writer);
    return 0;
}

static int queue_traverse(QueueObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->dict);
    Py_VISIT(self->reader);
    Py_VISIT(self->writer);
    return 0;
}

static int queue_clear(QueueObject *self)
{
    Py_CLEAR(self->dict);
    Py_CLEAR(self->reader);
    Py_CLEAR(self->writer);
    return 0;
}

static void queue_dealloc(QueueObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weak != NULL) PyObject_ClearWeakRefs((PyObject *)self);
    (void)queue_clear(self);
    cmpy_channel_drop(self->calls.channel);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

/* --- put and get --- */

PyDoc_STRVAR(queue_put_doc,
"put($self, /, obj, block=True, timeout=None)\n--\n\n"
"Put an object into the queue; when this returns it is there.\n\n"
"It is pickled at once, so an object that cannot be pickled raises here (the standard library prints the\n"
"error from a thread). A full queue is waited for, until timeout; then queue.Full is raised.");

PyDoc_STRVAR(queue_get_doc,
"get($self, /, block=True, timeout=None)\n--\n\n"
"Take the next object out of the queue.\n\n"
"An empty queue is waited for, until timeout; then queue.Empty is raised.");

PyDoc_STRVAR(queue_put_nowait_doc,
"put_nowait($self, /, obj)\n--\n\n"
"put(obj, False)");

PyDoc_STRVAR(queue_get_nowait_doc,
"get_nowait($self, /)\n--\n\n"
"get(False)");

PyDoc_STRVAR(queue_put_many_doc,
"put_many($self, /, iterable, block=True, timeout=None)\n--\n\n"
"Put all objects of an iterable, in batches, and return how many were put.\n\n"
"Fewer than all only if the timeout passed; queue.Full if that is none. New in cmp.");

static PyObject *queue_put_many(QueueObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"iterable", "block", "timeout", NULL};
    static const struct cmpy_signature signature = {"put_many", names, 1};
    PyObject *values[3];
    int64_t deadline_ns;
    if (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0 || check_usable(&self->calls) < 0 ||
        cmpy_queue_deadline(&queue_kind, values + 1, &deadline_ns) < 0)
        return NULL;
    Py_ssize_t n = cmpy_channel_put_many(self->calls.channel, values[0], deadline_ns);
    return n < 0 ? NULL : PyLong_FromSsize_t(n);
}

PyDoc_STRVAR(queue_get_many_doc,
"get_many($self, /, max=64, block=True, timeout=None)\n--\n\n"
"Take what is there, at least one object and at most max, as a list.\n\n"
"An empty queue is waited for, until timeout; then queue.Empty is raised. If an object cannot be unpickled\n"
"that exception is raised, with the others in its attribute `items`. New in cmp.");

static PyObject *queue_get_many(QueueObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"max", "block", "timeout", NULL};
    static const struct cmpy_signature signature = {"get_many", names, 0};
    PyObject *values[3];
    int64_t deadline_ns;
    Py_ssize_t most = 64;
    if (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0 || check_usable(&self->calls) < 0 ||
        cmpy_queue_deadline(&queue_kind, values + 1, &deadline_ns) < 0)
        return NULL;
    if (values[0] != NULL) most = PyNumber_AsSsize_t(values[0], NULL);
    if (most == -1 && PyErr_Occurred()) return NULL;
    if (most < 1) {
        PyErr_SetString(PyExc_ValueError, "max must be at least 1");
        return NULL;
    }
    return cmpy_channel_get_many(self->calls.channel, most, deadline_ns);
}

/* --- asking --- */

PyDoc_STRVAR(queue_qsize_doc,
"qsize($self, /)\n--\n\n"
"The number of objects in the queue.");

PyDoc_STRVAR(queue_empty_doc,
"empty($self, /)\n--\n\n"
"Whether no object is in the queue.");

PyDoc_STRVAR(queue_full_doc,
"full($self, /)\n--\n\n"
"Whether maxsize objects are in the queue.");

static PyObject *queue_poll(QueueObject *self, PyObject *args)
{
    PyObject *timeout = NULL;
    int64_t deadline_ns = CMPY_TRY;
    if (!PyArg_ParseTuple(args, "|O:_poll", &timeout)) return NULL;
    if (timeout != NULL && cmpy_deadline(1, timeout, &deadline_ns) < 0) return NULL;
    if (check_readable(&self->calls) < 0) return NULL;
    int there = cmpy_channel_poll(self->calls.channel, deadline_ns);
    return there < 0 ? NULL : PyBool_FromLong(there);
}

/* --- closing --- */

PyDoc_STRVAR(queue_close_doc,
"close($self, /)\n--\n\n"
"No more puts and gets by this process. What was put stays there for the others.");

static PyObject *queue_close(QueueObject *self, PyObject *Py_UNUSED(ignored))
{
    self->closed = 1;
    if (self->calls.channel != NULL && self->calls.channel->fed_epoch == cmp_fork_epoch())
        self->calls.channel->reader_closed = self->calls.channel->writer_closed = true;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(queue_join_thread_doc,
"join_thread($self, /)\n--\n\n"
"Nothing to wait for: there is no thread, and put has put. The queue has to be closed.");

static PyObject *queue_join_thread(QueueObject *self, PyObject *Py_UNUSED(ignored))
{
    if (!self->closed) return PyErr_Format(PyExc_AssertionError, "Queue %R not closed", self);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(queue_cancel_join_thread_doc,
"cancel_join_thread($self, /)\n--\n\n"
"Nothing to cancel: a process never waits for its puts at its end, and loses none.");

static PyObject *queue_cancel_join_thread(QueueObject *Py_UNUSED(self), PyObject *Py_UNUSED(ignored))
{
    Py_RETURN_NONE;
}

static PyObject *queue_terminate_broken(QueueObject *self, PyObject *Py_UNUSED(ignored))
{
    if (self->calls.channel != NULL) self->calls.channel->reader_closed = true;
    return queue_close(self, NULL);
}

PyDoc_STRVAR(queue_shutdown_doc,
"shutdown($self, /, immediate=False)\n--\n\n"
"End the queue for all processes: put raises ShutDown, and get does once the queue is empty.\n\n"
"immediate: get does at once, and what is in the queue is thrown away, each object counting as done.\n"
"As queue.Queue has it since Python 3.13. New in cmp.");

/* --- seams --- */

PyDoc_STRVAR(queue_feeder_error_doc,
"_on_queue_feeder_error(e, obj)\n--\n\n"
"For subclasses: one that overrides it gets the pickling errors that put would raise.");

static PyObject *queue_getstate(QueueObject *self, PyObject *Py_UNUSED(ignored))
{
    if (check_initialized(&self->calls) < 0) return NULL;
    PyObject *channel = cmpy_channel_getstate(self->calls.channel, (PyObject *)self);
    return channel == NULL ? NULL : Py_BuildValue("(iN)", (int)self->ignore_epipe, channel);
}

static PyObject *queue_setstate(QueueObject *self, PyObject *state)
{
    int ignore_epipe;
    PyObject *exported;
    /* Of another sequence the items would be borrowed from nobody. */
    if (!PyTuple_Check(state)) return PyErr_Format(PyExc_TypeError, "the state of a queue is a tuple, not %R", state);
    if (!PyArg_ParseTuple(state, "iO:__setstate__", &ignore_epipe, &exported)) return NULL;
    if (cmpy_channel_setstate(&self->calls.channel, Py_TYPE(self), exported) < 0) return NULL;
    Py_CLEAR(self->reader);
    Py_CLEAR(self->writer);
    self->ignore_epipe = ignore_epipe != 0;
    self->closed = 0;
    Py_RETURN_NONE;
}

static PyObject *queue_get_end(QueueObject *self, void *closure)
{
    PyObject **end = closure != NULL ? &self->writer : &self->reader;
    if (*end == NULL) {
        if (check_initialized(&self->calls) < 0) return NULL;
        *end = cmpy_reader_new(self->calls.channel, closure != NULL);
        if (*end == NULL) return NULL;
    }
    return Py_NewRef(*end);
}

static PyObject *queue_get_repairs(QueueObject *self, void *Py_UNUSED(closure))
{
    if (check_initialized(&self->calls) < 0) return NULL;
    return PyLong_FromUnsignedLong(cmp_queue_repairs(&self->calls.channel->queue));
}

static PyObject *queue_get_maxsize(QueueObject *self, void *Py_UNUSED(closure))
{
    if (check_initialized(&self->calls) < 0) return NULL;
    uint64_t capacity = cmp_queue_capacity(&self->calls.channel->queue);
    return PyLong_FromUnsignedLongLong(capacity != 0 ? capacity : SEM_VALUE_MAX_OF_STDLIB);
}

/* --- tables --- */

static PyMethodDef queue_methods[] = {
    {"put", CMPY_FAST(cmpy_queue_put), queue_put_doc},
    {"get", CMPY_FAST(cmpy_queue_get), queue_get_doc},
    {"put_nowait", CMPY_FAST(cmpy_queue_put_nowait), queue_put_nowait_doc},
    {"get_nowait", cmpy_queue_get_nowait, METH_NOARGS, queue_get_nowait_doc},
    {"put_many", CMPY_FAST(queue_put_many), queue_put_many_doc},
    {"get_many", CMPY_FAST(queue_get_many), queue_get_many_doc},
    {"qsize", cmpy_queue_qsize, METH_NOARGS, queue_qsize_doc},
    {"empty", cmpy_queue_empty, METH_NOARGS, queue_empty_doc},
    {"full", cmpy_queue_full, METH_NOARGS, queue_full_doc},
    {"close", (PyCFunction)queue_close, METH_NOARGS, queue_close_doc},
    {"join_thread", (PyCFunction)queue_join_thread, METH_NOARGS, queue_join_thread_doc},
    {"cancel_join_thread", (PyCFunction)queue_cancel_join_thread, METH_NOARGS, queue_cancel_join_thread_doc},
    {"shutdown", CMPY_FAST(cmpy_queue_shutdown), queue_shutdown_doc},
    {"_poll", (PyCFunction)queue_poll, METH_VARARGS, NULL},
    {"_terminate_broken", (PyCFunction)queue_terminate_broken, METH_NOARGS,
     PyDoc_STR("_terminate_broken($self, /)\n--\n\n"
               "For concurrent.futures: nobody will take from this queue any more.")},
    {"_on_queue_feeder_error", cmpy_feeder_error_print, METH_VARARGS | METH_STATIC, queue_feeder_error_doc},
    {"__getstate__", (PyCFunction)queue_getstate, METH_NOARGS, NULL},
    {"__setstate__", (PyCFunction)queue_setstate, METH_O, NULL},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {0},
};

static PyGetSetDef queue_getset[] = {
    {"_reader", (getter)queue_get_end, NULL, NULL, NULL},
    {"_writer", (getter)queue_get_end, NULL, NULL, (void *)1},
    {"_maxsize", (getter)queue_get_maxsize, NULL, NULL, NULL},
    {"_repairs", (getter)queue_get_repairs, NULL, "How many processes died holding a lock of it.", NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {0},
};

static PyMemberDef queue_members[] = {
    {"_closed", T_BOOL, offsetof(QueueObject, closed), READONLY, NULL},
    {"_ignore_epipe", T_BOOL, offsetof(QueueObject, ignore_epipe), 0, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(QueueObject, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(QueueObject, weak), READONLY, NULL},
    {0},
};

PyDoc_STRVAR(queue_doc,
"Queue(maxsize=0, *, ctx)\n--\n\n"
"A queue between processes, in shared memory.");

static PyType_Slot queue_slots[] = {
    {Py_tp_doc, (void *)queue_doc},
    {Py_tp_new, queue_new},
    {Py_tp_init, queue_init},
    {Py_tp_traverse, queue_traverse},
    {Py_tp_clear, queue_clear},
    {Py_tp_dealloc, queue_dealloc},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {Py_tp_members, queue_members},
    {0, NULL},
};

static PyType_Spec queue_spec = {
    .name = "cmp.queues.Queue",
    .basicsize = sizeof(QueueObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = queue_slots,
};

int cmpy_queue_add(PyObject *module)
{
    PyObject *queue = PyType_FromModuleAndSpec(module, &queue_spec, NULL);
    if (queue == NULL) return -1;
    int code = PyModule_AddObjectRef(module, "Queue", queue);
    if (code == 0) code = cmpy_joinablequeue_add(module, queue);
    Py_DECREF(queue);
    return code;
}
