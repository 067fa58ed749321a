#include "py/managerqueue.h"

#include "py/arguments.h"
#include "py/channel.h"
#include "py/errors.h"
#include "py/life.h"
#include "py/reader.h"
#include "py/wait.h"

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
    PyObject_HEAD
    struct cmpy_channel *channel; /* NULL until __init__ or __setstate__ */
    PyObject *life;               /* the manager's; NULL in the manager itself */
    PyObject *knock;              /* called when the manager is found gone; NULL in the manager */
    PyObject *weak;
    const struct cmp_life *watched; /* of `life`, in a client */
} ManagedQueue;

/* --- the manager's life --- */

static int look_at_manager(void *arg)
{
    const struct cmp_life *life = arg;
    return cmp_life_state(life) == CMP_LIFE_ON ? 0 : -ESHUTDOWN; /* which is EOFError: py/errors.h */
}

static bool manager_gone(ManagedQueue *self)
{
    return self->watched != NULL && cmp_life_state(self->watched) != CMP_LIFE_ON;
}

static PyObject *not_initialized(void)
{
    PyErr_SetString(PyExc_ValueError, "this queue was not initialized");
    return NULL;
}

/* -1 with an exception if there is nothing to work with. */
static int check_usable(ManagedQueue *self)
{
    if (self->channel == NULL) {
        not_initialized();
        return -1;
    }
    if (__builtin_expect(!manager_gone(self), 1)) return 0;
    PyObject *answer = self->knock == NULL ? NULL : PyObject_CallNoArgs(self->knock);
    Py_XDECREF(answer);
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_EOFError, "the manager has ended");
    return -1;
}

/* --- life --- */

static int managed_init(ManagedQueue *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"maxsize", NULL};
    PyObject *maxsize = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Queue", names, &maxsize)) return -1;
    long long capacity = 0;
    if (maxsize != NULL) {
        int overflow;
        capacity = PyLong_AsLongLongAndOverflow(maxsize, &overflow);
        if (capacity == -1 && PyErr_Occurred()) return -1;
        if (overflow != 0 || capacity < 0) capacity = 0; /* more than there can ever be is as good as unbounded */
    }
    if (self->channel != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this queue is in use already");
        return -1;
    }
    self->channel = cmpy_channel_create(cmpy_state_of_type(Py_TYPE(self)), (uint64_t)capacity);
    return self->channel == NULL ? -1 : 0;
}

static int managed_traverse(ManagedQueue *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->life);
    Py_VISIT(self->knock);
    return 0;
}

/* Not `life`: its page stays mapped while anything may look at it. */
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
    cmpy_channel_drop(self->channel);
    Py_XDECREF(self->life);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *managed_repr(PyObject *self)
{
    /* Users print the proxy of a queue and see what the manager calls it: to them it is a queue.Queue. */
    return PyUnicode_FromFormat("<queue.Queue object at %p>", self);
}

/* --- put and get --- */

/* block and timeout as queue.Queue takes them: a negative timeout is an error where it counts. */
static int deadline_of(PyObject *const *values, int64_t *deadline_ns)
{
    int block = values[0] == NULL ? 1 : PyObject_IsTrue(values[0]);
    if (block < 0) return -1;
    if (block && values[1] != NULL && values[1] != Py_None) {
        PyObject *zero = PyLong_FromLong(0);
        int negative = zero == NULL ? -1 : PyObject_RichCompareBool(values[1], zero, Py_LT);
        Py_XDECREF(zero);
        if (negative > 0) PyErr_SetString(PyExc_ValueError, "'timeout' must be a non-negative number");
        if (negative != 0) return -1;
    }
    return cmpy_deadline(block, values[1], deadline_ns);
}

static PyObject *put_until(ManagedQueue *self, PyObject *item, int64_t deadline_ns)
{
    bool encoded;
    if (cmpy_channel_put(self->channel, item, deadline_ns, &encoded) < 0) return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(managed_put_doc,
"put($self, /, item, block=True, timeout=None)\n--\n\n"
"Put an item into the queue.\n\n"
"A full queue is waited for, until timeout; then queue.Full is raised.");

static PyObject *managed_put(ManagedQueue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"item", "block", "timeout", NULL};
    static const struct cmpy_signature signature = {"put", names, 1};
    PyObject *values[3];
    int64_t deadline_ns = CMPY_FOREVER;
    if (nargs == 1 && kwnames == NULL) values[0] = args[0];
    else if (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0 || deadline_of(values + 1, &deadline_ns) < 0)
        return NULL;
    return check_usable(self) < 0 ? NULL : put_until(self, values[0], deadline_ns);
}

