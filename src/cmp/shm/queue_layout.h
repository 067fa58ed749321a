/* The bytes of a queue, and what its files share with each other and with nobody else. */
#ifndef CMP_SHM_QUEUE_LAYOUT_H
#define CMP_SHM_QUEUE_LAYOUT_H

#include "shm/chunk.h"
#include "shm/eventcount.h"
#include "shm/mutex.h"
#include "shm/queue.h"

#include <stddef.h>

/* A queue is a chain of chunks. Producers append records at its end under the put lock, takers consume them at its
 * beginning under the take lock; the two meet only in the indices `tail` and `head`, which count items and run free
 * (compare them by difference). An item is there exactly while head <= index < tail.
 *
 *   never changes      magic, number, capacity
 *   under both locks   shut (grows only: open, no more puts, nothing given either), armed (0, then 1 for ever)
 *   under the put lock origin (0, then the first chunk for ever), tail_chunk, tail_off, tail, head_cache, put_broken
 *   under the take lock head_chunk, head_off, head, tail_cache, take_broken
 *   under no lock      dones, idle_at (CAS), the event counts, repairs
 * Each side reads the other's index and nothing else of it; `head_cache` and `tail_cache` are old values of those
 * indices, so what they promise (room, items) is there, and only when they promise nothing is the other side's line
 * fetched. Lock order: take before put before the segment's allocator.
 *
 * PUT, under the put lock. Large payloads have been copied into a block held by MEMBER(me) before.
 *   1 if the tail chunk is full, link one prepared outside the lock:
 *       spare.first := tail    then    old.next := spare         [chunk.link]  (queue.origin for the first)
 *       tenure(spare) := CHUNK(first)                            [chunk.own]
 *       tail_chunk := spare, tail_off := 0                       [queue.tail_chunk] [queue.tail_off]
 *   2 write the record (plain bytes behind the tail, which nobody reads)  [record.header]
 *   3 for a block: tenure := ITEM(index)                         [queue.give]
 *   4 armed: raise the eventfd                                   [queue.raise]
 *   5 tail := index + 1, release                                 [queue.publish]  <- here the put has happened
 *   6 tail_off := behind the record                              [queue.tail_off]
 * A batch repeats 2 and 3 and publishes once, but always before linking, so that first == tail at step 1 and no
 * taker leaves a chunk while tail_chunk still names it: tail_chunk is never a freed chunk.
 * Killed            leaves                                       repaired by
 *   before [chunk.link]   a spare of MEMBER(dead)                the sweep frees it
 *   before [chunk.own]    a linked chunk of MEMBER(dead)         put repair adopts it: tenure, then tail_chunk
 *   before [queue.tail_chunk]  likewise                          likewise
 *   in 2                  bytes behind the tail                  nobody need: the next put overwrites them
 *   before [queue.publish]  ITEM(i) blocks with i >= tail        put repair marks them as passed; the sweep frees
 *   after [queue.raise]   an eventfd raised in vain              who looks in vain lowers it
 *   before 6              tail_off before the last records       put repair walks the tail chunk up to tail
 *
 * TAKE, under the take lock.
 *   1 at an end mark go on in chunk.next, by a local cursor
 *   2 copy the payload out; for a block: tenure := MEMBER(me)    [queue.hold]
 *   3 with a claim word: *claim := tag and index + 1             [queue.claim]
 *   4 head := index + 1, release                                 [queue.head]     <- here the item has left
 *   5 head_chunk := the cursor's chunk                           [queue.head_chunk]
 *     tenure(passed chunk) := MEMBER(me), freed after the lock   [queue.unchain]
 *   6 head_off := the cursor's offset                            [queue.head_off]
 * Killed            leaves                                       repaired by
 *   before [queue.head]   blocks from head on held by the dead   take repair gives them back: ITEM(index)
 *                         a claim of index >= head               on_take_repair withdraws it
 *   before 5              head_chunk before head's chunk         take repair walks on by next and first
 *   before [queue.unchain]  CHUNK(i) with i < head_chunk.first   the sweep frees it
 *   before 6              a stale head_off                       take repair walks the chunk up to head
 * So the sweep decides by indices alone (cmp_queue_keeps): ITEM(i) lives while head <= i < tail, CHUNK(i) while
 * i >= head_chunk.first. It freezes a queue, repairing both sides, before it judges.
 *
 * SLEEPING. Takers sleep on `items`, producers of a full queue on `room`, join on `dones_ec`. Each publishing store
 * (tail; head; dones) is followed by a notify, after the lock, but for the dones of what is thrown away, and each
 * sleeper looks at the index it waits for between prepare and sleep. The woken one passes the wake-up on while there
 * is more (eventcount.h).
 *
 * THE EVENTFD, once armed, is raised exactly while items are there, as seen by whoever holds the put lock: a put
 * raises it, and then publishes, before it lets go of that lock, and a taker that would take the last item holds the
 * put lock too while it takes it and lowers the eventfd. So a single reader that is told of an item and asks for it
 * finds it, waiting at most for the put to end. A producer killed between the two, or a taker, leaves it raised;
 * whoever looks in vain settles that under both locks (cmp_queue_settle).
 *
 * JOIN. Items put and not yet done are tail - dones. task_done moves dones by CAS, never past tail; when the two
 * meet it notes the place in idle_at, so that a joiner that sleeps through that moment still learns of it. A kill
 * before that note only makes the joiner's timed look find dones == tail itself. A get that ends with an item, or
 * with the error of one, is followed by the caller's task_done. What leaves otherwise is done just before [queue.head]
 * or [queue.head_damage]: what a shutdown throws away, and what damage makes a taker pass over beyond the one item it
 * is told of. After a kill in between it is done twice, by the next to throw it away or to pass it. Damaged blocks of a
 * batch are done after [queue.head], once its taker has looked at them: killed before, he takes them along, as he does
 * the batch itself. A joiner of a shut queue throws away itself what is left, whose thrower may be dead. */
