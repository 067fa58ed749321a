/* Taking: steps 1 to 6 of the essay in queue_layout.h. */
#include "shm/queue_layout.h"

#include "os/clock.h"

#include <errno.h>
#include <string.h>

struct taking {
    struct cmp_queue *queue;
    struct cmp_item *items;
    size_t n, done;
    char *bytes;            /* inline payloads go here */
    size_t bytes_size;
    _Atomic uint64_t *claim;
    int64_t deadline_ns;
    bool discard;           /* takes from a queue that is shut, too */
    uint64_t index;         /* of the first item taken */
    cmp_ref passed;         /* a chunk that was left behind, now of MEMBER(me) */
};

/* Step 1, behind the last record of a chunk: *at becomes the next one. */
static int cross(struct cmp_queue *queue, uint64_t head, struct cmp_chunk *at)
{
    /* Acquire: pairs with [chunk.link]. The end mark was seen before a record that tail shows, so the link is there. */
    cmp_ref next = cmp_load(&at->shm->next, acquire);
    struct cmp_chunk chunk = {0};
    int code = cmp_chunk_view(queue->segment, next, &chunk);
    if (code < 0) return code;
    if (cmp_load(&chunk.shm->first, relaxed) != head) return -EBADMSG;
    cmp_chunk_keep(at, &chunk);
    return 0;
}

/* Step 2 for one record. 0, -ENOBUFS (no room for it in this batch), -EBADMSG (it says what cannot be), -ENOMEM, -EBADF
 * (its block cannot be seen from here). */
static int receive(struct taking *t, const struct cmp_record_view *record, uint64_t index, cmp_owner me, size_t *used)
{
    struct cmp_queue *queue = t->queue;
    struct cmp_item *item = &t->items[t->done];
    item->tag = record->tag;
    item->size = record->size;
    item->block = record->block;
    if (record->kind == CMP_RECORD_IS_INLINE) {
        if (record->size > t->bytes_size - *used) return -ENOBUFS;
        item->data = t->bytes + *used;
        memcpy(t->bytes + *used, record->bytes, record->size);
        *used += (record->size + 7) & ~UINT64_C(7);
        if (*used > t->bytes_size) *used = t->bytes_size;
        return 0;
    }
    _Atomic uint64_t *tenure;
    int code = cmp_block_reach(queue->segment, record->block, &tenure);
    if (code < 0) return code;
    if (cmp_load(tenure, relaxed) != CMP_TENURE_OF_QUEUE(CMP_TENURE_ITEM, queue->shm->number, index)) return -EBADMSG;
    cmp_store(tenure, CMP_TENURE(CMP_TENURE_MEMBER, me), release, "queue.hold");
    item->data = NULL; /* found after the lock */
    return 0;
}

/* Items that are about to leave without a caller who could say that they are done; of those that he is told of by an
 * error, `told` are his. Before they leave: if this process dies in between, the next to throw away or to pass counts
 * them again, so that a join ends early, or a task_done comes too often, which may be after such an end; counted after,
 * nobody would count them, and a join would never end. */
static void count_lost(const struct taking *t, uint64_t n, uint64_t told)
{
    if (!t->discard) n -= told;
    if (n > 0) (void)cmp_queue_count_done(t->queue, n);
}

/* Steps 4 to 6: the items up to `head` have left, and the cursor stands behind them. */
static void leave(struct taking *t, uint64_t head, const struct cmp_chunk *at, uint32_t off, cmp_owner me)
{
    struct cmp_queue *queue = t->queue;
    struct cmp_queue_shm *shm = queue->shm;
    /* Release: whatever was read of the items has been read; pairs with the producers' acquire load of head. */
    cmp_store(&shm->head, head, release, "queue.head");
    cmp_ref before = cmp_load(&shm->head_chunk, relaxed);
    cmp_ref now = cmp_load(&at->ref, relaxed);
    if (before != now) {
        cmp_ref passed = before != 0 ? before : cmp_load(&shm->origin, relaxed);
        cmp_store(&shm->head_chunk, now, release, "queue.head_chunk");
        if (passed != now) {
            _Atomic uint64_t *tenure = cmp_block_tenure(queue->segment, passed);
            if (tenure != NULL) {
                cmp_store(tenure, CMP_TENURE(CMP_TENURE_MEMBER, me), release, "queue.unchain");
                t->passed = passed;
            }
        }
        cmp_chunk_keep(&queue->head_view, at);
    }
    cmp_store(&shm->head_off, off, relaxed, "queue.head_off");
}

