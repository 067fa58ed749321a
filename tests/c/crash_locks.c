/* A process is killed before and after each named store of a lock's cell, in each role that reaches it; then whoever is
 * left goes on: the lock can be taken, the event set, the barrier passed. Conditions: crash_condition.c. */
#include "cell_fixture.h"

#include "shm/barrier.h"
#include "shm/lockword.h"
#include "shm/semaphore.h"

#include <errno.h>
#include <signal.h>

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

/* ---- the same where the dead had no member slot ---- */

TEST(lock_is_taken_over_wherever_a_holder_without_a_slot_died)
{
    crowded = true;
    crash_everywhere(lock_once, NULL, 8);
    crash_everywhere(heir_once, NULL, 8);
}

TEST(barrier_ends_every_wait_wherever_a_party_without_a_slot_died)
{
    bool has_action = true;
    crowded = true;
    crash_everywhere(barrier_once, &has_action, 20);
}
