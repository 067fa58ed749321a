#include "crowded.h"
#include "runner.h"

#include "os/clock.h"
#include "shm/condition.h"
#include "shm/flag.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static struct cmp_cell cell;

static void fresh(void)
{
    CHECK_EQ(cmp_cell_create(&cell, CMP_CELL_CONDITION, 0), 0);
}

static int sleep_until(struct cmp_condition_wait *wait, int64_t deadline_ns)
{
    int code;
    do code = cmp_condition_sleep(wait, deadline_ns);
    while (code == -EINTR);
    return code;
}

static struct cmp_ticket_shm *ticket(int i)
{
    return &cell.shm->tickets[i];
}

TEST(nobody_is_notified_where_nobody_waits)
{
    fresh();
    CHECK_EQ(cmp_condition_notify(&cell, 1), 0);
    struct cmp_condition_wait wait;
    cmp_condition_enter(&wait, &cell);
    CHECK_EQ(cmp_condition_waiting(&cell), 1);
    CHECK_EQ(sleep_until(&wait, cmp_now_ns() + 30 * CMP_MS), -ETIMEDOUT);
    CHECK(!cmp_condition_leave(&wait));
    CHECK_EQ(cmp_condition_waiting(&cell), 0);
    CHECK_EQ(cmp_condition_notify(&cell, 1), 0);
}

TEST(notify_takes_those_that_wait_longest_also_when_turns_wrap)
{
    fresh();
    cmp_store(&cell.shm->turns, UINT32_MAX - 1, relaxed, "test.set");
    struct cmp_condition_wait waits[4];
    for (int i = 0; i < 4; i++) cmp_condition_enter(&waits[i], &cell);
    CHECK_EQ(cmp_condition_notify(&cell, 3), 3);
    for (int i = 0; i < 3; i++) CHECK_EQ(cmp_condition_sleep(&waits[i], 0), 0);
    CHECK_EQ(cmp_condition_sleep(&waits[3], 0), -EAGAIN);
    for (int i = 0; i < 4; i++) CHECK_EQ(cmp_condition_leave(&waits[i]), i < 3);
    for (int i = 0; i < 4; i++) CHECK_EQ(cmp_load(&ticket(i)->owner, relaxed), 0);
}

TEST(notification_at_the_last_moment_is_not_lost)
{
    fresh();
    struct cmp_condition_wait wait;
    cmp_condition_enter(&wait, &cell);
    CHECK_EQ(cmp_condition_sleep(&wait, 0), -EAGAIN);
    CHECK_EQ(cmp_condition_notify(&cell, 1), 1);
    CHECK(cmp_condition_leave(&wait));
}

static void wait_for_ever(void *arg)
{
    struct cmp_condition_wait wait;
    (void)arg;
    cmp_condition_enter(&wait, &cell);
    CHECK_EQ(sleep_until(&wait, INT64_MAX), 0);
    CHECK(cmp_condition_leave(&wait));
}

TEST(notify_wakes_a_sleeping_process)
{
    fresh();
    pid_t pid = test_child(wait_for_ever, NULL);
    WAIT_FOR(CMP_TICKET_KIND(cmp_load(&ticket(0)->state, acquire)) == CMP_TICKET_ASLEEP);
    CHECK_EQ(cmp_condition_notify(&cell, 1), 1);
    test_join(pid);
    CHECK_EQ(cmp_condition_waiting(&cell), 0);
}

static void check_that_notify_passes_over_the_dead(bool has_slot)
{
    pid_t dead = test_child(wait_for_ever, NULL);
    WAIT_FOR(cmp_condition_waiting(&cell) == 1);
    CHECK_EQ(CMP_OWNER_HAS_SLOT(cmp_load(&ticket(0)->owner, relaxed)), has_slot);
    pid_t alive = test_child(wait_for_ever, NULL);
    WAIT_FOR(cmp_condition_waiting(&cell) == 2);
    test_kill(dead);
    CHECK_EQ(cmp_condition_notify(&cell, 1), 1);
    test_join(alive);
    CHECK_EQ(cmp_condition_waiting(&cell), 0);
}

