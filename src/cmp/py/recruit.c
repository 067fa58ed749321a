#include "py/recruit.h"

#include "os/clock.h"
#include "os/identity.h"
#include "py/processes.h"

#include <limits.h>

#define RECRUITS 16 /* made at a time */

/* `name` with Process replaced, as the stdlib names workers. */
static int name_worker(struct cmpy_state *state, PyObject *process)
{
    PyObject *name = PyObject_GetAttr(process, state->str.name);
    PyObject *named = name == NULL ? NULL : PyObject_CallMethod(name, "replace", "ss", "Process", "PoolWorker");
    int code = named == NULL ? -1 : PyObject_SetAttr(process, state->str.name, named);
    Py_XDECREF(name);
    Py_XDECREF(named);
    return code;
}

static PyObject *make_process(struct cmpy_engine *engine, uint32_t slot)
{
    struct cmpy_state *state = engine->state;
    PyObject *process = NULL, *keywords = NULL;
    PyObject *arguments = Py_BuildValue("(OIOOO)", (PyObject *)engine, (unsigned)slot, engine->initializer,
                                        engine->initargs, engine->maxtasks);
    PyObject *positional = PyTuple_Pack(1, engine->ctx);
    if (arguments == NULL || positional == NULL) goto out;
    keywords = Py_BuildValue("{sOsO}", "target", state->worker_function, "args", arguments);
    if (keywords == NULL) goto out;
    process = PyObject_Call(engine->process_factory, positional, keywords);
    if (process == NULL) goto out;
    if (name_worker(state, process) < 0 || PyObject_SetAttr(process, state->str.daemon, Py_True) < 0) Py_CLEAR(process);
out:
    Py_XDECREF(arguments);
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
    return process;
}

struct recruit {
    PyObject *process; /* NULL: no more */
    uint32_t slot;
};

static int recruit(struct cmpy_engine *engine, struct recruit *recruit)
{
    if (cmp_pooltable_open(engine->table, &recruit->slot) < 0) {
        PyErr_Format(PyExc_RuntimeError, "a pool made for its size has no room for more than %u workers",
                     (unsigned)engine->nslots);
        return -1;
    }
    recruit->process = make_process(engine, recruit->slot);
    if (recruit->process == NULL) cmp_pooltable_close(engine->table, recruit->slot);
    return recruit->process == NULL ? -1 : 0;
}

static bool wants_starts(const struct cmpy_engine *engine)
{
    return engine->pool_state != CMPY_POOL_TERMINATE && engine->last_words == NULL && !engine->finished;
}

/* A process whose start() failed, or which nobody wants any more by now, may run all the same. */
static void undo_start(struct cmpy_state *state, PyObject *process)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (cmpy_process_exitcode(state, process) == INT_MIN) cmpy_process_tell(process, state->str.kill);
    PyErr_Clear();
    PyErr_Restore(type, value, trace);
}

static int start_one(struct cmpy_engine *engine, struct recruit *recruit)
{
    struct cmpy_state *state = engine->state;
    struct cmpy_worker *worker = &engine->workers[recruit->slot];
    PyObject *process = recruit->process;
    PyObject *started = PyObject_CallMethodNoArgs(process, state->str.start);
    if (started == NULL) {
        undo_start(state, process);
        return -1;
    }
    Py_DECREF(started);
    /* In the books before any other thread can look: who ends the pool meanwhile finds it there, and the supervisor, if
     * it has ended by then, may take it off again. */
    recruit->process = NULL;
    *worker = (struct cmpy_worker){.process = Py_NewRef(process), .fd = -1};
    int code = PyList_Append(engine->pool_list, process);
    int fd = cmpy_process_sentinel(state, process), pid = cmpy_process_pid(state, process);
    if (worker->process == process) {
        worker->fd = fd;
        worker->fd_identity = cmp_identity_of(fd);
        worker->pid = pid;
    }
    if (PyErr_Occurred()) code = -1; /* a signal handler's */
    if (code < 0 || !wants_starts(engine)) undo_start(state, process);
    Py_DECREF(process);
    return code;
}

