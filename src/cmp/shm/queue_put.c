/* Putting: steps 1 to 6 of the essay in queue_layout.h. */
#include "shm/queue_layout.h"

#include "os/clock.h"

#include <errno.h>

/* More than this is copied without the GIL (some 3 us; giving the GIL up and taking it again costs 0.1). */
#define GIL_COPY_BYTES (16 * 1024)

struct putting {
    struct cmp_queue *queue;
    const struct cmp_message *messages;
    size_t n, done;     /* of this batch */
    int64_t deadline_ns;
    cmp_ref spare;      /* a chunk in waiting, of MEMBER(me), or 0 */
    size_t prepared;    /* messages whose block is filled, or that need none */
    cmp_ref blocks[CMP_QUEUE_BATCH];
};

/* What an allocation gave, as a put gives it: a holder that stands still must not outlast the deadline. */
static int alloc_code(const struct putting *p, int code)
{
    return code == -EINTR && cmp_now_ns() >= p->deadline_ns ? -ETIMEDOUT : code;
}

/* Copies large payloads into blocks of this member; no lock is held. */
static int prepare(struct putting *p)
{
    struct cmp_segment *segment = p->queue->segment;
    for (; p->prepared < p->n; p->prepared++) {
        const struct cmp_message *message = &p->messages[p->prepared];
        cmp_ref block = 0;
        if (message->size > CMP_RECORD_INLINE) {
            uint64_t warm_bytes, at = 0;
            int code = cmp_block_alloc(segment, message->size, p->deadline_ns == 0, &block, &warm_bytes);
            for (int i = 0; code == 0 && i < message->nparts; i++) {
                code = cmp_block_write(segment, block, at, message->parts[i].iov_base, message->parts[i].iov_len);
                at += message->parts[i].iov_len;
            }
            if (code < 0) {
                if (block != 0) cmp_block_free(segment, block);
                return alloc_code(p, code);
            }
        }
        p->blocks[p->prepared] = block;
    }
    return 0;
}

/* Step 1. 0: the tail chunk has room for a record of `step` bytes at *off; -ENOSPC: bring a spare. */
static int make_room(struct putting *p, uint64_t tail, uint32_t step, uint32_t *off)
{
    struct cmp_queue *queue = p->queue;
    struct cmp_queue_shm *shm = queue->shm;
    struct cmp_chunk *view = &queue->tail_view;
    cmp_ref old = cmp_load(&shm->tail_chunk, relaxed);
    if (old != 0) {
        if (cmp_load(&view->ref, relaxed) != old) {
            int code = cmp_chunk_view(queue->segment, old, view);
            if (code < 0) return code == -EBADMSG ? -EUCLEAN : code;
        }
        /* The end mark has to fit behind it. */
        if (*off <= view->size && view->size - *off >= step + CMP_RECORD_HEADER) return 0;
    }
    struct cmp_chunk next = {0};
    if (p->spare == 0) return -ENOSPC;
    if (cmp_chunk_view(queue->segment, p->spare, &next) < 0) return -EUCLEAN;
    cmp_store(&next.shm->next, 0, relaxed, "chunk.last");
    cmp_store(&next.shm->first, tail, relaxed, "chunk.first");
    if (old != 0) {
        if (*off > view->size - CMP_RECORD_HEADER) return -EUCLEAN;
        cmp_record_write_end(view->shm->records + *off);
        /* Release: next and first are there for whoever follows the link; pairs with the takers' acquire. */
        cmp_store(&view->shm->next, p->spare, release, "chunk.link");
    } else {
        cmp_store(&shm->origin, p->spare, release, "queue.origin");
    }
    cmp_store(cmp_block_tenure(queue->segment, p->spare), CMP_TENURE_OF_QUEUE(CMP_TENURE_CHUNK, shm->number, tail),
              release, "chunk.own");
    cmp_store(&shm->tail_chunk, p->spare, release, "queue.tail_chunk");
    cmp_store(&shm->tail_off, 0, relaxed, "queue.tail_off");
    cmp_chunk_keep(view, &next);
    p->spare = 0;
    *off = 0;
    return 0;
}

static inline void publish(struct putting *p, uint64_t *tail, size_t *written)
{
    if (*written == 0) return;
    /* Announced first: who dies in between leaves an announcement in vain, which a look settles, and never an item
     * that nobody hears of. */
    if (cmp_load(&p->queue->shm->armed, relaxed) != 0) cmp_queue_raise(p->queue);
    *tail += *written;
    p->done += *written;
    *written = 0;
    /* Release: the records, and their blocks' payloads, are whole before the tail shows them; pairs with the
     * takers' acquire load of tail in queue_take.c. */
    cmp_store(&p->queue->shm->tail, *tail, release, "queue.publish");
}

