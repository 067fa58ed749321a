#include "py/supervisor.h"

#include "os/clock.h"
#include "os/eventfd.h"
#include "os/forkepoch.h"
#include "os/identity.h"
#include "os/lifeline.h"
#include "os/sigmask.h"
#include "py/errors.h"
#include "py/feeder.h"
#include "py/lead.h"
#include "py/roster.h"
#include "py/thread.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#define COALESCE_NS (20 * CMP_MS)
#define DEAF_MS 20 /* between two looks without an eventfd */
#define LONGEST_MS 1000 /* the eventfd may be closed during a sleep, and then nothing more comes by it */

/* One per process, so no part of a module's state. No PyObject of a parent is touched after a fork. */
static struct {
    uint32_t epoch;
    int wake_fd;
    uint64_t wake_identity;           /* what that number stands for (os/identity.h) */
    int reserved;                     /* pools that have the eventfd's number and are not adopted yet */
    bool running;                     /* the thread */
    bool asleep;
    unsigned long thread;
    struct cmpy_engine *engines;      /* strong */
} supervisor = {.wake_fd = -1};

/* A program that closes all descriptors may have closed it, too, and opened something else under its number. */
static bool has_eventfd(void)
{
    return cmp_identity_is(supervisor.wake_fd, supervisor.wake_identity);
}

static void drop_eventfd(void)
{
    if (has_eventfd()) close(supervisor.wake_fd);
    supervisor.wake_fd = -1;
}

/* After a fork: nothing of the parent's. What its lists held stays as it was, for ever, and its eventfd open: a worker
 * that makes a pool of its own still has to be heard by it. */
static void be_ours(void)
{
    if (supervisor.epoch == cmp_fork_epoch()) return;
    supervisor.wake_fd = -1;
    supervisor.epoch = cmp_fork_epoch();
    supervisor.reserved = 0;
    supervisor.running = supervisor.asleep = false;
    supervisor.engines = NULL;
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
        supervisor.wake_identity = cmp_identity_of(supervisor.wake_fd);
    }
    supervisor.reserved++;
    return supervisor.wake_fd;
}

static void close_if_idle(void)
{
    if (supervisor.reserved == 0 && !supervisor.running && supervisor.engines == NULL) drop_eventfd();
}

void cmpy_supervisor_unreserve(void)
{
    supervisor.reserved--;
    close_if_idle();
}

/* 0: the thread is there, or about to be; 1: it is, though starting it was interrupted and the exception is set; -1:
 * there is none, and the exception is set. */
static int ensure_thread(struct cmpy_state *state)
{
    if (supervisor.running) return 0;
    int code = cmpy_thread_start(state, "cmp-pool-supervisor", state->supervise_function, Py_None);
    return code == 0 ? 0 : supervisor.running ? 1 : -1;
}

int cmpy_supervisor_adopt(struct cmpy_engine *engine)
{
    be_ours();
    engine->next = supervisor.engines;
    supervisor.engines = (struct cmpy_engine *)Py_NewRef((PyObject *)engine);
    int code = ensure_thread(engine->state);
    if (code < 0) {
        /* Others may have come to the front meanwhile. */
        struct cmpy_engine **at = &supervisor.engines;
        while (*at != engine) at = &(*at)->next;
        *at = engine->next;
        Py_DECREF(engine);
        return -1;
    }
    cmpy_supervisor_kick();
    supervisor.reserved--;
    return code;
}

void cmpy_supervisor_kick(void)
{
    if (supervisor.epoch == cmp_fork_epoch() && has_eventfd()) cmp_eventfd_raise(supervisor.wake_fd);
}

void cmpy_supervisor_want(struct cmpy_engine *engine)
{
    if (!engine->open) return;
    if (!engine->wanted) {
        /* It is about, and looks by itself before it sleeps; or it stays away for a while, but not from callbacks. */
        if (supervisor.asleep && engine->callbacks.out > 0) cmpy_supervisor_kick();
        return;
    }
    cmp_pooltable_want(engine->table);
    if (cmp_queue_size(&engine->results) > 0) cmpy_supervisor_kick();
}

void cmpy_supervisor_unwant(struct cmpy_engine *engine)
{
    if (engine->wanted && engine->open) cmp_pooltable_unwant(engine->table);
}

bool cmpy_supervisor_is_me(void)
{
    return supervisor.running && supervisor.epoch == cmp_fork_epoch() &&
           supervisor.thread == PyThread_get_thread_ident();
}

/* --- the thread --- */

