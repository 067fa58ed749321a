/* A queue's life, its locks and its waits; puts are in queue_put.c, takes in queue_take.c, the essay in
 * queue_layout.h. */
#include "shm/queue.h"

#include "os/clock.h"
#include "os/eventfd.h"
#include "os/fault.h"
#include "os/identity.h"
#include "shm/queue_layout.h"
#include "shm/sweep.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SPIN_NS INT64_C(5000)        /* measured: as good as 20 us, and kind to an oversubscribed machine */
#define SPIN_TINY_NS INT64_C(20000)  /* with room for a few items each hand-over waits for the other side */
#define TINY_CAPACITY 8

size_t cmp_queue_shm_size(void)
{
    return sizeof(struct cmp_queue_shm);
}

static void handle(struct cmp_queue *queue, struct cmp_segment *segment, struct cmp_queue_shm *shm)
{
    memset(queue, 0, sizeof *queue);
    queue->segment = segment;
    queue->shm = shm;
    queue->event_fd = -1;
    queue->next = segment->queues;
    segment->queues = queue;
}

int cmp_queue_init(struct cmp_queue *queue, struct cmp_segment *segment, struct cmp_queue_shm *shm, uint64_t capacity)
{
    int code = cmp_mutex_init(&shm->put_lock);
    if (code == 0) code = cmp_mutex_init(&shm->take_lock);
    if (code < 0) return code;
    shm->capacity = capacity == 0 ? UINT64_MAX : capacity;
    /* Its place in the root area numbers it: unique in the segment, and no counter is needed. */
    shm->number = (uint32_t)(((char *)shm - (char *)cmp_segment_root(segment)) / 64) & 0xfff;
    cmp_eventcount_init(&shm->items);
    cmp_eventcount_init(&shm->room);
    cmp_eventcount_init(&shm->dones_ec);
    /* The rest starts as zero, and a new segment is. Nobody else can see it yet. */
    shm->magic = CMP_QUEUE_MAGIC;
    cmp_segment_count_queue(segment);
    handle(queue, segment, shm);
    return 0;
}

int cmp_queue_attach(struct cmp_queue *queue, struct cmp_segment *segment, struct cmp_queue_shm *shm)
{
    if (shm->magic != CMP_QUEUE_MAGIC) return -EPROTO;
    handle(queue, segment, shm);
    return 0;
}

/* --- locks --- */

/* The side after a dead holder. A robust mutex is either repaired or lost for ever, so where this process cannot do it
 * the word `broken` hands the duty on. Killed in here: the next owner meets a dead one again. */
static int make_whole(struct cmp_queue *queue, struct cmp_mutex *mutex, _Atomic uint32_t *broken,
                      int (*repair)(struct cmp_queue *), bool met_dead)
{
    int code = repair(queue);
    cmp_store(broken, code < 0, relaxed, "queue.broken");
    if (met_dead) {
        (void)cmp_rmw(fetch_add, &queue->shm->repairs, 1, relaxed, "queue.repairs");
        cmp_mutex_repaired(mutex);
    }
    if (code < 0) cmp_mutex_unlock(mutex);
    else cmp_private_store(&queue->met_dead, 1, relaxed);
    return code;
}

static int lock_side(struct cmp_queue *queue, struct cmp_mutex *mutex, _Atomic uint32_t *broken,
                     int (*repair)(struct cmp_queue *), int64_t deadline_ns)
{
    int code = deadline_ns == 0 ? cmp_mutex_try(mutex) : cmp_mutex_lock_slice(mutex);
    if (code == 0 && cmp_load(broken, relaxed) == 0) return 0; /* relaxed: changes under this lock only */
    if (code == 0 || code == -EOWNERDEAD) return make_whole(queue, mutex, broken, repair, code < 0);
    if (code == -ETIMEDOUT) return cmp_now_ns() < deadline_ns ? -EINTR : -ETIMEDOUT;
    return code;
}

int cmp_queue_lock_put(struct cmp_queue *queue, int64_t deadline_ns)
{
    return lock_side(queue, &queue->shm->put_lock, &queue->shm->put_broken, cmp_queue_repair_put, deadline_ns);
}

int cmp_queue_lock_take(struct cmp_queue *queue, int64_t deadline_ns)
{
    return lock_side(queue, &queue->shm->take_lock, &queue->shm->take_broken, cmp_queue_repair_take, deadline_ns);
}

static int lock_both(struct cmp_queue *queue, int64_t deadline_ns)
{
    int code = cmp_queue_lock_take(queue, deadline_ns);
    if (code < 0) return code;
    code = cmp_queue_lock_put(queue, deadline_ns);
    if (code < 0) cmp_queue_unlock_take(queue);
    return code;
}

static void unlock_both(struct cmp_queue *queue)
{
    cmp_queue_unlock_put(queue);
    cmp_queue_unlock_take(queue);
}

