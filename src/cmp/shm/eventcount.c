/* Why no wake-up is lost.
 *
 * 1. A waiter makes the word SLEEPERS [ec.prepare], fences, and looks at its condition. A notifier changes the
 *    condition, fences, and looks at the word. The two fences are totally ordered, so at least one sees the other:
 *    the waiter the change, or the notifier a word that is not QUIET.
 * 2. A notifier that sees SLEEPERS raises the sequence [ec.wake] before it wakes. A waiter still on its way to sleep
 *    holds the old word as its key, so the kernel sends it back to look again; one already asleep is in the kernel's
 *    queue and the wake reaches it, or another.
 * 3. A notifier that sees WAKING keeps silent. Its change is then the business of whoever takes WAKING away, and
 *    each of these looks *after* taking it away:
 *      - the woken one, or any that leaves: with `more` it wakes the next itself [ec.wake]; without, it makes the
 *        word SLEEPERS [ec.settle], fences, and looks once more;
 *      - a waiter that prepares [ec.prepare] looks at once, by rule 1, and passes on what it leaves;
 *      - a waker whose wake reached nobody makes the word QUIET [ec.quiet]: at the time of its wake nobody was in
 *        the kernel's queue, whoever was on the way there is sent back by rule 2, and whoever prepared since has
 *        changed the word, so that the CAS fails.
 * 4. A process that dies while WAKING is its to take away leaves it standing; one that dies between [ec.wake_all] and
 *    its wake leaves QUIET and sleepers. Sleepers look every 50 ms at first, backing off to 500, and prepare anew each
 *    time: the change is noticed late, not never.
 * A sleeper whose wait ends by deadline or signal was not woken (the kernel reports a wake-up in preference to
 * both), so it owes nobody anything. The sequence has 30 bits: for a stale key to fit again, 2^30 wake-ups have to
 * fall between two instructions of a waiter, and then its timed look still comes. */
#include "shm/eventcount.h"

#include "os/clock.h"
#include "os/futex.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>

#define STATE_MASK UINT32_C(3)
#define SEQUENCE_STEP UINT32_C(4)

#define FIRST_SLICE_NS (50 * CMP_MS)
#define LAST_SLICE_NS (500 * CMP_MS)

static uint32_t with_state(uint32_t word, uint32_t state)
{
    return (word & ~STATE_MASK) | state;
}

void cmp_eventcount_init(struct cmp_eventcount *ec)
{
    cmp_store(&ec->word, CMP_EC_QUIET, relaxed, "ec.init");
}

uint32_t cmp_eventcount_prepare(struct cmp_eventcount *ec)
{
    uint32_t word = cmp_load(&ec->word, relaxed);
    while ((word & STATE_MASK) != CMP_EC_SLEEPERS &&
           !cmp_cas(&ec->word, &word, with_state(word, CMP_EC_SLEEPERS), seq_cst, "ec.prepare")) {}
    /* Rule 1, the waiter's side; pairs with the fence in notify_one and notify_all. */
    cmp_fence(seq_cst);
    return with_state(word, CMP_EC_SLEEPERS);
}

int cmp_eventcount_sleep(struct cmp_eventcount *ec, uint32_t key, int64_t deadline_ns, int64_t slice_ns)
{
    int64_t slice_end_ns = cmp_tick_ns() + slice_ns;
    int code = cmp_futex_wait(&ec->word, key, deadline_ns < slice_end_ns ? deadline_ns : slice_end_ns);
    return code == -EAGAIN ? 0 : code;
}

/* Makes `word`, if it still stands, WAKING and wakes one. Whoever changed the word meanwhile has taken on the duty:
 * another waker's is passed on by rule 3, a waiter that prepared looks after that. */
static void wake_one(struct cmp_eventcount *ec, uint32_t word)
{
    uint32_t waking = with_state(word + SEQUENCE_STEP, CMP_EC_WAKING);
    if (!cmp_cas(&ec->word, &word, waking, seq_cst, "ec.wake")) return;
    if (cmp_futex_wake(&ec->word, 1) == 0)
        (void)cmp_cas(&ec->word, &waking, with_state(waking, CMP_EC_QUIET), seq_cst, "ec.quiet");
}

