/* The allocator of a segment.
 *
 * ALLOC, under the lock: take a block from the list of its class
 *       list := block.next                                       [block.pop]
 *       tenure := MEMBER(me)                                     [block.take]
 *   or carve a new one from an extent, whose first page was touched before the lock:
 *       header written, tenure MEMBER(me)                        [block.mark]
 *       extent.used := behind it                                 [block.carve]
 *   Without room the lock is let go of, an extent added (shm/extent.h) and all is tried again.
 * FREE, without the lock:
 *       tenure := RETURNED(me)                                   [block.return]
 *       block.next := top, top := block                          [block.push]
 * SETTLE, under the lock, for each block on that stack (only the lock's holder takes from it, so a block cannot have
 * left and come back between the look and the CAS):
 *       tenure := FREE                                           [block.settle]
 *       top := block.next                                        [block.unstack]
 *       list := block                                            [block.list]
 *
 * Killed               leaves                                  and then
 *   before [block.take]    a FREE block on no list             the next owner of the lock makes the lists anew
 *   before [block.carve]   bytes behind `used`                 the next to carve overwrites them
 *   after either           a block of MEMBER(dead)             the sweep frees it
 *   before [block.push]    RETURNED(dead), on no stack         the sweep settles the stack, then frees it
 *   before [block.unstack] a FREE block on the stack           the repair empties the stack first
 *   before [block.list]    a FREE block on no list             the repair lists it
 * Repair: settle without listing until the stack is empty, then walk everything and list what is FREE. It may itself
 * be killed anywhere and is then done again. */
#include "shm/block.h"

#include "os/clock.h"
#include "os/copy.h"
#include "os/memfd.h"
#include "shm/budget.h"
#include "shm/extent.h"
#include "shm/segment_layout.h"
#include "shm/sweep.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE UINT64_C(4096)

/* A class holds 2^k bytes of payload and the headers of us and of our users: 64 KiB or 8 MiB of data with a few bytes
 * before them must not need twice the room, and starts at different places of the cache's sets. */
#define CLASS_SLACK PAGE
#define LEAST_SHIFT 12

#define BLOCK_MAGIC UINT32_C(0x62706d63) /* "cmpb" */

/* Below these a system call costs more than it saves. */
#define PWRITE_LEAST (16 * 1024)

#define KNOWN_LEAST (1024 * 1024)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* What no allocation has touched for so long goes back to the kernel: longer than a steady flow needs to come round to
 * its last block, short enough that most of a burst has gone back by the time it is drained. */
#define UNUSED_NS (50 * CMP_MS)
/* But so much stays anyway. */
#define KEEP_LEAST_BYTES (UINT64_C(8) << 20)

/* So many returned bytes make it worth taking the lock for. */
#define TIDY_BYTES (UINT64_C(4) << 20)

/* Returned blocks taken off the stack at a time. */
#define SETTLE_BATCH 32

/* Blocks given back to the kernel at a time; they are out of circulation meanwhile. */
#define TRIM_BATCH 16

/* How often the budget is asked for one block, when others take what was granted before we come. */
#define ASK_TRIES 8

/* `size`, `magic` and `class` are written once, before the block shows. `next` belongs to whoever may move the block to
 * or from a list or the stack. `warm_bytes` counts from the header, whole pages; it and `charged_bytes` change under the
 * lock, or by the sole holder; `cold_from` is the holder's own. */
struct block {
    uint32_t magic;
    uint32_t class;
    uint64_t size; /* with this header */
    _Atomic uint64_t tenure;
    _Atomic cmp_ref next;
    _Atomic uint64_t warm_bytes;
    _Atomic uint64_t charged_bytes; /* what of busy_bytes is for this block */
    _Atomic uint64_t cold_from;
    uint64_t reserved;
};

static_assert(sizeof(struct block) == 64, "part of the layout");

