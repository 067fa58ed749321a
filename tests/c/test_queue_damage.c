/* Bytes that cannot be, in a queue's chunks: what cannot be read is lost, and nothing else. */
#include "queue_fixture.h"

#include "shm/sweep.h"

TEST(record_of_impossible_size_costs_its_chunk_only)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    uint64_t number, n = 0;
    while (cmp_load(&queue->shm->tail_chunk, relaxed) == cmp_queue_head_chunk(queue->shm)) {
        CHECK_EQ(put_sized(queue, n, 1000, NEVER), 0);
        n++;
    }
    CHECK_EQ(must_take(queue), 0);
    set_header(head_record(queue), 0x7fffffff);
    CHECK_EQ(take_number(queue, &number, TRY), -EBADMSG);
    CHECK_EQ(cmp_queue_size(queue), 1);
    CHECK_EQ(must_take(queue), n - 1);
    CHECK_EQ(put_number(queue, n, TRY), 0);
    CHECK_EQ(must_take(queue), n);
    (void)cmp_sweep(queue->segment);
    blocks_are(queue, 0, 0, 1);
    fixture_close(&fixture);
}

TEST(damage_in_the_last_chunk_costs_what_is_in_it)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    uint64_t number;
    for (uint64_t i = 0; i < 5; i++) CHECK_EQ(put_number(queue, i, TRY), 0);
    set_header(head_record(queue), UINT64_MAX << 32 | CMP_RECORD_END);
    CHECK_EQ(take_number(queue, &number, TRY), -EBADMSG);
    CHECK_EQ(take_number(queue, &number, TRY), -EAGAIN);
    CHECK_EQ(put_number(queue, 5, TRY), 0);
    CHECK_EQ(must_take(queue), 5);
    cmp_segment_close(&fixture.segment); /* its chunk stays unreadable from its first record on */
}

TEST(record_that_names_no_block_of_its_own_is_skipped)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    static const cmp_ref wrong[] = {0, 64, 4096, UINT64_MAX, UINT64_C(200) << 48, UINT64_C(1) << 48 | 8};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t number;
        CHECK_EQ(put_sized(queue, 1, 9000, NEVER), 0);
        CHECK_EQ(put_number(queue, 2, TRY), 0);
        struct cmp_record_block body;
        memcpy(&body, head_record(queue) + 8, sizeof body);
        body.block = wrong[i];
        memcpy(head_record(queue) + 8, &body, sizeof body);
        CHECK_EQ(take_number(queue, &number, TRY), -EBADMSG);
        CHECK_EQ(must_take(queue), 2);
    }
    (void)cmp_sweep(queue->segment);
    blocks_are(queue, 0, 0, 1);
    fixture_close(&fixture);
}

TEST(record_that_promises_more_than_its_block_holds_is_skipped)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    uint64_t number;
    CHECK_EQ(put_sized(queue, 1, 9000, NEVER), 0);
    struct cmp_record_block body;
    memcpy(&body, head_record(queue) + 8, sizeof body);
    body.size = UINT64_C(1) << 40;
    memcpy(head_record(queue) + 8, &body, sizeof body);
    CHECK_EQ(take_number(queue, &number, TRY), -EBADMSG);
    blocks_are(queue, 0, 0, 1);
    fixture_close(&fixture);
}

/* --- join: what leaves by damage is done, or can be said to be --- */

/* The body of the block's record at `at` now says something else. */
static void spoil_block(char *at, uint64_t size)
{
    struct cmp_record_block body;
    memcpy(&body, at + 8, sizeof body);
    if (size == 0) body.block = 64;
    else body.size = size;
    memcpy(at + 8, &body, sizeof body);
}

TEST(damage_that_a_shutdown_throws_away_counts_as_done)
{
    for (int kind = 0; kind < 3; kind++) {
        struct fixture fixture;
        struct cmp_queue *queue = fixture_open(&fixture, 0);
        for (uint64_t i = 0; i < 5; i++) CHECK_EQ(put_sized(queue, i, 9000, NEVER), 0);
        if (kind == 0) set_header(head_record(queue), UINT64_MAX << 32 | CMP_RECORD_END);
        else spoil_block(head_record(queue), kind == 1 ? 0 : UINT64_C(1) << 40);
        CHECK_EQ(cmp_queue_shutdown(queue, true, NEVER), 0);
        CHECK_EQ(cmp_queue_size(queue), 0);
        CHECK_EQ(cmp_queue_join(queue, cmp_now_ns() + 50 * CMP_MS), 0);
        CHECK_EQ(cmp_queue_task_done(queue), -ERANGE);
        cmp_segment_close(&fixture.segment);
    }
}

