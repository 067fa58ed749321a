/* A process that cannot map an extent (address space spent, descriptor closed by user code) must not take what it
 * cannot see for damage: nothing is passed over, nothing is left unrepaired, and others go on. */
#include "queue_fixture.h"

#include "shm/block_layout.h"
#include "shm/extent.h"
#include "shm/sweep.h"

#include <signal.h>
#include <unistd.h>

#define LARGE 100000

/* A second process's view of the fixture: a fresh attachment whose extents are yet to be mapped, blind or seeing. */
struct view {
    struct cmp_segment segment;
    struct cmp_queue queue;
    int kept_fd;
};

static struct cmp_queue *view_open(struct view *view, struct fixture *fixture)
{
    int fd = dup(fixture->segment.fd);
    CHECK(fd >= 0);
    CHECK_EQ(cmp_segment_attach(&view->segment, fd), 0);
    CHECK_EQ(cmp_queue_attach(&view->queue, &view->segment, cmp_segment_root(&view->segment)), 0);
    view->kept_fd = -1;
    return &view->queue;
}

static void view_blind(struct view *view)
{
    view->kept_fd = dup(view->segment.fd);
    CHECK(view->kept_fd >= 0);
    CHECK_EQ(close(view->segment.fd), 0);
}

static void view_heal(struct view *view)
{
    CHECK_EQ(dup2(view->kept_fd, view->segment.fd), view->segment.fd);
    CHECK_EQ(close(view->kept_fd), 0);
}

static void die_with_put_lock(void *arg)
{
    CHECK_EQ(cmp_queue_lock_put(arg, NEVER), 0);
    kill(getpid(), SIGKILL);
}

static void die_with_take_lock(void *arg)
{
    CHECK_EQ(cmp_queue_lock_take(arg, NEVER), 0);
    kill(getpid(), SIGKILL);
}

/* As the one that holds the first item's block when it dies, before the head moves. */
static void die_holding_a_block(void *arg)
{
    struct cmp_queue *queue = arg;
    struct cmp_chunk chunk = {0};
    struct cmp_record_view record;
    CHECK_EQ(cmp_queue_lock_take(queue, NEVER), 0);
    CHECK_EQ(cmp_chunk_view(queue->segment, cmp_queue_head_chunk(queue->shm), &chunk), 0);
    CHECK_EQ(cmp_record_read(chunk.shm->records, chunk.size, &record), 0);
    cmp_owner me = cmp_members_me(&queue->segment->members);
    cmp_store(cmp_block_tenure(queue->segment, record.block), CMP_TENURE(CMP_TENURE_MEMBER, me), release, "test.hold");
    kill(getpid(), SIGKILL);
}

static void die_with_the_allocators_lock(void *arg)
{
    CHECK_EQ(cmp_block_lock(((struct cmp_queue *)arg)->segment, false), 0);
    kill(getpid(), SIGKILL);
}

static void kill_child(void (*body)(void *), struct cmp_queue *queue)
{
    CHECK_EQ(test_reap(test_child(body, queue)), SIGKILL);
}

TEST(take_of_an_item_that_cannot_be_seen_leaves_it)
{
    struct fixture fixture;
    struct view view;
    struct cmp_queue *queue = fixture_open(&fixture, 0), *other = view_open(&view, &fixture);
    uint64_t number;
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    CHECK_EQ(put_sized(queue, 2, LARGE, NEVER), 0);
    view_blind(&view);
    CHECK_EQ(take_number(other, &number, TRY), -EBADF);
    CHECK_EQ(take_number(other, &number, NEVER), -EBADF);
    CHECK_EQ(cmp_queue_size(queue), 2);
    view_heal(&view);
    CHECK_EQ(must_take(other), 1);
    CHECK_EQ(must_take(queue), 2);
    cmp_segment_close(&view.segment);
    fixture_close(&fixture);
}

