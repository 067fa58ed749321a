/* Blocks that are taken, filled and given back, by one and by many. */
#include "block_fixture.h"
#include "peek.h"

#include "shm/block.h"
#include "shm/extent.h"
#include "shm/segment_layout.h"
#include "shm/sweep.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

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

TEST(try_only_is_busy_while_another_has_the_lock)
{
    fresh();
    cmp_ref block;
    uint64_t warm;
    CHECK_EQ(wait_for_mutex(&segment.shm->blocks.lock), 0);
    CHECK_EQ(cmp_block_alloc(&segment, 100, true, &block, &warm), -EBUSY);
    cmp_mutex_unlock(&segment.shm->blocks.lock);
    block = get(100);
    CHECK_EQ(wait_for_mutex(&segment.shm->blocks.lock), 0);
    cmp_block_free(&segment, block); /* waits for nobody */
    cmp_mutex_unlock(&segment.shm->blocks.lock);
    done();
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
