/* The queue as its users see it. What the dead leave behind: test_queue_repair.c and crash_queue.c. */
#include "queue_fixture.h"

#include "os/eventfd.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#define MS CMP_MS

TEST(items_come_out_in_order_whatever_their_size)
{
    static const size_t sizes[] = {8, 9, 15, 16, 100, 4095, 4096, 4097, 65536, 1 << 20};
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            CHECK_EQ(put_sized(queue, round * 100 + i, sizes[i], NEVER), 0);
        CHECK_EQ(cmp_queue_check(queue), 0);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) CHECK_EQ(must_take(queue), round * 100 + i);
    }
    fixture_close(&fixture);
}

TEST(empty_queue_gives_nothing)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    uint64_t number;
    CHECK_EQ(take_number(queue, &number, TRY), -EAGAIN);
    CHECK_EQ(take_number(queue, &number, 1), -ETIMEDOUT);
    int64_t before_ns = cmp_now_ns();
    CHECK_EQ(take_number(queue, &number, before_ns + 30 * MS), -ETIMEDOUT);
    CHECK(cmp_now_ns() - before_ns >= 30 * MS);
    CHECK_EQ(cmp_queue_size(queue), 0);
    fixture_close(&fixture);
}

TEST(item_of_no_bytes_arrives)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    struct cmp_taken taken;
    CHECK_EQ(put_bytes(queue, "", 0, TRY), 0);
    CHECK_EQ(cmp_queue_take(queue, &taken, NULL, TRY), 0);
    CHECK_EQ(taken.size, 0);
    fixture_close(&fixture);
}

TEST(full_queue_takes_nothing_more)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 3);
    for (uint64_t i = 0; i < 3; i++) CHECK_EQ(put_number(queue, i, TRY), 0);
    CHECK_EQ(put_number(queue, 3, TRY), -EAGAIN);
    CHECK_EQ(put_number(queue, 3, cmp_now_ns() + 20 * MS), -ETIMEDOUT);
    CHECK_EQ(put_sized(queue, 3, 100000, 1), -ETIMEDOUT);
    CHECK_EQ(cmp_queue_size(queue), 3);
    CHECK_EQ(must_take(queue), 0);
    CHECK_EQ(put_number(queue, 3, TRY), 0);
    for (uint64_t i = 1; i < 4; i++) CHECK_EQ(must_take(queue), i);
    fixture_close(&fixture);
}

static struct cmp_taken held;

static void release_held(void *queue)
{
    cmp_queue_release(queue, &held);
    _exit(0);
}

TEST(forked_child_cannot_give_back_what_its_parent_took)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    CHECK_EQ(put_sized(queue, 5, 100000, NEVER), 0);
    CHECK_EQ(cmp_queue_take(queue, &held, NULL, NEVER), 0);
    test_join(test_child(release_held, queue));
    CHECK_EQ(put_sized(queue, 6, 100000, NEVER), 0); /* not into the block that is still held here */
    CHECK_EQ(item_check(held.data, held.size), 5);
    CHECK_EQ(must_take(queue), 6);
    cmp_queue_release(queue, &held);
    CHECK_EQ(cmp_block_check(&fixture.segment), 0);
    fixture_close(&fixture);
}

TEST(burst_gives_its_memory_back)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 50000; i++) CHECK_EQ(put_number(queue, i, NEVER), 0);
        CHECK_EQ(cmp_queue_size(queue), 50000);
        for (uint64_t i = 0; i < 50000; i++) CHECK_EQ(must_take(queue), i);
    }
    fixture_close(&fixture);
}

