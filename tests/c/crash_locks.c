/* A process is killed before and after each named store of a lock cell, in each role that reaches it; then whoever is
 * left goes on: the lock can be taken, a waiter that was not notified can be, the barrier can be passed. */
#include "crash.h"

#include "os/clock.h"
#include "shm/barrier.h"
#include "shm/condition.h"
#include "shm/flag.h"
#include "shm/lockword.h"
#include "shm/semaphore.h"

#include <errno.h>
#include <signal.h>

#define PATIENCE_NS (2000 * CMP_MS) /* a second is promised; the machine may be busy */
#define ROUNDS 70                   /* more than the passes that crash_everywhere lets go by */

static struct cmp_cell cell, other;

static void fresh(enum cmp_cell_kind kind, uint64_t limit)
{
    CHECK_EQ(cmp_cell_create(&cell, kind, limit), 0);
    CHECK_EQ(cmp_cell_create(&other, CMP_CELL_EVENT, 0), 0);
}

static void done(void)
{
    cmp_cell_close(&cell, true);
    cmp_cell_close(&other, true);
}

/* ---- a lock, inside which a process is killed ---- */

static int take_until(struct cmp_lock_take *take, int64_t deadline_ns)
{
    int code;
    do code = cmp_lockword_take(take, deadline_ns);
    while (code == -EINTR);
    return code;
}

static void hold_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct cmp_lock_take take = {.cell = &cell, .kept = true};
        CHECK_EQ(take_until(&take, INT64_MAX), 0);
        CHECK_EQ(cmp_lockword_leave(&cell, take.epoch), 0);
    }
}

static bool lock_once(const struct crash *crash, void *arg)
{
    (void)arg;
    fresh(CMP_CELL_LOCK, 1);
    bool killed = crash_child(crash, hold_often, NULL);
    struct cmp_lock_take take = {.cell = &cell, .kept = true};
    CHECK_EQ(take_until(&take, cmp_now_ns() + PATIENCE_NS), 0);
    CHECK(!take.abandoned || killed);
    CHECK_EQ(cmp_lockword_leave(&cell, take.epoch), 0);
    CHECK_EQ(cmp_lockword_owner(&cell), 0);
    done();
    return killed;
}

TEST(lock_is_taken_over_wherever_its_holder_died)
{
    crash_everywhere(lock_once, NULL, 10);
}

static void take_and_die(void *arg)
{
    struct cmp_lock_take take = {.cell = arg, .kept = true};
    CHECK_EQ(cmp_lockword_take(&take, 0), 0);
    raise(SIGKILL);
}

/* The heir dies while it inherits: the next one inherits from it, or from the first. */
static bool heir_once(const struct crash *crash, void *arg)
{
    (void)arg;
    fresh(CMP_CELL_LOCK, 1);
    (void)test_reap(test_child(take_and_die, &cell));
    CHECK(cmp_lockword_owner(&cell) != 0);
    bool killed = crash_child(crash, hold_often, NULL);
    struct cmp_lock_take take = {.cell = &cell, .kept = true};
    CHECK_EQ(take_until(&take, cmp_now_ns() + PATIENCE_NS), 0);
    done();
    return killed;
}

TEST(lock_is_taken_over_wherever_its_heir_died)
{
    crash_everywhere(heir_once, NULL, 10);
}

/* ---- two at a time: sleepers, and what they are woken by ---- */

static void hand_round(int i, void *arg)
{
    (void)i;
    for (int n = 0; n < ROUNDS; n++) hold_often(arg);
}

static void fight(void *arg)
{
    hand_round(0, arg);
}

static bool contended_once(const struct crash *crash, void *arg)
{
    (void)arg;
    fresh(CMP_CELL_LOCK, 1);
    pid_t rival = test_child(fight, NULL);
    bool killed = crash_child(crash, fight, NULL);
    test_join(rival);
    struct cmp_lock_take take = {.cell = &cell, .kept = true};
    CHECK_EQ(take_until(&take, cmp_now_ns() + PATIENCE_NS), 0);
    done();
    return killed;
}

TEST(rival_goes_on_wherever_the_other_died)
{
    crash_everywhere(contended_once, NULL, 10);
}

/* ---- semaphore ---- */

static void release_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_EQ(cmp_semaphore_release(&cell), 0);
        cmp_flag_set(&other);
    }
}

static void take_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct cmp_semaphore_take take = {.cell = &cell};
        CHECK_EQ(cmp_semaphore_take(&take, 0), 0);
    }
}

