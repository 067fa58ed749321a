/* Condition: waiters that are found one by one, so that a notification never goes to a dead one.
 *
 * It knows nothing of the lock that its users hold around it, and stays whole even if they do not: every step is one
 * atomic operation. A waiter holds a ticket of the cell from before it lets go of the lock until it has come back:
 *
 *   IDLE      free, or claimed and not yet waiting
 *   WAITING   may be notified; its waiter spins
 *   ASLEEP    may be notified; its waiter sleeps on `state` and has to be woken
 *   NOTIFIED  its waiter will return true
 *
 * Only the waiter makes it WAITING, ASLEEP and, from any of the three, IDLE; only a notifier makes it NOTIFIED. A
 * waiter that dies leaves its ticket. notify() passes over the WAITING of the dead, and a notification that reached a
 * waiter just before its death is passed on by another sleeper within a second: by one who first makes the ticket its
 * own, so that its death too leaves a notification of the dead.
 *
 * Who finds no free ticket (CMP_CELL_TICKETS wait already) joins the crowd: `aux` counts those that wait (bits 0-31)
 * and the notifications granted to them (bits 32-63, never more); they sleep on `crowd`. The crowd is notified after
 * the ticket holders and names nobody: what its dead took, nobody gets back. */
#ifndef CMP_SHM_CONDITION_H
#define CMP_SHM_CONDITION_H

#include "shm/cellwait.h"
#include "shm/slab.h"

#include <stdbool.h>
#include <stdint.h>

/* One wait. */
struct cmp_condition_wait {
    struct cmp_cell *cell;
    struct cmp_ticket_shm *ticket; /* NULL: in the crowd */
    bool granted;                  /* the crowd's notification is ours */
    struct cmp_patience patience;
};

/* Begins a wait, with the user's lock held: from here on a notification reaches it. Never fails. */
void cmp_condition_enter(struct cmp_condition_wait *wait, struct cmp_cell *cell);
/* 0: notified. -EAGAIN with deadline 0, else -ETIMEDOUT, -EINTR (call again). */
int cmp_condition_sleep(struct cmp_condition_wait *wait, int64_t deadline_ns);
/* Ends a wait, however it went; true if it was notified, be it at the last moment. */
bool cmp_condition_leave(struct cmp_condition_wait *wait);

/* Notifies the `most` that wait longest, and gives how many there were. */
uint64_t cmp_condition_notify(struct cmp_cell *cell, uint64_t most);

/* Takes back what the dead hold, after handing on the notifications that reached them. */
void cmp_condition_sweep(struct cmp_cell *cell);

/* How many wait, the dead that were not met yet included. */
uint32_t cmp_condition_waiting(const struct cmp_cell *cell);

#endif
