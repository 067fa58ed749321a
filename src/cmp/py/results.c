#include "py/results.h"

#include "py/encode.h"
#include "py/errors.h"
#include "py/lead.h"
#include "py/roster.h"
#include "py/supervisor.h"
#include "py/wait.h"

/* --- arrival and opening --- */

static void keep(ApplyResult *self, struct cmpy_parcel *parcel)
{
    if (parcel == &cmpy_parcel_starved) {
        self->starved = true;
        return;
    }
    parcel->next = NULL;
    *self->last = parcel;
    self->last = &parcel->next;
}

static void apply_receive(struct cmpy_job *job, struct cmpy_parcel *parcel)
{
    keep((ApplyResult *)job, parcel);
    cmpy_job_arrived(job);
}

static void map_receive(struct cmpy_job *job, struct cmpy_parcel *parcel)
{
    MapResult *self = (MapResult *)job;
    keep(&self->result, parcel);
    self->feed.arrived++;
    if (--self->nleft == 0) cmpy_job_arrived(job);
}

/* The iterable gave fewer items than it had said, or the pool ended first. */
static void map_set_length(struct cmpy_job *job, Py_ssize_t length)
{
    MapResult *self = (MapResult *)job;
    Py_ssize_t missing = self->nleft - (length - self->feed.arrived);
    if (missing <= 0) return;
    struct cmpy_parcel *parcel;
    if (job->engine->pool_state == CMPY_POOL_TERMINATE || job->engine->last_words != NULL) {
        parcel = cmpy_parcel_make(CMPY_PARCEL_ENDED, Py_XNewRef(job->engine->last_words));
    } else {
        PyErr_SetString(PyExc_RuntimeError, "the iterable has become shorter while it was mapped");
        parcel = cmpy_parcel_error();
    }
    keep(&self->result, parcel);
    self->nleft -= missing;
    if (self->nleft == 0) cmpy_job_arrived(job);
}

static int put_chunk(MapResult *self, Py_ssize_t position, PyObject *chunk)
{
    ApplyResult *result = &self->result;
    if (result->value == NULL) {
        result->value = PyList_New(self->length);
        if (result->value == NULL) return -1;
        for (Py_ssize_t i = 0; i < self->length; i++) PyList_SET_ITEM(result->value, i, Py_NewRef(Py_None));
    }
    Py_ssize_t first = position * self->chunksize;
    for (Py_ssize_t i = 0; PyList_CheckExact(chunk) && i < PyList_GET_SIZE(chunk) && first + i < self->length; i++)
        PyList_SetItem(result->value, first + i, Py_NewRef(PyList_GET_ITEM(chunk, i)));
    return 0;
}

int cmpy_result_open(ApplyResult *self)
{
    bool is_map = self->job.feed != NULL;
    while (self->arrived != NULL) {
        struct cmpy_parcel *parcel = self->arrived;
        bool success = false;
        PyObject *value = NULL;
        if (!is_map || self->success) {
            cmpy_parcel_keep(parcel);
            int code = cmpy_parcel_open(self->job.engine->state, parcel, &success, &value);
            bool mine = self->arrived == parcel; /* else another thread has opened it meanwhile */
            if (code == 0 && mine && is_map && success)
                code = put_chunk((MapResult *)self, parcel->position, value);
            cmpy_parcel_drop(parcel);
            if (code < 0 || !mine) Py_XDECREF(value);
            if (code < 0) return -1;
            if (!mine) continue;
        }
        self->arrived = parcel->next;
        if (self->arrived == NULL) self->last = &self->arrived;
        cmpy_parcel_drop(parcel);
        if (is_map && success) {
            Py_DECREF(value);
        } else if (value != NULL) {
            self->success = success;
            Py_XSETREF(self->value, value);
        }
    }
    if (self->starved && self->success) {
        PyErr_NoMemory();
        self->success = false;
        Py_XSETREF(self->value, cmpy_exception_take());
    }
    if (self->job.done && self->value == NULL) self->value = PyList_New(0);
    return self->value == NULL && self->job.done ? -1 : 0;
}

static void result_call_back(struct cmpy_job *job)
{
    ApplyResult *self = (ApplyResult *)job;
    if (cmpy_result_open(self) < 0) {
        PyErr_WriteUnraisable((PyObject *)job);
        return;
    }
    cmpy_job_call(job, self->success, self->value != NULL ? self->value : Py_None);
}

static const struct cmpy_job_kind apply_kind = {apply_receive, result_call_back, NULL, NULL};
static const struct cmpy_job_kind map_kind = {map_receive, result_call_back, map_set_length, NULL};

/* --- making --- */

