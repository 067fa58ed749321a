#include "py/imap.h"

#include "py/lead.h"
#include "py/parcel.h"
#include "py/ring.h"
#include "py/wait.h"

#include <stddef.h>
#include <structmember.h>

/* Parcels wait in the ring, whose places are made before their positions are given (imap_reserve). Unordered ones get
 * the next position in order of arrival. */
typedef struct {
    struct cmpy_job job;
    struct cmpy_feed feed;
    bool ordered, abandoned;
    Py_ssize_t length;               /* -1: not known yet */
    Py_ssize_t narrived;             /* unordered: the next position to give */
    struct cmpy_ring ring;
} ImapJob;

typedef struct {
    PyObject_HEAD
    ImapJob *imap;
    PyObject *chunk;                 /* being handed out item by item */
    Py_ssize_t at;
    bool chunked, ended;
    PyObject *weak;
} IMapIterator;

/* --- the job --- */

static void complete(ImapJob *self)
{
    if (!self->job.done && self->length >= 0 && self->feed.arrived >= self->length) cmpy_job_finish(&self->job);
}

static void imap_receive(struct cmpy_job *job, struct cmpy_parcel *parcel)
{
    ImapJob *self = (ImapJob *)job;
    Py_ssize_t position = self->ordered ? parcel->position : self->narrived++;
    self->feed.arrived++;
    if (self->feed.iterator != NULL && self->feed.next - self->feed.arrived == CMPY_FEED_WINDOW / 2)
        job->engine->hungry = true;
    if (self->abandoned) cmpy_parcel_drop(parcel);
    else cmpy_ring_put(&self->ring, position, parcel);
    complete(self);
    if (!job->done && job->waiters > 0) cmpy_lead_news(job->engine);
}

static void imap_set_length(struct cmpy_job *job, Py_ssize_t length)
{
    ImapJob *self = (ImapJob *)job;
    struct cmpy_engine *engine = job->engine;
    if (engine->pool_state == CMPY_POOL_TERMINATE || engine->last_words != NULL) {
        /* Cut off: whoever iterates on gets to know why. */
        struct cmpy_parcel *parcel = cmpy_parcel_make(CMPY_PARCEL_ENDED, Py_XNewRef(engine->last_words));
        parcel->position = length++;
        self->length = length;
        imap_receive(job, parcel);
        return;
    }
    self->length = length;
    complete(self);
    if (!job->done && job->waiters > 0) cmpy_lead_news(engine);
}

/* For the position that comes next, for one more, in which a pool that ends says so, and for the one that was handed
 * out last, which may be put back. */
static bool imap_reserve(struct cmpy_job *job)
{
    ImapJob *self = (ImapJob *)job;
    return self->abandoned || cmpy_ring_reach(&self->ring, self->feed.next + 2) == 0;
}

static const struct cmpy_job_kind imap_kind = {imap_receive, NULL, imap_set_length, imap_reserve};

static bool has_next(void *arg)
{
    ImapJob *self = arg;
    return cmpy_ring_front(&self->ring) != NULL || (self->length >= 0 && self->ring.first >= self->length);
}

static void abandon(ImapJob *self)
{
    self->abandoned = true;
    cmpy_ring_clear(&self->ring);
}

static int imap_job_traverse(ImapJob *self, visitproc visit, void *arg)
{
    int stop = cmpy_feed_traverse(&self->feed, visit, arg);
    if (stop == 0) stop = cmpy_ring_traverse(&self->ring, visit, arg);
    return stop != 0 ? stop : cmpy_job_traverse(&self->job, visit, arg);
}

static int imap_job_clear(ImapJob *self)
{
    cmpy_feed_clear(&self->feed);
    cmpy_job_clear(&self->job);
    return 0;
}