bool cmp_eventcount_leave(struct cmp_eventcount *ec, bool more)
{
    uint32_t word = cmp_load(&ec->word, relaxed);
    if (more) {
        if ((word & STATE_MASK) != CMP_EC_QUIET) wake_one(ec, word);
        return false;
    }
    if ((word & STATE_MASK) != CMP_EC_WAKING) return false;
    if (!cmp_cas(&ec->word, &word, with_state(word, CMP_EC_SLEEPERS), seq_cst, "ec.settle")) return false;
    cmp_fence(seq_cst);
    return true;
}

void cmp_eventcount_notify_one(struct cmp_eventcount *ec)
{
    /* Rule 1, the notifier's side; pairs with the fence in prepare. */
    cmp_fence(seq_cst);
    uint32_t word = cmp_load(&ec->word, relaxed);
    if ((word & STATE_MASK) == CMP_EC_SLEEPERS) wake_one(ec, word);
}

void cmp_eventcount_notify_all(struct cmp_eventcount *ec)
{
    cmp_fence(seq_cst);
    uint32_t word = cmp_load(&ec->word, relaxed);
    /* Everyone looks and prepares anew, so QUIET is true until then. */
    while ((word & STATE_MASK) != CMP_EC_QUIET) {
        uint32_t quiet = with_state(word + SEQUENCE_STEP, CMP_EC_QUIET);
        if (!cmp_cas(&ec->word, &word, quiet, seq_cst, "ec.wake_all")) continue;
        (void)cmp_futex_wake(&ec->word, INT_MAX);
        return;
    }
}

/* The last act of one that has prepared: nothing that a notifier left to it may be left lying. */
static void hand_on(struct cmp_eventcount *ec, bool (*more)(void *), void *arg)
{
    bool again = more == NULL || more(arg);
    if (cmp_eventcount_leave(ec, again) && more(arg)) cmp_eventcount_notify_one(ec);
}

/* Nothing has come here for a while, so a wait begins with a long sleep and without spinning: callers that wait piece
 * by piece, to look after their signals, cost no more than one that waits in one go. */
static int64_t slice_to_begin_with(const struct cmp_spin *learnt)
{
    int64_t slice_ns = learnt == NULL ? 0 : cmp_load(&learnt->idle_ms, relaxed) * CMP_MS;
    return slice_ns > FIRST_SLICE_NS ? slice_ns : FIRST_SLICE_NS;
}

static void remember_slice(struct cmp_spin *learnt, int64_t slice_ns)
{
    uint32_t idle_ms = slice_ns > FIRST_SLICE_NS ? (uint32_t)(slice_ns / CMP_MS) : 0;
    if (learnt != NULL && cmp_load(&learnt->idle_ms, relaxed) != idle_ms)
        cmp_private_store(&learnt->idle_ms, idle_ms, relaxed);
}

int cmp_eventcount_wait(struct cmp_eventcount *ec, int (*look)(void *), bool (*more)(void *), void *arg,
                        int64_t deadline_ns, int64_t spin_ns, struct cmp_spin *learnt)
{
    int code = look(arg);
    if (code != -EAGAIN || deadline_ns <= 0) return code;
    int64_t slice_ns = slice_to_begin_with(learnt);
    if (spin_ns > 0 && slice_ns == FIRST_SLICE_NS) code = cmp_spin(learnt, look, arg, deadline_ns, spin_ns);
    if (code != -EAGAIN) return code; /* never prepared, so nothing is owed */
    for (;;) {
        uint32_t key = cmp_eventcount_prepare(ec);
        code = look(arg);
        if (code != -EAGAIN) break;
        int slept = cmp_eventcount_sleep(ec, key, deadline_ns, slice_ns);
        if (slept == 0) {
            /* Woken: look before preparing, so that WAKING keeps other notifiers silent until something is taken. */
            slice_ns = FIRST_SLICE_NS;
            code = look(arg);
            if (code != -EAGAIN) break;
        } else if (slept == -EINTR) {
            return -EINTR;
        } else if (deadline_ns <= cmp_now_ns()) {
            code = look(arg);
            if (code == -EAGAIN) return -ETIMEDOUT;
            break;
        } else {
            slice_ns = slice_ns * 2 < LAST_SLICE_NS ? slice_ns * 2 : LAST_SLICE_NS;
            remember_slice(learnt, slice_ns);
        }
    }
    remember_slice(learnt, FIRST_SLICE_NS);
    hand_on(ec, more, arg);
    return code;
}
