#include "crowded.h"
#include "runner.h"

#include "os/clock.h"
#include "shm/barrier.h"

#include <errno.h>
#include <unistd.h>

static struct cmp_cell cell;

static void fresh(uint64_t parties)
{
    CHECK_EQ(cmp_cell_create(&cell, CMP_CELL_BARRIER, parties), 0);
}

static struct cmp_barrier_wait a_wait(bool has_action)
{
    return (struct cmp_barrier_wait){.cell = &cell, .has_action = has_action};
}

static int wait_until(struct cmp_barrier_wait *wait, int64_t deadline_ns)
{
    int code;
    do code = cmp_barrier_wait(wait, deadline_ns);
    while (code == -EINTR);
    return code;
}

TEST(last_to_arrive_lets_all_pass)
{
    fresh(3);
    struct cmp_barrier_wait waits[3];
    for (int i = 0; i < 3; i++) {
        waits[i] = a_wait(false);
        CHECK_EQ(cmp_barrier_waiting(&cell), i);
        CHECK_EQ(cmp_barrier_wait(&waits[i], 0), i < 2 ? -EAGAIN : 0);
        CHECK_EQ(waits[i].index, i);
    }
    CHECK_EQ(cmp_barrier_waiting(&cell), 0);
    CHECK_EQ(cmp_barrier_wait(&waits[0], 0), 0);
    CHECK_EQ(cmp_barrier_wait(&waits[1], 0), 0);
}

TEST(late_looker_learns_how_its_own_round_ended)
{
    fresh(2);
    struct cmp_barrier_wait passed = a_wait(false), reset = a_wait(false), other = a_wait(false);
    CHECK_EQ(cmp_barrier_wait(&passed, 0), -EAGAIN);
    CHECK_EQ(cmp_barrier_wait(&other, 0), 0);
    CHECK_EQ(cmp_barrier_wait(&reset, 0), -EAGAIN);
    cmp_barrier_reset(&cell);
    for (int i = 0; i < 5; i++) {
        struct cmp_barrier_wait first = a_wait(false), second = a_wait(false);
        CHECK_EQ(cmp_barrier_wait(&first, 0), -EAGAIN);
        CHECK_EQ(cmp_barrier_wait(&second, 0), 0);
    }
    cmp_barrier_abort(&cell);
    CHECK_EQ(cmp_barrier_wait(&passed, 0), 0);
    CHECK_EQ(cmp_barrier_wait(&reset, 0), -EPIPE);
}

TEST(generations_wrap)
{
    fresh(1);
    cmp_store(&cell.shm->word, 0xfffe, relaxed, "test.set");
    for (int i = 0; i < 4; i++) {
        struct cmp_barrier_wait wait = a_wait(false);
        CHECK_EQ(cmp_barrier_wait(&wait, 0), 0);
    }
    CHECK_EQ(cmp_load(&cell.shm->word, relaxed) & 0xffff, 2);
}

TEST(timeout_breaks_it_until_a_reset)
{
    fresh(2);
    struct cmp_barrier_wait early = a_wait(false), wait = a_wait(false), later = a_wait(false), whole = a_wait(false);
    int64_t begun_ns = cmp_now_ns();
    CHECK_EQ(wait_until(&wait, begun_ns + 30 * CMP_MS), -EPIPE);
    CHECK(cmp_now_ns() - begun_ns >= 30 * CMP_MS);
    CHECK(cmp_barrier_broken(&cell));
    CHECK_EQ(cmp_barrier_waiting(&cell), 0);
    CHECK_EQ(cmp_barrier_wait(&later, 0), -EPIPE);
    cmp_barrier_reset(&cell);
    CHECK(!cmp_barrier_broken(&cell));
    CHECK_EQ(cmp_barrier_wait(&early, 0), -EAGAIN);
    CHECK_EQ(cmp_barrier_wait(&whole, 0), 0);
    CHECK_EQ(cmp_barrier_wait(&early, 0), 0);
}

TEST(interrupted_waiter_takes_its_arrival_back)
{
    fresh(2);
    struct cmp_barrier_wait one = a_wait(false), two = a_wait(false);
    CHECK_EQ(cmp_barrier_wait(&one, 0), -EAGAIN);
    cmp_barrier_withdraw(&one);
    CHECK_EQ(cmp_barrier_wait(&two, 0), -EAGAIN);
    CHECK_EQ(cmp_barrier_waiting(&cell), 1);
    cmp_barrier_withdraw(&one); /* which has nothing left to take back */
    CHECK_EQ(cmp_barrier_waiting(&cell), 1);
}