/* The record at the head cannot be read, so where the next begins is unknown: on to the next chunk if the chain still
 * shows it, else to where producers write now. The sweep frees what was passed over. */
static int pass_damage(struct taking *t)
{
    struct cmp_queue *queue = t->queue;
    struct cmp_queue_shm *shm = queue->shm;
    int code = cmp_queue_lock_put(queue, t->deadline_ns);
    if (code < 0) return code;
    uint64_t head = cmp_load(&shm->head, relaxed), tail = cmp_load(&shm->tail, relaxed);
    cmp_ref chunk = cmp_load(&shm->tail_chunk, relaxed);
    uint32_t off = cmp_load(&shm->tail_off, relaxed);
    uint64_t to = tail;
    struct cmp_chunk at = {0}, next = {0};
    if (cmp_chunk_view(queue->segment, cmp_queue_head_chunk(shm), &at) == 0 &&
        cmp_chunk_view(queue->segment, cmp_load(&at.shm->next, acquire), &next) == 0) {
        uint64_t first = cmp_load(&next.shm->first, relaxed);
        if (first - head - 1 < tail - head) {
            to = first;
            chunk = cmp_load(&next.ref, relaxed);
            off = 0;
        }
    }
    cmp_store(&shm->tail_cache, tail, relaxed, "queue.tail_cache");
    if (to != head) count_lost(t, to - head, 1);
    cmp_store(&shm->head, to, release, "queue.head_damage");
    cmp_store(&shm->head_chunk, chunk, release, "queue.head_chunk_damage");
    cmp_store(&shm->head_off, off, relaxed, "queue.head_off_damage");
    cmp_private_store(&queue->head_view.ref, 0, relaxed);
    if (to == tail && cmp_load(&shm->armed, relaxed) != 0) (void)cmp_queue_lower(queue);
    cmp_queue_unlock_put(queue);
    return -EBADMSG;
}

/* What is at the head and cannot be read is damage, to be passed, only if it was seen: -EUCLEAN. A process that cannot
 * map the extent leaves everything as it is, for others and for later. */
static int unreadable(int code)
{
    return code == -EBADMSG ? -EUCLEAN : code;
}

/* Under the take lock (and the put lock, if the eventfd may have to be lowered). */
static int take_locked(struct taking *t, cmp_owner me, uint64_t head, uint64_t there)
{
    struct cmp_queue *queue = t->queue;
    struct cmp_queue_shm *shm = queue->shm;
    cmp_ref ref = cmp_queue_head_chunk(shm);
    int code = 0;
    if (cmp_load(&queue->head_view.ref, relaxed) != ref) {
        code = cmp_chunk_view(queue->segment, ref, &queue->head_view);
        if (code < 0) return unreadable(code);
    }
    struct cmp_chunk at = queue->head_view;
    uint32_t off = cmp_load(&shm->head_off, relaxed);
    size_t n = there < t->n ? (size_t)there : t->n, used = 0;
    while (t->done < n) {
        struct cmp_record_view record;
        if (off > at.size || cmp_record_read(at.shm->records + off, at.size - off, &record) < 0) {
            code = -EUCLEAN;
            break;
        }
        if (record.kind == CMP_RECORD_IS_END) {
            /* One chunk is left behind per batch at most. */
            if (t->done > 0 || cmp_load(&at.ref, relaxed) != ref) break;
            code = cross(queue, head, &at);
            if (code < 0) {
                code = unreadable(code);
                break;
            }
            off = 0;
            continue;
        }
        code = receive(t, &record, head + t->done, me, &used);
        /* Its neighbours are whole. First what came before it; the next call meets it at the head. */
        if (code == -EBADMSG && t->done == 0) {
            count_lost(t, 1, 1);
            leave(t, head + 1, &at, off + record.step, me);
        }
        if (code < 0) break;
        off += record.step;
        t->done++;
    }
    if (t->done == 0) return code != 0 ? code : -EUCLEAN;
    t->index = head;
    count_lost(t, t->done, t->done);
    if (t->claim != NULL) cmp_store(t->claim, CMP_QUEUE_CLAIM(t->items[0].tag, head), release, "queue.claim");
    leave(t, head + t->done, &at, off, me);
    return 0;
}

