/* Blocks: pieces of a segment in size classes (powers of two from 4 KiB), reused last-in first-out, for large
 * payloads and for the queues' chunks. Copies in and out happen outside every lock.
 *
 * A block begins with a 64-byte header; the word `tenure` says who has it, and by it alone the sweep decides:
 *   FREE            on a free list (lists can be rebuilt from the headers, and are after a dead owner)
 *   RETURNED(owner) given back by that process: on the way to the stack of returned blocks, or on it
 *   MEMBER(owner)   being filled or read by that process: freed by the sweep when it is dead
 *   ITEM(queue, i)  the payload of item i of a queue: alive while head <= i < tail of that queue
 *   CHUNK(queue, i) a chunk whose first item is i: alive while it lies on that queue's chain
 * so a kill between any two stores leaves each block either where it belongs or with one that the sweep frees. */
#ifndef CMP_SHM_BLOCK_H
#define CMP_SHM_BLOCK_H

#include "shm/segment.h"

/* A tenure: kind in bits 60-63, for ITEM and CHUNK the queue's number in bits 48-59 and the index's low 48 bits, for
 * MEMBER and RETURNED the cmp_owner. Indices are compared by difference within 48 bits. */
enum cmp_tenure_kind {
    CMP_TENURE_FREE,
    CMP_TENURE_MEMBER,
    CMP_TENURE_ITEM,
    CMP_TENURE_CHUNK,
    CMP_TENURE_RETURNED,
};

#define CMP_TENURE(kind, rest) ((uint64_t)(kind) << 60 | (uint64_t)(rest))
#define CMP_TENURE_INDEX_MASK ((UINT64_C(1) << 48) - 1)
#define CMP_TENURE_OF_QUEUE(kind, number, index) \
    CMP_TENURE(kind, (uint64_t)((number) & 0xfff) << 48 | ((index) & CMP_TENURE_INDEX_MASK))
#define CMP_TENURE_KIND(tenure) ((unsigned)((tenure) >> 60))
#define CMP_TENURE_QUEUE(tenure) ((unsigned)((tenure) >> 48 & 0xfff))
#define CMP_TENURE_INDEX(tenure) ((tenure) & CMP_TENURE_INDEX_MASK)
#define CMP_TENURE_OWNER(tenure) ((cmp_owner)((tenure) & CMP_TENURE_INDEX_MASK))

/* A block of at least `size` payload bytes, held by this member. -ENOMEM: the budget (shm/budget.h), the address space
 * or the extents are spent; -EBADF: the segment's descriptor was closed behind our back and there is no room without
 * it; -EBUSY with `try_only` (GIL held) when an internal lock is taken or the budget is spent unless the dead held some
 * of it, without it -EINTR when a holder stands still.
 * *warm_bytes: how much of the payload has been touched before (cmp_block_write knows, too). No lock of the segment
 * may be held. */
int cmp_block_alloc(struct cmp_segment *segment, uint64_t size, bool try_only, cmp_ref *block, uint64_t *warm_bytes);
/* Back to its free list; the holder may be this member or, in the sweep and under a queue's lock, anyone. Never fails
 * and never waits. Memory beyond what is worth keeping warm goes back to the kernel, in the course of this call. */
void cmp_block_free(struct cmp_segment *segment, cmp_ref block);
/* The payload of a block, whole, 64 bytes behind a page's beginning; NULL if the reference is not to a block (or its
 * extent cannot be mapped). */
void *cmp_block_payload(struct cmp_segment *segment, cmp_ref block, uint64_t *capacity);
/* The tenure word of a block; NULL if the reference is not to a block (or its extent cannot be mapped). A queue moves
 * it with cmp_store under its lock; the sweep takes a block over by CAS from the tenure it judged. */
_Atomic uint64_t *cmp_block_tenure(struct cmp_segment *segment, cmp_ref block);
/* The same for who has to know why there is none: 0; -EBADMSG: the reference is not to a block, which is damage;
 * -ENOMEM, -EBADF: this process cannot map its extent, and what it cannot see it must not judge. */
int cmp_block_reach(struct cmp_segment *segment, cmp_ref block, _Atomic uint64_t **tenure);
/* Writes at an offset of the payload of a block this member holds: memcpy where warm, pwrite where cold. Outside every
 * lock. -EBADMSG: not inside a block, -ENOMEM: the kernel has no page. */
int cmp_block_write(struct cmp_segment *segment, cmp_ref block, uint64_t offset, const void *bytes, uint64_t size);

/* Calls visit(arg, block, tenure word) for every block there is. 0, or -ENOMEM, -EBADF if an extent could not be
 * mapped, -EUCLEAN if a header on the way is none. Blocks may change hands meanwhile; none disappears. */
int cmp_block_walk(struct cmp_segment *segment, void (*visit)(void *arg, cmp_ref block, _Atomic uint64_t *tenure),
                   void *arg);
/* Moves what was returned to the lists, so that a RETURNED(dead) found afterwards is on no list and no stack: 0, or
 * -ETIMEDOUT. Without the GIL. */
int cmp_block_settle(struct cmp_segment *segment);
/* For the sweep: frees the block if its tenure still is `judged`. A kill half-way leaves it to the next sweep as
 * RETURNED(for_whom): a member that this sweep buries afterwards, or this one. */
bool cmp_block_reclaim(struct cmp_segment *segment, cmp_ref block, uint64_t judged, cmp_owner for_whom);
/* Gives the memory of free blocks back to the kernel until at most keep_bytes of it are left. Never waits. */
void cmp_block_trim(struct cmp_segment *segment, uint64_t keep_bytes);

/* How much memory blocks hold: in somebody's hands, and free but warm. */
struct cmp_block_use {
    uint64_t busy_bytes, idle_bytes;
};
struct cmp_block_use cmp_block_use(const struct cmp_segment *segment);
/* 0 if lists, sums and headers agree, else -EUCLEAN. For tests; the allocator's lock is held meanwhile. */
int cmp_block_check(struct cmp_segment *segment);

#endif
