#include "py/roster.h"

#include "os/clock.h"
#include "os/identity.h"
#include "py/lead.h"
#include "py/parcel.h"
#include "py/processes.h"
#include "py/supervisor.h"
#include "shm/sweep.h"

#include <errno.h>
#include <signal.h>

#define RECRUITS 16 /* made at a time */
#define FIRST_BRAKE_NS (10 * CMP_MS)
#define LAST_BRAKE_NS (500 * CMP_MS)
#define KILLED_PATIENCE 6
#define UNKNOWN_END 255 /* of who was reaped by others, or ended with its fork server */
/* No exit codes: of who could not be started, for want of something or since a fork server was killed; or otherwise. */
#define NOT_STARTED_NOW (INT_MIN + 1)
#define NOT_STARTED (INT_MIN + 2)
#define LOOK_AGAIN_NS (20 * CMP_MS)

/* --- starting --- */

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
    worker.exitcode = worker.pid == 0 ? UNKNOWN_END : cmpy_process_exitcode(state, worker.process);
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

static Py_ssize_t count_missing(const struct cmpy_engine *engine)
{
    Py_ssize_t missing = engine->nprocesses - engine->starting;
    for (uint32_t i = 0; i < engine->nslots; i++)
        missing -= engine->workers[i].process != NULL && !engine->workers[i].ended;
    return missing;
}

int cmpy_roster_fill(struct cmpy_engine *engine)
{
    Py_ssize_t missing;
    while ((missing = count_missing(engine)) > 0 && wants_starts(engine)) {
        if (PyList_GET_SIZE(engine->pool_list) + missing > engine->nprocesses) drop_ended(engine);
        if (!wants_starts(engine)) break; /* ended meanwhile */
        if (start_some(engine, missing < RECRUITS ? missing : RECRUITS) < 0) return -1;
    }
    return 0;
}

Py_ssize_t cmpy_roster_count(const struct cmpy_engine *engine)
{
    return (Py_ssize_t)engine->nslots;
}

Py_ssize_t cmpy_roster_poll(const struct cmpy_engine *engine, struct pollfd *entries)
{
    Py_ssize_t n = 0;
    for (uint32_t i = 0; i < engine->nslots; i++) {
        const struct cmpy_worker *worker = &engine->workers[i];
        if (worker->process == NULL || worker->ended || worker->fd < 0) continue;
        entries[n++] = (struct pollfd){.fd = worker->fd, .events = POLLIN};
    }
    return n;
}

/* --- ending --- */

static bool wants_workers(const struct cmpy_engine *engine)
{
    if (engine->last_words != NULL || engine->pool_state == CMPY_POOL_TERMINATE) return false;
    /* A closed pool's workers leave when there is nothing to take. What is out then has its worker. */
    return engine->pool_state == CMPY_POOL_RUN || PyList_GET_SIZE(engine->feeds) > 0
        || cmp_queue_size(&engine->tasks) > 0;
}

/* Out of the books at once; out of Pool._pool to make room for another, as in the stdlib: the list of a pool that has
 * ended, and with it its repr, stays as it was. */
static void forget(struct cmpy_engine *engine, PyObject *process)
{
    cmpy_process_tell(process, engine->state->str.join); /* it has ended: this does not wait */
    if (!wants_workers(engine)) return;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(engine->pool_list); i++) {
        if (PyList_GET_ITEM(engine->pool_list, i) != process) continue;
        (void)PyList_SetSlice(engine->pool_list, i, i + 1, NULL);
        break;
    }
    PyErr_Clear();
}

static bool someone_is_ready(const struct cmpy_engine *engine)
{
    for (uint32_t i = 0; i < engine->nslots; i++)
        if (engine->workers[i].process != NULL && !engine->workers[i].ended &&
            cmp_load(&engine->table->slots[i].life, relaxed) == CMP_WORKER_READY)
            return true;
    return false;
}

static void give_up(struct cmpy_engine *engine, int exitcode)
{
    if (engine->last_words != NULL) return;
    const char *what = "its workers die one after the other before their initializer is done";
    if (exitcode == NOT_STARTED_NOW || exitcode == NOT_STARTED)
        engine->last_words = PyUnicode_FromString("the pool gave up: its workers cannot be started");
    else if (exitcode < 0)
        engine->last_words = PyUnicode_FromFormat("the pool gave up: %s (the last one by signal %d)", what, -exitcode);
    else
        engine->last_words = PyUnicode_FromFormat("the pool gave up: %s (the last one with exit code %d)", what,
                                                  exitcode);
    if (engine->last_words == NULL) PyErr_Clear();
    cmpy_engine_end_all(engine, engine->last_words);
}