TEST(of_what_a_taker_passes_over_one_is_his_to_be_done)
{
    for (int chunks = 1; chunks <= 2; chunks++) {
        struct fixture fixture;
        struct cmp_queue *queue = fixture_open(&fixture, 0);
        uint64_t number, n = 0;
        do CHECK_EQ(put_sized(queue, n++, 1000, NEVER), 0);
        while (n < 5 ||
               (chunks == 2 && cmp_load(&queue->shm->tail_chunk, relaxed) == cmp_queue_head_chunk(queue->shm)));
        set_header(head_record(queue), UINT64_MAX << 32 | CMP_RECORD_END);
        CHECK_EQ(take_number(queue, &number, TRY), -EBADMSG);
        CHECK_EQ(cmp_queue_join(queue, TRY), -EAGAIN);
        CHECK_EQ(cmp_queue_task_done(queue), 0);
        if (chunks == 2) { /* the first item of the next chunk is there, and nothing before it */
            CHECK_EQ(cmp_queue_join(queue, TRY), -EAGAIN);
            CHECK_EQ(must_take(queue), n - 1);
            CHECK_EQ(cmp_queue_task_done(queue), 0);
        }
        CHECK_EQ(cmp_queue_join(queue, TRY), 0);
        CHECK_EQ(cmp_queue_task_done(queue), -ERANGE);
        cmp_segment_close(&fixture.segment);
    }
}

TEST(what_is_missing_in_a_batch_counts_as_done)
{
    for (int bad = 1; bad <= 3; bad++) {
        struct fixture fixture;
        struct cmp_queue *queue = fixture_open(&fixture, 0);
        struct cmp_item items[3];
        char bytes[CMP_QUEUE_INLINE], *at = NULL;
        size_t done = 0;
        for (uint64_t i = 0; i < 3; i++) CHECK_EQ(put_sized(queue, i, 9000, NEVER), 0);
        at = head_record(queue);
        for (int i = 0; i < bad; i++) {
            struct cmp_record_view record;
            CHECK_EQ(cmp_record_read(at, 4096, &record), 0);
            spoil_block(at, UINT64_C(1) << 40);
            at += record.step;
        }
        CHECK_EQ(cmp_queue_take_many(queue, items, 3, bytes, sizeof bytes, TRY, &done), bad < 3 ? 0 : -EBADMSG);
        for (size_t i = 0; i < done; i++) cmp_queue_release_item(queue, &items[i]);
        for (size_t i = 0; i < (bad < 3 ? 3 - (size_t)bad : 1); i++) {
            CHECK_EQ(cmp_queue_join(queue, TRY), -EAGAIN);
            CHECK_EQ(cmp_queue_task_done(queue), 0);
        }
        CHECK_EQ(cmp_queue_join(queue, TRY), 0);
        CHECK_EQ(cmp_queue_task_done(queue), -ERANGE);
        blocks_are(queue, 0, 0, 1);
        cmp_segment_close(&fixture.segment);
    }
}

TEST(any_bytes_in_a_chunk_are_read_without_harm)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    uint64_t seed = 88172645463325252u;
    for (int round = 0; round < 300; round++) {
        uint64_t number;
        for (uint64_t i = 0; i < 20; i++) CHECK_EQ(put_sized(queue, i, i % 5 == 0 ? 5000 : 200, NEVER), 0);
        char *at = head_record(queue);
        struct cmp_chunk chunk = {0};
        CHECK_EQ(cmp_chunk_view(queue->segment, cmp_queue_head_chunk(queue->shm), &chunk), 0);
        size_t room = (size_t)(chunk.shm->records + chunk.size - at);
        for (int i = 0; i < 8; i++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            if (room > 2000) at[seed % 2000] = (char)(seed >> 40);
        }
        for (int code = 0, taken = 0; code != -EAGAIN && taken < 30; taken++) {
            struct cmp_taken item;
            code = cmp_queue_take(queue, &item, NULL, TRY);
            CHECK(code == 0 || code == -EBADMSG || code == -EAGAIN);
            if (code == 0) cmp_queue_release(queue, &item);
        }
        CHECK_EQ(take_number(queue, &number, TRY), -EAGAIN);
    }
    (void)cmp_sweep(queue->segment);
    blocks_are(queue, 0, 0, 1);
    cmp_segment_close(&fixture.segment);
}
