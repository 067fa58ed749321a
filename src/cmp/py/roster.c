#include "py/roster.h"

#include "os/clock.h"
#include "os/identity.h"
#include "py/lead.h"
#include "py/parcel.h"
#include "py/processes.h"
#include "py/recruit.h"
#include "py/supervisor.h"
#include "shm/sweep.h"

#include <errno.h>
#include <signal.h>

#define FIRST_BRAKE_NS (10 * CMP_MS)
#define LAST_BRAKE_NS (500 * CMP_MS)
#define KILLED_PATIENCE 6
/* No exit codes: of who could not be started, for want of something or since a fork server was killed; or otherwise. */
#define NOT_STARTED_NOW (INT_MIN + 1)
#define NOT_STARTED (INT_MIN + 2)
#define LOOK_AGAIN_NS (20 * CMP_MS)

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
    bool from_outside = exitcode == -SIGKILL || exitcode == -SIGTERM || exitcode == CMPY_UNKNOWN_END
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
    if (!wants_workers(engine) || cmpy_recruit_missing(engine) <= 0) return;
    int64_t now_ns = cmp_now_ns();
    if (now_ns < engine->next_start_ns) {
        if (engine->next_start_ns < *again_ns) *again_ns = engine->next_start_ns;
        return;
    }
    if (cmpy_recruit_fill(engine) == 0) return;
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
