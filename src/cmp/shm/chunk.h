/* Chunk: a block full of records, linked to the next. Whose it is and when it may go, the queue decides. */
#ifndef CMP_SHM_CHUNK_H
#define CMP_SHM_CHUNK_H

#include "shm/block.h"
#include "shm/record.h"

/* What lies in the block. Written under the put lock; `next` is 0 until the next chunk is linked and then stays. */
struct cmp_chunk_shm {
    _Atomic uint64_t first; /* index of the first record in it */
    _Atomic cmp_ref next;
    char records[];
};

/* The first chunk of a queue is small (a thousand queues should be cheap), the others so large that linking one
 * costs nothing per item. Both leave room for the block's and the chunk's header in a power of two. */
#define CMP_CHUNK_FIRST_BYTES ((uint64_t)(16 * 1024 - 64))
#define CMP_CHUNK_BYTES ((uint64_t)(64 * 1024 - 64))

/* A chunk as this process sees it. Extents never move, so a view stays good while the segment is open. */
struct cmp_chunk {
    _Atomic cmp_ref ref; /* 0: no view yet */
    struct cmp_chunk_shm *shm;
    uint32_t size; /* bytes of records */
};

/* Makes *chunk the view of `ref`: 0; -EBADMSG: that is no chunk; -ENOMEM, -EBADF: it cannot be seen from here (see
 * cmp_block_reach). */
int cmp_chunk_view(struct cmp_segment *segment, cmp_ref ref, struct cmp_chunk *chunk);

/* *view := *chunk, for a view that is kept: a fork in another thread may strike anywhere in between, and what the
 * child then sees is either view or none. */
void cmp_chunk_keep(struct cmp_chunk *view, const struct cmp_chunk *chunk);

/* An empty chunk, held by this member, its pages touched, so that no page fault strikes under the lock. */
int cmp_chunk_create(struct cmp_segment *segment, uint64_t bytes, bool try_only, cmp_ref *ref);

/* The offset of record `index`, found by walking from the chunk's first; the index may be one past the last written.
 * -EBADMSG if the way there is not whole. */
int cmp_chunk_find(const struct cmp_chunk *chunk, uint64_t index, uint32_t *offset);

#endif
