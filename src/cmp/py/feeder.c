#include "py/feeder.h"

#include "py/encode.h"
#include "py/errors.h"
#include "py/supervisor.h"
#include "py/thread.h"
#include "py/wait.h"

#include <errno.h>

/* What the feeder threads of this process sleep on while their feeds have no room. */
static struct {
    _Atomic uint32_t kicks;
    struct cmp_eventcount bell;
} feeder;

/* --- tasks as bytes --- */

/* Is what names this function shared anyway, so that it may be encoded by itself? */
static bool is_by_name(PyObject *function)
{
    if (PyFunction_Check(function) || Py_IS_TYPE(function, &PyType_Type)) return true;
    if (!PyCFunction_CheckExact(function)) return false;
    PyObject *self = PyCFunction_GET_SELF(function);
    return self == NULL || PyModule_Check(self);
}

int cmpy_task_encode(struct cmpy_state *state, struct cmpy_sink *sink, enum cmpy_task_kind kind, PyObject *function,
                     PyObject *arguments, PyObject *keywords)
{
    struct cmpy_task_header header = {.kind = (uint16_t)kind, .joint = !is_by_name(function)};
    if (cmpy_sink_raw(sink, &header, sizeof header) < 0) return -1;
    if (!header.joint) {
        if (cmpy_encode(state, sink, function) < 0 || cmpy_encode(state, sink, arguments) < 0) return -1;
        return kind != CMPY_TASK_CALL ? 0 : cmpy_encode(state, sink, keywords);
    }
    PyObject *all = kind == CMPY_TASK_CALL ? PyTuple_Pack(3, function, arguments, keywords)
                                           : PyTuple_Pack(2, function, arguments);
    int code = all == NULL ? -1 : cmpy_encode(state, sink, all);
    Py_XDECREF(all);
    return code;
}

static int encode_fed(struct cmpy_state *state, struct cmpy_sink *sink, struct cmpy_feed *feed, PyObject *argument)
{
    if (feed->encoded == NULL) {
        if (feed->kind != CMPY_TASK_CALL)
            return cmpy_task_encode(state, sink, feed->kind, feed->function, argument, NULL);
        PyObject *arguments = PyTuple_Pack(1, argument);
        int code = arguments == NULL
                       ? -1 : cmpy_task_encode(state, sink, feed->kind, feed->function, arguments, Py_None);
        Py_XDECREF(arguments);
        return code;
    }
    struct cmpy_task_header header = {.kind = (uint16_t)feed->kind};
    if (cmpy_sink_raw(sink, &header, sizeof header) < 0) return -1;
    if (cmpy_sink_raw(sink, PyBytes_AS_STRING(feed->encoded), (size_t)PyBytes_GET_SIZE(feed->encoded)) < 0) return -1;
    if (feed->kind != CMPY_TASK_CALL) return cmpy_encode(state, sink, argument);
    PyObject *arguments = PyTuple_Pack(1, argument);
    int code = arguments == NULL ? -1 : cmpy_encode(state, sink, arguments);
    Py_XDECREF(arguments);
    return code < 0 ? -1 : cmpy_encode(state, sink, Py_None);
}

/* The function's bytes, for a feed's tasks to share. NULL for one that does not pickle, which fails each task by
 * itself, and with a signal handler's exception. */
static PyObject *encode_function(struct cmpy_state *state, PyObject *function)
{
    if (!is_by_name(function)) return NULL;
    struct cmpy_sink sink;
    PyObject *encoded = NULL;
    cmpy_sink_init(&sink);
    if (cmpy_encode(state, &sink, function) == 0 && sink.outside == 0)
        encoded = PyBytes_FromStringAndSize((const char *)sink.bytes, (Py_ssize_t)sink.used);
    if (!cmpy_exception_interrupts()) PyErr_Clear();
    cmpy_sink_clear(&sink);
    return encoded;
}

int cmpy_feed_traverse(struct cmpy_feed *feed, visitproc visit, void *arg)
{
    Py_VISIT(feed->iterator);
    Py_VISIT(feed->function);
    Py_VISIT(feed->put_back);
    return 0;
}

void cmpy_feed_clear(struct cmpy_feed *feed)
{
    Py_CLEAR(feed->iterator);
    Py_CLEAR(feed->function);
    Py_CLEAR(feed->encoded);
    Py_CLEAR(feed->put_back);
}

int cmpy_feed_begin(struct cmpy_state *state, struct cmpy_feed *feed, PyObject *function, PyObject *iterable,
                    enum cmpy_task_kind kind, Py_ssize_t chunksize)
{
    feed->harmless = PyList_CheckExact(iterable) || PyTuple_CheckExact(iterable) || PyRange_Check(iterable);
    feed->iterator = PyObject_GetIter(iterable);
    if (feed->iterator == NULL) return -1;
    feed->function = Py_NewRef(function);
    feed->encoded = encode_function(state, function);
    if (PyErr_Occurred()) return -1;
    feed->kind = kind;
    feed->chunksize = chunksize;
    return 0;
}

