/* The lists of free blocks, the stack of returned ones, the sums, and their repair. All under the allocator's lock but
 * for taking it. */
#include "shm/block_layout.h"

#include <errno.h>

/* Returned blocks taken off the stack at a time. */
#define SETTLE_BATCH 32

/* In its own class the first block of a list is always large enough; the others are for blocks of exact sizes. */
#define POP_STEPS 16

/* Sums are words only so that others may look at them; they change under the lock. */
static void add_to(_Atomic uint64_t *sum, uint64_t bytes)
{
    cmp_store(sum, cmp_load(sum, relaxed) + bytes, relaxed, "block.sum");
}

static void take_from(_Atomic uint64_t *sum, uint64_t bytes)
{
    uint64_t now = cmp_load(sum, relaxed);
    cmp_store(sum, now > bytes ? now - bytes : 0, relaxed, "block.sum");
}

static void take_idle(struct cmp_blocks_shm *blocks, uint64_t bytes)
{
    take_from(&blocks->idle_bytes, bytes);
    uint64_t idle = cmp_load(&blocks->idle_bytes, relaxed);
    if (idle < cmp_load(&blocks->unused_bytes, relaxed))
        cmp_store(&blocks->unused_bytes, idle, relaxed, "block.unused");
}

static _Atomic cmp_ref *list_for(struct cmp_blocks_shm *blocks, const struct cmp_block_shm *block)
{
    uint32_t class = block->class < CMP_BLOCK_CLASSES ? block->class : CMP_BLOCK_CLASSES - 1;
    /* A page is always warm: the header's. */
    return cmp_load(&block->warm_bytes, relaxed) > CMP_BLOCK_PAGE ? &blocks->warm[class] : &blocks->cold[class];
}

/* A FREE block onto its list. */
static void list(struct cmp_blocks_shm *blocks, cmp_ref ref, struct cmp_block_shm *block)
{
    _Atomic cmp_ref *head = list_for(blocks, block);
    add_to(&blocks->idle_bytes, cmp_load(&block->warm_bytes, relaxed));
    cmp_store(&block->next, cmp_load(head, relaxed), relaxed, "block.next");
    cmp_store(head, ref, relaxed, "block.list");
}

/* The next returned block becomes FREE and leaves the stack: 1; 0: there is none; as cmp_block_reach if there is one
 * that cannot be seen from here (RLIMIT_AS): another process will settle it, and those beneath. */
static int unstack(struct cmp_segment *segment, cmp_ref *ref, struct cmp_block_shm **block)
{
    struct cmp_blocks_shm *blocks = cmp_block_books(segment);
    /* acquire: the block's words are what the returner left; pairs with [block.push]. */
    cmp_ref top = cmp_load(&blocks->returned, acquire);
    while (top != 0) {
        _Atomic uint64_t *tenure;
        int code = cmp_block_reach(segment, top, &tenure);
        if (code < 0) return code;
        *ref = top;
        *block = cmp_block_find(segment, top);
        cmp_store(tenure, CMP_TENURE(CMP_TENURE_FREE, 0), relaxed, "block.settle");
        cmp_ref seen = top;
        if (cmp_cas(&blocks->returned, &seen, cmp_load(&(*block)->next, relaxed), acq_rel, "block.unstack")) return 1;
        /* Another came on top of it: that one first, so that the stack never shows a hole. */
        top = cmp_load(&blocks->returned, acquire);
    }
    return 0;
}

void cmp_block_settle_locked(struct cmp_segment *segment)
{
    struct cmp_blocks_shm *blocks = cmp_block_books(segment);
    struct cmp_block_shm *block[SETTLE_BATCH];
    cmp_ref ref[SETTLE_BATCH];
    if (cmp_load(&blocks->returned, relaxed) == 0) return;
    cmp_store(&blocks->returned_bytes, 0, relaxed, "block.returned_bytes");
    int n;
    do {
        for (n = 0; n < SETTLE_BATCH; n++)
            if (unstack(segment, &ref[n], &block[n]) <= 0) break;
        /* From the oldest to the newest, so that the one used last lies on top of its list. */
        for (int i = n - 1; i >= 0; i--) {
            take_from(&blocks->busy_bytes, cmp_load(&block[i]->charged_bytes, relaxed));
            list(blocks, ref[i], block[i]);
        }
    } while (n == SETTLE_BATCH);
}

