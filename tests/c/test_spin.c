#include "runner.h"

#include "os/clock.h"
#include "shm/spin.h"

#include <errno.h>

#define SHORT_NS INT64_C(1000)
#define NOTICEABLE_NS INT64_C(30000) /* longer than short, shorter than long */

struct watch {
    int64_t answer_ns; /* when it answers; INT64_MAX never */
};

static int look(void *arg)
{
    const struct watch *watch = arg;
    return cmp_now_ns() >= watch->answer_ns ? 0 : -EAGAIN;
}

/* Did a spin in vain go on beyond its short time? Preemption can make a short one look long, never a long one short. */
static bool holds_out(struct cmp_spin *learnt)
{
    struct watch never = {INT64_MAX};
    int64_t before_ns = cmp_now_ns();
    CHECK_EQ(cmp_spin(learnt, look, &never, INT64_MAX, SHORT_NS), -EAGAIN);
    return cmp_now_ns() - before_ns >= NOTICEABLE_NS;
}

static void answer_quickly(struct cmp_spin *learnt, int times)
{
    struct watch now = {0};
    for (int i = 0; i < times; i++) CHECK_EQ(cmp_spin(learnt, look, &now, INT64_MAX, SHORT_NS), 0);
}

TEST(first_wait_holds_out)
{
    struct cmp_spin learnt = {0};
    CHECK(holds_out(&learnt));
}

TEST(waits_in_vain_hold_out_ever_more_rarely)
{
    struct cmp_spin learnt = {0};
    int held = 0;
    for (int i = 0; i < 1000; i++) {
        (void)holds_out(&learnt);
        held += learnt.skip == learnt.backoff / 2 && learnt.backoff > 0;
    }
    CHECK(learnt.backoff >= 255);
    CHECK(held >= 8); /* at 1, 3, 7, 15 ... */
    CHECK(held <= 16);
}

TEST(run_of_quick_answers_makes_the_next_wait_hold_out)
{
    struct cmp_spin learnt = {.skip = 200, .backoff = 255};
    answer_quickly(&learnt, 16);
    CHECK(holds_out(&learnt));
}

TEST(few_quick_answers_change_nothing)
{
    struct cmp_spin learnt = {.skip = 200, .backoff = 255};
    answer_quickly(&learnt, 10);
    (void)holds_out(&learnt);
    answer_quickly(&learnt, 10);
    (void)holds_out(&learnt);
    CHECK_EQ(learnt.skip, 198);
}

/* How often a spin looks, where nothing answers. */
static int count_look(void *arg)
{
    *(int *)arg += 1;
    return -EAGAIN;
}

TEST(short_spins_stop_where_all_were_in_vain_until_one_is_answered)
{
    struct cmp_spin learnt = {.skip = 100, .backoff = 127};
    int looks = 0;
    for (int i = 0; i < 32; i++) CHECK_EQ(cmp_spin(&learnt, count_look, &looks, INT64_MAX, SHORT_NS), -EAGAIN);
    CHECK(looks > 100);
    looks = 0;
    for (int i = 0; i < 50; i++) CHECK_EQ(cmp_spin(&learnt, count_look, &looks, INT64_MAX, SHORT_NS), -EAGAIN);
    CHECK(looks >= 50);
    CHECK(looks <= 60); /* and one more wherever it gave way */
    answer_quickly(&learnt, 1);
    looks = 0;
    CHECK_EQ(cmp_spin(&learnt, count_look, &looks, INT64_MAX, SHORT_NS), -EAGAIN);
    CHECK(looks > 1);
}

/* One that takes long here, for somebody else's sake, shall not bar the next. */
static int spin_on_a_quiet_machine(struct cmp_spin *learnt, int (*look)(void *), int *looks)
{
    learnt->no_yield_ns = 0;
    return cmp_spin(learnt, look, looks, INT64_MAX, SHORT_NS);
}

/* Answers at every second look: what the other side on this processor does once it is given way to. */
static int answer_second_look(void *arg)
{
    int *looks = arg;
    return ++*looks % 2 == 0 ? 0 : -EAGAIN;
}

TEST(exchange_by_giving_way_needs_no_spins)
{
    struct cmp_spin learnt = {.vain = 32, .skip = 1000, .backoff = 1023};
    int looks = 0;
    for (int i = 0; i < 64; i++) CHECK_EQ(spin_on_a_quiet_machine(&learnt, answer_second_look, &looks), 0);
    CHECK_EQ(learnt.yields, 64);
    learnt.vain = 0; /* whatever else was learnt */
    looks = 0;
    CHECK_EQ(spin_on_a_quiet_machine(&learnt, answer_second_look, &looks), 0);
    CHECK_EQ(looks, 2);
}

TEST(end_of_an_exchange_by_giving_way_holds_out)
{
    struct cmp_spin learnt = {.vain = 32, .skip = 1000, .backoff = 1023, .yields = 64};
    CHECK(holds_out(&learnt));
    CHECK_EQ(learnt.yields, 0);
}

TEST(giving_way_in_vain_becomes_rare)
{
    struct cmp_spin learnt = {.vain = 32, .skip = 10000, .backoff = 1023};
    int looks = 0;
    for (int i = 0; i < 1000; i++) CHECK_EQ(spin_on_a_quiet_machine(&learnt, count_look, &looks), -EAGAIN);
    CHECK(looks >= 1000 + 7);
    CHECK(looks <= 1000 + 25);
}

TEST(no_way_is_given_for_a_while_after_a_slow_one)
{
    struct cmp_spin learnt = {.vain = 32, .skip = 1000, .backoff = 1023, .no_yield_ns = INT64_MAX};
    int looks = 0;
    for (int i = 0; i < 50; i++) CHECK_EQ(cmp_spin(&learnt, count_look, &looks, INT64_MAX, SHORT_NS), -EAGAIN);
    CHECK_EQ(looks, 50);
}

TEST(long_spins_that_succeed_go_on)
{
    struct cmp_spin learnt = {0};
    int answered = 0;
    for (int i = 0; i < 20; i++) {
        struct watch soon = {cmp_now_ns() + 10 * SHORT_NS};
        answered += cmp_spin(&learnt, look, &soon, INT64_MAX, SHORT_NS) == 0;
    }
    CHECK(answered >= 15); /* all but those that were preempted meanwhile */
}

TEST(nobody_spins_beyond_the_deadline)
{
    struct watch never = {INT64_MAX};
    struct cmp_spin learnt = {0};
    int64_t best_ns = INT64_MAX;
    for (int i = 0; i < 20; i++) {
        int64_t before_ns = cmp_now_ns();
        CHECK_EQ(cmp_spin(&learnt, look, &never, before_ns + 2 * SHORT_NS, SHORT_NS), -EAGAIN);
        int64_t spent_ns = cmp_now_ns() - before_ns;
        if (spent_ns < best_ns) best_ns = spent_ns;
        learnt = (struct cmp_spin){0};
    }
    CHECK(best_ns < NOTICEABLE_NS);
}

TEST(without_anything_learnt_it_never_holds_out)
{
    int long_ones = 0;
    for (int i = 0; i < 20; i++) long_ones += holds_out(NULL);
    CHECK(long_ones < 10);
}
