#include "py/lead.h"

#include "os/clock.h"
#include "py/errors.h"
#include "py/farewell.h"
#include "py/parcel.h"
#include "py/roster.h"
#include "py/supervisor.h"
#include "py/wait.h"

#include <errno.h>

/* Between two looks at results that cannot be taken. */
#define BLIND_NS (50 * CMP_MS)
#define SIGNALS_NS (50 * CMP_MS)

static bool is_mine(const struct cmpy_engine *engine)
{
    return engine->led && engine->leader == PyThread_get_thread_ident();
}

int cmpy_lead_look(void *arg)
{
    struct cmpy_engine *engine = arg;
    return cmp_load(&engine->news, relaxed) == engine->seen ? 0 : -ECANCELED;
}

void cmpy_lead_news(struct cmpy_engine *engine)
{
    (void)cmp_rmw(fetch_add, &engine->news, 1, seq_cst, "engine.news");
    if (engine->nfollowers > 0) cmp_eventcount_notify_all(&engine->followers);
    if (engine->led && !is_mine(engine) && engine->open) cmp_queue_disturb(&engine->results);
}

/* --- the lead, and who gets it next --- */

/* What was delivered has made room for more tasks: the supervisor sees to that. */
static void feed_the_hungry(struct cmpy_engine *engine)
{
    if (!engine->hungry) return;
    engine->hungry = false;
    cmpy_supervisor_kick();
}

/* Nobody leads now. */
static void offer(struct cmpy_engine *engine)
{
    feed_the_hungry(engine);
    if (engine->nfollowers > 0) {
        cmpy_lead_news(engine);
    } else if (engine->nended > 0 || engine->pool_state != CMPY_POOL_RUN) {
        /* The supervisor itself is about, and looks again soon at a death that could not be settled yet. */
        if (!cmpy_supervisor_is_me()) cmpy_supervisor_kick();
    } else if (engine->book.count > 0 && engine->nreturning == 0) {
        cmpy_supervisor_want(engine);
    }
}

/* True: this thread leads already, further up its stack. */
static bool lead_begin(struct cmpy_engine *engine)
{
    bool nested = is_mine(engine);
    engine->pins++;
    engine->led = true;
    engine->leader = PyThread_get_thread_ident();
    engine->seen = cmp_load(&engine->news, relaxed);
    return nested;
}

static void lead_end(struct cmpy_engine *engine, bool nested)
{
    if (nested) {
        /* What the outer one waits for may have been delivered here: it has to look. */
        engine->seen = cmp_load(&engine->news, relaxed) - 1;
    } else {
        engine->led = false;
        offer(engine);
    }
    cmpy_engine_unpin(engine);
}

/* --- delivering --- */

static void deliver(struct cmpy_engine *engine, struct cmp_taken *taken)
{
    struct cmpy_task task;
    if (!cmpy_tasks_remove(&engine->book, taken->tag, &task)) {
        cmp_queue_release(&engine->results, taken); /* answered already, or no task of ours */
        return;
    }
    cmpy_engine_answer(engine, &task, cmpy_parcel_take(engine, taken));
}

struct taking {
    struct cmp_queue *queue;
    struct cmp_taken taken;
};

static int take_call(void *arg, int64_t deadline_ns)
{
    struct taking *t = arg;
    return cmp_queue_take(t->queue, &t->taken, NULL, deadline_ns);
}

/* Everything that is in the queue now. */
static void take_all(struct cmpy_engine *engine)
{
    struct taking t;
    unsigned delivered = 0;
    t.queue = &engine->results;
    for (;;) {
        int code = engine->open ? cmpy_wait_once(take_call, &t, CMPY_TRY) : -EPIPE;
        if (code == -EBADMSG || code == -ECANCELED) {
            engine->seen = cmp_load(&engine->news, relaxed);
            continue;
        }
        /* A result that this process cannot map stays where it is; who asks for one is told so, and we look now and
         * then. */
        if (code == -ENOMEM || code == -EBADF) engine->blind_until_ns = cmp_now_ns() + BLIND_NS;
        if (code < 0) return;
        deliver(engine, &t.taken);
        cmpy_breathe(&delivered);
    }
}