static uint64_t class_size(uint32_t class)
{
    return (UINT64_C(1) << (class + LEAST_SHIFT)) + CLASS_SLACK;
}

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* The block at ref, its numbers checked, or NULL. */
static struct block *find(struct cmp_segment *segment, cmp_ref ref)
{
    uint32_t number = (uint32_t)(ref >> CMP_REF_BITS);
    uint64_t offset = CMP_REF_OFFSET(ref), bytes;
    char *at;
    if (number == 0 || offset % PAGE != 0 || cmp_extent_map(segment, number, &at, &bytes) < 0) return NULL;
    if (offset > bytes || sizeof(struct block) > bytes - offset) return NULL;
    struct block *block = (struct block *)(at + offset);
    /* Nothing to be ordered: who has the reference got it through something that was published after the header. */
    if (block->magic != BLOCK_MAGIC || block->size < PAGE || block->size > bytes - offset) return NULL;
    return block;
}

static uint64_t capacity_of(const struct block *block)
{
    return block->size - sizeof *block;
}

void *cmp_block_payload(struct cmp_segment *segment, cmp_ref ref, uint64_t *capacity)
{
    struct block *block = find(segment, ref);
    if (block == NULL) return NULL;
    *capacity = capacity_of(block);
    return block + 1;
}

_Atomic uint64_t *cmp_block_tenure(struct cmp_segment *segment, cmp_ref ref)
{
    struct block *block = find(segment, ref);
    return block == NULL ? NULL : &block->tenure;
}

/* --- lists, under the lock --- */

static struct cmp_blocks_shm *blocks_of(const struct cmp_segment *segment)
{
    return &segment->shm->blocks;
}

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

static _Atomic cmp_ref *list_for(struct cmp_blocks_shm *blocks, const struct block *block)
{
    uint32_t class = block->class < CMP_BLOCK_CLASSES ? block->class : CMP_BLOCK_CLASSES - 1;
    /* A page is always warm: the header's. */
    return cmp_load(&block->warm_bytes, relaxed) > PAGE ? &blocks->warm[class] : &blocks->cold[class];
}

/* A FREE block onto its list. */
static void list(struct cmp_blocks_shm *blocks, cmp_ref ref, struct block *block)
{
    _Atomic cmp_ref *head = list_for(blocks, block);
    add_to(&blocks->idle_bytes, cmp_load(&block->warm_bytes, relaxed));
    cmp_store(&block->next, cmp_load(head, relaxed), relaxed, "block.next");
    cmp_store(head, ref, relaxed, "block.list");
}

/* The next returned block becomes FREE and leaves the stack; 0 if there is none. */
static cmp_ref unstack(struct cmp_segment *segment, struct block **block)
{
    struct cmp_blocks_shm *blocks = blocks_of(segment);
    /* acquire: the block's words are what the returner left; pairs with [block.push]. */
    cmp_ref top = cmp_load(&blocks->returned, acquire);
    while (top != 0) {
        *block = find(segment, top);
        if (*block == NULL) {
            /* Its extent cannot be mapped here (RLIMIT_AS): another process will settle it. */
            return 0;
        }
        cmp_store(&(*block)->tenure, CMP_TENURE(CMP_TENURE_FREE, 0), relaxed, "block.settle");
        cmp_ref seen = top;
        if (cmp_cas(&blocks->returned, &seen, cmp_load(&(*block)->next, relaxed), acq_rel, "block.unstack")) return top;
        /* Another came on top of it: that one first, so that the stack never shows a hole. */
        top = cmp_load(&blocks->returned, acquire);
    }
    return 0;
}