static void imap_job_dealloc(ImapJob *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    self->abandoned = true;
    cmpy_ring_free(&self->ring);
    (void)imap_job_clear(self);
    Py_XDECREF((PyObject *)self->job.engine);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

/* --- the iterator --- */

PyObject *cmpy_imap(struct cmpy_engine *engine, PyObject *pool, PyObject *function, PyObject *iterable, bool ordered,
                    Py_ssize_t chunksize, Py_ssize_t buffersize)
{
    struct cmpy_state *state = engine->state;
    PyTypeObject *job_type = (PyTypeObject *)state->imap_job_type;
    PyTypeObject *type = (PyTypeObject *)(ordered ? state->imap_type : state->imap_unordered_type);
    ImapJob *imap = (ImapJob *)job_type->tp_alloc(job_type, 0);
    if (imap == NULL) return NULL;
    cmpy_job_begin(&imap->job, &imap_kind, engine, pool, function);
    imap->ordered = ordered;
    imap->length = -1;
    imap->job.feed = &imap->feed;
    imap->feed.buffersize = buffersize;
    if (!imap_reserve(&imap->job)) {
        Py_DECREF(imap);
        return PyErr_NoMemory();
    }
    IMapIterator *self = (IMapIterator *)type->tp_alloc(type, 0);
    if (self == NULL) goto failed;
    self->imap = imap;
    self->chunked = chunksize > 1;
    if (cmpy_feed_begin(state, &imap->feed, function, iterable, chunksize > 1 ? CMPY_TASK_MAP : CMPY_TASK_CALL,
                        chunksize) < 0 ||
        cmpy_feeds_enlist(engine, &imap->job) < 0)
        goto failed;
    return (PyObject *)self;

failed:
    if (self != NULL) self->imap = NULL;
    Py_XDECREF(self);
    abandon(imap); /* tasks of it may be out already */
    Py_DECREF(imap);
    return NULL;
}

/* The next item of the chunk at hand, or NULL. */
static PyObject *from_chunk(IMapIterator *self)
{
    if (self->chunk == NULL) return NULL;
    PyObject *item = NULL;
    if (self->at < PyList_GET_SIZE(self->chunk)) item = Py_NewRef(PyList_GET_ITEM(self->chunk, self->at));
    if (++self->at >= PyList_GET_SIZE(self->chunk)) Py_CLEAR(self->chunk);
    return item;
}

/* Takes the parcel at the front out, opened. -1 with a signal handler's exception: it is still there. */
static int open_next(ImapJob *imap, bool *success, PyObject **value)
{
    Py_ssize_t position = imap->ring.first;
    struct cmpy_parcel *parcel = cmpy_ring_take(&imap->ring); /* other threads go on behind it */
    int code = cmpy_parcel_open(imap->job.engine->state, parcel, success, value);
    if (code < 0) cmpy_ring_put_back(&imap->ring, position, parcel);
    else cmpy_parcel_drop(parcel);
    return code;
}

/* A chunk is to be handed out item by item, behind what is left of one that another thread has opened meanwhile. Takes
 * it over. */
static int add_chunk(IMapIterator *self, PyObject *chunk)
{
    int code = 0;
    if (!PyList_CheckExact(chunk)) {
        PyErr_SetString(PyExc_TypeError, "a pool's chunk of results is a list");
        code = -1;
    } else if (self->chunk == NULL) {
        self->chunk = Py_NewRef(chunk);
        self->at = 0;
    } else {
        code = PyList_SetSlice(self->chunk, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX, chunk);
    }
    Py_DECREF(chunk);
    return code;
}

static PyObject *next_until(IMapIterator *self, int64_t deadline_ns)
{
    ImapJob *imap = self->imap;
    struct cmpy_state *state = imap->job.engine->state;
    for (;;) {
        PyObject *item = from_chunk(self);
        if (item != NULL) return item;
        if (self->ended) return NULL;
        if (!has_next(imap)) {
            if (cmpy_engine_check_process(imap->job.engine) < 0) return NULL;
            imap->job.waiters++;
            int code = cmpy_lead_wait(imap->job.engine, has_next, imap, deadline_ns, false);
            imap->job.waiters--;
            if (code < 0) return NULL;
            if (code > 0) {
                PyErr_SetNone(state->timeout_error);
                return NULL;
            }
        }
        if (cmpy_ring_front(&imap->ring) == NULL) {
            self->ended = true;
            return NULL;
        }
        /* The room that it leaves is filled before it is taken out: what a signal handler raises costs no result. */
        bool success;
        PyObject *value;
        imap->feed.handed_out++;
        int code = cmpy_feed_advance(&imap->job);
        if (code == 0 && cmpy_ring_front(&imap->ring) == NULL) { /* another thread has had it */
            imap->feed.handed_out--;
            continue;
        }
        if (code == 0) code = open_next(imap, &success, &value);
        if (code < 0) {
            imap->feed.handed_out--;
            return NULL;
        }
        if (!success) {
            if (self->chunked) self->ended = true;
            if (PyErr_CheckSignals() == 0) PyErr_SetObject((PyObject *)Py_TYPE(value), value);
            Py_DECREF(value);
            return NULL;
        }
        if (!self->chunked) return value;
        if (add_chunk(self, value) < 0) return NULL;
    }
}

static PyObject *imap_iternext(IMapIterator *self)
{
    return next_until(self, CMPY_FOREVER);
}

PyDoc_STRVAR(next_doc,
"next($self, /, timeout=None)\n--\n\n"
"The next result; TimeoutError if it does not come within so many seconds.");

PyDoc_STRVAR(dunder_next_doc,
"__next__($self, /, timeout=None)\n--\n\n"
"The same as next().");

static PyObject *imap_next(IMapIterator *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"timeout", NULL};
    PyObject *timeout = Py_None;
    int64_t deadline_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:next", names, &timeout)) return NULL;
    if (cmpy_deadline(1, timeout, &deadline_ns) < 0) return NULL;
    PyObject *item = next_until(self, deadline_ns);
    if (item == NULL && !PyErr_Occurred()) PyErr_SetNone(PyExc_StopIteration);
    return item;
}

