#include "shm/sweep.h"

#include "shm/block.h"
#include "shm/mutex.h"
#include "shm/queue.h"
#include "shm/segment_layout.h"

#include <errno.h>
#include <string.h>

/* Processes without a slot that are asked after in one sweep; there are hardly ever any. */
#define SLOTLESS_MOST 64

struct slotless {
    cmp_owner owner;
    bool dead;
};

struct sweep {
    struct cmp_segment *segment;
    cmp_owner for_whom;                      /* see cmp_block_reclaim */
    int freed;
    bool full;                               /* no slot is free: there may be processes that found none */
    cmp_owner dead[CMP_SEGMENT_MEMBERS];     /* by slot; 0: alive or nobody */
    struct slotless slotless[SLOTLESS_MOST]; /* those that were found to own something */
    int nslotless;
};

static int find_dead(struct sweep *sweep)
{
    struct cmp_members *members = &sweep->segment->members;
    int n = 0;
    sweep->full = true;
    for (uint32_t slot = 0; slot < members->nslots && slot < CMP_SEGMENT_MEMBERS; slot++) {
        cmp_owner owner = cmp_members_at(members, slot);
        if (owner == 0) sweep->full = false;
        if (owner == 0 || !cmp_members_dead(members, owner)) continue;
        sweep->dead[slot] = owner;
        sweep->for_whom = owner;
        n++;
    }
    return n;
}

static const struct slotless *find_slotless(const struct sweep *sweep, cmp_owner owner)
{
    for (int i = 0; i < sweep->nslotless; i++)
        if (sweep->slotless[i].owner == owner) return &sweep->slotless[i];
    return NULL;
}

/* No table lists them: they are found by what they own. */
static void ask_after_slotless(void *arg, cmp_ref block, _Atomic uint64_t *tenure)
{
    struct sweep *sweep = arg;
    uint64_t judged = cmp_load(tenure, relaxed);
    unsigned kind = CMP_TENURE_KIND(judged);
    cmp_owner owner = CMP_TENURE_OWNER(judged);
    (void)block;
    if ((kind != CMP_TENURE_MEMBER && kind != CMP_TENURE_RETURNED) || CMP_OWNER_HAS_SLOT(owner)) return;
    if (sweep->nslotless == SLOTLESS_MOST || find_slotless(sweep, owner) != NULL) return;
    bool dead = cmp_members_dead(&sweep->segment->members, owner);
    sweep->slotless[sweep->nslotless++] = (struct slotless){owner, dead};
}

static bool found_dead(const struct sweep *sweep, cmp_owner owner)
{
    if (!CMP_OWNER_HAS_SLOT(owner)) {
        const struct slotless *known = find_slotless(sweep, owner);
        return known != NULL && known->dead;
    }
    uint64_t number = owner >> 32;
    return number != 0 && number <= CMP_SEGMENT_MEMBERS && sweep->dead[number - 1] == owner;
}

/* Found dead now, or so long ago that the slot has moved on. No look at the process: the living are most. */
static bool is_dead(const struct sweep *sweep, cmp_owner owner)
{
    struct cmp_members *members = &sweep->segment->members;
    uint64_t number = owner >> 32;
    if (number == 0 || number > members->nslots || number > CMP_SEGMENT_MEMBERS) return found_dead(sweep, owner);
    return found_dead(sweep, owner) ||
           cmp_load(&members->shm->slots[number - 1].generation, acquire) != (uint32_t)owner;
}

/* A queue's item or chunk, judged by its indices while all queues are frozen. */
static bool kept_by_queue(const struct sweep *sweep, uint64_t tenure)
{
    for (struct cmp_queue *queue = sweep->segment->queues; queue != NULL; queue = queue->next)
        if (cmp_queue_number(queue) == CMP_TENURE_QUEUE(tenure)) return cmp_queue_keeps(queue, tenure);
    return true;
}

