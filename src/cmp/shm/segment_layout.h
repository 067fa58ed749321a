/* The bytes of a segment's extent 0, for the files that manage it: segment, extent, budget, block, sweep. */
#ifndef CMP_SHM_SEGMENT_LAYOUT_H
#define CMP_SHM_SEGMENT_LAYOUT_H

#include "shm/mutex.h"
#include "shm/segment.h"

/* One row of the extent table. `offset` and `size` are written once, under the growth lock, before nextents shows the
 * row. `used` is how much of it has been carved into blocks; it moves under the blocks' lock and only up, and
 * everything below it is blocks, head to tail, so that they can be walked. */
struct cmp_extent_shm {
    uint64_t offset;
    uint64_t size;
    _Atomic uint64_t used;
    uint64_t reserved;
};

/* 2^12 to 2^43 payload bytes. */
#define CMP_BLOCK_CLASSES 32

/* The allocator. `lock` guards all but `returned` and `granted`.
 *
 * A free list holds exactly the blocks whose tenure is FREE: after the death of an owner of the lock the lists and the
 * sums are made anew from a walk. `warm` lists blocks with pages in memory, `cold` those given back to the kernel.
 * `returned` is a stack that anyone pushes a block onto without the lock, so that giving a block back never waits;
 * whoever has the lock moves them to the lists. */
struct cmp_blocks_shm {
    struct cmp_mutex lock;
    _Atomic uint64_t busy_bytes;     /* pages of blocks in somebody's hands */
    _Atomic uint64_t idle_bytes;     /* pages of blocks on the lists */
    _Atomic uint64_t unused_bytes;   /* the least that idle_bytes has been ... */
    _Atomic int64_t unused_since_ns; /* ... since then */
    _Atomic uint32_t broken;         /* 1: who met a dead owner could not map all to make the lists anew */
    _Atomic cmp_ref warm[CMP_BLOCK_CLASSES];
    _Atomic cmp_ref cold[CMP_BLOCK_CLASSES];

    /* 128: two lines, for the adjacent-line prefetcher. Takers write here, producers above. */
    _Atomic cmp_ref returned __attribute__((aligned(128)));
    _Atomic uint64_t returned_bytes; /* about how much lies there: a hint when to tidy up */
};

/* Offsets are from the beginning of the file. Up to `granted` everything is written by the creator before `magic`,
 * the last, and never changes. */
struct cmp_segment_shm {
    _Atomic uint32_t magic;
    uint32_t version;
    uint64_t head_bytes;       /* size of extent 0 */
    uint64_t root_offset, root_bytes;
    uint64_t members_offset;
    uint64_t extents_offset;
    uint64_t memory_limit;     /* CMP_MEMORY of the creator, 0 for a share of what there is */

    _Atomic uint64_t granted;  /* bytes that may be held without asking again (shm/budget.h) */
    _Atomic uint64_t limit;    /* what the last who asked was told is the most; 0: nobody asked yet */
    _Atomic uint32_t nextents; /* rows of the extent table that hold; row 0 is extent 0 */
    _Atomic uint32_t nqueues;  /* queues laid out in the root area */
    _Atomic uint32_t repairs;  /* dead owners met of the three locks below; for tests and campaigns */
    struct cmp_mutex growth __attribute__((aligned(64)));   /* adds extents */
    struct cmp_mutex sweeping __attribute__((aligned(64))); /* one sweeper at a time; only ever tried */
    struct cmp_blocks_shm blocks __attribute__((aligned(128)));
};

#define CMP_SEGMENT_MAGIC UINT32_C(0x73706d63) /* "cmps" */

/* The layout, and the C library's mutex in it: processes of two C libraries cannot share one. */
#define CMP_SEGMENT_VERSION ((uint32_t)(1u << 16 | sizeof(struct cmp_mutex) << 1) | CMP_SEGMENT_LIBC)
#ifdef __GLIBC__
#define CMP_SEGMENT_LIBC 1u
#else
#define CMP_SEGMENT_LIBC 0u
#endif

static inline struct cmp_extent_shm *cmp_segment_extents(const struct cmp_segment *segment)
{
    return (struct cmp_extent_shm *)((char *)segment->shm + segment->extents_offset);
}

#endif