TEST(notify_passes_over_the_dead)
{
    fresh();
    check_that_notify_passes_over_the_dead(true);
}

TEST(notify_passes_over_the_dead_that_had_no_slot)
{
    fresh();
    crowd(&cell.members);
    check_that_notify_passes_over_the_dead(false);
}

TEST(sweep_frees_the_tickets_of_the_dead_that_had_no_slot)
{
    fresh();
    crowd(&cell.members);
    pid_t pid = test_child(wait_for_ever, NULL);
    WAIT_FOR(cmp_condition_waiting(&cell) == 1);
    cmp_cell_sweep(&cell);
    CHECK_EQ(cmp_condition_waiting(&cell), 1);
    test_kill(pid);
    cmp_cell_sweep(&cell);
    CHECK_EQ(cmp_condition_waiting(&cell), 0);
    CHECK_EQ(cmp_load(&ticket(0)->owner, relaxed), 0);
}

TEST(notification_of_one_that_dies_at_once_goes_to_the_next)
{
    fresh();
    pid_t dead = test_child(wait_for_ever, NULL);
    WAIT_FOR(CMP_TICKET_KIND(cmp_load(&ticket(0)->state, acquire)) == CMP_TICKET_ASLEEP);
    pid_t alive = test_child(wait_for_ever, NULL);
    WAIT_FOR(CMP_TICKET_KIND(cmp_load(&ticket(1)->state, acquire)) == CMP_TICKET_ASLEEP);
    CHECK_EQ(kill(dead, SIGSTOP), 0);
    CHECK_EQ(cmp_condition_notify(&cell, 1), 1);
    CHECK_EQ(CMP_TICKET_KIND(cmp_load(&ticket(0)->state, acquire)), CMP_TICKET_NOTIFIED);
    test_kill(dead);
    test_join(alive);
}

static void wait_twice_and_pause(void *arg)
{
    struct cmp_condition_wait waits[2]; /* as two threads would */
    (void)arg;
    for (int i = 0; i < 2; i++) cmp_condition_enter(&waits[i], &cell);
    for (;;) pause();
}

TEST(notification_of_the_dead_outlives_its_other_tickets)
{
    fresh();
    pid_t dead = test_child(wait_twice_and_pause, NULL);
    WAIT_FOR(cmp_condition_waiting(&cell) == 2);
    struct cmp_condition_wait waits[2];
    for (int i = 0; i < 2; i++) cmp_condition_enter(&waits[i], &cell);
    CHECK_EQ(cmp_condition_notify(&cell, 1), 1);
    CHECK_EQ(CMP_TICKET_KIND(cmp_load(&ticket(0)->state, acquire)), CMP_TICKET_NOTIFIED);
    test_kill(dead);
    cmp_private_store(&cell.seen_alive, 0, relaxed); /* a moment ago it was */
    CHECK_EQ(cmp_condition_notify(&cell, 1), 1); /* passes over the dead one's other ticket, and frees it */
    cmp_cell_sweep(&cell);
    CHECK_EQ(cmp_load(&ticket(1)->owner, acquire), 0);
    CHECK_EQ(sleep_until(&waits[0], 0), 0);
    CHECK_EQ(sleep_until(&waits[1], cmp_now_ns() + 5000 * CMP_MS), 0);
    for (int i = 0; i < 2; i++) CHECK(cmp_condition_leave(&waits[i]));
    CHECK_EQ(cmp_load(&ticket(0)->owner, acquire), 0);
}

TEST(one_who_came_after_the_notification_does_not_inherit_it)
{
    fresh();
    pid_t dead = test_child(wait_for_ever, NULL);
    WAIT_FOR(CMP_TICKET_KIND(cmp_load(&ticket(0)->state, acquire)) == CMP_TICKET_ASLEEP);
    CHECK_EQ(kill(dead, SIGSTOP), 0);
    CHECK_EQ(cmp_condition_notify(&cell, 1), 1);
    test_kill(dead);
    struct cmp_condition_wait wait;
    cmp_condition_enter(&wait, &cell);
    CHECK_EQ(sleep_until(&wait, cmp_now_ns() + 100 * CMP_MS), -ETIMEDOUT);
    CHECK(!cmp_condition_leave(&wait));
}