/* --- feeding --- */

/* The next item, or a tuple of up to chunksize of them. NULL: the end, or an exception. */
static PyObject *pull(PyObject *iterator, const struct cmpy_feed *feed)
{
    if (feed->kind == CMPY_TASK_CALL) return PyIter_Next(iterator);
    PyObject *list = PyList_New(0), *chunk = NULL;
    if (list == NULL) return NULL;
    while (PyList_GET_SIZE(list) < feed->chunksize) {
        PyObject *item = PyIter_Next(iterator);
        if (item == NULL) break;
        int code = PyList_Append(list, item);
        Py_DECREF(item);
        if (code < 0) break;
    }
    if (!PyErr_Occurred() && PyList_GET_SIZE(list) > 0) chunk = PyList_AsTuple(list);
    Py_DECREF(list);
    return chunk;
}

static bool has_room(struct cmpy_job *job, const struct cmpy_feed *feed)
{
    struct cmpy_engine *engine = job->engine;
    Py_ssize_t out = feed->next - feed->arrived;
    /* Its queue may be shut while the feed is still listed: every task would fail at once, and of an endless iterable
     * there would be no end to that. */
    if (engine->pool_state == CMPY_POOL_TERMINATE || engine->last_words != NULL) return false;
    if (job->kind->reserve != NULL && !job->kind->reserve(job)) return false;
    if (out > 0 && engine->out_kib >= CMPY_FEED_KIB) {
        engine->full = true;
        return false;
    }
    if (feed->whole) return true;
    if (out >= CMPY_FEED_WINDOW) return false;
    /* A closed pool runs everything, also what nobody takes out. */
    if (engine->pool_state != CMPY_POOL_RUN) return true;
    Py_ssize_t ahead = feed->next - feed->handed_out;
    if (feed->refused >= CMPY_FEED_WINDOW && ahead >= CMPY_FEED_WINDOW) return false;
    return feed->buffersize == 0 || ahead < feed->buffersize;
}

/* Off the engine's list: also this may need memory. Who stays there for want of it has no iterator any more, and goes
 * when the feeds advance next. */
static void unlist(PyObject *feeds, Py_ssize_t i)
{
    if (PyList_SetSlice(feeds, i, i + 1, NULL) < 0) PyErr_Clear();
}

/* The feed's iterable is at its end, or is not wanted any more. */
static void end_feed(struct cmpy_job *job, struct cmpy_feed *feed)
{
    struct cmpy_feed ended = *feed;
    if (feed->iterator == NULL) return;
    feed->iterator = feed->function = feed->encoded = feed->put_back = NULL;
    Py_INCREF(job);
    PyObject *feeds = job->engine->feeds;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(feeds); i++) {
        if (PyList_GET_ITEM(feeds, i) != (PyObject *)job) continue;
        unlist(feeds, i);
        break;
    }
    job->kind->set_length(job, feed->next);
    if (job->engine->pool_state != CMPY_POOL_RUN) cmpy_supervisor_kick(); /* perhaps the workers can go home now */
    cmpy_feed_clear(&ended);
    Py_DECREF(job);
}

/* What became of the task at `position`, of which `code` tells. -1: `raises`, and the exception of a signal handler is
 * set; the task, unless it was queued or the feed has been ended, is yet to be made. */
static int settle(struct cmpy_job *job, struct cmpy_feed *feed, PyObject *argument, int code, bool raises)
{
    bool interrupted = raises && cmpy_exception_interrupts();
    if (code < 0 && interrupted && feed->iterator != NULL) {
        feed->next--;
        feed->put_back = Py_NewRef(argument);
    } else if (code < 0) {
        feed->refused++;
        cmpy_engine_fail_position(job, feed->next - 1);
    } else if (code > 0 && !interrupted) {
        PyErr_Clear();
    }
    return interrupted && PyErr_Occurred() ? -1 : 0;
}

static int submit(struct cmpy_job *job, struct cmpy_feed *feed, PyObject *argument, bool raises)
{
    struct cmpy_sink sink;
    Py_ssize_t position = feed->next++;
    cmpy_sink_init(&sink);
    feed->away = true;
    int code = encode_fed(job->engine->state, &sink, feed, argument);
    feed->away = false;
    if (code == 0) code = cmpy_engine_submit(job->engine, job, position, &sink);
    code = settle(job, feed, argument, code, raises);
    cmpy_sink_clear(&sink);
    return code;
}

/* The feeder, if the job has one, runs no more users' code: it ends. */
static void feeder_leaves(struct cmpy_job *job)
{
    if (job->feed->thread != NULL) cmpy_thread_leaves(job->engine->leaving, job->feed->thread);
}

/* Submits tasks while there is room; at the end of the iterable the job learns its length. Exceptions become outcomes,
 * but with `raises`, in a caller that can be interrupted, those of signal handlers: then -1. */