static void settle(struct cmp_segment *segment)
{
    struct cmp_blocks_shm *blocks = blocks_of(segment);
    struct block *block[SETTLE_BATCH];
    cmp_ref ref[SETTLE_BATCH];
    if (cmp_load(&blocks->returned, relaxed) == 0) return;
    cmp_store(&blocks->returned_bytes, 0, relaxed, "block.returned_bytes");
    int n;
    do {
        for (n = 0; n < SETTLE_BATCH; n++)
            if ((ref[n] = unstack(segment, &block[n])) == 0) break;
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
    struct block *block = find(r->segment, ref);
    if (block == NULL) return;
    if (CMP_TENURE_KIND(cmp_load(tenure, acquire)) == CMP_TENURE_FREE) list(r->blocks, ref, block);
    else add_to(&r->blocks->busy_bytes, cmp_load(&block->charged_bytes, relaxed));
}

static void repair(struct cmp_segment *segment)
{
    struct cmp_blocks_shm *blocks = blocks_of(segment);
    struct relisting relisting = {segment, blocks};
    struct block *block;
    while (unstack(segment, &block) != 0) {}
    for (int class = 0; class < CMP_BLOCK_CLASSES; class++) {
        cmp_store(&blocks->warm[class], 0, relaxed, "block.forget");
        cmp_store(&blocks->cold[class], 0, relaxed, "block.forget");
    }
    cmp_store(&blocks->busy_bytes, 0, relaxed, "block.forget");
    cmp_store(&blocks->idle_bytes, 0, relaxed, "block.forget");
    cmp_store(&blocks->unused_bytes, 0, relaxed, "block.forget");
    cmp_store(&blocks->returned_bytes, 0, relaxed, "block.forget");
    (void)cmp_block_walk(segment, relist, &relisting);
}

static int locked(struct cmp_segment *segment, int code)
{
    if (code != -EOWNERDEAD) return code;
    repair(segment);
    (void)cmp_rmw(fetch_add, &segment->shm->repairs, 1, relaxed, "segment.repairs");
    cmp_mutex_repaired(&blocks_of(segment)->lock);
    return 0;
}

static int lock(struct cmp_segment *segment, bool try_only)
{
    struct cmp_mutex *mutex = &blocks_of(segment)->lock;
    return locked(segment, try_only ? cmp_mutex_try(mutex) : cmp_mutex_lock(mutex));
}

static void unlock(struct cmp_segment *segment)
{
    cmp_mutex_unlock(&blocks_of(segment)->lock);
}

/* --- alloc --- */

struct request {
    struct cmp_segment *segment;
    cmp_owner me;
    uint64_t need;      /* with the header, whole pages */
    uint32_t class;     /* the smallest that holds it */
    bool try_only;
    bool squeezed;      /* growing failed: any block that is large enough will do */
    uint32_t seen;      /* extents looked through for room */
    cmp_ref place;      /* where to carve, its first page touched; 0: none prepared */
};

/* 0, or -EDQUOT: the pages this block still lacks are not granted. */
static int may_hold(const struct request *r, const struct block *block)
{
    const struct cmp_segment_shm *shm = r->segment->shm;
    uint64_t warm = block == NULL ? 0 : cmp_load(&block->warm_bytes, relaxed);
    uint64_t lacking = r->need > warm ? r->need - warm : 0;
    if (lacking == 0) return 0;
    uint64_t held = cmp_load(&shm->blocks.busy_bytes, relaxed) + cmp_load(&shm->blocks.idle_bytes, relaxed);
    return held + lacking <= cmp_load(&shm->granted, relaxed) ? 0 : -EDQUOT;
}

/* The block, which nobody else knows of any more or yet, is to be filled by this member. */
static void charge(const struct request *r, struct block *block, uint64_t warm)
{
    uint64_t will_be = warm > r->need ? warm : r->need;
    cmp_store(&block->cold_from, warm, relaxed, "block.cold_from");
    cmp_store(&block->warm_bytes, will_be, relaxed, "block.warm_bytes");
    cmp_store(&block->charged_bytes, will_be, relaxed, "block.charged_bytes");
    add_to(&blocks_of(r->segment)->busy_bytes, will_be);
}

/* The first of a list that is large enough, within a few steps: in its own class the first always is. */
static int pop(const struct request *r, _Atomic cmp_ref *head, cmp_ref *out)
{
    _Atomic cmp_ref *link = head;
    for (int steps = 0; steps < 16; steps++) {
        cmp_ref ref = cmp_load(link, relaxed);
        struct block *block = find(r->segment, ref);
        if (block == NULL) return -ENOENT;
        if (block->size < r->need) {
            link = &block->next;
            continue;
        }
        int code = may_hold(r, block);
        if (code < 0) return code;
        uint64_t warm = cmp_load(&block->warm_bytes, relaxed);
        take_idle(blocks_of(r->segment), warm);
        cmp_store(link, cmp_load(&block->next, relaxed), relaxed, "block.pop");
        cmp_store(&block->tenure, CMP_TENURE(CMP_TENURE_MEMBER, r->me), relaxed, "block.take");
        charge(r, block, warm);
        *out = ref;
        return 0;
    }
    return -ENOENT;
}

/* From the class's lists; when growth was refused also from the class below, which holds blocks of exact sizes, and
 * from all above. -ENOENT: none there. */
static int reuse(const struct request *r, cmp_ref *out)
{
    struct cmp_blocks_shm *blocks = blocks_of(r->segment);
    uint32_t first = r->squeezed && r->class > 0 ? r->class - 1 : r->class;
    uint32_t last = r->squeezed ? CMP_BLOCK_CLASSES - 1 : r->class;
    int code = -ENOENT;
    for (uint32_t class = first; class <= last && code == -ENOENT; class++) {
        code = pop(r, &blocks->warm[class], out);
        if (code == -ENOENT) code = pop(r, &blocks->cold[class], out);
    }
    return code;
}

/* How much to carve: the class, or when that is refused just what is needed (listed a class lower when free). */
static uint64_t carve_bytes(const struct request *r)
{
    return r->squeezed ? r->need : class_size(r->class);
}

/* Looks for room in the extents, the newest first, and touches the page a header would lie in: outside the lock, so
 * that the first touch, which may take the kernel a while, happens here. False: no room in any. */
static bool prepare(struct request *r)
{
    struct cmp_segment *segment = r->segment;
    r->seen = cmp_extent_count(segment);
    for (uint32_t number = r->seen - 1; number > 0; number--) {
        uint64_t used = cmp_load(&cmp_segment_extents(segment)[number].used, relaxed), bytes;
        char *at;
        if (cmp_extent_map(segment, number, &at, &bytes) < 0 || used > bytes || carve_bytes(r) > bytes - used) continue;
        /* Changes nothing, even if another has carved here meanwhile. */
        (void)cmp_rmw(fetch_or, &((struct block *)(at + used))->next, 0, relaxed, "block.touch");
        r->place = CMP_REF(number, used);
        return true;
    }
    return false;
}

/* A new block at the prepared place; -EAGAIN: it is taken by now. */
static int carve(const struct request *r, cmp_ref *out)
{
    uint32_t number = (uint32_t)(r->place >> CMP_REF_BITS), class = r->class;
    uint64_t used = CMP_REF_OFFSET(r->place), bytes, size = carve_bytes(r);
    struct cmp_extent_shm *row = &cmp_segment_extents(r->segment)[number];
    char *at;
    if (cmp_load(&row->used, relaxed) != used || cmp_extent_map(r->segment, number, &at, &bytes) < 0) return -EAGAIN;
    if (may_hold(r, NULL) < 0) return -EDQUOT;
    struct block *block = (struct block *)(at + used);
    /* A block of exact size is one of the class it would still serve whole. */
    if (size < class_size(class) && class > 0) class--;
    block->magic = BLOCK_MAGIC;
    block->class = class;
    block->size = size;
    cmp_store(&block->tenure, CMP_TENURE(CMP_TENURE_MEMBER, r->me), relaxed, "block.mark");
    charge(r, block, PAGE);
    /* Release: the header is whole before walkers come this far; pairs with the load in cmp_block_walk. */
    cmp_store(&row->used, used + size, release, "block.carve");
    *out = CMP_REF(number, used);
    return 0;
}

/* One go under the lock. -EAGAIN: no free block, and no place prepared. */
static int try_alloc(struct request *r, cmp_ref *out)
{
    int code = lock(r->segment, r->try_only);
    if (code < 0) return code;
    settle(r->segment);
    code = reuse(r, out);
    if (code == -ENOENT) code = r->place == 0 ? -EAGAIN : carve(r, out);
    unlock(r->segment);
    return code;
}

/* More is held than granted: ask; if that is too much, give back what lies idle, and ask again. */
static int ask(struct request *r)
{
    struct cmp_block_use use = cmp_block_use(r->segment);
    int code = cmp_budget_ask(r->segment, use.busy_bytes + use.idle_bytes, r->need);
    if (code != -ENOMEM || use.idle_bytes == 0) return code;
    cmp_block_trim(r->segment, 0);
    use = cmp_block_use(r->segment);
    return cmp_budget_ask(r->segment, use.busy_bytes + use.idle_bytes, r->need);
}

/* A place to carve at: in the extents there are, else in a new one. Before growing, what the dead have left is looked
 * for. 0: try again. */
static int make_room(struct request *r)
{
    if (prepare(r)) return 0;
    if (!r->try_only && cmp_sweep_dead(r->segment) > 0) return 0;
    int code = cmp_extent_add(r->segment, carve_bytes(r), r->seen, r->try_only);
    if (code == -ENOMEM && !r->squeezed) {
        r->squeezed = true;
        return 0;
    }
    if (code < 0) return code;
    return prepare(r) || cmp_extent_count(r->segment) != r->seen ? 0 : -ENOMEM;
}

int cmp_block_alloc(struct cmp_segment *segment, uint64_t size, bool try_only, cmp_ref *out, uint64_t *warm_bytes)
{
    struct request r = {.segment = segment, .try_only = try_only};
    if (size > class_size(CMP_BLOCK_CLASSES - 1) - sizeof(struct block)) return -ENOMEM;
    r.need = whole_pages(size + sizeof(struct block));
    while (class_size(r.class) < r.need) r.class++;
    r.me = cmp_members_me(&segment->members);
    cmp_ref ref = 0;
    int code, asked = 0;
    while ((code = try_alloc(&r, &ref)) < 0) {
        if (code == -EAGAIN) {
            r.place = 0;
            code = make_room(&r);
        } else if (code == -EDQUOT) {
            /* What was granted may be taken by others before we come: then once more, but not for ever. */
            code = ++asked > ASK_TRIES ? -ENOMEM : ask(&r);
        }
        if (code < 0) return code;
    }
    uint64_t warm = cmp_load(&find(segment, ref)->cold_from, relaxed);
    *warm_bytes = warm - sizeof(struct block);
    *out = ref;
    return 0;
}

/* --- free --- */

/* Onto the stack: nobody has it any more. Its tenure says RETURNED already. */
static void push(struct cmp_segment *segment, cmp_ref ref, struct block *block)
{
    struct cmp_blocks_shm *blocks = blocks_of(segment);
    cmp_ref top = cmp_load(&blocks->returned, relaxed);
    do cmp_store(&block->next, top, relaxed, "block.next");
    /* Release: with the block goes all that was read or written of it; pairs with the load in unstack. */
    while (!cmp_cas(&blocks->returned, &top, ref, acq_rel, "block.push"));
}

static void give_back(struct cmp_segment *segment, cmp_ref ref, struct block *block)
{
    uint64_t returned = CMP_TENURE(CMP_TENURE_RETURNED, cmp_members_me(&segment->members));
    cmp_store(&block->tenure, returned, relaxed, "block.return");
    push(segment, ref, block);
}

/* Takes up to TRIM_BATCH warm free blocks, the largest first, until keep_bytes are left idle. */
static int pick_victims(struct cmp_segment *segment, uint64_t keep_bytes, cmp_ref victims[TRIM_BATCH])
{
    struct cmp_blocks_shm *blocks = blocks_of(segment);
    struct request r = {.segment = segment, .me = cmp_members_me(&segment->members)};
    int n = 0;
    for (int class = CMP_BLOCK_CLASSES - 1; class >= 0; class--)
        while (n < TRIM_BATCH && cmp_load(&blocks->idle_bytes, relaxed) > keep_bytes &&
               pop(&r, &blocks->warm[class], &victims[n]) == 0)
            n++;
    return n;
}

/* Outside the lock. The header's page stays: the walk reads it. By the mapping, for the descriptor may be gone. */
static bool chill(struct block *block)
{
    uint64_t warm = cmp_load(&block->warm_bytes, relaxed);
    int saved = errno;
    bool done = madvise((char *)block + PAGE, warm - PAGE, MADV_REMOVE) == 0;
    errno = saved;
    if (done) cmp_store(&block->warm_bytes, PAGE, relaxed, "block.warm_bytes");
    return done;
}

/* Under the lock: how much of what is idle has lain unused for UNUSED_NS; counting then begins anew. */
static uint64_t take_unused(struct cmp_blocks_shm *blocks)
{
    int64_t now_ns = cmp_now_ns();
    if (now_ns - cmp_load(&blocks->unused_since_ns, relaxed) < UNUSED_NS) return 0;
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
    uint64_t used = use.idle_bytes - take_unused(blocks_of(segment));
    if (used < KEEP_LEAST_BYTES) used = KEEP_LEAST_BYTES;
    return used < most ? used : most;
}

/* Until at most keep_bytes are idle; UINT64_MAX: as much as is worth keeping. */
static void tidy(struct cmp_segment *segment, uint64_t keep_bytes)
{
    bool goes_on = true;
    while (goes_on) {
        cmp_ref victims[TRIM_BATCH];
        if (lock(segment, true) < 0) return; /* whoever has it, or comes next, tidies up */
        settle(segment);
        if (keep_bytes == UINT64_MAX) keep_bytes = worth_keeping(segment);
        int n = pick_victims(segment, keep_bytes, victims);
        unlock(segment);
        goes_on = n == TRIM_BATCH;
        for (int i = 0; i < n; i++) {
            struct block *block = find(segment, victims[i]);
            goes_on &= chill(block);
            give_back(segment, victims[i], block);
        }
    }
}

void cmp_block_free(struct cmp_segment *segment, cmp_ref ref)
{
    struct cmp_blocks_shm *blocks = blocks_of(segment);
    struct block *block = find(segment, ref);
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
    if (lock(segment, true) < 0) return;
    settle(segment);
    unlock(segment);
}

bool cmp_block_reclaim(struct cmp_segment *segment, cmp_ref ref, uint64_t judged, cmp_owner for_whom)
{
    struct block *block = find(segment, ref);
    if (block == NULL) return false;
    if (!cmp_cas(&block->tenure, &judged, CMP_TENURE(CMP_TENURE_RETURNED, for_whom), acq_rel, "block.reclaim"))
        return false;
    push(segment, ref, block);
    return true;
}

/* --- the rest --- */

/* Pages may be in memory and yet not in this process's page tables, because another wrote them, or pwrite did. Stores
 * would fault them in one by one at 2 us a page; asked for together they cost a quarter of that. */
static void make_known(struct cmp_segment *segment, cmp_ref ref, char *block, uint64_t bytes)
{
    struct cmp_segment_maps *maps = segment->maps;
    size_t i = (size_t)((ref / PAGE * UINT64_C(0x9e3779b97f4a7c15)) >> 58) % CMP_SEGMENT_KNOWN;
    if (cmp_load(&maps->known[i], relaxed) == ref && cmp_load(&maps->known_bytes[i], relaxed) >= bytes) return;
    int saved = errno;
    (void)madvise(block, whole_pages(bytes), MADV_POPULATE_WRITE); /* before Linux 5.14 an error: then they fault */
    errno = saved;
    cmp_private_store(&maps->known[i], ref, relaxed);
    cmp_private_store(&maps->known_bytes[i], bytes, relaxed);
}

int cmp_block_write(struct cmp_segment *segment, cmp_ref ref, uint64_t offset, const void *bytes, uint64_t size)
{
    struct block *block = find(segment, ref);
    if (block == NULL || offset > capacity_of(block) || size > capacity_of(block) - offset) return -EBADMSG;
    const char *from = bytes;
    char *to = (char *)(block + 1) + offset;
    uint64_t at = sizeof *block + offset, cold_from = cmp_load(&block->cold_from, relaxed);
    uint64_t warm_size = at >= cold_from ? 0 : cold_from - at < size ? cold_from - at : size;
    if (size - warm_size < PWRITE_LEAST || !cmp_segment_owns_fd(segment)) warm_size = size;
    if (warm_size >= KNOWN_LEAST) make_known(segment, ref, (char *)block, at + warm_size);
    cmp_copy_away(to, from, warm_size);
    if (warm_size == size) return 0;
    const struct cmp_extent_shm *row = &cmp_segment_extents(segment)[ref >> CMP_REF_BITS];
    int code = cmp_memfd_write(segment->fd, row->offset + CMP_REF_OFFSET(ref) + at + warm_size, from + warm_size,
                               size - warm_size);
    if (code == -EFBIG) {
        /* RLIMIT_FSIZE forbids writing, not storing. */
        cmp_copy_away(to + warm_size, from + warm_size, size - warm_size);
        code = 0;
    }
    return code < 0 ? -ENOMEM : 0;
}

int cmp_block_walk(struct cmp_segment *segment, void (*visit)(void *arg, cmp_ref block, _Atomic uint64_t *tenure),
                   void *arg)
{
    uint32_t count = cmp_extent_count(segment);
    for (uint32_t number = 1; number < count; number++) {
        char *at;
        uint64_t bytes;
        int code = cmp_extent_map(segment, number, &at, &bytes);
        if (code < 0) return code;
        uint64_t used = cmp_load(&cmp_segment_extents(segment)[number].used, acquire); /* pairs with [block.carve] */
        for (uint64_t offset = 0; offset < used;) {
            struct block *block = find(segment, CMP_REF(number, offset));
            if (block == NULL) return -EUCLEAN;
            uint64_t size = block->size;
            visit(arg, CMP_REF(number, offset), &block->tenure);
            offset += size;
        }
    }
    return 0;
}

int cmp_block_settle(struct cmp_segment *segment)
{
    /* One slice: a holder that stands still makes the caller come back later. */
    int code = locked(segment, cmp_mutex_lock_slice(&blocks_of(segment)->lock));
    if (code < 0) return code;
    settle(segment);
    unlock(segment);
    return 0;
}

struct cmp_block_use cmp_block_use(const struct cmp_segment *segment)
{
    const struct cmp_blocks_shm *blocks = blocks_of(segment);
    return (struct cmp_block_use){cmp_load(&blocks->busy_bytes, relaxed), cmp_load(&blocks->idle_bytes, relaxed)};
}

struct census {
    struct cmp_segment *segment;
    uint64_t nfree, idle_bytes, busy_bytes;
};

static void count(void *arg, cmp_ref ref, _Atomic uint64_t *tenure)
{
    struct census *census = arg;
    const struct block *block = find(census->segment, ref);
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
        const struct block *block = find(segment, ref);
        if (block == NULL || n == most || list_for(blocks_of(segment), block) != head) return UINT64_MAX;
        if (CMP_TENURE_KIND(cmp_load(&block->tenure, relaxed)) != CMP_TENURE_FREE) return UINT64_MAX;
        ref = cmp_load(&block->next, relaxed);
    }
    return n;
}

static int check(struct cmp_segment *segment)
{
    struct cmp_blocks_shm *blocks = blocks_of(segment);
    struct census census = {.segment = segment};
    settle(segment);
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
    int code = lock(segment, false);
    if (code < 0) return code;
    code = check(segment);
    unlock(segment);
    return code;
}
