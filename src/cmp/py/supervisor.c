#include "py/supervisor.h"

#include "os/clock.h"
#include "os/eventfd.h"
#include "os/forkepoch.h"
#include "py/errors.h"
#include "py/feeder.h"
#include "py/roster.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#define COALESCE_NS (20 * CMP_MS)

/* One per process, so no part of a module's state. No PyObject of a parent is touched after a fork. */
static struct {
    uint32_t epoch;
    int wake_fd;
    int reserved;                     /* pools that have the eventfd's number and are not adopted yet */
    bool running;
    unsigned long thread;
    struct cmpy_engine *engines;      /* strong */
    struct cmpy_job *called, **last;  /* strong; who is to be called back, in order */
} supervisor = {.wake_fd = -1};

/* After a fork: nothing of the parent's. What its lists held stays as it was, for ever. */
static void be_ours(void)
{
    if (supervisor.epoch == cmp_fork_epoch()) return;
    if (supervisor.wake_fd >= 0) close(supervisor.wake_fd);
    supervisor.epoch = cmp_fork_epoch();
    supervisor.wake_fd = -1;
    supervisor.reserved = 0;
    supervisor.running = false;
    supervisor.engines = NULL;
    supervisor.called = NULL;
    supervisor.last = &supervisor.called;
}

int cmpy_supervisor_reserve(void)
{
    be_ours();
    if (supervisor.wake_fd < 0) {
        int code = cmp_eventfd_create(&supervisor.wake_fd);
        if (code < 0) {
            supervisor.wake_fd = -1;
            cmpy_raise("Pool", code);
            return -1;
        }
    }
    supervisor.reserved++;
    return supervisor.wake_fd;
}

static void close_if_idle(void)
{
    if (supervisor.reserved > 0 || supervisor.running || supervisor.wake_fd < 0) return;
    close(supervisor.wake_fd);
    supervisor.wake_fd = -1;
}

void cmpy_supervisor_unreserve(void)
{
    supervisor.reserved--;
    close_if_idle();
}

int cmpy_start_thread(struct cmpy_state *state, const char *name, PyObject *function)
{
    PyObject *type = PyDict_GetItemString(state->threading_globals, "Thread"), *thread = NULL, *started = NULL;
    PyObject *keywords = type == NULL ? NULL : Py_BuildValue("{sssOsO}", "name", name, "target", function,
                                                             "daemon", Py_True);
    PyObject *none = PyTuple_New(0);
    if (keywords != NULL && none != NULL) thread = PyObject_Call(type, none, keywords);
    if (thread != NULL) started = PyObject_CallMethod(thread, "start", NULL);
    Py_XDECREF(keywords);
    Py_XDECREF(none);
    Py_XDECREF(thread);
    if (started == NULL) return -1;
    Py_DECREF(started);
    return 0;
}

int cmpy_supervisor_adopt(struct cmpy_engine *engine)
{
    be_ours();
    Py_INCREF(engine);
    engine->next = supervisor.engines;
    supervisor.engines = engine;
    if (supervisor.running) {
        cmpy_supervisor_kick();
    } else {
        supervisor.running = true;
        if (cmpy_start_thread(engine->state, "cmp-pool-supervisor", engine->state->supervise_function) < 0) {
            supervisor.running = false;
            supervisor.engines = engine->next;
            Py_DECREF(engine);
            return -1;
        }
    }
    supervisor.reserved--;
    return 0;
}

void cmpy_supervisor_kick(void)
{
    if (supervisor.running && supervisor.epoch == cmp_fork_epoch()) cmp_eventfd_raise(supervisor.wake_fd);
}

void cmpy_supervisor_want(struct cmpy_engine *engine)
{
    if (!engine->wanted || !engine->open) return; /* it is about, and looks by itself before it sleeps */
    cmp_pooltable_want(engine->table);
    if (cmp_queue_size(&engine->results) > 0) cmpy_supervisor_kick();
}

void cmpy_supervisor_unwant(struct cmpy_engine *engine)
{
    if (engine->wanted && engine->open) cmp_pooltable_unwant(engine->table);
}

void cmpy_supervisor_call_back(struct cmpy_job *job)
{
    Py_INCREF(job);
    job->next_called = NULL;
    *supervisor.last = job;
    supervisor.last = &job->next_called;
    cmpy_supervisor_kick();
}

bool cmpy_supervisor_is_me(void)
{
    return supervisor.running && supervisor.epoch == cmp_fork_epoch() &&
           supervisor.thread == PyThread_get_thread_ident();
}

/* --- the thread --- */

static void run_callbacks(void)
{
    while (supervisor.called != NULL) {
        struct cmpy_job *job = supervisor.called;
        supervisor.called = job->next_called;
        if (supervisor.called == NULL) supervisor.last = &supervisor.called;
        job->next_called = NULL;
        job->kind->call_back(job);
        cmpy_job_finish(job);
        Py_DECREF(job);
    }
}

/* A closed pool whose work is done sends its workers home; one without workers is over. */
static bool is_over(struct cmpy_engine *engine)
{
    if (engine->pool_state == CMPY_POOL_RUN || engine->starting > 0) return false;
    if (cmpy_engine_busy(engine)) return false;
    for (uint32_t i = 0; i < engine->nslots; i++)
        if (engine->workers[i].process != NULL) return false;
    return true;
}

