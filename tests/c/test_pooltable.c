/* The pool table by itself, and with the queue whose takes claim in it. */
#include "queue_fixture.h"

#include "shm/pooltable.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOTS 5

static struct cmp_pooltable *make(void)
{
    struct cmp_pooltable *table = aligned_alloc(64, cmp_pooltable_size(SLOTS));
    memset(table, 0, cmp_pooltable_size(SLOTS));
    cmp_pooltable_init(table, SLOTS);
    return table;
}

/* The tag of the task that a slot's worker has claimed, 0: none. */
static uint32_t claimed_by(const struct cmp_pooltable *table, uint32_t slot)
{
    return (uint32_t)(cmp_load(&table->slots[slot].claim, acquire) >> 32);
}

TEST(slots_open_until_there_are_none_and_return)
{
    struct cmp_pooltable *table = make();
    uint32_t slot;
    for (uint32_t i = 0; i < SLOTS; i++) {
        CHECK_EQ(cmp_pooltable_open(table, &slot), 0);
        CHECK_EQ(slot, i);
        CHECK_EQ(cmp_load(&table->slots[i].life, relaxed), CMP_WORKER_STARTING);
    }
    CHECK_EQ(cmp_pooltable_open(table, &slot), -ENOSPC);
    cmp_pooltable_close(table, 3);
    CHECK_EQ(cmp_pooltable_open(table, &slot), 0);
    CHECK_EQ(slot, 3);
    free(table);
}

TEST(a_table_that_promises_more_slots_than_fit_is_refused)
{
    struct cmp_pooltable *table = make();
    CHECK_EQ(cmp_pooltable_check(table, cmp_pooltable_size(SLOTS)), 0);
    CHECK_EQ(cmp_pooltable_check(table, cmp_pooltable_size(SLOTS) - 1), -EPROTO);
    CHECK_EQ(cmp_pooltable_check(table, 64), -EPROTO);
    table->magic++;
    CHECK_EQ(cmp_pooltable_check(table, cmp_pooltable_size(SLOTS)), -EPROTO);
    free(table);
}

TEST(withdraw_takes_back_claims_of_items_still_queued_only)
{
    struct cmp_pooltable *table = make();
    const uint64_t head = UINT64_C(0x1ffffffff); /* the lower half of a claim is about to wrap */
    table->slots[0].claim = CMP_QUEUE_CLAIM(9, head - 1);
    table->slots[1].claim = CMP_QUEUE_CLAIM(10, head);
    table->slots[2].claim = CMP_QUEUE_CLAIM(11, head - UINT32_C(0x80000001)); /* a task of hours */
    table->slots[3].claim = CMP_QUEUE_CLAIM(8, head - 1000);
    CHECK_EQ(cmp_pooltable_lost(table, 0, head), 9);
    CHECK_EQ(cmp_pooltable_lost(table, 1, head), 0);
    CHECK_EQ(cmp_pooltable_lost(table, 2, head), 11);
    cmp_pooltable_withdraw(table, head);
    CHECK_EQ(claimed_by(table, 0), 9);
    CHECK_EQ(claimed_by(table, 1), 0);
    CHECK_EQ(claimed_by(table, 2), 11);
    CHECK_EQ(claimed_by(table, 3), 8);
    CHECK_EQ(claimed_by(table, 4), 0);
    free(table);
}

TEST(claims_beside_every_wrap_of_the_index_are_judged_right)
{
    static const uint64_t heads[] = {0, 1, UINT64_C(0x7fffffff), UINT64_C(0x80000000), UINT64_C(0xfffffffe),
                                     UINT64_C(0xffffffff), UINT64_C(0x100000000), UINT64_C(0x180000000), UINT64_MAX};
    struct cmp_pooltable *table = make();
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        table->slots[0].claim = CMP_QUEUE_CLAIM(1, heads[i]);
        table->slots[1].claim = CMP_QUEUE_CLAIM(2, heads[i] - 1);
        CHECK_EQ(cmp_pooltable_lost(table, 0, heads[i]), 0);
        CHECK_EQ(cmp_pooltable_lost(table, 1, heads[i]), 2);
        cmp_pooltable_withdraw(table, heads[i]);
        CHECK_EQ(claimed_by(table, 0), 0);
        CHECK_EQ(claimed_by(table, 1), 2);
    }
    free(table);
}

TEST(no_task_has_the_time_of_the_one_before)
{
    struct cmp_pooltable *table = make();
    uint32_t slot;
    CHECK_EQ(cmp_pooltable_open(table, &slot), 0);
    struct cmp_worker_shm *worker = &table->slots[slot];
    CHECK_EQ(cmp_load(&worker->since_ns, relaxed), 0);
    cmp_worker_begin(worker, 7);
    CHECK_EQ(cmp_load(&worker->since_ns, relaxed), 7);
    cmp_worker_answer(worker); /* what is taken next is not begun as long as nobody says so */
    CHECK_EQ(cmp_load(&worker->since_ns, relaxed), 0);
    cmp_worker_begin(worker, 8); /* dies of this one */
    cmp_pooltable_close(table, slot);
    CHECK_EQ(cmp_pooltable_open(table, &slot), 0);
    CHECK_EQ(cmp_load(&table->slots[slot].since_ns, relaxed), 0);
    CHECK_EQ(cmp_load(&table->slots[slot].begun, relaxed), 0);
    free(table);
}