/* Under the put lock: as many of the batch as there is room for. */
static int put_locked(struct putting *p)
{
    struct cmp_queue *queue = p->queue;
    struct cmp_queue_shm *shm = queue->shm;
    uint64_t tail = cmp_load(&shm->tail, relaxed); /* only the holder of this lock moves it */
    size_t want = p->n - p->done, written = 0;
    int code = 0;
    if (cmp_load(&shm->shut, relaxed) != CMP_QUEUE_OPEN) return -EPIPE;
    if (shm->capacity != UINT64_MAX) {
        uint64_t used = tail - cmp_load(&shm->head_cache, relaxed);
        if (used + want > shm->capacity) {
            /* Acquire: pairs with [queue.head]; what the takers did with the freed places is done. */
            uint64_t head = cmp_load(&shm->head, acquire);
            cmp_store(&shm->head_cache, head, relaxed, "queue.head_cache");
            used = tail - head;
            if (used >= shm->capacity) return -EAGAIN;
        }
        if (want > shm->capacity - used) {
            want = (size_t)(shm->capacity - used);
            code = -EAGAIN;
        }
    }
    uint32_t off = cmp_load(&shm->tail_off, relaxed);
    while (want-- > 0) {
        size_t i = p->done + written;
        const struct cmp_message *message = &p->messages[i];
        cmp_ref block = p->blocks[i];
        uint32_t step = block != 0 ? CMP_RECORD_STEP_BLOCK : cmp_record_step_inline(message->size);
        cmp_ref viewed = cmp_load(&queue->tail_view.ref, relaxed);
        if (viewed == 0 || viewed != cmp_load(&shm->tail_chunk, relaxed) || off > queue->tail_view.size ||
            queue->tail_view.size - off < step + CMP_RECORD_HEADER) {
            publish(p, &tail, &written); /* a chunk is linked only when its first is the tail */
            int made = make_room(p, tail, step, &off);
            if (made < 0) {
                code = made;
                break;
            }
        }
        char *at = queue->tail_view.shm->records + off;
        if (block != 0) {
            cmp_record_write_block(at, block, message->size, message->tag);
            cmp_store(cmp_block_tenure(queue->segment, block),
                      CMP_TENURE_OF_QUEUE(CMP_TENURE_ITEM, shm->number, tail + written), release, "queue.give");
        } else {
            cmp_record_write_inline(at, message->parts, message->nparts, message->size, message->tag);
        }
        off += step;
        written++;
    }
    publish(p, &tail, &written);
    cmp_store(&shm->tail_off, off, relaxed, "queue.tail_off");
    return code;
}

/* One try at what is left of the batch. */
static int attempt(struct putting *p)
{
    struct cmp_queue *queue = p->queue;
    struct cmp_queue_shm *shm = queue->shm;
    if (p->prepared < p->n) {
        int code = prepare(p);
        if (code < 0) return code;
    }
    for (;;) {
        int code = cmp_queue_lock_put(queue, p->deadline_ns);
        if (code < 0) return code;
        size_t before = p->done;
        code = put_locked(p);
        cmp_queue_unlock_put(queue);
        if (p->done != before) cmp_eventcount_notify_one(&shm->items);
        if (code != -ENOSPC) return code;
        uint64_t bytes = cmp_load(&shm->origin, relaxed) == 0 ? CMP_CHUNK_FIRST_BYTES : CMP_CHUNK_BYTES;
        code = cmp_chunk_create(queue->segment, bytes, p->deadline_ns == 0, &p->spare);
        if (code < 0) return alloc_code(p, code);
    }
}

static bool is_full(const struct cmp_queue_shm *shm)
{
    if (shm->capacity == UINT64_MAX) return false;
    /* head before tail: an old head makes it look fuller than it was, never emptier; the lock then tells. */
    uint64_t head = cmp_load(&shm->head, acquire);
    return cmp_load(&shm->tail, acquire) - head >= shm->capacity;
}

static int look_put(void *arg)
{
    struct putting *p = arg;
    struct cmp_queue *queue = p->queue;
    if (queue->on_look != NULL) {
        int code = queue->on_look(queue->look_arg);
        if (code != 0) return code;
    }
    if (cmp_load(&queue->shm->shut, relaxed) == CMP_QUEUE_OPEN && is_full(queue->shm)) return -EAGAIN;
    return attempt(p);
}

static bool has_room(void *arg)
{
    struct putting *p = arg;
    return !is_full(p->queue->shm);
}

/* One batch; whatever was prepared and not put is given back. */
static int put_batch(struct putting *p)
{
    struct cmp_queue *queue = p->queue;
    int code = p->deadline_ns == 0
                   ? attempt(p)
                   : cmp_eventcount_wait(&queue->shm->room, look_put, has_room, p, p->deadline_ns,
                                         cmp_queue_spin_ns(queue->shm), &queue->for_room);
    if (code != 0) {
        for (size_t i = p->done; i < p->prepared; i++)
            if (p->blocks[i] != 0) cmp_block_free(queue->segment, p->blocks[i]);
    }
    if (p->spare != 0) cmp_block_free(queue->segment, p->spare);
    if (p->deadline_ns != 0) cmp_queue_sweep_if_due(queue);
    return code;
}

int cmp_queue_put(struct cmp_queue *queue, const struct cmp_message *message, int64_t deadline_ns)
{
    if (deadline_ns == 0 && message->size > GIL_COPY_BYTES) return -EBUSY;
    struct putting p;
    p.queue = queue;
    p.messages = message;
    p.n = 1;
    p.done = 0;
    p.deadline_ns = deadline_ns;
    p.spare = 0;
    p.blocks[0] = 0;
    p.prepared = message->size <= CMP_RECORD_INLINE;
    return put_batch(&p);
}

int cmp_queue_put_many(struct cmp_queue *queue, const struct cmp_message *messages, size_t n, int64_t deadline_ns,
                       size_t *done)
{
    int code = 0;
    size_t all_done = 0;
    while (all_done < n && code == 0) {
        struct putting p;
        p.queue = queue;
        p.messages = messages + all_done;
        p.n = n - all_done < CMP_QUEUE_BATCH ? n - all_done : CMP_QUEUE_BATCH;
        p.done = 0;
        p.deadline_ns = deadline_ns;
        p.spare = 0;
        p.prepared = 0;
        uint64_t bytes = 0;
        for (size_t i = 0; i < p.n; i++) bytes += p.messages[i].size;
        code = deadline_ns == 0 && bytes > GIL_COPY_BYTES ? -EBUSY : put_batch(&p);
        all_done += p.done;
    }
    *done = all_done;
    return code;
}
