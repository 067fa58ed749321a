/* A process is killed before and after each named store of a queue, as a producer and as a taker; then the books are
 * made up: every item whose put returned comes exactly once and in order, only what the dead one's call had taken is
 * missing, the structure is whole, and its blocks have come back. */
#include "crowded.h"
#include "queue_fixture.h"

#include "os/eventfd.h"
#include "os/clock.h"
#include "os/fault.h"
#include "shm/sweep.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define ITEMS 120 /* over several chunks */
#define BATCH 7

enum role { PRODUCER, PRODUCER_BATCHES, TAKER, TAKER_BATCHES, TAKER_OF_DAMAGE, CLOSER, CLOSER_OF_DAMAGE };
static const unsigned passes[] = {0, 1, 2, 11, 30};

struct books {
    _Atomic uint64_t put;      /* items whose put returned, 0 to put - 1 */
    _Atomic uint64_t taken;    /* items whose take returned, and were seen whole */
    _Atomic uint64_t next;     /* the next number the dead taker would have expected */
};

struct run {
    struct fixture fixture;
    struct books *books;
    enum role role;
    const char *point;
    enum cmp_fault_side side;
    unsigned count;
};

static size_t size_for(uint64_t number)
{
    return number % 9 == 4 ? 7000 : 700 + number % 50;
}

static void produce(struct run *run)
{
    for (uint64_t i = 0; i < ITEMS; i++) {
        CHECK_EQ(put_sized(&run->fixture.queue, i, size_for(i), i % 2 == 0 ? NEVER : 1), 0);
        cmp_store(&run->books->put, i + 1, relaxed, "test.put");
    }
}

static void produce_batches(struct run *run)
{
    static char bytes[BATCH][8000];
    for (uint64_t i = 0; i < ITEMS;) {
        struct iovec parts[BATCH];
        struct cmp_message messages[BATCH];
        size_t n = 0, done;
        for (; n < BATCH && i + n < ITEMS; n++) {
            item_fill(bytes[n], size_for(i + n), i + n);
            parts[n] = (struct iovec){bytes[n], size_for(i + n)};
            messages[n] = (struct cmp_message){.parts = &parts[n], .nparts = 1, .size = parts[n].iov_len, .tag = 7};
        }
        CHECK_EQ(cmp_queue_put_many(&run->fixture.queue, messages, n, NEVER, &done), 0);
        i += done;
        cmp_store(&run->books->put, i, relaxed, "test.put");
    }
}

static void take_one_by_one(struct run *run)
{
    uint64_t number;
    for (uint64_t i = 0; i < ITEMS; i++) {
        CHECK_EQ(take_number(&run->fixture.queue, &number, i % 2 == 0 ? TRY : NEVER), 0);
        CHECK_EQ(number, i);
        cmp_store(&run->books->taken, i + 1, relaxed, "test.taken");
        (void)cmp_queue_task_done(&run->fixture.queue);
    }
}

static void take_batches(struct run *run)
{
    for (uint64_t i = 0; i < ITEMS;) {
        struct cmp_item items[BATCH];
        char bytes[2 * CMP_QUEUE_INLINE];
        size_t done;
        CHECK_EQ(cmp_queue_take_many(&run->fixture.queue, items, BATCH, bytes, sizeof bytes, NEVER, &done), 0);
        for (size_t k = 0; k < done; k++) {
            CHECK_EQ(item_check(items[k].data, items[k].size), i + k);
            cmp_queue_release_item(&run->fixture.queue, &items[k]);
        }
        i += done;
        cmp_store(&run->books->taken, i, relaxed, "test.taken");
    }
}

/* Takes all there is, each being done, also what cannot be read. */
static void take_damage(struct run *run, int64_t deadline_ns)
{
    for (;;) {
        uint64_t number;
        int code = take_number(&run->fixture.queue, &number, deadline_ns);
        if (code == -EAGAIN || code == -ETIMEDOUT) return;
        CHECK(code == 0 || code == -EBADMSG);
        /* Already done twice where the dead one had counted what the survivor passes over again. */
        (void)cmp_queue_task_done(&run->fixture.queue);
    }
}

