#include "crowded.h"
#include "runner.h"

#include "os/clock.h"
#include "shm/lockword.h"
#include "shm/semaphore.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static struct cmp_cell cell;

static void fresh(void)
{
    CHECK_EQ(cmp_cell_create(&cell, CMP_CELL_LOCK, 1), 0);
}

static struct cmp_lock_take a_take(bool kept)
{
    return (struct cmp_lock_take){.cell = &cell, .kept = kept};
}

static int try_take(bool kept)
{
    struct cmp_lock_take take = a_take(kept);
    return cmp_lockword_take(&take, 0);
}

/* As py/wait.c does: on through slices. */
static int take_until(struct cmp_lock_take *take, int64_t deadline_ns)
{
    int code;
    do code = cmp_lockword_take(take, deadline_ns);
    while (code == -EINTR);
    return code;
}

static uint64_t word(void)
{
    return cmp_load(&cell.shm->word, acquire);
}

static void take_and_stay(void *arg)
{
    CHECK_EQ(try_take(*(bool *)arg), 0);
    for (;;) pause();
}

static pid_t holder(bool kept)
{
    pid_t pid = test_child(take_and_stay, &kept);
    WAIT_FOR(cmp_lockword_owner(&cell) != 0);
    return pid;
}

TEST(taken_lock_is_refused_and_free_one_is_taken)
{
    fresh();
    CHECK_EQ(cmp_lockword_release(&cell), -EPERM);
    CHECK_EQ(try_take(false), 0);
    CHECK_EQ(cmp_lockword_owner(&cell), cmp_members_me(&cell.members));
    CHECK_EQ(try_take(false), -EAGAIN);
    struct cmp_lock_take take = a_take(false);
    int64_t begun_ns = cmp_now_ns();
    CHECK_EQ(take_until(&take, begun_ns + 30 * CMP_MS), -ETIMEDOUT);
    CHECK(cmp_now_ns() - begun_ns >= 30 * CMP_MS);
    CHECK_EQ(cmp_lockword_release(&cell), 0);
    CHECK_EQ(word(), 0);
}

static void release_it(void *arg)
{
    (void)arg;
    CHECK_EQ(cmp_lockword_release(&cell), 0);
}

TEST(any_process_may_release)
{
    fresh();
    CHECK_EQ(try_take(false), 0);
    test_join(test_child(release_it, NULL));
    CHECK_EQ(word(), 0);
}

TEST(dead_holder_inside_with_is_inherited_by_a_waiter)
{
    fresh();
    pid_t pid = holder(true);
    test_kill(pid);
    struct cmp_lock_take take = a_take(true);
    int64_t begun_ns = cmp_now_ns();
    CHECK_EQ(take_until(&take, INT64_MAX), 0);
    CHECK(cmp_now_ns() - begun_ns < 1000 * CMP_MS);
    CHECK(take.abandoned);
    CHECK_EQ(take.abandoned_pid, pid);
    CHECK_EQ(take.epoch, 1);
    CHECK_EQ(cmp_lockword_leave(&cell, take.epoch), 0);
}

TEST(dead_holder_without_a_slot_is_inherited)
{
    fresh();
    crowd(&cell.members);
    pid_t pid = holder(true);
    CHECK(!CMP_OWNER_HAS_SLOT(cmp_lockword_owner(&cell)));
    CHECK_EQ(try_take(true), -EAGAIN);
    test_kill(pid);
    struct cmp_lock_take take = a_take(true);
    CHECK_EQ(take_until(&take, cmp_now_ns() + 5000 * CMP_MS), 0);
    CHECK(take.abandoned);
    CHECK_EQ(take.abandoned_pid, pid);
}

