#include "shm/lockword.h"

#include "os/clock.h"

#include <errno.h>

/* Critical sections of Python code last microseconds; a sleep and its wake-up cost some thirty. */
#define SPIN_NS INT64_C(5000)

/* A mere try may come in a tight loop; a wait asks at the end of each of its slices anyway. */
#define TRY_BELIEVES_NS (50 * CMP_MS)
#define WAIT_BELIEVES_NS (10 * CMP_MS)

#define EPOCH_MASK (~((UINT64_C(1) << CMP_LOCK_EPOCH_SHIFT) - 1))
#define EPOCH_STEP (UINT64_C(1) << CMP_LOCK_EPOCH_SHIFT)

static uint32_t epoch_of(uint64_t word)
{
    return (uint32_t)(word >> CMP_LOCK_EPOCH_SHIFT);
}

static uint64_t taken_by(cmp_owner me, bool kept, uint64_t epoch_bits)
{
    return epoch_bits | me | (kept ? CMP_LOCK_KEPT : 0);
}

static inline int seize(struct cmp_cell_shm *shm, cmp_owner me, bool kept, uint32_t *epoch)
{
    uint64_t word = cmp_load(&shm->word, relaxed);
    while ((word & CMP_LOCK_OWNER) == 0) {
        /* acquire: what the last holder wrote; pairs with [lock.release]. */
        if (!cmp_cas(&shm->word, &word, taken_by(me, kept, word & EPOCH_MASK), acquire, "lock.take")) continue;
        *epoch = epoch_of(word);
        return 0;
    }
    return -EAGAIN;
}

int cmp_lockword_try(struct cmp_cell *cell, bool kept, uint32_t *epoch)
{
    return seize(cell->shm, cmp_members_me(&cell->members), kept, epoch);
}

static int look(void *arg)
{
    struct cmp_lock_take *take = arg;
    return seize(take->cell->shm, take->me, take->kept, &take->epoch);
}

static bool is_free(void *arg)
{
    struct cmp_lock_take *take = arg;
    return (cmp_load(&take->cell->shm->word, relaxed) & CMP_LOCK_OWNER) == 0;
}

/* Takes it from a dead holder that meant to let go itself. */
static bool inherit(struct cmp_lock_take *take, int64_t believe_ns)
{
    struct cmp_cell *cell = take->cell;
    uint64_t word = cmp_load(&cell->shm->word, acquire);
    cmp_owner owner = word & CMP_LOCK_OWNER;
    if (!(word & CMP_LOCK_KEPT) || owner == take->me || !cmp_cell_dead(cell, owner, believe_ns)) return false;
    int32_t pid = cmp_members_pid(&cell->members, owner);
    uint64_t mine = taken_by(take->me, take->kept, (word + EPOCH_STEP) & EPOCH_MASK);
    if (!cmp_cas(&cell->shm->word, &word, mine, acq_rel, "lock.inherit")) return false;
    take->epoch = epoch_of(mine);
    take->abandoned = true;
    take->abandoned_pid = pid;
    return true;
}

int cmp_lockword_take(struct cmp_lock_take *take, int64_t deadline_ns)
{
    struct cmp_cell *cell = take->cell;
    take->me = cmp_members_me(&cell->members);
    if (look(take) == 0) return 0;
    if (deadline_ns <= 0) return inherit(take, TRY_BELIEVES_NS) ? 0 : -EAGAIN;
    int code = cmp_cell_wait(&cell->shm->changed, look, is_free, take, deadline_ns, SPIN_NS,
                             &cell->spin, &take->patience);
    if ((code == -EINTR || code == -ETIMEDOUT) && inherit(take, WAIT_BELIEVES_NS)) return 0;
    return code;
}

/* Frees it, whoever holds it; but unless any_epoch only if it was not taken over since `epoch`. */
static int let_go(struct cmp_cell *cell, bool any_epoch, uint32_t epoch)
{
    struct cmp_cell_shm *shm = cell->shm;
    uint64_t word = cmp_load(&shm->word, relaxed);
    do {
        if (!any_epoch && epoch_of(word) != epoch) return -ESTALE;
        if ((word & CMP_LOCK_OWNER) == 0) return -EPERM;
        /* seq_cst, release included: the load below may not come before it. A sleeper makes `changed` not QUIET,
         * fences, and looks at the word ([ec.prepare]): it sees the word free, or is seen here. */
    } while (!cmp_cas(&shm->word, &word, word & EPOCH_MASK, seq_cst, "lock.release"));
    if (!cmp_eventcount_quiet(&shm->changed)) cmp_eventcount_notify_one(&shm->changed);
    return 0;
}

int cmp_lockword_release(struct cmp_cell *cell)
{
    return let_go(cell, true, 0);
}

int cmp_lockword_leave(struct cmp_cell *cell, uint32_t epoch)
{
    return let_go(cell, false, epoch);
}

cmp_owner cmp_lockword_owner(const struct cmp_cell *cell)
{
    return cmp_load(&cell->shm->word, relaxed) & CMP_LOCK_OWNER;
}
