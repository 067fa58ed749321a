#include "py/queue.h"

#include "os/forkepoch.h"
#include "py/arguments.h"
#include "py/channel.h"
#include "py/errors.h"
#include "py/reader.h"
#include "py/wait.h"

#include <errno.h>
#include <stddef.h>
#include <structmember.h>

#define SEM_VALUE_MAX_OF_STDLIB 0x7fffffffL /* what the stdlib's _maxsize says of an unbounded queue */

typedef struct {
    PyObject_HEAD
    struct cmpy_channel *channel; /* NULL until __init__ or __setstate__ */
    PyObject *dict, *weak;
    PyObject *reader, *writer;    /* made when first asked for */
    char closed, ignore_epipe;
} QueueObject;

/* --- helpers --- */

/* -1 with an exception if nothing can be put or got. */
static int check_usable(QueueObject *self)
{
    if (self->closed) PyErr_Format(PyExc_ValueError, "Queue %R is closed", self);
    else if (self->channel == NULL) PyErr_Format(PyExc_ValueError, "Queue %R was not initialized", self);
    else return 0;
    return -1;
}

static int check_initialized(QueueObject *self)
{
    if (self->channel != NULL) return 0;
    PyErr_Format(PyExc_ValueError, "Queue %R was not initialized", self);
    return -1;
}

/* block and timeout at values[0] and [1], either NULL. */
static int deadline_of(PyObject *const *values, int64_t *deadline_ns)
{
    int block = values[0] == NULL || values[0] == Py_True ? 1 : PyObject_IsTrue(values[0]);
    return block < 0 ? -1 : cmpy_deadline(block, values[1], deadline_ns);
}

static PyObject *feeder_error_of(PyObject *self);

/* A pickling error (set) goes to a subclass's _on_queue_feeder_error instead of out of put. 0 if it did. */
static int report_to_subclass(QueueObject *self, PyObject *object)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception)) return -1;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *hook = feeder_error_of((PyObject *)self);
    if (hook == NULL) {
        if (PyErr_Occurred()) PyErr_Clear();
        PyErr_Restore(type, value, trace);
        return -1;
    }
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace != NULL) PyException_SetTraceback(value, trace);
    PyObject *done = PyObject_CallFunctionObjArgs(hook, value, object, NULL);
    /* The hook may keep the error, and the error its traceback, whose frames lead back to the frames that called put:
     * with what belongs to them, which may be what the error was kept in. The stdlib's lead to its feeder thread. */
    if (done != NULL && trace != NULL) PyException_SetTraceback(value, Py_None);
    Py_DECREF(hook);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static PyObject *put_until(QueueObject *self, PyObject *object, int64_t deadline_ns)
{
    bool encoded;
    if (cmpy_channel_put(self->channel, object, deadline_ns, &encoded) < 0 &&
        (encoded || report_to_subclass(self, object) < 0))
        return NULL;
    Py_RETURN_NONE;
}

/* --- life --- */

static int queue_init(QueueObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"maxsize", "ctx", NULL};
    PyObject *maxsize = NULL, *ctx = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$O:__init__", names, &maxsize, &ctx)) return -1;
    long long capacity = 0;
    if (maxsize != NULL) {
        int overflow;
        capacity = PyLong_AsLongLongAndOverflow(maxsize, &overflow);
        if (capacity == -1 && PyErr_Occurred()) return -1;
        if (overflow != 0 || capacity < 0) capacity = 0; /* more than there can ever be is as good as unbounded */
    }
    if (cmpy_channel_init(&self->channel, Py_TYPE(self), ctx, (uint64_t)capacity) < 0) return -1;
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
    cmpy_channel_drop(self->channel);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

/* --- put and get --- */

PyDoc_STRVAR(queue_put_doc,
"put($self, /, obj, block=True, timeout=None)\n--\n\n"
"Put an object into the queue; when this returns it is there.\n\n"
"It is pickled at once, so an object that cannot be pickled raises here (the standard library prints the\n"
"error from a thread). A full queue is waited for, until timeout; then queue.Full is raised.");

static PyObject *queue_put(QueueObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"obj", "block", "timeout", NULL};
    static const struct cmpy_signature signature = {"put", names, 1};
    int64_t deadline_ns = CMPY_FOREVER;
    PyObject *object;
    if (nargs == 1 && kwnames == NULL) {
        object = args[0];
        if (check_usable(self) < 0) return NULL;
    } else {
        PyObject *values[3];
        if (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0 || check_usable(self) < 0) return NULL;
        object = values[0];
        if (deadline_of(values + 1, &deadline_ns) < 0) return NULL;
    }
    return put_until(self, object, deadline_ns);
}