TEST(waiter_inherits_when_the_holder_dies_during_the_wait)
{
    fresh();
    pid_t pid = holder(true);
    struct cmp_lock_take take = a_take(true);
    CHECK_EQ(take_until(&take, cmp_now_ns() + 50 * CMP_MS), -ETIMEDOUT);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(take_until(&take, cmp_now_ns() + 1000 * CMP_MS), 0);
    CHECK(take.abandoned);
    test_reap(pid);
}

TEST(mere_try_inherits_from_the_dead)
{
    fresh();
    test_kill(holder(true));
    CHECK_EQ(try_take(false), 0);
}

TEST(plainly_acquired_lock_of_the_dead_stays_taken)
{
    fresh();
    test_kill(holder(false));
    struct cmp_lock_take take = a_take(true);
    CHECK_EQ(take_until(&take, cmp_now_ns() + 100 * CMP_MS), -ETIMEDOUT);
    CHECK_EQ(cmp_lockword_release(&cell), 0);
    CHECK_EQ(take_until(&take, 0), 0);
    CHECK(!take.abandoned);
}

TEST(stale_leave_after_a_take_over_releases_nothing)
{
    fresh();
    test_kill(holder(true));
    struct cmp_lock_take take = a_take(true);
    CHECK_EQ(take_until(&take, INT64_MAX), 0);
    CHECK_EQ(cmp_lockword_leave(&cell, 0), -ESTALE);
    CHECK_EQ(cmp_lockword_owner(&cell), cmp_members_me(&cell.members));
    CHECK_EQ(cmp_lockword_leave(&cell, 1), 0);
    CHECK_EQ(cmp_lockword_leave(&cell, 0), -ESTALE);
    CHECK_EQ(cmp_lockword_leave(&cell, 1), -EPERM);
}

TEST(leave_without_a_take_over_releases_whoever_holds)
{
    fresh();
    pid_t pid = holder(true);
    CHECK_EQ(cmp_lockword_leave(&cell, 0), 0); /* as a child forked inside the body does */
    test_kill(pid);
}

TEST(reused_pid_is_dead_and_nameless_holder_is_not)
{
    fresh();
    cmp_owner me = cmp_members_me(&cell.members);
    /* A member with this test's pid that started at another time. */
    uint64_t mine = cmp_load(&cell.shm->members.slots[0].who, relaxed);
    cmp_store(&cell.shm->members.slots[1].who, mine + (UINT64_C(1) << 30), relaxed, "test.set");
    cmp_store(&cell.shm->word, (UINT64_C(2) << 32) | CMP_LOCK_KEPT, relaxed, "test.set");
    struct cmp_lock_take take = a_take(true);
    CHECK_EQ(take_until(&take, INT64_MAX), 0);
    CHECK(take.abandoned);
    CHECK_EQ(take.abandoned_pid, getpid());
    CHECK_EQ(cmp_lockword_owner(&cell), me);
    cmp_store(&cell.shm->word, CMP_OWNER_NAMELESS | CMP_LOCK_KEPT, relaxed, "test.set");
    CHECK_EQ(take_until(&take, cmp_now_ns() + 50 * CMP_MS), -ETIMEDOUT);
}

TEST(generation_that_has_moved_on_is_dead_and_has_no_pid)
{
    fresh();
    (void)cmp_members_me(&cell.members);
    cmp_store(&cell.shm->members.slots[5].generation, 7, relaxed, "test.set");
    cmp_store(&cell.shm->word, (UINT64_C(6) << 32) | 6 | CMP_LOCK_KEPT, relaxed, "test.set");
    struct cmp_lock_take take = a_take(true);
    CHECK_EQ(cmp_lockword_take(&take, 0), 0);
    CHECK(take.abandoned);
    CHECK_EQ(take.abandoned_pid, 0);
}