static void brake(struct cmpy_engine *engine, int exitcode)
{
    unsigned size = engine->nprocesses < INT_MAX / 2 ? (unsigned)engine->nprocesses : INT_MAX / 2;
    uint64_t limit = 2 * size > CMPY_BARREN_LIMIT ? 2 * size : CMPY_BARREN_LIMIT;
    /* Somebody outside who kills at random hits starting workers too: the more so where a start takes long, and several
     * at once where it was their fork server, to which none can be sent then. */
    bool from_outside = exitcode == -SIGKILL || exitcode == -SIGTERM || exitcode == UNKNOWN_END
                        || exitcode == NOT_STARTED_NOW;
    engine->barren++;
    engine->guilt += from_outside ? 1 : KILLED_PATIENCE;
    if (engine->guilt >= limit * KILLED_PATIENCE && !someone_is_ready(engine)) {
        give_up(engine, exitcode);
        return;
    }
    if (engine->barren < size) return;
    unsigned doublings = engine->barren - size < 10 ? engine->barren - size : 10;
    int64_t pause_ns = FIRST_BRAKE_NS << doublings;
    engine->next_start_ns = cmp_now_ns() + (pause_ns < LAST_BRAKE_NS ? pause_ns : LAST_BRAKE_NS);
}

static void note_end(struct cmpy_engine *engine, uint32_t slot, int exitcode)
{
    struct cmpy_worker *worker = &engine->workers[slot];
    worker->ended = true;
    worker->exitcode = exitcode;
    worker->ended_ns = cmp_now_ns();
    engine->nended++;
    forget(engine, worker->process);
    if (engine->pool_state == CMPY_POOL_TERMINATE) return;
    if (cmp_load(&engine->table->slots[slot].life, relaxed) == CMP_WORKER_READY) engine->barren = engine->guilt = 0;
    else brake(engine, exitcode);
}

/* Who has ended since the last look? */
static void look(struct cmpy_engine *engine, int64_t *again_ns)
{
    for (uint32_t i = 0; i < engine->nslots; i++) {
        struct cmpy_worker *worker = &engine->workers[i];
        if (worker->process == NULL || worker->ended) continue;
        /* A program that closes all descriptors may have got the number again, for something that is never readable. */
        if (worker->fd >= 0 && cmp_identity_is(worker->fd, worker->fd_identity)) {
            struct pollfd entry = {.fd = worker->fd, .events = POLLIN};
            if (poll(&entry, 1, 0) == 0) continue;
        }
        PyObject *process = Py_NewRef(worker->process);
        int exitcode = cmpy_process_exitcode(engine->state, process);
        if (exitcode != INT_MIN) {
            note_end(engine, i, exitcode);
        } else {
            /* Alive, and its sentinel a pipe whose other end was closed, or a number that is something else by now. */
            int64_t soon_ns = cmp_now_ns() + LOOK_AGAIN_NS;
            worker->fd = -1;
            if (soon_ns < *again_ns) *again_ns = soon_ns;
        }
        Py_DECREF(process);
    }
}

static void lose(struct cmpy_engine *engine, const struct cmpy_worker *worker, struct cmpy_task *task, int64_t since_ns)
{
    struct cmpy_parcel *parcel = cmpy_parcel_make(CMPY_PARCEL_LOST, Py_XNewRef(task->job->function));
    int64_t ran_ns = since_ns == 0 ? 0 : worker->ended_ns - since_ns; /* 0: taken, and not yet begun */
    parcel->pid = worker->pid;
    parcel->exitcode = worker->exitcode;
    parcel->seconds = ran_ns > 0 ? (double)ran_ns / 1e9 : 0;
    cmpy_engine_answer(engine, task, parcel);
}

/* `head`: of the task queue, read after the worker's death. */
static void settle_one(struct cmpy_engine *engine, uint32_t slot, uint64_t head)
{
    struct cmpy_worker *worker = &engine->workers[slot];
    struct cmpy_task task;
    uint32_t lost = cmp_pooltable_lost(engine->table, slot, head);
    worker->settled = true;
    engine->nended--;
    if (lost != 0 && cmpy_tasks_remove(&engine->book, lost, &task))
        lose(engine, worker, &task, cmp_load(&engine->table->slots[slot].since_ns, relaxed));
}