TEST(indices_wrap)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 2);
    /* A queue that has seen nearly 2^64 items: the next ones cross zero. */
    uint64_t start = UINT64_MAX - 5;
    struct cmp_queue_shm *shm = queue->shm;
    cmp_store(&shm->head, start, relaxed, "test.set");
    cmp_store(&shm->tail, start, relaxed, "test.set");
    cmp_store(&shm->head_cache, start, relaxed, "test.set");
    cmp_store(&shm->tail_cache, start, relaxed, "test.set");
    cmp_store(&shm->dones, start, relaxed, "test.set");
    cmp_store(&shm->idle_at, start, relaxed, "test.set");
    for (uint64_t i = 0; i < 20; i += 2) {
        CHECK_EQ(put_sized(queue, i, 5000, NEVER), 0);
        CHECK_EQ(put_number(queue, i + 1, TRY), 0);
        CHECK_EQ(put_number(queue, 99, TRY), -EAGAIN);
        CHECK_EQ(cmp_queue_check(queue), 0);
        CHECK_EQ(cmp_queue_size(queue), 2);
        CHECK_EQ(must_take(queue), i);
        CHECK_EQ(must_take(queue), i + 1);
        CHECK_EQ(cmp_queue_task_done(queue), 0);
        CHECK_EQ(cmp_queue_task_done(queue), 0);
        CHECK_EQ(cmp_queue_task_done(queue), -ERANGE);
        CHECK_EQ(cmp_queue_join(queue, TRY), 0);
    }
    fixture_close(&fixture);
}

TEST(put_many_and_take_many_keep_the_order_over_chunks)
{
    enum { N = 3000 };
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    static char bytes[N][120];
    static struct iovec parts[N];
    static struct cmp_message messages[N];
    for (uint64_t i = 0; i < N; i++) {
        item_fill(bytes[i], sizeof bytes[i], i);
        parts[i] = (struct iovec){bytes[i], sizeof bytes[i]};
        messages[i] = (struct cmp_message){.parts = &parts[i], .nparts = 1, .size = sizeof bytes[i], .tag = 7};
    }
    size_t done = 0;
    CHECK_EQ(cmp_queue_put_many(queue, messages, N, NEVER, &done), 0);
    CHECK_EQ(done, N);
    CHECK_EQ(cmp_queue_check(queue), 0);
    for (uint64_t seen = 0; seen < N;) {
        struct cmp_item items[CMP_QUEUE_TAKE_MAX];
        char room[8192];
        CHECK_EQ(cmp_queue_take_many(queue, items, CMP_QUEUE_TAKE_MAX, room, sizeof room, NEVER, &done), 0);
        CHECK(done > 0 && done <= CMP_QUEUE_TAKE_MAX);
        for (size_t i = 0; i < done; i++) CHECK_EQ(item_check(items[i].data, items[i].size), seen++);
    }
    fixture_close(&fixture);
}

TEST(put_many_stops_at_the_capacity)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 5);
    uint64_t numbers[8];
    struct iovec parts[8];
    struct cmp_message messages[8];
    for (uint64_t i = 0; i < 8; i++) {
        numbers[i] = i;
        parts[i] = (struct iovec){&numbers[i], 8};
        messages[i] = (struct cmp_message){.parts = &parts[i], .nparts = 1, .size = 8, .tag = 7};
    }
    size_t done = 99;
    CHECK_EQ(cmp_queue_put_many(queue, messages, 8, TRY, &done), -EAGAIN);
    CHECK_EQ(done, 5);
    CHECK_EQ(cmp_queue_put_many(queue, messages, 8, 1, &done), -ETIMEDOUT);
    CHECK_EQ(done, 0);
    for (uint64_t i = 0; i < 5; i++) CHECK_EQ(must_take(queue), i);
    fixture_close(&fixture);
}

TEST(claim_names_the_item_taken)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    struct cmp_taken taken;
    _Atomic uint64_t claim = 0;
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    CHECK_EQ(put_number(queue, 2, TRY), 0);
    CHECK_EQ(cmp_queue_take(queue, &taken, &claim, TRY), 0);
    CHECK_EQ(taken.index, 0);
    CHECK_EQ(cmp_load(&claim, relaxed), CMP_QUEUE_CLAIM(7, 0));
    CHECK_EQ(cmp_queue_take(queue, &taken, &claim, TRY), 0);
    CHECK_EQ(cmp_load(&claim, relaxed), CMP_QUEUE_CLAIM(7, 1));
    CHECK_EQ(cmp_queue_take(queue, &taken, &claim, TRY), -EAGAIN);
    CHECK_EQ(cmp_load(&claim, relaxed), CMP_QUEUE_CLAIM(7, 1));
    fixture_close(&fixture);
}