void cmpy_lead_drain(struct cmpy_engine *engine)
{
    if ((engine->led && !is_mine(engine)) || !engine->open) return;
    if (engine->nended == 0 && cmp_queue_size(&engine->results) == 0) return;
    bool nested = lead_begin(engine);
    if (engine->nended > 0) cmpy_roster_settle(engine, take_all);
    else take_all(engine);
    lead_end(engine, nested);
}

/* --- waiting --- */

struct waiting {
    struct cmpy_engine *engine;
    bool (*done)(void *);
    void *arg;
    int64_t deadline_ns;
    bool returns;
};

/* While results keep coming, no wait would look for signals. */
static bool signals_are_due(void)
{
    static _Thread_local int64_t looked_ns;
    int64_t now_ns = cmp_tick_ns();
    if (now_ns - looked_ns < SIGNALS_NS) return false;
    looked_ns = now_ns;
    return true;
}

/* 0: done, 1: not in time, -EINTR: signal handlers are to run, -1 with an exception. */
static int lead(const struct waiting *w)
{
    struct cmpy_engine *engine = w->engine;
    struct taking t;
    unsigned delivered = 0;
    t.queue = &engine->results;
    for (;;) {
        if (engine->nended > 0) cmpy_roster_settle(engine, take_all);
        if (w->done(w->arg)) return 0;
        if (!engine->open) return 1;
        engine->seen = cmp_load(&engine->news, relaxed);
        int code = cmpy_wait_once(take_call, &t, w->deadline_ns);
        if (code == 0) {
            deliver(engine, &t.taken);
            feed_the_hungry(engine);
            cmpy_breathe(&delivered);
            if (signals_are_due()) return -EINTR;
        } else if (code == -EAGAIN || code == -ETIMEDOUT) return 1;
        else if (code == -EINTR) return code;
        else if (code != -ECANCELED && code != -EBADMSG) {
            cmpy_raise("Pool: a result", code);
            return -1;
        }
    }
}

static int take_the_lead(const struct waiting *w)
{
    struct cmpy_engine *engine = w->engine;
    cmpy_supervisor_unwant(engine);
    bool nested = lead_begin(engine);
    int code = lead(w);
    if (code == -EINTR) engine->nreturning -= w->returns;
    lead_end(engine, nested);
    return code;
}

struct following {
    struct cmpy_engine *engine;
    uint32_t seen;
};

static int look_news(void *arg)
{
    struct following *f = arg;
    return cmp_load(&f->engine->news, acquire) == f->seen ? -EAGAIN : 0;
}

static int follow_call(void *arg, int64_t deadline_ns)
{
    struct following *f = arg;
    return cmp_eventcount_wait(&f->engine->followers, look_news, NULL, f, deadline_ns, 0, NULL);
}

/* As lead(); and -EAGAIN: there was news, but not this. */
static int follow(const struct waiting *w)
{
    struct cmpy_engine *engine = w->engine;
    struct following f = {engine, cmp_load(&engine->news, relaxed)};
    engine->nfollowers++;
    int code = cmpy_wait_once(follow_call, &f, w->deadline_ns);
    engine->nfollowers--;
    bool done = w->done(w->arg);
    if (code == 0 && !done) return -EAGAIN;
    if (code == -EINTR && done) code = 0;
    if (code == -EINTR) engine->nreturning -= w->returns;
    /* The lead may have come free meanwhile, and this thread have been the one that was told. */
    if (!engine->led) offer(engine);
    return done ? 0 : code == -EINTR ? code : 1;
}

/* Signal handlers run while this thread neither leads nor counts as one that will: they may wait for what only the
 * results bring about, a callback or another thread's get(). */
static int wait_until(const struct waiting *w)
{
    for (;;) {
        int code = w->engine->led && !is_mine(w->engine) ? follow(w) : take_the_lead(w);
        if (code == -EINTR) {
            int raised = PyErr_CheckSignals();
            w->engine->nreturning += w->returns;
            if (raised < 0) return -1;
            if (w->done(w->arg)) return 0;
        } else if (code != -EAGAIN) return code;
    }
}

int cmpy_lead_wait(struct cmpy_engine *engine, bool (*done)(void *), void *arg, int64_t deadline_ns, bool returns)
{
    struct waiting w = {engine, done, arg, deadline_ns, returns};
    if (done(arg)) return 0;
    int code = wait_until(&w);
    if (code >= 0 && engine->pool_state == CMPY_POOL_TERMINATE) cmpy_farewell(engine->state);
    return code;
}