static bool wanted(const struct sweep *sweep, uint64_t tenure)
{
    switch (CMP_TENURE_KIND(tenure)) {
    case CMP_TENURE_MEMBER: return !is_dead(sweep, CMP_TENURE_OWNER(tenure));
    /* Only those found dead now: they push nothing any more, and the stack has been settled since. One that has merely
     * left may have pushed this block a moment ago. */
    case CMP_TENURE_RETURNED: return !found_dead(sweep, CMP_TENURE_OWNER(tenure));
    case CMP_TENURE_ITEM:
    case CMP_TENURE_CHUNK: return kept_by_queue(sweep, tenure);
    default: return true;
    }
}

static void thaw_until(struct cmp_segment *segment, const struct cmp_queue *end)
{
    for (struct cmp_queue *queue = segment->queues; queue != end; queue = queue->next) cmp_queue_thaw(queue);
}

/* All queues of the segment, or none: -EAGAIN if this process lacks the handle of one, -ETIMEDOUT if one is held by a
 * process that stands still. */
static int freeze_queues(struct cmp_segment *segment)
{
    uint32_t handles = 0;
    for (struct cmp_queue *queue = segment->queues; queue != NULL; queue = queue->next) handles++;
    if (handles != cmp_load(&segment->shm->nqueues, acquire)) return -EAGAIN;
    for (struct cmp_queue *queue = segment->queues; queue != NULL; queue = queue->next) {
        int code = cmp_queue_freeze(queue);
        if (code == 0) continue;
        thaw_until(segment, queue);
        return code;
    }
    return 0;
}

static void judge(void *arg, cmp_ref block, _Atomic uint64_t *tenure)
{
    struct sweep *sweep = arg;
    uint64_t judged = cmp_load(tenure, acquire);
    if (!wanted(sweep, judged) && cmp_block_reclaim(sweep->segment, block, judged, sweep->for_whom)) sweep->freed++;
}

/* An extent that cannot be mapped here leaves the dead for another to bury. */
static int judge_blocks(struct sweep *sweep)
{
    /* Before the stack is settled: found dead by then, they push nothing any more. */
    int code = cmp_block_walk(sweep->segment, ask_after_slotless, sweep);
    if (code == 0) code = cmp_block_settle(sweep->segment);
    if (code == 0) code = freeze_queues(sweep->segment);
    if (code < 0) return code;
    code = cmp_block_walk(sweep->segment, judge, sweep);
    thaw_until(sweep->segment, NULL);
    return code;
}

static int sweep_segment(struct cmp_segment *segment, bool only_if_dead)
{
    struct sweep sweep = {.segment = segment};
    int code = cmp_mutex_try(&segment->shm->sweeping);
    if (code == -EOWNERDEAD) {
        /* Each step stands for itself, and what is left to do is found again. */
        (void)cmp_rmw(fetch_add, &segment->shm->repairs, 1, relaxed, "segment.repairs");
        cmp_mutex_repaired(&segment->shm->sweeping);
        code = 0;
    }
    if (code < 0) return 0;
    int buried = find_dead(&sweep);
    if (buried == 0 && only_if_dead && !sweep.full) goto out;
    /* By pid: this may be the sweep of one that looks for a slot, and must not ask who it is. */
    if (buried == 0) sweep.for_whom = cmp_members_by_pid(&segment->members);
    code = judge_blocks(&sweep);
    if (code < 0) buried = 0;
    /* Last: as long as a slot is not free again, the next sweep finds what this one left. */
    for (uint32_t slot = 0; code == 0 && slot < CMP_SEGMENT_MEMBERS; slot++)
        if (sweep.dead[slot] != 0) cmp_members_bury(&segment->members, sweep.dead[slot]);
out:
    cmp_mutex_unlock(&segment->shm->sweeping);
    return buried + sweep.freed;
}

int cmp_sweep(struct cmp_segment *segment)
{
    return sweep_segment(segment, false);
}

int cmp_sweep_dead(struct cmp_segment *segment)
{
    return sweep_segment(segment, true);
}
