/* Many producers and takers at once: each item exactly once, and in order per producer. */
#include "queue_fixture.h"

#define MS CMP_MS

struct crowd {
    struct cmp_queue *queue;
    int producers, takers;
    uint64_t each;
    size_t batch;
    _Atomic uint64_t *seen;          /* per item, how often it came */
    _Atomic uint64_t *left;          /* items nobody has taken yet */
};

static size_t size_of_item(uint64_t number)
{
    return number % 97 == 0 ? 6000 : 8 + number % 40;
}

static void produce(struct crowd *crowd, uint64_t producer)
{
    static _Thread_local char bytes[64][8000];
    for (uint64_t i = 0; i < crowd->each;) {
        struct iovec parts[64];
        struct cmp_message messages[64];
        size_t n = 0, put = 0;
        for (; n < crowd->batch && i < crowd->each; n++, i++) {
            uint64_t number = producer * crowd->each + i;
            item_fill(bytes[n], size_of_item(number), number);
            parts[n] = (struct iovec){bytes[n], size_of_item(number)};
            messages[n] = (struct cmp_message){.parts = &parts[n], .nparts = 1, .size = parts[n].iov_len, .tag = 7};
        }
        while (put < n) {
            size_t done;
            int code = cmp_queue_put_many(crowd->queue, messages + put, n - put, NEVER, &done);
            CHECK(code == 0 || code == -EINTR);
            put += done;
        }
    }
}

static void consume(struct crowd *crowd)
{
    uint64_t last[64];
    memset(last, 0xff, sizeof last);
    while (cmp_load(crowd->left, acquire) > 0) {
        struct cmp_item items[CMP_QUEUE_TAKE_MAX];
        char room[8192];
        size_t done;
        int code = cmp_queue_take_many(crowd->queue, items, crowd->batch, room, sizeof room,
                                       cmp_now_ns() + 20 * MS, &done);
        if (code == -EINTR || code == -ETIMEDOUT) continue;
        CHECK_EQ(code, 0);
        for (size_t i = 0; i < done; i++) {
            uint64_t number = item_check(items[i].data, items[i].size);
            uint64_t producer = number / crowd->each;
            CHECK(producer < (uint64_t)crowd->producers);
            CHECK(last[producer] == UINT64_MAX || last[producer] < number);
            last[producer] = number;
            CHECK_EQ(cmp_rmw(fetch_add, &crowd->seen[number], 1, relaxed, "test.seen"), 0);
            cmp_queue_release_item(crowd->queue, &items[i]);
        }
        cmp_rmw(fetch_sub, crowd->left, done, acq_rel, "test.left");
    }
}

static void take_part(int number, void *arg)
{
    struct crowd *crowd = arg;
    if (number < crowd->producers) produce(crowd, (uint64_t)number);
    else consume(crowd);
}

static void run_crowd(int producers, int takers, uint64_t capacity, size_t batch, bool threads)
{
    struct fixture fixture;
    uint64_t each = TEST_TSAN ? 600 : 6000;
    struct crowd crowd = {.queue = fixture_open(&fixture, capacity), .producers = producers, .takers = takers,
                          .each = each, .batch = batch};
    crowd.seen = test_shared(each * (uint64_t)producers * sizeof *crowd.seen);
    crowd.left = test_shared(sizeof *crowd.left);
    cmp_store(crowd.left, each * (uint64_t)producers, relaxed, "test.left");
    test_together(producers + takers, threads, take_part, &crowd);
    CHECK_EQ(cmp_queue_size(crowd.queue), 0);
    for (uint64_t i = 0; i < each * (uint64_t)producers; i++) CHECK_EQ(cmp_load(&crowd.seen[i], relaxed), 1);
    fixture_close(&fixture);
}

TEST(one_to_one_processes) { run_crowd(1, 1, 0, 1, TEST_TSAN); }
TEST(four_to_one_processes_bounded) { run_crowd(4, 1, 3, 1, TEST_TSAN); }
TEST(one_to_four_processes) { run_crowd(1, 4, 100, 1, TEST_TSAN); }
TEST(four_to_four_processes) { run_crowd(4, 4, 0, 1, TEST_TSAN); }
TEST(four_to_four_processes_in_batches) { run_crowd(4, 4, 50, 16, TEST_TSAN); }
TEST(four_to_four_threads_capacity_one) { run_crowd(4, 4, 1, 1, true); }
TEST(four_to_four_threads_in_batches) { run_crowd(4, 4, 0, 64, true); }
