/* The bytes of a block, and what the allocator's files share with each other and with nobody else. */
#ifndef CMP_SHM_BLOCK_LAYOUT_H
#define CMP_SHM_BLOCK_LAYOUT_H

#include "shm/block.h"
#include "shm/segment_layout.h"

/* The life of a block. Allocating is in block_alloc.c, freeing in block_free.c, the lists and their repair in
 * block_list.c, the rest in block.c.
 *
 * ALLOC, under the lock: take a block from the list of its class
 *       list := block.next                                       [block.pop]
 *       tenure := MEMBER(me)                                     [block.take]
 *   or carve a new one from an extent, whose first page was touched before the lock:
 *       header written, tenure MEMBER(me)                        [block.mark]
 *       extent.used := behind it                                 [block.carve]
 *   Without room the lock is let go of, an extent added (shm/extent.h) and all is tried again.
 * FREE, without the lock:
 *       tenure := RETURNED(me)                                   [block.return]
 *       block.next := top, top := block                          [block.push]
 * SETTLE, under the lock, for each block on that stack (only the lock's holder takes from it, so a block cannot have
 * left and come back between the look and the CAS):
 *       tenure := FREE                                           [block.settle]
 *       top := block.next                                        [block.unstack]
 *       list := block                                            [block.list]
 *
 * Killed               leaves                                  and then
 *   before [block.take]    a FREE block on no list             the next owner of the lock makes the lists anew
 *   before [block.carve]   bytes behind `used`                 the next to carve overwrites them
 *   after either           a block of MEMBER(dead)             the sweep frees it
 *   before [block.push]    RETURNED(dead), on no stack         the sweep settles the stack, then frees it
 *   before [block.unstack] a FREE block on the stack           the repair empties the stack first
 *   before [block.list]    a FREE block on no list             the repair lists it
 * Repair: settle without listing until the stack is empty, then walk everything and list what is FREE. It may itself
 * be killed anywhere and is then done again.
 *
 * `size`, `magic` and `class` are written once, before the block shows. `next` belongs to whoever may move the block
 * to or from a list or the stack. `warm_bytes` counts from the header, whole pages; it and `charged_bytes` change under
 * the lock, or by the sole holder; `cold_from` is the holder's own. */
struct cmp_block_shm {
    uint32_t magic;
    uint32_t class;
    uint64_t size; /* with this header */
    _Atomic uint64_t tenure;
    _Atomic cmp_ref next;
    _Atomic uint64_t warm_bytes;
    _Atomic uint64_t charged_bytes; /* what of busy_bytes is for this block */
    _Atomic uint64_t cold_from;
    uint64_t reserved;
};

_Static_assert(sizeof(struct cmp_block_shm) == 64, "part of the layout");

#define CMP_BLOCK_MAGIC UINT32_C(0x62706d63) /* "cmpb" */
#define CMP_BLOCK_PAGE UINT64_C(4096)

/* Bytes of a block of a class, with its header. A class holds 2^k bytes of payload and the headers of us and of our
 * users: 64 KiB or 8 MiB of data with a few bytes before them must not need twice the room, and blocks of one class
 * start at different places of the cache's sets. */
static inline uint64_t cmp_block_class_size(uint32_t class)
{
    return (UINT64_C(1) << (class + 12)) + CMP_BLOCK_PAGE;
}

static inline uint64_t cmp_block_whole_pages(uint64_t bytes)
{
    return (bytes + CMP_BLOCK_PAGE - 1) / CMP_BLOCK_PAGE * CMP_BLOCK_PAGE;
}

static inline struct cmp_blocks_shm *cmp_block_books(const struct cmp_segment *segment)
{
    return &segment->shm->blocks;
}

/* The block at ref, its numbers checked, or NULL. */
struct cmp_block_shm *cmp_block_find(struct cmp_segment *segment, cmp_ref ref);

/* --- block_list.c --- */

/* The allocator's lock, its books repaired after a dead owner: 0; -EBUSY with try_only. */
int cmp_block_lock(struct cmp_segment *segment, bool try_only);
void cmp_block_unlock(struct cmp_segment *segment);

/* The rest under the lock. Moves what was returned to the lists: */
void cmp_block_settle_locked(struct cmp_segment *segment);

/* For whom a block is wanted, and how much of it will be touched (whole pages, with the header). */
struct cmp_block_want {
    cmp_owner me;
    uint64_t bytes;
};
/* Takes the first of a list that is large enough, looking at a few: 0, -ENOENT, or -EDQUOT: the pages it lacks are not
 * granted. */
int cmp_block_pop(struct cmp_segment *segment, _Atomic cmp_ref *list, const struct cmp_block_want *want, cmp_ref *out);
/* May so many bytes more be held? 0 or -EDQUOT. */
int cmp_block_may_hold(const struct cmp_segment *segment, uint64_t more_bytes);
/* Books a block, `warm` bytes of which have been touched, as about to be filled. Nobody else knows of it. */
void cmp_block_charge(struct cmp_segment *segment, struct cmp_block_shm *block, uint64_t warm, uint64_t bytes);

#endif
