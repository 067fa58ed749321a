#include "shm/semaphore.h"

#include <errno.h>

/* As for a lock (lockword.c). */
#define SPIN_NS INT64_C(5000)

void cmp_semaphore_init(struct cmp_cell *cell, uint32_t value)
{
    cmp_store(&cell->shm->word, value, relaxed, "semaphore.init");
}

static int look(void *arg)
{
    struct cmp_semaphore_take *take = arg;
    _Atomic uint64_t *place = &take->cell->shm->word;
    uint64_t value = cmp_load(place, relaxed);
    while (value > 0) {
        /* acquire: what was written before the release that made it positive; pairs with [semaphore.release]. */
        if (cmp_cas(place, &value, value - 1, acquire, "semaphore.take")) return 0;
    }
    return -EAGAIN;
}

static bool is_positive(void *arg)
{
    struct cmp_semaphore_take *take = arg;
    return cmp_load(&take->cell->shm->word, relaxed) > 0;
}

int cmp_semaphore_take(struct cmp_semaphore_take *take, int64_t deadline_ns)
{
    return cmp_cell_wait(&take->cell->shm->changed, look, is_positive, take, deadline_ns, SPIN_NS,
                         &take->cell->spin, &take->patience);
}

int cmp_semaphore_release(struct cmp_cell *cell)
{
    struct cmp_cell_shm *shm = cell->shm;
    uint64_t value = cmp_load(&shm->word, relaxed);
    do {
        if (value >= shm->limit) return -EOVERFLOW;
        /* seq_cst for the load below, as in lockword.c. */
    } while (!cmp_cas(&shm->word, &value, value + 1, seq_cst, "semaphore.release"));
    if (!cmp_eventcount_quiet(&shm->changed)) cmp_eventcount_notify_one(&shm->changed);
    return 0;
}

uint32_t cmp_semaphore_value(const struct cmp_cell *cell)
{
    return (uint32_t)cmp_load(&cell->shm->word, relaxed);
}