static void lend(void *arg, cmp_ref block, _Atomic uint64_t *tenure)
{
    const struct run *run = arg;
    (void)block;
    uint64_t item = CMP_TENURE_OF_QUEUE(CMP_TENURE_ITEM, run->fixture.queue.shm->number, ITEMS - 8);
    if (cmp_load(tenure, relaxed) == item) cmp_store(tenure, item + ITEMS, relaxed, "test.lend");
}

/* The first record cannot be, so that its chunk is passed over, and a later one names a block that is not its own. */
static void damage(struct run *run)
{
    CHECK_EQ(size_for(ITEMS - 8), 7000);
    set_header(head_record(&run->fixture.queue), 0x7fffffff);
    CHECK_EQ(cmp_block_walk(&run->fixture.segment, lend, run), 0);
}

static void play(void *arg)
{
    struct run *run = arg;
    CHECK_EQ(cmp_fault_arm(run->point, run->side, run->count, SIGKILL), 0);
    switch (run->role) {
    case PRODUCER: produce(run); break;
    case PRODUCER_BATCHES: produce_batches(run); break;
    case TAKER: take_one_by_one(run); break;
    case TAKER_BATCHES: take_batches(run); break;
    case TAKER_OF_DAMAGE: take_damage(run, TRY); break;
    case CLOSER:
    case CLOSER_OF_DAMAGE: CHECK_EQ(cmp_queue_shutdown(&run->fixture.queue, true, NEVER), 0);
    }
    cmp_fault_disarm();
}

static void count_kinds(void *arg, cmp_ref block, _Atomic uint64_t *tenure)
{
    uint64_t *counts = arg;
    (void)block;
    counts[CMP_TENURE_KIND(cmp_load(tenure, relaxed))]++;
}

/* After the death of a producer: the survivor takes all. */
static void balance_producer(struct run *run)
{
    struct cmp_queue *queue = &run->fixture.queue;
    uint64_t number, came = 0, put = cmp_load(&run->books->put, relaxed);
    uint64_t may = put + (run->role == PRODUCER ? 1 : BATCH);
    CHECK_EQ(put_number(queue, 1000000, NEVER), 0);
    CHECK_EQ(cmp_queue_check(queue), 0);
    for (;; came++) {
        CHECK_EQ(take_number(queue, &number, 1), 0);
        if (number == 1000000) break;
        CHECK_EQ(number, came);
    }
    CHECK(came >= put && came <= may);
    CHECK_EQ(take_number(queue, &number, TRY), -EAGAIN);
}

/* After the death of a taker: the survivor takes the rest. */
static void balance_taker(struct run *run)
{
    struct cmp_queue *queue = &run->fixture.queue;
    uint64_t number, expect = cmp_load(&run->books->taken, relaxed);
    uint64_t lost_at_most = run->role == TAKER ? 1 : BATCH;
    if (expect < ITEMS) {
        if (cmp_queue_size(queue) > 0) {
            CHECK_EQ(take_number(queue, &number, 1), 0);
            CHECK(number >= expect && number <= expect + lost_at_most);
            for (expect = number + 1; expect < ITEMS; expect++) {
                CHECK_EQ(take_number(queue, &number, 1), 0);
                CHECK_EQ(number, expect);
            }
        } else {
            CHECK(ITEMS - expect <= lost_at_most);
        }
    }
    CHECK_EQ(take_number(queue, &number, 1), -ETIMEDOUT);
    CHECK_EQ(take_number(queue, &number, TRY), -EAGAIN);
}

/* After the death of one who took damage: the survivor takes the rest, and only what the dead one's call had taken is
 * for somebody else to be done. */
static void balance_damage(struct run *run, bool killed)
{
    struct cmp_queue *queue = &run->fixture.queue;
    take_damage(run, 1);
    take_damage(run, TRY);
    if (killed) (void)cmp_queue_task_done(queue);
    CHECK_EQ(cmp_queue_join(queue, TRY), 0);
}

