/* What blocks cost: memory that goes back, the budget, and what is left where there is no room to grow. */
#include "block_fixture.h"

#include "os/clock.h"
#include "shm/block.h"
#include "shm/budget.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void pass_time(int64_t ns)
{
    int64_t until_ns = cmp_now_ns() + ns;
    WAIT_FOR(cmp_now_ns() >= until_ns);
}

TEST(memory_that_lies_unused_goes_back_while_a_burst_is_drained)
{
    fresh();
    enum { N = 400 };
    cmp_ref blocks[N];
    for (int i = 0; i < N; i++) {
        uint64_t capacity;
        blocks[i] = get(256 * KIB);
        memset(cmp_block_payload(&segment, blocks[i], &capacity), 1, 256 * KIB);
    }
    for (int i = 0; i < N; i++) {
        if (i % 100 == 0) pass_time(60 * CMP_MS);
        cmp_block_free(&segment, blocks[i]);
    }
    CHECK_EQ(cmp_block_check(&segment), 0);
    /* The last hundred, and the hundred before that were not yet idle all the while. */
    CHECK(cmp_block_use(&segment).idle_bytes <= 250 * 256 * KIB);
    CHECK(pages_in_file() <= 260 * 256 * KIB);
    done();
}

TEST(block_in_slow_but_steady_use_stays_warm)
{
    fresh();
    for (int i = 0; i < 5; i++) {
        cmp_ref block = 0;
        uint64_t warm_bytes;
        CHECK_EQ(cmp_block_alloc(&segment, 16 * MIB, false, &block, &warm_bytes), 0);
        if (i > 0) CHECK(warm_bytes >= 16 * MIB);
        pass_time(60 * CMP_MS);
        cmp_block_free(&segment, block);
        pass_time(60 * CMP_MS);
    }
    done();
}

TEST(memory_goes_back_after_a_burst)
{
    fresh();
    enum { N = 96 };
    cmp_ref blocks[N];
    for (int i = 0; i < N; i++) {
        uint64_t capacity;
        blocks[i] = get(4 * MIB);
        memset(cmp_block_payload(&segment, blocks[i], &capacity), 1, 4 * MIB);
    }
    CHECK(pages_in_file() >= N * 4 * MIB);
    for (int i = 0; i < N; i++) cmp_block_free(&segment, blocks[i]);
    CHECK_EQ(cmp_block_check(&segment), 0);
    CHECK(cmp_block_use(&segment).idle_bytes <= 264 * MIB);
    CHECK(pages_in_file() <= 270 * MIB);
    cmp_block_trim(&segment, 0);
    CHECK_EQ(cmp_block_check(&segment), 0);
    CHECK(pages_in_file() <= MIB);
    cmp_ref again = get(4 * MIB); /* cold, and zeroed */
    uint64_t capacity;
    const char *payload = cmp_block_payload(&segment, again, &capacity);
    CHECK_EQ(payload[MIB], 0);
    cmp_block_free(&segment, again);
    done();
}

TEST(budget_is_an_error_and_the_segment_stays_usable)
{
    CHECK_EQ(setenv("CMP_MEMORY", "10M", 1), 0);
    fresh();
    cmp_ref a = get(4 * MIB), b = get(4 * MIB), c;
    uint64_t warm;
    CHECK_EQ(cmp_block_alloc(&segment, 4 * MIB, false, &c, &warm), -ENOMEM);
    CHECK_EQ(cmp_block_alloc(&segment, 100 * MIB, false, &c, &warm), -ENOMEM);
    c = get(MIB);
    cmp_block_free(&segment, a);
    cmp_block_free(&segment, b);
    /* What lies idle in one size gives way to another. */
    cmp_ref large = get(8 * MIB);
    cmp_block_free(&segment, large);
    cmp_block_free(&segment, c);
    done();
}

static void take_most(void *arg)
{
    (void)arg;
    (void)get(4 * MIB);
    (void)get(4 * MIB);
    raise(SIGKILL);
}

TEST(budget_does_not_count_what_the_dead_held)
{
    CHECK_EQ(setenv("CMP_MEMORY", "10M", 1), 0);
    fresh();
    cmp_ref a = get(2 * MIB);
    cmp_block_free(&segment, a);
    cmp_block_trim(&segment, 0); /* a place for 2 MiB, so that no growth looks for the dead, and no memory in it */
    (void)test_reap(test_child(take_most, NULL));
    uint64_t warm;
    CHECK_EQ(cmp_block_alloc(&segment, 2 * MIB, true, &a, &warm), -EBUSY); /* no time for that look */
    CHECK_EQ(cmp_block_alloc(&segment, 2 * MIB, false, &a, &warm), 0);
    cmp_block_free(&segment, a);
    done();
}

TEST(memory_limit_is_read_with_its_unit)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {{"1048576", MIB}, {"64K", 64 * KIB}, {"64k", 64 * KIB}, {"3G", 3072 * MIB}, {"2T", 2048 * 1024 * MIB},
                 {"", 0},          {"lots", 0},       {"10MB", 0},       {"-5", 0},          {"0", 0},
                 {"99999999999999999999T", UINT64_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_EQ(setenv("CMP_MEMORY", cases[i].text, 1), 0);
        CHECK_EQ(cmp_budget_from_environment(), cases[i].bytes);
    }
    CHECK_EQ(unsetenv("CMP_MEMORY"), 0);
    CHECK_EQ(cmp_budget_from_environment(), 0);
}

TEST(without_room_to_grow_blocks_of_exact_size_come_back_for_the_same_size)
{
    fresh();
    cmp_ref first = get(MIB); /* extent 1 */
    /* No class of 64 MiB, but 36. */
    struct rlimit limit = {45 * MIB, 45 * MIB};
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cmp_ref block = get(36 * MIB), none;
    uint64_t warm;
    CHECK_EQ(cmp_block_alloc(&segment, 36 * MIB, false, &none, &warm), -ENOMEM);
    cmp_block_free(&segment, block);
    CHECK_EQ(get(36 * MIB), block);
    cmp_block_free(&segment, block);
    CHECK_EQ(get(20 * MIB), block); /* nor is there room for a new one of this size */
    cmp_block_free(&segment, block);
    cmp_block_free(&segment, first);
    done();
}

TEST(lost_descriptor_leaves_what_there_is_usable)
{
    fresh();
    cmp_ref block = get(100 * KIB), large;
    uint64_t warm;
    static char bytes[100 * 1024];
    int fd = segment.fd, kept = dup(fd);
    close(fd);
    CHECK_EQ(cmp_block_write(&segment, block, 0, bytes, sizeof bytes), 0);
    cmp_block_free(&segment, block);
    CHECK_EQ(cmp_block_alloc(&segment, 50 * MIB, false, &large, &warm), -EBADF);
    CHECK_EQ(get(100 * KIB), block);
    cmp_block_free(&segment, block);
    done();
    close(kept);
}
