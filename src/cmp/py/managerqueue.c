#include "py/managerqueue.h"

#include "py/life.h"
#include "py/queuecalls.h"
#include "py/reader.h"
#include "py/reducers.h"

#include <errno.h>
#include <stddef.h>
#include <structmember.h>

/* The manager has one, whose channel it made; it has no life to watch, for it ends with the manager. A client has one
 * per managed queue, which came to it in a pickle, and each of its proxies is one too: they share its channel.
 *
 * A client looks at the manager's life before each call, and the wait loop looks at it before each sleep and after
 * each wake-up (on_look). A manager that shuts down wakes the sleepers; one that was killed is noticed by their timed
 * look. What a call then raises is what the standard library's proxy would: EOFError out of a wait, else whatever
 * `knock`, an attempt to connect, raises. */
typedef struct {
    struct cmpy_queue_calls calls;
    PyObject *knock;              /* called when the manager is found gone; NULL in the manager */
    PyObject *weak;
    const struct cmp_life *watched; /* the manager's, of channel->life; NULL in the manager itself */
} ManagedQueue;

/* --- the manager's life --- */

static int look_at_manager(void *arg)
{
    const struct cmp_life *life = arg;
    return cmp_life_state(life) == CMP_LIFE_ON ? 0 : -ESHUTDOWN; /* which is EOFError: py/errors.h */
}

static PyObject *not_initialized(void)
{
    PyErr_SetString(PyExc_ValueError, "this queue was not initialized");
    return NULL;
}

static int check_usable(struct cmpy_queue_calls *calls)
{
    ManagedQueue *self = (ManagedQueue *)calls;
    if (calls->channel == NULL) {
        not_initialized();
        return -1;
    }
    if (self->watched == NULL || __builtin_expect(cmp_life_state(self->watched) == CMP_LIFE_ON, 1)) return 0;
    PyObject *answer = self->knock == NULL ? NULL : PyObject_CallNoArgs(self->knock);
    Py_XDECREF(answer);
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_EOFError, "the manager has ended");
    return -1;
}

/* --- of which kind it is --- */

static PyObject *put_until(struct cmpy_queue_calls *calls, PyObject *item, int64_t deadline_ns)
{
    bool encoded;
    struct cmpy_channel *channel = calls->channel;
    struct cmpy_carriage carriage;
    cmpy_carriage_begin(&carriage);
    int code = cmpy_channel_put(channel, item, deadline_ns, &encoded);
    cmpy_carriage_end(&carriage, channel->state, code == 0);
    return code < 0 ? NULL : Py_NewRef(Py_None);
}

static const char *const put_names[] = {"item", "block", "timeout", NULL}, *const put_nowait_names[] = {"item", NULL};

static const struct cmpy_queue_kind managed_kind = {
    .put = {"put", put_names, 1},
    .put_nowait = {"put_nowait", put_nowait_names, 1},
    .check_usable = check_usable,
    .check_present = check_usable,
    .check_readable = check_usable,
    .put_until = put_until,
    .refuses_negative_timeouts = true,
};

/* --- life --- */

static PyObject *managed_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    ManagedQueue *self = (ManagedQueue *)type->tp_alloc(type, 0);
    if (self != NULL) self->calls.kind = &managed_kind;
    return (PyObject *)self;
}

static int managed_init(ManagedQueue *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"maxsize", NULL};
    PyObject *maxsize = NULL;
    uint64_t capacity;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Queue", names, &maxsize)) return -1;
    if (cmpy_queue_capacity(maxsize, &capacity) < 0) return -1;
    if (self->calls.channel != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this queue is in use already");
        return -1;
    }
    self->calls.channel = cmpy_channel_create(cmpy_state_of_type(Py_TYPE(self)), capacity);
    return self->calls.channel == NULL ? -1 : 0;
}

static int managed_traverse(ManagedQueue *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->knock);
    return 0;
}

static int managed_clear(ManagedQueue *self)
{
    Py_CLEAR(self->knock);
    return 0;
}