void cmp_queue_sweep_if_due(struct cmp_queue *queue)
{
    if (cmp_load(&queue->met_dead, relaxed) == 0) return;
    cmp_private_store(&queue->met_dead, 0, relaxed);
    cmp_sweep(queue->segment);
}

int cmp_queue_freeze(struct cmp_queue *queue)
{
    int code;
    do {
        /* One slice each: a holder that is alive but stopped makes the sweep come back later. */
        code = lock_both(queue, 1);
    } while (code == -EINTR);
    return code;
}

void cmp_queue_thaw(struct cmp_queue *queue)
{
    unlock_both(queue);
}

uint32_t cmp_queue_number(const struct cmp_queue *queue)
{
    return queue->shm->number;
}

uint32_t cmp_queue_repairs(const struct cmp_queue *queue)
{
    return cmp_load(&queue->shm->repairs, relaxed);
}

/* --- size and waiting --- */

static uint64_t size_of(const struct cmp_queue_shm *shm)
{
    /* [A] acquire pairs with [queue.publish] and [queue.head]; head unmoved around the look at tail makes the
     * difference exact at that look. Under a storm of takes the last answer was right a moment ago. */
    uint64_t head = cmp_load(&shm->head, acquire), tail = 0;
    for (int i = 0; i < 64; i++) {
        tail = cmp_load(&shm->tail, acquire);
        uint64_t again = cmp_load(&shm->head, acquire);
        if (again == head) return tail - head;
        head = again;
    }
    return tail - head <= INT64_MAX ? tail - head : 0;
}

uint64_t cmp_queue_head(const struct cmp_queue *queue)
{
    return cmp_load(&queue->shm->head, acquire); /* pairs with [queue.head] */
}

uint64_t cmp_queue_tail(const struct cmp_queue *queue)
{
    return cmp_load(&queue->shm->tail, acquire); /* pairs with [queue.publish] */
}

uint64_t cmp_queue_size(const struct cmp_queue *queue)
{
    return size_of(queue->shm);
}

uint64_t cmp_queue_capacity(const struct cmp_queue *queue)
{
    return queue->shm->capacity == UINT64_MAX ? 0 : queue->shm->capacity;
}