struct cmp_queue_shm {
    uint32_t magic;
    uint32_t number;
    uint64_t capacity; /* UINT64_MAX: unbounded */
    _Atomic uint32_t shut;
    _Atomic uint32_t armed;
    _Atomic cmp_ref origin;
    _Atomic uint32_t repairs; /* dead owners met; for tests and campaigns */

    /* 128: two lines, for the adjacent-line prefetcher. The first of the two holds what every call touches. */
    struct cmp_mutex put_lock __attribute__((aligned(128)));
    _Atomic uint64_t tail;
    _Atomic cmp_ref tail_chunk;
    _Atomic uint32_t tail_off;
    _Atomic uint32_t put_broken; /* 1: a holder died, and who met it could not repair the side; the next one has to */
    _Atomic uint64_t head_cache;

    struct cmp_mutex take_lock __attribute__((aligned(128)));
    _Atomic uint64_t head;
    _Atomic cmp_ref head_chunk;
    _Atomic uint32_t head_off;
    _Atomic uint32_t take_broken;
    _Atomic uint64_t tail_cache;

    struct cmp_eventcount items __attribute__((aligned(128)));
    struct cmp_eventcount room __attribute__((aligned(64)));

    _Atomic uint64_t dones __attribute__((aligned(128)));
    _Atomic uint64_t idle_at;
    struct cmp_eventcount dones_ec;
};

_Static_assert(sizeof(struct cmp_queue_shm) == 640, "part of the layout");

/* Not where a mutex has 48 bytes, as on aarch64: there the offset is on the second line, too. */
#define CMP_ONE_LINE(first, last) \
    (sizeof(struct cmp_mutex) > 40 || \
     offsetof(struct cmp_queue_shm, last) + 4 <= offsetof(struct cmp_queue_shm, first) + 64)
_Static_assert(CMP_ONE_LINE(put_lock, put_broken), "one line per side");
_Static_assert(CMP_ONE_LINE(take_lock, take_broken), "one line per side");
#undef CMP_ONE_LINE

#define CMP_QUEUE_MAGIC UINT32_C(0x75716d63) /* "cmqu" */

enum cmp_queue_shut { CMP_QUEUE_OPEN, CMP_QUEUE_DRAINING, CMP_QUEUE_SHUT };

/* Items under one lock at most: bounds how long others wait, and how far a repair has to look. */
#define CMP_QUEUE_BATCH 64

/* How a side's lock is taken. TRY: -EBUSY if it is held. WAIT: slices; -EINTR after one, so that the caller looks at
 * its signals, or -ETIMEDOUT once deadline_ns has passed. A dead holder's side comes back repaired, or not at all:
 * -ENOMEM, -EBADF where this process cannot see what it would have to repair. */
int cmp_queue_lock_put(struct cmp_queue *queue, int64_t deadline_ns);
int cmp_queue_lock_take(struct cmp_queue *queue, int64_t deadline_ns);
static inline void cmp_queue_unlock_put(struct cmp_queue *queue)
{
    cmp_mutex_unlock(&queue->shm->put_lock);
}
static inline void cmp_queue_unlock_take(struct cmp_queue *queue)
{
    cmp_mutex_unlock(&queue->shm->take_lock);
}

/* queue_repair.c. Under the side's lock, after its holder's death. 0; -ENOMEM, -EBADF: this process cannot map all that
 * it has to look at, so that the repair is yet to be done. Doing it again does no harm. */
int cmp_queue_repair_put(struct cmp_queue *queue);
int cmp_queue_repair_take(struct cmp_queue *queue);

/* The chunk where takers are: head_chunk, or the origin before the first take. 0: nothing was ever put. */
cmp_ref cmp_queue_head_chunk(const struct cmp_queue_shm *shm);

/* The eventfd, under the put lock. A descriptor number that no longer is our eventfd is left alone. */
void cmp_queue_raise(struct cmp_queue *queue);
bool cmp_queue_lower(struct cmp_queue *queue); /* whether it was raised */

/* Sweeps the segment if this process met a dead holder since the last time. Without locks and without the GIL. */
void cmp_queue_sweep_if_due(struct cmp_queue *queue);

/* Throws away what is in a queue that is shut, each item counting as done. */
int cmp_queue_discard(struct cmp_queue *queue, int64_t deadline_ns);

/* Spinning before the first sleep. */
int64_t cmp_queue_spin_ns(const struct cmp_queue_shm *shm);

#endif
