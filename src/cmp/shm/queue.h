/* Queue: records in linked chunks, a put side and a take side with a robust lock each. See queue.c for the essay.
 *
 * What is promised: an item whose put returned 0 is taken exactly once, in order per producer; a killed process
 * takes with it at most the items the calls it was inside of had taken.
 *
 * `deadline_ns` is absolute CLOCK_MONOTONIC: 0 only tries (and then -EBUSY means an internal lock was taken,
 * allowed with the GIL held), INT64_MAX waits for ever (GIL released by the caller). -EINTR: a signal came, call
 * again with the same deadline; nothing has happened yet. */
#ifndef CMP_SHM_QUEUE_H
#define CMP_SHM_QUEUE_H

#include "os/atomics.h"
#include "shm/segment.h"

#include <stdbool.h>
#include <sys/uio.h>

/* Records up to this many bytes lie in the chunk and are copied under the lock; larger ones in a block. */
#define CMP_QUEUE_INLINE 4096

struct cmp_queue_shm;

/* One process's handle. Several threads may use it at once. */
struct cmp_queue {
    struct cmp_segment *segment;
    struct cmp_queue_shm *shm;
    int event_fd;                    /* readable while items are there, once armed; -1: none */
    /* Called under the take lock when its holder died, with the index of the item now at the head: a claim of it
     * or of a later item has not happened. NULL if nobody claims. */
    void (*on_take_repair)(void *arg, uint64_t head);
    void *repair_arg;
    /* Looked at before every sleep and after every wake-up: not 0 ends the wait with that negative errno (a manager
     * gone, a pool terminated; see cmp_queue_disturb). NULL for none. A handle may be copied to wait with another. */
    int (*on_look)(void *arg);
    void *look_arg;
    struct cmp_queue *next;          /* the segment's list of handles */
};

size_t cmp_queue_shm_size(void);
/* Lays an empty queue at `shm` (in the segment's root area); capacity 0 is unbounded. */
int cmp_queue_init(struct cmp_queue *queue, struct cmp_segment *segment, struct cmp_queue_shm *shm, uint64_t capacity);
int cmp_queue_attach(struct cmp_queue *queue, struct cmp_segment *segment, struct cmp_queue_shm *shm);

struct cmp_message {
    const struct iovec *parts; /* gathered into one record */
    int nparts;
    uint64_t size;             /* their sum */
    uint32_t tag;              /* the caller's, given back with the item */
};

/* 0; -EAGAIN full (deadline 0), -ETIMEDOUT full, -EBUSY, -ENOMEM, -EINTR, -EPIPE shut down. */
int cmp_queue_put(struct cmp_queue *queue, const struct cmp_message *message, int64_t deadline_ns);
/* Up to n messages under one lock; *done tells how many went in, also when a later one failed. */
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

/* claim: a word set to index + 1 before the item leaves the queue ([queue.claim]), or NULL.
 * 0; -EAGAIN empty (deadline 0), -ETIMEDOUT, -EBUSY, -EINTR, -EPIPE (shut down and empty), -EBADMSG (a record that
 * cannot be: it is skipped, nothing else is lost). */
int cmp_queue_take(struct cmp_queue *queue, struct cmp_taken *taken, _Atomic uint64_t *claim, int64_t deadline_ns);
/* Gives the block back, if there is one. */
void cmp_queue_release(struct cmp_queue *queue, struct cmp_taken *taken);

/* Exact at some instant during the call. */
uint64_t cmp_queue_size(const struct cmp_queue *queue);
uint64_t cmp_queue_capacity(const struct cmp_queue *queue);
/* Sleeps until an item may be there: 0, -ETIMEDOUT, -EINTR. Takes nothing. */
int cmp_queue_wait(struct cmp_queue *queue, int64_t deadline_ns);
/* Wakes every sleeper so that it looks at its own business again (on_look). */
void cmp_queue_disturb(struct cmp_queue *queue);
void cmp_queue_shutdown(struct cmp_queue *queue, bool immediate);
/* From now on event_fd is kept readable while items are there. */
void cmp_queue_arm(struct cmp_queue *queue);

/* JoinableQueue: unfinished = puts - dones, so no third counter can disagree. -ERANGE: called too many times. */
int cmp_queue_task_done(struct cmp_queue *queue);
/* Until every item put so far is done: 0, -ETIMEDOUT, -EINTR. */
int cmp_queue_join(struct cmp_queue *queue, int64_t deadline_ns);

/* For the sweep (shm/sweep.h). Freeze locks both sides, take before put, repairing what a dead holder left: 0, or
 * -ETIMEDOUT (a holder is alive but stands still: sweep later). Only without the GIL and holding no lock. While
 * frozen, `keeps` tells whether an ITEM or CHUNK tenure of this queue's number is alive, from the indices alone. */
int cmp_queue_freeze(struct cmp_queue *queue);
void cmp_queue_thaw(struct cmp_queue *queue);
uint32_t cmp_queue_number(const struct cmp_queue *queue);
bool cmp_queue_keeps(const struct cmp_queue *queue, uint64_t tenure);

/* 0 if the structure is whole (both sides locked meanwhile), else -EUCLEAN. For tests and after repairs. */
int cmp_queue_check(struct cmp_queue *queue);

#endif
