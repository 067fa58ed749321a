/* Queue: records in linked chunks, a put side and a take side with a robust lock each. queue_layout.h has the essay.
 *
 * What is promised: an item whose put returned 0 is taken exactly once, in order per producer; a killed process
 * takes with it at most the items the calls it was inside of had taken.
 *
 * `deadline_ns` is absolute CLOCK_MONOTONIC. 0 only tries and is allowed with the GIL held: -EBUSY then means that an
 * internal lock is taken or that more would have to be copied than is decent with the GIL held; call again without it.
 * INT64_MAX waits for ever; a moment long past, such as 1, waits for internal locks but not for items or room.
 * -EINTR: a signal may have come, run the handlers and call again with the same deadline; nothing has happened yet. */
#ifndef CMP_SHM_QUEUE_H
#define CMP_SHM_QUEUE_H

#include "os/atomics.h"
#include "shm/chunk.h"
#include "shm/segment.h"
#include "shm/spin.h"

#include <stdbool.h>
#include <sys/uio.h>

/* Records up to this many bytes lie in the chunk and are copied under the lock; larger ones in a block. */
#define CMP_QUEUE_INLINE CMP_RECORD_INLINE

struct cmp_queue_shm; /* shm/queue_layout.h */

/* One process's handle. Several threads may use it at once. */
struct cmp_queue {
    struct cmp_segment *segment;
    struct cmp_queue_shm *shm;
    int event_fd;                    /* readable while items are there, once armed; -1: none */
    uint64_t event_identity;         /* of the open file behind it, as it was when the handle got it */
    struct cmp_chunk tail_view;      /* of the tail chunk; touched under the put lock only */
    struct cmp_chunk head_view;      /* of the head chunk; touched under the take lock only */
    /* Called under the take lock when its holder died, with the index of the item now at the head: a claim of it
     * or of a later item has not happened. NULL if nobody claims. */
    void (*on_take_repair)(void *arg, uint64_t head);
    void *repair_arg;
    /* Looked at before every sleep and after every wake-up: not 0 ends the wait with that negative errno (a manager
     * gone, a pool terminated; see cmp_queue_disturb). NULL for none. A handle may be copied to wait with another. */
    int (*on_look)(void *arg);
    void *look_arg;
    struct cmp_queue *next;          /* the segment's list of handles */
    _Atomic uint32_t met_dead;       /* a dead holder was met, and nobody has swept since */
    struct cmp_spin for_items, for_room, for_dones;
};

size_t cmp_queue_shm_size(void);
/* Lays an empty queue at `shm` (in the segment's root area); capacity 0 is unbounded. */
int cmp_queue_init(struct cmp_queue *queue, struct cmp_segment *segment, struct cmp_queue_shm *shm, uint64_t capacity);
/* -EPROTO: no queue lies there. */
int cmp_queue_attach(struct cmp_queue *queue, struct cmp_segment *segment, struct cmp_queue_shm *shm);
/* The eventfd to keep readable; it stays the caller's to close. */
void cmp_queue_use_eventfd(struct cmp_queue *queue, int fd);
/* Is the number still that eventfd? User code may have closed it and got it again for something else. */
bool cmp_queue_owns_eventfd(const struct cmp_queue *queue);

struct cmp_message {
    const struct iovec *parts; /* gathered into one record */
    int nparts;
    uint64_t size;             /* their sum */
    uint32_t tag;              /* the caller's, given back with the item */
};

/* 0; -EAGAIN full (deadline 0), -ETIMEDOUT full, -EBUSY, -ENOMEM, -EINTR, -EPIPE shut down. */
int cmp_queue_put(struct cmp_queue *queue, const struct cmp_message *message, int64_t deadline_ns);
/* n messages, one lock per batch; *done tells how many went in, also when a later one failed. */
int cmp_queue_put_many(struct cmp_queue *queue, const struct cmp_message *messages, size_t n, int64_t deadline_ns,
                       size_t *done);

struct cmp_taken {
    const void *data;   /* inline_bytes, or the payload of a block held by this member until release */
    uint64_t size;
    uint32_t tag;
    uint64_t index;     /* free-running number of the item */
    cmp_ref block;      /* 0: inline */
    char inline_bytes[CMP_QUEUE_INLINE] __attribute__((aligned(64)));
};

/* claim: a word set before the item leaves the queue ([queue.claim]), or NULL: the item's tag in the upper half, its
 * index + 1 in the lower (CMP_QUEUE_CLAIM). Tags of items that are claimed are not 0, so that no claim is.
 * 0; -EAGAIN empty (deadline 0), -ETIMEDOUT, -EBUSY, -EINTR, -EPIPE (shut down and empty), -EBADMSG (a record that
 * cannot be: it is skipped, with those behind it that cannot be found without it, which count as done), -ENOMEM, -EBADF
 * (this process cannot map where the item lies: it stays where it is). */