static bool semaphore_once(const struct crash *crash, void *arg)
{
    bool takes = *(bool *)arg;
    fresh(CMP_CELL_SEMAPHORE, CMP_SEMAPHORE_MAX);
    cmp_semaphore_init(&cell, ROUNDS);
    bool killed = crash_child(crash, takes ? take_often : release_often, NULL);
    uint32_t value = cmp_semaphore_value(&cell);
    CHECK(takes ? value <= ROUNDS : value >= ROUNDS && value <= 2 * ROUNDS);
    struct cmp_semaphore_take take = {.cell = &cell};
    for (; value > 0; value--) CHECK_EQ(cmp_semaphore_take(&take, 0), 0);
    CHECK_EQ(cmp_semaphore_take(&take, 0), -EAGAIN);
    CHECK_EQ(cmp_semaphore_release(&cell), 0);
    CHECK_EQ(cmp_semaphore_take(&take, 0), 0);
    done();
    return killed;
}

TEST(semaphore_counts_on_wherever_its_user_died)
{
    bool takes = false;
    crash_everywhere(semaphore_once, &takes, 10);
    takes = true;
    crash_everywhere(semaphore_once, &takes, 5);
}

/* ---- condition ---- */

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
    CHECK_EQ(sleep_until(&wait, INT64_MAX), 0);
    CHECK(cmp_condition_leave(&wait));
}

static bool condition_once(const struct crash *crash, void *arg)
{
    (void)arg;
    fresh(CMP_CELL_CONDITION, 0);
    bool killed = crash_child(crash, wait_often, NULL);
    /* Whatever ticket the dead left, a notification to one reaches the one that lives. */
    pid_t waiter = test_child(wait_once, NULL);
    int64_t deadline_ns = cmp_now_ns() + PATIENCE_NS;
    uint32_t dead = cmp_condition_waiting(&cell);
    while (cmp_condition_waiting(&cell) == dead && cmp_now_ns() < deadline_ns) test_pause();
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

/* ---- event ---- */

static void set_and_clear(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        cmp_flag_clear(&cell);
        cmp_flag_set(&cell);
    }
}

static void wait_for_flag(void *arg)
{
    struct cmp_flag_wait wait = {.cell = arg};
    int code;
    do code = cmp_flag_wait(&wait, INT64_MAX);
    while (code == -EINTR);
    CHECK_EQ(code, 0);
}

static bool event_once(const struct crash *crash, void *arg)
{
    (void)arg;
    fresh(CMP_CELL_EVENT, 0);
    pid_t waiter = test_child(wait_for_flag, &cell);
    bool killed = crash_child(crash, set_and_clear, NULL);
    cmp_flag_set(&cell);
    int64_t begun_ns = cmp_now_ns();
    test_join(waiter);
    CHECK(cmp_now_ns() - begun_ns < PATIENCE_NS);
    done();
    return killed;
}

TEST(event_can_be_set_wherever_a_setter_died)
{
    crash_everywhere(event_once, NULL, 10);
}

/* ---- barrier ---- */

static int barrier_until(struct cmp_barrier_wait *wait, int64_t deadline_ns)
{
    int code;
    do code = cmp_barrier_wait(wait, deadline_ns);
    while (code == -EINTR);
    return code;
}

static void pass_often(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct cmp_barrier_wait first = {.cell = &cell, .has_action = *(bool *)arg}, last = first;
        CHECK_EQ(cmp_barrier_wait(&first, 0), -EAGAIN);
        CHECK_EQ(cmp_barrier_wait(&last, 0), 0);
        if (last.acts) CHECK_EQ(cmp_barrier_finish(&last, true), 0);
        CHECK_EQ(cmp_barrier_wait(&first, 0), 0);
        struct cmp_barrier_wait taken_back = {.cell = &cell, .has_action = *(bool *)arg}, late = taken_back;
        CHECK_EQ(cmp_barrier_wait(&taken_back, 0), -EAGAIN);
        cmp_barrier_withdraw(&taken_back);
        CHECK_EQ(cmp_barrier_wait(&late, 1), -EPIPE);
        cmp_barrier_reset(&cell);
    }
}

static bool barrier_once(const struct crash *crash, void *arg)
{
    fresh(CMP_CELL_BARRIER, 2);
    bool killed = crash_child(crash, pass_often, arg);
    /* It is whole, or half full, or broken, or its action died: in each case an end comes. */
    struct cmp_barrier_wait wait = {.cell = &cell, .has_action = *(bool *)arg};
    int code = barrier_until(&wait, cmp_now_ns() + 30 * CMP_MS);
    CHECK(code == 0 || code == -EPIPE);
    if (wait.acts) CHECK_EQ(cmp_barrier_finish(&wait, true), 0);
    cmp_barrier_reset(&cell);
    struct cmp_barrier_wait first = {.cell = &cell}, last = {.cell = &cell};
    CHECK_EQ(cmp_barrier_wait(&first, 0), -EAGAIN);
    CHECK_EQ(cmp_barrier_wait(&last, 0), 0);
    CHECK_EQ(cmp_barrier_wait(&first, 0), 0);
    done();
    return killed;
}

TEST(barrier_ends_every_wait_wherever_a_party_died)
{
    bool has_action = false;
    crash_everywhere(barrier_once, &has_action, 20);
    has_action = true;
    crash_everywhere(barrier_once, &has_action, 20);
}