/* Nothing of the dead is left. */
static void balance_blocks(struct cmp_segment *segment)
{
    uint64_t counts[16] = {0};
    (void)cmp_sweep(segment);
    CHECK_EQ(cmp_block_walk(segment, count_kinds, counts), 0);
    CHECK_EQ(counts[CMP_TENURE_MEMBER], 0);
    CHECK_EQ(counts[CMP_TENURE_ITEM], 0);
    CHECK(counts[CMP_TENURE_CHUNK] <= 1);
    CHECK_EQ(cmp_block_check(segment), 0);
}

static bool readable(int fd)
{
    struct pollfd asked = {.fd = fd, .events = POLLIN};
    return poll(&asked, 1, 0) == 1;
}

static bool was_killed(int status)
{
    if (!WIFSIGNALED(status)) CHECK_EQ(status, 0);
    else CHECK_EQ(WTERMSIG(status), SIGKILL);
    return WIFSIGNALED(status);
}

/* True if the point was reached. */
static bool run_once(enum role role, bool armed, bool crowded, const char *point, enum cmp_fault_side side,
                     unsigned count)
{
    struct run run = {.role = role, .point = point, .side = side, .count = count};
    struct cmp_queue *queue = fixture_open(&run.fixture, ITEMS + 1);
    run.books = test_shared(sizeof *run.books);
    int event_fd;
    CHECK_EQ(cmp_eventfd_create(&event_fd), 0);
    cmp_queue_use_eventfd(queue, event_fd);
    if (armed) CHECK_EQ(cmp_queue_arm(queue, NEVER), 0);
    if (crowded) crowd(&run.fixture.segment.members);
    if (role >= TAKER)
        for (uint64_t i = 0; i < ITEMS; i++) CHECK_EQ(put_sized(queue, i, size_for(i), NEVER), 0);
    if (role == TAKER_OF_DAMAGE || role == CLOSER_OF_DAMAGE) damage(&run);
    bool reached = was_killed(test_reap(test_child(play, &run)));
    /* Who only waits for the descriptor hears of every item. */
    if (armed && cmp_queue_size(queue) > 0) CHECK(readable(event_fd));
    if (role >= CLOSER) {
        uint64_t number;
        /* Who joins needs nobody to shut it once more. */
        if (cmp_load(&queue->shm->shut, relaxed) != 0) {
            CHECK_EQ(cmp_queue_join(queue, NEVER), 0);
            CHECK_EQ(cmp_queue_size(queue), 0);
        }
        CHECK_EQ(cmp_queue_shutdown(queue, true, NEVER), 0);
        CHECK_EQ(cmp_queue_size(queue), 0);
        CHECK_EQ(take_number(queue, &number, TRY), -EPIPE);
    } else if (role == TAKER_OF_DAMAGE) {
        balance_damage(&run, reached);
    } else if (role >= TAKER) {
        balance_taker(&run);
    } else {
        balance_producer(&run);
    }
    /* Each ended with a look in vain or a shutdown: by now the eventfd says what is so. */
    if (armed && role < CLOSER) CHECK(!readable(event_fd));
    balance_blocks(&run.fixture.segment);
    fixture_close(&run.fixture);
    close(event_fd);
    return reached;
}

/* --- two that sleep side by side, and one of them is killed --- */

#define TURNS 25

struct pair {
    struct fixture fixture;
    _Atomic uint32_t *seen;    /* per item, how often it was taken */
    _Atomic uint64_t *put;     /* by the victim, and returned */
    bool victim;
    const char *point;
    enum cmp_fault_side side;
    unsigned count;
};

static void arm_victim(const struct pair *pair)
{
    if (pair->victim) CHECK_EQ(cmp_fault_arm(pair->point, pair->side, pair->count, SIGKILL), 0);
}

static void take_until_shut(void *arg)
{
    struct pair *pair = arg;
    uint64_t number;
    arm_victim(pair);
    while (take_number(&pair->fixture.queue, &number, NEVER) == 0)
        (void)cmp_rmw(fetch_add, &pair->seen[number], 1, relaxed, "test.seen");
    cmp_fault_disarm();
}

