#include "runner.h"

#include "os/clock.h"
#include "os/procstat.h"
#include "shm/member.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct cmp_members handle; /* inherited by forked children, as in Python */

static void fresh(uint32_t nslots)
{
    struct cmp_members_shm *shm = test_shared(CMP_MEMBERS_SIZE(nslots));
    cmp_members_init(shm, nslots);
    CHECK_EQ(cmp_members_attach(&handle, shm), 0);
}

static uint32_t slot_number(cmp_owner owner)
{
    return (uint32_t)(owner >> 32) - 1;
}

static struct cmp_member_shm *slot(uint32_t i)
{
    return &handle.shm->slots[i];
}

/* A child that joins, tells who it is, and waits to be killed. */
static _Atomic uint64_t *told;

static void join_and_tell(void *arg)
{
    (void)arg;
    cmp_store(told, cmp_members_me(&handle), release, "test.told");
    for (;;) pause();
}

static pid_t joined_child(cmp_owner *owner)
{
    told = test_shared(sizeof *told);
    pid_t pid = test_child(join_and_tell, NULL);
    WAIT_FOR(cmp_load(told, acquire) != 0);
    *owner = cmp_load(told, acquire);
    return pid;
}

static _Atomic bool enough;

/* Comes and goes, as quickly as can be. */
static void *stay_for_moments(void *arg)
{
    struct cmp_members *members = arg;
    while (!cmp_load(&enough, relaxed)) {
        cmp_owner me = cmp_members_me(members);
        /* While a member is there nobody may have found that very member dead, be it before it came. */
        cmp_owner buried = cmp_load(told, acquire);
        for (int i = 0; i < 20; i++) cmp_relax();
        CHECK(buried != me && cmp_load(told, acquire) != me);
        cmp_members_leave(members);
    }
    return NULL;
}

TEST(a_member_to_come_is_not_found_dead)
{
    fresh(1);
    struct cmp_members other;
    CHECK_EQ(cmp_members_attach(&other, handle.shm), 0);
    told = test_shared(sizeof *told);
    cmp_private_store(&enough, false, relaxed);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, stay_for_moments, &other), 0);
    int64_t end_ns = cmp_now_ns() + 1000 * CMP_MS; /* long before, where nothing slows it down */
    for (int i = 0; i < 20 * 1000 * 1000 && (i % 1024 != 0 || cmp_now_ns() < end_ns); i++) {
        cmp_owner owner = cmp_members_at(&handle, 0);
        if (owner != 0 && cmp_members_dead(&handle, owner)) cmp_store(told, owner, release, "test.told");
    }
    cmp_private_store(&enough, true, relaxed);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

TEST(joining_takes_one_slot_and_keeps_it)
{
    fresh(8);
    CHECK(!cmp_members_joined(&handle));
    cmp_owner me = cmp_members_me(&handle);
    CHECK_EQ(slot_number(me), 0);
    CHECK_EQ(cmp_members_me(&handle), me);
    CHECK(cmp_members_joined(&handle));
    CHECK(!cmp_members_dead(&handle, me));
    CHECK_EQ(cmp_members_pid(&handle, me), getpid());
    CHECK_EQ(cmp_members_at(&handle, 0), me);
    CHECK_EQ(cmp_members_at(&handle, 1), 0);
    CHECK_EQ(cmp_members_at(&handle, 8), 0);
}

TEST(forked_child_is_another_member)
{
    fresh(8);
    cmp_owner me = cmp_members_me(&handle), child;
    pid_t pid = joined_child(&child);
    CHECK(child != me);
    CHECK_EQ(cmp_members_pid(&handle, child), pid);
    CHECK(!cmp_members_dead(&handle, child));
    test_kill(pid);
    CHECK(cmp_members_dead(&handle, child));
    CHECK(!cmp_members_dead(&handle, me));
}

TEST(unreaped_zombie_is_dead)
{
    fresh(8);
    cmp_owner child;
    pid_t pid = joined_child(&child);
    siginfo_t facts;
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitid(P_PID, (id_t)pid, &facts, WEXITED | WNOWAIT), 0);
    CHECK_EQ(kill(pid, 0), 0); /* what would have been the wrong question */
    CHECK(cmp_members_dead(&handle, child));
    (void)test_reap(pid);
}

static void *join_from_a_thread(void *arg)
{
    join_and_tell(arg);
    return NULL;
}

static void leave_it_to_a_thread(void *arg)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, join_from_a_thread, arg), 0);
    pthread_exit(NULL);
}