/* A process whose start() failed may have run all the same: one that undo_start has just killed, or that of a fork
 * server which was killed before it had told of it, and which is gone by now (cmp/launchers.py). Where it got as far
 * as the queue it may have taken a task, or the wake-up meant for another, so its end counts as any worker's. */
static void enter_failed(struct cmpy_engine *engine, struct recruit *recruit)
{
    struct cmpy_state *state = engine->state;
    struct cmpy_worker worker = {.process = recruit->process, .fd = -1, .ended_ns = cmp_now_ns()};
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    worker.pid = cmpy_process_pid(state, worker.process);
    worker.exitcode = worker.pid == 0 ? CMPY_UNKNOWN_END : cmpy_process_exitcode(state, worker.process);
    worker.ended = worker.exitcode != INT_MIN;
    PyErr_Clear();
    PyErr_Restore(type, value, trace);
    bool has_worked = cmp_load(&engine->table->slots[recruit->slot].life, relaxed) == CMP_WORKER_READY;
    if (worker.ended && !has_worked) return;
    engine->workers[recruit->slot] = worker;
    engine->nended += worker.ended;
    recruit->process = NULL;
}

/* All are made before the first is started: what the parent writes to between two forks it pays for by the page. */
static int start_some(struct cmpy_engine *engine, Py_ssize_t n)
{
    struct recruit recruits[RECRUITS] = {{NULL, 0}};
    int code = 0;
    engine->starting += n;
    for (Py_ssize_t i = 0; i < n && code == 0; i++) code = recruit(engine, &recruits[i]);
    for (Py_ssize_t i = 0; i < n && code == 0 && wants_starts(engine); i++) {
        code = start_one(engine, &recruits[i]);
        if (code < 0 && recruits[i].process != NULL) enter_failed(engine, &recruits[i]);
    }
    engine->starting -= n;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (recruits[i].process == NULL) continue;
        Py_DECREF(recruits[i].process);
        cmp_pooltable_close(engine->table, recruits[i].slot);
    }
    return code;
}

/* Those of a closed pool stay in Pool._pool when they end, until one has to be replaced all the same. */
static void drop_ended(struct cmpy_engine *engine)
{
    PyObject *list = Py_NewRef(engine->pool_list);
    for (Py_ssize_t i = PyList_GET_SIZE(list); i-- > 0;) {
        if (i >= PyList_GET_SIZE(list)) continue;
        PyObject *process = Py_NewRef(PyList_GET_ITEM(list, i));
        bool ended = cmpy_process_exitcode(engine->state, process) != INT_MIN; /* which may be anybody's code */
        if (ended && i < PyList_GET_SIZE(list) && PyList_GET_ITEM(list, i) == process)
            (void)PyList_SetSlice(list, i, i + 1, NULL);
        Py_DECREF(process);
    }
    Py_DECREF(list);
    PyErr_Clear();
}

Py_ssize_t cmpy_recruit_missing(const struct cmpy_engine *engine)
{
    Py_ssize_t missing = engine->nprocesses - engine->starting;
    for (uint32_t i = 0; i < engine->nslots; i++)
        missing -= engine->workers[i].process != NULL && !engine->workers[i].ended;
    return missing;
}

int cmpy_recruit_fill(struct cmpy_engine *engine)
{
    Py_ssize_t missing;
    while ((missing = cmpy_recruit_missing(engine)) > 0 && wants_starts(engine)) {
        if (PyList_GET_SIZE(engine->pool_list) + missing > engine->nprocesses) drop_ended(engine);
        if (!wants_starts(engine)) break; /* ended meanwhile */
        if (start_some(engine, missing < RECRUITS ? missing : RECRUITS) < 0) return -1;
    }
    return 0;
}
