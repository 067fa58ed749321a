/* A process is killed before and after each named store of the allocator, the extents, the members, the sweep and the
 * event count; then the survivor finds everything whole, and nothing leaks. */
#include "crash.h"
#include "peek.h"

#include "os/clock.h"
#include "shm/block.h"
#include "shm/eventcount.h"
#include "shm/extent.h"
#include "shm/segment_layout.h"
#include "shm/sweep.h"

#include <errno.h>
#include <unistd.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

static struct cmp_segment segment;

static cmp_ref get(uint64_t size)
{
    static char bytes[4 * 1024 * 1024];
    cmp_ref block = 0;
    uint64_t warm;
    CHECK_EQ(cmp_block_alloc(&segment, size, false, &block, &warm), 0);
    CHECK_EQ(cmp_block_write(&segment, block, 0, bytes, size), 0);
    return block;
}

struct census {
    uint64_t kinds[16], bytes;
};

static void count_block(void *arg, cmp_ref block, _Atomic uint64_t *tenure)
{
    struct census *census = arg;
    uint64_t capacity = 0;
    (void)cmp_block_payload(&segment, block, &capacity);
    census->kinds[CMP_TENURE_KIND(cmp_load(tenure, relaxed))]++;
    census->bytes += capacity + 64;
}

/* What the survivor holds is `mine` blocks; all else has to come back, and to be usable again without growing. */
static void everything_is_back(uint64_t mine)
{
    struct census census = {0}, after = {0};
    (void)cmp_sweep(&segment);
    CHECK_EQ(cmp_block_check(&segment), 0);
    CHECK_EQ(cmp_block_walk(&segment, count_block, &census), 0);
    CHECK_EQ(census.kinds[CMP_TENURE_MEMBER], mine);
    CHECK_EQ(census.kinds[CMP_TENURE_RETURNED], 0);
    for (uint32_t slot = 0; slot < CMP_SEGMENT_MEMBERS; slot++) {
        cmp_owner owner = cmp_members_at(&segment.members, slot);
        CHECK(owner == 0 || owner == cmp_members_me(&segment.members));
    }
    cmp_ref again[8];
    uint64_t used = census.bytes;
    for (int i = 0; i < 8; i++) again[i] = get(60 * KIB);
    for (int i = 0; i < 8; i++) cmp_block_free(&segment, again[i]);
    CHECK_EQ(cmp_block_check(&segment), 0);
    CHECK_EQ(cmp_block_walk(&segment, count_block, &after), 0);
    /* At most what was not yet there of the eight. */
    CHECK(after.bytes <= used + 8 * 68 * KIB);
    cmp_block_trim(&segment, 0);
    CHECK_EQ(cmp_block_check(&segment), 0);
    CHECK(cmp_block_use(&segment).idle_bytes <= 4 * KIB * after.kinds[CMP_TENURE_FREE]);
}

static void use_memory(void *arg)
{
    cmp_ref held[12];
    (void)arg;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 12; i++) held[i] = get((UINT64_C(1) << (10 + i)) - 100);
        for (int i = 0; i < 12; i += 2) cmp_block_free(&segment, held[i]);
        for (int i = 0; i < 12; i += 2) held[i] = get(UINT64_C(1) << (11 + i / 2));
        for (int i = 0; i < 12; i++) cmp_block_free(&segment, held[i]);
        cmp_block_trim(&segment, round * MIB);
    }
}

static bool kill_user(const struct crash *crash, void *arg)
{
    CHECK_EQ(cmp_segment_create(&segment, 128, "cmp-test"), 0);
    cmp_ref mine = get(100 * KIB), other = get(100 * KIB);
    cmp_block_free(&segment, other);
    bool killed = crash_child(crash, use_memory, arg);
    everything_is_back(1);
    cmp_block_free(&segment, mine);
    everything_is_back(0);
    cmp_segment_close(&segment);
    return killed;
}

TEST(user_of_memory_killed_at_every_store)
{
    crash_everywhere(kill_user, NULL, 150);
}

static void get_one_stopped_at_the_new_extent(void *arg)
{
    (void)arg;
    CHECK_EQ(cmp_fault_arm("extent.publish", CMP_FAULT_AFTER, 0, SIGSTOP), 0);
    (void)get(60 * KIB);
}

/* Others may take all of an extent before the one that added it comes to take its part: it adds another. */
TEST(new_extent_that_others_have_used_up_is_no_lack_of_memory)
{
    cmp_ref block;
    uint64_t warm;
    int status, code;
    CHECK_EQ(cmp_segment_create(&segment, 256, "test"), 0);
    pid_t child = test_child(get_one_stopped_at_the_new_extent, NULL);
    CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
    CHECK(WIFSTOPPED(status));
    do code = cmp_block_alloc(&segment, 60 * KIB, true, &block, &warm);
    while (code == 0);
    CHECK_EQ(code, -EBUSY); /* whoever is stopped there holds the lock of growth */
    CHECK_EQ(kill(child, SIGCONT), 0);
    test_join(child);
    cmp_segment_close(&segment);
}

/* --- the one who cleans up is killed too --- */

static void hold_and_die(void *arg)
{
    (void)arg;
    for (int i = 0; i < 9; i++) (void)get(30 * KIB << i % 3);
    cmp_block_free(&segment, get(KIB));
    raise(SIGKILL);
}

static void sweep_and_use(void *arg)
{
    (void)cmp_sweep_dead(&segment);
    use_memory(arg);
}

static bool kill_sweeper(const struct crash *crash, void *arg)
{
    CHECK_EQ(cmp_segment_create(&segment, 128, "cmp-test"), 0);
    (void)test_reap(test_child(hold_and_die, NULL));
    bool killed = crash_child(crash, sweep_and_use, arg);
    everything_is_back(0);
    cmp_segment_close(&segment);
    return killed;
}

