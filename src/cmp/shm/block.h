/* Blocks: pieces of a segment in size classes (powers of two from 4 KiB), reused last-in first-out, for large
 * payloads and for the queues' chunks. Copies in and out happen outside every lock.
 *
 * A block begins with a 64-byte header; the word `tenure` says who has it, and by it alone the sweep decides:
 *   FREE            on a free list (lists can be rebuilt from the headers, and are after a dead owner)
 *   MEMBER(owner)   being filled or read by that process: freed by the sweep when it is dead
 *   ITEM(queue, i)  the payload of item i of a queue: alive while head <= i < tail of that queue
 *   CHUNK(queue, i) a chunk whose first item is i: alive while it lies on that queue's chain
 * so a kill between any two stores leaves each block either where it belongs or with one that the sweep frees. */
#ifndef CMP_SHM_BLOCK_H
#define CMP_SHM_BLOCK_H

#include "shm/segment.h"

/* A block of at least `size` payload bytes, held by this member. -ENOMEM: the budget (shm/budget.h) or the address
 * space is spent; -EBUSY with `try_only` when the allocator's lock is taken (GIL held). *warm_bytes: how much of it
 * has been touched before (write colder parts with pwrite). */
int cmp_block_alloc(struct cmp_segment *segment, uint64_t size, bool try_only, cmp_ref *block, uint64_t *warm_bytes);
/* Back to its free list; the holder may be this member or, in the sweep and under a queue's lock, anyone. Never
 * fails: memory beyond what is worth keeping warm goes back to the kernel. */
void cmp_block_free(struct cmp_segment *segment, cmp_ref block);
/* The payload of a block, whole; NULL if the reference is not to a block. */
void *cmp_block_payload(struct cmp_segment *segment, cmp_ref block, uint64_t *capacity);
/* Writes at an offset of the payload: memcpy where warm, pwrite where cold. Outside every lock. */
int cmp_block_write(struct cmp_segment *segment, cmp_ref block, uint64_t offset, const void *bytes, uint64_t size);

#endif
