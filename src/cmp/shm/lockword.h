/* Lock word: a user's Lock or RLock, one 64-bit word in a cell, taken by one CAS that also names its owner.
 *
 * The word (struct cmp_cell_shm.word):
 *   bits 0-47  cmp_owner of the holder, 0 while free
 *   bit 48     KEPT: the holder means to let go itself, being inside `with` or holding an RLock, so that its death
 *              hands the lock on. Without it the lock is anybody's to release and stays taken when its taker dies.
 *   bits 49-63 epoch: how often the lock was taken over. A holder's copy that was forked inside the body and leaves
 *              it after a take-over finds another epoch, and releases nothing.
 *
 * Sleepers are on `changed`, in the word's own cache line; its state says whether a release must wake one.
 * Whoever dies before the CAS has not taken it, after it has; the same for the release. A death between the release
 * and the wake-up makes it late only: sleepers look again after 20 ms at first, then at most every 500. */
#ifndef CMP_SHM_LOCKWORD_H
#define CMP_SHM_LOCKWORD_H

#include "shm/cellwait.h"
#include "shm/slab.h"

#include <stdbool.h>
#include <stdint.h>

#define CMP_LOCK_OWNER ((UINT64_C(1) << 48) - 1)
#define CMP_LOCK_KEPT (UINT64_C(1) << 48)
#define CMP_LOCK_EPOCH_SHIFT 49

/* One attempt to take a lock, over all its waits. */
struct cmp_lock_take {
    struct cmp_cell *cell;
    bool kept;
    /* Once taken: */
    uint32_t epoch;        /* to be given back to cmp_lockword_leave */
    bool abandoned;        /* taken over from a dead holder ... */
    int32_t abandoned_pid; /* ... with this pid; 0: no longer known */
    /* The attempt's own: */
    uint64_t me;
    struct cmp_patience patience;
};

/* The usual case alone, a free lock: 0 with the epoch, else -EAGAIN. */
int cmp_lockword_try(struct cmp_cell *cell, bool kept, uint32_t *epoch);

/* 0: taken. -EAGAIN with deadline 0, else -ETIMEDOUT, -EINTR (call again). Also a mere try takes over from the dead,
 * but it asks who lives at most every 50 ms for one cell. */
int cmp_lockword_take(struct cmp_lock_take *take, int64_t deadline_ns);

/* 0, or -EPERM: it was free. */
int cmp_lockword_release(struct cmp_cell *cell);

/* Leaves the body entered at `epoch`: 0, -EPERM: it was free, -ESTALE: taken over meanwhile, so nothing was done. */
int cmp_lockword_leave(struct cmp_cell *cell, uint32_t epoch);

/* Who holds it; 0: nobody. */
cmp_owner cmp_lockword_owner(const struct cmp_cell *cell);

#endif
