#include "shm/pooltable.h"

#include <errno.h>

#define MAGIC UINT32_C(0x706f6f31) /* "poo1" */

_Static_assert(sizeof(struct cmp_worker_shm) == 64, "a line per worker");
_Static_assert(offsetof(struct cmp_pooltable, slots) == 128, "the header has two lines");

size_t cmp_pooltable_size(uint32_t nslots)
{
    return sizeof(struct cmp_pooltable) + nslots * sizeof(struct cmp_worker_shm);
}

void cmp_pooltable_init(struct cmp_pooltable *table, uint32_t nslots)
{
    table->nslots = nslots;
    table->magic = MAGIC;
}

int cmp_pooltable_check(const struct cmp_pooltable *table, size_t bytes)
{
    if (bytes < sizeof *table || table->magic != MAGIC) return -EPROTO;
    return table->nslots <= (bytes - sizeof *table) / sizeof *table->slots ? 0 : -EPROTO;
}

int cmp_pooltable_open(struct cmp_pooltable *table, uint32_t *slot)
{
    for (uint32_t i = 0; i < table->nslots; i++) {
        struct cmp_worker_shm *worker = &table->slots[i];
        /* Relaxed: only the parent frees and opens, and it orders itself by the GIL. */
        if (cmp_load(&worker->life, relaxed) != CMP_WORKER_FREE) continue;
        cmp_store(&worker->begun, 0, relaxed, "pool.open_begun");
        cmp_store(&worker->since_ns, 0, relaxed, "pool.open_since");
        cmp_store(&worker->life, CMP_WORKER_STARTING, relaxed, "pool.open");
        *slot = i;
        return 0;
    }
    return -ENOSPC;
}

void cmp_pooltable_close(struct cmp_pooltable *table, uint32_t slot)
{
    struct cmp_worker_shm *worker = &table->slots[slot];
    cmp_store(&worker->claim, 0, relaxed, "pool.free");
    cmp_store(&worker->life, CMP_WORKER_FREE, relaxed, "pool.close");
}

/* Is it the claim of the item at the head, which then has not left? A claim is set for the item that is at the head, so
 * no other has not: however long a task takes, and however many pass by meanwhile. Of an index 32 bits are there. */
static bool still_queued(uint64_t claim, uint64_t head)
{
    return (uint32_t)claim == (uint32_t)(head + 1);
}

uint32_t cmp_pooltable_lost(const struct cmp_pooltable *table, uint32_t slot, uint64_t head)
{
    /* Acquire: whoever moves the head on over a dead one's item has withdrawn its claim before. */
    uint64_t claim = cmp_load(&table->slots[slot].claim, acquire);
    return still_queued(claim, head) ? 0 : (uint32_t)(claim >> 32);
}

void cmp_pooltable_withdraw(void *arg, uint64_t head)
{
    struct cmp_pooltable *table = arg;
    for (uint32_t i = 0; i < table->nslots; i++) {
        uint64_t claim = cmp_load(&table->slots[i].claim, relaxed);
        if (claim != 0 && still_queued(claim, head))
            cmp_store(&table->slots[i].claim, 0, relaxed, "pool.withdraw");
    }
}

void cmp_worker_begin(struct cmp_worker_shm *worker, int64_t now_ns)
{
    /* Relaxed, both: read after the worker's death, of which its parent hears from the kernel. */
    cmp_store(&worker->since_ns, now_ns, relaxed, "pool.since");
    cmp_store(&worker->begun, cmp_load(&worker->begun, relaxed) + 1, relaxed, "pool.begun");
}

void cmp_worker_answer(struct cmp_worker_shm *worker)
{
    /* Relaxed: read after the worker's death. Before the claim goes: the next one finds no time of this task. */
    cmp_store(&worker->since_ns, 0, relaxed, "pool.rest");
    /* Release: whoever finds no claim finds the result published. */
    cmp_store(&worker->claim, 0, release, "pool.answer");
}

void cmp_pooltable_want(struct cmp_pooltable *table)
{
    cmp_store(&table->wanted, 1, relaxed, "pool.want");
    cmp_fence(seq_cst); /* pairs with the fence in tell */
}

void cmp_pooltable_unwant(struct cmp_pooltable *table)
{
    /* Relaxed: a wish taken back too late costs one needless system call. */
    cmp_store(&table->wanted, 0, relaxed, "pool.unwant");
}

bool cmp_pooltable_tell(struct cmp_pooltable *table)
{
    cmp_fence(seq_cst); /* pairs with the fence in want */
    if (cmp_load(&table->wanted, relaxed) == 0) return false;
    return cmp_rmw(exchange, &table->wanted, 0, relaxed, "pool.tell") != 0;
}
