/* What the dead leave behind, put right by whoever locks a side after them; the tables in queue_layout.h. */
#include "shm/queue_layout.h"

#include <errno.h>

static uint64_t masked_distance(uint64_t from, uint64_t to)
{
    return (to - from) & CMP_TENURE_INDEX_MASK;
}

cmp_ref cmp_queue_head_chunk(const struct cmp_queue_shm *shm)
{
    cmp_ref ref = cmp_load(&shm->head_chunk, relaxed);
    return ref != 0 ? ref : cmp_load(&shm->origin, acquire);
}

/* A chunk that was linked and not yet taken into the books. 0; what cmp_chunk_view says if it cannot be seen. */
static int adopt(struct cmp_queue *queue, cmp_ref ref, struct cmp_chunk *chunk)
{
    struct cmp_queue_shm *shm = queue->shm;
    int code = cmp_chunk_view(queue->segment, ref, chunk);
    if (code < 0) return code;
    _Atomic uint64_t *tenure = cmp_block_tenure(queue->segment, ref);
    uint64_t first = cmp_load(&chunk->shm->first, relaxed);
    cmp_store(tenure, CMP_TENURE_OF_QUEUE(CMP_TENURE_CHUNK, shm->number, first), release, "queue.adopt");
    cmp_store(&shm->tail_chunk, ref, release, "queue.adopt_chunk");
    return 0;
}

/* Blocks given to items that were never published: marked as belonging to an item long gone, so that the sweep that
 * follows a repair frees them. Records behind the tail may be anything; only a tenure that names exactly the item to
 * come is the dead producer's. */
static void condemn_unpublished(struct cmp_queue *queue, const struct cmp_chunk *chunk, uint64_t tail, uint32_t off)
{
    struct cmp_queue_shm *shm = queue->shm;
    uint64_t gone = CMP_TENURE_OF_QUEUE(CMP_TENURE_ITEM, shm->number, cmp_load(&shm->head, acquire) - 1);
    for (uint64_t i = 0; i < CMP_QUEUE_BATCH; i++) {
        struct cmp_record_view record;
        if (cmp_record_read(chunk->shm->records + off, chunk->size - off, &record) < 0) return;
        if (record.kind == CMP_RECORD_IS_END) return;
        if (record.kind == CMP_RECORD_IS_BLOCK) {
            _Atomic uint64_t *tenure = cmp_block_tenure(queue->segment, record.block);
            uint64_t given = CMP_TENURE_OF_QUEUE(CMP_TENURE_ITEM, shm->number, tail + i);
            if (tenure != NULL && cmp_load(tenure, relaxed) == given)
                cmp_store(tenure, gone, release, "queue.condemn");
        }
        off += record.step;
    }
}

/* -EBADMSG is damage, which a repair leaves to those who come upon it; what cannot be seen has to be repaired yet. */
static int blind(int code)
{
    return code == -EBADMSG ? 0 : code;
}

int cmp_queue_repair_put(struct cmp_queue *queue)
{
    struct cmp_queue_shm *shm = queue->shm;
    uint64_t tail = cmp_load(&shm->tail, relaxed);
    struct cmp_chunk chunk = {0};
    cmp_private_store(&queue->tail_view.ref, 0, relaxed);
    cmp_ref ref = cmp_load(&shm->tail_chunk, relaxed);
    bool first_put = ref == 0;
    if (first_put) ref = cmp_load(&shm->origin, relaxed);
    if (ref == 0) return 0; /* nothing was ever put */
    int code = first_put ? adopt(queue, ref, &chunk) : cmp_chunk_view(queue->segment, ref, &chunk);
    if (code < 0) return blind(code);
    cmp_ref next = cmp_load(&chunk.shm->next, relaxed);
    if (next != 0) code = adopt(queue, next, &chunk);
    if (blind(code) < 0) return code;
    uint32_t off = 0;
    if (cmp_chunk_find(&chunk, tail, &off) < 0) off = chunk.size; /* damaged: write no more into this chunk */
    cmp_store(&shm->tail_off, off, relaxed, "queue.repair_tail_off");
    condemn_unpublished(queue, &chunk, tail, off);
    if (cmp_load(&shm->armed, relaxed) != 0 && cmp_load(&shm->head, acquire) != tail) cmp_queue_raise(queue);
    return 0;
}

/* Blocks that the dead taker had taken hold of before it moved the head are items again. It held at most a batch. */
static int give_back_held(struct cmp_queue *queue, struct cmp_chunk chunk, uint64_t head, uint64_t tail, uint32_t off)
{
    struct cmp_queue_shm *shm = queue->shm;
    for (uint64_t i = 0; i < CMP_QUEUE_BATCH && head + i != tail;) {
        struct cmp_record_view record;
        if (off > chunk.size) return 0;
        if (cmp_record_read(chunk.shm->records + off, chunk.size - off, &record) < 0) return 0;
        if (record.kind == CMP_RECORD_IS_END) {
            struct cmp_chunk next = {0};
            int code = cmp_chunk_view(queue->segment, cmp_load(&chunk.shm->next, acquire), &next);
            if (code < 0) return blind(code);
            if (cmp_load(&next.shm->first, relaxed) != head + i) return 0;
            cmp_chunk_keep(&chunk, &next);
            off = 0;
            continue;
        }
        if (record.kind == CMP_RECORD_IS_BLOCK) {
            _Atomic uint64_t *tenure;
            int code = cmp_block_reach(queue->segment, record.block, &tenure);
            if (blind(code) < 0) return code;
            if (code == 0 && CMP_TENURE_KIND(cmp_load(tenure, relaxed)) == CMP_TENURE_MEMBER)
                cmp_store(tenure, CMP_TENURE_OF_QUEUE(CMP_TENURE_ITEM, shm->number, head + i), release,
                          "queue.give_back");
        }
        off += record.step;
        i++;
    }
    return 0;
}

