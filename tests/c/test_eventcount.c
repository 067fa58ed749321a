#include "runner.h"

#include "os/clock.h"
#include "shm/eventcount.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEVER INT64_MAX
#define SECOND (1000 * CMP_MS)

/* A bin of tokens that anyone may throw into or take from: the condition the event count waits for. */
struct bin {
    struct cmp_eventcount ec;
    _Atomic int64_t tokens;
    _Atomic int64_t taken;
    _Atomic uint32_t asleep; /* how many have been seen to go to sleep (by look returning nothing twice) */
};

static struct bin *fresh(void)
{
    struct bin *bin = test_shared(sizeof *bin);
    cmp_eventcount_init(&bin->ec);
    return bin;
}

static int take_token(void *arg)
{
    struct bin *bin = arg;
    int64_t tokens = cmp_load(&bin->tokens, acquire);
    while (tokens > 0)
        if (cmp_cas(&bin->tokens, &tokens, tokens - 1, acq_rel, "test.take")) {
            cmp_rmw(fetch_add, &bin->taken, 1, relaxed, "test.taken");
            return 0;
        }
    cmp_rmw(fetch_add, &bin->asleep, 1, relaxed, "test.asleep");
    return -EAGAIN;
}

static bool more_tokens(void *arg)
{
    return cmp_load(&((struct bin *)arg)->tokens, acquire) > 0;
}

static void throw_token(struct bin *bin)
{
    cmp_rmw(fetch_add, &bin->tokens, 1, acq_rel, "test.throw");
    cmp_eventcount_notify_one(&bin->ec);
}

static int wait_token(struct bin *bin, int64_t deadline_ns, int64_t spin_ns)
{
    return cmp_eventcount_wait(&bin->ec, take_token, more_tokens, bin, deadline_ns, spin_ns, NULL);
}

static uint32_t state(struct bin *bin)
{
    return cmp_load(&bin->ec.word, acquire) & 3;
}

TEST(wait_takes_what_is_there_and_leaves_the_word_quiet)
{
    struct bin *bin = fresh();
    throw_token(bin);
    CHECK_EQ(wait_token(bin, 0, 0), 0);
    CHECK_EQ(cmp_load(&bin->ec.word, relaxed), CMP_EC_QUIET);
    CHECK_EQ(wait_token(bin, 0, 0), -EAGAIN);
}

TEST(wait_times_out_at_its_deadline)
{
    struct bin *bin = fresh();
    int64_t before_ns = cmp_now_ns();
    CHECK_EQ(wait_token(bin, before_ns + 120 * CMP_MS, 5000), -ETIMEDOUT);
    CHECK(cmp_now_ns() - before_ns >= 120 * CMP_MS);
    CHECK(cmp_now_ns() - before_ns < SECOND);
}

TEST(sleep_returns_at_once_when_the_word_has_moved)
{
    struct bin *bin = fresh();
    uint32_t key = cmp_eventcount_prepare(&bin->ec);
    cmp_eventcount_notify_one(&bin->ec);
    CHECK_EQ(cmp_eventcount_sleep(&bin->ec, key, NEVER, 100 * SECOND), 0);
}

TEST(sequence_wraps)
{
    struct bin *bin = fresh();
    cmp_store(&bin->ec.word, UINT32_MAX << 2, relaxed, "test.set");
    uint32_t key = cmp_eventcount_prepare(&bin->ec);
    CHECK_EQ(key, (UINT32_MAX << 2) | CMP_EC_SLEEPERS);
    cmp_eventcount_notify_one(&bin->ec); /* wakes nobody: back to quiet, sequence 0 */
    CHECK_EQ(cmp_load(&bin->ec.word, relaxed), CMP_EC_QUIET);
    CHECK_EQ(cmp_eventcount_sleep(&bin->ec, key, NEVER, 100 * SECOND), 0);
}

TEST(wake_that_reaches_nobody_turns_quiet)
{
    struct bin *bin = fresh();
    (void)cmp_eventcount_prepare(&bin->ec);
    CHECK_EQ(state(bin), CMP_EC_SLEEPERS);
    cmp_eventcount_notify_one(&bin->ec);
    CHECK_EQ(state(bin), CMP_EC_QUIET);
}

TEST(timed_out_wait_disturbs_no_other_sleeper)
{
    struct bin *bin = fresh();
    uint32_t key = cmp_eventcount_prepare(&bin->ec); /* another's */
    int code = cmp_eventcount_wait(&bin->ec, take_token, NULL, bin, cmp_now_ns() + 60 * CMP_MS, 0, NULL);
    CHECK_EQ(code, -ETIMEDOUT);
    CHECK_EQ(cmp_load(&bin->ec.word, relaxed), key);
}

TEST(leave_without_more_settles_a_wake_and_asks_for_another_look)
{
    struct bin *bin = fresh();
    cmp_store(&bin->ec.word, CMP_EC_WAKING, relaxed, "test.set");
    CHECK(cmp_eventcount_leave(&bin->ec, false));
    CHECK_EQ(state(bin), CMP_EC_SLEEPERS);
    CHECK(!cmp_eventcount_leave(&bin->ec, false));
}

static void wait_for_ever(void *arg)
{
    CHECK_EQ(wait_token(arg, NEVER, 0), 0);
}

