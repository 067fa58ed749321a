#include "shm/chunk.h"

#include <errno.h>
#include <stddef.h>

_Static_assert(offsetof(struct cmp_chunk_shm, records) == 16, "part of the layout");

#define PAGE 4096 /* the smallest there is; touching more often than needed does no harm */

int cmp_chunk_view(struct cmp_segment *segment, cmp_ref ref, struct cmp_chunk *chunk)
{
    uint64_t capacity = 0;
    _Atomic uint64_t *tenure;
    int code = cmp_block_reach(segment, ref, &tenure);
    if (code < 0) return code;
    void *payload = cmp_block_payload(segment, ref, &capacity);
    /* Every chunk takes at least one record of each kind and its end mark. */
    if (payload == NULL || capacity < CMP_CHUNK_FIRST_BYTES) return -EBADMSG;
    if (capacity > CMP_CHUNK_BYTES) capacity = CMP_CHUNK_BYTES;
    struct cmp_chunk found = {.ref = ref, .shm = payload,
                              .size = (uint32_t)((capacity - sizeof(struct cmp_chunk_shm)) & ~UINT64_C(7))};
    cmp_chunk_keep(chunk, &found);
    return 0;
}

void cmp_chunk_keep(struct cmp_chunk *view, const struct cmp_chunk *chunk)
{
    cmp_private_store(&view->ref, 0, relaxed);
    /* The old view is gone before the new one's parts show, and these before its name does. */
    cmp_fence(release);
    view->shm = chunk->shm;
    view->size = chunk->size;
    cmp_private_store(&view->ref, cmp_load(&chunk->ref, relaxed), release);
}

int cmp_chunk_create(struct cmp_segment *segment, uint64_t bytes, bool try_only, cmp_ref *ref)
{
    cmp_ref block = 0;
    uint64_t warm_bytes = 0;
    int code = cmp_block_alloc(segment, bytes, try_only, &block, &warm_bytes);
    if (code < 0) return code;
    uint64_t capacity = 0;
    char *payload = cmp_block_payload(segment, block, &capacity);
    if (payload == NULL) {
        cmp_block_free(segment, block);
        return -ENOMEM;
    }
    for (uint64_t at = warm_bytes & ~(uint64_t)(PAGE - 1); at < bytes; at += PAGE) {
        /* Nobody else knows of these bytes yet. */
        *(volatile char *)(payload + at) = 0;
    }
    *ref = block;
    return 0;
}

int cmp_chunk_find(const struct cmp_chunk *chunk, uint64_t index, uint32_t *offset)
{
    uint64_t left = index - cmp_load(&chunk->shm->first, relaxed);
    /* A record takes its header at least, so more than this many cannot lie here. */
    if (left > chunk->size / CMP_RECORD_HEADER) return -EBADMSG;
    uint32_t at = 0;
    while (left > 0) {
        struct cmp_record_view record;
        int code = cmp_record_read(chunk->shm->records + at, chunk->size - at, &record);
        if (code < 0) return code;
        if (record.kind == CMP_RECORD_IS_END) return -EBADMSG;
        at += record.step;
        left--;
    }
    *offset = at;
    return 0;
}