struct relisting {
    struct cmp_segment *segment;
    struct cmp_blocks_shm *blocks;
};

static void relist(void *arg, cmp_ref ref, _Atomic uint64_t *tenure)
{
    struct relisting *r = arg;
    struct cmp_block_shm *block = cmp_block_find(r->segment, ref);
    if (block == NULL) return;
    if (CMP_TENURE_KIND(cmp_load(tenure, acquire)) == CMP_TENURE_FREE) list(r->blocks, ref, block);
    else add_to(&r->blocks->busy_bytes, cmp_load(&block->charged_bytes, relaxed));
}

/* Blocks that this process cannot map are on no list until another one has repaired: `broken` says so. While the stack
 * cannot be emptied, none is: a FREE one may still lie on it, and would be had twice. */
static void repair(struct cmp_segment *segment)
{
    struct cmp_blocks_shm *blocks = cmp_block_books(segment);
    struct relisting relisting = {segment, blocks};
    struct cmp_block_shm *block;
    cmp_ref ref;
    int code;
    do code = unstack(segment, &ref, &block);
    while (code > 0);
    for (int class = 0; class < CMP_BLOCK_CLASSES; class++) {
        cmp_store(&blocks->warm[class], 0, relaxed, "block.forget");
        cmp_store(&blocks->cold[class], 0, relaxed, "block.forget");
    }
    cmp_store(&blocks->busy_bytes, 0, relaxed, "block.forget");
    cmp_store(&blocks->idle_bytes, 0, relaxed, "block.forget");
    cmp_store(&blocks->unused_bytes, 0, relaxed, "block.forget");
    cmp_store(&blocks->returned_bytes, 0, relaxed, "block.forget");
    if (code == 0 || code == -EBADMSG) code = cmp_block_walk(segment, relist, &relisting);
    cmp_store(&blocks->broken, code == -ENOMEM || code == -EBADF, relaxed, "block.broken");
}

static int locked(struct cmp_segment *segment, int code)
{
    struct cmp_blocks_shm *blocks = cmp_block_books(segment);
    /* Relaxed: it changes under this lock only. */
    if (code == 0 && cmp_load(&blocks->broken, relaxed) != 0) repair(segment);
    if (code != -EOWNERDEAD) return code;
    repair(segment);
    (void)cmp_rmw(fetch_add, &segment->shm->repairs, 1, relaxed, "segment.repairs");
    cmp_mutex_repaired(&blocks->lock);
    return 0;
}

int cmp_block_lock(struct cmp_segment *segment, bool try_only)
{
    struct cmp_mutex *mutex = &cmp_block_books(segment)->lock;
    return locked(segment, try_only ? cmp_mutex_try(mutex) : cmp_mutex_lock_patiently(mutex));
}

void cmp_block_unlock(struct cmp_segment *segment)
{
    cmp_mutex_unlock(&cmp_block_books(segment)->lock);
}

int cmp_block_settle(struct cmp_segment *segment)
{
    /* One slice: a holder that stands still makes the caller come back later. */
    int code = locked(segment, cmp_mutex_lock_slice(&cmp_block_books(segment)->lock));
    if (code < 0) return code;
    cmp_block_settle_locked(segment);
    cmp_block_unlock(segment);
    return 0;
}

/* --- taking from a list --- */

int cmp_block_may_hold(const struct cmp_segment *segment, uint64_t more_bytes)
{
    if (more_bytes == 0) return 0;
    struct cmp_block_use use = cmp_block_use(segment);
    return use.busy_bytes + use.idle_bytes + more_bytes <= cmp_load(&segment->shm->granted, relaxed) ? 0 : -EDQUOT;
}