PyDoc_STRVAR(managed_get_doc,
"get($self, /, block=True, timeout=None)\n--\n\n"
"Remove and return an item from the queue.\n\n"
"An empty queue is waited for, until timeout; then queue.Empty is raised.");

static PyObject *managed_get(ManagedQueue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"block", "timeout", NULL};
    static const struct cmpy_signature signature = {"get", names, 0};
    PyObject *values[2];
    int64_t deadline_ns = CMPY_FOREVER;
    if ((nargs != 0 || kwnames != NULL) && (cmpy_arguments(&signature, args, nargs, kwnames, values) < 0 ||
                                            deadline_of(values, &deadline_ns) < 0))
        return NULL;
    return check_usable(self) < 0 ? NULL : cmpy_channel_get(self->channel, deadline_ns);
}

PyDoc_STRVAR(managed_put_nowait_doc,
"put_nowait($self, /, item)\n--\n\n"
"put(item, block=False)");

static PyObject *managed_put_nowait(ManagedQueue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"item", NULL};
    static const struct cmpy_signature signature = {"put_nowait", names, 1};
    PyObject *item;
    if (cmpy_arguments(&signature, args, nargs, kwnames, &item) < 0 || check_usable(self) < 0) return NULL;
    return put_until(self, item, CMPY_TRY);
}

PyDoc_STRVAR(managed_get_nowait_doc,
"get_nowait($self, /)\n--\n\n"
"get(block=False)");

static PyObject *managed_get_nowait(ManagedQueue *self, PyObject *Py_UNUSED(ignored))
{
    return check_usable(self) < 0 ? NULL : cmpy_channel_get(self->channel, CMPY_TRY);
}

/* --- asking --- */

PyDoc_STRVAR(managed_qsize_doc,
"qsize($self, /)\n--\n\n"
"The number of items in the queue.");

static PyObject *managed_qsize(ManagedQueue *self, PyObject *Py_UNUSED(ignored))
{
    return check_usable(self) < 0 ? NULL : PyLong_FromUnsignedLongLong(cmp_queue_size(&self->channel->queue));
}

PyDoc_STRVAR(managed_empty_doc,
"empty($self, /)\n--\n\n"
"Whether no item is in the queue.");

static PyObject *managed_empty(ManagedQueue *self, PyObject *Py_UNUSED(ignored))
{
    return check_usable(self) < 0 ? NULL : PyBool_FromLong(cmpy_channel_empty(self->channel));
}

PyDoc_STRVAR(managed_full_doc,
"full($self, /)\n--\n\n"
"Whether maxsize items are in the queue.");

static PyObject *managed_full(ManagedQueue *self, PyObject *Py_UNUSED(ignored))
{
    if (check_usable(self) < 0) return NULL;
    uint64_t capacity = cmp_queue_capacity(&self->channel->queue);
    return PyBool_FromLong(capacity != 0 && cmp_queue_size(&self->channel->queue) >= capacity);
}

/* --- tasks --- */

PyDoc_STRVAR(managed_task_done_doc,
"task_done($self, /)\n--\n\n"
"Say that an item that was taken is done.");

static PyObject *managed_task_done(ManagedQueue *self, PyObject *Py_UNUSED(ignored))
{
    if (check_usable(self) < 0) return NULL;
    if (cmp_queue_task_done(&self->channel->queue) == 0) Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
    return NULL;
}

PyDoc_STRVAR(managed_join_doc,
"join($self, /)\n--\n\n"
"Wait until every item that was put is done.");

