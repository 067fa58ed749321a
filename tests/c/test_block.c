#include "runner.h"

#include "os/clock.h"
#include "shm/block.h"
#include "shm/budget.h"
#include "shm/extent.h"
#include "shm/segment_layout.h"
#include "shm/sweep.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

static struct cmp_segment segment;

static void fresh(void)
{
    CHECK_EQ(cmp_segment_create(&segment, 128, "cmp-test"), 0);
}

static void done(void)
{
    CHECK_EQ(cmp_block_check(&segment), 0);
    CHECK_EQ(cmp_block_use(&segment).busy_bytes, 0);
    cmp_segment_close(&segment);
}

static cmp_ref get(uint64_t size)
{
    cmp_ref block = 0;
    uint64_t warm;
    CHECK_EQ(cmp_block_alloc(&segment, size, false, &block, &warm), 0);
    return block;
}

static uint64_t pages_in_file(void)
{
    struct stat facts;
    CHECK_EQ(fstat(segment.fd, &facts), 0);
    return (uint64_t)facts.st_blocks * 512;
}

TEST(block_holds_what_was_asked_for_and_is_reused_last_in_first_out)
{
    fresh();
    cmp_ref a = get(100 * KIB), b = get(100 * KIB);
    uint64_t capacity = 0;
    char *payload = cmp_block_payload(&segment, a, &capacity);
    CHECK(capacity >= 100 * KIB);
    CHECK_EQ((uintptr_t)payload % 64, 0);
    memset(payload, 1, capacity);
    CHECK(a != b);
    cmp_block_free(&segment, a);
    cmp_block_free(&segment, b);
    CHECK_EQ(get(100 * KIB), b);
    CHECK_EQ(get(100 * KIB), a);
    cmp_block_free(&segment, a);
    cmp_block_free(&segment, b);
    done();
}

TEST(common_payloads_fit_their_own_class)
{
    fresh();
    static const uint64_t sizes[] = {4 * KIB, 64 * KIB, MIB, 8 * MIB, 32 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        cmp_ref block = get(sizes[i] + 1000); /* the encoder's and the pickle's bytes before the data */
        uint64_t capacity = 0;
        (void)cmp_block_payload(&segment, block, &capacity);
        CHECK(capacity < sizes[i] + 4 * KIB);
        cmp_block_free(&segment, block);
    }
    done();
}

TEST(allocating_touches_no_page_but_the_header)
{
    fresh();
    cmp_ref block = get(64 * KIB);
    uint64_t before = pages_in_file();
    cmp_ref large = get(32 * MIB);
    CHECK(pages_in_file() - before <= 8 * KIB);
    cmp_block_free(&segment, block);
    cmp_block_free(&segment, large);
    done();
}

TEST(second_use_is_warm_as_far_as_the_first_went)
{
    fresh();
    cmp_ref block = 0;
    uint64_t warm = 1;
    CHECK_EQ(cmp_block_alloc(&segment, 100 * KIB, false, &block, &warm), 0);
    CHECK_EQ(warm, 4096 - 64);
    cmp_block_free(&segment, block);
    CHECK_EQ(cmp_block_alloc(&segment, 120 * KIB, false, &block, &warm), 0);
    CHECK(warm >= 100 * KIB && warm < 104 * KIB);
    cmp_block_free(&segment, block);
    done();
}

TEST(writes_arrive_whole_whether_warm_or_cold_and_stay_inside)
{
    fresh();
    enum { SIZE = 300 * 1024 };
    static char out[SIZE], in[SIZE];
    for (int i = 0; i < SIZE; i++) out[i] = (char)(i * 7 + i / 251);
    for (int round = 0; round < 3; round++) {
        cmp_ref block = get(SIZE);
        uint64_t capacity = 0, at = 0, steps[] = {10, 5000, 40000, 200000, SIZE - 245010};
        char *payload = cmp_block_payload(&segment, block, &capacity);
        for (size_t i = 0; i < sizeof steps / sizeof *steps; at += steps[i++])
            CHECK_EQ(cmp_block_write(&segment, block, at, out + at, steps[i]), 0);
        CHECK_EQ(at, SIZE);
        memcpy(in, payload, SIZE);
        CHECK_EQ(memcmp(in, out, SIZE), 0);
        CHECK_EQ(cmp_block_write(&segment, block, capacity - 1, out, 2), -EBADMSG);
        CHECK_EQ(cmp_block_write(&segment, block, UINT64_MAX, out, 2), -EBADMSG);
        CHECK_EQ(cmp_block_write(&segment, block, 1, out, SIZE_MAX), -EBADMSG);
        cmp_block_free(&segment, block);
        memset(out, round, 100);
    }
    done();
}

