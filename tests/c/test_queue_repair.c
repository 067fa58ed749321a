/* What a killed process leaves in a queue, set by hand where the bytes matter, and put right by the next one. */
#include "queue_fixture.h"

#include "shm/sweep.h"

#include <signal.h>
#include <unistd.h>

static char *tail_record(struct cmp_queue *queue)
{
    struct cmp_chunk chunk = {0};
    CHECK_EQ(cmp_chunk_view(queue->segment, cmp_load(&queue->shm->tail_chunk, relaxed), &chunk), 0);
    return chunk.shm->records + cmp_load(&queue->shm->tail_off, relaxed);
}

static void die_with_put_lock(void *arg)
{
    CHECK_EQ(cmp_queue_lock_put(arg, NEVER), 0);
    kill(getpid(), SIGKILL);
}

static void die_with_take_lock(void *arg)
{
    CHECK_EQ(cmp_queue_lock_take(arg, NEVER), 0);
    kill(getpid(), SIGKILL);
}

TEST(put_goes_on_after_a_producer_died_in_its_section)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    (void)test_reap(test_child(die_with_put_lock, queue));
    CHECK_EQ(put_number(queue, 2, TRY), 0);
    CHECK_EQ(cmp_load(&queue->shm->repairs, relaxed), 1);
    CHECK_EQ(must_take(queue), 1);
    CHECK_EQ(must_take(queue), 2);
    fixture_close(&fixture);
}

TEST(take_goes_on_after_a_taker_died_in_its_section)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    (void)test_reap(test_child(die_with_take_lock, queue));
    CHECK_EQ(must_take(queue), 1);
    CHECK_EQ(cmp_load(&queue->shm->repairs, relaxed), 1);
    fixture_close(&fixture);
}

TEST(stopped_holder_delays_others_to_their_deadline_only)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    uint64_t number;
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    CHECK_EQ(cmp_queue_lock_take(queue, NEVER), 0);
    pid_t child = fork(); /* the parent plays the stopped holder: a robust lock knows its own thread */
    if (child == 0) {
        CHECK_EQ(take_number(queue, &number, TRY), -EBUSY);
        CHECK_EQ(take_number(queue, &number, cmp_now_ns() + 70 * CMP_MS), -ETIMEDOUT);
        CHECK_EQ(put_number(queue, 2, TRY), 0); /* the other side is free */
        _exit(0);
    }
    test_join(child);
    cmp_queue_unlock_take(queue);
    CHECK_EQ(must_take(queue), 1);
    CHECK_EQ(must_take(queue), 2);
    fixture_close(&fixture);
}

TEST(half_written_record_never_shows)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    /* Killed in step 2: a header that promises more than was written, and no publish. */
    memset(tail_record(queue), 0xee, 64);
    set_header(tail_record(queue), (uint64_t)7 << 32 | 500);
    (void)test_reap(test_child(die_with_put_lock, queue));
    CHECK_EQ(cmp_queue_size(queue), 1);
    CHECK_EQ(put_number(queue, 2, TRY), 0);
    CHECK_EQ(must_take(queue), 1);
    CHECK_EQ(must_take(queue), 2);
    fixture_close(&fixture);
}

TEST(stale_offsets_are_found_again)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    for (uint64_t i = 0; i < 10; i++) CHECK_EQ(put_number(queue, i, TRY), 0);
    CHECK_EQ(must_take(queue), 0);
    CHECK_EQ(must_take(queue), 1);
    cmp_store(&queue->shm->tail_off, 8, relaxed, "test.set");
    cmp_store(&queue->shm->head_off, 0, relaxed, "test.set");
    (void)test_reap(test_child(die_with_put_lock, queue));
    (void)test_reap(test_child(die_with_take_lock, queue));
    CHECK_EQ(cmp_queue_check(queue), 0);
    CHECK_EQ(put_number(queue, 10, TRY), 0);
    for (uint64_t i = 2; i <= 10; i++) CHECK_EQ(must_take(queue), i);
    fixture_close(&fixture);
}

