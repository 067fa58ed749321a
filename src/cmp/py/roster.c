#include "py/roster.h"

#include "os/clock.h"
#include "py/parcel.h"
#include "py/supervisor.h"
#include "shm/sweep.h"

#include <errno.h>
#include <signal.h>

#define RECRUITS 16 /* made at a time */
#define FIRST_BRAKE_NS (10 * CMP_MS)
#define LAST_BRAKE_NS (500 * CMP_MS)
#define PATIENCE_NS (800 * CMP_MS) /* between SIGTERM and SIGKILL */
#define KILLED_PATIENCE 6
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

/* The descriptor that becomes readable when it ends; -1 where a process has none. */
static int sentinel_of(struct cmpy_state *state, PyObject *process)
{
    PyObject *sentinel = PyObject_GetAttr(process, state->str.sentinel);
    int fd = sentinel != NULL && PyLong_Check(sentinel) ? (int)PyLong_AsLong(sentinel) : -1;
    Py_XDECREF(sentinel);
    PyErr_Clear();
    return fd;
}

static int pid_of(struct cmpy_state *state, PyObject *process)
{
    PyObject *pid = PyObject_GetAttr(process, state->str.pid);
    int number = pid != NULL && PyLong_Check(pid) ? (int)PyLong_AsLong(pid) : 0;
    Py_XDECREF(pid);
    PyErr_Clear();
    return number;
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

static int start_one(struct cmpy_engine *engine, struct recruit *recruit)
{
    struct cmpy_state *state = engine->state;
    engine->starting++;
    PyObject *started = PyObject_CallMethodNoArgs(recruit->process, state->str.start);
    engine->starting--;
    if (started == NULL) return -1;
    Py_DECREF(started);
    if (PyList_Append(engine->pool_list, recruit->process) < 0) return -1;
    engine->workers[recruit->slot] = (struct cmpy_worker){
        .process = recruit->process, .fd = sentinel_of(state, recruit->process), .pid = pid_of(state, recruit->process)};
    recruit->process = NULL;
    return 0;
}

/* All are made before the first is started: what the parent writes to between two forks it pays for by the page. */
static int start_some(struct cmpy_engine *engine, Py_ssize_t n)
{
    struct recruit recruits[RECRUITS] = {{NULL, 0}};
    int code = 0;
    for (Py_ssize_t i = 0; i < n && code == 0; i++) code = recruit(engine, &recruits[i]);
    for (Py_ssize_t i = 0; i < n && code == 0; i++) code = start_one(engine, &recruits[i]);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (recruits[i].process == NULL) continue;
        Py_DECREF(recruits[i].process);
        cmp_pooltable_close(engine->table, recruits[i].slot);
    }
    return code;
}

