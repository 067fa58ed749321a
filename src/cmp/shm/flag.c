#include "shm/flag.h"

#include <errno.h>

/* A process that answers an event needs some microseconds of Python for it: a round trip fits into this spin. */
#define SPIN_NS INT64_C(20000)

#define SET UINT64_C(1)
#define ONE_MORE UINT64_C(2)

void cmp_flag_set(struct cmp_cell *cell)
{
    struct cmp_cell_shm *shm = cell->shm;
    uint64_t word = cmp_load(&shm->word, relaxed);
    /* release: what the setter wrote before; pairs with the loads in look and is_set. seq_cst for the load of
     * `changed`, as in lockword.c. Also when it was set: whoever set it may have died before waking. */
    while (!cmp_cas(&shm->word, &word, (word | SET) + (word & SET ? 0 : ONE_MORE), seq_cst, "flag.set")) {}
    if (!cmp_eventcount_quiet(&shm->changed)) cmp_eventcount_notify_all(&shm->changed);
}

void cmp_flag_clear(struct cmp_cell *cell)
{
    (void)cmp_rmw(fetch_and, &cell->shm->word, ~SET, acq_rel, "flag.clear");
}

bool cmp_flag_is_set(const struct cmp_cell *cell)
{
    return cmp_load(&cell->shm->word, acquire) & SET;
}

static int look(void *arg)
{
    struct cmp_flag_wait *wait = arg;
    uint64_t word = cmp_load(&wait->cell->shm->word, acquire);
    return (word & SET) || (word >> 1) + 1 != wait->sets ? 0 : -EAGAIN;
}

int cmp_flag_wait(struct cmp_flag_wait *wait, int64_t deadline_ns)
{
    if (wait->sets == 0) wait->sets = (cmp_load(&wait->cell->shm->word, acquire) >> 1) + 1;
    return cmp_cell_wait(&wait->cell->shm->changed, look, NULL, wait, deadline_ns, SPIN_NS,
                         &wait->cell->spin, &wait->patience);
}