TEST(epoch_wraps_within_its_bits)
{
    fresh();
    test_kill(holder(true));
    uint64_t last = ~((UINT64_C(1) << CMP_LOCK_EPOCH_SHIFT) - 1);
    cmp_store(&cell.shm->word, word() | last, relaxed, "test.set");
    struct cmp_lock_take take = a_take(true);
    CHECK_EQ(cmp_lockword_take(&take, 0), 0);
    CHECK_EQ(take.epoch, 0);
    CHECK_EQ(cmp_lockword_owner(&cell), cmp_members_me(&cell.members));
}

TEST(full_table_is_swept_but_the_dead_holder_keeps_its_name)
{
    fresh();
    pid_t pid = holder(true);
    cmp_owner owner = cmp_lockword_owner(&cell);
    test_kill(pid);
    /* All other slots belong to dead processes too: the same pid, other start times. */
    uint64_t who = cmp_load(&cell.shm->members.slots[0].who, relaxed);
    for (int i = 1; i < CMP_CELL_MEMBERS; i++)
        cmp_store(&cell.shm->members.slots[i].who, who + ((uint64_t)i << 22), relaxed, "test.set");
    struct cmp_lock_take take = a_take(true);
    CHECK_EQ(take_until(&take, INT64_MAX), 0);
    CHECK(CMP_OWNER_HAS_SLOT(take.me));
    CHECK(take.me >> 32 != owner >> 32);
    CHECK_EQ(take.abandoned_pid, pid);
}

static void add_under_lock(int i, void *arg)
{
    long *sum = arg;
    (void)i;
    for (int n = 0; n < (TEST_TSAN ? 2000 : 20000); n++) {
        struct cmp_lock_take take = a_take(true);
        CHECK_EQ(take_until(&take, INT64_MAX), 0);
        *sum += 1;
        CHECK_EQ(cmp_lockword_leave(&cell, take.epoch), 0);
    }
}

TEST(holders_exclude_each_other)
{
    fresh();
    long *sum = test_shared(sizeof *sum);
    test_together(4, TEST_TSAN, add_under_lock, sum);
    CHECK_EQ(*sum, TEST_TSAN ? 8000 : 80000);
    CHECK_EQ(word(), 0);
}

TEST(semaphore_counts_down_to_zero_and_up_to_its_limit)
{
    CHECK_EQ(cmp_cell_create(&cell, CMP_CELL_SEMAPHORE, 2), 0);
    cmp_semaphore_init(&cell, 2);
    struct cmp_semaphore_take take = {.cell = &cell};
    CHECK_EQ(cmp_semaphore_release(&cell), -EOVERFLOW);
    CHECK_EQ(cmp_semaphore_take(&take, 0), 0);
    CHECK_EQ(cmp_semaphore_take(&take, 0), 0);
    CHECK_EQ(cmp_semaphore_value(&cell), 0);
    CHECK_EQ(cmp_semaphore_take(&take, 0), -EAGAIN);
    int code;
    do code = cmp_semaphore_take(&take, cmp_now_ns() + CMP_MS);
    while (code == -EINTR);
    CHECK_EQ(code, -ETIMEDOUT);
    CHECK_EQ(cmp_semaphore_release(&cell), 0);
    CHECK_EQ(cmp_semaphore_value(&cell), 1);
}

static void pass_tokens(int i, void *arg)
{
    (void)arg;
    for (int n = 0; n < (TEST_TSAN ? 500 : 5000); n++) {
        if (i % 2 == 0) {
            CHECK_EQ(cmp_semaphore_release(&cell), 0);
            continue;
        }
        struct cmp_semaphore_take take = {.cell = &cell};
        int code;
        do code = cmp_semaphore_take(&take, INT64_MAX);
        while (code == -EINTR);
        CHECK_EQ(code, 0);
    }
}

TEST(every_release_reaches_one_taker)
{
    CHECK_EQ(cmp_cell_create(&cell, CMP_CELL_SEMAPHORE, CMP_SEMAPHORE_MAX), 0);
    test_together(4, TEST_TSAN, pass_tokens, NULL);
    CHECK_EQ(cmp_semaphore_value(&cell), 0);
}