TEST(shutdown_refuses_puts_and_lets_the_rest_be_taken)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    uint64_t number;
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    CHECK_EQ(cmp_queue_shutdown(queue, false, NEVER), 0);
    CHECK_EQ(put_number(queue, 2, TRY), -EPIPE);
    CHECK_EQ(put_number(queue, 2, NEVER), -EPIPE);
    CHECK_EQ(must_take(queue), 1);
    CHECK_EQ(take_number(queue, &number, TRY), -EPIPE);
    CHECK_EQ(take_number(queue, &number, NEVER), -EPIPE);
    CHECK_EQ(cmp_queue_wait(queue, NEVER), -EPIPE);
    fixture_close(&fixture);
}

TEST(immediate_shutdown_throws_away_and_counts_as_done)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    uint64_t number;
    for (uint64_t i = 0; i < 1000; i++) CHECK_EQ(put_sized(queue, i, i % 10 == 0 ? 20000 : 500, NEVER), 0);
    CHECK_EQ(cmp_queue_join(queue, 1), -ETIMEDOUT);
    CHECK_EQ(cmp_queue_shutdown(queue, true, NEVER), 0);
    CHECK_EQ(cmp_queue_size(queue), 0);
    CHECK_EQ(take_number(queue, &number, TRY), -EPIPE);
    CHECK_EQ(cmp_queue_join(queue, TRY), 0);
    fixture_close(&fixture);
}

static void take_till_shut(void *arg)
{
    uint64_t number;
    CHECK_EQ(take_number(arg, &number, NEVER), -EPIPE);
}

TEST(shutdown_wakes_the_sleepers)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    pid_t first = test_child(take_till_shut, queue), second = test_child(take_till_shut, queue);
    WAIT_FOR((cmp_load(&queue->shm->items.word, acquire) & 3) == CMP_EC_SLEEPERS);
    CHECK_EQ(cmp_queue_shutdown(queue, false, NEVER), 0);
    test_join(first);
    test_join(second);
    fixture_close(&fixture);
}

static int stop_asked(void *arg)
{
    return cmp_load((_Atomic int *)arg, acquire) != 0 ? -ECANCELED : 0;
}

static void take_till_asked(void *arg)
{
    uint64_t number;
    CHECK_EQ(take_number(arg, &number, NEVER), -ECANCELED);
}

TEST(disturbed_sleeper_looks_at_its_own_business)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    _Atomic int *asked = test_shared(sizeof *asked);
    queue->on_look = stop_asked;
    queue->look_arg = asked;
    pid_t sleeper = test_child(take_till_asked, queue);
    WAIT_FOR((cmp_load(&queue->shm->items.word, acquire) & 3) == CMP_EC_SLEEPERS);
    cmp_store(asked, 1, release, "test.ask");
    cmp_queue_disturb(queue);
    test_join(sleeper);
    fixture_close(&fixture);
}

static bool readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

TEST(armed_eventfd_is_readable_exactly_while_items_are_there)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    int fd;
    CHECK_EQ(cmp_eventfd_create(&fd), 0);
    cmp_queue_use_eventfd(queue, fd);
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    CHECK(!readable(fd)); /* not armed: nobody pays for it */
    CHECK_EQ(cmp_queue_arm(queue, TRY), 0);
    CHECK(readable(fd));
    CHECK_EQ(put_number(queue, 2, TRY), 0);
    CHECK_EQ(must_take(queue), 1);
    CHECK(readable(fd));
    CHECK_EQ(must_take(queue), 2);
    CHECK(!readable(fd));
    CHECK_EQ(put_sized(queue, 3, 9000, NEVER), 0);
    CHECK(readable(fd));
    struct cmp_item items[8];
    char bytes[CMP_QUEUE_INLINE];
    size_t done;
    CHECK_EQ(cmp_queue_take_many(queue, items, 8, bytes, sizeof bytes, TRY, &done), 0);
    CHECK_EQ(done, 1);
    cmp_queue_release_item(queue, &items[0]);
    CHECK(!readable(fd));
    /* A taker killed before it lowered it: the next one who looks in vain does. */
    cmp_eventfd_raise(fd);
    uint64_t number;
    CHECK_EQ(take_number(queue, &number, TRY), -EAGAIN);
    CHECK(!readable(fd));
    close(fd);
    fixture_close(&fixture);
}