#define CMP_QUEUE_CLAIM(tag, index) ((uint64_t)(tag) << 32 | (uint32_t)((index) + 1))
int cmp_queue_take(struct cmp_queue *queue, struct cmp_taken *taken, _Atomic uint64_t *claim, int64_t deadline_ns);
/* Gives the block back, if there is one; in a child that was forked since the take, it stays the parent's. */
void cmp_queue_release(struct cmp_queue *queue, struct cmp_taken *taken);

struct cmp_item {
    const void *data;
    uint64_t size;
    uint32_t tag;
    cmp_ref block;      /* as in cmp_taken */
};
/* At least one and up to n items under one lock, n <= CMP_QUEUE_TAKE_MAX; *done tells how many. Inline bytes go to
 * `bytes`, of which there are at least CMP_QUEUE_INLINE; what does not fit stays in the queue. The rest as in take. */
#define CMP_QUEUE_TAKE_MAX 64
int cmp_queue_take_many(struct cmp_queue *queue, struct cmp_item *items, size_t n, void *bytes, size_t bytes_size,
                        int64_t deadline_ns, size_t *done);
void cmp_queue_release_item(struct cmp_queue *queue, struct cmp_item *item);

/* How many items have left, and how many were put, since it was made; both run free. */
uint64_t cmp_queue_head(const struct cmp_queue *queue);
uint64_t cmp_queue_tail(const struct cmp_queue *queue);
/* Exact at some instant during the call. */
uint64_t cmp_queue_size(const struct cmp_queue *queue);
uint64_t cmp_queue_capacity(const struct cmp_queue *queue);
/* Sleeps until an item may be there: 0, -EAGAIN (deadline 0), -ETIMEDOUT, -EINTR, -EPIPE. Takes nothing. */
int cmp_queue_wait(struct cmp_queue *queue, int64_t deadline_ns);
/* Wakes every sleeper so that it looks at its own business again (on_look). */
void cmp_queue_disturb(struct cmp_queue *queue);
/* No more puts; gets until it is empty, or, immediate, no more gets either and what is left is thrown away. 0, -EINTR,
 * -ETIMEDOUT; not with the GIL held. */
int cmp_queue_shutdown(struct cmp_queue *queue, bool immediate, int64_t deadline_ns);
/* From now on event_fd is kept readable while items are there. 0, -EBUSY, -EINTR, -ETIMEDOUT; nothing to do, and no
 * lock taken, when it is armed already. */
int cmp_queue_arm(struct cmp_queue *queue, int64_t deadline_ns);
/* For who looks in vain: if the queue is empty and its eventfd readable, because somebody was killed between the two,
 * that ends, and it is 1; else 0. -EBUSY, -EINTR, -ETIMEDOUT. A take that was only tried does the same. */
int cmp_queue_settle(struct cmp_queue *queue, int64_t deadline_ns);

/* JoinableQueue: unfinished = puts - dones, so no third counter can disagree. -ERANGE: called too many times. */
int cmp_queue_task_done(struct cmp_queue *queue);
/* The same for n at once, or for as many as are unfinished; how many that were. For what leaves without anybody being
 * told of it, who could say that it is done: each call that gives or raises something is good for one task_done. */
uint64_t cmp_queue_count_done(struct cmp_queue *queue, uint64_t n);
/* Until no item is unfinished, be it for a moment only: 0, -EAGAIN (deadline 0), -ETIMEDOUT, -EINTR. Of a queue that
 * was shut at once it throws away what is left: also what cmp_queue_shutdown gives, and -ENOMEM, -EBADF, -EUCLEAN.
 * Then not with the GIL held, unless the deadline is 0. */
int cmp_queue_join(struct cmp_queue *queue, int64_t deadline_ns);

/* For the sweep (shm/sweep.h). Freeze locks both sides, take before put, repairing what a dead holder left: 0, or
 * -ETIMEDOUT (a holder is alive but stands still: sweep later). Only without the GIL and holding no lock. While
 * frozen, `keeps` tells whether an ITEM or CHUNK tenure of this queue's number is alive, from the indices alone. */
int cmp_queue_freeze(struct cmp_queue *queue);
void cmp_queue_thaw(struct cmp_queue *queue);
uint32_t cmp_queue_number(const struct cmp_queue *queue);
bool cmp_queue_keeps(const struct cmp_queue *queue, uint64_t tenure);

/* How many owners died in a section of it, over all its life. */
uint32_t cmp_queue_repairs(const struct cmp_queue *queue);
/* 0 if the structure is whole (both sides locked meanwhile), else -EUCLEAN. For tests and after repairs. */
int cmp_queue_check(struct cmp_queue *queue);

#endif