int64_t cmp_queue_spin_ns(const struct cmp_queue_shm *shm)
{
    static _Atomic int32_t processors; /* of this process; the same answer whoever asks first */
    int32_t n = cmp_load(&processors, relaxed);
    if (n == 0) {
        n = (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
        cmp_private_store(&processors, n, relaxed);
    }
    if (n == 1) return 0; /* whoever is waited for cannot run meanwhile */
    return shm->capacity <= TINY_CAPACITY ? SPIN_TINY_NS : SPIN_NS;
}

static int look_for_items(void *arg)
{
    struct cmp_queue *queue = arg;
    if (queue->on_look != NULL) {
        int code = queue->on_look(queue->look_arg);
        if (code != 0) return code;
    }
    uint32_t shut = cmp_load(&queue->shm->shut, acquire);
    if (shut == CMP_QUEUE_SHUT) return -EPIPE;
    if (size_of(queue->shm) > 0) return 0;
    return shut == CMP_QUEUE_OPEN ? -EAGAIN : -EPIPE;
}

static bool has_items(void *arg)
{
    struct cmp_queue *queue = arg;
    return size_of(queue->shm) > 0;
}

int cmp_queue_wait(struct cmp_queue *queue, int64_t deadline_ns)
{
    if (deadline_ns == 0) (void)cmp_queue_settle(queue, 0);
    return cmp_eventcount_wait(&queue->shm->items, look_for_items, has_items, queue, deadline_ns,
                               cmp_queue_spin_ns(queue->shm), &queue->for_items);
}

void cmp_queue_disturb(struct cmp_queue *queue)
{
    cmp_eventcount_notify_all(&queue->shm->items);
    cmp_eventcount_notify_all(&queue->shm->room);
    cmp_eventcount_notify_all(&queue->shm->dones_ec);
}

int cmp_queue_shutdown(struct cmp_queue *queue, bool immediate, int64_t deadline_ns)
{
    struct cmp_queue_shm *shm = queue->shm;
    uint32_t shut = immediate ? CMP_QUEUE_SHUT : CMP_QUEUE_DRAINING;
    int code = lock_both(queue, deadline_ns);
    if (code < 0) return code;
    if (cmp_load(&shm->shut, relaxed) < shut) cmp_store(&shm->shut, shut, release, "queue.shut");
    unlock_both(queue);
    cmp_queue_disturb(queue);
    return immediate ? cmp_queue_discard(queue, deadline_ns) : 0;
}

int cmp_queue_arm(struct cmp_queue *queue, int64_t deadline_ns)
{
    struct cmp_queue_shm *shm = queue->shm;
    if (cmp_load(&shm->armed, acquire) != 0) return 0;
    int code = lock_both(queue, deadline_ns);
    if (code < 0) return code;
    cmp_store(&shm->armed, 1, release, "queue.arm");
    if (size_of(shm) > 0) cmp_queue_raise(queue);
    unlock_both(queue);
    return 0;
}

/* --- the eventfd --- */

void cmp_queue_use_eventfd(struct cmp_queue *queue, int fd)
{
    queue->event_fd = fd;
    queue->event_identity = cmp_identity_of(fd);
}

bool cmp_queue_owns_eventfd(const struct cmp_queue *queue)
{
    return cmp_identity_is(queue->event_fd, queue->event_identity);
}

void cmp_queue_raise(struct cmp_queue *queue)
{
    if (!cmp_queue_owns_eventfd(queue)) return;
    CMP_FAULT("queue.raise", CMP_FAULT_BEFORE);
    cmp_eventfd_raise(queue->event_fd);
    CMP_FAULT("queue.raise", CMP_FAULT_AFTER);
}

bool cmp_queue_lower(struct cmp_queue *queue)
{
    if (!cmp_queue_owns_eventfd(queue)) return false;
    CMP_FAULT("queue.lower", CMP_FAULT_BEFORE);
    bool was_raised = cmp_eventfd_lower(queue->event_fd);
    CMP_FAULT("queue.lower", CMP_FAULT_AFTER);
    return was_raised;
}

int cmp_queue_settle(struct cmp_queue *queue, int64_t deadline_ns)
{
    struct cmp_queue_shm *shm = queue->shm;
    if (cmp_load(&shm->armed, relaxed) == 0 || size_of(shm) > 0) return 0;
    int code = lock_both(queue, deadline_ns);
    if (code < 0) return code;
    code = size_of(shm) == 0 && cmp_queue_lower(queue);
    unlock_both(queue);
    return code;
}

/* --- join --- */

uint64_t cmp_queue_count_done(struct cmp_queue *queue, uint64_t n)
{
    struct cmp_queue_shm *shm = queue->shm;
    uint64_t dones = cmp_load(&shm->dones, relaxed), tail, counted;
    do {
        /* Acquire: pairs with [queue.publish]. The item that is done was put before, so this tail counts it. */
        tail = cmp_load(&shm->tail, acquire);
        uint64_t unfinished = tail - dones;
        if (unfinished > INT64_MAX) return 0; /* bytes that cannot be */
        counted = n < unfinished ? n : unfinished;
        if (counted == 0) return 0;
    } while (!cmp_cas(&shm->dones, &dones, dones + counted, seq_cst, "queue.done"));
    if (dones + counted != tail) return counted;
    uint64_t idle_at = cmp_load(&shm->idle_at, relaxed);
    while ((int64_t)(tail - idle_at) > 0 && !cmp_cas(&shm->idle_at, &idle_at, tail, seq_cst, "queue.idle")) {}
    cmp_eventcount_notify_all(&shm->dones_ec);
    return counted;
}

int cmp_queue_task_done(struct cmp_queue *queue)
{
    return cmp_queue_count_done(queue, 1) == 1 ? 0 : -ERANGE;
}

struct joining {
    struct cmp_queue *queue;
    uint64_t tail; /* when join was called */
    int64_t deadline_ns;
};

static int look_for_idle(void *arg)
{
    struct joining *joining = arg;
    struct cmp_queue *queue = joining->queue;
    if (queue->on_look != NULL) {
        int code = queue->on_look(queue->look_arg);
        if (code != 0) return code;
    }
    struct cmp_queue_shm *shm = queue->shm;
    /* What is thrown away is done before it leaves, and who shut the queue may have died before it had thrown
     * everything away. A joiner goes on with that, but not with the GIL. */
    if (cmp_load(&shm->shut, acquire) == CMP_QUEUE_SHUT && size_of(shm) > 0) {
        int code = joining->deadline_ns == 0 ? -EAGAIN : cmp_queue_discard(queue, joining->deadline_ns);
        if (code < 0) return code;
    }
    /* dones before tail: dones never passes tail, so equal means that they met between the two looks. */
    uint64_t dones = cmp_load(&shm->dones, acquire);
    if (dones == cmp_load(&shm->tail, acquire)) return 0;
    /* A tail reached before the call would have been seen above: dones was then no less than this tail. */
    return (int64_t)(cmp_load(&shm->idle_at, acquire) - joining->tail) >= 0 ? 0 : -EAGAIN;
}

int cmp_queue_join(struct cmp_queue *queue, int64_t deadline_ns)
{
    struct joining joining = {
        .queue = queue, .tail = cmp_load(&queue->shm->tail, acquire), .deadline_ns = deadline_ns};
    return cmp_eventcount_wait(&queue->shm->dones_ec, look_for_idle, NULL, &joining, deadline_ns, 0,
                               &queue->for_dones);
}
