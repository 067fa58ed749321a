/* Allocating: from the lists, else carved from an extent, else from a new one. */
#include "shm/block_layout.h"

#include "shm/budget.h"
#include "shm/extent.h"
#include "shm/sweep.h"

#include <errno.h>

/* How often the budget is asked for one block, when others take what was granted before we come. */
#define ASK_TRIES 8

struct request {
    struct cmp_segment *segment;
    struct cmp_block_want want;
    uint32_t class;     /* the smallest that holds it */
    bool try_only;
    bool squeezed;      /* growing failed: any block that is large enough will do */
    uint32_t seen;      /* extents looked through for room */
    cmp_ref place;      /* where to carve, its first page touched; 0: none prepared */
};

/* From the class's lists; when growth was refused also from the class below, which holds blocks of exact sizes, and
 * from all above. -ENOENT: none there. */
static int reuse(const struct request *r, cmp_ref *out)
{
    struct cmp_blocks_shm *blocks = cmp_block_books(r->segment);
    uint32_t first = r->squeezed && r->class > 0 ? r->class - 1 : r->class;
    uint32_t last = r->squeezed ? CMP_BLOCK_CLASSES - 1 : r->class;
    int code = -ENOENT;
    for (uint32_t class = first; class <= last && code == -ENOENT; class++) {
        code = cmp_block_pop(r->segment, &blocks->warm[class], &r->want, out);
        if (code == -ENOENT) code = cmp_block_pop(r->segment, &blocks->cold[class], &r->want, out);
    }
    return code;
}

/* How much to carve: the class, or when that is refused just what is needed (listed a class lower when free). */
static uint64_t carve_bytes(const struct request *r)
{
    return r->squeezed ? r->want.bytes : cmp_block_class_size(r->class);
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
        (void)cmp_rmw(fetch_or, &((struct cmp_block_shm *)(at + used))->next, 0, relaxed, "block.touch");
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
    if (cmp_block_may_hold(r->segment, r->want.bytes) < 0) return -EDQUOT;
    struct cmp_block_shm *block = (struct cmp_block_shm *)(at + used);
    /* A block of exact size is one of the class it would still serve whole. */
    if (size < cmp_block_class_size(class) && class > 0) class--;
    block->magic = CMP_BLOCK_MAGIC;
    block->class = class;
    block->size = size;
    cmp_store(&block->tenure, CMP_TENURE(CMP_TENURE_MEMBER, r->want.me), relaxed, "block.mark");
    cmp_block_charge(r->segment, block, CMP_BLOCK_PAGE, r->want.bytes);
    /* Release: the header is whole before walkers come this far; pairs with the load in cmp_block_walk. */
    cmp_store(&row->used, used + size, release, "block.carve");
    *out = CMP_REF(number, used);
    return 0;
}

/* One go under the lock. -EAGAIN: no free block, and no place prepared. */
static int try_alloc(struct request *r, cmp_ref *out)
{
    int code = cmp_block_lock(r->segment, r->try_only);
    if (code < 0) return code;
    cmp_block_settle_locked(r->segment);
    code = reuse(r, out);
    if (code == -ENOENT) code = r->place == 0 ? -EAGAIN : carve(r, out);
    cmp_block_unlock(r->segment);
    return code;
}

/* More is held than granted: ask; if that is too much, free what the dead held and what lies idle, and ask again. */
static int ask(struct request *r)
{
    struct cmp_block_use use = cmp_block_use(r->segment);
    int code = cmp_budget_ask(r->segment, use.busy_bytes + use.idle_bytes, r->want.bytes);
    if (code != -ENOMEM) return code;
    /* What the dead held counts as long as nobody has swept, which takes more time than there is with the GIL held. */
    if (r->try_only) return -EBUSY;
    if (cmp_sweep_dead(r->segment) == 0 && use.idle_bytes == 0) return code;
    cmp_block_trim(r->segment, 0);
    use = cmp_block_use(r->segment);
    return cmp_budget_ask(r->segment, use.busy_bytes + use.idle_bytes, r->want.bytes);
}

/* A place to carve at: in the extents there are, else in a new one. Before growing, what the dead have left is looked
 * for. 0: try again. */
static int make_room(struct request *r)
{
    if (prepare(r)) return 0;
    if (!r->try_only && cmp_sweep_dead(r->segment) > 0) return 0;
    uint32_t seen = r->seen;
    int code = cmp_extent_add(r->segment, carve_bytes(r), seen, r->try_only);
    if (code == -ENOMEM && !r->squeezed) {
        r->squeezed = true;
        return 0;
    }
    if (code < 0) return code;
    /* The new extent may be full by now, others being quicker: that is no lack of memory. */
    return prepare(r) || cmp_extent_count(r->segment) != seen ? 0 : -ENOMEM;
}

int cmp_block_alloc(struct cmp_segment *segment, uint64_t size, bool try_only, cmp_ref *out, uint64_t *warm_bytes)
{
    struct request r = {.segment = segment, .try_only = try_only};
    if (size > cmp_block_class_size(CMP_BLOCK_CLASSES - 1) - sizeof(struct cmp_block_shm)) return -ENOMEM;
    r.want.bytes = cmp_block_whole_pages(size + sizeof(struct cmp_block_shm));
    while (cmp_block_class_size(r.class) < r.want.bytes) r.class++;
    r.want.me = cmp_members_me(&segment->members);
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
    uint64_t warm = cmp_load(&cmp_block_find(segment, ref)->cold_from, relaxed);
    *warm_bytes = warm - sizeof(struct cmp_block_shm);
    *out = ref;
    return 0;
}
