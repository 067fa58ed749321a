#include "py/worker.h"

#include "os/clock.h"
#include "os/eventfd.h"
#include "os/forkepoch.h"
#include "os/identity.h"
#include "os/sigmask.h"
#include "py/decode.h"
#include "py/encode.h"
#include "py/errors.h"
#include "py/feeder.h"
#include "py/parcel.h"
#include "py/wait.h"

#include <errno.h>
#include <string.h>

#define PUT_WITH_GIL (32 * 1024)

struct job {
    struct cmpy_engine *engine;
    struct cmp_worker_shm *slot;
    uint32_t epoch; /* the worker's */
    struct cmp_taken taken;
};

/* --- running --- */

static PyObject *call_each(enum cmpy_task_kind kind, PyObject *function, PyObject *chunk)
{
    PyObject *items = PySequence_Fast(chunk, "a pool's chunk is a sequence");
    /* It grows: a place without a result could be found by the function, through the garbage collector. */
    PyObject *results = items == NULL ? NULL : PyList_New(0);
    for (Py_ssize_t i = 0; results != NULL && i < PySequence_Fast_GET_SIZE(items); i++) {
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(items, i)), *result = NULL;
        if (kind == CMPY_TASK_MAP) {
            result = PyObject_CallOneArg(function, item);
        } else {
            PyObject *arguments = PySequence_Tuple(item);
            if (arguments != NULL) result = PyObject_CallObject(function, arguments);
            Py_XDECREF(arguments);
        }
        Py_DECREF(item);
        if (result == NULL || PyList_Append(results, result) < 0) Py_CLEAR(results);
        Py_XDECREF(result);
    }
    Py_XDECREF(items);
    return results;
}

static PyObject *call(enum cmpy_task_kind kind, PyObject *function, PyObject *arguments, PyObject *keywords)
{
    if (kind != CMPY_TASK_CALL) return call_each(kind, function, arguments);
    PyObject *tuple = PyTuple_CheckExact(arguments) ? Py_NewRef(arguments) : PySequence_Tuple(arguments);
    if (tuple == NULL) return NULL;
    PyObject *result = NULL, *given = NULL;
    if (keywords != NULL && keywords != Py_None) {
        given = PyDict_New(); /* any mapping will do, as in func(**kwds) */
        if (given == NULL || PyDict_Update(given, keywords) < 0) {
            if (PyErr_ExceptionMatches(PyExc_AttributeError)) /* no keys() */
                PyErr_Format(PyExc_TypeError, "argument after ** must be a mapping, not %.200s",
                             Py_TYPE(keywords)->tp_name);
            goto out;
        }
    }
    result = PyObject_Call(function, tuple, given);
out:
    Py_XDECREF(given);
    Py_DECREF(tuple);
    return result;
}

/* Decodes the task and runs it. */
static PyObject *run(struct job *job)
{
    struct cmpy_state *state = job->engine->state;
    struct cmpy_source source = {.bytes = job->taken.data, .size = job->taken.size};
    struct cmpy_task_header header;
    PyObject *function = NULL, *arguments = NULL, *keywords = NULL, *all = NULL, *result = NULL;
    const void *at = cmpy_source_raw(&source, sizeof header);
    if (at == NULL) {
        PyErr_SetString(PyExc_ValueError, "a task without a header");
    } else {
        memcpy(&header, at, sizeof header);
        if (header.joint) {
            all = cmpy_decode(state, &source);
            if (all != NULL && (!PyTuple_CheckExact(all) || PyTuple_GET_SIZE(all) < 2))
                PyErr_SetString(PyExc_ValueError, "a task that is none");
            if (!PyErr_Occurred()) {
                function = Py_NewRef(PyTuple_GET_ITEM(all, 0));
                arguments = Py_NewRef(PyTuple_GET_ITEM(all, 1));
                if (PyTuple_GET_SIZE(all) > 2) keywords = Py_NewRef(PyTuple_GET_ITEM(all, 2));
            }
        } else {
            function = cmpy_decode(state, &source);
            if (function != NULL) arguments = cmpy_decode(state, &source);
            if (arguments != NULL && header.kind == CMPY_TASK_CALL) keywords = cmpy_decode(state, &source);
        }
        Py_XDECREF(all);
    }
    cmp_queue_release(&job->engine->tasks, &job->taken);
    if (!PyErr_Occurred()) result = call((enum cmpy_task_kind)header.kind, function, arguments, keywords);
    Py_XDECREF(function);
    Py_XDECREF(arguments);
    Py_XDECREF(keywords);
    return result;
}

/* --- answering --- */