TEST(more_waiters_than_tickets_wait_in_the_crowd)
{
    fresh();
    enum { ALL = CMP_CELL_TICKETS + 3 };
    struct cmp_condition_wait waits[ALL];
    for (int i = 0; i < ALL; i++) cmp_condition_enter(&waits[i], &cell);
    CHECK_EQ(cmp_condition_waiting(&cell), ALL);
    CHECK_EQ(cmp_condition_sleep(&waits[ALL - 1], 0), -EAGAIN);
    CHECK_EQ(cmp_condition_notify(&cell, CMP_CELL_TICKETS + 1), CMP_CELL_TICKETS + 1);
    CHECK_EQ(cmp_condition_sleep(&waits[ALL - 1], 0), 0);
    CHECK(cmp_condition_leave(&waits[ALL - 1]));
    CHECK(!cmp_condition_leave(&waits[ALL - 2]));
    CHECK_EQ(cmp_condition_notify(&cell, UINT64_MAX), 1);
    CHECK(cmp_condition_leave(&waits[ALL - 3])); /* as many grants as waiters: its own */
    for (int i = 0; i < CMP_CELL_TICKETS; i++) CHECK(cmp_condition_leave(&waits[i]));
    CHECK_EQ(cmp_condition_waiting(&cell), 0);
    CHECK_EQ(cmp_load(&cell.shm->aux, relaxed), 0);
}

TEST(tickets_of_the_dead_are_free_when_one_is_wanted)
{
    fresh();
    pid_t dead = test_child(wait_for_ever, NULL);
    WAIT_FOR(cmp_condition_waiting(&cell) == 1);
    test_kill(dead);
    uint64_t owner = cmp_load(&ticket(0)->owner, relaxed);
    for (int i = 1; i < CMP_CELL_TICKETS; i++) cmp_store(&ticket(i)->owner, owner, relaxed, "test.set");
    struct cmp_condition_wait wait;
    cmp_condition_enter(&wait, &cell);
    CHECK(wait.ticket != NULL);
    CHECK_EQ(cmp_condition_waiting(&cell), 1);
    CHECK(!cmp_condition_leave(&wait));
}

static struct cmp_cell answers;

static void answer(int i, void *arg)
{
    (void)arg;
    for (int n = 0; n < 300; n++) {
        struct cmp_flag_wait wait = {.cell = i ? &cell : &answers};
        if (i == 0) cmp_flag_set(&cell);
        int code;
        do code = cmp_flag_wait(&wait, INT64_MAX);
        while (code == -EINTR);
        CHECK_EQ(code, 0);
        cmp_flag_clear(wait.cell);
        if (i == 1) cmp_flag_set(&answers);
    }
}

TEST(events_carry_a_ball_to_and_fro)
{
    CHECK_EQ(cmp_cell_create(&cell, CMP_CELL_EVENT, 0), 0);
    CHECK_EQ(cmp_cell_create(&answers, CMP_CELL_EVENT, 0), 0);
    test_together(2, TEST_TSAN, answer, NULL);
}

TEST(event_that_was_set_and_cleared_has_woken_its_waiter)
{
    CHECK_EQ(cmp_cell_create(&cell, CMP_CELL_EVENT, 0), 0);
    struct cmp_flag_wait wait = {.cell = &cell};
    CHECK(!cmp_flag_is_set(&cell));
    CHECK_EQ(cmp_flag_wait(&wait, 0), -EAGAIN);
    cmp_flag_set(&cell);
    CHECK(cmp_flag_is_set(&cell));
    cmp_flag_clear(&cell);
    CHECK(!cmp_flag_is_set(&cell));
    CHECK_EQ(cmp_flag_wait(&wait, 0), 0);
    struct cmp_flag_wait later = {.cell = &cell};
    CHECK_EQ(cmp_flag_wait(&later, 0), -EAGAIN);
}