TEST(sweeper_killed_at_every_store)
{
    crash_everywhere(kill_sweeper, NULL, 150);
}

static void die_inside(void *arg)
{
    (void)arg;
    cmp_ref a = get(30 * KIB), b = get(30 * KIB);
    cmp_block_free(&segment, a);
    cmp_block_free(&segment, b);
    CHECK_EQ(wait_for_mutex(&segment.shm->blocks.lock), 0);
    cmp_store(&segment.shm->blocks.warm[3], b, relaxed, "test.damage");
    raise(SIGKILL);
}

static bool kill_repairer(const struct crash *crash, void *arg)
{
    CHECK_EQ(cmp_segment_create(&segment, 128, "cmp-test"), 0);
    (void)test_reap(test_child(die_inside, NULL));
    bool killed = crash_child(crash, use_memory, arg);
    everything_is_back(0);
    cmp_segment_close(&segment);
    return killed;
}

TEST(repairer_killed_at_every_store)
{
    crash_everywhere(kill_repairer, NULL, 150);
}

/* --- members --- */

static void come_and_go(void *arg)
{
    struct cmp_members *members = arg;
    for (int i = 0; i < 3; i++) {
        CHECK(CMP_OWNER_HAS_SLOT(cmp_members_me(members)));
        cmp_members_leave(members);
    }
}

static bool kill_member(const struct crash *crash, void *arg)
{
    struct cmp_members members;
    (void)arg;
    struct cmp_members_shm *shm = test_shared(CMP_MEMBERS_SIZE(1));
    cmp_members_init(shm, 1);
    CHECK_EQ(cmp_members_attach(&members, shm), 0);
    bool killed = crash_child(crash, come_and_go, &members);
    cmp_owner left = cmp_members_at(&members, 0);
    CHECK(left == 0 || (killed && cmp_members_dead(&members, left)));
    cmp_members_bury(&members, left);
    cmp_owner me = cmp_members_me(&members);
    CHECK(CMP_OWNER_HAS_SLOT(me) && me != left && !cmp_members_dead(&members, me));
    return killed;
}

TEST(member_killed_at_every_store)
{
    crash_everywhere(kill_member, NULL, 12);
}

/* --- the event count --- */

struct bin {
    struct cmp_eventcount ec;
    _Atomic int64_t tokens;
    _Atomic uint32_t over;
};

static int take_token(void *arg)
{
    struct bin *bin = arg;
    int64_t tokens = cmp_load(&bin->tokens, acquire);
    while (tokens > 0)
        if (cmp_cas(&bin->tokens, &tokens, tokens - 1, acq_rel, "test.take")) return 0;
    return cmp_load(&bin->over, acquire) ? -EPIPE : -EAGAIN;
}

static bool more_tokens(void *arg)
{
    return cmp_load(&((struct bin *)arg)->tokens, acquire) > 0;
}

static void throw_tokens(struct bin *bin, int n)
{
    for (int i = 0; i < n; i++) {
        cmp_rmw(fetch_add, &bin->tokens, 1, acq_rel, "test.throw");
        cmp_eventcount_notify_one(&bin->ec);
    }
}

static void throw_some(void *arg)
{
    throw_tokens(arg, 3);
}

static void take_until_over(void *arg)
{
    struct bin *bin = arg;
    int code;
    do code = cmp_eventcount_wait(&bin->ec, take_token, more_tokens, bin, cmp_now_ns() + 20000 * CMP_MS, 0, NULL);
    while (code == 0);
    CHECK_EQ(code, -EPIPE);
}

static void somebody_sleeps(struct bin *bin)
{
    WAIT_FOR((cmp_load(&bin->ec.word, acquire) & 3) == CMP_EC_SLEEPERS);
}

/* Whoever is left takes them, at the worst after a timed look. */
static void all_are_taken(struct bin *bin)
{
    int64_t start_ns = cmp_now_ns();
    WAIT_FOR(cmp_load(&bin->tokens, acquire) == 0);
    CHECK(cmp_now_ns() - start_ns < 1000 * CMP_MS);
}

static void finish(struct bin *bin, pid_t survivor)
{
    cmp_store(&bin->over, 1, release, "test.over");
    cmp_eventcount_notify_all(&bin->ec);
    test_join(survivor);
}

static bool kill_thrower(const struct crash *crash, void *arg)
{
    struct bin *bin = test_shared(sizeof *bin);
    (void)arg;
    pid_t sleeper = test_child(take_until_over, bin);
    somebody_sleeps(bin);
    bool killed = crash_child(crash, throw_some, bin);
    all_are_taken(bin);
    throw_tokens(bin, 1);
    all_are_taken(bin);
    finish(bin, sleeper);
    return killed;
}

TEST(notifier_killed_at_every_store)
{
    crash_everywhere(kill_thrower, NULL, 2);
}

/* Of two sleepers one is killed somewhere on its way through waiting, taking and handing on. */
static bool kill_waiter(const struct crash *crash, void *arg)
{
    struct bin *bin = test_shared(sizeof *bin);
    struct crash_part part = {crash, take_until_over, bin};
    (void)arg;
    pid_t victim = test_child(crash_run_armed, &part), survivor = test_child(take_until_over, bin);
    for (int i = 0; i < 6; i++) {
        /* One token: it is taken and nothing is left (settle); three: the wake-up is handed on (wake). */
        throw_tokens(bin, i % 2 == 0 ? 1 : 3);
        all_are_taken(bin);
    }
    finish(bin, survivor);
    return WIFSIGNALED(test_reap(victim));
}

TEST(waiter_killed_at_every_store)
{
    crash_everywhere(kill_waiter, NULL, 2); /* how many more is up to the scheduler */
}
