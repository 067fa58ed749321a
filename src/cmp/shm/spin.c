#include "shm/spin.h"

#include "os/atomics.h"
#include "os/clock.h"

#include <errno.h>
#include <stdbool.h>

/* One sleeping round trip: 31 to 36 us where it was measured, up to 50 with another process in between. */
#define LONG_NS INT64_C(50000)

/* So many quick answers in a row are an exchange, and not a burst that ends. */
#define EXCHANGE 16

/* A long spin in vain per so many waits costs a fifth of a microsecond each. */
#define LAST_BACKOFF 256

/* So many spins in vain in a row are no accident. */
#define HOPELESS 32

/* A clock read costs as much as this many looks at a word. */
#define LOOKS_PER_CLOCK 8

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

int cmp_spin(struct cmp_spin *learnt, int (*look)(void *), void *arg, int64_t deadline_ns, int64_t short_ns)
{
    int64_t begin_ns = cmp_now_ns();
    int64_t left_ns = deadline_ns - begin_ns;
    int64_t end_ns = begin_ns + (left_ns < short_ns ? left_ns : short_ns);
    int code = learnt != NULL && hopeless(learnt) ? look(arg) : look_until(look, arg, end_ns);
    if (learnt == NULL) return code;
    if (code != -EAGAIN) {
        was_quick(learnt);
        return code;
    }
    if (left_ns <= short_ns || !may_hold_out(learnt)) return code;
    code = look_until(look, arg, begin_ns + (left_ns < LONG_NS ? left_ns : LONG_NS));
    held_out(learnt, code == -EAGAIN);
    return code;
}