TEST(one_wish_is_told_once)
{
    struct cmp_pooltable *table = make();
    CHECK(!cmp_pooltable_tell(table));
    cmp_pooltable_want(table);
    CHECK(cmp_pooltable_tell(table));
    CHECK(!cmp_pooltable_tell(table));
    cmp_pooltable_want(table);
    cmp_pooltable_unwant(table);
    CHECK(!cmp_pooltable_tell(table));
    free(table);
}

struct pool {
    struct cmp_segment segment;
    struct cmp_queue tasks;
    struct cmp_pooltable *table;
};

static void pool_open(struct pool *pool)
{
    size_t queue_bytes = (cmp_queue_shm_size() + 63) & ~(size_t)63;
    CHECK_EQ(cmp_segment_create(&pool->segment, queue_bytes + cmp_pooltable_size(SLOTS), "cmp-test"), 0);
    char *root = cmp_segment_root(&pool->segment);
    CHECK_EQ(cmp_queue_init(&pool->tasks, &pool->segment, (struct cmp_queue_shm *)root, 0), 0);
    pool->table = (struct cmp_pooltable *)(root + queue_bytes);
    cmp_pooltable_init(pool->table, SLOTS);
    pool->tasks.on_take_repair = cmp_pooltable_withdraw;
    pool->tasks.repair_arg = pool->table;
}

static void put_tagged(struct cmp_queue *queue, uint32_t tag)
{
    struct iovec part = {&tag, sizeof tag};
    struct cmp_message message = {.parts = &part, .nparts = 1, .size = sizeof tag, .tag = tag};
    CHECK_EQ(cmp_queue_put(queue, &message, TRY), 0);
}

static void claim_and_die(void *arg)
{
    struct pool *pool = arg;
    struct cmp_taken taken;
    if (cmp_queue_take(&pool->tasks, &taken, &pool->table->slots[2].claim, TRY) != 0) _exit(1);
    raise(SIGKILL);
}

TEST(claim_of_a_dead_worker_names_its_task)
{
    struct pool pool;
    pool_open(&pool);
    put_tagged(&pool.tasks, 71);
    put_tagged(&pool.tasks, 72);
    (void)test_reap(test_child(claim_and_die, &pool));
    CHECK_EQ(cmp_queue_freeze(&pool.tasks), 0);
    cmp_queue_thaw(&pool.tasks);
    CHECK_EQ(claimed_by(pool.table, 2), 71);
    CHECK_EQ(cmp_queue_size(&pool.tasks), 1);
    cmp_segment_close(&pool.segment);
}

static void die_claiming(void *arg)
{
    struct pool *pool = arg;
    if (cmp_queue_lock_take(&pool->tasks, TRY) != 0) _exit(1);
    cmp_store(&pool->table->slots[1].claim, CMP_QUEUE_CLAIM(71, 0), release, "test.claim");
    raise(SIGKILL);
}

TEST(claim_whose_task_never_left_is_withdrawn_by_a_freeze)
{
    struct pool pool;
    pool_open(&pool);
    put_tagged(&pool.tasks, 71);
    (void)test_reap(test_child(die_claiming, &pool));
    CHECK_EQ(claimed_by(pool.table, 1), 71);
    CHECK_EQ(cmp_queue_freeze(&pool.tasks), 0);
    cmp_queue_thaw(&pool.tasks);
    CHECK_EQ(claimed_by(pool.table, 1), 0);
    CHECK_EQ(cmp_queue_size(&pool.tasks), 1);
    cmp_segment_close(&pool.segment);
}

/* Whoever met the dead worker's lock stands still (SIGSTOP) before it has withdrawn anything: the freeze is in vain. */
TEST(claim_whose_task_never_left_is_no_loss_without_a_freeze_either)
{
    struct pool pool;
    pool_open(&pool);
    put_tagged(&pool.tasks, 71);
    (void)test_reap(test_child(die_claiming, &pool));
    CHECK_EQ(cmp_mutex_try(&pool.tasks.shm->take_lock), -EOWNERDEAD);
    CHECK_EQ(cmp_queue_freeze(&pool.tasks), -ETIMEDOUT);
    CHECK_EQ(claimed_by(pool.table, 1), 71);
    CHECK_EQ(cmp_pooltable_lost(pool.table, 1, cmp_queue_head(&pool.tasks)), 0);
    cmp_queue_repair_take(&pool.tasks);
    cmp_mutex_repaired(&pool.tasks.shm->take_lock);
    cmp_queue_unlock_take(&pool.tasks);
    struct cmp_taken taken;
    CHECK_EQ(cmp_queue_take(&pool.tasks, &taken, &pool.table->slots[2].claim, TRY), 0);
    CHECK_EQ(taken.tag, 71);
    CHECK_EQ(cmp_pooltable_lost(pool.table, 2, cmp_queue_head(&pool.tasks)), 71);
    CHECK_EQ(cmp_pooltable_lost(pool.table, 1, cmp_queue_head(&pool.tasks)), 0);
    cmp_segment_close(&pool.segment);
}