static void put_turns(void *arg)
{
    struct pair *pair = arg;
    arm_victim(pair);
    for (uint64_t i = 0; i < TURNS; i++) {
        CHECK_EQ(put_sized(&pair->fixture.queue, pair->victim ? i : 1000 + i, size_for(i), NEVER), 0);
        if (pair->victim) cmp_store(pair->put, i + 1, relaxed, "test.put");
    }
    cmp_fault_disarm();
}

static bool run_takers(const char *point, enum cmp_fault_side side, unsigned count)
{
    struct pair pair = {.point = point, .side = side, .count = count};
    struct cmp_queue *queue = fixture_open(&pair.fixture, 0);
    pair.seen = test_shared(TURNS * sizeof *pair.seen);
    pid_t survivor = test_child(take_until_shut, &pair);
    pair.victim = true;
    pid_t victim = test_child(take_until_shut, &pair);
    for (uint64_t i = 0; i < TURNS; i++) {
        CHECK_EQ(put_sized(queue, i, size_for(i), NEVER), 0);
        test_pause();
    }
    WAIT_FOR(cmp_queue_size(queue) == 0);
    CHECK_EQ(cmp_queue_shutdown(queue, false, NEVER), 0);
    bool killed = was_killed(test_reap(victim));
    test_join(survivor);
    int missing = 0;
    for (uint64_t i = 0; i < TURNS; i++) {
        CHECK(cmp_load(&pair.seen[i], relaxed) <= 1);
        missing += cmp_load(&pair.seen[i], relaxed) == 0;
    }
    CHECK(missing <= killed);
    balance_blocks(&pair.fixture.segment);
    fixture_close(&pair.fixture);
    return killed;
}

static bool run_producers(const char *point, enum cmp_fault_side side, unsigned count)
{
    struct pair pair = {.point = point, .side = side, .count = count};
    struct cmp_queue *queue = fixture_open(&pair.fixture, 1);
    pair.put = test_shared(sizeof *pair.put);
    pid_t survivor = test_child(put_turns, &pair);
    pair.victim = true;
    pid_t victim = test_child(put_turns, &pair);
    uint64_t of_victim = 0, of_survivor = 0;
    int status;
    bool ended = false, killed = false;
    while (!ended || of_survivor < TURNS || cmp_queue_size(queue) > 0) {
        uint64_t number;
        int code = take_number(queue, &number, cmp_now_ns() + 5 * CMP_MS);
        if (code == 0 && number < 1000) CHECK_EQ(number, of_victim++);
        else if (code == 0) CHECK_EQ(number, 1000 + of_survivor++);
        else CHECK_EQ(code, -ETIMEDOUT);
        test_pause();
        if (!ended && waitpid(victim, &status, WNOHANG) == victim) {
            ended = true;
            killed = was_killed(status);
        }
    }
    test_join(survivor);
    uint64_t put = cmp_load(pair.put, relaxed);
    CHECK(of_victim >= put && of_victim <= put + killed);
    /* A chunk that the victim linked last has nothing in it yet. */
    uint64_t last;
    CHECK_EQ(put_number(queue, 1, NEVER), 0);
    CHECK_EQ(take_number(queue, &last, NEVER), 0);
    balance_blocks(&pair.fixture.segment);
    fixture_close(&pair.fixture);
    return killed;
}

/* --- all of it --- */

typedef bool (*one_run)(const char *point, enum cmp_fault_side side, unsigned count);

#define ROLE(name, role, armed) ROLE_OF(name, role, armed, false)
#define ROLE_OF(name, role, armed, crowded)                                              \
    static bool name(const char *point, enum cmp_fault_side side, unsigned count)        \
    {                                                                                    \
        return run_once(role, armed, crowded, point, side, count);                       \
    }
ROLE(producer, PRODUCER, false)
ROLE(producer_armed, PRODUCER, true)
ROLE(producer_of_batches, PRODUCER_BATCHES, true)
ROLE(taker, TAKER, false)
ROLE(taker_armed, TAKER, true)
ROLE(taker_of_batches, TAKER_BATCHES, true)
ROLE(taker_of_damage, TAKER_OF_DAMAGE, false)
ROLE(taker_of_damage_armed, TAKER_OF_DAMAGE, true)
ROLE(closer, CLOSER, false)
ROLE(closer_of_damage, CLOSER_OF_DAMAGE, false)
ROLE_OF(producer_without_a_slot, PRODUCER_BATCHES, false, true)
ROLE_OF(taker_without_a_slot, TAKER_BATCHES, true, true)

