/* A process is killed before and after each named store of a Condition's cell, as waiter, notifier, or passer of a
 * notification, or stands still there while its ticket becomes another's; then a waiter that lives can still be
 * notified. */
#include "cell_fixture.h"

#include "shm/condition.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static int sleep_until(struct cmp_condition_wait *wait, int64_t deadline_ns)
{
    int code;
    do code = cmp_condition_sleep(wait, deadline_ns);
    while (code == -EINTR);
    return code;
}

static void wait_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct cmp_condition_wait wait;
        cmp_condition_enter(&wait, &cell);
        cmp_flag_set(&other);
        CHECK_EQ(cmp_condition_notify(&cell, 1), 1);
        CHECK_EQ(sleep_until(&wait, INT64_MAX), 0);
        CHECK(cmp_condition_leave(&wait));
        cmp_condition_enter(&wait, &cell);
        CHECK_EQ(cmp_condition_sleep(&wait, 1), -ETIMEDOUT);
        CHECK(!cmp_condition_leave(&wait));
    }
}

static void wait_once(void *arg)
{
    (void)arg;
    struct cmp_condition_wait wait;
    cmp_condition_enter(&wait, &cell);
    cmp_flag_set(&other);
    CHECK_EQ(sleep_until(&wait, INT64_MAX), 0);
    CHECK(cmp_condition_leave(&wait));
}

static bool condition_once(const struct crash *crash, void *arg)
{
    (void)arg;
    fresh(CMP_CELL_CONDITION, 0);
    bool killed = crash_child(crash, wait_often, NULL);
    /* Whatever ticket the dead left, a notification to one reaches the one that lives. */
    cmp_flag_clear(&other);
    pid_t waiter = test_child(wait_once, NULL);
    WAIT_FOR(cmp_flag_is_set(&other)); /* how many wait does not say it: it may free a dead one's ticket first */
    CHECK_EQ(cmp_condition_notify(&cell, 1), 1);
    test_join(waiter);
    CHECK_EQ(cmp_condition_waiting(&cell), 0);
    done();
    return killed;
}

TEST(condition_notifies_the_living_wherever_a_waiter_died)
{
    crash_everywhere(condition_once, NULL, 30);
}

static void wait_and_go(void *arg)
{
    (void)arg;
    struct cmp_condition_wait wait;
    cmp_condition_enter(&wait, &cell);
    CHECK_EQ(sleep_until(&wait, INT64_MAX), 0);
}

/* The first to wait is notified and dies. The second passes that on and dies where it is told to, or with the
 * notification that is then its own. The third gets it in any case. */
static bool passer_once(const struct crash *crash, void *arg)
{
    (void)arg;
    fresh(CMP_CELL_CONDITION, 0);
    pid_t receiver = test_child(wait_once, NULL);
    WAIT_FOR(cmp_condition_waiting(&cell) == 1);
    CHECK_EQ(kill(receiver, SIGSTOP), 0);
    struct crash_part part = {crash, wait_and_go, NULL};
    pid_t passer = test_child(crash_run_armed, &part);
    int status = 0;
    pid_t ended = 0;
    while (cmp_condition_waiting(&cell) == 1 && (ended = waitpid(passer, &status, WNOHANG)) == 0) test_pause();
    uint32_t before = cmp_condition_waiting(&cell);
    pid_t last = test_child(wait_once, NULL);
    WAIT_FOR(cmp_condition_waiting(&cell) == before + 1);
    CHECK_EQ(cmp_condition_notify(&cell, 1), 1);
    test_kill(receiver);
    if (ended == 0) status = test_reap(passer);
    CHECK(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    test_join(last);
    done();
    return WIFSIGNALED(status);
}

TEST(notification_of_the_dead_arrives_wherever_its_passer_died)
{
    crash_everywhere(passer_once, NULL, 8);
}

/* Notifies until told otherwise; the parent waits meanwhile. */
static void notify_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        while (cmp_condition_waiting(&cell) == 0) test_pause();
        (void)cmp_condition_notify(&cell, 1);
    }
}

static void wait_till_set(void *arg)
{
    (void)arg;
    while (!cmp_flag_is_set(&other)) {
        struct cmp_condition_wait wait;
        cmp_condition_enter(&wait, &cell);
        (void)sleep_until(&wait, INT64_MAX);
        (void)cmp_condition_leave(&wait);
    }
}

static bool notifier_once(const struct crash *crash, void *arg)
{
    (void)arg;
    fresh(CMP_CELL_CONDITION, 0);
    pid_t waiter = test_child(wait_till_set, NULL);
    bool killed = crash_child(crash, notify_often, NULL);
    cmp_flag_set(&other);
    /* One that was notified and not woken wakes by itself; one that sleeps is notified here. */
    int64_t deadline_ns = cmp_now_ns() + PATIENCE_NS;
    int status;
    while (waitpid(waiter, &status, WNOHANG) == 0) {
        CHECK(cmp_now_ns() < deadline_ns);
        (void)cmp_condition_notify(&cell, 1);
        test_pause();
    }
    CHECK_EQ(status, 0);
    CHECK_EQ(cmp_condition_waiting(&cell), 0);
    done();
    return killed;
}