/* How many items are there for this call; -EAGAIN, -EPIPE. Under the take lock. */
static int count(const struct taking *t, uint64_t head, uint64_t *there)
{
    struct cmp_queue_shm *shm = t->queue->shm;
    uint32_t shut = cmp_load(&shm->shut, relaxed);
    if (shut == CMP_QUEUE_SHUT && !t->discard) return -EPIPE;
    *there = cmp_load(&shm->tail_cache, relaxed) - head;
    if (*there < t->n) {
        /* Acquire: pairs with [queue.publish]; the records behind it are whole. */
        uint64_t tail = cmp_load(&shm->tail, acquire);
        cmp_store(&shm->tail_cache, tail, relaxed, "queue.tail_cache");
        *there = tail - head;
    }
    if (*there > 0) return 0;
    return shut == CMP_QUEUE_OPEN ? -EAGAIN : -EPIPE;
}

/* Under the take lock of an armed queue: the take, and the eventfd in step with it. */
static int take_armed(struct taking *t, cmp_owner me, uint64_t head)
{
    struct cmp_queue *queue = t->queue;
    struct cmp_queue_shm *shm = queue->shm;
    uint64_t there = 0;
    cmp_store(&shm->tail_cache, cmp_load(&shm->tail, acquire), relaxed, "queue.tail_cache");
    int code = count(t, head, &there);
    bool last = there <= t->n;
    if (last) {
        int locked = cmp_queue_lock_put(queue, t->deadline_ns);
        if (locked < 0) return locked; /* also when it looks empty: a put may just have announced its item */
        cmp_store(&shm->tail_cache, cmp_load(&shm->tail, acquire), relaxed, "queue.tail_cache");
        code = count(t, head, &there);
    }
    if (code == 0) code = take_locked(t, me, head, there);
    if (last) {
        if (cmp_load(&shm->head, relaxed) == cmp_load(&shm->tail, relaxed)) cmp_queue_lower(queue);
        cmp_queue_unlock_put(queue);
    }
    return code;
}

static int attempt(struct taking *t)
{
    struct cmp_queue *queue = t->queue;
    struct cmp_queue_shm *shm = queue->shm;
    cmp_owner me = cmp_members_me(&queue->segment->members); /* may look into /proc: before the lock */
    int code = cmp_queue_lock_take(queue, t->deadline_ns);
    if (code < 0) return code;
    uint64_t head = cmp_load(&shm->head, relaxed); /* only the holder of this lock moves it */
    if (cmp_load(&shm->armed, relaxed) != 0) {
        code = take_armed(t, me, head);
    } else {
        uint64_t there;
        code = count(t, head, &there);
        if (code == 0) code = take_locked(t, me, head, there);
    }
    if (code == -EUCLEAN) code = pass_damage(t);
    cmp_queue_unlock_take(queue);
    if (shm->capacity != UINT64_MAX && (t->done > 0 || code == -EBADMSG)) cmp_eventcount_notify_one(&shm->room);
    if (t->passed != 0) {
        cmp_block_free(queue->segment, t->passed);
        t->passed = 0;
    }
    return code;
}

static bool is_empty(const struct cmp_queue_shm *shm)
{
    return cmp_load(&shm->head, relaxed) == cmp_load(&shm->tail, acquire);
}

static int look_take(void *arg)
{
    struct taking *t = arg;
    struct cmp_queue *queue = t->queue;
    if (queue->on_look != NULL) {
        int code = queue->on_look(queue->look_arg);
        if (code != 0) return code;
    }
    if (is_empty(queue->shm) && cmp_load(&queue->shm->shut, relaxed) == CMP_QUEUE_OPEN) return -EAGAIN;
    return attempt(t);
}

static bool has_items(void *arg)
{
    struct taking *t = arg;
    return !is_empty(t->queue->shm);
}

static int take(struct taking *t)
{
    struct cmp_queue *queue = t->queue;
    int code;
    if (t->deadline_ns == 0) {
        code = attempt(t);
    } else if (cmp_load(&queue->shm->armed, relaxed) != 0 && t->deadline_ns <= cmp_now_ns()) {
        /* Under the locks too: a put may just have announced its item. (Who waits is woken when that is published.) */
        code = attempt(t);
        if (code == -EAGAIN) code = -ETIMEDOUT;
    } else {
        code = cmp_eventcount_wait(&queue->shm->items, look_take, has_items, t, t->deadline_ns,
                                   cmp_queue_spin_ns(queue->shm), &queue->for_items);
    }
    if (t->deadline_ns != 0) cmp_queue_sweep_if_due(queue);
    return code;
}