static PyObject *managed_join(ManagedQueue *self, PyObject *Py_UNUSED(ignored))
{
    if (check_usable(self) < 0) return NULL;
    if (cmpy_channel_join(self->channel) < 0) return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(managed_shutdown_doc,
"shutdown($self, /, immediate=False)\n--\n\n"
"End the queue for everybody, as queue.Queue does since Python 3.13.");

static PyObject *managed_shutdown(ManagedQueue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const char *const names[] = {"immediate", NULL};
    static const struct cmpy_signature signature = {"shutdown", names, 0};
    PyObject *immediate;
    if (cmpy_arguments(&signature, args, nargs, kwnames, &immediate) < 0 || check_usable(self) < 0) return NULL;
    int at_once = immediate == NULL ? 0 : PyObject_IsTrue(immediate);
    if (at_once < 0 || cmpy_channel_shutdown(self->channel, at_once != 0) < 0) return NULL;
    Py_RETURN_NONE;
}

/* --- between the manager and its clients --- */

PyDoc_STRVAR(managed_watch_doc,
"_watch($self, life, knock, /)\n--\n\n"
"In a client: the life of the manager that keeps the queue, and what to call when it is found gone.");

static PyObject *managed_watch(ManagedQueue *self, PyObject *args)
{
    PyObject *life, *knock;
    if (!PyArg_ParseTuple(args, "OO:_watch", &life, &knock)) return NULL;
    if (self->channel == NULL) return not_initialized();
    const struct cmp_life *watched = cmpy_life_get(self->channel->state, life);
    if (watched == NULL) return NULL;
    if (self->life != NULL) Py_RETURN_NONE; /* once: a thread may be waiting, and looking, meanwhile */
    self->life = Py_NewRef(life);
    self->knock = Py_NewRef(knock);
    self->watched = watched;
    self->channel->queue.look_arg = (void *)watched; /* the channel does not outlive the last queue that has it */
    self->channel->queue.on_look = look_at_manager;
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
    if (other->channel == NULL) return not_initialized();
    if (self->channel != NULL) return PyErr_Format(PyExc_RuntimeError, "this queue is in use already");
    self->channel = cmpy_channel_keep(other->channel);
    self->watched = other->watched;
    self->life = Py_XNewRef(other->life);
    self->knock = Py_XNewRef(other->knock);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(managed_disturb_doc,
"_disturb($self, /)\n--\n\n"
"Wake everybody who waits here, to look at the manager's life.");

static PyObject *managed_disturb(ManagedQueue *self, PyObject *Py_UNUSED(ignored))
{
    if (self->channel != NULL) cmp_queue_disturb(&self->channel->queue);
    Py_RETURN_NONE;
}

static PyObject *managed_getstate(ManagedQueue *self, PyObject *Py_UNUSED(ignored))
{
    if (self->channel == NULL) return not_initialized();
    PyObject *spawning = PyObject_CallOneArg(self->channel->state->assert_spawning, (PyObject *)self);
    if (spawning == NULL) return NULL;
    Py_DECREF(spawning);
    return cmpy_channel_export(self->channel);
}

static PyObject *managed_setstate(ManagedQueue *self, PyObject *exported)
{
    if (self->channel != NULL) return PyErr_Format(PyExc_RuntimeError, "this queue is in use already");
    self->channel = cmpy_channel_import(cmpy_state_of_type(Py_TYPE(self)), exported);
    if (self->channel == NULL) return NULL;
    Py_RETURN_NONE;
}

/* --- tables --- */

#define FAST(function) (PyCFunction)(void (*)(void))function, METH_FASTCALL | METH_KEYWORDS

static PyMethodDef managed_methods[] = {
    {"put", FAST(managed_put), managed_put_doc},
    {"get", FAST(managed_get), managed_get_doc},
    {"put_nowait", FAST(managed_put_nowait), managed_put_nowait_doc},
    {"get_nowait", (PyCFunction)managed_get_nowait, METH_NOARGS, managed_get_nowait_doc},
    {"qsize", (PyCFunction)managed_qsize, METH_NOARGS, managed_qsize_doc},
    {"empty", (PyCFunction)managed_empty, METH_NOARGS, managed_empty_doc},
    {"full", (PyCFunction)managed_full, METH_NOARGS, managed_full_doc},
    {"task_done", (PyCFunction)managed_task_done, METH_NOARGS, managed_task_done_doc},
    {"join", (PyCFunction)managed_join, METH_NOARGS, managed_join_doc},
    {"shutdown", FAST(managed_shutdown), managed_shutdown_doc},
    {"_watch", (PyCFunction)managed_watch, METH_VARARGS, managed_watch_doc},
    {"_adopt", (PyCFunction)managed_adopt, METH_VARARGS, managed_adopt_doc},
    {"_disturb", (PyCFunction)managed_disturb, METH_NOARGS, managed_disturb_doc},
    {"__getstate__", (PyCFunction)managed_getstate, METH_NOARGS, NULL},
    {"__setstate__", (PyCFunction)managed_setstate, METH_O, NULL},
    {0},
};

static PyObject *managed_get_reader(ManagedQueue *self, void *Py_UNUSED(closure))
{
    return self->channel == NULL ? not_initialized() : cmpy_reader_new(self->channel, false);
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