int cmpy_roster_fill(struct cmpy_engine *engine)
{
    Py_ssize_t missing;
    while ((missing = engine->nprocesses - PyList_GET_SIZE(engine->pool_list)) > 0)
        if (start_some(engine, missing < RECRUITS ? missing : RECRUITS) < 0) return -1;
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

/* The exit code, INT_MIN while it lives. A process object that cannot say any more counts as ended. */
static int exitcode_of(PyObject *process)
{
    PyObject *exitcode = PyObject_GetAttrString(process, "exitcode");
    int code = INT_MIN;
    if (exitcode == NULL) code = 255;
    else if (exitcode != Py_None) code = (int)PyLong_AsLong(exitcode);
    Py_XDECREF(exitcode);
    PyErr_Clear();
    return code;
}

static bool wants_workers(const struct cmpy_engine *engine)
{
    if (engine->last_words != NULL || engine->pool_state == CMPY_POOL_TERMINATE) return false;
    /* A closed pool's workers leave when there is nothing to take. What is out then has its worker. */
    return engine->pool_state == CMPY_POOL_RUN || PyList_GET_SIZE(engine->feeds) > 0 || cmp_queue_size(&engine->tasks) > 0;
}

/* Out of the books at once; out of Pool._pool to make room for another, as in the stdlib: the list of a pool that has
 * ended, and with it its repr, stays as it was. */
static void forget(struct cmpy_engine *engine, PyObject *process)
{
    PyObject *joined = PyObject_CallMethod(process, "join", NULL); /* it has ended: this does not wait */
    Py_XDECREF(joined);
    PyErr_Clear();
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

static void give_up(struct cmpy_engine *engine, const char *what, int exitcode)
{
    if (engine->last_words != NULL) return;
    engine->last_words = exitcode < 0
        ? PyUnicode_FromFormat("the pool gave up: %s (the last one by signal %d)", what, -exitcode)
        : PyUnicode_FromFormat("the pool gave up: %s (the last one with exit code %d)", what, exitcode);
    if (engine->last_words == NULL) PyErr_Clear();
    cmpy_engine_end_all(engine, engine->last_words);
}

static void brake(struct cmpy_engine *engine, int exitcode)
{
    unsigned size = engine->nprocesses < INT_MAX / 2 ? (unsigned)engine->nprocesses : INT_MAX / 2;
    unsigned limit = 2 * size > CMPY_BARREN_LIMIT ? 2 * size : CMPY_BARREN_LIMIT;
    /* Somebody outside who kills at random hits starting workers too: the more so where a start takes long. */
    if (exitcode == -SIGKILL || exitcode == -SIGTERM) limit *= KILLED_PATIENCE;
    engine->barren++;
    if (engine->barren >= limit && !someone_is_ready(engine)) {
        give_up(engine, "its workers die one after the other before their initializer is done", exitcode);
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
    if (cmp_load(&engine->table->slots[slot].life, relaxed) == CMP_WORKER_READY) engine->barren = 0;
    else brake(engine, exitcode);
}

/* Who has ended since the last look? */
static void look(struct cmpy_engine *engine, int64_t *again_ns)
{
    for (uint32_t i = 0; i < engine->nslots; i++) {
        struct cmpy_worker *worker = &engine->workers[i];
        if (worker->process == NULL || worker->ended) continue;
        if (worker->fd >= 0) {
            struct pollfd entry = {.fd = worker->fd, .events = POLLIN};
            if (poll(&entry, 1, 0) == 0) continue;
        }
        PyObject *process = Py_NewRef(worker->process);
        int exitcode = exitcode_of(process);
        if (exitcode != INT_MIN) {
            note_end(engine, i, exitcode);
        } else {
            /* Readable, yet alive: a pipe whose other end was closed, or a number that is something else by now. */
            int64_t soon_ns = cmp_now_ns() + LOOK_AGAIN_NS;
            worker->fd = -1;
            if (soon_ns < *again_ns) *again_ns = soon_ns;
        }
        Py_DECREF(process);
    }
}

/* `head`: of the task queue, read after the worker's death. */
static void settle_one(struct cmpy_engine *engine, uint32_t slot, uint64_t head)
{
    struct cmpy_worker *worker = &engine->workers[slot];
    const struct cmp_worker_shm *shm = &engine->table->slots[slot];
    struct cmpy_task task;
    uint32_t lost = cmp_pooltable_lost(engine->table, slot, head);
    if (lost != 0 && cmpy_tasks_remove(&engine->book, lost, &task)) {
        struct cmpy_parcel *parcel = cmpy_parcel_make(CMPY_PARCEL_LOST, Py_XNewRef(task.job->function));
        engine->out_kib -= task.kib;
        if (parcel != NULL) {
            int64_t ran_ns = worker->ended_ns - cmp_load(&shm->since_ns, relaxed);
            parcel->pid = worker->pid;
            parcel->exitcode = worker->exitcode;
            parcel->seconds = ran_ns > 0 ? (double)ran_ns / 1e9 : 0;
            parcel->position = task.position;
            task.job->kind->receive(task.job, parcel);
        } else {
            PyErr_WriteUnraisable(NULL);
        }
        Py_DECREF(task.job);
    }
    worker->settled = true;
    engine->nended--;
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

int cmpy_roster_settle(struct cmpy_engine *engine, int (*drain)(struct cmpy_engine *))
{
    /* Who ends from here on may have published after the drain: theirs is the next time. */
    uint32_t slots[64];
    while (engine->nended > 0) {
        int n = 0;
        for (uint32_t i = 0; i < engine->nslots && n < 64; i++)
            if (engine->workers[i].ended && !engine->workers[i].settled) slots[n++] = i;
        Py_BEGIN_ALLOW_THREADS
        /* A lock that the dead one held is repaired now, or will be by who holds it: no judgement rests on that. */
        if (cmp_queue_freeze(&engine->tasks) == 0) cmp_queue_thaw(&engine->tasks);
        (void)cmp_sweep_dead(&engine->segment);
        Py_END_ALLOW_THREADS
        uint64_t published = cmp_queue_tail(&engine->results);
        if (drain(engine) < 0) return -1;
        /* One that stands still in a sweep holds the results' lock: what is published there counts all the same. */
        if ((int64_t)(cmp_queue_head(&engine->results) - published) < 0) return 0;
        uint64_t head = cmp_queue_head(&engine->tasks);
        for (int i = 0; i < n; i++) settle_one(engine, slots[i], head);
        cmpy_supervisor_kick(); /* it frees the slots, and judges whether the pool is over now */
    }
    return 0;
}

static void replace(struct cmpy_engine *engine, int64_t *again_ns)
{
    if (!wants_workers(engine) || PyList_GET_SIZE(engine->pool_list) >= engine->nprocesses) return;
    int64_t now_ns = cmp_now_ns();
    if (now_ns < engine->next_start_ns) {
        if (engine->next_start_ns < *again_ns) *again_ns = engine->next_start_ns;
        return;
    }
    if (cmpy_roster_fill(engine) == 0) return;
    /* No process, no memory, no descriptor: like a worker that died at once, and braked the same way. */
    PyErr_WriteUnraisable(engine->process_factory);
    brake(engine, 0);
    if (engine->next_start_ns < now_ns + FIRST_BRAKE_NS) engine->next_start_ns = now_ns + FIRST_BRAKE_NS;
    if (engine->next_start_ns < *again_ns) *again_ns = engine->next_start_ns;
}

void cmpy_roster_tend(struct cmpy_engine *engine, int64_t *again_ns)
{
    if (!engine->open) return;
    engine->pins++;
    look(engine, again_ns);
    if (engine->nended > 0) {
        if (engine->led) cmpy_engine_news(engine); /* the leader settles it */
        else if (cmpy_engine_drain(engine) < 0) PyErr_WriteUnraisable(NULL);
        int64_t soon_ns = cmp_now_ns() + LOOK_AGAIN_NS;
        if (engine->nended > 0 && soon_ns < *again_ns) *again_ns = soon_ns;
    }
    free_settled(engine);
    replace(engine, again_ns);
    cmpy_engine_unpin(engine);
}

/* --- all of them --- */

static void tell(PyObject *process, const char *verb)
{
    PyObject *told = PyObject_CallMethod(process, verb, NULL);
    Py_XDECREF(told);
    PyErr_Clear();
}

/* Sleeps until all have ended or the deadline has come. */
static void wait_for_ends(struct cmpy_state *state, PyObject *processes, int64_t deadline_ns)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(processes); i++) {
        PyObject *process = PyList_GET_ITEM(processes, i);
        struct pollfd entry = {.fd = sentinel_of(state, process), .events = POLLIN};
        while (exitcode_of(process) == INT_MIN) {
            int64_t left_ns = deadline_ns - cmp_now_ns();
            if (left_ns <= 0) break;
            int timeout_ms = (int)(left_ns / CMP_MS) + 1;
            if (entry.fd < 0 && timeout_ms > 5) timeout_ms = 5;
            Py_BEGIN_ALLOW_THREADS
            (void)poll(&entry, entry.fd >= 0, timeout_ms);
            Py_END_ALLOW_THREADS
        }
    }
}

void cmpy_roster_end(struct cmpy_engine *engine)
{
    PyObject *processes = PyList_GetSlice(engine->pool_list, 0, PyList_GET_SIZE(engine->pool_list));
    if (processes == NULL) {
        PyErr_Clear();
        return;
    }
    static const char *const verbs[] = {"terminate", "kill"};
    for (int round = 0; round < 2; round++) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(processes); i++)
            if (exitcode_of(PyList_GET_ITEM(processes, i)) == INT_MIN) tell(PyList_GET_ITEM(processes, i), verbs[round]);
        wait_for_ends(engine->state, processes, cmp_now_ns() + PATIENCE_NS);
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(processes); i++) tell(PyList_GET_ITEM(processes, i), "join");
    Py_DECREF(processes);
}
