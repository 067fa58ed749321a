/* Semaphore: a count in a cell's word. It records no holder, so what a killed process had taken stays taken.
 *
 * word: the value, 0 to the cell's limit. Sleepers are on `changed`. One CAS takes, one gives back; a death between
 * giving back and the wake-up makes a sleeper late (it looks again by itself), never lost. */
#ifndef CMP_SHM_SEMAPHORE_H
#define CMP_SHM_SEMAPHORE_H

#include "shm/cellwait.h"
#include "shm/slab.h"

#include <stdint.h>

/* The stdlib's largest value of a semaphore. */
#define CMP_SEMAPHORE_MAX INT32_MAX

/* One attempt, over all its waits. */
struct cmp_semaphore_take {
    struct cmp_cell *cell;
    struct cmp_patience patience;
};

/* Before anybody else has the cell. */
void cmp_semaphore_init(struct cmp_cell *cell, uint32_t value);

/* 0: one taken. -EAGAIN with deadline 0, else -ETIMEDOUT, -EINTR (call again). */
int cmp_semaphore_take(struct cmp_semaphore_take *take, int64_t deadline_ns);

/* 0, or -EOVERFLOW: it is at its limit. */
int cmp_semaphore_release(struct cmp_cell *cell);

uint32_t cmp_semaphore_value(const struct cmp_cell *cell);

#endif