PyDoc_STRVAR(queue_get_doc,
"get($self, /, block=True, timeout=None)\n--\n\n"
"Take the next object out of the queue.\n\n"
"An empty queue is waited for, until timeout; then queue.Empty is raised.");

static PyObject *queue_get(QueueObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"block", "timeout", NULL};
    static const struct cmpy_signature signature = {"get", names, 0};
    int64_t deadline_ns = CMPY_FOREVER;
    if (nargs == 0 && kwnames == NULL) {
        if (check_usable(self) < 0) return NULL;
    } else {
        PyObject *values[2];
        if (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0 || check_usable(self) < 0 ||
            deadline_of(values, &deadline_ns) < 0)
            return NULL;
    }
    return cmpy_channel_get(self->channel, deadline_ns);
}

PyDoc_STRVAR(queue_put_nowait_doc,
"put_nowait($self, /, obj)\n--\n\n"
"put(obj, False)");

static PyObject *queue_put_nowait(QueueObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"obj", NULL};
    static const struct cmpy_signature signature = {"put_nowait", names, 1};
    PyObject *object;
    if (cmpy_arguments(&signature, args, nargs, kwnames, &object) < 0 || check_usable(self) < 0) return NULL;
    return put_until(self, object, CMPY_TRY);
}

PyDoc_STRVAR(queue_get_nowait_doc,
"get_nowait($self, /)\n--\n\n"
"get(False)");

static PyObject *queue_get_nowait(QueueObject *self, PyObject *Py_UNUSED(ignored))
{
    return check_usable(self) < 0 ? NULL : cmpy_channel_get(self->channel, CMPY_TRY);
}

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
    if (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0 || check_usable(self) < 0 ||
        deadline_of(values + 1, &deadline_ns) < 0)
        return NULL;
    Py_ssize_t n = cmpy_channel_put_many(self->channel, values[0], deadline_ns);
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
    if (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0 || check_usable(self) < 0 ||
        deadline_of(values + 1, &deadline_ns) < 0)
        return NULL;
    if (values[0] != NULL) most = PyNumber_AsSsize_t(values[0], NULL);
    if (most == -1 && PyErr_Occurred()) return NULL;
    if (most < 1) {
        PyErr_SetString(PyExc_ValueError, "max must be at least 1");
        return NULL;
    }
    return cmpy_channel_get_many(self->channel, most, deadline_ns);
}

/* --- asking --- */

PyDoc_STRVAR(queue_qsize_doc,
"qsize($self, /)\n--\n\n"
"The number of objects in the queue.");

static PyObject *queue_qsize(QueueObject *self, PyObject *Py_UNUSED(ignored))
{
    return check_initialized(self) < 0 ? NULL : PyLong_FromUnsignedLongLong(cmp_queue_size(&self->channel->queue));
}

/* Where the standard library's reading end is closed: by hand, or by close() once this process has put something. */
static int check_readable(QueueObject *self)
{
    if (check_initialized(self) < 0) return -1;
    if (!self->channel->reader_closed) return 0;
    PyErr_SetString(PyExc_OSError, "handle is closed");
    return -1;
}

PyDoc_STRVAR(queue_empty_doc,
"empty($self, /)\n--\n\n"
"Whether no object is in the queue.");

static PyObject *queue_empty(QueueObject *self, PyObject *Py_UNUSED(ignored))
{
    return check_readable(self) < 0 ? NULL : PyBool_FromLong(cmpy_channel_empty(self->channel));
}

PyDoc_STRVAR(queue_full_doc,
"full($self, /)\n--\n\n"
"Whether maxsize objects are in the queue.");

static PyObject *queue_full(QueueObject *self, PyObject *Py_UNUSED(ignored))
{
    if (check_initialized(self) < 0) return NULL;
    uint64_t capacity = cmp_queue_capacity(&self->channel->queue);
    return PyBool_FromLong(capacity != 0 && cmp_queue_size(&self->channel->queue) >= capacity);
}

