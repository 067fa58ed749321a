#include "py/ending.h"

#include "os/clock.h"
#include "py/lead.h"
#include "py/processes.h"
#include "py/supervisor.h"
#include "py/thread.h"

#include <limits.h>
#include <poll.h>

#define PATIENCE_NS (800 * CMP_MS) /* between SIGTERM and SIGKILL */
#define CALLBACKS_NS (5000 * CMP_MS)
#define SLICE_MS 100               /* a signal may come between two looks for signals and a sleep */
#define SHUTDOWN_NS (100 * CMP_MS)

/* The first exception of a signal handler's that came while the pool was ended, and how many there were. */
struct interruption {
    PyObject *type, *value, *trace;
    Py_ssize_t count;
};

static void note(struct interruption *interruption)
{
    if (!PyErr_Occurred()) return;
    interruption->count++;
    if (interruption->type == NULL) PyErr_Fetch(&interruption->type, &interruption->value, &interruption->trace);
    else PyErr_Clear();
}

static void look_for_signals(struct interruption *interruption)
{
    (void)PyErr_CheckSignals();
    note(interruption);
}

static void shut(struct cmpy_engine *engine)
{
    Py_BEGIN_ALLOW_THREADS
    (void)cmp_queue_shutdown(&engine->tasks, true, cmp_now_ns() + SHUTDOWN_NS);
    Py_END_ALLOW_THREADS
}

/* --- the workers --- */

static bool lives(struct cmpy_state *state, PyObject *process, struct interruption *interruption)
{
    int exitcode = cmpy_process_exitcode(state, process);
    note(interruption);
    return exitcode == INT_MIN;
}

static void tell(PyObject *process, PyObject *verb, struct interruption *interruption)
{
    cmpy_process_tell(process, verb);
    note(interruption);
}

/* What is done to each worker that was started and is not settled. */
struct round {
    PyObject *verb;
    int64_t deadline_ns;
    struct interruption *interruption;
};

static void signal_worker(struct cmpy_state *state, PyObject *process, const struct round *round)
{
    if (lives(state, process, round->interruption)) tell(process, round->verb, round->interruption);
}

/* Sleeps until it has ended, or the deadline has come. Stops at once when a signal handler raises, be it once more.
 * What has no sentinel is no process of ours, and need never say that it has ended: for that nobody waits for ever. */
static void await_worker(struct cmpy_state *state, PyObject *process, const struct round *round)
{
    struct interruption *interruption = round->interruption;
    int64_t deadline_ns = round->deadline_ns;
    Py_ssize_t before = interruption->count;
    struct pollfd entry = {.fd = cmpy_process_sentinel(state, process), .events = POLLIN};
    note(interruption);
    if (entry.fd < 0 && deadline_ns == INT64_MAX) return;
    while (lives(state, process, interruption) && interruption->count == before) {
        int64_t left_ns = deadline_ns - cmp_now_ns();
        if (left_ns <= 0) break;
        int timeout_ms = left_ns < SLICE_MS * CMP_MS ? (int)(left_ns / CMP_MS) + 1 : SLICE_MS;
        if (entry.fd < 0 && timeout_ms > 5) timeout_ms = 5;
        Py_BEGIN_ALLOW_THREADS
        (void)poll(&entry, entry.fd >= 0, timeout_ms);
        Py_END_ALLOW_THREADS
        if (entry.revents != 0 && lives(state, process, interruption)) entry.fd = -1; /* some other descriptor by now */
        look_for_signals(interruption);
        /* It may not have come to that the last time, for want of memory or by an audit hook. */
        if (deadline_ns == INT64_MAX) signal_worker(state, process, round);
    }
}

/* This does not wait but for one that SIGKILL has not ended, if a signal has come meanwhile, and for one that has its
 * own notion of what ending is. */
static void join_worker(struct cmpy_state *state, PyObject *process, const struct round *round)
{
    if (!lives(state, process, round->interruption) || cmpy_process_sentinel(state, process) < 0)
        tell(process, round->verb, round->interruption);
}

