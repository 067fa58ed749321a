/* Pool table: which worker has which task, in the pool's segment beside its two queues.
 *
 *   root area:  task queue | result queue | pool table { header line, one line per worker slot }
 *
 * A slot's words and who writes them:
 *   claim     0: no task; else CMP_QUEUE_CLAIM of the task this worker has taken and not yet answered. Set by the
 *             worker inside cmp_queue_take, under the take lock, before the task leaves the queue [queue.claim];
 *             cleared by the worker once the result is published [pool.answer]; by whoever repairs the take lock, if
 *             the task never left the queue [pool.withdraw]; by the parent when the worker is gone [pool.free].
 *   since_ns  when the claimed task was begun, CLOCK_MONOTONIC; 0: there is none, or it is not yet begun. The worker's;
 *             the parent's while the slot is free. Only read after the worker's death.
 *   begun     how many tasks it has taken in its life; the worker's.
 *   life      FREE -> STARTING (parent, before the fork) -> READY (worker, its initializer done) -> FREE (parent, once
 *             the worker's death has been settled).
 *
 * What a kill leaves, for the parent to settle after it has read all results published before:
 *   before [queue.claim]                       claim 0: the task is still in the queue, nothing is lost
 *   between [queue.claim] and [queue.head]     a claim of the item at the head, or withdrawn by the repair: likewise
 *   between [queue.head] and [queue.publish]   claim stands, no result came: the task has failed
 *   between [queue.publish] and [pool.answer]  claim stands, but its result came, so its id is answered already
 * A task id is answered once, in the parent's own table (py/tasks.h), so each task has exactly one outcome.
 *
 * `wanted` is the parent's: somebody there sleeps in poll() and wants to hear of the next result. A worker that has
 * published one takes the wish back and raises the eventfd: one system call per wish, none while a caller waits in
 * the result queue itself. Parent: wanted := 1, fence, look at the queue, poll. Worker: publish, fence, look at
 * wanted. At least one sees the other. */
#ifndef CMP_SHM_POOLTABLE_H
#define CMP_SHM_POOLTABLE_H

#include "os/atomics.h"

#include <stddef.h>

enum cmp_worker_life { CMP_WORKER_FREE, CMP_WORKER_STARTING, CMP_WORKER_READY };

struct cmp_worker_shm {
    _Alignas(64) _Atomic uint64_t claim;
    _Atomic int64_t since_ns;
    _Atomic uint64_t begun;
    _Atomic uint32_t life;
};

struct cmp_pooltable {
    _Alignas(64) uint32_t magic; /* set last by init, never changed, like nslots */
    uint32_t nslots;
    _Alignas(64) _Atomic uint32_t wanted;
    struct cmp_worker_shm slots[];
};

size_t cmp_pooltable_size(uint32_t nslots);
/* On zeroed memory. */
void cmp_pooltable_init(struct cmp_pooltable *table, uint32_t nslots);
/* -EPROTO: no table of that size lies in these bytes. */
int cmp_pooltable_check(const struct cmp_pooltable *table, size_t bytes);

/* Parent: a free slot, STARTING from now on. -ENOSPC. */
int cmp_pooltable_open(struct cmp_pooltable *table, uint32_t *slot);
/* Parent: the worker of this slot is gone, and its claim has been seen to. */
void cmp_pooltable_close(struct cmp_pooltable *table, uint32_t slot);

/* The tag of the task that has left the queue with the dead worker of this slot, 0: none has. `head` is the task
 * queue's (cmp_queue_head), read after the worker's death and before this call. Exact without any lock. */
uint32_t cmp_pooltable_lost(const struct cmp_pooltable *table, uint32_t slot, uint64_t head);
/* For cmp_queue.on_take_repair, `table` being its argument: claims of items that are still in the queue are none. */
void cmp_pooltable_withdraw(void *table, uint64_t head);

/* Worker: the task it has just taken begins; the result of it is published. */
void cmp_worker_begin(struct cmp_worker_shm *worker, int64_t now_ns);
void cmp_worker_answer(struct cmp_worker_shm *worker);

void cmp_pooltable_want(struct cmp_pooltable *table);
void cmp_pooltable_unwant(struct cmp_pooltable *table);
/* Worker, after publishing: true if the parent has to be told, which is then this worker's to do. */
bool cmp_pooltable_tell(struct cmp_pooltable *table);

#endif
