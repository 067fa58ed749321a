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

/* A tenure: kind in bits 60-63, for ITEM and CHUNK the queue's number in bits 48-59 and the index's low 48 bits, for
 * MEMBER the cmp_owner. Indices are compared by difference within 48 bits. */
enum cmp_tenure_kind { CMP_TENURE_FREE, CMP_TENURE_MEMBER, CMP_TENURE_ITEM, CMP_TENURE_CHUNK };

#define CMP_TENURE(kind, rest) ((uint64_t)(kind) << 60 | (uint64_t)(rest))
#define CMP_TENURE_INDEX_MASK ((UINT64_C(1) << 48) - 1)
#define CMP_TENURE_OF_QUEUE(kind, number, index) \
    CMP_TENURE(kind, (uint64_t)((number) & 0xfff) << 48 | ((index) & CMP_TENURE_INDEX_MASK))
#define CMP_TENURE_KIND(tenure) ((unsigned)((tenure) >> 60))
#define CMP_TENURE_QUEUE(tenure) ((unsigned)((tenure) >> 48 & 0xfff))
#define CMP_TENURE_INDEX(tenure) ((tenure) & CMP_TENURE_INDEX_MASK)
#define CMP_TENURE_OWNER(tenure) ((cmp_owner)((tenure) & CMP_TENURE_INDEX_MASK))

/* A block of at least `size` payload bytes, held by this member. -ENOMEM: the budget (shm/budget.h) or the address
 * space is spent; -EBUSY with `try_only` when the allocator's lock is taken (GIL held). *warm_bytes: how much of it
 * has been touched before (write colder parts with pwrite). */
int cmp_block_alloc(struct cmp_segment *segment, uint64_t size, bool try_only, cmp_ref *block, uint64_t *warm_bytes);
/* Back to its free list; the holder may be this member or, in the sweep and under a queue's lock, anyone. Never
 * fails: memory beyond what is worth keeping warm goes back to the kernel. */
void cmp_block_free(struct cmp_segment *segment, cmp_ref block);
/* The payload of a block, whole; NULL if the reference is not to a block. */
void *cmp_block_payload(struct cmp_segment *segment, cmp_ref block, uint64_t *capacity);
/* The tenure word of a block; NULL if the reference is not to a block. A queue moves it with cmp_store under its
 * lock; the sweep takes a block over by CAS from the tenure it judged. */
_Atomic uint64_t *cmp_block_tenure(struct cmp_segment *segment, cmp_ref block);
/* Writes at an offset of the payload: memcpy where warm, pwrite where cold. Outside every lock. */
int cmp_block_write(struct cmp_segment *segment, cmp_ref block, uint64_t offset, const void *bytes, uint64_t size);

#endif