TEST(take_of_a_block_in_an_extent_that_cannot_be_seen_leaves_it)
{
    struct fixture fixture;
    struct view view;
    struct cmp_queue *queue = fixture_open(&fixture, 0), *other = view_open(&view, &fixture);
    uint64_t number;
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    CHECK_EQ(must_take(other), 1); /* the first extent is mapped here, those to come are not */
    uint32_t before = cmp_extent_count(&fixture.segment);
    for (uint64_t i = 0; cmp_extent_count(&fixture.segment) == before || i < 4; i++)
        CHECK_EQ(put_sized(queue, i, LARGE, NEVER), 0);
    view_blind(&view);
    uint64_t left = cmp_queue_size(queue), taken = 0;
    int code;
    while ((code = take_number(other, &number, TRY)) == 0 || code == -EBUSY)
        if (code == 0) CHECK_EQ(number, taken++);
    CHECK_EQ(code, -EBADF);
    CHECK_EQ(cmp_queue_size(queue), left - taken);
    view_heal(&view);
    while (taken < left) CHECK_EQ(must_take(other), taken++);
    cmp_segment_close(&view.segment);
    fixture_close(&fixture);
}

TEST(put_behind_a_chunk_that_cannot_be_seen_says_so)
{
    struct fixture fixture;
    struct view view;
    struct cmp_queue *queue = fixture_open(&fixture, 0), *other = view_open(&view, &fixture);
    CHECK_EQ(put_number(queue, 1, TRY), 0);
    view_blind(&view);
    CHECK_EQ(put_number(other, 2, TRY), -EBADF);
    view_heal(&view);
    CHECK_EQ(put_number(other, 3, TRY), 0);
    CHECK_EQ(must_take(queue), 1);
    CHECK_EQ(must_take(queue), 3);
    cmp_segment_close(&view.segment);
    fixture_close(&fixture);
}

TEST(repair_that_cannot_be_done_here_is_done_by_the_next)
{
    static void (*const deaths[])(void *) = {die_with_put_lock, die_with_take_lock, die_holding_a_block};
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        struct fixture fixture;
        struct view view;
        struct cmp_queue *queue = fixture_open(&fixture, 0), *other = view_open(&view, &fixture);
        uint64_t number;
        CHECK_EQ(put_sized(queue, 1, LARGE, NEVER), 0);
        CHECK_EQ(put_number(queue, 2, TRY), 0);
        kill_child(deaths[i], queue);
        view_blind(&view);
        if (deaths[i] == die_with_put_lock) CHECK_EQ(put_number(other, 3, TRY), -EBADF);
        else CHECK_EQ(take_number(other, &number, TRY), -EBADF);
        CHECK_EQ(cmp_queue_repairs(queue), 1);
        (void)cmp_sweep(&view.segment);
        if (deaths[i] != die_with_put_lock) CHECK_EQ(take_number(other, &number, TRY), -EBADF);
        CHECK_EQ(must_take(queue), 1);
        CHECK_EQ(must_take(queue), 2);
        CHECK_EQ(put_number(queue, 4, TRY), 0);
        CHECK_EQ(cmp_load(&queue->shm->put_broken, relaxed) + cmp_load(&queue->shm->take_broken, relaxed), 0);
        view_heal(&view);
        CHECK_EQ(must_take(other), 4);
        cmp_segment_close(&view.segment);
        fixture_close(&fixture);
    }
}

TEST(free_blocks_that_cannot_be_seen_are_listed_by_the_next)
{
    struct fixture fixture;
    struct view view;
    struct cmp_queue *queue = fixture_open(&fixture, 0), *other = view_open(&view, &fixture);
    CHECK_EQ(put_sized(queue, 1, LARGE, NEVER), 0);
    CHECK_EQ(must_take(queue), 1);
    kill_child(die_with_the_allocators_lock, queue);
    view_blind(&view);
    CHECK(cmp_block_check(other->segment) < 0);
    CHECK_EQ(cmp_block_check(queue->segment), 0);
    view_heal(&view);
    CHECK_EQ(cmp_block_check(other->segment), 0);
    cmp_segment_close(&view.segment);
    fixture_close(&fixture);
}