/* The payload of an item in a block, now that it is ours. -EBADMSG: the record promised more than the block holds. */
static int find_payload(struct cmp_queue *queue, struct cmp_item *item)
{
    uint64_t capacity = 0;
    item->data = cmp_block_payload(queue->segment, item->block, &capacity);
    return item->data != NULL && item->size <= capacity ? 0 : -EBADMSG;
}

int cmp_queue_take(struct cmp_queue *queue, struct cmp_taken *taken, _Atomic uint64_t *claim, int64_t deadline_ns)
{
    struct cmp_item item;
    struct taking t;
    t.queue = queue;
    t.items = &item;
    t.n = 1;
    t.done = 0;
    t.bytes = taken->inline_bytes;
    t.bytes_size = sizeof taken->inline_bytes;
    t.claim = claim;
    t.deadline_ns = deadline_ns;
    t.discard = false;
    t.passed = 0;
    int code = take(&t);
    if (code < 0) return code;
    if (item.block != 0) {
        code = find_payload(queue, &item);
        if (code < 0) {
            cmp_block_free(queue->segment, item.block);
            return code;
        }
    }
    taken->data = item.data;
    taken->size = item.size;
    taken->tag = item.tag;
    taken->index = t.index;
    taken->block = item.block;
    return 0;
}

/* Only what this member holds: a forked child has the handle too, and a copy of whatever names the block, but the block
 * stays its parent's. */
static void give_back(struct cmp_queue *queue, cmp_ref *block)
{
    if (*block == 0) return;
    _Atomic uint64_t *tenure = cmp_block_tenure(queue->segment, *block);
    uint64_t mine = CMP_TENURE(CMP_TENURE_MEMBER, cmp_members_me(&queue->segment->members));
    if (tenure != NULL && cmp_load(tenure, relaxed) == mine) cmp_block_free(queue->segment, *block);
    *block = 0;
}

void cmp_queue_release(struct cmp_queue *queue, struct cmp_taken *taken)
{
    give_back(queue, &taken->block);
}

int cmp_queue_take_many(struct cmp_queue *queue, struct cmp_item *items, size_t n, void *bytes, size_t bytes_size,
                        int64_t deadline_ns, size_t *done)
{
    struct taking t = {.queue = queue, .items = items, .n = n < CMP_QUEUE_TAKE_MAX ? n : CMP_QUEUE_TAKE_MAX,
                       .bytes = bytes, .bytes_size = bytes_size, .deadline_ns = deadline_ns};
    int code = take(&t);
    if (code < 0) return code;
    size_t kept = 0;
    for (size_t i = 0; i < t.done; i++) {
        if (items[i].block != 0 && find_payload(queue, &items[i]) < 0) {
            cmp_block_free(queue->segment, items[i].block);
            continue;
        }
        items[kept++] = items[i];
    }
    *done = kept;
    /* The caller learns of what is given, or of one error. */
    size_t told = kept > 0 ? kept : 1;
    if (t.done > told) (void)cmp_queue_count_done(queue, t.done - told);
    return kept > 0 ? 0 : -EBADMSG;
}

void cmp_queue_release_item(struct cmp_queue *queue, struct cmp_item *item)
{
    give_back(queue, &item->block);
}

int cmp_queue_discard(struct cmp_queue *queue, int64_t deadline_ns)
{
    for (;;) {
        struct cmp_item items[CMP_QUEUE_BATCH];
        char bytes[CMP_QUEUE_INLINE];
        struct taking t = {.queue = queue, .items = items, .n = CMP_QUEUE_BATCH, .bytes = bytes,
                           .bytes_size = sizeof bytes, .deadline_ns = deadline_ns, .discard = true};
        int code = attempt(&t);
        if (code == -EPIPE) return 0; /* shut, and now empty */
        if (code < 0 && code != -EBADMSG) return code;
        for (size_t i = 0; i < t.done; i++) cmp_queue_release_item(queue, &items[i]);
    }
}
