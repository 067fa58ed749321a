/* What the queue's tests share: a queue in a segment of its own, and numbers as items. */
#ifndef CMP_TESTS_QUEUE_FIXTURE_H
#define CMP_TESTS_QUEUE_FIXTURE_H

#include "runner.h"

#include "os/clock.h"
#include "shm/queue_layout.h"

#include <errno.h>
#include <string.h>

#define NEVER INT64_MAX
#define TRY INT64_C(0)

struct fixture {
    struct cmp_segment segment;
    struct cmp_queue queue;
};

static inline struct cmp_queue *fixture_open(struct fixture *fixture, uint64_t capacity)
{
    CHECK_EQ(cmp_segment_create(&fixture->segment, cmp_queue_shm_size(), "cmp-test"), 0);
    CHECK_EQ(cmp_queue_init(&fixture->queue, &fixture->segment, cmp_segment_root(&fixture->segment), capacity), 0);
    return &fixture->queue;
}

static inline void fixture_close(struct fixture *fixture)
{
    CHECK_EQ(cmp_queue_check(&fixture->queue), 0);
    cmp_segment_close(&fixture->segment);
}

/* Lays a fresh item's bytes: the number, then a filling that depends on it, `size` bytes in all (at least 8). */
static inline void item_fill(char *bytes, size_t size, uint64_t number)
{
    memcpy(bytes, &number, sizeof number);
    for (size_t i = sizeof number; i < size; i++) bytes[i] = (char)(number * 31 + i);
}

static inline uint64_t item_check(const char *bytes, size_t size)
{
    uint64_t number;
    CHECK(size >= sizeof number);
    memcpy(&number, bytes, sizeof number);
    for (size_t i = sizeof number; i < size; i++) CHECK(bytes[i] == (char)(number * 31 + i));
    return number;
}

static inline int put_bytes(struct cmp_queue *queue, const void *bytes, size_t size, int64_t deadline_ns)
{
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    struct cmp_message message = {.parts = &part, .nparts = 1, .size = size, .tag = 7};
    int code;
    do code = cmp_queue_put(queue, &message, deadline_ns);
    while (code == -EINTR);
    return code;
}

static inline int put_number(struct cmp_queue *queue, uint64_t number, int64_t deadline_ns)
{
    return put_bytes(queue, &number, sizeof number, deadline_ns);
}

/* An item of `size` bytes; up to a MiB. */
static inline int put_sized(struct cmp_queue *queue, uint64_t number, size_t size, int64_t deadline_ns)
{
    static _Thread_local char bytes[1 << 20];
    CHECK(size <= sizeof bytes);
    item_fill(bytes, size, number);
    return put_bytes(queue, bytes, size, deadline_ns);
}

/* Takes and gives back one item of whatever size, checking its filling. */
static inline int take_number(struct cmp_queue *queue, uint64_t *number, int64_t deadline_ns)
{
    struct cmp_taken taken;
    int code;
    do code = cmp_queue_take(queue, &taken, NULL, deadline_ns);
    while (code == -EINTR);
    if (code < 0) return code;
    CHECK_EQ(taken.tag, 7);
    *number = item_check(taken.data, taken.size);
    cmp_queue_release(queue, &taken);
    return 0;
}

static inline uint64_t must_take(struct cmp_queue *queue)
{
    uint64_t number;
    CHECK_EQ(take_number(queue, &number, NEVER), 0);
    return number;
}

/* The head record's place in the head chunk. */
static inline char *head_record(struct cmp_queue *queue)
{
    struct cmp_chunk chunk = {0};
    CHECK_EQ(cmp_chunk_view(queue->segment, cmp_queue_head_chunk(queue->shm), &chunk), 0);
    return chunk.shm->records + cmp_load(&queue->shm->head_off, relaxed);
}

/* A record begins with eight bytes. */
static inline void set_header(char *at, uint64_t header)
{
    memcpy(at, &header, sizeof header);
}

static inline void count_block(void *arg, cmp_ref block, _Atomic uint64_t *tenure)
{
    uint64_t *counts = arg;
    unsigned kind = CMP_TENURE_KIND(cmp_load(tenure, relaxed));
    (void)block;
    if (kind <= CMP_TENURE_CHUNK) counts[kind]++;
}

/* So many blocks has each of them. */
static inline void blocks_are(struct cmp_queue *queue, uint64_t members, uint64_t items, uint64_t chunks)
{
    uint64_t counts[CMP_TENURE_CHUNK + 1] = {0};
    CHECK_EQ(cmp_block_walk(queue->segment, count_block, counts), 0);
    CHECK_EQ(counts[CMP_TENURE_MEMBER], members);
    CHECK_EQ(counts[CMP_TENURE_ITEM], items);
    CHECK_EQ(counts[CMP_TENURE_CHUNK], chunks);
}

#endif