TEST(write_past_the_file_size_limit_is_done_by_stores)
{
    fresh();
    static char bytes[200 * 1024];
    memset(bytes, 7, sizeof bytes);
    cmp_ref block = get(sizeof bytes);
    struct rlimit limit = {64 * KIB, 64 * KIB};
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    CHECK_EQ(cmp_block_write(&segment, block, 0, bytes, sizeof bytes), 0);
    uint64_t capacity;
    CHECK_EQ(memcmp(cmp_block_payload(&segment, block, &capacity), bytes, sizeof bytes), 0);
    cmp_block_free(&segment, block);
    done();
}

TEST(references_to_what_is_no_block_are_refused)
{
    fresh();
    cmp_ref block = get(64 * KIB);
    uint64_t capacity;
    cmp_ref hostile[] = {0, block + 64, block + 4096, block + 1, CMP_REF(0, 0), CMP_REF(0, 4096), CMP_REF(1, MIB),
                         CMP_REF(2, 0), UINT64_MAX, CMP_REF(1, MIB - 32)};
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        CHECK(cmp_block_payload(&segment, hostile[i], &capacity) == NULL);
        CHECK(cmp_block_tenure(&segment, hostile[i]) == NULL);
        CHECK_EQ(cmp_block_write(&segment, hostile[i], 0, "x", 1), -EBADMSG);
        cmp_block_free(&segment, hostile[i]); /* no effect */
    }
    cmp_block_free(&segment, block);
    done();
}

/* A block's header as the layout has it, for damage by hand. */
struct raw {
    uint32_t magic, class;
    uint64_t size;
    _Atomic uint64_t tenure, next, warm_bytes, charged_bytes, cold_from;
};

static struct raw *raw(cmp_ref block)
{
    struct raw *found = cmp_segment_at(&segment, block, 64);
    CHECK(found != NULL);
    return found;
}

TEST(half_written_header_behind_the_last_block_is_overwritten)
{
    fresh();
    cmp_ref block = get(64 * KIB);
    memset(raw(block + raw(block)->size), 0xff, 64); /* killed before "block.carve" */
    CHECK_EQ(cmp_block_check(&segment), 0);
    cmp_ref next = get(64 * KIB);
    CHECK_EQ(next, block + raw(block)->size);
    cmp_block_free(&segment, block);
    cmp_block_free(&segment, next);
    done();
}

TEST(size_that_leaves_the_extent_is_not_believed)
{
    fresh();
    cmp_ref block = get(64 * KIB);
    uint64_t size = raw(block)->size, capacity;
    raw(block)->size = 2 * MIB;
    CHECK(cmp_block_payload(&segment, block, &capacity) == NULL);
    CHECK_EQ(cmp_block_check(&segment), -EUCLEAN);
    raw(block)->size = size;
    cmp_block_free(&segment, block);
    done();
}

static void lock_and_die(void *arg)
{
    (void)arg;
    CHECK_EQ(cmp_mutex_lock(&segment.shm->blocks.lock), 0);
    raise(SIGKILL);
}

TEST(dead_owner_of_the_lock_lets_the_lists_be_made_anew)
{
    fresh();
    cmp_ref blocks[6];
    for (int i = 0; i < 6; i++) blocks[i] = get((i % 3 + 1) * 60 * KIB);
    for (int i = 0; i < 4; i++) cmp_block_free(&segment, blocks[i]);
    CHECK_EQ(cmp_block_check(&segment), 0);
    cmp_block_free(&segment, blocks[4]); /* on the stack still */
    /* Killed in the middle of a pop: the lists know nothing of a free block, and of one that is not. */
    for (int i = 0; i < CMP_BLOCK_CLASSES; i++) cmp_store(&segment.shm->blocks.warm[i], blocks[5], relaxed, "test.set");
    cmp_store(&segment.shm->blocks.idle_bytes, 12345, relaxed, "test.set");
    (void)test_reap(test_child(lock_and_die, NULL));
    CHECK_EQ(cmp_block_check(&segment), 0);
    CHECK_EQ(cmp_block_use(&segment).busy_bytes, raw(blocks[5])->warm_bytes);
    cmp_block_free(&segment, blocks[5]);
    done();
}

TEST(block_killed_between_settle_and_unstack_is_listed_once)
{
    fresh();
    cmp_ref a = get(64 * KIB), b = get(64 * KIB);
    cmp_block_free(&segment, a);
    cmp_block_free(&segment, b);
    cmp_store(&raw(b)->tenure, 0, relaxed, "test.set");
    (void)test_reap(test_child(lock_and_die, NULL));
    CHECK_EQ(cmp_block_check(&segment), 0);
    CHECK(get(64 * KIB) != get(64 * KIB));
    cmp_block_free(&segment, a);
    cmp_block_free(&segment, b);
    done();
}