static PyObject *queue_poll(QueueObject *self, PyObject *args)
{
    PyObject *timeout = NULL;
    int64_t deadline_ns = CMPY_TRY;
    if (!PyArg_ParseTuple(args, "|O:_poll", &timeout)) return NULL;
    if (timeout != NULL && cmpy_deadline(1, timeout, &deadline_ns) < 0) return NULL;
    if (check_readable(self) < 0) return NULL;
    int there = cmpy_channel_poll(self->channel, deadline_ns);
    return there < 0 ? NULL : PyBool_FromLong(there);
}

/* --- closing --- */

PyDoc_STRVAR(queue_close_doc,
"close($self, /)\n--\n\n"
"No more puts and gets by this process. What was put stays there for the others.");

static PyObject *queue_close(QueueObject *self, PyObject *Py_UNUSED(ignored))
{
    self->closed = 1;
    if (self->channel != NULL && self->channel->fed_epoch == cmp_fork_epoch())
        self->channel->reader_closed = self->channel->writer_closed = true;
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
    if (self->channel != NULL) self->channel->reader_closed = true;
    return queue_close(self, NULL);
}

PyDoc_STRVAR(queue_shutdown_doc,
"shutdown($self, /, immediate=False)\n--\n\n"
"End the queue for all processes: put raises ShutDown, and get does once the queue is empty.\n\n"
"immediate: get does at once, and what is in the queue is thrown away, each object counting as done.\n"
"As queue.Queue has it since Python 3.13. New in cmp.");

static PyObject *queue_shutdown(QueueObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"immediate", NULL};
    static const struct cmpy_signature signature = {"shutdown", names, 0};
    PyObject *immediate;
    if (cmpy_arguments(&signature, args, nargs, kwnames, &immediate) < 0 || check_initialized(self) < 0) return NULL;
    int at_once = immediate == NULL ? 0 : PyObject_IsTrue(immediate);
    if (at_once < 0 || cmpy_channel_shutdown(self->channel, at_once != 0) < 0) return NULL;
    Py_RETURN_NONE;
}

/* --- seams --- */

PyDoc_STRVAR(queue_feeder_error_doc,
"_on_queue_feeder_error(e, obj)\n--\n\n"
"For subclasses: one that overrides it gets the pickling errors that put would raise.");

static PyObject *queue_on_queue_feeder_error(PyObject *Py_UNUSED(ignored), PyObject *args)
{
    PyObject *error, *object;
    if (!PyArg_ParseTuple(args, "OO:_on_queue_feeder_error", &error, &object)) return NULL;
    if (!PyExceptionInstance_Check(error)) return PyErr_Format(PyExc_TypeError, "not an exception: %R", error);
    PyErr_Restore(Py_NewRef(Py_TYPE(error)), Py_NewRef(error), PyException_GetTraceback(error));
    PyErr_PrintEx(0); /* 0: sys.last_value would keep the frames, and what they hold */
    Py_RETURN_NONE;
}

/* The hook if somebody overrode it, else NULL, perhaps with an exception. */
static PyObject *feeder_error_of(PyObject *self)
{
    PyObject *hook = PyObject_GetAttrString(self, "_on_queue_feeder_error");
    if (hook == NULL) return NULL;
    if (PyCFunction_Check(hook) && PyCFunction_GetFunction(hook) == queue_on_queue_feeder_error) Py_CLEAR(hook);
    return hook;
}

static PyObject *queue_getstate(QueueObject *self, PyObject *Py_UNUSED(ignored))
{
    if (check_initialized(self) < 0) return NULL;
    PyObject *channel = cmpy_channel_getstate(self->channel, (PyObject *)self);
    return channel == NULL ? NULL : Py_BuildValue("(iN)", (int)self->ignore_epipe, channel);
}

static PyObject *queue_setstate(QueueObject *self, PyObject *args)
{
    int ignore_epipe;
    PyObject *exported;
    if (!PyArg_ParseTuple(args, "(iO):__setstate__", &ignore_epipe, &exported)) return NULL;
    if (cmpy_channel_setstate(&self->channel, Py_TYPE(self), exported) < 0) return NULL;
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
        if (check_initialized(self) < 0) return NULL;
        *end = cmpy_reader_new(self->channel, closure != NULL);
        if (*end == NULL) return NULL;
    }
    return Py_NewRef(*end);
}

static PyObject *queue_get_repairs(QueueObject *self, void *Py_UNUSED(closure))
{
    return check_initialized(self) < 0 ? NULL : PyLong_FromUnsignedLong(cmp_queue_repairs(&self->channel->queue));
}