/* Every name there is, both sides, at its first passes and at some later ones: at least so many kills have to find
 * their point. */
static void crash(one_run run, int at_least)
{
    int kills = 0;
    const char *name;
    for (size_t i = 0; (name = cmp_fault_name(i)) != NULL; i++) {
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++) seen = strcmp(name, cmp_fault_name(k)) == 0;
        if (seen || strncmp(name, "test.", 5) == 0) continue;
        for (enum cmp_fault_side side = CMP_FAULT_BEFORE; side <= CMP_FAULT_AFTER; side++)
            for (size_t k = 0; k < sizeof passes / sizeof *passes; k++) {
                if (!run(name, side, passes[k])) break;
                kills++;
            }
    }
    if (kills < at_least) test_fail(__FILE__, __LINE__, "only %d kills found their point", kills);
}

static void put_and_stop(void *arg)
{
    struct run *run = arg;
    CHECK_EQ(cmp_fault_arm(run->point, CMP_FAULT_AFTER, 0, SIGSTOP), 0);
    CHECK_EQ(put_sized(&run->fixture.queue, 1, 100000, NEVER), 0);
    cmp_fault_disarm();
}

/* A producer that stands still inside an internal lock delays others; their deadlines hold. */
static void stop_at(const char *point)
{
    struct run run = {.point = point};
    struct cmp_queue *queue = fixture_open(&run.fixture, 0);
    uint64_t number;
    int status;
    pid_t child = test_child(put_and_stop, &run);
    CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
    CHECK(WIFSTOPPED(status));
    CHECK_EQ(put_sized(queue, 2, 100000, cmp_now_ns() + 100 * CMP_MS), -ETIMEDOUT);
    CHECK_EQ(kill(child, SIGCONT), 0);
    test_join(child);
    CHECK_EQ(put_sized(queue, 3, 100000, NEVER), 0);
    CHECK_EQ(take_number(queue, &number, NEVER), 0);
    CHECK_EQ(number, 1);
    CHECK_EQ(take_number(queue, &number, NEVER), 0);
    CHECK_EQ(number, 3);
    fixture_close(&run.fixture);
}

TEST(deadline_holds_while_another_stands_still_in_the_allocator) { stop_at("block.mark"); }
TEST(deadline_holds_while_another_stands_still_in_growth) { stop_at("extent.used"); }
TEST(deadline_holds_while_another_stands_still_in_its_put) { stop_at("queue.publish"); }

TEST(producer_killed_at_every_store) { crash(producer, 60); }
TEST(producer_to_an_armed_queue_killed_at_every_store) { crash(producer_armed, 60); }
TEST(producer_of_batches_killed_at_every_store) { crash(producer_of_batches, 60); }
TEST(taker_killed_at_every_store) { crash(taker, 50); }
TEST(taker_from_an_armed_queue_killed_at_every_store) { crash(taker_armed, 50); }
TEST(taker_of_batches_killed_at_every_store) { crash(taker_of_batches, 50); }
TEST(immediate_shutdown_killed_at_every_store) { crash(closer, 20); }
TEST(taker_of_damage_killed_at_every_store) { crash(taker_of_damage, 30); }
TEST(taker_of_damage_from_an_armed_queue_killed_at_every_store) { crash(taker_of_damage_armed, 30); }
TEST(immediate_shutdown_of_damage_killed_at_every_store) { crash(closer_of_damage, 20); }
TEST(producer_without_a_slot_killed_at_every_store) { crash(producer_without_a_slot, 60); }
TEST(taker_without_a_slot_killed_at_every_store) { crash(taker_without_a_slot, 50); }
TEST(sleeping_taker_killed_at_every_store) { crash(run_takers, 20); }
TEST(sleeping_producer_killed_at_every_store) { crash(run_producers, 20); }
