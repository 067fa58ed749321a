/* Event count: how a process sleeps until something may have changed, with at most one wake-up in flight.
 *
 * It guards nothing and counts nobody: the condition lives elsewhere, and each sleeper looks at it again. So no
 * death can make it wrong, only late, and a sleeper's timed look bounds how late. Never FUTEX_PRIVATE.
 *
 * The word: bits 0-1 state, bits 2-31 sequence.
 *   CMP_EC_QUIET    nobody sleeps, as far as is known: a notifier does nothing.
 *   CMP_EC_SLEEPERS somebody may sleep: a notifier makes it WAKING, sequence + 1, and wakes one.
 *   CMP_EC_WAKING   a wake-up is on its way: further notifiers do nothing; whoever it reaches passes it on.
 *
 * Waiter:   key = cmp_eventcount_prepare()   (state := SLEEPERS, full fence)
 *           look at the condition; if it holds, leave with cmp_eventcount_leave()
 *           cmp_eventcount_sleep(key, ...)   returns at once if the word has moved since
 *           look again; on leaving for good: cmp_eventcount_leave(more)
 * Notifier: publish the change; cmp_eventcount_notify_one() or _all()   (full fence, then look at the word)
 *
 * leave(more) by one that slept hands the wake-up on: with `more` (the condition still holds for another) it wakes
 * the next sleeper, else it turns WAKING back into SLEEPERS, after which the caller must look once more (a notifier
 * may have kept silent meanwhile). A notifier whose wake reached nobody turns WAKING into QUIET unless a waiter
 * has prepared in between. A process killed while it owes a hand-on leaves WAKING, one killed within notify_all may
 * leave QUIET while some sleep: sleepers' timed looks (50 ms at first, backing off to 500) prepare again, after which
 * wake-ups work as before. models/eventcount.pml has all of this, and shows that one such look each is enough. */
#ifndef CMP_SHM_EVENTCOUNT_H
#define CMP_SHM_EVENTCOUNT_H

#include "os/atomics.h"
#include "shm/spin.h"

#include <stdbool.h>
#include <stdint.h>

struct cmp_eventcount {
    _Atomic uint32_t word;
};

enum { CMP_EC_QUIET, CMP_EC_SLEEPERS, CMP_EC_WAKING };

void cmp_eventcount_init(struct cmp_eventcount *ec);

uint32_t cmp_eventcount_prepare(struct cmp_eventcount *ec);

/* 0 woken or the word moved, -ETIMEDOUT at min(deadline, now + slice), -EINTR. deadline_ns is absolute
 * CLOCK_MONOTONIC; INT64_MAX is never. */
int cmp_eventcount_sleep(struct cmp_eventcount *ec, uint32_t key, int64_t deadline_ns, int64_t slice_ns);

/* True if the caller must look at its condition once more (it turned WAKING into SLEEPERS). */
bool cmp_eventcount_leave(struct cmp_eventcount *ec, bool more);

/* Nobody is known to sleep. Right after a seq_cst read-modify-write that published the change, true means that the
 * notifier need not call: its load cannot come before that, and a waiter fences between preparing and looking. */
static inline bool cmp_eventcount_quiet(struct cmp_eventcount *ec)
{
    return (cmp_load(&ec->word, seq_cst) & 3) == CMP_EC_QUIET;
}

void cmp_eventcount_notify_one(struct cmp_eventcount *ec);
void cmp_eventcount_notify_all(struct cmp_eventcount *ec);

/* The whole loop, the only one: calls look(arg) until it returns other than -EAGAIN, spinning for spin_ns first, then
 * sleeping. What the waiters of this process have `learnt` here (shm/spin.h; NULL: nothing) makes it spin longer, or,
 * where nothing has come for a while, not at all, and begin with a long slice. Gives look's result, -ETIMEDOUT, -EAGAIN
 * (deadline 0 or earlier: one look), or -EINTR (a signal came while it slept: nothing was taken; the caller runs
 * handlers and calls again with the same deadline).
 * more(arg) says whether the condition still holds for another; NULL: it may (each that leaves then wakes one). */
int cmp_eventcount_wait(struct cmp_eventcount *ec, int (*look)(void *), bool (*more)(void *), void *arg,
                        int64_t deadline_ns, int64_t spin_ns, struct cmp_spin *learnt);

#endif
