#include "runner.h"
#include "peek.h"

#include "os/clock.h"
#include "shm/mutex.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static struct cmp_mutex *fresh(void)
{
    struct cmp_mutex *mutex = test_shared(sizeof *mutex);
    CHECK_EQ(cmp_mutex_init(mutex), 0);
    return mutex;
}

static void take_and_die(void *mutex)
{
    CHECK_EQ(wait_for_mutex(mutex), 0);
    raise(SIGKILL);
}

static void meet_the_dead_and_die(void *mutex)
{
    CHECK_EQ(wait_for_mutex(mutex), -EOWNERDEAD);
    raise(SIGKILL);
}

TEST(next_to_lock_hears_of_the_dead_owner_once)
{
    struct cmp_mutex *mutex = fresh();
    (void)test_reap(test_child(take_and_die, mutex));
    CHECK_EQ(wait_for_mutex(mutex), -EOWNERDEAD);
    cmp_mutex_repaired(mutex);
    cmp_mutex_unlock(mutex);
    CHECK_EQ(cmp_mutex_try(mutex), 0);
    cmp_mutex_unlock(mutex);
}

TEST(death_during_the_repair_is_met_again)
{
    struct cmp_mutex *mutex = fresh();
    (void)test_reap(test_child(take_and_die, mutex));
    (void)test_reap(test_child(meet_the_dead_and_die, mutex));
    CHECK_EQ(cmp_mutex_try(mutex), -EOWNERDEAD);
    cmp_mutex_repaired(mutex);
    cmp_mutex_unlock(mutex);
}

static void try_and_slice_of_a_held_lock(void *mutex)
{
    CHECK_EQ(cmp_mutex_try(mutex), -EBUSY);
    int64_t before_ns = cmp_now_ns();
    CHECK_EQ(cmp_mutex_lock_slice(mutex), -ETIMEDOUT);
    CHECK(cmp_now_ns() - before_ns >= 40 * CMP_MS);
}

TEST(slice_of_a_held_lock_ends_by_itself)
{
    struct cmp_mutex *mutex = fresh();
    CHECK_EQ(wait_for_mutex(mutex), 0);
    test_join(test_child(try_and_slice_of_a_held_lock, mutex));
    cmp_mutex_unlock(mutex);
}

struct tally {
    struct cmp_mutex *mutex;
    long *count;
};

static void add_many(int number, void *arg)
{
    struct tally *tally = arg;
    (void)number;
    for (int i = 0; i < 20000; i++) {
        CHECK_EQ(wait_for_mutex(tally->mutex), 0);
        ++*tally->count;
        cmp_mutex_unlock(tally->mutex);
    }
}

TEST(sections_exclude_each_other)
{
    struct tally tally = {fresh(), test_shared(sizeof(long))};
    test_together(4, TEST_TSAN, add_many, &tally);
    CHECK_EQ(*tally.count, 80000);
}