static PyObject *queue_get_maxsize(QueueObject *self, void *Py_UNUSED(closure))
{
    if (check_initialized(self) < 0) return NULL;
    uint64_t capacity = cmp_queue_capacity(&self->channel->queue);
    return PyLong_FromUnsignedLongLong(capacity != 0 ? capacity : SEM_VALUE_MAX_OF_STDLIB);
}

/* --- JoinableQueue --- */

PyDoc_STRVAR(queue_task_done_doc,
"task_done($self, /)\n--\n\n"
"Say that an object that was taken is done.");

static PyObject *queue_task_done(QueueObject *self, PyObject *Py_UNUSED(ignored))
{
    if (check_initialized(self) < 0) return NULL;
    if (cmp_queue_task_done(&self->channel->queue) == 0) Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
    return NULL;
}

PyDoc_STRVAR(queue_join_doc,
"join($self, /)\n--\n\n"
"Wait until every object that was put is done.");

static PyObject *queue_join(QueueObject *self, PyObject *Py_UNUSED(ignored))
{
    if (check_initialized(self) < 0 || cmpy_channel_join(self->channel) < 0) return NULL;
    Py_RETURN_NONE;
}

/* --- tables --- */

#define FAST(function) (PyCFunction)(void (*)(void))function, METH_FASTCALL | METH_KEYWORDS

static PyMethodDef queue_methods[] = {
    {"put", FAST(queue_put), queue_put_doc},
    {"get", FAST(queue_get), queue_get_doc},
    {"put_nowait", FAST(queue_put_nowait), queue_put_nowait_doc},
    {"get_nowait", (PyCFunction)queue_get_nowait, METH_NOARGS, queue_get_nowait_doc},
    {"put_many", FAST(queue_put_many), queue_put_many_doc},
    {"get_many", FAST(queue_get_many), queue_get_many_doc},
    {"qsize", (PyCFunction)queue_qsize, METH_NOARGS, queue_qsize_doc},
    {"empty", (PyCFunction)queue_empty, METH_NOARGS, queue_empty_doc},
    {"full", (PyCFunction)queue_full, METH_NOARGS, queue_full_doc},
    {"close", (PyCFunction)queue_close, METH_NOARGS, queue_close_doc},
    {"join_thread", (PyCFunction)queue_join_thread, METH_NOARGS, queue_join_thread_doc},
    {"cancel_join_thread", (PyCFunction)queue_cancel_join_thread, METH_NOARGS, queue_cancel_join_thread_doc},
    {"shutdown", FAST(queue_shutdown), queue_shutdown_doc},
    {"_poll", (PyCFunction)queue_poll, METH_VARARGS, NULL},
    {"_terminate_broken", (PyCFunction)queue_terminate_broken, METH_NOARGS,
     PyDoc_STR("_terminate_broken($self, /)\n--\n\nFor concurrent.futures: nobody will take from this queue any more.")},
    {"_on_queue_feeder_error", queue_on_queue_feeder_error, METH_VARARGS | METH_STATIC, queue_feeder_error_doc},
    {"__getstate__", (PyCFunction)queue_getstate, METH_NOARGS, NULL},
    {"__setstate__", (PyCFunction)queue_setstate, METH_VARARGS, NULL},
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

static PyMethodDef joinable_methods[] = {
    {"task_done", (PyCFunction)queue_task_done, METH_NOARGS, queue_task_done_doc},
    {"join", (PyCFunction)queue_join, METH_NOARGS, queue_join_doc},
    {0},
};

PyDoc_STRVAR(joinable_doc,
"JoinableQueue(maxsize=0, *, ctx)\n--\n\n"
"A Queue that also counts which objects are done.");

static PyType_Slot joinable_slots[] = {
    {Py_tp_doc, (void *)joinable_doc},
    {Py_tp_methods, joinable_methods},
    {0, NULL},
};

static PyType_Spec joinable_spec = {
    .name = "cmp.queues.JoinableQueue",
    .basicsize = sizeof(QueueObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = joinable_slots,
};

int cmpy_queue_add(PyObject *module)
{
    PyObject *queue = PyType_FromModuleAndSpec(module, &queue_spec, NULL);
    if (queue == NULL) return -1;
    PyObject *joinable = PyType_FromModuleAndSpec(module, &joinable_spec, queue);
    int code = joinable == NULL ? -1 : PyModule_AddObjectRef(module, "Queue", queue);
    if (code == 0) code = PyModule_AddObjectRef(module, "JoinableQueue", joinable);
    Py_XDECREF(joinable);
    Py_DECREF(queue);
    return code;
}
