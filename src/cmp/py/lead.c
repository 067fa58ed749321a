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
    struct cmpy_parcel *parcel = cmpy_parcel_take(engine, taken);
    if (parcel == NULL) {
        parcel = cmpy_parcel_error();
    }
    if (parcel != NULL) cmpy_engine_answer(engine, &task, parcel);
    else PyErr_WriteUnraisable(NULL);
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

/* Everything that is in the queue now. -1 with an exception. */
static int take_all(struct cmpy_engine *engine)
{
    struct taking t;
    unsigned delivered = 0;
    t.queue = &engine->results;
    for (;;) {
        int code = engine->open ? cmpy_wait(take_call, &t, CMPY_TRY) : -EPIPE;
        if (code == -EBADMSG || code == -ECANCELED) {
            engine->seen = cmp_load(&engine->news, relaxed);
            continue;
        }
        if (code == CMPY_RAISED) return -1;
        /* A result that this process cannot map stays where it is; who asks for one is told so, and we look now and then. */
        if (code == -ENOMEM || code == -EBADF) engine->blind_until_ns = cmp_now_ns() + BLIND_NS;
        if (code < 0) return 0;
        deliver(engine, &t.taken);
        cmpy_breathe(&delivered);
    }
}

int cmpy_lead_drain(struct cmpy_engine *engine)
{
    if ((engine->led && !is_mine(engine)) || !engine->open) return 0;
    if (engine->nended == 0 && cmp_queue_size(&engine->results) == 0) return 0;
    bool nested = lead_begin(engine);
    int code = engine->nended > 0 ? cmpy_roster_settle(engine, take_all) : take_all(engine);
    lead_end(engine, nested);
    return code;
}

/* --- waiting --- */

static int lead(struct cmpy_engine *engine, bool (*done)(void *), void *arg, int64_t deadline_ns)
{
    struct taking t;
    unsigned delivered = 0;
    t.queue = &engine->results;
    for (;;) {
        if (engine->nended > 0 && cmpy_roster_settle(engine, take_all) < 0) return -1;
        if (done(arg)) return 0;
        if (!engine->open) return 1;
        engine->seen = cmp_load(&engine->news, relaxed);
        int code = cmpy_wait(take_call, &t, deadline_ns);
        if (code == 0) {
            deliver(engine, &t.taken);
            feed_the_hungry(engine);
            cmpy_breathe(&delivered);
            if (PyErr_CheckSignals() < 0) return -1; /* while results keep coming, no wait would look */
        } else if (code == -EAGAIN || code == -ETIMEDOUT) return 1;
        else if (code == CMPY_RAISED) return -1;
        else if (code != -ECANCELED && code != -EBADMSG) {
            cmpy_raise("Pool: a result", code);
            return -1;
        }
    }
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

static int follow(struct cmpy_engine *engine, int64_t deadline_ns)
{
    struct following f = {engine, cmp_load(&engine->news, relaxed)};
    engine->nfollowers++;
    int code = cmpy_wait(follow_call, &f, deadline_ns);
    engine->nfollowers--;
    return code;
}

static int wait_until(struct cmpy_engine *engine, bool (*done)(void *), void *arg, int64_t deadline_ns)
{
    while (engine->led && !is_mine(engine)) {
        int code = follow(engine, deadline_ns);
        /* The lead may have come free meanwhile, and this thread have been the one that was told. */
        bool leaves = code == CMPY_RAISED || code < 0 || done(arg);
        if (leaves && !engine->led) offer(engine);
        if (code == CMPY_RAISED) return -1;
        if (leaves) return done(arg) ? 0 : 1;
    }
    cmpy_supervisor_unwant(engine);
    bool nested = lead_begin(engine);
    int code = lead(engine, done, arg, deadline_ns);
    lead_end(engine, nested);
    return code;
}

int cmpy_lead_wait(struct cmpy_engine *engine, bool (*done)(void *), void *arg, int64_t deadline_ns)
{
    if (done(arg)) return 0;
    int code = wait_until(engine, done, arg, deadline_ns);
    if (code >= 0 && engine->pool_state == CMPY_POOL_TERMINATE) cmpy_farewell(engine->state);
    return code;
}