static bool looks_like_a_zombie(pid_t pid)
{
    char path[40], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    CHECK(file != NULL && fgets(text, sizeof text, file) != NULL);
    fclose(file);
    return strstr(text, ") Z ") != NULL;
}

TEST(process_whose_first_thread_has_ended_is_alive)
{
    fresh(8);
    told = test_shared(sizeof *told);
    pid_t pid = test_child(leave_it_to_a_thread, NULL);
    WAIT_FOR(cmp_load(told, acquire) != 0);
    WAIT_FOR(looks_like_a_zombie(pid));
    CHECK(!cmp_members_dead(&handle, cmp_load(told, acquire)));
    uint64_t start;
    bool zombie; /* what is asked where there are no pidfds */
    CHECK_EQ(cmp_procstat_read(pid, &start, &zombie), 0);
    CHECK(!zombie);
    test_kill(pid);
    CHECK(cmp_members_dead(&handle, cmp_load(told, acquire)));
}

TEST(stopped_process_is_alive)
{
    fresh(8);
    cmp_owner child;
    pid_t pid = joined_child(&child);
    CHECK_EQ(kill(pid, SIGSTOP), 0);
    CHECK(!cmp_members_dead(&handle, child));
    test_kill(pid);
}

TEST(reused_pid_is_not_the_old_owner)
{
    fresh(8);
    cmp_owner child;
    pid_t pid = joined_child(&child);
    /* As if the slot's process had started one tick earlier and its pid had been given to this one since. */
    uint64_t who = cmp_load(&slot(slot_number(child))->who, relaxed);
    cmp_store(&slot(slot_number(child))->who, who - (UINT64_C(1) << 22), relaxed, "test.set");
    CHECK(cmp_members_dead(&handle, child));
    test_kill(pid);
}

TEST(burial_frees_the_slot_and_raises_its_generation)
{
    fresh(1);
    cmp_owner child;
    test_kill(joined_child(&child));
    cmp_members_bury(&handle, child);
    CHECK_EQ(cmp_members_at(&handle, 0), 0);
    CHECK(cmp_members_dead(&handle, child));
    CHECK_EQ(cmp_members_pid(&handle, child), 0);
    cmp_owner me = cmp_members_me(&handle);
    CHECK_EQ(slot_number(me), 0);
    CHECK_EQ((uint32_t)me, (uint32_t)child + 1);
    CHECK(cmp_members_dead(&handle, child));
    CHECK(!cmp_members_dead(&handle, me));
    cmp_members_bury(&handle, child); /* a stale sweeper: no effect on the new owner */
    CHECK_EQ(cmp_members_at(&handle, 0), me);
}

TEST(burial_cut_short_is_done_by_the_next)
{
    fresh(1);
    cmp_owner child;
    test_kill(joined_child(&child));
    /* Killed between "member.raise" and "member.vacate". */
    cmp_store(&slot(0)->generation, (uint32_t)child + 1, relaxed, "test.set");
    CHECK(cmp_members_dead(&handle, child));
    cmp_owner left = cmp_members_at(&handle, 0);
    CHECK_EQ(left, child + 1);
    CHECK(cmp_members_dead(&handle, left));
    cmp_members_bury(&handle, left);
    CHECK_EQ(cmp_members_at(&handle, 0), 0);
}

TEST(generation_wraps)
{
    fresh(1);
    cmp_store(&slot(0)->generation, UINT32_MAX, relaxed, "test.set");
    cmp_owner me = cmp_members_me(&handle);
    CHECK_EQ((uint32_t)me, UINT32_MAX);
    cmp_members_leave(&handle);
    cmp_owner again = cmp_members_me(&handle);
    CHECK_EQ((uint32_t)again, 0);
    CHECK(again != 0);
}

TEST(leaving_gives_the_slot_back)
{
    fresh(1);
    cmp_owner me = cmp_members_me(&handle);
    cmp_members_leave(&handle);
    CHECK(!cmp_members_joined(&handle));
    CHECK(cmp_members_dead(&handle, me));
    CHECK(cmp_members_me(&handle) != me);
}

static void bury_all(void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i < handle.nslots; i++) {
        cmp_owner owner = cmp_members_at(&handle, i);
        if (owner != 0 && cmp_members_dead(&handle, owner)) cmp_members_bury(&handle, owner);
    }
}

