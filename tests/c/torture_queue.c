/* Producers and takers of two queues in one segment, killed, stopped and continued at random instants; then the books
 * are made up. TORTURE_S seconds (3), TORTURE_SEED for a run again (the kills' instants are the machine's own). */
#include "queue_fixture.h"
#include "shm/block.h"
#include "shm/segment_layout.h"
#include "shm/sweep.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PRODUCERS 3
#define TAKERS 3
#define ROLES (PRODUCERS + TAKERS)
#define LIVES 6000 /* producers born in one run, at most */
#define ITEMS 2048 /* per producer's life */
#define CAPACITY 40

struct books {
    _Atomic uint32_t put[LIVES];              /* items whose put returned */
    _Atomic uint64_t seen[LIVES][ITEMS / 64]; /* items that came, a bit each */
    _Atomic uint32_t twice, damaged;
};

static struct cmp_segment segment;
static struct cmp_queue queues[2];
static struct books *books;

static size_t size_for(uint32_t life, uint32_t item)
{
    uint32_t mix = (life * 2654435761u) ^ (item * 40503u);
    switch (mix % 16) {
    case 0: return 100000 + mix % 300000; /* blocks of several classes */
    case 1:
    case 2: return 5000 + mix % 20000;
    default: return 8 + mix % 3000;
    }
}

static void produce(void *arg)
{
    uint32_t life = *(uint32_t *)arg;
    struct cmp_queue *queue = &queues[life % 2];
    for (uint32_t item = 0; item < ITEMS; item++) {
        CHECK_EQ(put_sized(queue, (uint64_t)life << 32 | item, size_for(life, item), NEVER), 0);
        cmp_store(&books->put[life], item + 1, release, "test.put");
    }
}

static void note(uint64_t number, size_t size)
{
    uint32_t life = (uint32_t)(number >> 32), item = (uint32_t)number;
    if (life >= LIVES || item >= ITEMS || size != size_for(life, item)) {
        cmp_rmw(fetch_add, &books->damaged, 1, relaxed, "test.damaged");
        return;
    }
    uint64_t bit = UINT64_C(1) << item % 64;
    if (cmp_rmw(fetch_or, &books->seen[life][item / 64], bit, acq_rel, "test.seen") & bit)
        cmp_rmw(fetch_add, &books->twice, 1, relaxed, "test.twice");
}

static int take_one(struct cmp_queue *queue, int64_t deadline_ns)
{
    struct cmp_taken taken;
    int code;
    do code = cmp_queue_take(queue, &taken, NULL, deadline_ns);
    while (code == -EINTR);
    if (code < 0) return code;
    note(item_check(taken.data, taken.size), taken.size);
    cmp_queue_release(queue, &taken);
    return 0;
}

static void take_for_ever(void *arg)
{
    struct cmp_queue *queue = &queues[*(uint32_t *)arg % 2];
    for (;;) CHECK_EQ(take_one(queue, NEVER), 0);
}

static void sleep_us(unsigned us)
{
    struct timespec moment = {.tv_nsec = us * 1000L};
    nanosleep(&moment, NULL);
}

struct crew {
    pid_t pid[ROLES];
    uint32_t lives, kills, taker_kills;
};

static void fill(struct crew *crew, int role)
{
    uint32_t number = role < PRODUCERS ? crew->lives++ : (uint32_t)role;
    crew->pid[role] = test_child(role < PRODUCERS ? produce : take_for_ever, &number);
}

/* A producer that has done its share ends by itself; whoever ends otherwise than by our kill has failed. */
static void fell(struct crew *crew, int role, bool kill_it)
{
    int status;
    if (kill_it) {
        (void)kill(crew->pid[role], SIGKILL);
        status = test_reap(crew->pid[role]);
    } else if (waitpid(crew->pid[role], &status, WNOHANG) == 0) {
        return;
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        crew->kills++;
        if (role >= PRODUCERS) crew->taker_kills++;
    } else {
        CHECK_EQ(status, 0);
    }
    crew->pid[role] = 0;
}

static void drain(struct cmp_queue *queue)
{
    while (take_one(queue, 1) == 0) {}
    CHECK_EQ(cmp_queue_size(queue), 0);
    CHECK_EQ(cmp_queue_check(queue), 0);
}

