/* Flag: an Event. Setting, clearing and asking are single steps that wait for nobody, dead or alive.
 *
 * word: bit 0 set, bits 1-63 how often it was set: a waiter for whom it was set and cleared again before it could
 * look has been woken all the same. A setter that dies before it has woken everybody makes them late, not lost. */
#ifndef CMP_SHM_FLAG_H
#define CMP_SHM_FLAG_H

#include "shm/cellwait.h"
#include "shm/slab.h"

#include <stdbool.h>
#include <stdint.h>

/* One wait; starts as zeros but for the cell. */
struct cmp_flag_wait {
    struct cmp_cell *cell;
    uint64_t sets; /* 1 + how often it had been set when the wait began; 0: not begun */
    struct cmp_patience patience;
};

void cmp_flag_set(struct cmp_cell *cell);
void cmp_flag_clear(struct cmp_cell *cell);
bool cmp_flag_is_set(const struct cmp_cell *cell);

/* 0: it is set, or was since the wait began. -EAGAIN with deadline 0, else -ETIMEDOUT, -EINTR (call again). */
int cmp_flag_wait(struct cmp_flag_wait *wait, int64_t deadline_ns);

#endif
