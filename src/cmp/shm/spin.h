/* Spinning: looking again and again for a few microseconds before going to sleep.
 *
 * Two processes that answer each other are in one of two steady states. Either each answer comes within the other's
 * short spin, and a round trip costs about a microsecond; or both sleep, each wake-up takes the kernel (and the
 * hypervisor, whose processor has gone idle) longer than the other's short spin, so both go on sleeping, and a round
 * trip costs thirty. A single waiter that holds out for one wake-up's time brings the pair from the second state to
 * the first. So a waiter spins long: always, as long as that succeeds, and at ever greater distances when it is in
 * vain (the other side computes, or has no processor to run on). Where nothing was answered within any spin for long,
 * short ones are left out too: with more processes than processors they only keep the other side from running.
 *
 * Where both share one processor, no spin can succeed, but giving way can: sched_yield() lets the other side run at
 * once, and two of them make a round trip in half the time of two sleeps and two wake-ups. While that succeeds, waiters
 * give way and do nothing else. It is the right thing for exactly two: a third process that computes takes its whole
 * time slice when it is given way to, where a sleeper that is woken would have been let in before it. So after a slow
 * one nobody gives way for as long as it took, and if that happens again and again, for some hundred times as long. */
#ifndef CMP_SHM_SPIN_H
#define CMP_SHM_SPIN_H

#include <stdatomic.h>
#include <stdint.h>

/* What one process has learnt at one place of waiting. Private to the process, zeros at first; threads may share it:
 * a lost update only makes a long spin come sooner or later. */
struct cmp_spin {
    _Atomic uint32_t quick;   /* answers in a row within the short spin */
    _Atomic uint32_t skip;    /* so many more waits do not hold out */
    _Atomic uint32_t backoff; /* what skip is set to next */
    _Atomic uint32_t vain;    /* spins in vain since one was not */
    _Atomic uint32_t yields;        /* answers in a row that came by giving way */
    _Atomic uint32_t yield_skip;    /* so many more waits do not give way */
    _Atomic uint32_t yield_backoff; /* what yield_skip is set to next */
    _Atomic uint32_t yield_penalty; /* a slow one bars the way for this many times as long as it took */
    _Atomic int64_t no_yield_ns;    /* ... that is, until then */
    _Atomic uint32_t idle_ms; /* how long the sleeps here have grown (shm/eventcount.c); 0: something came lately */
};

/* Calls look(arg) until it gives other than -EAGAIN: for short_ns, then, where `learnt` (NULL: never) says that it is
 * time for that, after giving way once, and for a long spin; no spin goes beyond the deadline. */
int cmp_spin(struct cmp_spin *learnt, int (*look)(void *), void *arg, int64_t deadline_ns, int64_t short_ns);

#endif