void cmp_block_charge(struct cmp_segment *segment, struct cmp_block_shm *block, uint64_t warm, uint64_t bytes)
{
    uint64_t will_be = warm > bytes ? warm : bytes;
    cmp_store(&block->cold_from, warm, relaxed, "block.cold_from");
    cmp_store(&block->warm_bytes, will_be, relaxed, "block.warm_bytes");
    cmp_store(&block->charged_bytes, will_be, relaxed, "block.charged_bytes");
    add_to(&cmp_block_books(segment)->busy_bytes, will_be);
}

int cmp_block_pop(struct cmp_segment *segment, _Atomic cmp_ref *list, const struct cmp_block_want *want, cmp_ref *out)
{
    _Atomic cmp_ref *link = list;
    for (int steps = 0; steps < POP_STEPS; steps++) {
        cmp_ref ref = cmp_load(link, relaxed);
        struct cmp_block_shm *block = cmp_block_find(segment, ref);
        if (block == NULL) return -ENOENT;
        if (block->size < want->bytes) {
            link = &block->next;
            continue;
        }
        uint64_t warm = cmp_load(&block->warm_bytes, relaxed);
        int code = cmp_block_may_hold(segment, want->bytes > warm ? want->bytes - warm : 0);
        if (code < 0) return code;
        take_idle(cmp_block_books(segment), warm);
        cmp_store(link, cmp_load(&block->next, relaxed), relaxed, "block.pop");
        cmp_store(&block->tenure, CMP_TENURE(CMP_TENURE_MEMBER, want->me), relaxed, "block.take");
        cmp_block_charge(segment, block, warm, want->bytes);
        *out = ref;
        return 0;
    }
    return -ENOENT;
}

/* --- is it whole? --- */

struct census {
    struct cmp_segment *segment;
    uint64_t nfree, idle_bytes, busy_bytes;
};

static void count(void *arg, cmp_ref ref, _Atomic uint64_t *tenure)
{
    struct census *census = arg;
    const struct cmp_block_shm *block = cmp_block_find(census->segment, ref);
    if (CMP_TENURE_KIND(cmp_load(tenure, relaxed)) != CMP_TENURE_FREE) {
        census->busy_bytes += cmp_load(&block->charged_bytes, relaxed);
        return;
    }
    census->nfree++;
    census->idle_bytes += cmp_load(&block->warm_bytes, relaxed);
}

/* How many blocks of the list are in order; UINT64_MAX if one is not. */
static uint64_t check_list(struct cmp_segment *segment, const _Atomic cmp_ref *head, uint64_t most)
{
    uint64_t n = 0;
    for (cmp_ref ref = cmp_load(head, relaxed); ref != 0; n++) {
        const struct cmp_block_shm *block = cmp_block_find(segment, ref);
        if (block == NULL || n == most || list_for(cmp_block_books(segment), block) != head) return UINT64_MAX;
        if (CMP_TENURE_KIND(cmp_load(&block->tenure, relaxed)) != CMP_TENURE_FREE) return UINT64_MAX;
        ref = cmp_load(&block->next, relaxed);
    }
    return n;
}

static int check(struct cmp_segment *segment)
{
    struct cmp_blocks_shm *blocks = cmp_block_books(segment);
    struct census census = {.segment = segment};
    cmp_block_settle_locked(segment);
    int code = cmp_block_walk(segment, count, &census);
    if (code < 0) return code;
    uint64_t left = census.nfree;
    for (int class = 0; class < CMP_BLOCK_CLASSES; class++) {
        uint64_t warm = check_list(segment, &blocks->warm[class], left);
        if (warm > left) return -EUCLEAN;
        left -= warm;
        uint64_t cold = check_list(segment, &blocks->cold[class], left);
        if (cold > left) return -EUCLEAN;
        left -= cold;
    }
    struct cmp_block_use use = cmp_block_use(segment);
    return left == 0 && use.idle_bytes == census.idle_bytes && use.busy_bytes == census.busy_bytes ? 0 : -EUCLEAN;
}

int cmp_block_check(struct cmp_segment *segment)
{
    int code = cmp_block_lock(segment, false);
    if (code < 0) return code;
    code = check(segment);
    cmp_block_unlock(segment);
    return code;
}