/* By their slots, for to list them would take memory. Nobody new comes, and whoever goes meanwhile has ended. */
static void each_worker(const struct cmpy_engine *engine, const struct round *round,
                        void (*act)(struct cmpy_state *, PyObject *, const struct round *))
{
    for (uint32_t i = 0; i < engine->nslots; i++) {
        PyObject *process = Py_XNewRef(engine->workers[i].process);
        if (process != NULL) act(engine->state, process, round);
        Py_XDECREF(process);
    }
}

static void disband(struct cmpy_engine *engine, struct interruption *interruption)
{
    struct cmpy_state *state = engine->state;
    const struct round rounds[] = {
        {state->str.terminate, cmp_now_ns() + PATIENCE_NS, interruption},
        {state->str.kill, INT64_MAX, interruption},
    };
    for (int i = 0; i < 2; i++) {
        each_worker(engine, &rounds[i], signal_worker);
        each_worker(engine, &rounds[i], await_worker);
    }
    each_worker(engine, &(struct round){state->str.join, 0, interruption}, join_worker);
}

void cmpy_ending_disband(struct cmpy_engine *engine)
{
    struct interruption interruption = {0};
    PyErr_Fetch(&interruption.type, &interruption.value, &interruption.trace);
    shut(engine); /* a spawned worker whose start was interrupted may be known to nobody: it leaves by itself */
    disband(engine, &interruption);
    PyErr_Restore(interruption.type, interruption.value, interruption.trace);
}

/* --- the pool --- */

/* Other threads are given that long to get through with it. */
static void await_others(struct cmpy_engine *engine, bool (*goes_on)(const struct cmpy_engine *), int64_t patience_ns,
                         struct interruption *interruption)
{
    int64_t deadline_ns = cmp_now_ns() + patience_ns;
    while (goes_on(engine) && interruption->type == NULL && cmp_now_ns() < deadline_ns) {
        Py_BEGIN_ALLOW_THREADS
        (void)poll(NULL, 0, 1);
        Py_END_ALLOW_THREADS
        look_for_signals(interruption);
    }
}

/* A worker that another thread is starting right now would be missed. That thread ends it by itself (py/recruit.c), so
 * this only makes sure that it is gone when terminate() returns, if that can be had soon. */
static bool is_starting(const struct cmpy_engine *engine)
{
    return engine->starting > 0 && !cmpy_supervisor_is_me() && !cmpy_threads_are_gone();
}

/* Those whose results came in time are called back before terminate() returns, and before the program ends. The stdlib
 * waits for the one that is running, though it may never come back. */
static bool is_calling_back(const struct cmpy_engine *engine)
{
    return engine->callbacks.out > 0 && !cmpy_callbacks_is_me(engine) && !cmpy_threads_are_gone();
}

int cmpy_ending_run(struct cmpy_engine *engine)
{
    struct interruption interruption = {0};
    if (engine->finished || engine->ended) return 0;
    if (cmpy_engine_check_process(engine) < 0) { /* a forked child's copy: the pool is another's */
        PyErr_Clear();
        return 0;
    }
    engine->pool_state = CMPY_POOL_TERMINATE;
    engine->pins++;
    cmpy_lead_drain(engine); /* what was done in time is done */
    shut(engine);
    cmpy_engine_end_all(engine, NULL);
    await_others(engine, is_starting, PATIENCE_NS, &interruption);
    disband(engine, &interruption);
    await_others(engine, is_calling_back, CALLBACKS_NS, &interruption);
    engine->ended = true;
    cmpy_engine_unpin(engine);
    cmpy_supervisor_kick();
    if (interruption.type == NULL) return 0;
    PyErr_Restore(interruption.type, interruption.value, interruption.trace);
    return -1;
}

static PyObject *end_pool(PyObject *module, PyObject *argument)
{
    struct cmpy_engine *engine = cmpy_engine_of(cmpy_state_of_module(module), argument);
    if (engine == NULL || cmpy_ending_run(engine) < 0) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_end_pool", end_pool, METH_O, "Ends a pool at once."},
    {NULL, NULL, 0, NULL},
};

int cmpy_ending_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    if (PyModule_AddFunctions(module, functions) < 0) return -1;
    state->end_pool_function = PyObject_GetAttrString(module, "_end_pool");
    return state->end_pool_function == NULL ? -1 : 0;
}