int cmp_queue_repair_take(struct cmp_queue *queue)
{
    struct cmp_queue_shm *shm = queue->shm;
    uint64_t head = cmp_load(&shm->head, relaxed), tail = cmp_load(&shm->tail, acquire);
    struct cmp_chunk chunk = {0};
    cmp_private_store(&queue->head_view.ref, 0, relaxed);
    cmp_store(&shm->tail_cache, tail, relaxed, "queue.repair_tail_cache");
    if (queue->on_take_repair != NULL) queue->on_take_repair(queue->repair_arg, head);
    cmp_ref ref = cmp_queue_head_chunk(shm);
    if (ref == 0) return 0;
    int code = cmp_chunk_view(queue->segment, ref, &chunk);
    if (code < 0) return blind(code);
    /* On to the chunk where the head is. A chunk without a published item is not entered: tail_chunk may still name
     * the one before it. */
    for (;;) {
        struct cmp_chunk next = {0};
        code = cmp_chunk_view(queue->segment, cmp_load(&chunk.shm->next, acquire), &next);
        if (blind(code) < 0) return code;
        if (code < 0) break;
        uint64_t first = cmp_load(&next.shm->first, relaxed);
        if ((int64_t)(head - first) < 0 || (int64_t)(tail - first) <= 0) break;
        cmp_store(&shm->head_chunk, cmp_load(&next.ref, relaxed), release, "queue.repair_head_chunk");
        cmp_chunk_keep(&chunk, &next);
    }
    uint32_t off = 0;
    if (cmp_chunk_find(&chunk, head, &off) < 0) return 0;
    cmp_store(&shm->head_off, off, relaxed, "queue.repair_head_off");
    return give_back_held(queue, chunk, head, tail, off);
}

bool cmp_queue_keeps(const struct cmp_queue *queue, uint64_t tenure)
{
    struct cmp_queue_shm *shm = queue->shm;
    uint64_t index = CMP_TENURE_INDEX(tenure);
    if (CMP_TENURE_KIND(tenure) == CMP_TENURE_ITEM) {
        uint64_t head = cmp_load(&shm->head, acquire), tail = cmp_load(&shm->tail, acquire);
        return masked_distance(head, index) < tail - head;
    }
    struct cmp_chunk chunk = {0};
    cmp_ref ref = cmp_load(&shm->head_chunk, relaxed);
    if (ref == 0) return true; /* nothing was taken yet: every chunk that is linked holds something */
    if (cmp_chunk_view(queue->segment, ref, &chunk) < 0) return true;
    return masked_distance(cmp_load(&chunk.shm->first, relaxed), index) <= CMP_TENURE_INDEX_MASK / 2;
}

/* Every record from head to tail, read as a taker would. */
static int check_chain(struct cmp_queue *queue)
{
    struct cmp_queue_shm *shm = queue->shm;
    uint64_t head = cmp_load(&shm->head, relaxed), tail = cmp_load(&shm->tail, relaxed);
    if (tail - head > shm->capacity) return -EUCLEAN;
    if (tail - cmp_load(&shm->dones, relaxed) > INT64_MAX) return -EUCLEAN;
    cmp_ref ref = cmp_queue_head_chunk(shm);
    if (ref == 0) return tail == 0 && cmp_load(&shm->tail_chunk, relaxed) == 0 ? 0 : -EUCLEAN;
    struct cmp_chunk chunk = {0};
    if (cmp_chunk_view(queue->segment, ref, &chunk) < 0) return -EUCLEAN;
    uint32_t off = cmp_load(&shm->head_off, relaxed), found;
    if (cmp_chunk_find(&chunk, head, &found) < 0 || found != off) return -EUCLEAN;
    for (uint64_t i = head;;) {
        _Atomic uint64_t *tenure = cmp_block_tenure(queue->segment, cmp_load(&chunk.ref, relaxed));
        if (tenure == NULL || cmp_load(tenure, relaxed) != CMP_TENURE_OF_QUEUE(CMP_TENURE_CHUNK, shm->number,
                                                                               cmp_load(&chunk.shm->first, relaxed)))
            return -EUCLEAN;
        for (; i != tail; i++) {
            struct cmp_record_view record;
            if (off > chunk.size || cmp_record_read(chunk.shm->records + off, chunk.size - off, &record) < 0)
                return -EUCLEAN;
            if (record.kind == CMP_RECORD_IS_END) break;
            if (record.kind == CMP_RECORD_IS_BLOCK) {
                tenure = cmp_block_tenure(queue->segment, record.block);
                if (tenure == NULL ||
                    cmp_load(tenure, relaxed) != CMP_TENURE_OF_QUEUE(CMP_TENURE_ITEM, shm->number, i))
                    return -EUCLEAN;
            }
            off += record.step;
        }
        cmp_ref next = cmp_load(&chunk.shm->next, relaxed);
        if (next == 0) break;
        if (cmp_chunk_view(queue->segment, next, &chunk) < 0) return -EUCLEAN;
        if (cmp_load(&chunk.shm->first, relaxed) != i) return -EUCLEAN;
        off = 0;
        if (i == tail) break; /* linked, and nothing in it yet */
    }
    if (cmp_load(&chunk.ref, relaxed) != cmp_load(&shm->tail_chunk, relaxed)) return -EUCLEAN;
    return off == cmp_load(&shm->tail_off, relaxed) ? 0 : -EUCLEAN;
}

int cmp_queue_check(struct cmp_queue *queue)
{
    int code = cmp_queue_freeze(queue);
    if (code < 0) return code;
    code = check_chain(queue);
    cmp_queue_thaw(queue);
    return code;
}