TEST(action_holds_the_others_back_and_failing_breaks)
{
    fresh(2);
    struct cmp_barrier_wait first = a_wait(true), actor = a_wait(true), next = a_wait(true);
    CHECK_EQ(cmp_barrier_wait(&first, 0), -EAGAIN);
    CHECK_EQ(cmp_barrier_wait(&actor, 0), 0);
    CHECK(actor.acts);
    CHECK_EQ(cmp_barrier_wait(&first, 0), -EAGAIN);
    CHECK_EQ(cmp_barrier_wait(&next, 0), -EAGAIN);
    CHECK(!next.arrived);
    cmp_barrier_reset(&cell);
    CHECK_EQ(cmp_barrier_wait(&first, 0), -EAGAIN);
    CHECK_EQ(cmp_barrier_finish(&actor, true), 0);
    CHECK_EQ(cmp_barrier_wait(&first, 0), 0);
    struct cmp_barrier_wait again = a_wait(true);
    CHECK_EQ(cmp_barrier_wait(&next, 0), -EAGAIN);
    CHECK_EQ(cmp_barrier_wait(&again, 0), 0);
    CHECK_EQ(cmp_barrier_finish(&again, false), 0);
    CHECK_EQ(cmp_barrier_wait(&next, 0), -EPIPE);
}

TEST(abort_during_the_action_breaks_it_for_all)
{
    fresh(2);
    struct cmp_barrier_wait first = a_wait(true), actor = a_wait(true);
    CHECK_EQ(cmp_barrier_wait(&first, 0), -EAGAIN);
    CHECK_EQ(cmp_barrier_wait(&actor, 0), 0);
    cmp_barrier_abort(&cell);
    CHECK_EQ(cmp_barrier_finish(&actor, true), -EPIPE);
    CHECK_EQ(cmp_barrier_wait(&first, 0), -EPIPE);
}

static void arrive_and_stay(void *arg)
{
    struct cmp_barrier_wait wait = a_wait(*(bool *)arg);
    (void)cmp_barrier_wait(&wait, 0);
    for (;;) pause();
}

TEST(arrival_of_one_that_dies_afterwards_counts)
{
    fresh(2);
    bool has_action = false;
    pid_t pid = test_child(arrive_and_stay, &has_action);
    WAIT_FOR(cmp_barrier_waiting(&cell) == 1);
    test_kill(pid);
    struct cmp_barrier_wait wait = a_wait(false);
    CHECK_EQ(cmp_barrier_wait(&wait, 0), 0);
}

static void die_inside_the_action(void)
{
    struct cmp_barrier_wait wait = a_wait(true);
    bool has_action = true;
    CHECK_EQ(cmp_barrier_wait(&wait, 0), -EAGAIN);
    pid_t pid = test_child(arrive_and_stay, &has_action);
    WAIT_FOR(cmp_barrier_waiting(&cell) == 2);
    test_kill(pid);
    cmp_cell_sweep(&cell); /* leaves the actor its name: it is in the word */
    CHECK_EQ(wait_until(&wait, cmp_now_ns() + 5000 * CMP_MS), -EPIPE);
    CHECK(cmp_barrier_broken(&cell));
    CHECK_EQ(cmp_barrier_waiting(&cell), 0);
    cmp_barrier_reset(&cell);
    struct cmp_barrier_wait first = a_wait(false), last = a_wait(false);
    CHECK_EQ(cmp_barrier_wait(&first, 0), -EAGAIN);
    CHECK_EQ(cmp_barrier_wait(&last, 0), 0);
}

TEST(death_inside_the_action_breaks_it)
{
    fresh(2);
    die_inside_the_action();
}

TEST(death_inside_the_action_of_one_that_found_no_slot_breaks_it)
{
    fresh(2);
    crowd(&cell.members);
    die_inside_the_action();
}

static void pass_often(int i, void *arg)
{
    _Atomic int *reached = arg;
    (void)i;
    for (int n = 0; n < (TEST_TSAN ? 50 : 300); n++) {
        struct cmp_barrier_wait wait = a_wait(false);
        (void)cmp_rmw(fetch_add, reached, 1, seq_cst, "test.reached");
        CHECK_EQ(wait_until(&wait, INT64_MAX), 0);
        CHECK(cmp_load(reached, seq_cst) >= 4 * (n + 1));
    }
}

TEST(nobody_passes_before_all_have_arrived)
{
    fresh(4);
    test_together(4, TEST_TSAN, pass_often, test_shared(sizeof(_Atomic int)));
    CHECK_EQ(cmp_barrier_waiting(&cell), 0);
}