static PyObject *imap_index(IMapIterator *self, void *unused)
{
    (void)unused;
    return PyLong_FromSsize_t(self->imap->feed.arrived);
}

static int imap_traverse(IMapIterator *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->imap);
    Py_VISIT(self->chunk);
    return 0;
}

static int imap_clear(IMapIterator *self)
{
    Py_CLEAR(self->chunk);
    return 0;
}

static void imap_dealloc(IMapIterator *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weak != NULL) PyObject_ClearWeakRefs((PyObject *)self);
    Py_CLEAR(self->chunk);
    if (self->imap != NULL) abandon(self->imap);
    Py_XDECREF(self->imap);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

/* --- tables --- */

static PyType_Slot job_slots[] = {
    {Py_tp_dealloc, imap_job_dealloc},
    {Py_tp_traverse, imap_job_traverse},
    {Py_tp_clear, imap_job_clear},
    {0, NULL},
};

static PyType_Spec job_spec = {
    .name = "cmp._core.ImapJob",
    .basicsize = sizeof(ImapJob),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = job_slots,
};

static PyMethodDef imap_methods[] = {
    {"next", (PyCFunction)(void (*)(void))imap_next, METH_VARARGS | METH_KEYWORDS, next_doc},
    /* The same by this name, which the slot below would take for a method without a timeout. */
    {"__next__", (PyCFunction)(void (*)(void))imap_next, METH_VARARGS | METH_KEYWORDS | METH_COEXIST,
     dunder_next_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef imap_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(IMapIterator, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef imap_getset[] = {
    {"_index", (getter)imap_index, NULL, "How many results, or chunks of them, have come.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(imap_doc, "The results of imap, in the order of what it was given.");
PyDoc_STRVAR(imap_unordered_doc, "The results of imap_unordered, as they arrive.");

static PyType_Slot imap_slots[] = {
    {Py_tp_doc, (void *)imap_doc},
    {Py_tp_dealloc, imap_dealloc},
    {Py_tp_traverse, imap_traverse},
    {Py_tp_clear, imap_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, imap_iternext},
    {Py_tp_methods, imap_methods},
    {Py_tp_members, imap_members},
    {Py_tp_getset, imap_getset},
    {0, NULL},
};

static PyType_Slot imap_unordered_slots[] = {
    {Py_tp_doc, (void *)imap_unordered_doc},
    {Py_tp_dealloc, imap_dealloc},
    {Py_tp_traverse, imap_traverse},
    {Py_tp_clear, imap_clear},
    {0, NULL},
};

static PyType_Spec imap_spec = {
    .name = "cmp.pool.IMapIterator",
    .basicsize = sizeof(IMapIterator),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = imap_slots,
};

static PyType_Spec imap_unordered_spec = {
    .name = "cmp.pool.IMapUnorderedIterator",
    .basicsize = sizeof(IMapIterator),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = imap_unordered_slots,
};

int cmpy_imap_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    if ((state->imap_job_type = PyType_FromModuleAndSpec(module, &job_spec, NULL)) == NULL) return -1;
    if ((state->imap_type = PyType_FromModuleAndSpec(module, &imap_spec, NULL)) == NULL) return -1;
    PyObject *bases = PyTuple_Pack(1, state->imap_type);
    if (bases == NULL) return -1;
    state->imap_unordered_type = PyType_FromModuleAndSpec(module, &imap_unordered_spec, bases);
    Py_DECREF(bases);
    if (state->imap_unordered_type == NULL) return -1;
    if (PyModule_AddObjectRef(module, "IMapIterator", state->imap_type) < 0) return -1;
    return PyModule_AddObjectRef(module, "IMapUnorderedIterator", state->imap_unordered_type);
}