TEST(chunk_that_was_linked_and_not_entered_is_adopted)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    /* Killed between [chunk.link] and [chunk.own]. */
    cmp_ref spare;
    struct cmp_chunk old = {0}, next = {0};
    CHECK_EQ(cmp_chunk_create(queue->segment, CMP_CHUNK_BYTES, false, &spare), 0);
    CHECK_EQ(cmp_chunk_view(queue->segment, cmp_load(&queue->shm->tail_chunk, relaxed), &old), 0);
    CHECK_EQ(cmp_chunk_view(queue->segment, spare, &next), 0);
    cmp_store(&next.shm->next, 0, relaxed, "test.set");
    cmp_store(&next.shm->first, 1, relaxed, "test.set");
    cmp_record_write_end(tail_record(queue));
    cmp_store(&old.shm->next, spare, relaxed, "test.set");
    (void)test_reap(test_child(die_with_put_lock, queue));
    CHECK_EQ(put_number(queue, 2, TRY), 0);
    CHECK_EQ(cmp_load(&queue->shm->tail_chunk, relaxed), spare);
    CHECK_EQ(cmp_queue_check(queue), 0);
    CHECK_EQ(must_take(queue), 1);
    CHECK_EQ(must_take(queue), 2);
    (void)cmp_sweep(queue->segment);
    blocks_are(queue, 0, 0, 1);
    fixture_close(&fixture);
}

static void give_and_die(void *arg)
{
    /* Steps 2 and 3 of a put of a large item, and no publish. */
    struct cmp_queue *queue = arg;
    cmp_ref block;
    uint64_t warm;
    CHECK_EQ(cmp_block_alloc(queue->segment, 9000, false, &block, &warm), 0);
    CHECK_EQ(cmp_queue_lock_put(queue, NEVER), 0);
    cmp_record_write_block(tail_record(queue), block, 9000, 7);
    cmp_store(cmp_block_tenure(queue->segment, block),
              CMP_TENURE_OF_QUEUE(CMP_TENURE_ITEM, queue->shm->number, cmp_load(&queue->shm->tail, relaxed)), relaxed,
              "test.set");
    kill(getpid(), SIGKILL);
}

TEST(block_given_to_an_item_never_published_is_freed)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    (void)test_reap(test_child(give_and_die, queue));
    blocks_are(queue, 0, 1, 1);
    CHECK_EQ(put_sized(queue, 2, 9000, NEVER), 0); /* takes the same index */
    (void)cmp_sweep(queue->segment);
    blocks_are(queue, 0, 1, 1);
    CHECK_EQ(must_take(queue), 1);
    CHECK_EQ(must_take(queue), 2);
    blocks_are(queue, 0, 0, 1);
    fixture_close(&fixture);
}

static void hold_and_die(void *arg)
{
    /* Step 2 of a take for the first two items, and no move of the head. */
    struct cmp_queue *queue = arg;
    cmp_owner me = cmp_members_me(&queue->segment->members);
    CHECK_EQ(cmp_queue_lock_take(queue, NEVER), 0);
    char *at = head_record(queue);
    for (int i = 0; i < 2; i++) {
        struct cmp_record_view record;
        CHECK_EQ(cmp_record_read(at, 100, &record), 0);
        cmp_store(cmp_block_tenure(queue->segment, record.block), CMP_TENURE(CMP_TENURE_MEMBER, me), relaxed,
                  "test.set");
        at += record.step;
    }
    kill(getpid(), SIGKILL);
}

TEST(item_held_by_a_dead_taker_goes_to_the_next)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    for (uint64_t i = 0; i < 4; i++) CHECK_EQ(put_sized(queue, i, 9000, NEVER), 0);
    (void)test_reap(test_child(hold_and_die, queue));
    blocks_are(queue, 2, 2, 1);
    (void)cmp_sweep(queue->segment); /* repairs before it judges */
    blocks_are(queue, 0, 4, 1);
    for (uint64_t i = 0; i < 4; i++) CHECK_EQ(must_take(queue), i);
    fixture_close(&fixture);
}