struct poor {
    cmp_ref seen, unseen;
};

/* Has mapped the extent of `seen`, and cannot map that of `unseen`. */
static void alloc_poorly(void *arg)
{
    struct poor *poor = arg;
    struct cmp_segment other;
    cmp_ref block = 0;
    uint64_t warm;
    CHECK_EQ(cmp_segment_attach(&other, dup(segment.fd)), 0);
    CHECK(cmp_block_tenure(&other, poor->seen) != NULL);
    close(other.fd);
    CHECK(cmp_block_tenure(&other, poor->unseen) == NULL);
    (void)cmp_block_alloc(&other, 64 * KIB, false, &block, &warm);
    CHECK(block != poor->seen);
}

TEST(block_on_a_stack_that_one_cannot_empty_is_not_listed)
{
    fresh();
    struct poor poor = {.seen = get(64 * KIB)};
    do poor.unseen = get(512 * KIB);
    while (poor.unseen >> CMP_REF_BITS == poor.seen >> CMP_REF_BITS);
    cmp_block_free(&segment, poor.seen);
    cmp_store(&raw(poor.seen)->tenure, 0, relaxed, "test.set"); /* killed between [block.settle] and [block.unstack] */
    cmp_block_free(&segment, poor.unseen);
    (void)test_reap(test_child(lock_and_die, NULL));
    test_join(test_child(alloc_poorly, &poor));
    CHECK_EQ(cmp_block_check(&segment), 0);
    cmp_segment_close(&segment);
}

TEST(try_only_is_busy_while_another_has_the_lock)
{
    fresh();
    cmp_ref block;
    uint64_t warm;
    CHECK_EQ(cmp_mutex_lock(&segment.shm->blocks.lock), 0);
    CHECK_EQ(cmp_block_alloc(&segment, 100, true, &block, &warm), -EBUSY);
    cmp_mutex_unlock(&segment.shm->blocks.lock);
    block = get(100);
    CHECK_EQ(cmp_mutex_lock(&segment.shm->blocks.lock), 0);
    cmp_block_free(&segment, block); /* waits for nobody */
    cmp_mutex_unlock(&segment.shm->blocks.lock);
    done();
}

/* --- the dead --- */

static cmp_ref *told;

static void take_and_wait(void *arg)
{
    int n = *(int *)arg;
    for (int i = n - 1; i >= 0; i--) {
        cmp_ref block = get(64 * KIB);
        cmp_store((_Atomic cmp_ref *)&told[i], block, release, "test.told");
    }
    for (;;) pause();
}

static pid_t holder_of(int n)
{
    told = test_shared(4096);
    pid_t pid = test_child(take_and_wait, &n);
    WAIT_FOR(cmp_load((_Atomic cmp_ref *)&told[0], acquire) != 0);
    return pid;
}

TEST(sweep_frees_what_the_dead_held_and_buries_them)
{
    fresh();
    cmp_ref mine = get(64 * KIB);
    pid_t child = holder_of(3);
    CHECK_EQ(cmp_sweep_dead(&segment), 0);
    test_kill(child);
    CHECK_EQ(cmp_sweep_dead(&segment), 1 + 3);
    CHECK_EQ(cmp_sweep_dead(&segment), 0);
    CHECK_EQ(cmp_sweep(&segment), 0);
    CHECK_EQ(cmp_members_at(&segment.members, 1), 0);
    cmp_block_free(&segment, mine);
    done();
}

TEST(sweep_frees_a_block_killed_on_its_way_back)
{
    fresh();
    pid_t child = holder_of(2);
    uint64_t tenure = raw(told[0])->tenure;
    /* One before "block.push", one after it. */
    cmp_store(&raw(told[0])->tenure, CMP_TENURE(CMP_TENURE_RETURNED, CMP_TENURE_OWNER(tenure)), relaxed, "test.set");
    cmp_block_free(&segment, told[1]);
    cmp_store(&raw(told[1])->tenure, raw(told[0])->tenure, relaxed, "test.set");
    test_kill(child);
    CHECK_EQ(cmp_sweep_dead(&segment), 1 + 1);
    done();
}

TEST(blocks_of_a_member_that_has_left_are_found_by_a_whole_sweep)
{
    fresh();
    (void)get(64 * KIB);
    cmp_members_leave(&segment.members);
    CHECK_EQ(cmp_sweep_dead(&segment), 0);
    CHECK_EQ(cmp_sweep(&segment), 1);
    done();
}