static int begin(struct cmpy_sink *sink, enum cmpy_result_status status, bool interrupted)
{
    struct cmpy_result_header header = {.status = status, .interrupted = interrupted};
    return cmpy_sink_raw(sink, &header, sizeof header);
}

/* cmp.pool.<name>(a, b) */
static PyObject *make(const char *name, PyObject *a, PyObject *b)
{
    PyObject *module = PyImport_ImportModule("cmp.pool");
    PyObject *made = module == NULL ? NULL : PyObject_CallMethod(module, name, b != NULL ? "OO" : "O", a, b);
    Py_XDECREF(module);
    return made;
}

/* The exception and what its traceback looks like. One that would end the parent is put into words there. */
static int encode_error(struct cmpy_state *state, struct cmpy_sink *sink, PyObject *error)
{
    PyObject *text = make("remote_text", error, NULL), *sent = NULL;
    if (text != NULL) sent = make("sendable", error, NULL);
    bool interrupted = PyErr_GivenExceptionMatches(error, PyExc_KeyboardInterrupt);
    int code = text == NULL || sent == NULL ? -1 : begin(sink, CMPY_RESULT_ERROR, interrupted);
    if (code == 0) code = cmpy_encode(state, sink, text);
    if (code == 0) code = cmpy_encode(state, sink, sent);
    Py_XDECREF(text);
    Py_XDECREF(sent);
    return code;
}

static int encode_outcome(struct cmpy_state *state, struct cmpy_sink *sink, PyObject *result, PyObject *error)
{
    if (error != NULL) return encode_error(state, sink, error);
    int code = begin(sink, CMPY_RESULT_VALUE, false);
    return code == 0 ? cmpy_encode(state, sink, result) : code;
}

/* What was to be sent cannot be: says so instead. Of what there is no room for, the text that shows it would need the
 * more: then its type has to do. */
static int encode_failure(struct cmpy_state *state, struct cmpy_sink *sink, PyObject *unsent, bool briefly)
{
    PyObject *why = cmpy_exception_take();
    PyObject *shown = briefly ? PyUnicode_FromFormat("<%s object>", Py_TYPE(unsent)->tp_name) : Py_NewRef(unsent);
    PyObject *error = shown == NULL ? NULL : make("MaybeEncodingError", why, shown);
    Py_XDECREF(shown);
    Py_DECREF(why);
    int code = error == NULL ? -1 : begin(sink, CMPY_RESULT_ERROR, false);
    if (code == 0) code = cmpy_encode(state, sink, Py_None);
    if (code == 0) code = cmpy_encode(state, sink, error);
    Py_XDECREF(error);
    return code;
}

struct putting {
    struct cmp_queue *queue;
    struct cmp_message message;
};

static int put_call(void *arg, int64_t deadline_ns)
{
    struct putting *p = arg;
    if (deadline_ns == CMPY_TRY && p->message.size > PUT_WITH_GIL) return -EBUSY;
    return cmp_queue_put(p->queue, &p->message, deadline_ns);
}

/* 0; a negative errno; CMPY_RAISED: a signal handler's exception, nothing is published. */
static int publish(struct job *job, struct cmpy_sink *sink)
{
    cmpy_sink_finish(sink);
    struct putting p = {.queue = &job->engine->results,
                        .message = {.parts = sink->parts, .nparts = sink->nparts, .size = sink->size,
                                    .tag = job->taken.tag}};
    return cmpy_wait(put_call, &p, CMPY_FOREVER);
}

/* The parent hears of the answer, if it said that it wants to. False: not from here, for the task has closed all
 * descriptors; then it has to hear of this worker's end. */
static bool tell(const struct cmpy_engine *engine)
{
    if (!cmp_pooltable_tell(engine->table)) return true;
    bool hears = cmp_identity_is(engine->wake_fd, engine->wake_identity);
    if (hears) cmp_eventfd_raise(engine->wake_fd);
    return hears;
}

/* Publishes result or error (exactly one is given), come what may. 1: done; 0: and this worker is to leave; -1: not
 * even a failure could be told; the claim stands, and the parent learns from this worker's end. */
static int answer(struct job *job, PyObject *result, PyObject *error)
{
    struct cmpy_state *state = job->engine->state;
    struct cmpy_sink sink;
    bool told = false, no_room = false;
    /* A second and third time: a handler's exception in the middle, a result that cannot be encoded, one for which
     * there is no memory. */
    for (int tries = 0; tries < 4 && !told; tries++) {
        cmpy_sink_init(&sink);
        int code = tries == 0 ? encode_outcome(state, &sink, result, error)
                              : encode_failure(state, &sink, error != NULL ? error : result, no_room || tries == 3);
        if (code == 0) {
            code = publish(job, &sink);
            told = code == 0 || code == -EPIPE;
            no_room |= code == -ENOMEM;
            if (!told && code != CMPY_RAISED) cmpy_raise("Pool: a result", code);
        }
        cmpy_sink_clear(&sink);
        if (!told && !PyErr_Occurred()) PyErr_SetString(PyExc_RuntimeError, "a result was not sent");
    }
    if (!told) return -1;
    PyErr_Clear();
    cmp_worker_answer(job->slot);
    return tell(job->engine);
}