/* Items whose put returned and that did not come. */
static uint32_t count_missing(uint32_t lives)
{
    uint32_t missing = 0;
    for (uint32_t life = 0; life < lives; life++) {
        uint32_t put = cmp_load(&books->put[life], relaxed);
        for (uint32_t item = 0; item < ITEMS; item++) {
            bool seen = cmp_load(&books->seen[life][item / 64], relaxed) >> item % 64 & 1;
            if (item < put && !seen) missing++;
            if (item > put) CHECK(!seen); /* the one of the call it was inside of may have come */
        }
    }
    return missing;
}

static void count_kinds(void *arg, cmp_ref block, _Atomic uint64_t *tenure)
{
    uint64_t *counts = arg;
    (void)block;
    counts[CMP_TENURE_KIND(cmp_load(tenure, relaxed))]++;
}

static void nothing_is_left(void)
{
    uint64_t counts[16] = {0};
    (void)cmp_sweep(&segment);
    CHECK_EQ(cmp_block_check(&segment), 0);
    CHECK_EQ(cmp_block_walk(&segment, count_kinds, counts), 0);
    CHECK_EQ(counts[CMP_TENURE_MEMBER], 0);
    CHECK_EQ(counts[CMP_TENURE_ITEM], 0);
    CHECK_EQ(counts[CMP_TENURE_RETURNED], 0);
    CHECK(counts[CMP_TENURE_CHUNK] <= 2);
    for (uint32_t slot = 0; slot < CMP_SEGMENT_MEMBERS; slot++) {
        cmp_owner owner = cmp_members_at(&segment.members, slot);
        CHECK(owner == 0 || owner == cmp_members_me(&segment.members));
    }
}

TEST(every_item_put_arrives_once_whoever_is_killed)
{
    const char *seconds = getenv("TORTURE_S"), *seeded = getenv("TORTURE_SEED");
    unsigned seed = seeded != NULL ? (unsigned)strtoul(seeded, NULL, 10) : (unsigned)time(NULL) ^ (unsigned)getpid();
    int64_t end_ns = cmp_now_ns() + (seconds != NULL ? atoi(seconds) : 3) * 1000 * CMP_MS;
    char text[40];
    snprintf(text, sizeof text, "seed %u", seed);
    test_note(text);
    size_t each = (cmp_queue_shm_size() + 127) / 128 * 128;
    CHECK_EQ(cmp_segment_create(&segment, 2 * each, "cmp-test"), 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(cmp_queue_init(&queues[i], &segment,
                                (struct cmp_queue_shm *)((char *)cmp_segment_root(&segment) + i * each),
                                i == 0 ? 0 : CAPACITY),
                 0);
    books = test_shared(sizeof *books);
    struct crew crew = {.lives = 0};
    while (cmp_now_ns() < end_ns && crew.lives < LIVES - PRODUCERS) {
        for (int role = 0; role < ROLES; role++)
            if (crew.pid[role] == 0) fill(&crew, role);
        int victim = (int)(rand_r(&seed) % ROLES);
        sleep_us(rand_r(&seed) % 4000);
        if (rand_r(&seed) % 8 == 0) {
            (void)kill(crew.pid[victim], SIGSTOP);
            sleep_us(rand_r(&seed) % 3000);
            (void)kill(crew.pid[victim], SIGCONT);
        }
        /* The unbounded queue should not grow for ever: producers are killed somewhat more often. */
        bool spared = victim >= PRODUCERS && rand_r(&seed) % 2;
        fell(&crew, victim, !spared);
    }
    for (int role = 0; role < ROLES; role++)
        if (crew.pid[role] != 0) fell(&crew, role, true);
    for (int i = 0; i < 2; i++) drain(&queues[i]);
    uint32_t missing = count_missing(crew.lives);
    CHECK_EQ(cmp_load(&books->twice, relaxed), 0);
    CHECK_EQ(cmp_load(&books->damaged, relaxed), 0);
    CHECK(missing <= crew.taker_kills);
    nothing_is_left();
    uint32_t met = cmp_load(&queues[0].shm->repairs, relaxed) + cmp_load(&queues[1].shm->repairs, relaxed);
    printf("torture: seed %u, %u kills, %u dead owners met, %u items of killed takers, %u extents\n", seed, crew.kills,
           met, missing, cmp_load(&segment.shm->nextents, relaxed));
    cmp_segment_close(&segment);
}
