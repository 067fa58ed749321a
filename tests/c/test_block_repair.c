/* Blocks after a death: headers and lists set by hand, and what a sweep frees of what the dead held. */
#include "block_fixture.h"
#include "crowded.h"
#include "peek.h"

#include "shm/block.h"
#include "shm/extent.h"
#include "shm/segment_layout.h"
#include "shm/sweep.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* A block's header as the layout has it, for damage by hand. */
struct raw {
    uint32_t magic, class;
    uint64_t size;
    _Atomic uint64_t tenure, next, warm_bytes, charged_bytes, cold_from;
};

static struct raw *raw(cmp_ref block)
{
    struct raw *found = bytes_at(&segment, block, 64);
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
    CHECK_EQ(wait_for_mutex(&segment.shm->blocks.lock), 0);
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

TEST(what_the_dead_held_that_had_no_slot_is_freed)
{
    fresh();
    crowd(&segment.members);
    pid_t pid = holder_of(3);
    cmp_owner owner = CMP_TENURE_OWNER(cmp_load(&raw(told[0])->tenure, relaxed));
    CHECK(!CMP_OWNER_HAS_SLOT(owner));
    CHECK_EQ(cmp_sweep(&segment), 0);
    /* One of the three had been given back, but for the push. */
    cmp_store(&raw(told[1])->tenure, CMP_TENURE(CMP_TENURE_RETURNED, owner), relaxed, "test.set");
    CHECK_EQ(cmp_sweep(&segment), 0);
    test_kill(pid);
    CHECK_EQ(cmp_sweep_dead(&segment), 3);
    CHECK_EQ(cmp_sweep_dead(&segment), 0);
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
