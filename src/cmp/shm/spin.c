#include "shm/spin.h"

#include "os/atomics.h"
#include "os/clock.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>

/* One sleeping round trip: 31 to 36 us where it was measured, up to 50 with another process in between. */
#define LONG_NS INT64_C(50000)

/* So many quick answers in a row are an exchange, and not a burst that ends. */
#define EXCHANGE 16

/* A long spin in vain per so many waits costs 50 ns each. */
#define LAST_BACKOFF 1024

/* So many spins in vain in a row are no accident. */
#define HOPELESS 32

/* A clock read costs as much as this many looks at a word. */
#define LOOKS_PER_CLOCK 8

/* Two processes that take turns on one processor are back after 3 us; a third one's time slice is some milliseconds. */
#define SLOW_YIELD_NS INT64_C(50000)
#define LAST_PENALTY 256

/* So many answers by giving way are an exchange on one processor: spins are left out altogether. A first one that fails
 * then means that the two run on two processors from now on, or that the exchange is over. */
#define TURNS 64

/* Giving way in vain is a system call that returns at once, a tenth of the cost of the sleep that follows. */
#define LAST_YIELD_BACKOFF 64

static int look_until(int (*look)(void *), void *arg, int64_t end_ns)
{
    do {
        for (int i = 0; i < LOOKS_PER_CLOCK; i++) {
            cmp_relax();
            int code = look(arg);
            if (code != -EAGAIN) return code;
        }
    } while (cmp_now_ns() < end_ns);
    return -EAGAIN;
}

static void was_quick(struct cmp_spin *learnt)
{
    uint32_t quick = cmp_load(&learnt->quick, relaxed);
    if (cmp_load(&learnt->vain, relaxed) != 0) cmp_private_store(&learnt->vain, 0, relaxed);
    if (quick >= EXCHANGE) return;
    cmp_private_store(&learnt->quick, quick + 1, relaxed);
    if (quick + 1 < EXCHANGE) return;
    cmp_private_store(&learnt->backoff, 0, relaxed);
    cmp_private_store(&learnt->skip, 0, relaxed);
}

/* Is it not even worth a short spin? */
static bool hopeless(const struct cmp_spin *learnt)
{
    if (cmp_load(&learnt->yields, relaxed) >= TURNS) return true;
    return cmp_load(&learnt->vain, relaxed) >= HOPELESS && cmp_load(&learnt->skip, relaxed) > 0;
}

/* The short spin was in vain: shall it go on? */
static bool may_hold_out(struct cmp_spin *learnt)
{
    uint32_t skip = cmp_load(&learnt->skip, relaxed), vain = cmp_load(&learnt->vain, relaxed);
    cmp_private_store(&learnt->quick, 0, relaxed);
    if (vain < HOPELESS) cmp_private_store(&learnt->vain, vain + 1, relaxed);
    if (skip > 0) cmp_private_store(&learnt->skip, skip - 1, relaxed);
    return skip == 0;
}

static void held_out(struct cmp_spin *learnt, bool in_vain)
{
    uint32_t backoff = cmp_load(&learnt->backoff, relaxed);
    if (!in_vain) cmp_private_store(&learnt->vain, HOPELESS / 2, relaxed);
    if (!in_vain) backoff /= 2;
    else if (backoff < LAST_BACKOFF) backoff = backoff * 2 + 1;
    cmp_private_store(&learnt->backoff, backoff, relaxed);
    cmp_private_store(&learnt->skip, backoff, relaxed);
}

static bool may_give_way(struct cmp_spin *learnt, int64_t now_ns)
{
    uint32_t skip = cmp_load(&learnt->yield_skip, relaxed);
    if (skip > 0) cmp_private_store(&learnt->yield_skip, skip - 1, relaxed);
    return skip == 0 && now_ns >= cmp_load(&learnt->no_yield_ns, relaxed);
}

/* One slow yield may have been anybody's; slow ones again and again are a third process that computes. */
static void judge(struct cmp_spin *learnt, bool slow, uint32_t yields, int64_t before_ns, int64_t took_ns)
{
    uint32_t penalty = cmp_load(&learnt->yield_penalty, relaxed);
    if (slow) {
        cmp_private_store(&learnt->no_yield_ns, before_ns + (1 + penalty) * took_ns, relaxed);
        if (penalty < LAST_PENALTY) cmp_private_store(&learnt->yield_penalty, penalty * 4 + 1, relaxed);
    } else if (penalty > 0 && yields % TURNS == TURNS - 1) {
        cmp_private_store(&learnt->yield_penalty, penalty / 4, relaxed);
    }
}

static int give_way(struct cmp_spin *learnt, int (*look)(void *), void *arg)
{
    int64_t before_ns = cmp_now_ns();
    (void)sched_yield();
    int64_t took_ns = cmp_now_ns() - before_ns;
    int code = look(arg);
    uint32_t yields = cmp_load(&learnt->yields, relaxed), backoff = 0;
    judge(learnt, took_ns >= SLOW_YIELD_NS, yields, before_ns, took_ns);
    if (code == -EAGAIN) {
        backoff = cmp_load(&learnt->yield_backoff, relaxed);
        if (backoff < LAST_YIELD_BACKOFF) backoff = backoff * 2 + 1;
        /* Perhaps there is a second processor now: the next wait finds out. */
        if (yields >= TURNS) cmp_private_store(&learnt->skip, 0, relaxed);
    }
    cmp_private_store(&learnt->yields, code == -EAGAIN ? 0 : yields + 1, relaxed);
    cmp_private_store(&learnt->yield_backoff, backoff, relaxed);
    cmp_private_store(&learnt->yield_skip, backoff, relaxed);
    return code;
}

int cmp_spin(struct cmp_spin *learnt, int (*look)(void *), void *arg, int64_t deadline_ns, int64_t short_ns)
{
    bool spinning = learnt == NULL || !hopeless(learnt);
    int64_t begin_ns = spinning ? cmp_now_ns() : cmp_tick_ns();
    int64_t left_ns = deadline_ns - begin_ns;
    int code = spinning ? look_until(look, arg, begin_ns + (left_ns < short_ns ? left_ns : short_ns)) : look(arg);
    if (learnt == NULL) return code;
    if (code != -EAGAIN) {
        was_quick(learnt);
        return code;
    }
    if (left_ns <= short_ns) return code;
    if (may_give_way(learnt, begin_ns)) {
        code = give_way(learnt, look, arg);
        if (code != -EAGAIN) return code;
    }
    if (!may_hold_out(learnt)) return code;
    begin_ns = cmp_now_ns();
    left_ns = deadline_ns - begin_ns;
    code = look_until(look, arg, begin_ns + (left_ns < LONG_NS ? left_ns : LONG_NS));
    held_out(learnt, code == -EAGAIN);
    return code;
}