static void managed_dealloc(ManagedQueue *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weak != NULL) PyObject_ClearWeakRefs((PyObject *)self);
    (void)managed_clear(self);
    cmpy_channel_drop(self->calls.channel);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *managed_repr(PyObject *self)
{
    /* Users print the proxy of a queue and see what the manager calls it: to them it is a queue.Queue. */
    return PyUnicode_FromFormat("<queue.Queue object at %p>", self);
}

/* --- put and get --- */

PyDoc_STRVAR(managed_put_doc,
"put($self, /, item, block=True, timeout=None)\n--\n\n"
"Put an item into the queue.\n\n"
"A full queue is waited for, until timeout; then queue.Full is raised.");

PyDoc_STRVAR(managed_get_doc,
"get($self, /, block=True, timeout=None)\n--\n\n"
"Remove and return an item from the queue.\n\n"
"An empty queue is waited for, until timeout; then queue.Empty is raised.");

PyDoc_STRVAR(managed_put_nowait_doc,
"put_nowait($self, /, item)\n--\n\n"
"put(item, block=False)");

PyDoc_STRVAR(managed_get_nowait_doc,
"get_nowait($self, /)\n--\n\n"
"get(block=False)");

/* --- asking --- */

PyDoc_STRVAR(managed_qsize_doc,
"qsize($self, /)\n--\n\n"
"The number of items in the queue.");

PyDoc_STRVAR(managed_empty_doc,
"empty($self, /)\n--\n\n"
"Whether no item is in the queue.");

PyDoc_STRVAR(managed_full_doc,
"full($self, /)\n--\n\n"
"Whether maxsize items are in the queue.");

/* --- tasks --- */

PyDoc_STRVAR(managed_task_done_doc,
"task_done($self, /)\n--\n\n"
"Say that an item that was taken is done.");

PyDoc_STRVAR(managed_join_doc,
"join($self, /)\n--\n\n"
"Wait until every item that was put is done.");

PyDoc_STRVAR(managed_shutdown_doc,
"shutdown($self, /, immediate=False)\n--\n\n"
"End the queue for everybody, as queue.Queue does since Python 3.13.");

/* --- between the manager and its clients --- */

PyDoc_STRVAR(managed_watch_doc,
"_watch($self, life, knock, /)\n--\n\n"
"In a client: the life of the manager that keeps the queue, and what to call when it is found gone.");