/* Only here, in the supervisor's thread: with a process object go weak references, whose callbacks are Python code, and
 * a Ctrl-C that the main thread notices in there is lost. */
static void free_settled(struct cmpy_engine *engine)
{
    for (uint32_t i = 0; i < engine->nslots; i++) {
        if (!engine->workers[i].settled) continue;
        PyObject *process = engine->workers[i].process;
        engine->workers[i] = (struct cmpy_worker){.fd = -1};
        cmp_pooltable_close(engine->table, i);
        Py_DECREF(process);
    }
}

struct death {
    uint32_t slot;
    int64_t ended_ns;
};

void cmpy_roster_settle(struct cmpy_engine *engine, void (*drain)(struct cmpy_engine *))
{
    /* Who ends from here on may have published after the drain: theirs is the next time. */
    struct death deaths[64];
    while (engine->nended > 0) {
        int n = 0;
        for (uint32_t i = 0; i < engine->nslots && n < 64; i++)
            if (engine->workers[i].ended && !engine->workers[i].settled)
                deaths[n++] = (struct death){i, engine->workers[i].ended_ns};
        Py_BEGIN_ALLOW_THREADS
        /* A lock that the dead one held is repaired now, or will be by who holds it: no judgement rests on that. */
        if (cmp_queue_freeze(&engine->tasks) == 0) cmp_queue_thaw(&engine->tasks);
        /* A wake-up may have died with the one it was meant for. */
        if (cmp_queue_size(&engine->tasks) > 0) cmp_queue_disturb(&engine->tasks);
        (void)cmp_sweep_dead(&engine->segment);
        Py_END_ALLOW_THREADS
        uint64_t published = cmp_queue_tail(&engine->results);
        drain(engine);
        /* One that stands still in a sweep holds the results' lock: what is published there counts all the same. */
        if ((int64_t)(cmp_queue_head(&engine->results) - published) < 0) return;
        uint64_t head = cmp_queue_head(&engine->tasks);
        for (int i = 0; i < n; i++) {
            /* A finalizer that ran in the drain may have waited, led, and settled this death. */
            const struct cmpy_worker *worker = &engine->workers[deaths[i].slot];
            if (worker->ended && !worker->settled && worker->ended_ns == deaths[i].ended_ns)
                settle_one(engine, deaths[i].slot, head);
        }
        cmpy_supervisor_kick(); /* it frees the slots, and judges whether the pool is over now */
    }
}

static void replace(struct cmpy_engine *engine, int64_t *again_ns)
{
    if (!wants_workers(engine) || count_missing(engine) <= 0) return;
    int64_t now_ns = cmp_now_ns();
    if (now_ns < engine->next_start_ns) {
        if (engine->next_start_ns < *again_ns) *again_ns = engine->next_start_ns;
        return;
    }
    if (cmpy_roster_fill(engine) == 0) return;
    /* No process, no memory, no descriptor: like a worker that died at once, and braked the same way. */
    bool may_pass = PyErr_ExceptionMatches(PyExc_OSError) || PyErr_ExceptionMatches(PyExc_EOFError);
    PyErr_WriteUnraisable(engine->process_factory);
    brake(engine, may_pass ? NOT_STARTED_NOW : NOT_STARTED);
    if (engine->next_start_ns < now_ns + FIRST_BRAKE_NS) engine->next_start_ns = now_ns + FIRST_BRAKE_NS;
    if (engine->next_start_ns < *again_ns) *again_ns = engine->next_start_ns;
}

void cmpy_roster_tend(struct cmpy_engine *engine, int64_t *again_ns)
{
    if (!engine->open) return;
    engine->pins++;
    look(engine, again_ns);
    if (engine->nended > 0) {
        if (engine->led) cmpy_lead_news(engine); /* the leader settles it */
        else cmpy_lead_drain(engine);
        int64_t soon_ns = cmp_now_ns() + LOOK_AGAIN_NS;
        if (engine->nended > 0 && soon_ns < *again_ns) *again_ns = soon_ns;
    }
    free_settled(engine);
    replace(engine, again_ns);
    cmpy_engine_unpin(engine);
}