static void prepare_and_die(void *arg)
{
    struct cmp_queue *queue = arg;
    cmp_ref block;
    uint64_t warm;
    CHECK_EQ(cmp_block_alloc(queue->segment, 9000, false, &block, &warm), 0);
    CHECK_EQ(cmp_chunk_create(queue->segment, CMP_CHUNK_BYTES, false, &block), 0);
    kill(getpid(), SIGKILL);
}

TEST(what_a_dead_producer_had_prepared_is_freed)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    (void)test_reap(test_child(prepare_and_die, queue));
    blocks_are(queue, 2, 0, 1);
    (void)cmp_sweep(queue->segment);
    blocks_are(queue, 0, 0, 1);
    fixture_close(&fixture);
}

static void take_and_die(void *arg)
{
    struct cmp_taken taken;
    CHECK_EQ(cmp_queue_take(arg, &taken, NULL, NEVER), 0);
    CHECK(taken.block != 0);
    kill(getpid(), SIGKILL);
}

TEST(item_whose_take_returned_dies_with_its_taker)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    CHECK_EQ(put_sized(queue, 1, 9000, NEVER), 0);
    CHECK_EQ(put_sized(queue, 2, 9000, NEVER), 0);
    (void)test_reap(test_child(take_and_die, queue));
    (void)cmp_sweep(queue->segment);
    blocks_are(queue, 0, 1, 1);
    CHECK_EQ(must_take(queue), 2);
    fixture_close(&fixture);
}

static void withdraw(void *arg, uint64_t head)
{
    uint64_t *claim = arg;
    if ((uint32_t)*claim > head) *claim = 0;
}

TEST(claim_of_a_dead_taker_is_withdrawn)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    uint64_t claim = 1; /* killed between [queue.claim] and [queue.head] */
    queue->on_take_repair = withdraw;
    queue->repair_arg = &claim;
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    (void)test_reap(test_child(die_with_take_lock, queue));
    CHECK_EQ(must_take(queue), 1);
    CHECK_EQ(claim, 0);
    fixture_close(&fixture);
}

static void start_at(struct cmp_queue *queue, uint64_t start)
{
    struct cmp_queue_shm *shm = queue->shm;
    _Atomic uint64_t *words[] = {&shm->head,       &shm->tail,  &shm->head_cache,
                                 &shm->tail_cache, &shm->dones, &shm->idle_at};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) cmp_store(words[i], start, relaxed, "test.set");
}

TEST(repairs_and_sweeps_judge_right_beside_every_wrap_of_the_indices)
{
    static const uint64_t wraps[] = {0, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 47, UINT64_C(1) << 48,
                                     UINT64_C(1) << 63};
    for (size_t i = 0; i < sizeof wraps / sizeof *wraps; i++)
        for (uint64_t before = 0; before <= 4; before++) {
            struct fixture fixture;
            struct cmp_queue *queue = fixture_open(&fixture, 0);
            start_at(queue, wraps[i] - before);
            CHECK_EQ(put_sized(queue, 1, 5000, NEVER), 0);
            CHECK_EQ(put_sized(queue, 2, 5000, NEVER), 0);
            (void)test_reap(test_child(give_and_die, queue));
            (void)test_reap(test_child(hold_and_die, queue));
            CHECK(cmp_sweep(queue->segment) > 0);
            CHECK_EQ(cmp_queue_check(queue), 0);
            blocks_are(queue, 0, 2, 1);
            CHECK_EQ(put_sized(queue, 3, 5000, NEVER), 0);
            for (uint64_t n = 1; n <= 3; n++) CHECK_EQ(must_take(queue), n);
            blocks_are(queue, 0, 0, 1);
            fixture_close(&fixture);
        }
}