static int feed_some(struct cmpy_job *job, struct cmpy_feed *feed, bool raises)
{
    int code = 0;
    if (feed->busy) return 0;
    feed->busy = true;
    Py_INCREF(job);
    PyObject *iterator = Py_XNewRef(feed->iterator);
    unsigned submitted = 0;
    while (code == 0 && feed->iterator != NULL && has_room(job, feed)) {
        cmpy_breathe(&submitted);
        PyObject *argument = feed->put_back;
        feed->put_back = NULL;
        feed->away = true;
        if (argument == NULL) argument = pull(iterator, feed);
        feed->away = false;
        if (feed->iterator == NULL) { /* ended while users' code ran */
            PyErr_Clear();
            Py_XDECREF(argument);
        } else if (argument != NULL) {
            code = submit(job, feed, argument, raises);
            Py_DECREF(argument);
        } else {
            if (PyErr_Occurred()) cmpy_engine_fail_position(job, feed->next++);
            feeder_leaves(job);
            end_feed(job, feed);
        }
    }
    Py_XDECREF(iterator);
    feed->busy = false;
    Py_DECREF(job);
    return code;
}

/* --- who feeds --- */

static void kick(void)
{
    (void)cmp_rmw(fetch_add, &feeder.kicks, 1, seq_cst, "feeder.kick");
    cmp_eventcount_notify_all(&feeder.bell);
}

int cmpy_feeds_enlist(struct cmpy_engine *engine, struct cmpy_job *job)
{
    if (PyList_Append(engine->feeds, (PyObject *)job) < 0) return -1;
    struct cmpy_state *state = engine->state;
    int code = job->feed->harmless
                   ? feed_some(job, job->feed, true)
                   : cmpy_thread_start(state, "cmp-pool-feeder", state->feed_function, (PyObject *)job);
    if (code == 0) return 0;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    end_feed(job, job->feed);
    PyErr_Restore(type, value, trace);
    return -1;
}

int cmpy_feed_advance(struct cmpy_job *job)
{
    struct cmpy_feed *feed = job->feed;
    if (feed->iterator == NULL || feed->busy) return 0;
    /* In bulk, unless the user asked for few. */
    if (feed->buffersize == 0 && feed->next - feed->arrived > CMPY_FEED_WINDOW / 2) return 0;
    if (feed->harmless) return feed_some(job, feed, true);
    kick();
    return 0;
}

void cmpy_feeds_advance(struct cmpy_engine *engine)
{
    for (Py_ssize_t i = PyList_GET_SIZE(engine->feeds); i-- > 0;) {
        if (i >= PyList_GET_SIZE(engine->feeds)) continue;
        struct cmpy_job *job = (struct cmpy_job *)Py_NewRef(PyList_GET_ITEM(engine->feeds, i));
        if (job->feed->iterator == NULL) unlist(engine->feeds, i);
        else if (job->feed->harmless) (void)feed_some(job, job->feed, false);
        else kick();
        Py_DECREF(job);
    }
}

void cmpy_feeds_end(struct cmpy_engine *engine)
{
    for (Py_ssize_t i = PyList_GET_SIZE(engine->feeds); i-- > 0;) {
        if (i >= PyList_GET_SIZE(engine->feeds)) continue;
        struct cmpy_job *job = (struct cmpy_job *)PyList_GET_ITEM(engine->feeds, i);
        if (!job->feed->away) feeder_leaves(job);
        end_feed(job, job->feed);
    }
    kick();
}

struct listening {
    uint32_t heard;
};

static int look_kicks(void *arg)
{
    struct listening *l = arg;
    return cmp_load(&feeder.kicks, acquire) == l->heard ? -EAGAIN : 0;
}

static int listen_call(void *arg, int64_t deadline_ns)
{
    return cmp_eventcount_wait(&feeder.bell, look_kicks, NULL, arg, deadline_ns, 0, NULL);
}

static PyObject *feed(PyObject *module, PyObject *argument)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    if ((PyObject *)Py_TYPE(argument) != state->imap_job_type) {
        PyErr_SetString(PyExc_TypeError, "a job is wanted");
        return NULL;
    }
    struct cmpy_job *job = (struct cmpy_job *)argument;
    cmpy_threads_prune(job->engine->leaving);
    job->feed->thread = cmpy_thread_current(state);
    if (job->feed->thread == NULL) PyErr_Clear();
    while (job->feed->iterator != NULL) {
        struct listening l = {cmp_load(&feeder.kicks, relaxed)};
        (void)feed_some(job, job->feed, false);
        if (job->feed->iterator != NULL) (void)cmpy_wait(listen_call, &l, CMPY_FOREVER);
    }
    Py_CLEAR(job->feed->thread);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_feed", feed, METH_O, "The thread that iterates what an imap was given."},
    {NULL, NULL, 0, NULL},
};

int cmpy_feeder_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    cmp_eventcount_init(&feeder.bell);
    if (PyModule_AddFunctions(module, functions) < 0) return -1;
    state->feed_function = PyObject_GetAttrString(module, "_feed");
    return state->feed_function == NULL ? -1 : 0;
}