/* --- the loop --- */

static int take_call(void *arg, int64_t deadline_ns)
{
    struct job *job = arg;
    return cmp_queue_take(&job->engine->tasks, &job->taken, &job->slot->claim, deadline_ns);
}

/* An idle worker that Ctrl-C ends says nothing. 0, or -1 with whatever else a signal handler raised. */
static int leave_idle(void)
{
    if (!PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) return -1;
    PyErr_Clear();
    return 0;
}

/* 1: go on; 0: leave; -1: leave with the exception set. */
static int work_once(struct job *job)
{
    int code = cmpy_wait(take_call, job, CMPY_FOREVER);
    if (code == -EBADMSG) return 1;
    if (code == CMPY_RAISED) return leave_idle();
    if (code == -EPIPE) return 0; /* shut */
    if (code < 0) {
        /* The task stays in the queue: this process cannot map where it lies. One that is of no use is replaced slowly,
         * as those are that never get ready. */
        cmp_store(&job->slot->life, CMP_WORKER_STARTING, relaxed, "pool.useless");
        (void)cmpy_raise("Pool: a task", code);
        return -1;
    }
    cmp_worker_begin(job->slot, cmp_now_ns());
    PyObject *result = run(job), *error = NULL;
    if (result == NULL) error = cmpy_exception_take();
    /* A task that forks, and whose child returns as well, has one result, and a slot has one worker. */
    bool is_copy = job->epoch != cmp_fork_epoch();
    code = is_copy ? 0 : answer(job, result, error);
    Py_XDECREF(result);
    bool raises = error != NULL && (is_copy || PyErr_GivenExceptionMatches(error, PyExc_SystemExit));
    if (code >= 0 && raises) PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    return raises ? -1 : code;
}

PyDoc_STRVAR(worker_doc, "What a pool's processes run.");

static PyObject *worker(PyObject *module, PyObject *args)
{
    struct cmpy_engine *engine;
    unsigned slot;
    PyObject *initializer, *initargs, *maxtasks;
    struct cmpy_state *state = cmpy_state_of_module(module);
    if (!PyArg_ParseTuple(args, "O!IOOO:pool_worker", state->engine_type, &engine, &slot, &initializer, &initargs,
                          &maxtasks))
        return NULL;
    uint32_t epoch = cmp_fork_epoch();
    cmp_sigmask_unblock(); /* of a process that a supervisor has forked by a way of the user's */
    if (slot >= engine->table->nslots) return PyErr_Format(PyExc_ValueError, "no worker slot %u", slot);
    Py_ssize_t most = maxtasks == Py_None ? PY_SSIZE_T_MAX : PyLong_AsSsize_t(maxtasks);
    if (most == -1 && PyErr_Occurred()) return NULL;
    if (initializer != Py_None) {
        PyObject *tuple = PySequence_Tuple(initargs);
        PyObject *done = tuple == NULL ? NULL : PyObject_CallObject(initializer, tuple);
        Py_XDECREF(tuple);
        if (done == NULL) return NULL;
        Py_DECREF(done);
        if (epoch != cmp_fork_epoch()) Py_RETURN_NONE; /* it has forked, and this is the child */
    }
    engine->results.on_look = NULL; /* a forked worker's copy still thinks of the parent's news */
    struct job *job = PyMem_Malloc(sizeof *job);
    if (job == NULL) return PyErr_NoMemory();
    job->engine = engine;
    job->slot = &engine->table->slots[slot];
    job->epoch = epoch;
    cmp_store(&job->slot->life, CMP_WORKER_READY, relaxed, "pool.ready");
    int code = 1;
    for (Py_ssize_t done = 0; code > 0 && done < most; done++) code = work_once(job);
    PyMem_Free(job);
    /* The parent, ended by the same Ctrl-C, may have shut the queue before it was looked for here. */
    if (code >= 0 && PyErr_CheckSignals() < 0) code = leave_idle();
    if (code < 0) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"pool_worker", worker, METH_VARARGS, worker_doc},
    {NULL, NULL, 0, NULL},
};

int cmpy_worker_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    if (PyModule_AddFunctions(module, functions) < 0) return -1;
    state->worker_function = PyObject_GetAttrString(module, "pool_worker");
    return state->worker_function == NULL ? -1 : 0;
}