static ApplyResult *result_new(PyObject *type_object, const struct cmpy_job_kind *kind, struct cmpy_engine *engine,
                               PyObject *pool, PyObject *function, PyObject *callback, PyObject *error_callback)
{
    PyTypeObject *type = (PyTypeObject *)type_object;
    ApplyResult *self = (ApplyResult *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    cmpy_job_begin(&self->job, kind, engine, pool, function);
    self->last = &self->arrived;
    self->success = true;
    cmpy_job_set_callbacks(&self->job, callback, error_callback);
    if (self->job.calls_back && cmpy_callbacks_prepare(engine) < 0) Py_CLEAR(self);
    return self;
}

ApplyResult *cmpy_apply(struct cmpy_engine *engine, PyObject *pool, PyObject *function, PyObject *arguments,
                        PyObject *keywords, PyObject *callback, PyObject *error_callback)
{
    ApplyResult *self = result_new(engine->state->apply_result_type, &apply_kind, engine, pool, function, callback,
                                   error_callback);
    if (self == NULL) return NULL;
    struct cmpy_sink sink;
    cmpy_sink_init(&sink);
    int code = cmpy_task_encode(engine->state, &sink, CMPY_TASK_CALL, function, arguments, keywords);
    if (code == 0) code = cmpy_engine_submit(engine, &self->job, 0, &sink);
    if (cmpy_exception_interrupts()) {
        cmpy_job_finish(&self->job);
        Py_CLEAR(self);
    } else if (code < 0) {
        cmpy_engine_fail_position(&self->job, 0);
    }
    cmpy_sink_clear(&sink);
    return self;
}

MapResult *cmpy_map(struct cmpy_engine *engine, PyObject *pool, PyObject *function, PyObject *items,
                    enum cmpy_task_kind kind, Py_ssize_t chunksize, PyObject *callback, PyObject *error_callback)
{
    Py_ssize_t length = PyObject_Size(items);
    if (length < 0) return NULL;
    MapResult *self = (MapResult *)result_new(engine->state->map_result_type, &map_kind, engine, pool, function,
                                              callback, error_callback);
    if (self == NULL) return NULL;
    struct cmpy_job *job = &self->result.job;
    job->feed = &self->feed;
    self->length = length;
    self->chunksize = chunksize;
    self->nleft = chunksize > 0 ? length / chunksize + (length % chunksize != 0) : 0;
    self->feed.whole = true;
    if (self->nleft == 0) { /* nothing to do, and, as in the stdlib, nobody is called back */
        Py_CLEAR(job->callback);
        Py_CLEAR(job->error_callback);
        cmpy_job_finish(job);
        return self;
    }
    if (cmpy_feed_begin(engine->state, &self->feed, function, items, kind, chunksize) < 0 ||
        cmpy_feeds_enlist(engine, job) < 0) {
        cmpy_job_finish(job);
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

/* --- waiting --- */

/* -1 with an exception: no call is behind it, or a pool that this process has merely inherited. */
static int check_call(ApplyResult *self)
{
    if (self->job.engine != NULL) return cmpy_engine_check_process(self->job.engine);
    PyErr_Format(PyExc_RuntimeError, "no pool has made this %.100s", Py_TYPE(self)->tp_name);
    return -1;
}

static bool is_done(void *arg)
{
    return ((struct cmpy_job *)arg)->done;
}

/* A map's waiter opens the chunks as they arrive, while the workers go on. */
static bool has_something(void *arg)
{
    ApplyResult *self = arg;
    return self->job.done || (self->arrived != NULL && !self->job.calls_back);
}

int cmpy_result_wait(ApplyResult *self, int64_t deadline_ns)
{
    if (self->job.done) return 0;
    if (check_call(self) < 0) return -1;
    self->job.waiters++;
    int code = cmpy_lead_wait(self->job.engine, is_done, self, deadline_ns, false);
    self->job.waiters--;
    return code;
}

/* Waits until done, with all opened. 0, 1: not in time, -1: an exception. */
static int result_wait_opened(ApplyResult *self, int64_t deadline_ns)
{
    struct cmpy_engine *engine = self->job.engine;
    if (self->job.done) return cmpy_result_open(self);
    if (check_call(self) < 0) return -1;
    int code = 0;
    self->job.waiters++;
    engine->nreturning++;
    while (code == 0 && !self->job.done) {
        code = cmpy_lead_wait(engine, has_something, self, deadline_ns, true);
        if (code == 0 && !self->job.calls_back) code = cmpy_result_open(self);
    }
    engine->nreturning--;
    self->job.waiters--;
    if (!engine->led && engine->nreturning == 0 && engine->book.count > 0) cmpy_supervisor_want(engine);
    return code == 0 ? cmpy_result_open(self) : code;
}

PyObject *cmpy_result_get(ApplyResult *self, int64_t deadline_ns)
{
    int code = result_wait_opened(self, deadline_ns);
    if (code < 0) return NULL;
    if (code > 0) {
        PyErr_SetNone(self->job.engine->state->timeout_error);
        return NULL;
    }
    if (self->success) return Py_NewRef(self->value);
    /* Ctrl-C reaches the whole group: what it did to the task is not what the user wants to hear first. */
    if (PyErr_CheckSignals() < 0) return NULL;
    PyErr_SetObject((PyObject *)Py_TYPE(self->value), self->value);
    return NULL;
}

int cmpy_result_look(ApplyResult *self)
{
    if (!self->job.done && check_call(self) < 0) return -1;
    if (!self->job.done) cmpy_lead_drain(self->job.engine);
    return self->job.done;
}