TEST(process_without_a_slot_is_known_by_its_pid)
{
    fresh(2);
    cmp_owner first, second, third;
    pid_t one = joined_child(&first), two = joined_child(&second);
    pid_t three = joined_child(&third);
    CHECK(CMP_OWNER_HAS_SLOT(second) && !CMP_OWNER_HAS_SLOT(third));
    CHECK_EQ(cmp_members_pid(&handle, third), three);
    CHECK(!cmp_members_dead(&handle, third));
    test_kill(three);
    CHECK(cmp_members_dead(&handle, third));
    cmp_members_bury(&handle, third); /* it has no grave */
    CHECK_EQ(cmp_members_at(&handle, 0), first);
    test_kill(two);
    handle.on_full = bury_all;
    cmp_owner me = cmp_members_me(&handle);
    CHECK_EQ(slot_number(me), slot_number(second)); /* a sweep has made room */
    test_kill(one);
}

TEST(of_a_process_without_a_slot_the_start_counts_as_far_as_it_is_known)
{
    fresh(1);
    cmp_owner me = cmp_members_by_pid(&handle), unknown = me & ~(UINT64_C(0x3ff) << 22);
    CHECK(!cmp_members_joined(&handle));
    CHECK(me != unknown);
    CHECK(!cmp_members_dead(&handle, me));
    CHECK(!cmp_members_dead(&handle, unknown));
    CHECK(cmp_members_dead(&handle, me ^ UINT64_C(1) << 22)); /* one that had this pid before */
    /* Another process says the same. */
    cmp_owner child;
    CHECK_EQ(slot_number(cmp_members_me(&handle)), 0);
    pid_t pid = joined_child(&child);
    CHECK_EQ(cmp_members_pid(&handle, child), pid);
    CHECK(cmp_members_dead(&handle, child ^ UINT64_C(1) << 22));
    CHECK(!cmp_members_dead(&handle, child & ~(UINT64_C(0x3ff) << 22)));
    test_kill(pid);
    CHECK(cmp_members_dead(&handle, child & ~(UINT64_C(0x3ff) << 22)));
}

TEST(numbers_that_cannot_be_are_nobody)
{
    fresh(4);
    cmp_owner hostile[] = {0, 1, (cmp_owner)5 << 32, (cmp_owner)0xfffe << 32, UINT64_MAX, CMP_OWNER_NAMELESS};
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        CHECK(!cmp_members_dead(&handle, hostile[i]));
        CHECK_EQ(cmp_members_pid(&handle, hostile[i]), 0);
        cmp_members_bury(&handle, hostile[i]);
    }
    handle.shm->nslots = 0x10000;
    struct cmp_members other;
    CHECK_EQ(cmp_members_attach(&other, handle.shm), -EPROTO);
}

TEST(foreign_pid_namespace_is_refused)
{
    fresh(4);
    struct cmp_members other;
    handle.shm->pid_namespace++;
    CHECK_EQ(cmp_members_attach(&other, handle.shm), -EXDEV);
}

TEST(without_descriptors_the_living_count_as_alive_and_the_reaped_as_dead)
{
    fresh(4);
    cmp_owner lives, dies;
    pid_t living = joined_child(&lives), dying = joined_child(&dies);
    test_kill(dying);
    struct rlimit none = {0, 0}, before;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK(!cmp_members_dead(&handle, lives));
    CHECK(cmp_members_dead(&handle, dies));
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    test_kill(living);
}

struct joiners {
    struct cmp_members *shared;
    _Atomic uint64_t seen[8];
};

static void join_shared(int number, void *arg)
{
    struct joiners *joiners = arg;
    cmp_store(&joiners->seen[number], cmp_members_me(joiners->shared), relaxed, "test.seen");
}

TEST(threads_of_a_process_are_one_member)
{
    static struct joiners joiners;
    fresh(8);
    joiners.shared = &handle;
    test_together(8, true, join_shared, &joiners);
    for (int i = 0; i < 8; i++) CHECK_EQ(cmp_load(&joiners.seen[i], relaxed), cmp_members_at(&handle, 0));
    CHECK_EQ(cmp_members_at(&handle, 1), 0);
}

static void come_and_go(int number, void *arg)
{
    struct cmp_members own;
    (void)number, (void)arg;
    CHECK_EQ(cmp_members_attach(&own, handle.shm), 0);
    for (int i = 0; i < 2000; i++) {
        cmp_owner me = cmp_members_me(&own);
        CHECK(CMP_OWNER_HAS_SLOT(me));
        CHECK(!cmp_members_dead(&own, me));
        cmp_members_leave(&own);
        CHECK(cmp_members_dead(&own, me));
    }
}

TEST(slots_are_never_shared_by_those_who_come_and_go)
{
    fresh(4);
    test_together(4, TEST_TSAN, come_and_go, NULL);
    for (uint32_t i = 0; i < 4; i++) CHECK_EQ(cmp_members_at(&handle, i), 0);
}
