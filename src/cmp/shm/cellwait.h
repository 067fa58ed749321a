/* How long a waiter on a cell spins, sleeps, and believes what it last heard of the living. */
#ifndef CMP_SHM_CELLWAIT_H
#define CMP_SHM_CELLWAIT_H

#include "shm/eventcount.h"

#include <stdint.h>

/* One waiter's, kept over all its calls; starts as zeros. */
struct cmp_patience {
    int64_t slice_ns;
};

/* cmp_eventcount_wait() for one slice: spins spin_ns (or as `learnt` says) the first time, then sleeps 20 ms, later up
 * to 500. Gives what look gives; -ETIMEDOUT at the deadline; -EINTR after a signal or at the end of a slice, for the
 * caller to see to signals (one that came just before the sleep interrupts nothing), to the dead, and to call again.
 * With deadline 0 it looks once. */
int cmp_cell_wait(struct cmp_eventcount *ec, int (*look)(void *), bool (*more)(void *), void *arg,
                  int64_t deadline_ns, int64_t spin_ns, struct cmp_spin *learnt, struct cmp_patience *patience);

#endif