TEST(eventfd_raised_in_vain_is_settled_once_and_by_a_look)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    int fd;
    CHECK_EQ(cmp_eventfd_create(&fd), 0);
    cmp_queue_use_eventfd(queue, fd);
    CHECK_EQ(cmp_queue_arm(queue, TRY), 0);
    CHECK_EQ(cmp_queue_settle(queue, TRY), 0);
    /* A producer killed before it published, or a taker before it lowered. */
    cmp_eventfd_raise(fd);
    CHECK_EQ(cmp_queue_settle(queue, TRY), 1);
    CHECK(!readable(fd));
    CHECK_EQ(cmp_queue_settle(queue, TRY), 0);
    cmp_eventfd_raise(fd);
    CHECK_EQ(cmp_queue_wait(queue, TRY), -EAGAIN);
    CHECK(!readable(fd));
    /* An item that is there is no news in vain. */
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    CHECK_EQ(cmp_queue_settle(queue, TRY), 0);
    CHECK(readable(fd));
    CHECK_EQ(must_take(queue), 1);
    close(fd);
    fixture_close(&fixture);
}

TEST(eventfd_number_that_now_is_a_file_is_left_alone)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    int fd;
    CHECK_EQ(cmp_eventfd_create(&fd), 0);
    cmp_queue_use_eventfd(queue, fd);
    CHECK_EQ(cmp_queue_arm(queue, TRY), 0);
    FILE *file = tmpfile();
    CHECK(file != NULL);
    CHECK_EQ(dup2(fileno(file), fd), fd);
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    CHECK_EQ(must_take(queue), 1);
    CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
    fclose(file);
    close(fd);
    fixture_close(&fixture);
}

TEST(join_waits_for_every_item)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    CHECK_EQ(cmp_queue_join(queue, TRY), 0);
    CHECK_EQ(cmp_queue_task_done(queue), -ERANGE);
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    CHECK_EQ(put_number(queue, 2, TRY), 0);
    CHECK_EQ(cmp_queue_task_done(queue), 0);
    CHECK_EQ(cmp_queue_join(queue, TRY), -EAGAIN);
    CHECK_EQ(cmp_queue_join(queue, cmp_now_ns() + 10 * MS), -ETIMEDOUT);
    CHECK_EQ(cmp_queue_task_done(queue), 0);
    CHECK_EQ(cmp_queue_join(queue, TRY), 0);
    fixture_close(&fixture);
}

static void join_once(void *arg)
{
    CHECK_EQ(cmp_queue_join(arg, NEVER), 0);
}

TEST(joiner_notices_a_moment_without_unfinished_items)
{
    struct fixture fixture;
    struct cmp_queue *queue = fixture_open(&fixture, 0);
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    pid_t joiner = test_child(join_once, queue);
    WAIT_FOR((cmp_load(&queue->shm->dones_ec.word, acquire) & 3) == CMP_EC_SLEEPERS);
    /* Done, and at once something new: the joiner may wake up after that, and has to go all the same. */
    CHECK_EQ(cmp_queue_task_done(queue), 0);
    CHECK_EQ(put_number(queue, 2, TRY), 0);
    test_join(joiner);
    CHECK_EQ(cmp_queue_join(queue, TRY), -EAGAIN);
    fixture_close(&fixture);
}