TEST(nothing_of_the_nameless_or_of_unknown_queues_is_taken)
{
    fresh();
    cmp_ref a = get(64 * KIB), b = get(64 * KIB);
    cmp_store(&raw(a)->tenure, CMP_TENURE(CMP_TENURE_MEMBER, CMP_OWNER_NAMELESS), relaxed, "test.set");
    cmp_store(&raw(b)->tenure, CMP_TENURE_OF_QUEUE(CMP_TENURE_ITEM, 77, 5), relaxed, "test.set");
    CHECK_EQ(cmp_sweep(&segment), 0);
    cmp_block_free(&segment, a);
    cmp_block_free(&segment, b);
    done();
}

TEST(growth_looks_for_the_dead_first)
{
    fresh();
    test_kill(holder_of(15)); /* the whole of the first extent */
    CHECK_EQ(cmp_extent_count(&segment), 2);
    cmp_ref block = get(64 * KIB);
    CHECK_EQ(cmp_extent_count(&segment), 2);
    cmp_block_free(&segment, block);
    done();
}

static void join(void *arg)
{
    (void)arg;
    cmp_store((_Atomic uint64_t *)&told[0], cmp_members_me(&segment.members), release, "test.told");
}

TEST(full_member_table_is_swept_of_a_thousand_dead)
{
    fresh();
    told = test_shared(4096);
    /* As if every slot had been taken by a process long gone: a pid with a start time it cannot have. */
    for (uint32_t i = 0; i < CMP_SEGMENT_MEMBERS; i++)
        cmp_store(&segment.members.shm->slots[i].who, (UINT64_C(1) << 22) + 1 + i % 7, relaxed, "test.set");
    test_join(test_child(join, NULL));
    CHECK_EQ(told[0], (UINT64_C(1) << 32) + 1);
    CHECK_EQ(cmp_members_at(&segment.members, 1), 0);
    done();
}

/* --- memory --- */

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

TEST(size_beyond_every_class_is_an_error)
{
    fresh();
    cmp_ref block;
    uint64_t warm;
    CHECK_EQ(cmp_block_alloc(&segment, UINT64_MAX, false, &block, &warm), -ENOMEM);
    CHECK_EQ(cmp_block_alloc(&segment, UINT64_C(1) << 50, false, &block, &warm), -ENOMEM);
    done();
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

/* --- many at once --- */

#define CHURNERS 4

struct shared_box {
    _Atomic cmp_ref slots[16];
    _Atomic int ended;
};

static void churn(int number, void *arg)
{
    struct shared_box *box = arg;
    struct cmp_segment *own = &segment, twin;
    if (TEST_TSAN) {
        CHECK_EQ(cmp_segment_twin(&twin, &segment), 0);
        own = &twin;
    }
    unsigned seed = (unsigned)number + 1;
    for (int i = 0; i < 5000; i++) {
        uint64_t size = UINT64_C(1) << (10 + rand_r(&seed) % 9), warm, capacity;
        cmp_ref block = 0;
        int code;
        do code = cmp_block_alloc(own, size, false, &block, &warm);
        while (code == -EINTR); /* a holder that the machine does not let run */
        CHECK_EQ(code, 0);
        uint64_t *payload = cmp_block_payload(own, block, &capacity);
        payload[0] = payload[size / 8 - 1] = block;
        /* Swap it with whatever lies in the box: blocks are freed by others than those who took them. */
        cmp_ref other = cmp_rmw(exchange, &box->slots[rand_r(&seed) % 16], block, acq_rel, "test.swap");
        if (other == 0) continue;
        payload = cmp_block_payload(own, other, &capacity);
        CHECK_EQ(payload[0], other);
        cmp_block_free(own, other);
    }
    /* What lies in the box is still held by whoever put it there: had one gone, a sweep would free it under the others'
     * hands. */
    (void)cmp_rmw(fetch_add, &box->ended, 1, acq_rel, "test.ended");
    while (cmp_load(&box->ended, acquire) < CHURNERS) (void)sched_yield();
}

TEST(no_block_is_ever_in_two_hands)
{
    fresh();
    struct shared_box *box = test_shared(sizeof *box);
    test_together(CHURNERS, TEST_TSAN, churn, box);
    for (int i = 0; i < 16; i++) {
        cmp_ref block = cmp_load(&box->slots[i], relaxed);
        if (block != 0) cmp_block_free(&segment, block);
    }
    (void)cmp_sweep(&segment);
    done();
}