TEST(abandoned_wake_is_noticed_by_the_timed_look)
{
    /* A waker died between its CAS and its wake: the word says WAKING, a token is there, and the sleeper sleeps. */
    struct bin *bin = fresh();
    int64_t before_ns = cmp_now_ns();
    pid_t sleeper = test_child(wait_for_ever, bin);
    WAIT_FOR(cmp_load(&bin->asleep, acquire) >= 2);
    cmp_rmw(fetch_add, &bin->tokens, 1, acq_rel, "test.throw");
    cmp_store(&bin->ec.word, (cmp_load(&bin->ec.word, relaxed) & ~3u) + 4 + CMP_EC_WAKING, seq_cst, "test.set");
    cmp_eventcount_notify_one(&bin->ec); /* keeps silent */
    test_join(sleeper);
    CHECK(cmp_now_ns() - before_ns < SECOND);
}

TEST(signal_ends_a_wait_with_nothing_taken)
{
    struct bin *bin = fresh();
    struct sigaction action = {.sa_handler = (void (*)(int))(void *)test_pause};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    pid_t me = getpid(), sender = fork();
    if (sender == 0) {
        WAIT_FOR(cmp_load(&bin->asleep, acquire) >= 2);
        while (cmp_load(&bin->taken, acquire) == 0) { /* until it was seen asleep, not just about to */
            kill(me, SIGUSR1);
            test_pause();
        }
        _exit(0);
    }
    int code = wait_token(bin, NEVER, 0);
    CHECK_EQ(code, -EINTR);
    cmp_store(&bin->taken, 1, release, "test.seen");
    int status;
    while (waitpid(sender, &status, 0) < 0) CHECK_EQ(errno, EINTR);
    CHECK_EQ(status, 0);
}

static void wait_for_flag(int number, void *arg)
{
    struct bin *bin = arg;
    (void)number;
    while (cmp_load(&bin->taken, acquire) == 0) {
        uint32_t key = cmp_eventcount_prepare(&bin->ec);
        if (cmp_load(&bin->taken, acquire) != 0) break;
        cmp_rmw(fetch_add, &bin->asleep, 1, relaxed, "test.asleep");
        CHECK_EQ(cmp_eventcount_sleep(&bin->ec, key, NEVER, 20 * SECOND), 0);
    }
}

static void raise_flag_when_five_sleep(int number, void *arg)
{
    struct bin *bin = arg;
    if (number != 0) {
        wait_for_flag(number, arg);
        return;
    }
    WAIT_FOR(cmp_load(&bin->asleep, acquire) >= 5);
    cmp_store(&bin->taken, 1, release, "test.flag");
    cmp_eventcount_notify_all(&bin->ec);
}

TEST(notify_all_reaches_every_sleeper)
{
    int64_t before_ns = cmp_now_ns();
    for (int round = 0; round < 20; round++) test_together(6, TEST_TSAN, raise_flag_when_five_sleep, fresh());
    CHECK(cmp_now_ns() - before_ns < 10 * SECOND); /* a lost wake-up costs a slice of 20 s */
}

#define TOKENS 30000
#define THROWERS 3
#define TAKERS 3

struct game {
    struct bin *bin;
    int64_t spin_ns;
};

/* Waits without timed looks: a lost wake-up would hang, not merely be late. */
static void take_share(struct bin *bin, int64_t spin_ns)
{
    (void)spin_ns;
    for (int i = 0; i < TOKENS * THROWERS / TAKERS; i++) {
        int code = take_token(bin);
        bool prepared = false;
        while (code == -EAGAIN) {
            uint32_t key = cmp_eventcount_prepare(&bin->ec);
            prepared = true;
            code = take_token(bin);
            if (code != -EAGAIN) break;
            CHECK_EQ(cmp_eventcount_sleep(&bin->ec, key, NEVER, 1000 * SECOND), 0);
            code = take_token(bin);
        }
        if (prepared && cmp_eventcount_leave(&bin->ec, more_tokens(bin)) && more_tokens(bin))
            cmp_eventcount_notify_one(&bin->ec);
    }
}

static void play(int number, void *arg)
{
    struct game *game = arg;
    if (number < TAKERS) take_share(game->bin, game->spin_ns);
    else
        for (int i = 0; i < TOKENS; i++) throw_token(game->bin);
}

TEST(no_wake_up_is_lost_between_many_throwers_and_takers)
{
    struct game game = {fresh(), 0};
    test_together(TAKERS + THROWERS, TEST_TSAN, play, &game);
    CHECK_EQ(cmp_load(&game.bin->taken, relaxed), TOKENS * THROWERS);
    CHECK_EQ(cmp_load(&game.bin->tokens, relaxed), 0);
}

static void play_by_the_loop(int number, void *arg)
{
    struct game *game = arg;
    if (number < TAKERS)
        for (int i = 0; i < TOKENS * THROWERS / TAKERS; i++) CHECK_EQ(wait_token(game->bin, NEVER, game->spin_ns), 0);
    else
        for (int i = 0; i < TOKENS; i++) throw_token(game->bin);
}

TEST(the_loop_serves_spinning_takers)
{
    struct game game = {fresh(), 5000};
    test_together(TAKERS + THROWERS, TEST_TSAN, play_by_the_loop, &game);
    CHECK_EQ(cmp_load(&game.bin->taken, relaxed), TOKENS * THROWERS);
}

TEST(idle_wait_costs_no_cpu_to_speak_of)
{
    struct bin *bin = fresh();
    struct rusage before, after;
    getrusage(RUSAGE_THREAD, &before);
    CHECK_EQ(wait_token(bin, cmp_now_ns() + 2 * SECOND, 5000), -ETIMEDOUT);
    getrusage(RUSAGE_THREAD, &after);
    /* 50 + 100 + 200 + 400 + 500 + 500: six looks and the deadline's. Context switches do not depend on the load. */
    CHECK(after.ru_nvcsw - before.ru_nvcsw <= 10);
}