static void send_home(struct cmpy_engine *engine)
{
    if (engine->pool_state != CMPY_POOL_CLOSE || PyList_GET_SIZE(engine->feeds) > 0 || !engine->open) return;
    Py_BEGIN_ALLOW_THREADS
    (void)cmp_queue_shutdown(&engine->tasks, false, cmp_now_ns() + COALESCE_NS);
    Py_END_ALLOW_THREADS
}

/* One look at one pool. */
static void attend(struct cmpy_engine *engine, int64_t *again_ns)
{
    cmpy_roster_tend(engine, again_ns);
    size_t before = engine->book.count;
    if (cmpy_engine_drain(engine) < 0) PyErr_WriteUnraisable(NULL);
    if (engine->book.count != before) engine->coalesce_until_ns = cmp_now_ns() + COALESCE_NS;
    cmpy_feeds_advance(engine);
    engine->pins++;
    send_home(engine);
    cmpy_engine_unpin(engine);
}

static void bury(void)
{
    for (struct cmpy_engine **at = &supervisor.engines; *at != NULL;) {
        struct cmpy_engine *engine = *at;
        if (!is_over(engine)) {
            at = &engine->next;
            continue;
        }
        *at = engine->next;
        Py_CLEAR(engine->initializer);
        Py_CLEAR(engine->initargs);
        cmpy_engine_finish(engine);
        Py_DECREF(engine);
    }
}

/* Asks the workers of pools that nobody waits for, but where results come thick, so that many are taken at a time, or lie
 * where this process cannot map them. False: something is there already. */
static bool listen(int64_t *again_ns)
{
    int64_t now_ns = cmp_now_ns();
    for (struct cmpy_engine *engine = supervisor.engines; engine != NULL; engine = engine->next) {
        int64_t until_ns = engine->ncallbacks > 0 ? 0 : engine->coalesce_until_ns;
        if (until_ns < engine->blind_until_ns) until_ns = engine->blind_until_ns;
        engine->wanted = now_ns >= until_ns;
        if (!engine->open || engine->led || engine->nreturning > 0 || engine->book.count == 0) continue;
        if (!engine->wanted) {
            if (until_ns < *again_ns) *again_ns = until_ns;
            continue;
        }
        cmp_pooltable_want(engine->table);
        if (cmp_queue_size(&engine->results) == 0) continue;
        cmp_pooltable_unwant(engine->table);
        return false;
    }
    return true;
}

static void hear(void)
{
    for (struct cmpy_engine *engine = supervisor.engines; engine != NULL; engine = engine->next) engine->wanted = false;
}

/* Sleeps until something happens, or *again_ns. */
static void sleep_until(int64_t again_ns)
{
    Py_ssize_t room = 1;
    for (struct cmpy_engine *engine = supervisor.engines; engine != NULL; engine = engine->next)
        room += cmpy_roster_count(engine);
    struct pollfd *entries = PyMem_RawMalloc((size_t)room * sizeof *entries);
    struct pollfd only;
    if (entries == NULL) entries = &only;
    nfds_t n = 0;
    entries[n++] = (struct pollfd){.fd = supervisor.wake_fd, .events = POLLIN};
    if (entries != &only)
        for (struct cmpy_engine *engine = supervisor.engines; engine != NULL; engine = engine->next)
            n += (nfds_t)cmpy_roster_poll(engine, entries + n);
    Py_BEGIN_ALLOW_THREADS
    int timeout_ms = entries == &only ? 50 : -1;
    if (again_ns != INT64_MAX) {
        int64_t left_ns = again_ns - cmp_now_ns();
        timeout_ms = left_ns <= 0 ? 0 : (int)(left_ns / CMP_MS) + 1;
    }
    (void)poll(entries, n, timeout_ms);
    if (entries[0].revents != 0) cmp_eventfd_lower(supervisor.wake_fd);
    Py_END_ALLOW_THREADS
    if (entries != &only) PyMem_RawFree(entries);
}

static PyObject *supervise(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    supervisor.thread = PyThread_get_thread_ident();
    while (supervisor.engines != NULL) {
        int64_t again_ns = INT64_MAX;
        run_callbacks();
        for (struct cmpy_engine *engine = supervisor.engines, *next; engine != NULL; engine = next) {
            Py_INCREF(engine); /* Python code runs: others may come to the list, this thread alone takes off it */
            attend(engine, &again_ns);
            next = engine->next;
            Py_DECREF(engine);
        }
        if (supervisor.called != NULL) continue;
        bury();
        if (supervisor.engines == NULL) break;
        if (listen(&again_ns)) sleep_until(again_ns);
        hear();
    }
    supervisor.running = false;
    close_if_idle();
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_supervise", supervise, METH_NOARGS, "The thread that looks after this process's pools."},
    {NULL, NULL, 0, NULL},
};

int cmpy_supervisor_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    supervisor.last = &supervisor.called;
    if (PyModule_AddFunctions(module, functions) < 0) return -1;
    state->supervise_function = PyObject_GetAttrString(module, "_supervise");
    return state->supervise_function == NULL ? -1 : 0;
}