TEST(waiters_go_on_wherever_their_notifier_died)
{
    crash_everywhere(notifier_once, NULL, 8);
}

/* ---- whoever stands still before a store to a ticket that is another's by then ---- */

struct stop {
    const char *point;
    void (*body)(void);
};

static void run_stopped(void *arg)
{
    struct stop *stop = arg;
    CHECK_EQ(cmp_fault_arm(stop->point, CMP_FAULT_BEFORE, 0, SIGSTOP), 0);
    stop->body();
    cmp_fault_disarm();
}

static pid_t stop_before(const char *point, void (*body)(void))
{
    struct stop stop = {point, body};
    int status;
    pid_t child = test_child(run_stopped, &stop);
    CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
    CHECK(WIFSTOPPED(status));
    return child;
}

static void go_on(pid_t child)
{
    CHECK_EQ(kill(child, SIGCONT), 0);
    test_join(child);
}

static void enter_and_pause(void *arg)
{
    struct cmp_condition_wait wait;
    (void)arg;
    cmp_condition_enter(&wait, &cell);
    for (;;) pause();
}

static void sweep_cell(void)
{
    cmp_cell_sweep(&cell);
}

TEST(sweeper_that_stood_still_leaves_the_ticket_to_who_claimed_it_since)
{
    fresh(CMP_CELL_CONDITION, 0);
    pid_t dead = test_child(enter_and_pause, NULL);
    WAIT_FOR(cmp_condition_waiting(&cell) == 1);
    test_kill(dead);
    pid_t sweeper = stop_before("ticket.wipe", sweep_cell);
    /* All are notified, so nobody asks who lives. The dead one's notification is passed on, its ticket freed. */
    CHECK_EQ(cmp_condition_notify(&cell, UINT64_MAX), 1);
    cmp_condition_sweep(&cell);
    struct cmp_condition_wait wait;
    cmp_condition_enter(&wait, &cell);
    CHECK(wait.ticket == &cell.shm->tickets[0]);
    go_on(sweeper);
    CHECK(cmp_load(&wait.ticket->owner, relaxed) != 0);
    CHECK_EQ(cmp_condition_notify(&cell, 1), 1);
    CHECK_EQ(sleep_until(&wait, cmp_now_ns() + PATIENCE_NS), 0);
    CHECK(cmp_condition_leave(&wait));
    CHECK_EQ(cmp_load(&cell.shm->tickets[0].owner, relaxed), 0);
    done();
}

static void notify_one(void)
{
    CHECK_EQ(cmp_condition_notify(&cell, 1), 1);
}

/* The first ends its wait when it is chosen, and others come. One who waited already is notified in its place, and the
 * newcomer that has its ticket keeps its place in the order. */
static void replace_before(const char *point)
{
    fresh(CMP_CELL_CONDITION, 0);
    struct cmp_condition_wait first, second, third, fourth;
    cmp_condition_enter(&first, &cell);
    cmp_condition_enter(&second, &cell);
    pid_t notifier = stop_before(point, notify_one);
    struct cmp_ticket_shm *ticket = first.ticket;
    CHECK(!cmp_condition_leave(&first));
    cmp_condition_enter(&third, &cell);
    CHECK(third.ticket == ticket);
    uint32_t turn = cmp_load(&ticket->turn, relaxed);
    cmp_condition_enter(&fourth, &cell);
    go_on(notifier);
    CHECK_EQ(cmp_load(&ticket->turn, relaxed), turn);
    CHECK_EQ(cmp_condition_sleep(&second, 0), 0);
    CHECK_EQ(cmp_condition_sleep(&third, 0), -EAGAIN);
    CHECK_EQ(cmp_condition_notify(&cell, 1), 1);
    CHECK_EQ(cmp_condition_sleep(&third, 0), 0);
    CHECK_EQ(cmp_condition_sleep(&fourth, 0), -EAGAIN);
    CHECK(cmp_condition_leave(&second));
    CHECK(cmp_condition_leave(&third));
    CHECK(!cmp_condition_leave(&fourth));
    done();
}

TEST(notifier_that_stood_still_before_the_mark_notifies_who_waited_already) { replace_before("ticket.mark"); }
TEST(notifier_that_stood_still_before_its_store_notifies_who_waited_already) { replace_before("ticket.notify"); }

/* ---- the same where the dead had no member slot ---- */

TEST(condition_notifies_the_living_wherever_a_waiter_without_a_slot_died)
{
    crowded = true;
    crash_everywhere(condition_once, NULL, 20);
}