static PyObject *managed_watch(ManagedQueue *self, PyObject *args)
{
    PyObject *life, *knock;
    if (!PyArg_ParseTuple(args, "OO:_watch", &life, &knock)) return NULL;
    if (self->calls.channel == NULL) return not_initialized();
    const struct cmp_life *watched = cmpy_life_get(self->calls.channel->state, life);
    if (watched == NULL) return NULL;
    struct cmpy_channel *channel = self->calls.channel;
    if (channel->life != NULL) Py_RETURN_NONE; /* once: a thread may be waiting, and looking, meanwhile */
    channel->life = Py_NewRef(life);
    Py_XSETREF(self->knock, Py_NewRef(knock));
    self->watched = watched;
    channel->queue.look_arg = (void *)watched;
    channel->queue.on_look = look_at_manager;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(managed_adopt_doc,
"_adopt($self, other, /)\n--\n\n"
"In a proxy: be the same queue as other.");

static PyObject *managed_adopt(ManagedQueue *self, PyObject *args)
{
    PyObject *object;
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    if (!PyArg_ParseTuple(args, "O!:_adopt", (PyTypeObject *)state->managed_queue_type, &object)) return NULL;
    ManagedQueue *other = (ManagedQueue *)object;
    if (other->calls.channel == NULL) return not_initialized();
    if (self->calls.channel != NULL) return PyErr_Format(PyExc_RuntimeError, "this queue is in use already");
    self->calls.channel = cmpy_channel_keep(other->calls.channel);
    self->watched = other->watched;
    self->knock = Py_XNewRef(other->knock);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(managed_disturb_doc,
"_disturb($self, /)\n--\n\n"
"Wake everybody who waits here, to look at the manager's life.");

static PyObject *managed_disturb(ManagedQueue *self, PyObject *Py_UNUSED(ignored))
{
    if (self->calls.channel != NULL) cmp_queue_disturb(&self->calls.channel->queue);
    Py_RETURN_NONE;
}

static PyObject *managed_getstate(ManagedQueue *self, PyObject *Py_UNUSED(ignored))
{
    if (self->calls.channel == NULL) return not_initialized();
    PyObject *spawning = PyObject_CallOneArg(self->calls.channel->state->assert_spawning, (PyObject *)self);
    if (spawning == NULL) return NULL;
    Py_DECREF(spawning);
    return cmpy_channel_export(self->calls.channel);
}

static PyObject *managed_setstate(ManagedQueue *self, PyObject *exported)
{
    if (self->calls.channel != NULL) return PyErr_Format(PyExc_RuntimeError, "this queue is in use already");
    self->calls.channel = cmpy_channel_import(cmpy_state_of_type(Py_TYPE(self)), exported);
    if (self->calls.channel == NULL) return NULL;
    Py_RETURN_NONE;
}

/* --- tables --- */

static PyMethodDef managed_methods[] = {
    {"put", CMPY_FAST(cmpy_queue_put), managed_put_doc},
    {"get", CMPY_FAST(cmpy_queue_get), managed_get_doc},
    {"put_nowait", CMPY_FAST(cmpy_queue_put_nowait), managed_put_nowait_doc},
    {"get_nowait", cmpy_queue_get_nowait, METH_NOARGS, managed_get_nowait_doc},
    {"qsize", cmpy_queue_qsize, METH_NOARGS, managed_qsize_doc},
    {"empty", cmpy_queue_empty, METH_NOARGS, managed_empty_doc},
    {"full", cmpy_queue_full, METH_NOARGS, managed_full_doc},
    {"task_done", cmpy_queue_task_done, METH_NOARGS, managed_task_done_doc},
    {"join", cmpy_queue_join, METH_NOARGS, managed_join_doc},
    {"shutdown", CMPY_FAST(cmpy_queue_shutdown), managed_shutdown_doc},
    {"_watch", (PyCFunction)managed_watch, METH_VARARGS, managed_watch_doc},
    {"_adopt", (PyCFunction)managed_adopt, METH_VARARGS, managed_adopt_doc},
    {"_disturb", (PyCFunction)managed_disturb, METH_NOARGS, managed_disturb_doc},
    {"__getstate__", (PyCFunction)managed_getstate, METH_NOARGS, NULL},
    {"__setstate__", (PyCFunction)managed_setstate, METH_O, NULL},
    {0},
};

static PyObject *managed_get_reader(ManagedQueue *self, void *Py_UNUSED(closure))
{
    return self->calls.channel == NULL ? not_initialized() : cmpy_reader_new(self->calls.channel, false);
}

static PyGetSetDef managed_getset[] = {
    {"_reader", (getter)managed_get_reader, NULL, PyDoc_STR("As of a Queue; for inspection."), NULL},
    {0},
};

static PyMemberDef managed_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ManagedQueue, weak), READONLY, NULL},
    {0},
};

PyDoc_STRVAR(managed_doc,
"ManagedQueue(maxsize=0)\n--\n\n"
"A queue.Queue to its users, in shared memory: the referent of Manager().Queue().");

static PyType_Slot managed_slots[] = {
    {Py_tp_doc, (void *)managed_doc},
    {Py_tp_new, managed_new},
    {Py_tp_init, managed_init},
    {Py_tp_repr, managed_repr},
    {Py_tp_traverse, managed_traverse},
    {Py_tp_clear, managed_clear},
    {Py_tp_dealloc, managed_dealloc},
    {Py_tp_methods, managed_methods},
    {Py_tp_members, managed_members},
    {Py_tp_getset, managed_getset},
    {0, NULL},
};

static PyType_Spec managed_spec = {
    .name = "cmp._core.ManagedQueue",
    .basicsize = sizeof(ManagedQueue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = managed_slots,
};

int cmpy_managerqueue_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    state->managed_queue_type = PyType_FromModuleAndSpec(module, &managed_spec, NULL);
    if (state->managed_queue_type == NULL) return -1;
    return PyModule_AddObjectRef(module, "ManagedQueue", state->managed_queue_type);
}