static void come_back(int64_t *again_ns, int64_t at_ns)
{
    if (at_ns < *again_ns) *again_ns = at_ns;
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

static void send_home(struct cmpy_engine *engine, int64_t *again_ns)
{
    if (engine->pool_state != CMPY_POOL_CLOSE || PyList_GET_SIZE(engine->feeds) > 0 || !engine->open) return;
    int code;
    Py_BEGIN_ALLOW_THREADS
    code = cmp_queue_shutdown(&engine->tasks, false, cmp_now_ns() + COALESCE_NS);
    Py_END_ALLOW_THREADS
    if (code < 0) come_back(again_ns, cmp_now_ns() + COALESCE_NS); /* a holder of its locks stands still */
}

/* One look at one pool. */
static void attend(struct cmpy_engine *engine, int64_t *again_ns)
{
    cmpy_roster_tend(engine, again_ns);
    size_t before = engine->book.count;
    cmpy_lead_drain(engine);
    if (engine->book.count != before) engine->coalesce_until_ns = cmp_now_ns() + COALESCE_NS;
    engine->hungry = false;
    cmpy_feeds_advance(engine);
    engine->pins++;
    send_home(engine, again_ns);
    cmpy_engine_unpin(engine);
}

/* No pool is left, so the thread ends with this one, whose join() waits for that. From here on a new pool starts a new
 * thread, also one that is made while this pool's last objects go. */
static void leave(struct cmpy_engine *engine)
{
    supervisor.running = false;
    PyObject *me = cmpy_thread_current(engine->state);
    if (me == NULL) PyErr_Clear();
    else cmpy_thread_leaves(engine->leaving, me);
    Py_XDECREF(me);
}

/* False: the thread ends. */
static bool bury(void)
{
    bool goes_on = true;
    for (struct cmpy_engine **at = &supervisor.engines; goes_on && *at != NULL;) {
        struct cmpy_engine *engine = *at;
        if (!is_over(engine)) {
            at = &engine->next;
            continue;
        }
        *at = engine->next;
        goes_on = supervisor.engines != NULL;
        if (!goes_on) leave(engine);
        Py_CLEAR(engine->initializer);
        Py_CLEAR(engine->initargs);
        cmpy_engine_finish(engine);
        Py_DECREF(engine);
    }
    return goes_on;
}

/* Asks the workers of pools that nobody waits for, but where results come thick, so that many are taken at a time, or
 * lie where this process cannot map them. False: something is there already. Where nothing is out or somebody waits,
 * whoever gives work or stops waiting asks (cmpy_supervisor_want). */
static bool listen(int64_t *again_ns)
{
    int64_t now_ns = cmp_now_ns();
    for (struct cmpy_engine *engine = supervisor.engines; engine != NULL; engine = engine->next) {
        engine->wanted = true;
        if (!engine->open || engine->led || engine->nreturning > 0 || engine->book.count == 0) continue;
        int64_t until_ns = engine->callbacks.out > 0 ? 0 : engine->coalesce_until_ns;
        if (until_ns < engine->blind_until_ns) until_ns = engine->blind_until_ns;
        if (now_ns < until_ns) {
            engine->wanted = false;
            come_back(again_ns, until_ns);
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
    bool hears = has_eventfd();
    entries[n++] = (struct pollfd){.fd = hears ? supervisor.wake_fd : -1, .events = POLLIN};
    if (entries != &only)
        for (struct cmpy_engine *engine = supervisor.engines; engine != NULL; engine = engine->next)
            n += (nfds_t)cmpy_roster_poll(engine, entries + n);
    supervisor.asleep = true;
    Py_BEGIN_ALLOW_THREADS
    int timeout_ms = !hears ? DEAF_MS : entries == &only ? 50 : LONGEST_MS;
    if (again_ns != INT64_MAX) {
        int64_t left_ns = again_ns - cmp_now_ns();
        if (left_ns < timeout_ms * CMP_MS) timeout_ms = left_ns <= 0 ? 0 : (int)(left_ns / CMP_MS) + 1;
    }
    (void)poll(entries, n, timeout_ms);
    if ((entries[0].revents & POLLIN) != 0 && has_eventfd()) (void)cmp_eventfd_lower(supervisor.wake_fd);
    Py_END_ALLOW_THREADS
    supervisor.asleep = false;
    if (entries != &only) PyMem_RawFree(entries);
}

static PyObject *supervise(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    /* Two were started at once, or one whose start() was interrupted lives. */
    if (supervisor.running || supervisor.engines == NULL) Py_RETURN_NONE;
    supervisor.running = true;
    supervisor.thread = PyThread_get_thread_ident();
    cmp_sigmask_block();
    for (;;) {
        int64_t again_ns = INT64_MAX;
        for (struct cmpy_engine *engine = supervisor.engines, *next; engine != NULL; engine = next) {
            Py_INCREF(engine); /* Python code runs: others may come to the list, this thread alone takes off it */
            attend(engine, &again_ns);
            next = engine->next;
            Py_DECREF(engine);
        }
        cmp_sigmask_renew(); /* who starts a resource tracker has two of them let in */
        if (!bury()) break;
        if (listen(&again_ns)) sleep_until(again_ns);
        hear();
    }
    cmp_sigmask_unblock();
    close_if_idle();
    Py_RETURN_NONE;
}

/* A fork server has to hear of its children's ends (SIGCHLD), also one that was started by this thread in a parent; and
 * its children end with it. */
static PyObject *be_server(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    cmp_sigmask_open();
    cmp_lifeline_serve();
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_be_server", be_server, METH_NOARGS,
     "This process is a fork server: it hears of its children's ends, and they of its."},
    {"_supervise", supervise, METH_O, "The thread that looks after this process's pools."},
    {NULL, NULL, 0, NULL},
};

int cmpy_supervisor_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    if (PyModule_AddFunctions(module, functions) < 0) return -1;
    state->supervise_function = PyObject_GetAttrString(module, "_supervise");
    return state->supervise_function == NULL ? -1 : 0;
}
