/* Giving back: to the stack without the lock, and from there, sooner or later, to the lists and to the kernel. */
#include "shm/block_layout.h"

#include "os/clock.h"
#include "shm/budget.h"

#include <errno.h>
#include <sys/mman.h>

/* What no allocation has touched for so long goes back to the kernel: longer than a steady flow needs to come round to
 * its last block, short enough that most of a burst has gone back by the time it is drained. Large blocks flow slowly:
 * a pool that sends a gigabyte of arrays takes a second over the cold ones. */
#define UNUSED_NS (50 * CMP_MS)
#define UNUSED_LARGE_NS (1000 * CMP_MS)
#define LARGE_CLASS 8 /* 1 MiB */
/* But so much stays anyway. */
#define KEEP_LEAST_BYTES (UINT64_C(8) << 20)

/* So many returned bytes make it worth taking the lock for. */
#define TIDY_BYTES (UINT64_C(4) << 20)

/* Blocks given back to the kernel at a time; they are out of circulation meanwhile. */
#define TRIM_BATCH 16

/* Onto the stack: nobody has it any more. Its tenure says RETURNED already. */
static void push(struct cmp_segment *segment, cmp_ref ref, struct cmp_block_shm *block)
{
    struct cmp_blocks_shm *blocks = cmp_block_books(segment);
    cmp_ref top = cmp_load(&blocks->returned, relaxed);
    do cmp_store(&block->next, top, relaxed, "block.next");
    /* Release: with the block goes all that was read or written of it; pairs with the load in unstack. */
    while (!cmp_cas(&blocks->returned, &top, ref, acq_rel, "block.push"));
}

static void give_back(struct cmp_segment *segment, cmp_ref ref, struct cmp_block_shm *block)
{
    uint64_t returned = CMP_TENURE(CMP_TENURE_RETURNED, cmp_members_me(&segment->members));
    cmp_store(&block->tenure, returned, relaxed, "block.return");
    push(segment, ref, block);
}

/* Takes up to TRIM_BATCH warm free blocks, the largest first, until keep_bytes are left idle. */
static int pick_victims(struct cmp_segment *segment, uint64_t keep_bytes, cmp_ref victims[TRIM_BATCH])
{
    struct cmp_blocks_shm *blocks = cmp_block_books(segment);
    struct cmp_block_want any = {.me = cmp_members_me(&segment->members)};
    int n = 0;
    for (int class = CMP_BLOCK_CLASSES - 1; class >= 0; class--)
        while (n < TRIM_BATCH && cmp_load(&blocks->idle_bytes, relaxed) > keep_bytes &&
               cmp_block_pop(segment, &blocks->warm[class], &any, &victims[n]) == 0)
            n++;
    return n;
}

/* Outside the lock. The header's page stays: the walk reads it. By the mapping, for the descriptor may be gone. */
static bool chill(struct cmp_block_shm *block)
{
    uint64_t warm = cmp_load(&block->warm_bytes, relaxed);
    if (warm <= CMP_BLOCK_PAGE || warm > block->size) return false;
    int saved = errno;
    bool done = madvise((char *)block + CMP_BLOCK_PAGE, warm - CMP_BLOCK_PAGE, MADV_REMOVE) == 0;
    errno = saved;
    if (done) cmp_store(&block->warm_bytes, CMP_BLOCK_PAGE, relaxed, "block.warm_bytes");
    return done;
}

static bool large_ones_idle(const struct cmp_blocks_shm *blocks)
{
    for (int class = LARGE_CLASS; class < CMP_BLOCK_CLASSES; class++)
        if (cmp_load(&blocks->warm[class], relaxed) != 0) return true;
    return false;
}

/* Under the lock: how much of what is idle has lain unused for long; counting then begins anew. */
static uint64_t take_unused(struct cmp_blocks_shm *blocks)
{
    int64_t now_ns = cmp_now_ns();
    int64_t long_ns = large_ones_idle(blocks) ? UNUSED_LARGE_NS : UNUSED_NS;
    if (now_ns - cmp_load(&blocks->unused_since_ns, relaxed) < long_ns) return 0;
    uint64_t unused = cmp_load(&blocks->unused_bytes, relaxed), idle = cmp_load(&blocks->idle_bytes, relaxed);
    cmp_store(&blocks->unused_since_ns, now_ns, relaxed, "block.unused_since");
    cmp_store(&blocks->unused_bytes, idle, relaxed, "block.unused");
    return unused < idle ? unused : idle;
}

/* What is to stay idle after a block was given back: at most what a budget has room for, and not what is unused. */
static uint64_t worth_keeping(struct cmp_segment *segment)
{
    struct cmp_block_use use = cmp_block_use(segment);
    uint64_t most = cmp_budget_worth_keeping(segment) + use.busy_bytes;
    uint64_t used = use.idle_bytes - take_unused(cmp_block_books(segment));
    if (used < KEEP_LEAST_BYTES) used = KEEP_LEAST_BYTES;
    return used < most ? used : most;
}

/* Until at most keep_bytes are idle; UINT64_MAX: as much as is worth keeping. */
static void tidy(struct cmp_segment *segment, uint64_t keep_bytes)
{
    bool goes_on = true;
    while (goes_on) {
        cmp_ref victims[TRIM_BATCH];
        if (cmp_block_lock(segment, true) < 0) return; /* whoever has it, or comes next, tidies up */
        cmp_block_settle_locked(segment);
        if (keep_bytes == UINT64_MAX) keep_bytes = worth_keeping(segment);
        int n = pick_victims(segment, keep_bytes, victims);
        cmp_block_unlock(segment);
        goes_on = n == TRIM_BATCH;
        for (int i = 0; i < n; i++) {
            struct cmp_block_shm *block = cmp_block_find(segment, victims[i]);
            goes_on &= chill(block);
            give_back(segment, victims[i], block);
        }
    }
}

void cmp_block_free(struct cmp_segment *segment, cmp_ref ref)
{
    struct cmp_blocks_shm *blocks = cmp_block_books(segment);
    struct cmp_block_shm *block = cmp_block_find(segment, ref);
    if (block == NULL) return;
    uint64_t warm = cmp_load(&block->warm_bytes, relaxed);
    give_back(segment, ref, block);
    uint64_t waiting = cmp_rmw(fetch_add, &blocks->returned_bytes, warm, relaxed, "block.returned_bytes") + warm;
    if (waiting >= TIDY_BYTES) tidy(segment, UINT64_MAX);
}

void cmp_block_trim(struct cmp_segment *segment, uint64_t keep_bytes)
{
    tidy(segment, keep_bytes);
    /* What was chilled went back by the stack. */
    if (cmp_block_lock(segment, true) < 0) return;
    cmp_block_settle_locked(segment);
    cmp_block_unlock(segment);
}

bool cmp_block_reclaim(struct cmp_segment *segment, cmp_ref ref, uint64_t judged, cmp_owner for_whom)
{
    struct cmp_block_shm *block = cmp_block_find(segment, ref);
    if (block == NULL) return false;
    if (!cmp_cas(&block->tenure, &judged, CMP_TENURE(CMP_TENURE_RETURNED, for_whom), acq_rel, "block.reclaim"))
        return false;
    push(segment, ref, block);
    return true;
}
